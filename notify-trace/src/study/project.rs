//! Events to rows: what each says, and what follows of it.
//!
//! Runs the same correlator as `explain`, over what is recorded and nothing else, and lets time pass by
//! the events alone: made while recording or made anew from a recording, the rows are the same.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::row::{Change, Fate, Flow, MEASURES, Repetition, Row, Rows, SAYS, VerdictRow};
use crate::correlate::outcome::{Again, Measure, Outcome, Verdict};
use crate::correlate::{Correlator, subject_of};
use crate::event::{
    Attribution, Blob, Delivery, Event, Notification, Process, SendResult, Timing, Update,
};
use crate::names::Recent;
use crate::unit::USER_CLASS;
use crate::who;

/// Version of what is drawn from events: rows that an older one made can be made anew.
pub const VERSION: i64 = 1;

/// After so many notifications all flows are told anew, so that those of deleted ones can be deleted.
const FLOWS_ANEW: u64 = 65_536;

/// Most flows that are remembered.
const FLOWS: usize = 8_192;

/// Makes rows of a session's events.
#[derive(Debug)]
pub struct Projector {
    correlator: Correlator,
    flows: Flows,
    /// Classes of notifications whose sender is not known yet.
    open: Recent<u64, String>,
    notifications: u64,
    version: Option<String>,
    verdicts: Verdicts,
    is_finished: bool,
}

/// Most notifications that are kept for what becomes known later.
const OPEN: usize = 65_536;

impl Default for Projector {
    fn default() -> Self {
        Self {
            correlator: Correlator::new(),
            flows: Flows::default(),
            open: Recent::new(OPEN),
            notifications: 0,
            version: None,
            verdicts: Verdicts::default(),
            is_finished: false,
        }
    }
}

impl Projector {
    /// Takes an event; adds to the rows.
    pub fn event(&mut self, event: &Event, rows: &mut Rows) {
        rows.flows_since = rows.flows_since.or(Some(self.flows.since));
        match event {
            Event::Send(it) => {
                self.notifications += 1;
                if self.notifications.is_multiple_of(FLOWS_ANEW) {
                    self.flows.forget();
                }
                let row = self.row(it, rows);
                rows.notifications.push(row);
                if it.sender.is_none() {
                    self.open.insert(it.id, it.class.clone());
                }
            }
            Event::Update(it) => {
                let change = self.change(it, rows);
                rows.change(change);
            }
            Event::Unit(state) if state.user.is_none() && state.manager_version.is_some() => {
                if self.version != state.manager_version {
                    self.version.clone_from(&state.manager_version);
                    rows.manager_version.clone_from(&state.manager_version);
                }
            }
            Event::Session(_)
            | Event::ConnectFailed(_)
            | Event::ReceiverClosed(_)
            | Event::Exit(_)
            | Event::Unit(_)
            | Event::Loss(_)
            | Event::Summary(_) => {}
        }
        if matches!(event, Event::Summary(_)) {
            self.finish(rows);
        }
        self.correlator.event(event, &mut |outcome| {
            take(outcome, &mut self.verdicts, rows)
        });
    }

    /// What was added to the rows last is not kept: what it says of senders has to be said again.
    pub fn dropped(&mut self) {
        // Not the numbers: rows that are kept may have them.
        self.flows.known.clear();
        self.flows.count = 0;
        self.version = None;
    }

