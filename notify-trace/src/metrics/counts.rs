//! The numbers: rows of the study, added up by unit. Bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::histogram::{Histogram, MARGINS, PHASES, WAITS};
use super::series::{Series, Sum};
use crate::correlate::outcome::{Certainty, Kind, MeasureName};
use crate::event::{DeliveryState, Event, Losses};
use crate::names::Recent;
use crate::sink::Reading;
use crate::study::row::{Change, Fate, Flow, MEASURES, Row, Rows, SAYS};
use crate::words;

/// Most notifications of which something may become known later.
const OPEN: usize = 65_536;

/// Most verdicts that may be repeated.
const VERDICTS: usize = 8_192;

/// Most receivers, and most kinds of sockets, that are counted each on their own.
const MANAGERS: usize = 64;

/// Most cells of a label.
const CELLS: usize = 200;

/// How long the fullest ring is remembered, at least.
const FULLEST_NS: u64 = 60_000_000_000;

/// Whose numbers they are. Empty: it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Subject {
    pub(super) unit: String,
    /// The user whose manager the unit is of.
    pub(super) user: String,
    pub(super) container: String,
}

impl Subject {
    fn new(unit: Option<&str>, user: Option<u32>, container: Option<&str>) -> Self {
        // The scope of a container is named by its id, a new one with each start.
        let unit = unit.filter(|unit| container.is_none() || !unit.ends_with(".scope"));
        let cut = |text: &str| words::cut(text, CELLS);
        Self {
            unit: unit.map_or_else(String::new, cut),
            user: user.map_or_else(String::new, |user| user.to_string()),
            container: container.map_or_else(String::new, cut),
        }
    }
}

/// Numbers of a unit or container.
#[derive(Clone, Debug, Default)]
pub(super) struct Unit {
    pub(super) notifications: u64,
    pub(super) failed: u64,
    pub(super) filtered: u64,
    pub(super) destroyed: u64,
    /// By [`SAYS`].
    pub(super) messages: [u64; SAYS.len()],
    pub(super) times: BTreeMap<Time, Histogram>,
    pub(super) verdicts: BTreeMap<(Kind, Certainty), u64>,
    /// Of the last ping.
    pub(super) last_margin_ns: Option<i64>,
    /// When it said `READY=1` last, microseconds since 1970.
    pub(super) last_ready_us: Option<i64>,
}

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Time {
    Startup,
    StartupProcess,
    Reload,
    Stop,
    Blocked,
    WatchdogMargin,
}

impl Time {
    pub(super) const ALL: [Self; 6] = [
        Self::Startup,
        Self::StartupProcess,
        Self::Reload,
        Self::Stop,
        Self::Blocked,
        Self::WatchdogMargin,
    ];

    const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Startup | Self::StartupProcess | Self::Reload | Self::Stop => &PHASES,
            Self::Blocked => &WAITS,
            Self::WatchdogMargin => &MARGINS,
        }
    }

    const fn of(name: MeasureName) -> Option<Self> {
        match name {
            MeasureName::Startup => Some(Self::Startup),
            MeasureName::StartupProcess => Some(Self::StartupProcess),
            MeasureName::Reload => Some(Self::Reload),
            MeasureName::Stop => Some(Self::Stop),
            MeasureName::WatchdogMargin => Some(Self::WatchdogMargin),
            // The business of studies, or of kinds of sockets.
            MeasureName::Watchdog
            | MeasureName::WatchdogJitter
            | MeasureName::Extend
            | MeasureName::ExtendMargin
            | MeasureName::Status
            | MeasureName::Hop => None,
        }
    }
}

impl Unit {
    fn time(&mut self, time: Time) -> &mut Histogram {
        let histogram = self.times.entry(time);
        histogram.or_insert_with(|| Histogram::new(time.bounds()))
    }
}

impl Sum for Unit {
    fn add(&mut self, other: &Self) {
        let Self {
            notifications,
            failed,
            filtered,
            destroyed,
            messages,
            times,
            verdicts,
            // Nothing that could be added.
            last_margin_ns: _,
            last_ready_us: _,
        } = other;
        self.notifications += notifications;
        self.failed += failed;
        self.filtered += filtered;
        self.destroyed += destroyed;
        for (count, more) in self.messages.iter_mut().zip(messages) {
            *count += more;
        }
        for (time, histogram) in times {
            self.time(*time).add(histogram);
        }
        for (key, times) in verdicts {
            *self.verdicts.entry(*key).or_default() += times;
        }
    }
}

