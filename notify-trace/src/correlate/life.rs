//! The life of one unit, as its notifications tell it: start, reloads, pings, stop.
//!
//! Takes what its manager accepted, in order; gives phases that have ended and what the rules found.

mod end;

use std::collections::VecDeque;

use super::message::{find, number, says};
use super::moment_of;
use super::outcome::{Measure, MeasureName, Moment, Phase, PhaseName, Subject};
use super::verdict::ready::{Said, never_ready, starts_on};
use super::verdict::watchdog::{Ping, Pings, overrun, ping, silent, triggered};
use super::verdict::{Finding, reload};
use crate::escape::escape_field;
use crate::event::{Line, Notification, UnitState};
use crate::words;

/// Most statuses that are remembered.
const STATUSES: usize = 16;
/// Most refusals that are remembered.
const REFUSALS: usize = 8;
/// Most characters of a status, or of a message, that are shown.
const SHOWN: usize = 120;
/// The manager starts the main process, then notes that the unit is starting: by so much the process may
/// be the older one.
const FORKED_BEFORE_NS: u64 = 1_000_000_000;
/// A unit is up right after its `READY=1` was taken; one that was up so long before was not waited for.
const UP_NS: u64 = 100_000_000;
/// How much later than the watchdog's limit its silence is spoken of.
const GRACE_NS: u64 = 1_000_000_000;
/// After how long an open reload is spoken of, if its limit is unknown.
const OPEN_NS: u64 = 30_000_000_000;
/// At the end of a recording it is spoken of sooner.
const OPEN_AT_END_NS: u64 = 3_000_000_000;

/// What came of a step.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) findings: Vec<(Finding, Vec<u64>)>,
    pub(super) phases: Vec<Phase>,
    pub(super) measures: Vec<Measure>,
}

impl Step {
    fn find(&mut self, found: Option<Finding>, about: &[u64]) {
        self.findings
            .extend(found.map(|found| (found, about.to_vec())));
    }

    /// A time of this notification, where it is known.
    fn measure(&mut self, notification: u64, name: MeasureName, value_ns: Option<i64>) {
        self.measures.extend(value_ns.map(|value_ns| Measure {
            notification,
            name,
            value_ns,
            told: None,
        }));
    }
}

/// From one moment to another; negative if the other came first.
fn apart_ns(from_ns: u64, to_ns: u64) -> i64 {
    let apart = i64::try_from(to_ns.abs_diff(from_ns)).unwrap_or(i64::MAX);
    if to_ns < from_ns { -apart } else { apart }
}

/// Microseconds that somebody wrote, in nanoseconds; more than a clock can reach is no limit.
fn limit_ns(usec: u64) -> Option<u64> {
    usec.checked_mul(1_000)
        .filter(|ns| i64::try_from(*ns).is_ok_and(|ns| ns < i64::MAX / 2))
}

/// Something that has begun, by a notification.
#[derive(Clone, Copy, Debug)]
struct Begun {
    id: u64,
    at_ns: u64,
    pid: Option<u32>,
}

/// A `READY=1` of a start, until the manager says when that began.
#[derive(Clone, Copy, Debug)]
struct Untimed {
    id: u64,
    dequeued_ns: u64,
    /// The `READY=1` before: of an earlier start.
    before_ns: Option<u64>,
    has_process: bool,
}

/// A unit's life so far.
#[derive(Debug)]
pub(super) struct Life {
    /// Its unit's, as verdicts have it: made safe.
    name: String,
    subject: Subject,
    /// When the last accepted `READY=1` was taken.
    ready_ns: Option<u64>,
    /// A start whose beginning nobody has told yet.
    untimed: Option<Untimed>,
    reload: Option<Begun>,
    is_open_told: bool,
    last_reload_usec: Option<u64>,
    stopping: Option<Begun>,
    pings: Pings,
    /// What the manager, or `WATCHDOG_USEC=`, says.
    limit_ns: Option<u64>,
    is_silence_told: bool,
    /// `EXTEND_TIMEOUT_USEC=`: its notification, when it came, and until when it is good.
    extension: Option<(u64, u64, u64)>,
    extensions: u64,
    fds: u64,
    barriers: u64,
    statuses: VecDeque<(u64, String)>,
    /// The last of them: its notification, and when it was taken.
    status: Option<(u64, u64)>,
    /// What was sent last: when, its number, its lines.
    last: Option<(u64, u64, Vec<Line>)>,
    refused: VecDeque<(u64, String)>,
}

