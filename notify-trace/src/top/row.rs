//! One unit: what it said last, in which state that leaves it, and how its messages fared.

use std::collections::VecDeque;
use std::sync::Arc;

use super::condition::{Condition, Says};
use super::history::{Entry, Message};
use super::identity::Identity;
use super::latency::Latencies;
use super::rate::Rate;
use super::watchdog::{Margin, Watchdog};
use crate::event::{DeliveryState, UnitState};
use crate::unit::is_to_manager;

/// Most entries of a history.
pub const HISTORY: usize = 50;

/// After so long without a message a unit of which nothing else is known is called quiet.
const QUIET_NS: u64 = 60_000_000_000;

/// A unit.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who it is.
    pub identity: Identity,
    /// Messages, and failed connects.
    pub messages: u64,
    /// How often.
    pub rate: Rate,
    /// How long deliveries took.
    pub latencies: Latencies,
    /// Messages that did not arrive.
    pub failed: u64,
    /// Messages that have not arrived yet.
    pub pending: u64,
    /// Verdicts that concern it.
    pub verdicts: u64,
    /// When something was heard of it last.
    pub last_ns: u64,
    /// What it said last.
    pub last: Option<Arc<Entry>>,
    /// The last things that happened, the newest last.
    pub history: VecDeque<Arc<Entry>>,
    /// It has told a service manager something: what that says of its unit is of it.
    pub tells_manager: bool,
    /// What its manager said last.
    pub facts: Option<Arc<UnitState>>,
    watchdog: Watchdog,
    known: Option<Condition>,
    known_ns: u64,
    stopping_pid: Option<u32>,
}

impl Row {
    /// Nothing was heard of it yet.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            messages: 0,
            rate: Rate::default(),
            latencies: Latencies::default(),
            failed: 0,
            pending: 0,
            verdicts: 0,
            last_ns: 0,
            last: None,
            history: VecDeque::new(),
            tells_manager: false,
            facts: None,
            watchdog: Watchdog::default(),
            known: None,
            known_ns: 0,
            stopping_pid: None,
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn condition(&self, now_ns: u64) -> Condition {
        self.known.unwrap_or(if self.age_ns(now_ns) > QUIET_NS {
            Condition::Quiet
        } else {
            Condition::Sending
        })
    }

