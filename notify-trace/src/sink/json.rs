//! JSON Lines: one object a line, as `docs/events.md` describes it.
//!
//! Line ends inside values are escaped by JSON itself, so a line is always one event. So are, beyond
//! what JSON asks for, all characters that could act on a terminal (C1 controls, bidi overrides and
//! the like): as `\u` escapes, so a parser gets the same text. Each line is written in one call: a
//! reader of an unbuffered output never sees half of one.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::Sink;
use crate::correlate::outcome::Outcome;
use crate::escape::is_dangerous;
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

/// Compact JSON in which nothing can act on a terminal.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Nearly always.
        if is_plain(fragment.as_bytes()) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_dangerous) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = after.chars();
            if let Some(character) = characters.next() {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Whether bytes, of which none is a C0 control any more, are printable ASCII: eight at once, for each byte of
/// a line comes by here.
fn is_plain(fragment: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHEST_BITS: u64 = ONES << 7;
    let (words, rest) = fragment.as_chunks::<8>();
    let are_words_plain = words.iter().all(|word| {
        let word = u64::from_ne_bytes(*word);
        // DEL and one is 0x80. Only 0xff carries, and is not ASCII by itself.
        (word | word.wrapping_add(ONES)) & HIGHEST_BITS == 0
    });
    are_words_plain && rest.iter().all(|byte| *byte < 0x7f)
}

/// Writes one value as a line of its own, by the same rules.
///
/// # Errors
/// If the output can't be written.
pub fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = Vec::new();
    push_line(&mut line, value)?;
    out.write_all(&line)
}

/// Adds one value as a line of its own.
///
/// # Errors
/// If it can't be written as JSON; no event is such.
pub fn push_line(lines: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *lines, Harmless))?;
    lines.push(b'\n');
    Ok(())
}

impl<W: Write> Json<W> {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        push_line(&mut self.line, value)?;
        self.out.write_all(&self.line)
    }
}

impl<W: Write> Sink for Json<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.line(event)
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Verdict(_) | Outcome::Relay(_) | Outcome::Phase(_) | Outcome::Repeats(_) => {
                self.line(outcome)
            }
            // The end says how often.
            Outcome::Again(_) | Outcome::Measure(_) => Ok(()),
        }
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
    fn what_could_act_on_a_terminal_is_escaped_and_read_back_as_it_was() {
        let text = "\u{9b}31m \u{202e}evil \u{e0001} \x1b[0m plain é";
        let mut line = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut line, Harmless))
            .expect("a vector");
        let line = String::from_utf8(line).expect("JSON is UTF-8");
        assert!(!line.chars().any(is_dangerous), "{line}");
        assert!(line.contains("plain é"), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), text);
    }

    #[test]
    fn each_byte_counts_wherever_it_stands() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0x20..=0xff_u8 {
                    let mut bytes = vec![b'~'; length];
                    bytes[at] = byte;
                    assert_eq!(
                        is_plain(&bytes),
                        byte < 0x7f,
                        "{byte:#x} at {at} of {length}"
                    );
                }
            }
        }
    }

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
