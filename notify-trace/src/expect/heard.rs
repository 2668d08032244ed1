//! What was sent, as far as expectations are about it, and what became of it.

use std::collections::{BTreeSet, HashMap};

use super::grammar::{Expectation, Who};
use super::judge::is_from;
use crate::correlate::outcome::{Kind, Outcome, Subject, Verdict};
use crate::correlate::subject_of;
use crate::event::{DeliveryState, Event, Line, Notification, Process};
use crate::words;

/// Most messages that are kept.
const KEPT: usize = 100_000;

/// Most names of others that are kept.
const OTHERS: usize = 1_000;

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

/// All that was heard from those whom expectations name.
#[derive(Debug, Default)]
pub struct Heard {
    /// What is expected.
    expectations: Vec<Expectation>,
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
    /// Something was lost: what was not heard may have been sent.
    pub has_losses: bool,
    /// Who else sent something: units, or containers, or processes, as the expectations name them.
    pub others: BTreeSet<String>,
    by_id: HashMap<u64, usize>,
}

impl Heard {
    /// Nothing yet.
    #[must_use]
    pub fn of(expectations: Vec<Expectation>) -> Self {
        Self {
            expectations,
            ..Self::default()
        }
    }

    /// What is expected.
    #[must_use]
    pub fn expectations(&self) -> &[Expectation] {
        &self.expectations
    }

    /// Takes an event: whether it may change how an expectation stands.
    pub fn event(&mut self, event: &Event) -> bool {
        match event {
            Event::Session(it) => {
                // Clocks and numbers of another session are others.
                let expectations = std::mem::take(&mut self.expectations);
                *self = Self::of(expectations);
                self.began_ns = Some(it.monotonic_ns);
                self.now_ns = it.monotonic_ns;
                return true;
            }
            Event::Send(it) => return self.send(it),
            Event::Update(it) => {
                self.now_ns = self.now_ns.max(it.monotonic_ns);
                let Some(message) = self.by_id.get(&it.id).map(|at| &mut self.messages[*at]) else {
                    return false;
                };
                message.state = it.delivery.state;
                if let Some(at_ns) = it.timing.dequeued_ns {
                    message.at_ns = at_ns;
                }
                if let Some(sender) = &it.sender {
                    message.subject = subject(sender, &message.class);
                }
                return true;
            }
            Event::Loss(_) => self.has_losses = true,
            Event::Unit(it) => self.now_ns = self.now_ns.max(it.monotonic_ns),
            Event::Exit(it) => self.now_ns = self.now_ns.max(it.monotonic_ns),
            Event::View(it) => self.now_ns = self.now_ns.max(it.monotonic_ns),
            Event::Summary(it) => self.now_ns = self.now_ns.max(it.monotonic_ns),
            Event::ConnectFailed(_) | Event::ReceiverClosed(_) => {}
        }
        false
    }

    fn send(&mut self, it: &Notification) -> bool {
        self.now_ns = self.now_ns.max(it.monotonic_ns);
        let message = Message {
            id: it.id,
            at_ns: it.timing.dequeued_ns.unwrap_or(it.monotonic_ns),
            subject: it
                .sender
                .as_ref()
                .map(|sender| subject(sender, &it.class))
                .unwrap_or_default(),
            class: it.class.to_string(),
            lines: it.lines.iter().map(Line::detached).collect(),
            state: it.delivery.state,
            refused: None,
        };
        let mut steps = self.expectations.iter().flat_map(|it| &it.steps);
        // Who an unknown sender is may become known later.
        let is_meant = it.sender.is_none() || steps.any(|step| is_from(step, &message));
        if !is_meant {
            if self.others.len() < OTHERS {
                self.others.extend(self.name_of(&message));
            }
            return false;
        }
        if self.messages.len() >= KEPT {
            self.forgotten += 1;
            self.has_losses = true;
            return false;
        }
        self.by_id.insert(it.id, self.messages.len());
        self.messages.push(message);
        true
    }

    /// What a sender is called, as the expectations name senders.
    fn name_of(&self, it: &Message) -> Option<String> {
        let mut whos = self
            .expectations
            .iter()
            .flat_map(|it| &it.steps)
            .flat_map(|step| &step.senders);
        match whos.next() {
            Some((Who::Container, _)) => it.subject.container.clone(),
            Some((Who::Comm, _)) => it.subject.comm.clone(),
            _ => it.subject.unit.clone(),
        }
    }

    /// Takes a conclusion: whether it may change how an expectation stands.
    pub fn outcome(&mut self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Verdict(verdict) => {
                let is_about = self.refuse(verdict.kind, &verdict.about, &verdict.what);
                self.verdicts.push((**verdict).clone());
                is_about
            }
            Outcome::Again(again) => self.refuse(again.kind, &again.about, &again.what),
            Outcome::Relay(_) | Outcome::Phase(_) | Outcome::Repeats(_) | Outcome::Measure(_) => {
                false
            }
        }
    }

    fn refuse(&mut self, kind: Kind, about: &[u64], what: &str) -> bool {
        if !refuses(kind) {
            return false;
        }
        let mut is_about = false;
        for id in about {
            if let Some(at) = self.by_id.get(id) {
                self.messages[*at].refused = Some(what.to_owned());
                is_about = true;
            }
        }
        is_about
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
