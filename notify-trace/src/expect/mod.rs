//! Expectations of notifications, for tests: what must be sent, by whom, how soon, in which order, and what
//! must not.
//!
//! ```text
//! text ──▶ grammar ──▶ Expectation ─┐
//! Event, Outcome ──▶ heard (messages, and what became of them) ─┴─▶ judge ──▶ Standing ──▶ tell
//! ```
//!
//! A message counts when it was delivered, and nobody is known to have refused it.

pub mod grammar;
pub mod heard;
pub mod judge;
pub mod tell;

#[cfg(test)]
mod tests;