impl Life {
    pub(super) fn new(name: String, subject: Subject) -> Self {
        Self {
            name,
            subject,
            ready_ns: None,
            untimed: None,
            reload: None,
            is_open_told: false,
            last_reload_usec: None,
            stopping: None,
            pings: Pings::default(),
            limit_ns: None,
            is_silence_told: false,
            extension: None,
            extensions: 0,
            fds: 0,
            barriers: 0,
            statuses: VecDeque::new(),
            status: None,
            last: None,
            refused: VecDeque::new(),
        }
    }

    /// Something was sent from it, whatever became of it.
    pub(super) fn heard(&mut self, it: &Notification) {
        // It becomes text only if somebody asks.
        self.last = Some((it.monotonic_ns, it.id, it.lines.clone()));
    }

    /// Something that it said was not accepted.
    pub(super) fn refused(&mut self, it: &Notification, why: &str) {
        if !says(it, "READY") {
            return;
        }
        if self.refused.len() >= REFUSALS {
            self.refused.pop_front();
        }
        let text = format!("READY=1 was sent (#{}), but {why}", it.id);
        self.refused.push_back((it.monotonic_ns, text));
    }

    /// A message that the manager acts on, as far as is known.
    ///
    /// `ahead_ns`: how far `CLOCK_BOOTTIME` is ahead of `CLOCK_MONOTONIC`, if that is known.
    pub(super) fn accepted(
        &mut self,
        it: &Notification,
        state: Option<&UnitState>,
        ahead_ns: Option<u64>,
    ) -> Step {
        let mut step = Step::default();
        let Some(dequeued_ns) = it.timing.dequeued_ns else {
            return step;
        };
        self.learn(state);
        if state.is_some_and(|state| starts_on(state, it, dequeued_ns)) {
            // Why is not known.
            self.refused(it, "the start went on, as the manager said afterwards");
            return step;
        }
        self.extension_ends(it, dequeued_ns, &mut step);
        self.extension_is_kept(it, state, dequeued_ns, &mut step);
        // systemd: STOPPING wins over READY, READY over RELOADING in one datagram.
        if says(it, "STOPPING") {
            self.stopping = Some(Begun {
                id: it.id,
                at_ns: dequeued_ns,
                pid: it.sender.as_ref().map(|sender| sender.pid),
            });
        } else {
            self.reloading(it, state, dequeued_ns, &mut step);
            self.ready(it, state, ahead_ns, dequeued_ns, &mut step);
        }
        self.watchdog(it, dequeued_ns, &mut step);
        if let Some(asked_ns) = number(it, "EXTEND_TIMEOUT_USEC").and_then(limit_ns) {
            let until_ns = dequeued_ns.saturating_add(asked_ns);
            step.measure(it.id, MeasureName::Extend, i64::try_from(asked_ns).ok());
            self.extension = Some((it.id, dequeued_ns, until_ns));
            self.extensions += 1;
        }
        if find(it, "FDSTORE").is_some() {
            self.fds += u64::from(it.fds.unwrap_or(0));
        }
        self.barriers += u64::from(says(it, "BARRIER"));
        if let Some(status) = find(it, "STATUS").and_then(|it| it.value) {
            if self.statuses.len() >= STATUSES {
                self.statuses.pop_front();
            }
            let text = words::cut(escape_field(status), SHOWN);
            self.statuses.push_back((dequeued_ns, text));
            if let Some((id, since_ns)) = self.status.replace((it.id, dequeued_ns)) {
                let lasted_ns = apart_ns(since_ns, dequeued_ns);
                step.measure(id, MeasureName::Status, Some(lasted_ns));
            }
        }
        step
    }

    fn learn(&mut self, state: Option<&UnitState>) {
        if let Some(usec) = state.and_then(|state| state.watchdog_usec) {
            self.limit_ns = limit_ns(usec);
        }
        if let Some(began_ns) = state.and_then(|state| state.inactive_exit_ns) {
            self.begins(began_ns);
        }
    }

    /// The unit has begun to start then: what was open before is of an earlier life of it.
    fn begins(&mut self, began_ns: u64) {
        let is_before = |at_ns: u64| at_ns < began_ns;
        self.reload.take_if(|begun| is_before(begun.at_ns));
        self.stopping.take_if(|begun| is_before(begun.at_ns));
        self.status.take_if(|(_, at_ns)| is_before(*at_ns));
        if self.pings.last_ns.is_some_and(is_before) {
            self.pings = Pings::default();
        }
        if self
            .extension
            .is_some_and(|(_, from_ns, _)| is_before(from_ns))
        {
            self.extension = None;
        }
    }

