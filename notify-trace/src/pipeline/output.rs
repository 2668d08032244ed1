//! What is written: the sink, what it was given, and whether it still takes anything.

use std::io;

use anyhow::{Context as _, Result};

use crate::event::Event;
use crate::explain::Shown;
use crate::sink::Sink;
use crate::tally::Tally;

/// The sink, and what it was given.
pub(super) struct Output<'a> {
    sink: &'a mut dyn Sink,
    /// Until so many notifications were written.
    count: Option<u64>,
    failed: Option<io::Error>,
    tally: Tally,
}

impl<'a> Output<'a> {
    /// Nothing was written yet.
    pub(super) fn new(sink: &'a mut dyn Sink, count: Option<u64>) -> Self {
        Self {
            sink,
            count,
            failed: None,
            tally: Tally::default(),
        }
    }

    /// Writes what was captured, unless writing has failed before, or enough notifications were written:
    /// then only the fates of those still matter.
    pub(super) fn write(&mut self, shown: &Shown) {
        let is_wanted = match shown {
            Shown::Event(Event::Update(update)) => {
                !self.has_enough() || self.tally.is_open(update.id)
            }
            Shown::Event(_) => !self.has_enough(),
            Shown::Outcome(_) => true,
        };
        if is_wanted {
            self.write_own(shown);
        }
    }

    /// Writes what the pipeline itself has to say, unless writing has failed before.
    pub(super) fn write_own(&mut self, shown: &Shown) {
        if self.failed.is_some() {
            return;
        }
        let written = match shown {
            Shown::Event(event) => {
                self.tally.take(event);
                self.sink.event(event)
            }
            Shown::Outcome(outcome) => self.sink.outcome(outcome),
        };
        if let Err(error) = written {
            self.failed = Some(error);
        }
    }

    /// Lets go of what the sink has buffered, after somebody else did the same.
    pub(super) fn flush(&mut self, before: impl FnOnce() -> io::Result<()>) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = before().and_then(|()| self.sink.flush()) {
            self.failed = Some(error);
        }
    }

    /// Waits until everything is where it should be.
    pub(super) fn close(&mut self) {
        if let Err(error) = self.sink.finish() {
            self.fail(error);
        }
    }

    /// Something else could not be written. Of several errors the first one is told.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.failed.get_or_insert(error);
    }

    /// Whether nothing more is to be written.
    pub(super) fn is_ended(&self) -> bool {
        self.failed.is_some() || self.has_enough()
    }

    fn has_enough(&self) -> bool {
        self.count
            .is_some_and(|count| self.tally.notifications >= count)
    }

    /// What was written so far.
    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The sink, for what is not about events.
    pub(super) fn sink(&mut self) -> &mut dyn Sink {
        self.sink
    }

    /// The same, to be asked.
    pub(super) fn ask(&self) -> &dyn Sink {
        self.sink
    }

    /// What the sink said: a closed pipe is nothing to complain about.
    pub(super) fn into_result(self) -> Result<()> {
        match self.failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write the output")
            }
            _ => Ok(()),
        }
    }
}
