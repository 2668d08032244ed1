//! A live view of all units that send notifications.
//!
//! ```text
//! pipeline ──Event, Outcome──▶ live (a sink) ──▶ state ──picture──▶ order ──▶ draw ──▶ screen
//!                                                            keys ──▶ look ──▶ ┘
//! ```
//!
//! `state` makes rows of events and conclusions, `order` sorts and filters them, `look` is what the
//! user looks at and `keys` changes, `draw` makes a frame of all that. None of them has a clock or a
//! terminal: `screen` has, in a thread of its own, so the capture never waits for it.

pub mod condition;
pub mod draw;
pub mod history;
pub mod identity;
mod kept;
pub mod keys;
pub mod latency;
pub mod live;
pub mod look;
pub mod order;
pub mod rate;
pub mod row;
pub mod screen;
pub mod state;
pub mod totals;
pub mod watchdog;
