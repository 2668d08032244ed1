//! What of the events is shown: which of them (`filter`), and how much of their payloads
//! (`redact`). Every output sees the same.

pub mod filter;
pub mod redact;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::event::{Event, Exit, Losses};
use crate::names::Recent;
use crate::view::filter::{Answer, Filter};
use crate::view::redact::Redact;

/// How many notifications, and how many senders, are remembered as shown.
const REMEMBERED: usize = 65_536;

/// What is to be shown.
#[derive(Clone, Debug, Default)]
pub struct ViewOptions {
    /// Which events.
    pub filter: Filter,
    /// What is withheld.
    pub redact: Redact,
}

impl ViewOptions {
    /// The options in words, for the session event.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut words = self.filter.describe();
        words.extend(self.redact.describe());
        words
    }
}

/// A process, told from others that had its pid before.
type Identity = (u32, Option<u64>);

/// What is known of a process.
#[derive(Debug)]
enum Sender {
    /// Something that it sent was shown.
    Shown,
    /// It exited, and nothing that it sent was shown so far.
    Exited(Exit),
}

/// Decides, event by event, what is shown of it.
#[derive(Debug)]
pub struct View {
    options: ViewOptions,
    /// Numbers of the notifications that were shown.
    shown: Recent<u64, ()>,
    /// The processes that sent them, and exits of processes that weren't known to have sent any.
    senders: Recent<Identity, Sender>,
    left_out: u64,
    undecided: u64,
    /// Other things may be shown later: what is shown is remembered though all is.
    may_change: bool,
}

impl View {
    /// Nothing was shown yet.
    #[must_use]
    pub fn new(options: ViewOptions) -> Self {
        Self {
            options,
            shown: Recent::new(REMEMBERED),
            senders: Recent::new(REMEMBERED),
            left_out: 0,
            undecided: 0,
            may_change: false,
        }
    }

    /// Other things may be shown later.
    #[must_use]
    pub const fn for_changes(mut self) -> Self {
        self.may_change = true;
        self
    }

    /// From now on these are shown.
    pub fn change(&mut self, options: ViewOptions) {
        self.options = options;
    }

    /// Gives the event as it is to be shown, if it is.
    pub fn show(&mut self, mut event: Event, out: &mut impl FnMut(Event)) {
        let shows_all = self.options.filter.is_empty();
        // Asked in any case where that may change: the answer is remembered.
        let is_wanted = if shows_all && !self.may_change {
            true
        } else {
            self.is_wanted(&event) || shows_all
        };
        if !is_wanted {
            return;
        }
        self.options.redact.apply(&mut event);
        let sender = match &event {
            Event::Send(notification) => notification.sender.as_ref(),
            Event::Update(update) => update.sender.as_ref(),
            _ => None,
        };
        let identity = sender.map(|sender| (sender.pid, sender.start_boottime_ns));
        out(event);
        // A notification may be passed on after its sender's exit.
        if let Some(identity) = identity
            && let Some(exit) = self.remember(identity)
        {
            out(Event::Exit(exit));
        }
    }

    /// The event without what is withheld, whether it is shown or not.
    #[must_use]
    pub fn redacted<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        let mut event = Cow::Borrowed(event);
        if self.options.redact != Redact::Nothing {
            self.options.redact.apply(event.to_mut());
        }
        event
    }

    /// Whether one of these notifications was shown, or the unit is asked for.
    pub fn is_about_shown(&mut self, ids: &[u64], unit: Option<&str>) -> bool {
        self.options.filter.is_empty()
            || ids.iter().any(|id| self.shown.get(id).is_some())
            || unit.is_some_and(|unit| self.options.filter.asks_for_unit(unit))
    }

    /// Notifications and failed connects that were left out.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Adds what could not be decided.
    pub const fn count_losses(&self, losses: &mut Losses) {
        losses.undecided += self.undecided;
    }

    fn is_wanted(&mut self, event: &Event) -> bool {
        match event {
            Event::Send(notification) => {
                let answer = self.options.filter.notification(notification);
                if answer == Answer::Yes {
                    self.shown.insert(notification.id, ());
                }
                self.count(answer)
            }
            Event::Update(update) => self.shown.get(&update.id).is_some(),
            Event::ConnectFailed(failed) => {
                let answer = self.options.filter.connect_failed(failed);
                self.count(answer)
            }
            Event::ReceiverClosed(closed) => self.options.filter.receiver_closed(closed),
            Event::Exit(exit) => self.is_senders(*exit),
            Event::Unit(state) => self.options.filter.unit_state(state),
            Event::Session(_) | Event::View(_) | Event::Loss(_) | Event::Summary(_) => true,
        }
    }

    /// Something that a process sent is shown; its exit, if that was left out before.
    fn remember(&mut self, identity: Identity) -> Option<Exit> {
        let shows_all = self.options.filter.is_empty();
        if shows_all && !self.may_change {
            return None;
        }
        match self.senders.remove(&identity) {
            // Where all is shown, its exit was.
            Some(Sender::Exited(exit)) if !shows_all => Some(exit),
            Some(Sender::Exited(_)) => None,
            Some(Sender::Shown) | None => {
                self.senders.insert(identity, Sender::Shown);
                None
            }
        }
    }

    fn is_senders(&mut self, exit: Exit) -> bool {
        let identity = (exit.pid, exit.start_boottime_ns);
        let is_shown = matches!(self.senders.remove(&identity), Some(Sender::Shown));
        if !is_shown {
            self.senders.insert(identity, Sender::Exited(exit));
        }
        is_shown
    }

    const fn count(&mut self, answer: Answer) -> bool {
        match answer {
            Answer::Yes => return true,
            Answer::No => self.left_out += 1,
            Answer::Unknown => self.undecided += 1,
        }
        false
    }
}