    /// No event will come any more: what follows of that.
    pub fn finish(&mut self, rows: &mut Rows) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        self.correlator
            .finish(&mut |outcome| take(outcome, &mut self.verdicts, rows));
    }

    fn row(&mut self, it: &Notification, rows: &mut Rows) -> Row {
        Row {
            number: it.id,
            flow: self.flows.number(&it.class, it.sender.as_ref(), rows),
            pid: it.sender.as_ref().map(|sender| sender.pid),
            at_us: it.time.as_microsecond(),
            at_ns: it.monotonic_ns,
            length_bytes: it.length_bytes,
            says: says(it),
            fate: fate(it.result.as_ref(), &it.delivery, &it.timing),
            measures: [None; MEASURES.len()],
            told: None,
        }
    }

    fn change(&mut self, update: &Update, rows: &mut Rows) -> Change {
        let sender = update.sender.as_ref().and_then(|sender| {
            let class = self.open.remove(&update.id)?;
            Some((self.flows.number(&class, Some(sender), rows), sender.pid))
        });
        Change::Fate {
            number: update.id,
            fate: fate(update.result.as_ref(), &update.delivery, &update.timing),
            sender,
        }
    }
}

fn fate(result: Option<&SendResult>, delivery: &Delivery, timing: &Timing) -> Fate {
    Fate {
        state: delivery.state,
        errno: match result {
            Some(SendResult::Failed(error)) => Some(error.errno),
            Some(SendResult::SentBytes(_)) | None => None,
        },
        delivery_ns: timing.delivery_ns(),
        blocked_ns: timing.blocked_ns(),
    }
}

fn says(it: &Notification) -> u32 {
    let bit = |key: &Blob| SAYS.iter().find(|(name, _)| name.as_bytes() == key.0);
    it.lines
        .iter()
        .filter_map(|line| bit(line.key()?))
        .fold(0, |bits, (_, bit)| bits | bit)
}

fn take(outcome: Outcome, verdicts: &mut Verdicts, rows: &mut Rows) {
    match outcome {
        Outcome::Measure(Measure {
            notification,
            name,
            value_ns,
            told,
        }) => {
            let column = MEASURES.iter().position(|it| *it == name);
            if let Some(column) = column {
                rows.change(Change::Measure {
                    number: notification,
                    column,
                    value_ns,
                    told,
                });
            }
        }
        Outcome::Verdict(verdict) => verdicts.first(*verdict, rows),
        Outcome::Again(again) => verdicts.again(&again, rows),
        // Each of them was counted.
        Outcome::Repeats(_) | Outcome::Relay(_) | Outcome::Phase(_) => {}
    }
}

/// The rows of verdicts that may be repeated.
#[derive(Debug, Default)]
struct Verdicts {
    /// By the verdict's number.
    rows: HashMap<u64, VerdictRow>,
    last: u64,
}

/// Most verdicts that are remembered; more than the correlator does.
const VERDICTS: usize = 8_192;

const HOUR_US: i64 = 3_600_000_000;

impl Verdicts {
    fn first(&mut self, it: Verdict, rows: &mut Rows) {
        if self.rows.len() >= VERDICTS {
            // What the correlator has forgotten is not repeated.
            let mut numbers: Vec<u64> = self.rows.keys().copied().collect();
            numbers.sort_unstable();
            for number in &numbers[..numbers.len() / 2] {
                self.rows.remove(number);
            }
        }
        self.last += 1;
        let row = verdict_row(self.last, it);
        self.rows.insert(row.number, row.clone());
        rows.verdicts.push(row);
    }

    fn again(&mut self, it: &Again, rows: &mut Rows) {
        let Some(row) = self.rows.get_mut(&it.verdict) else {
            return;
        };
        let at_us = it.at.time.as_microsecond();
        if at_us.div_euclid(HOUR_US) == row.at_us.div_euclid(HOUR_US) {
            rows.repeat(Repetition {
                row: row.row,
                times: 1,
                last_us: at_us,
            });
            return;
        }
        self.last += 1;
        row.row = self.last;
        row.at_us = at_us;
        row.last_us = at_us;
        row.at_ns = it.at.monotonic_ns;
        row.notification = it.about.first().copied();
        row.what.clone_from(&it.what);
        rows.verdicts.push(row.clone());
    }
}