/// Times of datagrams to one receiver, or through one kind of socket.
#[derive(Clone, Debug)]
pub(super) struct Waits(pub(super) Histogram);

impl Default for Waits {
    fn default() -> Self {
        Self(Histogram::new(&WAITS))
    }
}

impl Sum for Waits {
    fn add(&mut self, other: &Self) {
        self.0.add(&other.0);
    }
}

/// What is known of the capture.
#[derive(Clone, Debug, Default)]
pub(super) struct Info {
    pub(super) version: String,
    pub(super) plan: String,
    pub(super) kernel: String,
}

/// What others read.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) info: Info,
    pub(super) units: Series<Subject, Unit>,
    pub(super) delivery: Series<String, Waits>,
    pub(super) hops: Series<String, Waits>,
    pub(super) connect_failed: u64,
    pub(super) losses: Losses,
    pub(super) records: u64,
    pub(super) ring_bytes: u64,
    /// Of the last minute or two, and of what of it is younger than a minute.
    pub(super) fullest_bytes: [u64; 2],
}

/// Where a notification's numbers go.
#[derive(Clone, Debug)]
struct Target {
    subject: Subject,
    is_users: bool,
    manager: String,
}

impl Target {
    fn of(flow: &Flow) -> Self {
        Self {
            subject: Subject::new(flow.unit.as_deref(), flow.user, flow.container.as_deref()),
            is_users: flow.owner.is_some(),
            manager: words::cut(&flow.manager, CELLS),
        }
    }
}

/// The numbers, and what is needed to make them.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) shown: Shown,
    flows: HashMap<u64, Arc<Target>>,
    flows_since: u64,
    /// Notifications by their number, and whether what became of them is counted.
    open: Recent<u64, (Arc<Target>, bool)>,
    verdicts: Recent<u64, (Subject, bool, Kind, Certainty)>,
    now_ns: u64,
    fullest_since_ns: u64,
}

impl Counts {
    pub(super) fn new(units: usize) -> Self {
        Self {
            shown: Shown {
                info: Info::default(),
                units: Series::new(units),
                delivery: Series::new(MANAGERS),
                hops: Series::new(MANAGERS),
                connect_failed: 0,
                losses: Losses::default(),
                records: 0,
                ring_bytes: 0,
                fullest_bytes: [0; 2],
            },
            flows: HashMap::new(),
            flows_since: 0,
            open: Recent::new(OPEN),
            verdicts: Recent::new(VERDICTS),
            now_ns: 0,
            fullest_since_ns: 0,
        }
    }

    pub(super) fn set_units(&mut self, units: usize) {
        self.shown.units.set_limit(units);
    }

    pub(super) fn take(&mut self, event: &Event, rows: &Rows) {
        match event {
            Event::Session(session) => {
                self.shown.info = Info {
                    version: session.tool_version.clone(),
                    plan: words::plan_name(session.plan.name).to_owned(),
                    kernel: session.kernel.clone(),
                };
                self.now_ns = session.monotonic_ns;
            }
            Event::ConnectFailed(_) => self.shown.connect_failed += 1,
            Event::Loss(loss) => self.shown.losses.add(&loss.losses),
            _ => {}
        }
        self.rows(rows);
    }

    fn rows(&mut self, rows: &Rows) {
        if let Some(since) = rows.flows_since
            && since > self.flows_since
        {
            self.flows_since = since;
            self.flows.retain(|number, _| *number >= since);
        }
        for (number, flow) in &rows.flows {
            self.flows.insert(*number, Arc::new(Target::of(flow)));
        }
        for row in &rows.notifications {
            self.notification(row);
        }
        for change in &rows.changes {
            self.change(change);
        }
        for row in &rows.verdicts {
            let subject = Subject::new(row.unit.as_deref(), row.user, row.container.as_deref());
            // Whose container it is isn't known here; as a rule its series is there already.
            let is_users = row.user.is_some() || row.container.is_some();
            self.verdict(&subject, is_users, (row.kind, row.certainty), row.times);
            let known = (subject, is_users, row.kind, row.certainty);
            self.verdicts.insert(row.row, known);
        }
        for repeat in &rows.repeats {
            if let Some((subject, is_users, kind, certainty)) =
                self.verdicts.get(&repeat.row).cloned()
            {
                self.verdict(&subject, is_users, (kind, certainty), repeat.times);
            }
        }
    }

