//! The same events to two sinks.

use std::io;

use tokio::time::Instant;

use super::Sink;
use crate::correlate::outcome::Outcome;
use crate::event::Event;

/// Writes to both. Whoever looks at the first may go away: the second goes on.
pub struct Tee<'a> {
    first: Option<Box<dyn Sink + 'a>>,
    second: Box<dyn Sink + 'a>,
}

impl<'a> Tee<'a> {
    /// Writes to `second` before `first`: what was shown is in the file.
    #[must_use]
    pub fn new(first: Box<dyn Sink + 'a>, second: Box<dyn Sink + 'a>) -> Self {
        Self {
            first: Some(first),
            second,
        }
    }

    fn both(&mut self, step: impl Fn(&mut dyn Sink) -> io::Result<()>) -> io::Result<()> {
        // A pipe that is closed is an end like any other, but not of what is to be kept.
        step(self.second.as_mut()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::other("its reader went away"),
            _ => error,
        })?;
        let Some(first) = &mut self.first else {
            return Ok(());
        };
        match step(first.as_mut()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.first = None,
            result => return result,
        }
        Ok(())
    }
}

impl Sink for Tee<'_> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.both(|sink| sink.event(event))
    }

    /// A recording holds events only: conclusions are drawn anew from them.
    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        let Some(first) = &mut self.first else {
            return Ok(());
        };
        match first.outcome(outcome) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.first = None,
            result => return result,
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.both(|sink| sink.flush())
    }

    fn ends_at(&self) -> Option<Instant> {
        self.first.as_ref()?.ends_at()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.both(|sink| sink.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Exit;
    use crate::sink::Json;

    #[test]
    fn both_get_every_event() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        {
            let (first, second) = (Json::new(&mut one), Json::new(&mut other));
            let mut tee = Tee::new(Box::new(first), Box::new(second));
            let exit = Exit {
                time: "2026-11-23T14:42:01Z".parse().expect("a time"),
                monotonic_ns: 1,
                pid: 2,
                start_boottime_ns: None,
            };
            tee.event(&Event::Exit(exit)).expect("vectors take all");
            tee.flush().expect("vectors take all");
        }
        assert!(!one.is_empty());
        assert_eq!(one, other);
    }

    /// Its reader is gone.
    struct Closed;

    impl Sink for Closed {
        fn event(&mut self, _: &Event) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn when_nobody_looks_any_more_the_file_goes_on() {
        let exit = Event::Exit(Exit {
            time: "2026-11-23T14:42:01Z".parse().expect("a time"),
            monotonic_ns: 1,
            pid: 2,
            start_boottime_ns: None,
        });
        let mut file = Vec::new();
        {
            let mut tee = Tee::new(Box::new(Closed), Box::new(Json::new(&mut file)));
            for _ in 0..2 {
                tee.event(&exit).expect("the file takes all");
            }
        }
        assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), 2);
        let mut lost = Tee::new(Box::new(Json::new(io::sink())), Box::new(Closed));
        let error = lost.event(&exit).expect_err("what is to be kept is lost");
        assert_ne!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
