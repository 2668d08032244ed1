//! Recordings: every event, in an SQLite file that survives a crash at any moment.
//!
//! ```text
//! Event ──▶ Store (a sink) ──▶ queue, bounded ──▶ writer, a thread of its own ──▶ file ──▶ SQLite
//!                                                            reader ◀── file, from any process ◀──┘
//! ```
//!
//! A recording is JSON Lines in compressed blocks, and a row for each session; `schema.sql` is its
//! layout, `docs/recording.md` explains it. These modules alone know SQL. The trace never waits for the
//! disk: what doesn't fit into the queue is dropped, and counted in the recording itself.

mod block;
mod error;
mod file;
mod queue;
mod reader;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

pub use self::error::StoreError;
pub use self::file::{Durability, Limits};
pub use self::reader::{Reader, SessionRow, is_store};
pub use self::sink::{Options, Store};

/// `PRAGMA application_id` of a recording: "ntrc".
const APPLICATION_ID: i64 = 0x6e74_7263;

/// `PRAGMA user_version`: version of the schema.
const SCHEMA_VERSION: i64 = 1;
