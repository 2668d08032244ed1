//! The vocabulary that all texts share. Whatever comes from outside is made safe here.

use std::fmt::{self, Display, Write as _};

use unicode_width::UnicodeWidthChar as _;

use crate::escape::escape_field;
use crate::event::{
    Address, Credentials, Defect, DeliveryState, Errno, Line, Notification, PlanName, Process,
    Receiver, Unknown,
};

/// The name that JSON has for a value of an enumeration.
#[must_use]
pub fn serde_word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// `comm[pid]`.
#[must_use]
pub fn name(process: &Process) -> String {
    name_of(&process.comm.0, process.pid)
}

/// `comm[pid]`. Brackets and arrows of a name's own are escaped: any process can choose its name.
#[must_use]
pub fn name_of(comm: &[u8], pid: u32) -> String {
    let comm = escape_field(comm)
        .to_string()
        .replace('[', "\\x5b")
        .replace(']', "\\x5d")
        .replace('→', "\\u{2192}");
    format!("{comm}[{pid}]")
}

/// A unit's name, made safe: a recording may say anything. A name may have backslashes of its own, which are no
/// escapes of ours: nothing else that is allowed in one is dangerous.
#[must_use]
pub fn unit(name: &str) -> String {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if name.bytes().all(is_allowed) {
        name.to_owned()
    } else {
        escape_field(name.as_bytes()).to_string()
    }
}

/// The spelling that `NOTIFY_SOCKET=` has, made safe.
#[must_use]
pub fn address(address: &Address) -> String {
    match &address.0[..] {
        [] => "(unnamed)".to_owned(),
        [0, name @ ..] => format!("@{}", escape_field(name)),
        // A path that looks like an abstract name.
        [b'@', path @ ..] => format!("\\x40{}", escape_field(path)),
        path => escape_field(path).to_string(),
    }
}

/// `/run/notify/notify.sock (bound as /proc/self/fd/9/notify/notify.sock)`.
#[must_use]
pub fn target(notification: &Notification) -> String {
    let wanted = notification.destination.as_ref().map(|to| &to.address);
    let bound = notification
        .receiver
        .as_ref()
        .and_then(|to| to.address.as_ref());
    match (wanted, bound) {
        (Some(wanted), Some(bound)) if wanted != bound => {
            format!("{} (bound as {})", address(wanted), address(bound))
        }
        (Some(it), _) | (None, Some(it)) => address(it),
        (None, None) => notification
            .receiver
            .as_ref()
            .map_or_else(|| "?".to_owned(), socket),
    }
}

/// A socket by its address or, without one, by its number.
#[must_use]
pub fn socket(receiver: &Receiver) -> String {
    match &receiver.address {
        Some(it) => address(it),
        None => format!("socket:[{}]", receiver.inode),
    }
}

/// A line of a payload: an assignment as it is, another line in quotes, an empty one not at all.
#[must_use]
pub fn line(line: &Line) -> Option<String> {
    match line {
        Line::Assignment { key, value } => Some(format!(
            "{}={}",
            escape_field(&key.0),
            escape_field(&value.0)
        )),
        Line::Other { text } if text.0.is_empty() => None,
        Line::Other { text } => Some(format!("\"{}\"", escape_field(&text.0))),
        Line::Redacted {
            key,
            redacted_bytes,
        } => {
            let bytes = count(*redacted_bytes, "byte", "bytes");
            Some(match key {
                // Not as an assignment, which the sender could have written so.
                Some(key) => format!("{} [{bytes} withheld]", escape_field(&key.0)),
                None => format!("[{bytes} withheld]"),
            })
        }
    }
}

