//! What a unit's history is made of: its messages, what was concluded of them, what its manager says.
//!
//! All text is made safe here: what stands in an entry may go to a terminal as it is.

use jiff::Timestamp;

use crate::correlate::outcome::{Certainty, Phase, Verdict};
use crate::escape::escape_field;
use crate::event::{
    ConnectFailed, DeliveryState, Notification, PlanName, Process, Unknown, Update,
};
use crate::sink::text::{facts, outcome};
use crate::words;

/// Most cells of a message that are kept.
const TEXT_CELLS: usize = 400;

/// Most cells of any other text.
const FACT_CELLS: usize = 400;

/// Something that a unit did, or that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A message.
    Message(Message),
    /// What is wrong with it.
    Verdict(Box<Told>),
    /// A part of its life that is over.
    Note(Note),
}

impl Entry {
    /// When it was.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Message(it) => it.time,
            Self::Verdict(it) => it.time,
            Self::Note(it) => it.time,
        }
    }
}

/// A message, or an attempt to connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Number of the notification.
    pub id: Option<u64>,
    /// When it was sent.
    pub time: Timestamp,
    /// The same.
    pub monotonic_ns: u64,
    /// `comm[pid]`.
    pub sender: String,
    /// The process that took it, else where it was to go.
    pub receiver: String,
    /// Its lines.
    pub text: String,
    /// Why it did not arrive, or not yet.
    pub reason: Option<String>,
    /// What isn't as usual.
    pub remarks: Vec<String>,
    /// What became of it.
    pub state: DeliveryState,
    /// How long that took.
    pub latency_ns: Option<u64>,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its number.
    pub number: u64,
    /// When it happened.
    pub time: Timestamp,
    /// The word for it.
    pub kind: String,
    /// Whether it is certain.
    pub is_certain: bool,
    /// The notifications that it is about.
    pub about: String,
    /// What happened.
    pub what: String,
    /// What says so.
    pub evidence: Vec<String>,
    /// The receiver's rule.
    pub rule: Option<&'static str>,
    /// What helps.
    pub remedy: Option<&'static str>,
    /// How often it was repeated.
    pub repeats: u64,
}

/// A part of a unit's life.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// When it ended.
    pub time: Timestamp,
    /// What is to be said of it.
    pub text: String,
}

impl Message {
    /// Of a notification.
    #[must_use]
    pub fn of(it: &Notification, plan: Option<PlanName>) -> Self {
        let lines: Vec<String> = it.lines.iter().filter_map(words::line).collect();
        let text = match (lines.is_empty(), it.payload.is_some()) {
            (false, _) => words::cut(lines.join("  "), TEXT_CELLS),
            (true, true) => "(empty)".to_owned(),
            (true, false) if it.unknown.contains(&Unknown::PayloadRedacted) => {
                "(withheld)".to_owned()
            }
            (true, false) => "(not known)".to_owned(),
        };
        Self {
            id: Some(it.id),
            time: it.time,
            monotonic_ns: it.monotonic_ns,
            sender: sender(it.sender.as_ref()),
            receiver: match &it.delivery.reader {
                Some(reader) => words::name(reader),
                None => words::cut(words::target(it), FACT_CELLS),
            },
            text,
            reason: facts::reason(it),
            remarks: facts::remarks(it, plan),
            state: it.delivery.state,
            latency_ns: it.timing.delivery_ns(),
        }
    }

    /// Of a connect that failed.
    #[must_use]
    pub fn of_connect(it: &ConnectFailed) -> Self {
        Self {
            id: None,
            time: it.time,
            monotonic_ns: it.monotonic_ns,
            sender: words::name(&it.sender),
            receiver: words::cut(words::address(&it.address), FACT_CELLS),
            text: String::new(),
            reason: Some(format!("connect {}", words::errno(&it.error))),
            remarks: Vec::new(),
            state: DeliveryState::Failed,
            latency_ns: None,
        }
    }

