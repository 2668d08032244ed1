//! Facts about the host that records don't carry.

pub mod clock;