    /// How long ago its last message was.
    #[must_use]
    pub const fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.last_ns)
    }

    /// What was left of the watchdog's time at the last ping.
    #[must_use]
    pub fn margin(&self, now_ns: u64) -> Option<Margin> {
        self.watchdog.last(self.watched_ns(now_ns))
    }

    /// The least that was left.
    #[must_use]
    pub fn worst_margin(&self, now_ns: u64) -> Option<Margin> {
        self.watchdog.worst(self.watched_ns(now_ns))
    }

    /// The watchdog's limit.
    #[must_use]
    pub const fn watchdog_limit_ns(&self) -> Option<u64> {
        self.watchdog.limit_ns()
    }

    /// Only a unit that is up can be overdue.
    const fn watched_ns(&self, now_ns: u64) -> u64 {
        match self.known {
            None | Some(Condition::Ready) => now_ns,
            Some(_) => 0,
        }
    }

    /// Takes a message, or a failed connect.
    pub fn heard(&mut self, message: Message) {
        self.messages += 1;
        self.rate.add(message.monotonic_ns);
        self.last_ns = self.last_ns.max(message.monotonic_ns);
        self.fared(message.state, message.latency_ns);
        let entry = Arc::new(Entry::Message(message));
        self.last = Some(Arc::clone(&entry));
        self.remember(entry);
    }

    /// Takes back a message that turned out to be another's.
    pub fn take_back(&mut self, id: u64) -> Option<Message> {
        let at = self.position(id)?;
        let entry = self.history.remove(at)?;
        self.messages = self.messages.saturating_sub(1);
        match &*entry {
            Entry::Message(message) => {
                self.unfared(message.state);
                Some(message.clone())
            }
            _ => None,
        }
    }

    /// Something became known of a message.
    pub fn change(&mut self, id: u64, change: impl FnOnce(&mut Message)) {
        let Some(at) = self.position(id) else {
            return;
        };
        let is_last = self.last.as_ref().is_some_and(|it| is_message(it, id));
        let Entry::Message(message) = &*self.history[at] else {
            return;
        };
        let mut message = message.clone();
        change(&mut message);
        let entry = Arc::new(Entry::Message(message));
        if is_last {
            self.last = Some(Arc::clone(&entry));
        }
        self.history[at] = entry;
    }

    /// What became of a message is counted.
    pub fn fared(&mut self, state: DeliveryState, latency_ns: Option<u64>) {
        match state {
            DeliveryState::Delivered => {
                if let Some(ns) = latency_ns {
                    self.latencies.add(ns);
                }
            }
            _ if is_bad(state) => self.failed += 1,
            _ => self.pending += 1,
        }
    }

    /// It is not counted any more.
    pub const fn unfared(&mut self, state: DeliveryState) {
        match state {
            DeliveryState::Delivered => {}
            _ if is_bad(state) => self.failed = self.failed.saturating_sub(1),
            _ => self.pending = self.pending.saturating_sub(1),
        }
    }

    /// A message was taken by its receiver: what it says holds.
    pub fn delivered(&mut self, says: Says, class: &str, at_ns: u64) {
        // What a unit's processes tell each other, or a proxy, is not of the unit itself.
        let is_of_unit =
            self.identity.is_container || self.identity.key.is_none() || is_to_manager(class);
        if !is_of_unit {
            return;
        }
        let is_new = !matches!(self.known, Some(Condition::Ready | Condition::Reloading));
        // systemd: STOPPING wins over READY, READY over RELOADING in one datagram.
        if says.is_stopping {
            self.know(Condition::Stopping, at_ns);
            self.stopping_pid = says.pid;
        } else if says.is_ready {
            self.know(Condition::Ready, at_ns);
            if is_new {
                self.watchdog.start(at_ns);
            }
        } else if says.is_reloading {
            self.know(Condition::Reloading, at_ns);
        }
        if let Some(usec) = says.watchdog_usec {
            self.watchdog.change(usec, at_ns);
        }
        if says.is_ping {
            self.watchdog.ping(at_ns);
        }
    }

    /// What its manager says.
    pub fn learn(&mut self, facts: &Arc<UnitState>) {
        if facts.since_ns() >= self.known_ns
            && let Some(condition) = Condition::of(facts)
        {
            self.know(condition, facts.since_ns());
        }
        if let Some(usec) = facts.watchdog_usec {
            self.watchdog.allow(usec);
        }
        self.facts = Some(Arc::clone(facts));
    }

    /// Whether this process said that the unit is stopping.
    #[must_use]
    pub fn is_stopping(&self, pid: u32) -> bool {
        self.known == Some(Condition::Stopping) && self.stopping_pid == Some(pid)
    }

    /// A process exited.
    pub fn exited(&mut self, pid: u32, at_ns: u64) {
        if self.is_stopping(pid) {
            self.know(Condition::Stopped, at_ns);
        }
    }

    /// Adds to the history.
    pub fn remember(&mut self, entry: Arc<Entry>) {
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(entry);
    }

    /// The same verdict again.
    pub fn repeated(&mut self, number: u64, times: u64) {
        for entry in &mut self.history {
            if let Entry::Verdict(told) = &**entry
                && told.number == number
            {
                let mut told = told.clone();
                told.repeats = times;
                *entry = Arc::new(Entry::Verdict(told));
            }
        }
    }

    const fn know(&mut self, condition: Condition, at_ns: u64) {
        self.known = Some(condition);
        self.known_ns = at_ns;
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.history.iter().rposition(|it| is_message(it, id))
    }
}

