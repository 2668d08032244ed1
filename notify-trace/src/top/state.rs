//! Events and conclusions become rows: all that the view knows. Pure; no clock, no terminal.
//!
//! Memory is bounded: of units those not heard of for longest are forgotten, and counted.

use std::collections::HashMap;
use std::sync::Arc;

use super::condition::Says;
use super::history::{Entry, Message, Note, Told};
use super::identity::{Identity, NOBODY, of_subject};
use super::row::{Row, is_bad};
use super::totals::Totals;
use crate::correlate::outcome::{Outcome, Phase, Subject, Verdict};
use crate::event::{
    ConnectFailed, DeliveryState, Event, Exit, Notification, PlanName, Session, UnitState, Update,
};
use crate::names::Recent;
use crate::unit::{UnitKey, is_starting, is_to_manager, must_say_ready};

/// Most units that are shown.
pub const UNITS: usize = 1_000;

/// Most units of which is remembered what their manager said.
const FACTS: usize = 4 * UNITS;

/// Most notifications, and verdicts, whose units are remembered.
const REMEMBERED: usize = 16_384;

/// What the view knows.
#[derive(Debug)]
pub struct State {
    session: Option<Arc<Session>>,
    rows: HashMap<Arc<str>, Arc<Row>>,
    totals: Totals,
    facts: HashMap<UnitKey, Arc<UnitState>>,
    /// Notifications of which more may become known.
    open: Recent<u64, Open>,
    /// Units by the numbers of their notifications.
    senders: Recent<u64, Arc<str>>,
    /// Units by the numbers of verdicts about them.
    verdicts: Recent<u64, Arc<str>>,
    last_ns: u64,
}

/// What is known of a notification of which more may become known.
#[derive(Debug)]
struct Open {
    label: Arc<str>,
    class: Arc<str>,
    says: Says,
    state: DeliveryState,
}

/// All that is drawn, as it was at a moment. Rows are shared, so it costs little to make.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// How the host is traced.
    pub session: Option<Arc<Session>>,
    /// The units, in no order.
    pub rows: Vec<Arc<Row>>,
    /// What is counted of all together.
    pub totals: Totals,
    /// The moment.
    pub now_ns: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            session: None,
            rows: HashMap::new(),
            totals: Totals::default(),
            facts: HashMap::new(),
            open: Recent::new(REMEMBERED),
            senders: Recent::new(REMEMBERED),
            verdicts: Recent::new(REMEMBERED),
            last_ns: 0,
        }
    }
}