    /// When it was heard of last; 0: never.
    pub(super) fn heard_ns(&self) -> u64 {
        self.last.as_ref().map_or(0, |(at_ns, _, _)| *at_ns)
    }

    fn reloading(
        &mut self,
        it: &Notification,
        state: Option<&UnitState>,
        dequeued_ns: u64,
        step: &mut Step,
    ) {
        if !says(it, "RELOADING") {
            return;
        }
        let before = reload::Before {
            last_usec: self.last_reload_usec,
            ready_ns: self.ready_ns,
        };
        step.find(reload::reloading(it, state, before), &[it.id]);
        self.last_reload_usec = number(it, "MONOTONIC_USEC");
        self.is_open_told = false;
        self.reload = Some(Begun {
            id: it.id,
            at_ns: dequeued_ns,
            pid: None,
        });
    }

    fn ready(
        &mut self,
        it: &Notification,
        state: Option<&UnitState>,
        ahead_ns: Option<u64>,
        dequeued_ns: u64,
        step: &mut Step,
    ) {
        if !says(it, "READY") {
            return;
        }
        let at = moment_of(it, dequeued_ns);
        if let Some(begun) = self.reload.take() {
            let took_ns = apart_ns(begun.at_ns, dequeued_ns);
            step.measure(it.id, MeasureName::Reload, Some(took_ns));
            step.phases.push(Phase {
                at,
                phase: PhaseName::Reload,
                subject: self.subject.clone(),
                about: vec![begun.id, it.id],
                took_ns: Some(dequeued_ns.saturating_sub(begun.at_ns)),
                facts: Vec::new(),
            });
        } else {
            // Of this start, not of one before or after.
            let began_ns = state
                .and_then(|state| state.inactive_exit_ns)
                .filter(|began_ns| *began_ns <= dequeued_ns)
                .filter(|began_ns| self.ready_ns.is_none_or(|ready_ns| ready_ns < *began_ns));
            // It may be up since before anybody looked.
            let was_up = state.is_some_and(|state| was_up(state, dequeued_ns));
            let is_first = (self.ready_ns.is_none() || began_ns.is_some()) && !was_up;
            if is_first {
                let process_ns = state
                    .and_then(|state| state.main_start_ns)
                    .filter(|start_ns| {
                        began_ns.is_some_and(|began_ns| {
                            began_ns <= start_ns.saturating_add(FORKED_BEFORE_NS)
                        })
                    })
                    .or_else(|| started_ns(it, ahead_ns));
                for (name, from_ns) in [
                    (MeasureName::Startup, began_ns),
                    (MeasureName::StartupProcess, process_ns),
                ] {
                    let from_ns = from_ns.filter(|from_ns| *from_ns <= dequeued_ns);
                    step.measure(
                        it.id,
                        name,
                        from_ns.map(|from_ns| apart_ns(from_ns, dequeued_ns)),
                    );
                }
                self.untimed = began_ns.is_none().then_some(Untimed {
                    id: it.id,
                    dequeued_ns,
                    before_ns: self.ready_ns,
                    has_process: process_ns.is_some(),
                });
                step.phases.push(Phase {
                    at,
                    phase: PhaseName::Start,
                    subject: self.subject.clone(),
                    about: vec![it.id],
                    took_ns: began_ns.map(|began_ns| dequeued_ns - began_ns),
                    facts: Vec::new(),
                });
                self.pings = Pings::default();
                self.is_silence_told = false;
            }
        }
        self.ready_ns = Some(dequeued_ns);
        self.refused.clear();
        self.extension = None;
        if self.pings.last_ns.is_none() {
            self.pings.last_ns = Some(dequeued_ns);
        }
    }

