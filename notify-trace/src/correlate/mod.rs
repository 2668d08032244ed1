//! Conclusions over several events: why a notification was lost, what a proxy made of it, how long
//! a start took.
//!
//! ```text
//! Event ──▶ ledger (all that is known of a notification) ──▶ relay · queues · verdict · life ──▶ Outcome
//! ```
//!
//! [`Correlator`] is a pure state machine: no clock, no I/O. A live trace and a recording run the
//! very same code; time passes by the events themselves and by [`Correlator::advance`]. All memory
//! is bounded; what is forgotten gives no conclusion.

pub mod outcome;

mod boottime;
mod forget;
mod ledger;
mod life;
pub(crate) mod message;
mod queues;
mod relay;
#[cfg(test)]
pub(crate) mod samples;
mod subject;
#[cfg(test)]
mod tests;
mod told;
mod units;
pub(crate) mod verdict;

pub use self::subject::of_sending_process as subject_of;

use std::collections::{HashMap, VecDeque};

use self::boottime::Boottime;
use self::ledger::Ledger;
use self::life::{Life, Step};
use self::outcome::Told as ToldBefore;
use self::outcome::{Kind, Measure, MeasureName, Moment, Outcome, Subject};
use self::queues::Queues;
use self::relay::{Closed, Relays};
use self::told::Told;
use self::units::Units;
use self::verdict::manager::{self, Answer};
use self::verdict::{Finding, delivery, main_pid, protocol, swallowed};
use crate::event::{DeliveryState, Event, Notification, UnitState};
use crate::names::Recent;
use crate::unit::{UnitKey, is_to_manager};

/// How long what a manager says of a unit is waited for.
const FACTS_NS: u64 = 3_000_000_000;

/// Silence is looked for at most this often: each look goes through all that is open.
const SWEEP_NS: u64 = 50_000_000;

/// Most notifications that wait for facts.
const WAITING: usize = 4_096;

/// Most processes whose exits are remembered.
const EXITS: usize = 16_384;

/// A time of a notification, on both clocks.
fn moment_of(it: &Notification, monotonic_ns: u64) -> Moment {
    Moment::new(it.time, it.monotonic_ns).moved_to(monotonic_ns)
}

/// Its dequeue; of what was never taken, its earliest moment.
fn end_of(it: &Notification) -> Moment {
    moment_of(it, it.timing.dequeued_ns.unwrap_or(it.monotonic_ns))
}

/// A notification that a manager took, until it is known whether it acts on it.
#[derive(Debug)]
struct Waiting {
    notification: Notification,
    until_ns: u64,
}

/// Draws conclusions from events in the order in which they became known.
#[derive(Debug)]
pub struct Correlator {
    ledger: Ledger,
    units: Units,
    relays: Relays,
    queues: Queues,
    lives: HashMap<UnitKey, Life>,
    waiting: HashMap<UnitKey, VecDeque<Waiting>>,
    waiting_count: usize,
    exits: Recent<u32, u64>,
    told: Told,
    boottime: Option<Boottime>,
    now: Moment,
    swept_ns: u64,
    /// When units that are gone were looked for.
    forgot_ns: u64,
}

impl Default for Correlator {
    fn default() -> Self {
        Self::new()
    }
}

