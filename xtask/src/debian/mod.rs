//! The Debian archive: which mirror this system uses, and packages of other suites from it.
//!
//! Owns an apt of its own inside the cache, so the system's package lists stay as they are. No
//! address of a mirror stands here: the system's own sources name it, or `NOTIFY_TRACE_MIRROR`.

mod archive;
mod sources;
mod stanza;

pub use archive::{Archive, Suite};
pub use stanza::{Stanza, compare_versions};
