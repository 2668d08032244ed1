//! The same events to two sinks.

use std::io;

use super::Sink;
use crate::event::Event;

/// Writes to both; what one can't take ends it for both.
pub struct Tee<'a> {
    first: Box<dyn Sink + 'a>,
    second: Box<dyn Sink + 'a>,
}

impl<'a> Tee<'a> {
    /// Writes to `second` before `first`: what was shown is in the file.
    #[must_use]
    pub fn new(first: Box<dyn Sink + 'a>, second: Box<dyn Sink + 'a>) -> Self {
        Self { first, second }
    }
}

impl Sink for Tee<'_> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.second.event(event)?;
        self.first.event(event)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.second.flush()?;
        self.first.flush()
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
}