/// A time span, in the unit that suits it.
#[must_use]
pub fn duration(ns: u64) -> String {
    let tenths = |ns: u64, unit: u64| format!("{}.{}", ns / unit, ns % unit * 10 / unit);
    match ns {
        0..1_000 => "<1 µs".to_owned(),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..100_000_000 => format!("{} ms", tenths(ns, 1_000_000)),
        100_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..60_000_000_000 => format!("{} s", tenths(ns, 1_000_000_000)),
        _ => {
            let seconds = ns / 1_000_000_000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

/// `ECONNREFUSED`, or the number.
#[must_use]
pub fn errno(error: &Errno) -> String {
    match &error.name {
        Some(name) => escape_field(name.as_bytes()).to_string(),
        None => format!("errno {}", error.errno),
    }
}

/// `pid 7 uid 0 gid 0`.
#[must_use]
pub fn credentials(credentials: Credentials) -> String {
    let Credentials { pid, uid, gid } = credentials;
    format!("pid {pid} uid {uid} gid {gid}")
}

/// `1 fd`, `2 fds`.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// As the command line names it.
#[must_use]
pub const fn plan_name(name: PlanName) -> &'static str {
    match name {
        PlanName::Trampolines => "trampolines",
        PlanName::Full => "full",
        PlanName::NoTrampolines => "no-trampolines",
        PlanName::Tracepoints => "tracepoints",
    }
}

/// What became of it.
#[must_use]
pub const fn state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "FAILED",
        DeliveryState::Sending => "pending, not queued yet",
        DeliveryState::Queued => "pending, in the queue",
        DeliveryState::Filtered => "DROPPED by the receiver's filter",
        DeliveryState::Destroyed => "DESTROYED unread with its receiver",
        DeliveryState::Unknown => "not known",
    }
}

/// What a receiver will object to.
#[must_use]
pub const fn defect(defect: Defect) -> &'static str {
    match defect {
        Defect::TooLong => "longer than 4096 bytes",
        Defect::EmbeddedNul => "NUL inside",
        Defect::Empty => "empty",
        Defect::NoAssignment => "no assignment",
        Defect::StatusNotUtf8 => "STATUS is not UTF-8",
        Defect::MalformedBarrier => "malformed barrier",
    }
}

/// What is not known.
#[must_use]
pub const fn unknown(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Sender => "sender",
        Unknown::SenderAtThisSend => "sender at this very send",
        Unknown::Destination => "destination",
        Unknown::Result => "result",
        Unknown::SendTimes => "send times",
        Unknown::Payload => "payload",
        Unknown::PayloadNeverCopied => "payload, never copied",
        Unknown::PayloadRedacted => "payload, withheld",
        Unknown::Claimed => "claimed credentials",
        Unknown::Fds => "fds",
        Unknown::ReceiverAddress => "receiver's name",
    }
}

/// At most so many cells of a terminal; the last one is `…` if there were more.
#[must_use]
pub fn cut(text: impl Display, cells: usize) -> String {
    let mut limited = Limited {
        text: String::new(),
        cells,
    };
    // An error only says that the rest isn't wanted.
    let _ = write!(limited, "{text}");
    limited.text
}

/// Cells that a text takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(cells_of).sum()
}

/// A text on lines of at most so many cells: broken at spaces, and within a word only if that is longer
/// than a line.
#[must_use]
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let width: usize = word.chars().map(cells_of).sum();
        if used > 0 && used + 1 + width <= cells {
            line.push(' ');
            used += 1;
        } else if used > 0 {
            // Spaces may have come before the break.
            line.truncate(line.trim_end_matches(' ').len());
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for character in word.chars() {
            if used > 0 && used + cells_of(character) > cells {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(character);
            used += cells_of(character);
        }
    }
    if used > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// A combining character counts too, so that a text is bounded as well.
fn cells_of(character: char) -> usize {
    character.width().unwrap_or(0).max(1)
}

struct Limited {
    text: String,
    cells: usize,
}

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let Some(left) = self.cells.checked_sub(cells_of(character)) else {
                // Room for the mark, which is one cell wide.
                while self.cells == 0
                    && let Some(last) = self.text.pop()
                {
                    self.cells += last.width().unwrap_or(0).max(1);
                }
                self.text.push('…');
                return Err(fmt::Error);
            };
            self.cells = left;
            self.text.push(character);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_broken_only_if_they_are_longer_than_a_line() {
        assert_eq!(wrap("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrap("a 123456789 b", 4), ["a", "1234", "5678", "9 b"]);
        assert_eq!(wrap("a  b  cd", 5), ["a  b", "cd"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
