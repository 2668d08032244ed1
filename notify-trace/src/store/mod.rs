//! Recordings: every event, in an SQLite file that survives a crash at any moment.
//!
//! ```text
//! Event ──▶ Store (a sink) ──▶ queue, bounded ──▶ writer, a thread of its own ──▶ file ──▶ SQLite
//!                                                            reader ◀── file, from any process ◀──┤
//!                                              outbox (what was not sent yet) ◀── the agent itself ◀──┘
//! ```
//!
//! A recording is JSON Lines in compressed blocks, a row for each session, and the rows that studies read
//! (`rows`, drawn from the events by [`crate::study::project`]); `schema.sql` is its layout, `docs/recording.md` explains it. These modules alone know SQL. The trace never waits for the
//! disk: what doesn't fit into the queue is dropped, and counted in the recording itself.

mod block;
mod derive;
mod error;
mod file;
mod outbox;
mod queue;
mod reader;
mod rows;
mod salvage;
mod samples;
mod sink;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub use self::derive::{Derived, derive};
pub use self::error::StoreError;
pub use self::file::{Durability, Limits};
pub use self::outbox::{Backlog, Expired, Outbox, Page};
pub use self::queue::Condition;
pub use self::reader::{Reader, SessionRow, is_store};
pub use self::samples::{Flows, Minute, Span, Times, Verdict};
pub use self::sink::{Options, Store, Watch};

/// `PRAGMA application_id` of a recording: "ntrc".
const APPLICATION_ID: i64 = 0x6e74_7263;

/// `PRAGMA user_version`: version of the schema.
const SCHEMA_VERSION: i64 = 1;

/// As SQLite has it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
