//! JSON Lines: one object a line, as `docs/events.md` describes it.
//!
//! Line ends inside values are escaped by JSON itself, so a line is always one event. Each line is
//! written in one call: a reader of an unbuffered output never sees half of one.

use std::io::{self, Write};

use super::Sink;
use crate::event::Event;

/// Writes JSON Lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Json<W> {
    /// Writes to `out`, which should be buffered if it is flushed seldom.
    #[must_use]
    pub const fn new(out: W) -> Self {
        Self {
            out,
            line: Vec::new(),
        }
    }
}

impl<W: Write> Sink for Json<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, event)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Exit;

    #[test]
    fn each_event_is_one_line() {
        let exit = Event::Exit(Exit {
            time: "2026-11-23T14:42:01.5Z".parse().expect("a time"),
            monotonic_ns: 5,
            pid: 42,
            start_boottime_ns: None,
        });
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        json.event(&exit).expect("a vector takes all");
        json.event(&exit).expect("a vector takes all");
        json.flush().expect("a vector takes all");
        let line = r#"{"type":"exit","time":"2026-11-23T14:42:01.5Z","monotonic_ns":5,"pid":42}"#;
        assert_eq!(
            String::from_utf8(out).expect("JSON is UTF-8"),
            format!("{line}\n{line}\n")
        );
    }
}