fn is_message(entry: &Entry, id: u64) -> bool {
    matches!(entry, Entry::Message(message) if message.id == Some(id))
}

/// Whether it did not arrive, and never will.
#[must_use]
pub const fn is_bad(state: DeliveryState) -> bool {
    matches!(
        state,
        DeliveryState::Failed | DeliveryState::Filtered | DeliveryState::Destroyed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, unit_state};

    fn row() -> Row {
        Row::new(Identity::of_sender(
            Sample::new("").build().sender.as_ref(),
            "systemd",
        ))
    }

    fn say(row: &mut Row, text: &str, at_ns: u64) {
        let it = Sample::new(text).at(at_ns).build();
        row.heard(Message::of(&it, None));
        row.delivered(Says::of(&it), "systemd", at_ns);
    }

    #[test]
    fn a_life_by_messages_alone() {
        let mut row = row();
        say(&mut row, "STATUS=hello", S);
        assert_eq!(row.condition(2 * S), Condition::Sending);
        assert_eq!(row.condition(100 * S), Condition::Quiet);
        say(&mut row, "READY=1", 101 * S);
        assert_eq!(row.condition(900 * S), Condition::Ready);
        say(&mut row, "RELOADING=1", 102 * S);
        assert_eq!(row.condition(102 * S), Condition::Reloading);
        say(&mut row, "READY=1", 103 * S);
        say(&mut row, "STOPPING=1\nREADY=1", 104 * S);
        assert_eq!(row.condition(104 * S), Condition::Stopping);
        row.exited(7, 105 * S);
        assert_eq!(row.condition(105 * S), Condition::Stopping);
        row.exited(100, 105 * S);
        assert_eq!(row.condition(105 * S), Condition::Stopped);
    }

    #[test]
    fn what_a_manager_says_later_than_a_message_holds() {
        let mut row = row();
        say(&mut row, "READY=1", 10 * S);
        let facts = |at_ns, state: &str, result: Option<&str>| {
            let mut facts = unit_state("app.service", at_ns);
            state.clone_into(&mut facts.active_state);
            facts.result = result.map(str::to_owned);
            Arc::new(facts)
        };
        row.learn(&facts(9 * S, "activating", None));
        assert_eq!(row.condition(10 * S), Condition::Ready);
        row.learn(&facts(11 * S, "activating", None));
        assert_eq!(row.condition(11 * S), Condition::Starting);
        row.learn(&facts(12 * S, "inactive", Some("timeout")));
        assert_eq!(row.condition(12 * S), Condition::Failed);
    }

    #[test]
    fn a_unit_that_is_down_is_not_overdue() {
        let mut row = row();
        say(&mut row, "READY=1\nWATCHDOG_USEC=5000000", S);
        say(&mut row, "WATCHDOG=1", 3 * S);
        assert_eq!(row.margin(3 * S).map(Margin::left_ns), Some(3_000_000_000));
        assert_eq!(
            row.margin(10 * S).map(Margin::left_ns),
            Some(-2_000_000_000)
        );
        say(&mut row, "STOPPING=1", 4 * S);
        assert_eq!(row.margin(10 * S).map(Margin::left_ns), Some(3_000_000_000));
    }

    #[test]
    fn the_history_is_bounded_and_the_newest_stands_last() {
        let mut row = row();
        for second in 0..200 {
            say(&mut row, &format!("X_N={second}"), second * S);
        }
        assert_eq!((row.history.len(), row.messages), (HISTORY, 200));
        let Some(Entry::Message(last)) = row.history.back().map(|it| &**it) else {
            panic!("no message");
        };
        assert_eq!(last.text, "X_N=199");
    }

    #[test]
    fn what_is_told_to_a_proxy_says_nothing_of_the_unit() {
        let mut row = row();
        let it = Sample::new("READY=1").build();
        row.delivered(Says::of(&it), "runc", S);
        assert_eq!(row.condition(S), Condition::Sending);
    }
}