    fn verdict(&mut self, subject: &Subject, is_users: bool, what: (Kind, Certainty), times: u64) {
        let unit = self.shown.units.of(subject, is_users, self.now_ns);
        *unit.verdicts.entry(what).or_default() += times;
    }

    fn notification(&mut self, row: &Row) {
        self.now_ns = self.now_ns.max(row.at_ns);
        let Some(target) = self.flows.get(&row.flow).cloned() else {
            return;
        };
        let unit = self.unit(&target);
        unit.notifications += 1;
        for (count, (_, bit)) in unit.messages.iter_mut().zip(SAYS) {
            *count += u64::from(row.says & bit != 0);
        }
        if row.says & SAYS[0].1 != 0 {
            unit.last_ready_us = Some(row.at_us);
        }
        let is_settled = self.fate(&target, row.fate, false);
        for (column, value_ns) in row.measures.iter().enumerate() {
            if let Some(value_ns) = value_ns {
                let class = row.told.as_ref().map(|told| &*told.class);
                self.measure(&target, column, *value_ns, class);
            }
        }
        self.open.insert(row.number, (target, is_settled));
    }

    fn change(&mut self, change: &Change) {
        let Some((target, is_settled)) = self.open.get(&change.number()).cloned() else {
            return;
        };
        match change {
            Change::Fate {
                number,
                fate,
                sender,
            } => {
                // Who it was became known: counted as nobody's so far, and left so.
                let target = match sender.and_then(|(flow, _)| self.flows.get(&flow)) {
                    Some(known) => Arc::clone(known),
                    None => target,
                };
                let is_settled = self.fate(&target, *fate, is_settled);
                self.open.insert(*number, (target, is_settled));
            }
            Change::Measure {
                column,
                value_ns,
                told,
                ..
            } => {
                let class = told.as_ref().map(|told| &*told.class);
                self.measure(&target, *column, *value_ns, class);
            }
        }
    }

    /// Counts what became of a notification, once; whether that is known.
    fn fate(&mut self, target: &Target, fate: Fate, was_settled: bool) -> bool {
        if was_settled {
            return true;
        }
        let unit = self.unit(target);
        match fate.state {
            DeliveryState::Delivered => {}
            DeliveryState::Failed => unit.failed += 1,
            DeliveryState::Filtered => unit.filtered += 1,
            DeliveryState::Destroyed => unit.destroyed += 1,
            DeliveryState::Sending | DeliveryState::Queued | DeliveryState::Unknown => {
                return false;
            }
        }
        if let Some(blocked_ns) = fate.blocked_ns {
            unit.time(Time::Blocked).observe(signed(blocked_ns));
        }
        if let Some(delivery_ns) = fate.delivery_ns {
            let delivery = self.shown.delivery.of(&target.manager, false, self.now_ns);
            delivery.0.observe(signed(delivery_ns));
        }
        true
    }

    fn measure(&mut self, target: &Target, column: usize, value_ns: i64, class: Option<&str>) {
        let Some(name) = MEASURES.get(column).copied() else {
            return;
        };
        if name == MeasureName::Hop {
            let class = words::cut(class.unwrap_or_default(), CELLS);
            let hops = self.shown.hops.of(&class, false, self.now_ns);
            hops.0.observe(value_ns);
        } else if let Some(time) = Time::of(name) {
            let unit = self.unit(target);
            if time == Time::WatchdogMargin {
                unit.last_margin_ns = Some(value_ns);
            }
            unit.time(time).observe(value_ns);
        }
    }

    fn unit(&mut self, target: &Target) -> &mut Unit {
        let units = &mut self.shown.units;
        units.of(&target.subject, target.is_users, self.now_ns)
    }

    pub(super) fn reading(&mut self, reading: Reading, now_ns: u64) {
        self.shown.records = reading.records;
        self.shown.ring_bytes = reading.ring_bytes;
        if now_ns.saturating_sub(self.fullest_since_ns) >= FULLEST_NS {
            self.fullest_since_ns = now_ns;
            self.shown.fullest_bytes = [self.shown.fullest_bytes[1], 0];
        }
        let [_, younger] = &mut self.shown.fullest_bytes;
        *younger = (*younger).max(reading.fullest_bytes);
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
