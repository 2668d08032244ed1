//! What a service manager wrote in the journal about the notifications it took: an independent
//! account of each.
//!
//! The words are those of systemd 257 (`src/core/manager.c`, `src/core/service.c`). A manager takes
//! one datagram after the other, and writes one line for each.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A line is cut after so many bytes, the unit's name in front not counted: `LINE_MAX` with room for
/// the NUL at its end (`src/basic/log.c`).
pub const CUT: usize = 2047;

/// Matches all that is read here, and little else. Some lines begin with `Notify`, others have `notify` or
/// `notification`, and where a pattern has capitals journalctl tells them apart.
pub const PATTERN: &str = "otif.* message|truncated payload|Out of memory|SCM_PIDFD|^Missed |\
    ^Suppressed |^Vacuuming |^Journal header |^Too many messages ";

/// What a line says became of one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Taken, with these fields, joined by `, ` and perhaps cut.
    Message {
        /// The process of the credentials.
        pid: u32,
        /// The fields.
        text: Vec<u8>,
        /// It may go on.
        is_cut: bool,
    },
    /// A barrier.
    Barrier {
        /// The process of the credentials.
        pid: u32,
    },
    /// Not taken; whose it was is said, its fields are not.
    Refused {
        /// The process of the credentials.
        pid: u32,
    },
    /// Not taken, and not said whose it was.
    Nameless(Why),
}

/// Why a datagram was not taken, where the line doesn't say whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its sender was gone, and waited for.
    SenderDied,
    /// A NUL before its end.
    EmbeddedNul,
    /// Longer than the manager reads.
    TooLong,
    /// It can't be split into fields. The manager takes that for a lack of memory.
    Unsplittable,
    /// Its sender's unit is none that takes notifications.
    OtherUnit,
}

/// One line about one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was written, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// It came through the kernel's log: journald wasn't there, or too slow.
    pub by_kernel: bool,
    /// What it says.
    pub said: Said,
}

/// When an entry was written, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// It was queued to journald at this wall time.
    Native(u64),
    /// It was written to the kernel's log, which has a clock of its own, near to `CLOCK_MONOTONIC`.
    Kernel(u64),
}

/// An entry of the journal, as far as anybody here looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    written: Written,
    /// What journald's clocks said when it got it: the wall clock and `CLOCK_MONOTONIC`.
    received_us: (u64, u64),
    /// Who wrote it.
    pid: Option<u32>,
    identifier: Vec<u8>,
    message: Vec<u8>,
}

/// Which messages say that something of the journal is missing: who says so, its beginning, a part.
const LOSSES: [(&[u8], &str, &str); 5] = [
    (b"systemd-journald", "Missed ", " kernel messages"),
    (b"systemd-journald", "Suppressed ", " messages from "),
    (b"systemd-journald", "Vacuuming done, freed ", ""),
    (b"systemd-journald", "Journal header limits reached", ""),
    // The manager's own limit for the kernel's log (`src/basic/log.c`).
    (b"systemd", "Too many messages being logged to kmsg", ""),
];

impl Entry {
    /// Reads a line of `journalctl --output=json --all`.
    pub fn read(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json).context("not JSON")?;
        let number = |name: &str| {
            value[name]
                .as_str()
                .and_then(|text| text.parse::<u64>().ok())
        };
        let by_kernel = value["_TRANSPORT"] == "kernel";
        let received_us = number("__REALTIME_TIMESTAMP")
            .zip(number("__MONOTONIC_TIMESTAMP"))
            .context("no time")?;
        let written = if by_kernel {
            number("_SOURCE_MONOTONIC_TIMESTAMP")
                .or_else(|| number("_SOURCE_BOOTTIME_TIMESTAMP"))
                .map_or(Written::Kernel(received_us.1), Written::Kernel)
        } else {
            Written::Native(number("_SOURCE_REALTIME_TIMESTAMP").unwrap_or(received_us.0))
        };
        let pid = if by_kernel { "SYSLOG_PID" } else { "_PID" };
        Ok(Self {
            written,
            received_us,
            pid: number(pid).and_then(|pid| u32::try_from(pid).ok()),
            identifier: bytes(&value["SYSLOG_IDENTIFIER"]),
            message: bytes(&value["MESSAGE"]),
        })
    }

    /// Says which part of the journal is missing, if this entry tells of that.
    pub fn loss(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.message);
        let tells = LOSSES.iter().any(|(who, start, part)| {
            self.identifier == *who && text.starts_with(start) && text.contains(part)
        });
        tells.then(|| text.into_owned())
    }

    /// What the manager with this process id says here about a datagram, if it does; the wall clock
    /// is `ahead_us` ahead of the monotonic one.
    pub fn line_of(&self, manager: u32, ahead_us: u64) -> Option<Line> {
        if self.pid != Some(manager) || self.identifier != b"systemd" {
            return None;
        }
        let (at_us, by_kernel) = match self.written {
            Written::Native(at_us) => (at_us.saturating_sub(ahead_us), false),
            Written::Kernel(at_us) => (at_us, true),
        };
        Some(Line {
            at_ns: at_us * 1000,
            by_kernel,
            said: said(&self.message)?,
        })
    }
}

