//! The vocabulary of the text output.

use std::fmt::{self, Display, Write as _};

use crate::escape::escape_field;
use crate::event::{Address, Credentials, Defect, Errno, Process, Unknown};

/// Most characters of a cgroup's path.
const PATH_COLUMNS: usize = 300;

/// `comm[pid]` and, where it is known, the cgroup's path.
pub(super) fn sender(process: Option<&Process>) -> Vec<String> {
    let Some(process) = process else {
        return vec!["?".to_owned()];
    };
    let mut parts = vec![name(process)];
    if let Some(cgroup) = &process.cgroup {
        parts.push(match &cgroup.path {
            Some(path) => cut(escape_field(&path.0), PATH_COLUMNS),
            None => format!("(cgroup {})", cgroup.id),
        });
    }
    parts
}

/// `comm[pid]`.
pub(super) fn name(process: &Process) -> String {
    format!("{}[{}]", escape_field(&process.comm.0), process.pid)
}

/// The spelling that `NOTIFY_SOCKET=` has, made safe.
pub(super) fn address(address: &Address) -> String {
    match address.0.as_slice() {
        [] => "(unnamed)".to_owned(),
        [0, name @ ..] => format!("@{}", escape_field(name)),
        // A path that looks like an abstract name.
        [b'@', path @ ..] => format!("\\x40{}", escape_field(path)),
        path => escape_field(path).to_string(),
    }
}

/// A time span, in the unit that suits it.
pub(super) fn duration(ns: u64) -> String {
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
pub(super) fn errno(error: &Errno) -> String {
    match &error.name {
        Some(name) => escape_field(name.as_bytes()).to_string(),
        None => format!("errno {}", error.errno),
    }
}

pub(super) fn credentials(credentials: Credentials) -> String {
    let Credentials { pid, uid, gid } = credentials;
    format!("pid {pid} uid {uid} gid {gid}")
}

/// `1 fd`, `2 fds`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

pub(super) const fn defect(defect: Defect) -> &'static str {
    match defect {
        Defect::TooLong => "longer than 4096 bytes",
        Defect::EmbeddedNul => "NUL inside",
        Defect::Empty => "empty",
        Defect::NoAssignment => "no assignment",
        Defect::StatusNotUtf8 => "STATUS is not UTF-8",
        Defect::MalformedBarrier => "malformed barrier",
    }
}

pub(super) const fn unknown(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Sender => "sender",
        Unknown::SenderAtThisSend => "sender at this very send",
        Unknown::Destination => "destination",
        Unknown::Result => "result",
        Unknown::SendTimes => "send times",
        Unknown::Payload => "payload",
        Unknown::PayloadNeverCopied => "payload, never copied",
        Unknown::Claimed => "claimed credentials",
        Unknown::Fds => "fds",
        Unknown::ReceiverAddress => "receiver's name",
    }
}

/// At most `columns` characters; the last one is `…` if there were more.
pub(super) fn cut(text: impl Display, columns: usize) -> String {
    let mut limited = Limited {
        text: String::new(),
        columns,
    };
    // An error only says that the rest isn't wanted.
    let _ = write!(limited, "{text}");
    limited.text
}

struct Limited {
    text: String,
    columns: usize,
}

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.columns == 0 {
                self.text.pop();
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.columns -= 1;
            self.text.push(character);
        }
        Ok(())
    }
}