impl Correlator {
    /// Has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ledger: Ledger::new(),
            units: Units::default(),
            relays: Relays::default(),
            queues: Queues::default(),
            lives: HashMap::new(),
            waiting: HashMap::new(),
            waiting_count: 0,
            exits: Recent::new(EXITS),
            told: Told::default(),
            boottime: None,
            now: Moment::default(),
            swept_ns: 0,
            forgot_ns: 0,
        }
    }

    /// Takes an event; what follows of it goes to `out`.
    pub fn event(&mut self, event: &Event, out: &mut dyn FnMut(Outcome)) {
        match event {
            Event::Session(it) => {
                let at = Moment::new(it.time, it.monotonic_ns);
                self.boottime = it
                    .boottime_ahead_ns
                    .map(|ahead_ns| Boottime { at, ahead_ns });
                self.pass(at, out);
            }
            Event::Send(it) => {
                self.pass(Moment::new(it.time, it.monotonic_ns), out);
                if let Some(flood) = self.queues.sent(it) {
                    self.tell(flood, it, out);
                }
                self.queues.take(it);
                for settled in self.ledger.send(it) {
                    self.settled(&settled, out);
                }
            }
            Event::Update(update) => {
                self.pass(Moment::new(update.time, update.monotonic_ns), out);
                if let Some(merged) = self.ledger.update(update) {
                    self.queues.take(&merged);
                    if ledger::is_settled(&merged) {
                        self.settled(&merged, out);
                    }
                }
            }
            Event::ConnectFailed(failed) => {
                let at = Moment::new(failed.time, failed.monotonic_ns);
                self.pass(at, out);
                let key = UnitKey::of_sender(Some(&failed.sender), &failed.class);
                let state = key.as_ref().and_then(|key| self.units.latest(key));
                let found = delivery::connect_failed(failed, state);
                let mut subject = subject::of_process(&failed.sender);
                if let Some(key) = key {
                    subject.unit = Some(key.name);
                    subject.user = key.user;
                }
                self.verdict(found, subject, at, Vec::new(), out);
            }
            Event::ReceiverClosed(closed) => {
                self.pass(Moment::new(closed.time, closed.monotonic_ns), out);
                self.queues.closed(closed.receiver.inode);
            }
            Event::Exit(exit) => {
                let at = Moment::new(exit.time, exit.monotonic_ns);
                self.pass(at, out);
                self.exits.insert(exit.pid, exit.monotonic_ns);
                self.relays.exited(exit.pid, exit.monotonic_ns);
                let mut steps: Vec<(&UnitKey, Step)> = self
                    .lives
                    .iter_mut()
                    .map(|(key, life)| (key, life.exited(exit.pid, at)))
                    .filter(|(_, step)| !step.phases.is_empty())
                    .collect();
                steps.sort_by_key(|(key, _)| *key);
                for (_, step) in steps {
                    tell_step(step, out);
                }
            }
            Event::Unit(state) => self.unit(state, out),
            Event::View(_) | Event::Loss(_) | Event::Summary(_) => {}
        }
    }

    /// Time has passed without an event: what was waited for may never come.
    pub fn advance(&mut self, now_ns: u64, out: &mut dyn FnMut(Outcome)) {
        if now_ns > self.now.monotonic_ns {
            self.pass(self.now.moved_to(now_ns), out);
        }
    }

    /// Whether time has to pass for something to be concluded.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
            || !self.ledger.is_empty()
            || !self.relays.is_empty()
            || self.lives.values().any(Life::is_waiting)
    }

    /// No event will come any more.
    pub fn finish(&mut self, out: &mut dyn FnMut(Outcome)) {
        let now = self.now;
        for it in self.ledger.finish() {
            self.settled(&it, out);
        }
        let mut keys: Vec<UnitKey> = self.waiting.keys().cloned().collect();
        keys.sort();
        for key in keys {
            self.decide(&key, true, out);
        }
        let mut closed = Vec::new();
        self.relays.finish(now.monotonic_ns, &mut closed);
        self.hops(closed, out);
        self.lives_advance(now, true, out);
        let mut lives: Vec<(&UnitKey, &Life)> = self.lives.iter().collect();
        lives.sort_by_key(|(key, _)| *key);
        for (_, life) in lives {
            for phase in life.finish(now) {
                out(Outcome::Phase(Box::new(phase)));
            }
        }
        for it in self.told.repeats() {
            out(Outcome::Repeats(it));
        }
    }

    /// Lets time pass.
    fn pass(&mut self, to: Moment, out: &mut dyn FnMut(Outcome)) {
        if to.monotonic_ns < self.now.monotonic_ns {
            return;
        }
        self.now = to;
        let now_ns = to.monotonic_ns;
        if now_ns.saturating_sub(self.swept_ns) < SWEEP_NS {
            return;
        }
        self.swept_ns = now_ns;
        for it in self.ledger.due(now_ns) {
            self.settled(&it, out);
        }
        // In the order of their names, where nothing else orders them: a recording gives the same
        // conclusions each time.
        let mut late: Vec<UnitKey> = self
            .waiting
            .iter()
            .filter(|(_, queue)| queue.front().is_some_and(|it| it.until_ns <= now_ns))
            .map(|(key, _)| key.clone())
            .collect();
        late.sort();
        for key in late {
            self.decide(&key, false, out);
        }
        let mut closed = Vec::new();
        self.relays.advance(now_ns, &mut closed);
        self.hops(closed, out);
        for (found, about) in self.queues.advance(now_ns) {
            self.verdict(found, Subject::default(), to, about, out);
        }
        self.lives_advance(to, false, out);
        self.forget_the_gone(now_ns);
    }

    fn lives_advance(&mut self, now: Moment, is_end: bool, out: &mut dyn FnMut(Outcome)) {
        let mut steps = Vec::new();
        for (key, life) in &mut self.lives {
            if !life.may_be_due(now.monotonic_ns) {
                continue;
            }
            let step = life.advance(now, self.units.latest(key), is_end);
            if !step.findings.is_empty() {
                steps.push((key.clone(), step));
            }
        }
        steps.sort_by(|one, other| one.0.cmp(&other.0));
        for (key, step) in steps {
            self.step(&key, step, now, out);
        }
    }

    /// All is known of a notification, or as much as will ever be.
    fn settled(&mut self, it: &Notification, out: &mut dyn FnMut(Outcome)) {
        let mut closed = Vec::new();
        self.relays.settled(it, &mut closed);
        self.hops(closed, out);
        let key = UnitKey::of_sender(it.sender.as_ref(), &it.class);
        let is_arrived = it.delivery.state == DeliveryState::Delivered;
        let state = key
            .as_ref()
            .filter(|_| !is_arrived)
            .and_then(|key| self.units.latest(key));
        let lost = delivery::not_delivered(it, state);
        let is_taken = is_arrived && is_to_manager(&it.class);
        if (lost.is_some() || is_taken)
            && let Some(life) = self.life(key.as_ref())
        {
            life.heard(it);
        }
        if let Some(found) = lost {
            self.refuse(found, it, key.as_ref(), out);
        }
        if !is_taken {
            return;
        }
        let mut is_dropped = false;
        for found in protocol::objections(it) {
            if is_whole(found.kind) && !is_dropped {
                is_dropped = true;
                self.refuse(found, it, key.as_ref(), out);
            } else {
                self.tell(found, it, out);
            }
        }
        if is_dropped {
            return;
        }
        let Some(key) = key else {
            // Nothing will be said of a unit that isn't known.
            if let Answer::Refused(found) = self.acceptance(it, None) {
                self.tell(found, it, out);
            }
            return;
        };
        let until_ns = it
            .timing
            .dequeued_ns
            .unwrap_or(it.monotonic_ns)
            .saturating_add(FACTS_NS);
        let is_alone = self.waiting.is_empty() || !self.waiting.contains_key(&key);
        if self.waiting_count >= WAITING || (is_alone && !self.must_wait(it, &key)) {
            return self.judge(it, &key, out);
        }
        self.waiting_count += 1;
        self.waiting
            .entry(key.clone())
            .or_default()
            .push_back(Waiting {
                notification: it.clone(),
                until_ns,
            });
        self.decide(&key, false, out);
    }

    /// Judges what need not wait any longer, in order.
    fn decide(&mut self, key: &UnitKey, is_end: bool, out: &mut dyn FnMut(Outcome)) {
        while let Some(first) = self.waiting.get(key).and_then(VecDeque::front) {
            let it = &first.notification;
            let is_over =
                is_end || first.until_ns <= self.now.monotonic_ns || !self.must_wait(it, key);
            if !is_over {
                return;
            }
            let Some(first) = self.waiting.get_mut(key).and_then(VecDeque::pop_front) else {
                return;
            };
            self.waiting_count -= 1;
            self.judge(&first.notification, key, out);
        }
        self.waiting.remove(key);
    }

    /// Whether what the manager says next may change what becomes of it.
    fn must_wait(&self, it: &Notification, key: &UnitKey) -> bool {
        // A start is of the unit's present life, not of the one that was asked about before.
        let is_of_new_life = || message::says(it, "READY") && self.units.latest(key).is_some();
        !self.has_news(key, it.timing.dequeued_ns)
            && (main_pid::names_one(it)
                || is_of_new_life()
                || needs_news(&self.acceptance(it, Some(key))))
    }

    /// Whether the manager has said something of the unit since it took the notification.
    fn has_news(&self, key: &UnitKey, dequeued_ns: Option<u64>) -> bool {
        self.units
            .latest(key)
            .is_some_and(|state| dequeued_ns.is_none_or(|at_ns| state.since_ns() >= at_ns))
    }

    fn acceptance(&self, it: &Notification, key: Option<&UnitKey>) -> Answer {
        self.with_told(it, key, manager::acceptance)
    }

    fn with_told<T>(
        &self,
        it: &Notification,
        key: Option<&UnitKey>,
        ask: impl FnOnce(&manager::Told<'_>) -> T,
    ) -> T {
        let states: Vec<&UnitState> = key
            .map(|key| self.units.states(key).collect())
            .unwrap_or_default();
        // Asked for by the rules only where no service is the sender; it goes through all units.
        let waiting = if key.is_some_and(UnitKey::is_service) {
            Vec::new()
        } else {
            self.units.waiting(units::manager_of(it))
        };
        let pid = it.delivery.credentials.map(|it| it.pid);
        let exited_ns = pid.and_then(|pid| self.exits.peek(&pid).copied());
        ask(&manager::Told {
            notification: it,
            unit: key,
            states: &states,
            waiting: &waiting,
            exited_ns,
        })
    }

    /// A manager took it: what it makes of it.
    fn judge(&mut self, it: &Notification, key: &UnitKey, out: &mut dyn FnMut(Outcome)) {
        if let Some(claimed) = it.delivery.credentials
            && it
                .sender
                .as_ref()
                .is_some_and(|sender| sender.pid != claimed.pid)
        {
            let other = self.units.of_main_pid(units::manager_of(it), claimed.pid);
            if let Some(found) = manager::on_behalf(it, Some(key), other) {
                // It counts for the other unit.
                return self.tell(found, it, out);
            }
        }
        match self.acceptance(it, Some(key)) {
            Answer::Refused(found) => self.refuse(found, it, Some(key), out),
            Answer::Accepted | Answer::Unknown => {
                let found = self.with_told(it, Some(key), |told| {
                    [manager::fd_store(told), main_pid::refused(told)]
                });
                for found in found.into_iter().flatten() {
                    self.tell(found, it, out);
                }
                let state = self.units.latest(key).cloned();
                let ahead_ns = self.boottime.and_then(|clock| clock.ahead_ns(end_of(it)));
                if let Some(life) = self.life(Some(key)) {
                    let step = life.accepted(it, state.as_ref(), ahead_ns);
                    self.step(key, step, end_of(it), out);
                }
            }
        }
    }

    /// What a manager says of a unit.
    fn unit(&mut self, state: &UnitState, out: &mut dyn FnMut(Outcome)) {
        let at = Moment::new(state.time, state.monotonic_ns);
        self.units.learn(state);
        let key = UnitKey::of_state(state);
        self.decide(&key, false, out);
        self.pass(at, out);
        if let Some(life) = self.life(Some(&key)) {
            let step = life.state(state);
            self.step(&key, step, at, out);
        }
    }

    fn step(&mut self, key: &UnitKey, step: Step, at: Moment, out: &mut dyn FnMut(Outcome)) {
        let findings = tell_step(step, out);
        for (found, about) in findings {
            self.verdict(found, subject::of_unit(key), at, about, out);
        }
    }

    fn hops(&mut self, closed: Vec<Closed>, out: &mut dyn FnMut(Outcome)) {
        for hop in closed {
            if hop.is_swallowed {
                let found = swallowed::swallowed(&hop.reader, &hop.notification, &hop.relay);
                let at = hop.relay.at;
                let about = vec![hop.relay.notification];
                let subject = subject::of_sender(&hop.notification);
                self.verdict(found, subject, at, about, out);
            }
            for sent in &hop.relay.sent {
                // Which of several it was sent for is unknown, and so is its time.
                if sent.or_for.is_empty() {
                    out(Outcome::Measure(Measure {
                        notification: sent.notification,
                        name: MeasureName::Hop,
                        value_ns: i64::try_from(sent.hop_ns).unwrap_or(i64::MAX),
                        told: Some(ToldBefore {
                            notification: hop.relay.notification,
                            class: hop.relay.class.clone(),
                        }),
                    }));
                }
            }
            out(Outcome::Relay(Box::new(hop.relay)));
        }
    }

    /// It did nothing, which may be why its unit is not ready.
    fn refuse(
        &mut self,
        found: Finding,
        it: &Notification,
        key: Option<&UnitKey>,
        out: &mut dyn FnMut(Outcome),
    ) {
        if let Some(life) = self.life(key) {
            life.refused(it, &found.what);
        }
        self.tell(found, it, out);
    }

    fn tell(&mut self, found: Finding, it: &Notification, out: &mut dyn FnMut(Outcome)) {
        self.verdict(found, subject::of_sender(it), end_of(it), vec![it.id], out);
    }

    /// Tells a verdict, or counts it if the same was told before.
    fn verdict(
        &mut self,
        found: Finding,
        subject: Subject,
        at: Moment,
        about: Vec<u64>,
        out: &mut dyn FnMut(Outcome),
    ) {
        self.told.verdict(found, subject, at, about, out);
    }
}

/// Passes on all of a step but its findings.
fn tell_step(step: Step, out: &mut dyn FnMut(Outcome)) -> Vec<(Finding, Vec<u64>)> {
    let Step {
        findings,
        phases,
        measures,
    } = step;
    for phase in phases {
        out(Outcome::Phase(Box::new(phase)));
    }
    for measure in measures {
        out(Outcome::Measure(measure));
    }
    findings
}

/// Whether systemd throws the whole datagram away.
const fn is_whole(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TooLong | Kind::EmbeddedNul | Kind::NoAssignment | Kind::MalformedBarrier
    )
}

/// Whether what the manager says next may change the answer.
const fn needs_news(answer: &Answer) -> bool {
    match answer {
        Answer::Accepted => false,
        Answer::Unknown => true,
        // These follow from the datagram itself.
        Answer::Refused(found) => matches!(found.kind, Kind::AccessRefused),
    }
}