/// How far the wall clock is ahead of the monotonic one: the median, for between journald's looks at
/// the two it may have lost its CPU. Nobody sets a guest's clock.
pub fn ahead_us(entries: &[Entry]) -> Option<u64> {
    let mut all: Vec<u64> = entries
        .iter()
        .map(|entry| entry.received_us.0.saturating_sub(entry.received_us.1))
        .collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

/// A field: text, or a list of bytes where it is not UTF-8 or holds control characters.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(numbers) => numbers
            .iter()
            .filter_map(|number| u8::try_from(number.as_u64()?).ok())
            .collect(),
        _ => Vec::new(),
    }
}

/// Reads a message, with or without a unit's name in front.
fn said(message: &[u8]) -> Option<Said> {
    if let Some(rest) = after(message, b"Got notification message from PID ") {
        let (pid, rest) = number(rest)?;
        if rest.starts_with(b", but reception ") {
            return Some(Said::Refused { pid });
        }
        let text = rest.strip_prefix(b": ")?;
        let length = message.len() - prefix(message);
        return Some(Said::Message {
            pid,
            text: text.to_vec(),
            is_cut: length >= CUT,
        });
    }
    if let Some(rest) = message.strip_prefix(b"Received barrier notification message from PID ") {
        return Some(Said::Barrier {
            pid: number(rest)?.0,
        });
    }
    if let Some(rest) = message.strip_prefix(b"Cannot find unit for notify message of PID ") {
        return Some(Said::Refused {
            pid: number(rest)?.0,
        });
    }
    if let Some(rest) = message.strip_prefix(b"Got SCM_PIDFD for process ") {
        let words = b" but SCM_CREDENTIALS for process ";
        let rest = number(rest)?.1.strip_prefix(words)?;
        return Some(Said::Refused {
            pid: number(rest)?.0,
        });
    }
    let starts = |words: &str| message.starts_with(words.as_bytes());
    let why = if starts("Notify sender died before message is processed") {
        Why::SenderDied
    } else if starts("Received notify message with embedded NUL bytes") {
        Why::EmbeddedNul
    } else if starts("Got message with truncated payload data") {
        Why::TooLong
    } else if message == b"Out of memory." {
        Why::Unsplittable
    } else {
        after(
            message,
            b"Got notification message from unexpected unit type",
        )?;
        Why::OtherUnit
    };
    Some(Said::Nameless(why))
}

/// Length of a unit's name with what follows it.
fn prefix(message: &[u8]) -> usize {
    let words: &[u8] = b"Got notification message from ";
    if message.starts_with(words) {
        return 0;
    }
    find(message, b": ").map_or(0, |at| at + 2)
}

