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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, session};
    use crate::event::{DeliveryState, Update};

    /// Keeps what kind of event it was given, and fails after so many.
    struct Kept {
        kinds: Vec<&'static str>,
        room: usize,
        error: io::ErrorKind,
    }

    impl Kept {
        fn new(room: usize, error: io::ErrorKind) -> Self {
            Self {
                kinds: Vec::new(),
                room,
                error,
            }
        }
    }

    impl Sink for Kept {
        fn event(&mut self, event: &Event) -> io::Result<()> {
            if self.kinds.len() == self.room {
                return Err(self.error.into());
            }
            self.kinds.push(match event {
                Event::Send(_) => "send",
                Event::Update(_) => "update",
                Event::Session(_) => "session",
                _ => "other",
            });
            Ok(())
        }
    }

    fn queued(id: u64) -> Shown {
        let mut it = Sample::new("READY=1").id(id).build();
        it.delivery.state = DeliveryState::Queued;
        Shown::Event(Event::Send(Box::new(it)))
    }

    fn delivered(id: u64) -> Shown {
        let it = Sample::new("READY=1").id(id).build();
        Shown::Event(Event::Update(Box::new(Update {
            id,
            time: it.time,
            monotonic_ns: S,
            sender: None,
            receiver: None,
            result: None,
            delivery: it.delivery,
            timing: it.timing,
        })))
    }

    #[test]
    fn when_there_are_enough_only_the_fates_of_those_follow() {
        let mut kept = Kept::new(100, io::ErrorKind::Other);
        let mut output = Output::new(&mut kept, Some(1));
        output.write(&queued(1));
        assert!(output.is_ended());
        output.write(&queued(2));
        output.write(&delivered(2));
        output.write(&delivered(1));
        // What the pipeline itself says is none of those that are counted.
        output.write_own(&Shown::Event(session()));
        assert_eq!(output.tally().delivered, 1);
        assert!(output.into_result().is_ok());
        assert_eq!(kept.kinds, ["send", "update", "session"]);
    }

    #[test]
    fn after_an_error_nothing_is_written_and_the_first_one_is_told() {
        let mut kept = Kept::new(1, io::ErrorKind::StorageFull);
        let mut output = Output::new(&mut kept, None);
        output.write(&queued(1));
        assert!(!output.is_ended());
        output.write(&queued(2));
        output.write(&queued(3));
        output.fail(io::ErrorKind::BrokenPipe.into());
        assert!(output.is_ended());
        let error = output.into_result().expect_err("the disk is full");
        let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!(cause, Some(io::ErrorKind::StorageFull));
        assert_eq!(kept.kinds, ["send"]);
    }

    #[test]
    fn a_closed_pipe_is_an_end_like_any_other() {
        let mut kept = Kept::new(0, io::ErrorKind::BrokenPipe);
        let mut output = Output::new(&mut kept, None);
        output.write(&queued(1));
        assert!(output.is_ended());
        assert!(output.into_result().is_ok());
    }
}