fn verdict_row(row: u64, it: Verdict) -> VerdictRow {
    VerdictRow {
        row,
        times: 1,
        last_us: it.at.time.as_microsecond(),
        number: it.number,
        at_us: it.at.time.as_microsecond(),
        at_ns: it.at.monotonic_ns,
        kind: it.kind,
        certainty: it.certainty,
        unit: it.subject.unit,
        user: it.subject.user,
        container: it.subject.container,
        pid: it.subject.pid,
        comm: it.subject.comm,
        notification: it.about.first().copied(),
        what: it.what,
    }
}

/// Numbers of flows.
#[derive(Debug, Default)]
struct Flows {
    /// By a hash of what follows, which finds nearly all.
    known: HashMap<u64, Vec<Known>>,
    hasher: RandomState,
    count: usize,
    last: u64,
    /// The lowest number that may still be given.
    since: u64,
}

/// What tells flows apart.
#[derive(Debug)]
struct Known {
    attribution: Option<Arc<Attribution>>,
    comm: Option<Blob>,
    class: String,
    number: u64,
}

impl Known {
    fn is(&self, class: &str, sender: Option<&Process>) -> bool {
        self.class == class
            && self.comm.as_ref() == sender.map(|sender| &sender.comm)
            && self.attribution.as_deref() == sender.and_then(|it| it.attribution.as_deref())
    }
}

impl Flows {
    fn number(&mut self, class: &str, sender: Option<&Process>, rows: &mut Rows) -> u64 {
        // Of what tells most of them apart; the rest is compared.
        let is_of = sender.and_then(|sender| sender.attribution.as_deref());
        let hash = self.hasher.hash_one((
            class,
            sender.map(|sender| &sender.comm),
            is_of.and_then(|is_of| Some(&is_of.unit.as_ref()?.name)),
            is_of.and_then(|is_of| Some(&is_of.user_unit.as_ref()?.name)),
            is_of.and_then(|is_of| Some(&is_of.container.as_ref()?.id)),
        ));
        let same = self.known.get(&hash).into_iter().flatten();
        if let Some(known) = same.into_iter().find(|known| known.is(class, sender)) {
            return known.number;
        }
        if self.count >= FLOWS {
            self.forget();
        }
        self.last += 1;
        self.count += 1;
        self.known.entry(hash).or_default().push(Known {
            attribution: sender.and_then(|sender| sender.attribution.clone()),
            comm: sender.map(|sender| sender.comm.clone()),
            class: class.to_owned(),
            number: self.last,
        });
        rows.flows.push((self.last, flow(class, sender)));
        self.last
    }

    fn forget(&mut self) {
        self.known.clear();
        self.count = 0;
        self.since = self.last + 1;
    }
}

