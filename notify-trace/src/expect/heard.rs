//! What was sent, as far as expectations are about it, and what became of it.

use std::collections::HashMap;

use crate::correlate::outcome::{Kind, Outcome, Subject, Verdict};
use crate::correlate::subject_of;
use crate::event::{DeliveryState, Event, Line, Notification, Process};
use crate::words;

/// Most messages that are kept.
const KEPT: usize = 100_000;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number.
    pub id: u64,
    /// When it was taken, or else sent, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Whose it is.
    pub subject: Subject,
    /// Kind of its notify socket.
    pub class: String,
    /// What it says.
    pub lines: Vec<Line>,
    /// What became of it.
    pub state: DeliveryState,
    /// Why nobody acts on it, a sentence.
    pub refused: Option<String>,
}

impl Message {
    /// Whether it did what its sender wanted, as far as is known.
    #[must_use]
    pub const fn counts(&self) -> bool {
        matches!(self.state, DeliveryState::Delivered) && self.refused.is_none()
    }

    /// What it says, in words.
    #[must_use]
    pub fn text(&self) -> String {
        let lines: Vec<String> = self.lines.iter().filter_map(words::line).collect();
        lines.join(" ")
    }
}

/// All that was heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// When it began, `CLOCK_MONOTONIC`.
    pub began_ns: Option<u64>,
    /// The latest moment that anything spoke of.
    pub now_ns: u64,
    /// In the order in which they became known.
    pub messages: Vec<Message>,
    /// In their order.
    pub verdicts: Vec<Verdict>,
    /// Messages beyond those that are kept.
    pub forgotten: u64,
    by_id: HashMap<u64, usize>,
}

impl Heard {
    /// Takes an event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Session(it) => {
                self.began_ns.get_or_insert(it.monotonic_ns);
                self.now_ns = self.now_ns.max(it.monotonic_ns);
            }
            Event::Send(it) => self.send(it),
            Event::Update(it) => {
                self.now_ns = self.now_ns.max(it.monotonic_ns);
                let Some(message) = self.by_id.get(&it.id).map(|at| &mut self.messages[*at]) else {
                    return;
                };
                message.state = it.delivery.state;
                if let Some(at_ns) = it.timing.dequeued_ns {
                    message.at_ns = at_ns;
                }
                if let Some(sender) = &it.sender {
                    message.subject = subject(sender, &message.class);
                }
            }
            Event::Unit(it) => self.now_ns = self.now_ns.max(it.monotonic_ns),
            Event::Exit(it) => self.now_ns = self.now_ns.max(it.monotonic_ns),
            Event::Summary(it) => self.now_ns = self.now_ns.max(it.monotonic_ns),
            Event::ConnectFailed(_) | Event::ReceiverClosed(_) | Event::Loss(_) => {}
        }
    }

    fn send(&mut self, it: &Notification) {
        self.now_ns = self.now_ns.max(it.monotonic_ns);
        if self.messages.len() >= KEPT {
            self.forgotten += 1;
            return;
        }
        self.by_id.insert(it.id, self.messages.len());
        self.messages.push(Message {
            id: it.id,
            at_ns: it.timing.dequeued_ns.unwrap_or(it.monotonic_ns),
            subject: it
                .sender
                .as_ref()
                .map(|sender| subject(sender, &it.class))
                .unwrap_or_default(),
            class: it.class.clone(),
            lines: it.lines.clone(),
            state: it.delivery.state,
            refused: None,
        });
    }

    /// Takes a conclusion.
    pub fn outcome(&mut self, outcome: &Outcome) {
        let Outcome::Verdict(verdict) = outcome else {
            return;
        };
        if refuses(verdict.kind) {
            for id in &verdict.about {
                if let Some(at) = self.by_id.get(id) {
                    self.messages[*at].refused = Some(verdict.what.clone());
                }
            }
        }
        self.verdicts.push((**verdict).clone());
    }
}

fn subject(sender: &Process, class: &str) -> Subject {
    subject_of(sender, class)
}

/// Whether what a verdict is about did nothing at its receiver.
const fn refuses(kind: Kind) -> bool {
    match kind {
        Kind::ConnectFailed
        | Kind::SendFailed
        | Kind::QueueFull
        | Kind::Filtered
        | Kind::DestroyedUnread
        | Kind::TooLong
        | Kind::EmbeddedNul
        | Kind::NoAssignment
        | Kind::MalformedBarrier
        | Kind::SenderGone
        | Kind::NotFromAService
        | Kind::AccessRefused
        | Kind::AccidentalSender
        | Kind::Swallowed => true,
        Kind::StatusNotUtf8
        | Kind::FdsDropped
        | Kind::OnBehalf
        | Kind::FdStoreRefused
        | Kind::MainPidRefused
        | Kind::NeverReady
        | Kind::ReloadWithoutTimestamp
        | Kind::ReloadTimestampOld
        | Kind::ReloadOpen
        | Kind::WatchdogLate
        | Kind::WatchdogThin
        | Kind::WatchdogTriggered
        | Kind::ExtensionOverrun
        | Kind::NotReading
        | Kind::Flood => false,
    }
}