/// What follows these words, at the beginning or after a unit's name.
fn after<'a>(message: &'a [u8], words: &[u8]) -> Option<&'a [u8]> {
    message[prefix(message)..].strip_prefix(words).or_else(|| {
        // No name: the text itself has a colon.
        message.strip_prefix(words)
    })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A number, and what follows it.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((number, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pid: u32, text: &[u8]) -> Option<Said> {
        Some(Said::Message {
            pid,
            text: text.to_vec(),
            is_cut: false,
        })
    }

    #[test]
    fn a_message_has_a_pid_and_fields_behind_the_units_name() {
        let text = b"a@b.service: Got notification message from PID 42: READY=1, STATUS=a: b";
        assert_eq!(said(text), message(42, b"READY=1, STATUS=a: b"));
        let text = b"Got notification message from PID 42: STATUS=x: Got notification message";
        assert_eq!(
            said(text),
            message(42, b"STATUS=x: Got notification message")
        );
    }

    #[test]
    fn a_payload_that_imitates_a_line_stays_a_payload() {
        let text = b"a.service: Got notification message from PID 1: X=Received barrier \
            notification message from PID 2.";
        assert!(matches!(said(text), Some(Said::Message { pid: 1, .. })));
        let text = b"a.service: Got notification message from PID 1: X=, but reception is disabled";
        assert!(matches!(said(text), Some(Said::Message { pid: 1, .. })));
    }

    #[test]
    fn a_line_as_long_as_lines_get_may_be_cut() {
        let words = "Got notification message from PID 7: ";
        let fill = "x".repeat(CUT - words.len());
        let whole = format!("a.service: {words}{fill}");
        assert!(matches!(
            said(whole.as_bytes()),
            Some(Said::Message { is_cut: true, .. })
        ));
        let shorter = &whole[..whole.len() - 1];
        assert!(matches!(
            said(shorter.as_bytes()),
            Some(Said::Message { is_cut: false, .. })
        ));
    }

    #[test]
    fn refusals_say_whose_it_was() {
        for text in [
            "Cannot find unit for notify message of PID 9, ignoring.",
            "a.service: Got notification message from PID 9, but reception is disabled",
            "a.service: Got notification message from PID 9, but reception only permitted for main \
             PID 8",
            "Got SCM_PIDFD for process 8 but SCM_CREDENTIALS for process 9. Ignoring.",
        ] {
            assert_eq!(
                said(text.as_bytes()),
                Some(Said::Refused { pid: 9 }),
                "{text}"
            );
        }
    }

    #[test]
    fn some_refusals_say_only_why() {
        let of = |text: &str| said(text.as_bytes());
        let died = "Notify sender died before message is processed. Ignoring.";
        assert_eq!(of(died), Some(Said::Nameless(Why::SenderDied)));
        let scope = "a.scope: Got notification message from unexpected unit type, ignoring: X=1";
        assert_eq!(of(scope), Some(Said::Nameless(Why::OtherUnit)));
    }

    #[test]
    fn other_lines_say_nothing_of_datagrams() {
        for text in [
            "a.service: Changed start -> running",
            "",
            "Got notification",
            "x: ",
        ] {
            assert_eq!(said(text.as_bytes()), None, "{text}");
        }
    }

    const ENTRY: &str = r#"{"__REALTIME_TIMESTAMP": "1000500", "__MONOTONIC_TIMESTAMP": "700",
        "_SOURCE_REALTIME_TIMESTAMP": "1000400", "_TRANSPORT": "journal", "_PID": "1",
        "SYSLOG_IDENTIFIER": "systemd",
        "MESSAGE": "Received barrier notification message from PID 5."}"#;

    #[test]
    fn the_time_is_the_senders_on_the_monotonic_clock() {
        let line = Entry::read(ENTRY).unwrap().line_of(1, 999_800).unwrap();
        let expected = Line {
            at_ns: 600_000,
            by_kernel: false,
            said: Said::Barrier { pid: 5 },
        };
        assert_eq!(line, expected);
        assert_eq!(Entry::read(ENTRY).unwrap().line_of(2, 999_800), None);
    }

    #[test]
    fn clocks_are_compared_by_the_median() {
        let of = |real: u64, monotonic: u64| Entry {
            received_us: (real, monotonic),
            ..Entry::read(ENTRY).unwrap()
        };
        let entries = [of(1010, 10), of(1020, 20), of(1900, 30)];
        assert_eq!(ahead_us(&entries), Some(1000));
        assert_eq!(ahead_us(&[]), None);
    }

    #[test]
    fn a_line_through_the_kernels_log_has_the_kernels_time() {
        let text = ENTRY
            .replace("\"journal\"", "\"kernel\"")
            .replace("_SOURCE_REALTIME", "_SOURCE_MONOTONIC")
            .replace("\"_PID\"", "\"SYSLOG_PID\"");
        let line = Entry::read(&text).unwrap().line_of(1, 999_800).unwrap();
        assert_eq!((line.at_ns, line.by_kernel), (1_000_400_000, true));
    }

    #[test]
    fn bytes_that_are_no_text_are_read_as_bytes() {
        let list = format!(
            "{:?}",
            b"Cannot find unit for notify message of PID 9, \xff"
        );
        let text = ENTRY.replace(
            "\"Received barrier notification message from PID 5.\"",
            &list,
        );
        let line = Entry::read(&text).unwrap().line_of(1, 999_800).unwrap();
        assert_eq!(line.said, Said::Refused { pid: 9 });
    }

    #[test]
    fn journald_and_the_manager_tell_of_what_they_lost() {
        let text = ENTRY
            .replace("\"systemd\"", "\"systemd-journald\"")
            .replace(
                "Received barrier notification message from PID 5.",
                "Missed 7 kernel messages",
            );
        assert!(Entry::read(&text).unwrap().loss().is_some());
        assert_eq!(Entry::read(ENTRY).unwrap().loss(), None);
        let text = ENTRY.replace(
            "Received barrier notification message from PID 5.",
            "Too many messages being logged to kmsg, ignoring",
        );
        assert!(Entry::read(&text).unwrap().loss().is_some());
    }
}