    fn watchdog(&mut self, it: &Notification, dequeued_ns: u64, step: &mut Step) {
        if let Some(usec) = number(it, "WATCHDOG_USEC") {
            self.limit_ns = limit_ns(usec);
        }
        if find(it, "WATCHDOG").is_some_and(|it| it.value == Some(b"trigger")) {
            step.find(Some(triggered(&self.name)), &[it.id]);
        }
        if says(it, "WATCHDOG") {
            let Ping {
                gap_ns,
                interval_ns,
                jitter_ns,
            } = self.pings.ping(dequeued_ns);
            self.is_silence_told = false;
            let limit_ns = self.limit_ns.filter(|limit_ns| *limit_ns > 0);
            let margin_ns = gap_ns
                .zip(limit_ns)
                .map(|(gap_ns, limit_ns)| apart_ns(gap_ns, limit_ns));
            let signed = |ns: Option<u64>| ns.and_then(|ns| i64::try_from(ns).ok());
            step.measure(it.id, MeasureName::Watchdog, signed(interval_ns));
            step.measure(it.id, MeasureName::WatchdogJitter, signed(jitter_ns));
            step.measure(it.id, MeasureName::WatchdogMargin, margin_ns);
            if let (Some(gap_ns), Some(limit_ns)) = (gap_ns, self.limit_ns) {
                step.find(ping(&self.name, gap_ns, limit_ns), &[it.id]);
            }
        }
    }

    /// Another extension, or the end of what was extended.
    fn extension_ends(&self, it: &Notification, dequeued_ns: u64, step: &mut Step) {
        let ends =
            says(it, "READY") || says(it, "STOPPING") || find(it, "EXTEND_TIMEOUT_USEC").is_some();
        if let Some((id, _, until_ns)) = self.extension.filter(|_| ends) {
            let margin_ns = apart_ns(dequeued_ns, until_ns);
            step.measure(id, MeasureName::ExtendMargin, Some(margin_ns));
        }
    }

    fn extension_is_kept(
        &mut self,
        it: &Notification,
        state: Option<&UnitState>,
        dequeued_ns: u64,
        step: &mut Step,
    ) {
        let Some((id, _, until_ns)) = self.extension else {
            return;
        };
        // The unit's own limit may be later still; without knowing it nothing is late.
        let Some(own_ns) = state.and_then(own_limit_ns) else {
            return;
        };
        let until_ns = until_ns.max(own_ns);
        if dequeued_ns > until_ns {
            let late_ns = dequeued_ns - until_ns;
            step.find(Some(overrun(&self.name, late_ns, false)), &[id, it.id]);
            self.extension = None;
        }
    }

    /// The manager says, late, when a start began.
    fn times(&mut self, state: &UnitState, step: &mut Step) {
        let Some(untimed) = self.untimed else { return };
        let Untimed {
            id,
            dequeued_ns,
            before_ns,
            has_process,
        } = untimed;
        let is_of_it = |at_ns: &u64| {
            *at_ns <= dequeued_ns && before_ns.is_none_or(|before_ns| before_ns < *at_ns)
        };
        let Some(began_ns) = state.inactive_exit_ns.filter(is_of_it) else {
            return;
        };
        self.untimed = None;
        // It was up long before it said so, and nobody waited for that.
        if was_up(state, dequeued_ns) {
            return;
        }
        let took_ns = apart_ns(began_ns, dequeued_ns);
        step.measure(id, MeasureName::Startup, Some(took_ns));
        let process_ns = state
            .main_start_ns
            .filter(|start_ns| !has_process && is_of_it(start_ns));
        let took_ns = process_ns.map(|start_ns| apart_ns(start_ns, dequeued_ns));
        step.measure(id, MeasureName::StartupProcess, took_ns);
    }

    /// What its manager says of it.
    pub(super) fn state(&mut self, state: &UnitState) -> Step {
        let mut step = Step::default();
        self.times(state, &mut step);
        self.learn(Some(state));
        let began_ns = state.inactive_exit_ns.unwrap_or(0);
        let is_ready = self.ready_ns.is_some_and(|ready_ns| ready_ns >= began_ns);
        if !is_ready {
            let of_this_start = |at_ns: &u64| *at_ns >= began_ns;
            let said = Said {
                last: self
                    .last
                    .as_ref()
                    .filter(|(at_ns, _, _)| of_this_start(at_ns))
                    .map(|(at_ns, id, lines)| {
                        let text: Vec<String> = lines.iter().filter_map(words::line).collect();
                        let text = words::cut(text.join(" "), SHOWN);
                        let ago_ns = state.monotonic_ns.saturating_sub(*at_ns);
                        (format!("#{id} {text}"), ago_ns)
                    }),
                refused: self
                    .refused
                    .iter()
                    .filter(|(at_ns, _)| of_this_start(at_ns))
                    .map(|(_, text)| text.clone())
                    .collect(),
            };
            step.find(never_ready(state, &said), &[]);
            if state.result.as_deref() == Some("timeout")
                && let Some((id, _, _)) = self.extension.take()
            {
                step.find(Some(overrun(&self.name, 0, true)), &[id]);
            }
        }
        if state.result.as_deref() == Some("watchdog")
            && !self.is_silence_told
            && let Some(limit_ns) = self.limit_ns
        {
            self.is_silence_told = true;
            let found = silent(&self.name, self.pings, state.monotonic_ns, limit_ns, true);
            step.find(Some(found), &[]);
        }
        step
    }

