//! Where events go: one file for each format.
//!
//! A sink writes what an [`Event`] says and concludes nothing of its own, so that all outputs
//! agree. Which sinks there are, and what a broken pipe means, is decided by those who make them.

use std::io;

use tokio::time::Instant;

use crate::correlate::outcome::Outcome;
use crate::event::Event;
use crate::view::ViewOptions;

pub mod explained;
pub mod file;
pub mod json;
pub mod tee;
pub mod text;

#[cfg(test)]
mod format_tests;

pub use json::Json;
pub use text::Text;

/// How reading stands: what no event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Records read so far.
    pub records: u64,
    /// Most bytes that one CPU's ring held when it was read last.
    pub fullest_bytes: u64,
    /// Bytes of each CPU's ring.
    pub ring_bytes: u64,
}

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

    /// How reading stands, after the rings were read; as a rule nobody's business.
    fn reading(&mut self, _: Reading) {}

    /// When it wants to be woken though there is nothing to write; as a rule never.
    fn wakes_at(&self) -> Option<Instant> {
        None
    }

    /// The time of [`wakes_at`](Self::wakes_at) has come.
    fn wake(&mut self) {}

    /// Somebody asks for settings to be read anew: what is shown from now on, if that is another
    /// thing. As a rule there are no settings.
    fn reload(&mut self) -> Option<ViewOptions> {
        None
    }

    /// No more is captured: what is left follows.
    fn stopping(&mut self) {}

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
