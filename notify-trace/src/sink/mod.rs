//! Where events go: one file for each format.
//!
//! A sink writes what an [`Event`] says and concludes nothing of its own, so that all outputs
//! agree. Which sinks there are, and what a broken pipe means, is decided by those who make them.

use std::io;

use tokio::time::Instant;

use crate::correlate::outcome::Outcome;
use crate::event::Event;

pub mod explained;
pub mod file;
pub mod json;
pub mod tee;
pub mod text;

#[cfg(test)]
mod format_tests;

pub use json::Json;
pub use text::Text;

/// Takes events in order.
pub trait Sink {
    /// Writes one event.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Writes a conclusion; as a rule not at all.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    fn outcome(&mut self, _: &Outcome) -> io::Result<()> {
        Ok(())
    }

    /// When no more is wanted; as a rule that is not for the sink to say.
    fn ends_at(&self) -> Option<Instant> {
        None
    }

    /// No event will come any more: returns when all is where it should be.
    ///
    /// # Errors
    ///
    /// If something of it can't be written.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Lets go of what is buffered.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