    /// Time has passed. `state`: what its manager said last.
    pub(super) fn advance(&mut self, now: Moment, state: Option<&UnitState>, is_end: bool) -> Step {
        let mut step = Step::default();
        let now_ns = now.monotonic_ns;
        let is_up = state.is_some_and(|state| state.active_state == "active")
            && self.stopping.is_none()
            && self.reload.is_none();
        if let (Some(limit_ns), Some(last_ns)) = (self.limit_ns, self.pings.last_ns)
            && is_up
            && !self.is_silence_told
            && limit_ns > 0
            && now_ns.saturating_sub(last_ns) > limit_ns.saturating_add(GRACE_NS)
        {
            self.is_silence_told = true;
            let found = silent(&self.name, self.pings, now_ns, limit_ns, false);
            step.find(Some(found), &[]);
        }
        if let Some(begun) = self.reload
            && !self.is_open_told
        {
            let age_ns = now_ns.saturating_sub(begun.at_ns);
            let limit_ns = if is_end {
                OPEN_AT_END_NS
            } else {
                state
                    .and_then(|state| state.timeout_start_usec)
                    .map_or(OPEN_NS, |usec| {
                        (usec.saturating_mul(1_000) / 3).min(OPEN_NS)
                    })
            };
            if age_ns > limit_ns {
                self.is_open_told = true;
                step.find(Some(reload::open(&self.name, age_ns)), &[begun.id]);
            }
        }
        step
    }

    /// Whether [`Self::advance`] may find something by now, as far as is known without the unit's state.
    pub(super) fn may_be_due(&self, now_ns: u64) -> bool {
        let is_silent = match (self.limit_ns, self.pings.last_ns) {
            (Some(limit_ns), Some(last_ns)) => {
                !self.is_silence_told
                    && now_ns.saturating_sub(last_ns) > limit_ns.saturating_add(GRACE_NS)
            }
            _ => false,
        };
        is_silent || (self.reload.is_some() && !self.is_open_told)
    }

    /// Whether silence would say something: a watchdog, a reload that has begun.
    pub(super) const fn is_waiting(&self) -> bool {
        (self.limit_ns.is_some() && !self.is_silence_told)
            || (self.reload.is_some() && !self.is_open_told)
    }

    /// A process of it exited.
    pub(super) fn exited(&mut self, pid: u32, at: Moment) -> Step {
        let mut step = Step::default();
        let Some(begun) = self.stopping.filter(|begun| begun.pid == Some(pid)) else {
            return step;
        };
        self.stopping = None;
        let took_ns = at.monotonic_ns.saturating_sub(begun.at_ns);
        step.measure(begun.id, MeasureName::Stop, i64::try_from(took_ns).ok());
        step.phases.push(Phase {
            at,
            phase: PhaseName::Stop,
            subject: self.subject.clone(),
            about: vec![begun.id],
            took_ns: Some(took_ns),
            facts: Vec::new(),
        });
        step
    }
}

/// Whether a unit was up, since its present start, long before its `READY=1` was taken.
fn was_up(state: &UnitState, dequeued_ns: u64) -> bool {
    let is_of_this_life = state.inactive_exit_ns <= state.active_enter_ns;
    is_of_this_life
        && state
            .active_enter_ns
            .is_some_and(|up_ns| up_ns.saturating_add(UP_NS) < dequeued_ns)
}

/// When the sender was started, if the manager who is told did that: else it is a helper, and its age
/// says nothing of the service's.
fn started_ns(it: &Notification, ahead_ns: Option<u64>) -> Option<u64> {
    let sender = it.sender.as_ref()?;
    let reader = it.delivery.reader.as_ref()?;
    if sender.parent_pid != Some(reader.pid) {
        return None;
    }
    sender.start_boottime_ns?.checked_sub(ahead_ns?)
}

/// Until when the unit may start by its own `TimeoutStartSec=`.
fn own_limit_ns(state: &UnitState) -> Option<u64> {
    let began_ns = state.main_start_ns.or(state.inactive_exit_ns)?;
    let timeout_usec = state.timeout_start_usec?;
    Some(began_ns.saturating_add(timeout_usec.saturating_mul(1_000)))
}