fn flow(class: &str, sender: Option<&Process>) -> Flow {
    let subject = sender
        .map(|sender| subject_of(sender, class))
        .unwrap_or_default();
    let is_of = sender.and_then(|sender| sender.attribution.as_deref());
    let user = is_of.and_then(|is_of| is_of.user);
    Flow {
        unit: subject.unit,
        user: subject.user,
        container: subject.container,
        runtime: is_of
            .and_then(|is_of| is_of.container.as_ref()?.runtime)
            .map(|runtime| who::runtime(runtime).to_owned()),
        comm: subject.comm,
        class: class.to_owned(),
        manager: match user {
            Some(uid) if class == USER_CLASS => format!("{USER_CLASS} (user {uid})"),
            _ => class.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{MS, S, Sample, unit_state};
    use crate::event::Exit;

    fn rows(events: impl IntoIterator<Item = Event>) -> Rows {
        let mut projector = Projector::default();
        let mut rows = Rows::default();
        for event in events {
            projector.event(&event, &mut rows);
        }
        projector.finish(&mut rows);
        rows
    }

    fn send(sample: Sample) -> Event {
        Event::Send(Box::new(sample.build()))
    }

    fn value(rows: &Rows, number: u64, name: &str) -> Option<i64> {
        let column = MEASURES
            .iter()
            .position(|it| crate::words::serde_word(it) == name)
            .expect("a measure");
        let row = rows.notifications.iter().find(|row| row.number == number);
        row.expect("a row").measures[column]
    }

    #[test]
    fn a_start_counts_from_the_manager_and_from_the_process() {
        let mut state = unit_state("app.service", 500 * MS);
        state.inactive_exit_ns = Some(400 * MS);
        state.main_start_ns = Some(450 * MS);
        let rows = rows([
            Event::Unit(Box::new(state)),
            send(Sample::new("READY=1").at(S)),
            send(Sample::new("WATCHDOG=1").id(2).at(2 * S)),
        ]);
        let dequeued = 1_000_100_000;
        assert_eq!(value(&rows, 1, "startup"), Some(dequeued - 400_000_000));
        assert_eq!(
            value(&rows, 1, "startup_process"),
            Some(dequeued - 450_000_000)
        );
        assert_eq!(rows.flows.len(), 1, "{:?}", rows.flows);
        assert_eq!(rows.flows[0].1.unit.as_deref(), Some("app.service"));
        assert_eq!(rows.notifications[0].says, 1);
        assert_eq!(rows.notifications[0].fate.delivery_ns, Some(90_000));
    }

    #[test]
    fn pings_have_intervals_margins_and_jitter() {
        let mut state = unit_state("app.service", 500 * MS);
        state.watchdog_usec = Some(10_000_000);
        let rows = rows([
            Event::Unit(Box::new(state)),
            send(Sample::new("READY=1").at(S)),
            send(Sample::new("WATCHDOG=1").id(2).at(3 * S)),
            send(Sample::new("WATCHDOG=1").id(3).at(8 * S)),
            send(Sample::new("WATCHDOG=1").id(4).at(20 * S)),
        ]);
        let second = S.cast_signed();
        let of = |number| {
            ["watchdog", "watchdog_jitter", "watchdog_margin"]
                .map(|name| value(&rows, number, name).map(|ns| ns / second))
        };
        assert_eq!(of(2), [None, None, Some(8)]);
        assert_eq!(of(3), [Some(5), None, Some(5)]);
        assert_eq!(of(4), [Some(12), Some(7), Some(-2)]);
    }

    #[test]
    fn a_stop_is_a_time_of_the_message_that_announced_it() {
        let exit = Exit {
            time: "2026-11-24T12:00:00Z".parse().expect("a time"),
            monotonic_ns: 3 * S,
            pid: 100,
            start_boottime_ns: None,
        };
        let rows = rows([
            send(Sample::new("READY=1").at(S)),
            send(Sample::new("STOPPING=1").id(2).at(2 * S)),
            Event::Unit(Box::new(unit_state("app.service", 2_500 * MS))),
            Event::Exit(exit),
        ]);
        assert_eq!(value(&rows, 2, "stop"), Some(999_900_000));
    }

    #[test]
    fn extensions_and_statuses_last_until_the_next() {
        let rows = rows([
            send(Sample::new("EXTEND_TIMEOUT_USEC=5000000\nSTATUS=a").at(S)),
            send(Sample::new("READY=1\nSTATUS=b").id(2).at(3 * S)),
        ]);
        assert_eq!(value(&rows, 1, "extend"), Some(5_000_000_000));
        assert_eq!(value(&rows, 1, "extend_margin"), Some(3_000_000_000));
        assert_eq!(value(&rows, 1, "status"), Some(2_000_000_000));
        assert_eq!(value(&rows, 2, "status"), None);
    }

    #[test]
    fn a_hop_is_a_time_of_what_was_passed_on() {
        let told = Sample::new("READY=1\nX=1")
            .at(S)
            .from("app", 300, "box.service")
            .to("runc", 700, ("runc", 200));
        let sent =
            Sample::new("READY=1\nX=1")
                .id(2)
                .at(S + 5 * MS)
                .from("runc", 200, "box.service");
        let rows = rows([send(told), send(sent)]);
        assert_eq!(value(&rows, 2, "hop"), Some(4_900_000));
        let told = rows.notifications[1].told.as_ref().expect("a hop");
        assert_eq!((told.notification, &*told.class), (1, "runc"));
    }

    #[test]
    fn repetitions_are_counted_by_the_hour() {
        let hour = 3_600 * S;
        let lost = |id: u64, at_ns: u64| {
            let mut it = Sample::new("READY=1").id(id).at(at_ns).gone().build();
            it.time = it
                .time
                .checked_add(jiff::SignedDuration::from_nanos(at_ns.cast_signed()))
                .expect("a time");
            Event::Send(Box::new(it))
        };
        let rows = rows([lost(1, S), lost(2, 2 * S), lost(3, hour), lost(4, hour + S)]);
        let of = |row: &VerdictRow| (row.number, row.times, row.last_us - row.at_us);
        let all: Vec<_> = rows.verdicts.iter().map(of).collect();
        assert_eq!(all, [(1, 2, 1_000_000), (1, 2, 1_000_000)]);
    }

    #[test]
    fn what_was_not_kept_is_said_again() {
        let mut projector = Projector::default();
        let mut lost = Rows::default();
        projector.event(&send(Sample::new("READY=1")), &mut lost);
        assert_eq!(lost.flows.len(), 1);
        projector.dropped();
        let mut kept = Rows::default();
        projector.event(&send(Sample::new("WATCHDOG=1").id(2)), &mut kept);
        assert_eq!(kept.flows.len(), 1);
        assert_eq!(kept.notifications[0].flow, kept.flows[0].0);
    }

    #[test]
    fn numbers_that_no_clock_reaches_are_no_limits() {
        let most = u64::MAX;
        let rows = rows([
            send(Sample::new(&format!("EXTEND_TIMEOUT_USEC={most}\nWATCHDOG_USEC={most}")).at(S)),
            send(Sample::new("READY=1").id(2).at(2 * S)),
            send(Sample::new("WATCHDOG=1").id(3).at(3 * S)),
        ]);
        assert!(rows.verdicts.is_empty(), "{:?}", rows.verdicts);
        for name in ["extend", "extend_margin"] {
            assert_eq!(value(&rows, 1, name), None, "{name}");
        }
        assert_eq!(value(&rows, 3, "watchdog_margin"), None);
    }

    #[test]
    fn a_start_after_an_open_reload_is_a_start() {
        let state = |began_ns: u64, at_ns: u64| {
            let mut state = unit_state("app.service", at_ns);
            state.inactive_exit_ns = Some(began_ns);
            Event::Unit(Box::new(state))
        };
        let rows = rows([
            state(100 * MS, 200 * MS),
            send(Sample::new("READY=1").at(S)),
            send(Sample::new("RELOADING=1").id(2).at(2 * S)),
            // It crashed, and was started again.
            state(60 * S, 60 * S + MS),
            send(Sample::new("READY=1").id(3).at(61 * S)),
        ]);
        assert_eq!(value(&rows, 3, "reload"), None);
        assert_eq!(value(&rows, 3, "startup"), Some(1_000_100_000));
    }

    #[test]
    fn a_service_that_was_up_before_anybody_looked_does_not_start() {
        let mut state = unit_state("app.service", 500 * S);
        state.inactive_exit_ns = Some(S);
        state.active_enter_ns = Some(2 * S);
        let rows = rows([
            Event::Unit(Box::new(state)),
            send(Sample::new("READY=1").at(600 * S)),
        ]);
        assert_eq!(value(&rows, 1, "startup"), None);
    }

    #[test]
    fn verdicts_are_rows() {
        let rows = rows([send(Sample::new("READY=1").gone())]);
        assert_eq!(rows.verdicts.len(), 1, "{:?}", rows.verdicts);
        assert_eq!(rows.verdicts[0].notification, Some(1));
    }
}