    /// What became known of it later.
    pub fn update(&mut self, it: &Update) {
        self.state = it.delivery.state;
        self.latency_ns = it.timing.delivery_ns().or(self.latency_ns);
        if let Some(process) = &it.sender {
            self.sender = words::name(process);
        }
        if let Some(reader) = &it.delivery.reader {
            self.receiver = words::name(reader);
        }
        self.reason = match it.delivery.state {
            DeliveryState::Delivered => None,
            DeliveryState::Failed => Some(facts::error(it.result.as_ref())),
            DeliveryState::Filtered => Some("by the receiver's filter".to_owned()),
            DeliveryState::Destroyed => Some("receiver closed, unread".to_owned()),
            DeliveryState::Queued => Some("in the queue".to_owned()),
            DeliveryState::Sending | DeliveryState::Unknown => self.reason.take(),
        };
        if it.delivery.sender_present == Some(false) {
            self.remarks.push("sender gone".to_owned());
        }
    }

    /// The reason and the lines, as they stand in one line.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.reason {
            Some(reason) if self.text.is_empty() => reason.clone(),
            Some(reason) => format!("{reason}  {}", self.text),
            None => self.text.clone(),
        }
    }
}

impl Told {
    /// Of a verdict.
    #[must_use]
    pub fn of(it: &Verdict) -> Self {
        Self {
            number: it.number,
            time: it.at.time,
            kind: words::serde_word(&it.kind),
            is_certain: it.certainty == Certainty::Certain,
            about: words::cut(outcome::numbers(&it.about), FACT_CELLS),
            what: safe(&it.what),
            evidence: it.evidence.iter().map(|text| safe(text)).collect(),
            rule: it.rule,
            remedy: it.remedy,
            repeats: 0,
        }
    }
}

impl Note {
    /// Of a phase that has ended.
    #[must_use]
    pub fn of(it: &Phase) -> Self {
        Self {
            time: it.at.time,
            text: safe(&outcome::phase_words(it)),
        }
    }
}

/// The sentences of the correlator hold escaped text already: nothing is escaped twice.
fn safe(text: &str) -> String {
    let text = if text.chars().any(crate::escape::is_dangerous) {
        escape_field(text.as_bytes()).to_string()
    } else {
        text.to_owned()
    };
    words::cut(text, FACT_CELLS)
}

fn sender(process: Option<&Process>) -> String {
    process.map_or_else(|| "?".to_owned(), words::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;

    #[test]
    fn nothing_that_acts_on_a_terminal_is_kept() {
        let payload = "STATUS=\x1b[2J\u{202e}gpj\u{9b}5m\r\n\x07=\x1b]0;x\x07\nREADY=1";
        let it = Sample::new(payload)
            .from("\x1b[31mred", 7, "a.service")
            .build();
        let message = Message::of(&it, None);
        for text in [message.line(), message.sender.clone(), message.receiver] {
            assert!(!text.chars().any(crate::escape::is_dangerous), "{text:?}");
        }
        assert!(message.text.contains("READY=1"), "{}", message.text);
        assert_eq!(message.sender, r"\e\x5b31mred[7]");
    }

    #[test]
    fn a_long_message_is_cut() {
        let message = Message::of(
            &Sample::new(&format!("STATUS={}", "世".repeat(900))).build(),
            None,
        );
        assert!(message.text.chars().count() < 220, "{}", message.text);
        assert!(message.text.ends_with('…'), "{}", message.text);
    }

    #[test]
    fn why_it_failed_stands_first() {
        let it = Sample::new("READY=1").failed(111, "ECONNREFUSED").build();
        assert_eq!(Message::of(&it, None).line(), "ECONNREFUSED  READY=1");
    }

    #[test]
    fn sentences_of_the_correlator_are_not_escaped_twice() {
        assert_eq!(safe(r"a\x20said b"), r"a\x20said b");
        assert_eq!(safe("a\x1b[2J"), r"a\e[2J");
    }
}