impl State {
    /// Takes an event. A session begins everything anew.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Session(session) => {
                *self = Self::default();
                self.passes(session.monotonic_ns);
                self.session = Some(Arc::new((**session).clone()));
            }
            Event::Send(it) => self.send(it),
            Event::Update(it) => self.update(it),
            Event::ConnectFailed(it) => self.connect_failed(it),
            Event::Exit(exit) => self.exit(exit),
            Event::Unit(state) => self.unit(state),
            Event::Loss(loss) => self.totals.lost(&loss.losses),
            Event::Summary(summary) => {
                self.passes(summary.monotonic_ns);
                self.totals.is_over = true;
            }
            Event::ReceiverClosed(it) => self.passes(it.monotonic_ns),
            Event::View(it) => self.passes(it.monotonic_ns),
        }
    }

    /// Takes a conclusion.
    pub fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Verdict(verdict) => self.verdict(verdict),
            Outcome::Phase(phase) => self.phase(phase),
            Outcome::Repeats(repeats) => {
                if let Some(label) = self.verdicts.get(&repeats.verdict)
                    && let Some(row) = self.rows.get_mut(label)
                {
                    Arc::make_mut(row).repeated(repeats.verdict, repeats.times);
                }
            }
            // The business of `explain`, and of studies.
            // The business of `explain`, and of studies.
            Outcome::Relay(_) | Outcome::Again(_) | Outcome::Measure(_) => {}
        }
    }

    /// All that is known, at `now_ns`, or when the last event was.
    #[must_use]
    pub fn picture(&self, now_ns: Option<u64>) -> Picture {
        Picture {
            session: self.session.clone(),
            rows: self.rows.values().cloned().collect(),
            totals: self.totals.clone(),
            now_ns: now_ns.unwrap_or(self.last_ns).max(self.last_ns),
        }
    }

    fn plan(&self) -> Option<PlanName> {
        Some(self.session.as_ref()?.plan.name)
    }

    fn passes(&mut self, at_ns: u64) {
        self.last_ns = self.last_ns.max(at_ns);
    }

    fn send(&mut self, it: &Notification) {
        self.passes(it.timing.dequeued_ns.unwrap_or(it.monotonic_ns));
        let state = it.delivery.state;
        self.totals.heard(it.monotonic_ns, state);
        let identity = Identity::of_sender(it.sender.as_ref(), &it.class);
        let message = Message::of(it, self.plan());
        let label = self.place(identity, &it.class, message);
        self.senders.insert(it.id, Arc::clone(&label));
        if let Some(first) = it.retry_of {
            self.retried(first, it.id);
        }
        let says = Says::of(it);
        if let (DeliveryState::Delivered, Some(at_ns)) = (state, it.timing.dequeued_ns)
            && let Some(row) = self.rows.get_mut(&label)
        {
            Arc::make_mut(row).delivered(says, &it.class, at_ns);
        }
        if is_open(state) || &*label == NOBODY {
            let class = Arc::clone(&it.class);
            let open = Open {
                label,
                class,
                says,
                state,
            };
            self.open.insert(it.id, open);
        }
    }

    /// Puts a message into its row.
    fn place(&mut self, identity: Identity, class: &str, message: Message) -> Arc<str> {
        let facts = identity
            .key
            .as_ref()
            .filter(|_| is_to_manager(class))
            .and_then(|key| self.facts.get(key).cloned());
        let (label, row) = self.row(identity);
        row.heard(message);
        if is_to_manager(class) {
            row.tells_manager = true;
        }
        // Later ones come by themselves.
        if let Some(facts) = facts.filter(|_| row.facts.is_none()) {
            row.learn(&facts);
        }
        label
    }

    /// The failed attempt was made good: it does not count.
    fn retried(&mut self, first: u64, by: u64) {
        let Some(label) = self.senders.get(&first).cloned() else {
            return;
        };
        self.totals.failed = self.totals.failed.saturating_sub(1);
        if let Some(row) = self.rows.get_mut(&label) {
            let row = Arc::make_mut(row);
            row.unfared(DeliveryState::Failed);
            row.change(first, |message| {
                message.remarks.push(format!("repeated as #{by}"));
            });
        }
    }

    fn update(&mut self, it: &Update) {
        self.passes(it.monotonic_ns);
        let Some(mut open) = self.open.remove(&it.id) else {
            return;
        };
        if &*open.label == NOBODY && it.sender.is_some() {
            self.is_anothers(it, &mut open);
        }
        let state = it.delivery.state;
        let was_open = is_open(open.state);
        if was_open {
            self.totals.settle(open.state, state);
        }
        if let Some(row) = self.rows.get_mut(&open.label) {
            let row = Arc::make_mut(row);
            row.change(it.id, |message| message.update(it));
            if was_open {
                row.unfared(open.state);
                row.fared(state, it.timing.delivery_ns());
                if let (DeliveryState::Delivered, Some(at_ns)) = (state, it.timing.dequeued_ns) {
                    row.delivered(open.says, &open.class, at_ns);
                }
            }
        }
        open.state = state;
        if is_open(state) || &*open.label == NOBODY {
            self.open.insert(it.id, open);
        }
    }

    /// The sender became known only now: the message moves to its row.
    fn is_anothers(&mut self, it: &Update, open: &mut Open) {
        let Some(row) = self.rows.get_mut(NOBODY) else {
            return;
        };
        let row = Arc::make_mut(row);
        let message = row.take_back(it.id);
        if row.messages == 0 {
            self.rows.remove(NOBODY);
        }
        if let Some(message) = message {
            let identity = Identity::of_sender(it.sender.as_ref(), &open.class);
            open.label = self.place(identity, &open.class, message);
            self.senders.insert(it.id, Arc::clone(&open.label));
            if let (DeliveryState::Delivered, Some(at_ns)) = (open.state, it.timing.dequeued_ns)
                && let Some(row) = self.rows.get_mut(&open.label)
            {
                Arc::make_mut(row).delivered(open.says, &open.class, at_ns);
            }
        }
    }

    fn connect_failed(&mut self, it: &ConnectFailed) {
        self.passes(it.monotonic_ns);
        self.totals.failed += 1;
        let identity = Identity::of_sender(Some(&it.sender), &it.class);
        self.place(identity, &it.class, Message::of_connect(it));
    }

    fn exit(&mut self, exit: &Exit) {
        self.passes(exit.monotonic_ns);
        for row in self.rows.values_mut() {
            if row.is_stopping(exit.pid) {
                Arc::make_mut(row).exited(exit.pid, exit.monotonic_ns);
            }
        }
    }

    fn unit(&mut self, state: &UnitState) {
        self.passes(state.monotonic_ns);
        let facts = Arc::new(state.clone());
        let identity = Identity::of_unit(state);
        let key = UnitKey::of_state(state);
        if self.facts.len() >= FACTS && !self.facts.contains_key(&key) {
            // What matters again will be told again.
            self.facts.clear();
        }
        for row in self.rows.values_mut() {
            // A container that speaks to a proxy is not the unit that it runs in.
            if row.identity.key.as_ref() == Some(&key) && row.tells_manager {
                Arc::make_mut(row).learn(&facts);
            }
        }
        self.facts.insert(key, Arc::clone(&facts));
        let is_awaited = must_say_ready(state) && is_starting(state);
        if is_awaited && !self.rows.contains_key(identity.label.as_str()) {
            // It has said nothing yet.
            let (_, row) = self.row(identity);
            row.tells_manager = true;
            row.last_ns = state.inactive_exit_ns.unwrap_or(state.monotonic_ns);
            row.learn(&facts);
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.totals.verdicts += 1;
        let entry = Arc::new(Entry::Verdict(Box::new(Told::of(verdict))));
        if let Some(label) = self.label_of(&verdict.subject, &verdict.about) {
            self.verdicts.insert(verdict.number, Arc::clone(&label));
            if let Some(row) = self.rows.get_mut(&label) {
                let row = Arc::make_mut(row);
                row.verdicts += 1;
                row.remember(entry);
            }
        }
    }

    fn phase(&mut self, phase: &Phase) {
        if let Some(label) = self.label_of(&phase.subject, &phase.about)
            && let Some(row) = self.rows.get_mut(&label)
        {
            Arc::make_mut(row).remember(Arc::new(Entry::Note(Note::of(phase))));
        }
    }

    /// The row of what a conclusion is about.
    fn label_of(&mut self, subject: &Subject, about: &[u64]) -> Option<Arc<str>> {
        if let Some(label) = of_subject(subject)
            && let Some((label, _)) = self.rows.get_key_value(label.as_str())
        {
            return Some(Arc::clone(label));
        }
        let id = about.last()?;
        self.senders.get(id).cloned()
    }

    /// The row of a unit, a new one if there is none.
    fn row(&mut self, identity: Identity) -> (Arc<str>, &mut Row) {
        let label: Arc<str> = identity.label.as_str().into();
        if self.rows.len() >= UNITS && !self.rows.contains_key(&label) {
            self.forget();
        }
        let row = self
            .rows
            .entry(Arc::clone(&label))
            .or_insert_with(|| Arc::new(Row::new(identity)));
        (label, Arc::make_mut(row))
    }

    /// Forgets the unit that was not heard of for longest.
    fn forget(&mut self) {
        let oldest = self.rows.iter().min_by_key(|(_, row)| row.last_ns);
        if let Some(label) = oldest.map(|(label, _)| Arc::clone(label)) {
            self.rows.remove(&label);
            self.totals.forgotten += 1;
        }
    }
}

/// Whether it may still be delivered, or not.
const fn is_open(state: DeliveryState) -> bool {
    !matches!(state, DeliveryState::Delivered) && !is_bad(state)
}

#[cfg(test)]
mod tests;
