//! Recorded events, read back: JSON Lines as `trace --output json` and `--write` make them.
//!
//! Events of unknown types (a newer version's) and conclusions (drawn anew) are left out and counted.
//! A last line that was cut off is left out; whatever else is no event is an error that names the line.

use std::io::{self, BufRead};

use serde::Deserialize;

use crate::event::{Event, FORMAT_VERSION};

/// Types of lines that are conclusions, not events.
const OUTCOMES: [&str; 4] = ["verdict", "relay", "phase", "repeats"];

/// Types of events that this version knows.
const EVENTS: [&str; 10] = [
    "session",
    "send",
    "update",
    "connect_failed",
    "receiver_closed",
    "exit",
    "unit",
    "view",
    "loss",
    "summary",
];

/// Most bytes of a line: a payload's bytes and paths, each written three times and escaped, are less.
const LINE_MAX: u64 = 16 << 20;

/// Why a recording can't be read on.
#[derive(Debug)]
pub enum Trouble {
    /// The file can't be read.
    Io(io::Error),
    /// A line is no event.
    Corrupt {
        /// Its number, the first is 1.
        line: u64,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A line is longer than any event.
    TooLong {
        /// Its number.
        line: u64,
    },
    /// It was written by a version whose format this one does not know.
    Version(u32),
    /// It does not begin with a session.
    NoSession,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(_) => write!(f, "the recording can't be read"),
            Self::Corrupt { line, .. } => write!(
                f,
                "line {line} of the recording is no event; remove it to go on without it \
                 (sed -i {line}d FILE)"
            ),
            Self::TooLong { line } => write!(
                f,
                "line {line} of the recording is longer than any event: is it JSON Lines of notify-trace?"
            ),
            Self::Version(version) => write!(
                f,
                "the recording has format version {version}, this notify-trace knows {FORMAT_VERSION}: \
                 use a newer one"
            ),
            Self::NoSession => write!(
                f,
                "the recording does not begin with a session event: is it JSON Lines of notify-trace \
                 (trace --output json, or --write)?"
            ),
        }
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Corrupt { source, .. } => Some(source),
            Self::TooLong { .. } | Self::Version(_) | Self::NoSession => None,
        }
    }
}

/// What was not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Events of unknown types.
    pub unknown: u64,
    /// The last line was cut off, so what came after it is missing, too.
    pub is_cut_off: bool,
    /// There is no summary: the recording was cut off, or goes on.
    pub is_open: bool,
}

/// The type of a line.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads a recording; each event goes to `take`, which says whether to go on.
///
/// # Errors
/// See [`Trouble`]; what came before has gone to `take`.
pub fn read(
    input: &mut dyn BufRead,
    take: &mut dyn FnMut(Event) -> bool,
) -> Result<LeftOut, Trouble> {
    let mut left_out = LeftOut {
        is_open: true,
        ..LeftOut::default()
    };
    let mut has_session = false;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = io::Read::take(&mut *input, LINE_MAX);
        limited.read_until(b'\n', &mut line).map_err(Trouble::Io)?;
        let is_whole = line.last() == Some(&b'\n');
        if line.is_empty() {
            break;
        }
        if !is_whole && u64::try_from(line.len()).is_ok_and(|length| length >= LINE_MAX) {
            return Err(Trouble::TooLong { line: number });
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let event = match serde_json::from_slice(&line) {
            Ok(event) => event,
            Err(source) => match serde_json::from_slice::<Typed>(&line) {
                Ok(Typed { kind }) if OUTCOMES.contains(&&*kind) => continue,
                Ok(Typed { kind }) if !EVENTS.contains(&&*kind) => {
                    left_out.unknown += 1;
                    continue;
                }
                Err(_) if !is_whole && has_session => {
                    left_out.is_cut_off = true;
                    break;
                }
                Err(_) if !has_session => return Err(Trouble::NoSession),
                Ok(_) | Err(_) => {
                    return Err(Trouble::Corrupt {
                        line: number,
                        source,
                    });
                }
            },
        };
        match &event {
            Event::Session(session) if session.format_version > FORMAT_VERSION => {
                return Err(Trouble::Version(session.format_version));
            }
            Event::Session(_) => has_session = true,
            _ if !has_session => return Err(Trouble::NoSession),
            Event::Summary(_) => left_out.is_open = false,
            _ => {}
        }
        if !take(event) {
            break;
        }
    }
    if has_session {
        Ok(left_out)
    } else {
        Err(Trouble::NoSession)
    }
}

#[cfg(test)]
mod tests;
