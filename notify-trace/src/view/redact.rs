//! What is withheld of payloads: the values of some keys, or of all. Pure.
//!
//! Whatever could hold a part of a withheld value goes too: the raw payload, lines that may continue
//! a value, and the sender's command line (`systemd-notify --status=…`).

use std::sync::Arc;

use crate::event::{Blob, Event, Later, Line, Process, Unknown};
use crate::glob;

/// What is withheld.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Redact {
    /// Nothing.
    #[default]
    Nothing,
    /// The values of the keys that one of these globs matches.
    Keys(Vec<String>),
    /// All values.
    AllValues,
}

impl Redact {
    /// In words, for the session event.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Keys(keys) => keys.iter().map(|key| format!("redact={key}")).collect(),
            Self::AllValues => vec!["keys-only".to_owned()],
        }
    }

    /// Takes out what is to be withheld.
    pub fn apply(&self, event: &mut Event) {
        if *self == Self::Nothing {
            return;
        }
        match event {
            Event::Send(notification) => {
                withhold_command_line(notification.sender.as_mut());
                withhold_command_line(notification.delivery.reader.as_mut());
                let (lines, is_changed) = self.lines(&notification.lines);
                notification.lines = lines;
                let has_bytes = |payload: &Blob| !payload.0.is_empty();
                if (is_changed || *self == Self::AllValues)
                    && notification.payload.as_ref().is_some_and(has_bytes)
                {
                    notification.payload = None;
                    notification.unknown.push(Unknown::PayloadRedacted);
                }
            }
            Event::Update(update) => {
                withhold_command_line(update.sender.as_mut());
                withhold_command_line(update.delivery.reader.as_mut());
            }
            Event::ConnectFailed(failed) => withhold_command_line(Some(&mut failed.sender)),
            Event::ReceiverClosed(closed) => withhold_command_line(Some(&mut closed.closer)),
            // A traced command may be `systemd-notify --status=…`.
            Event::Session(session) => {
                if let Some(at) = session.command_line.iter().position(|word| word == "--") {
                    session.command_line.truncate(at);
                }
            }
            Event::Exit(_)
            | Event::Unit(_)
            | Event::View(_)
            | Event::Loss(_)
            | Event::Summary(_) => {}
        }
    }

    /// The lines as they are to be shown, and whether anything was withheld.
    fn lines(&self, lines: &[Line]) -> (Vec<Line>, bool) {
        let mut is_changed = false;
        // A value may go on in the lines that follow.
        let mut is_in_secret = *self == Self::AllValues;
        let shown = lines
            .iter()
            .enumerate()
            .map(|(index, line)| match line {
                Line::Assignment { key, value } => {
                    if self.is_secret(&key.0) {
                        is_in_secret = true;
                    } else if is_well_known(&key.0) {
                        is_in_secret = false;
                    }
                    // What follows a withheld value may be a piece of it that holds a `=`.
                    let is_asked_for = *self != Self::AllValues && self.is_secret(&key.0);
                    let is_key = is_key(&key.0)
                        && (index == 0
                            || is_asked_for
                            || is_well_known(&key.0)
                            || key.0.starts_with(b"X_"));
                    if !is_in_secret {
                        return line.clone();
                    }
                    is_changed = true;
                    let hidden = if is_key { 0 } else { key.0.len() + 1 };
                    redacted(is_key.then(|| key.clone()), value.0.len() + hidden)
                }
                Line::Other { text } if is_in_secret && !text.0.is_empty() => {
                    is_changed = true;
                    redacted(None, text.0.len())
                }
                Line::Other { .. } | Line::Redacted { .. } => line.clone(),
            })
            .collect();
        (shown, is_changed)
    }

    fn is_secret(&self, key: &[u8]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Keys(globs) => globs.iter().any(|it| is_like(it, key)),
            Self::AllValues => true,
        }
    }
}

/// A glob of keys, in which a star takes any characters, of keys in any case.
fn is_like(glob: &str, key: &[u8]) -> bool {
    // What a sender calls a key may have a `/`, at which a single star would stop.
    let fold = |byte: &u8| match byte {
        b'/' => b'|',
        other => other.to_ascii_uppercase(),
    };
    let fold = |bytes: &[u8]| bytes.iter().map(fold).collect::<Vec<u8>>();
    glob::matches(&fold(glob.as_bytes()), &fold(key))
}

/// Whether an assignment to this key is hardly a piece of another one's value: the fields of
/// sd_notify(3).
fn is_well_known(key: &[u8]) -> bool {
    const KEYS: [&[u8]; 20] = [
        b"READY",
        b"RELOADING",
        b"STOPPING",
        b"MONOTONIC_USEC",
        b"STATUS",
        b"NOTIFYACCESS",
        b"ERRNO",
        b"BUSERROR",
        b"VARLINKERROR",
        b"EXIT_STATUS",
        b"MAINPID",
        b"MAINPIDFDID",
        b"MAINPIDFD",
        b"WATCHDOG",
        b"WATCHDOG_USEC",
        b"EXTEND_TIMEOUT_USEC",
        b"FDSTORE",
        b"FDNAME",
        b"FDSTOREREMOVE",
        b"BARRIER",
    ];
    KEYS.contains(&key)
}

/// Whether this is a key, and not a piece of a value that happens to hold a `=`.
fn is_key(key: &[u8]) -> bool {
    let is_allowed =
        |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    !key.is_empty() && key.iter().all(is_allowed)
}

fn redacted(key: Option<Blob>, bytes: usize) -> Line {
    Line::Redacted {
        key,
        redacted_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    }
}

fn withhold_command_line(process: Option<&mut Process>) {
    let Some(later) = process.and_then(|process| process.later.as_mut()) else {
        return;
    };
    if !later.command_line.is_empty() {
        *later = Arc::new(Later {
            command_line: Vec::new(),
            ..Later::clone(later)
        });
    }
}
