//! One session while it is read: its events. Its conclusions are taken in `conclude`.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::order::{ordered, slow_ns};
use crate::escape::escape_field;
use crate::event::{ConnectFailed, Event, Losses, Notification, Session, UnitState, Update};
use crate::sink::text::{facts as text_facts, verbose};
use crate::timeline::facts::Facts;
use crate::timeline::lane::Filling;
use crate::timeline::model::{Mark, MarkKind, MarkState, Section, Span};
use crate::timeline::start::Found;
use crate::timeline::words::{is_ping, kind_of, lane_of, lane_of_key, state_of, unit_state};
use crate::unit::UnitKey;
use crate::words;

/// Lines of a message that are kept.
const LINES: usize = 100;

/// A clock that is off by more than this was set, or the host has slept.
const CLOCK_NS: i64 = 500_000_000;

/// Keys of what has no number of its own.
const NO_ID: u64 = 1 << 63;

/// A session that is being read.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) section: Section,
    /// Wall time and monotonic time of the beginning.
    anchor: (i64, u64),
    latest_ns: u64,
    pub(super) lanes: Vec<Filling>,
    by_name: HashMap<String, usize>,
    /// Lanes of messages.
    pub(super) homes: HashMap<u64, usize>,
    connects: u64,
    /// The most that the clock was off.
    drift: i64,
}

impl Open {
    pub(super) fn new(session: &Session) -> Self {
        let text = |text: &str| escape_field(text.as_bytes()).to_string();
        let began = unix_ns(session.time);
        let mut notes: Vec<String> = session.warnings.iter().map(|it| text(it)).collect();
        if !session.view.is_empty() {
            notes.insert(0, format!("shown: {}", text(&session.view.join(" "))));
        }
        Self {
            section: Section {
                host: text(&session.host),
                boot: session.boot_id.as_deref().map(text),
                kernel: text(&session.kernel),
                began,
                ended: began,
                notes,
                ..Section::default()
            },
            anchor: (began, session.monotonic_ns),
            latest_ns: session.monotonic_ns,
            lanes: Vec::new(),
            by_name: HashMap::new(),
            homes: HashMap::new(),
            connects: 0,
            drift: 0,
        }
    }

    pub(super) fn note(&mut self, text: String) {
        if !self.section.notes.contains(&text) {
            self.section.notes.push(text);
        }
    }

    /// A moment of the monotonic clock on the axis.
    pub(super) fn at(&self, monotonic_ns: u64) -> i64 {
        let (began, began_ns) = self.anchor;
        began.saturating_add(monotonic_ns.wrapping_sub(began_ns).cast_signed())
    }

    /// The same; the session lasts at least until then.
    fn pass(&mut self, monotonic_ns: u64, time: Timestamp) -> i64 {
        self.latest_ns = self.latest_ns.max(monotonic_ns);
        let at = self.at(monotonic_ns);
        let drift = unix_ns(time).saturating_sub(at);
        if drift.abs() > self.drift.abs() {
            self.drift = drift;
        }
        at
    }

    pub(super) fn lane(&mut self, name: String) -> usize {
        if let Some(lane) = self.by_name.get(&name) {
            return *lane;
        }
        let lane = self.lanes.len();
        self.lanes.push(Filling::new(name.clone()));
        self.by_name.insert(name, lane);
        lane
    }

    pub(super) fn event(&mut self, event: &Event, facts: &mut Facts) {
        match event {
            Event::Send(it) => self.send(it, event, facts),
            Event::Update(it) => self.update(it, event, facts),
            Event::ConnectFailed(it) => self.connect(it, event, facts),
            Event::Unit(state) => self.unit(state),
            Event::Exit(exit) => {
                self.pass(exit.monotonic_ns, exit.time);
            }
            Event::ReceiverClosed(closed) => {
                self.pass(closed.monotonic_ns, closed.time);
            }
            Event::Loss(loss) => self.losses(&loss.losses),
            Event::Summary(summary) => {
                self.pass(summary.monotonic_ns, summary.time);
                self.losses(&summary.losses);
            }
            Event::View(it) => {
                self.pass(it.monotonic_ns, it.time);
            }
            Event::Session(_) => {}
        }
    }

    fn losses(&mut self, losses: &Losses) {
        if losses.any() {
            self.note(
                "Something was lost while this was recorded: what is missing may be there, too."
                    .to_owned(),
            );
        }
    }

    fn send(&mut self, it: &Notification, event: &Event, facts: &mut Facts) {
        let at = self.pass(it.monotonic_ns, it.time);
        if let Some(dequeued_ns) = it.timing.dequeued_ns {
            self.latest_ns = self.latest_ns.max(dequeued_ns);
        }
        let lane = self.lane(lane_of(it.sender.as_ref(), &it.class));
        if is_ping(it) {
            if self.lanes[lane].ping(it.id, at) {
                self.homes.insert(it.id, lane);
            }
            return;
        }
        let state = state_of(&it.delivery);
        let kind = kind_of(&it.lines);
        if !self.lanes[lane].wants(state, kind) {
            return;
        }
        self.homes.insert(it.id, lane);
        let mut lines: Vec<String> = it.lines.iter().filter_map(words::line).collect();
        if lines.len() > LINES {
            let more = lines.split_off(LINES).len();
            lines.push(format!("… and {more} more lines"));
        }
        let fate: Vec<String> = text_facts::reason(it)
            .into_iter()
            .chain(text_facts::remarks(it, None))
            .collect();
        let start_ns = it.sender.as_ref().and_then(|it| it.start_boottime_ns);
        if let (MarkKind::Ready, Some(start_ns)) = (kind, start_ns) {
            self.lanes[lane].process_starts.insert(it.id, start_ns);
        }
        let mark = Mark {
            id: Some(it.id),
            at,
            took: it.timing.delivery_ns(),
            kind,
            state,
            lines,
            fate: (!fate.is_empty()).then(|| fate.join("; ")),
            clock: clock(at, it.time),
            facts: facts.add(shown_facts(event)),
            verdicts: Vec::new(),
        };
        self.lanes[lane].mark(it.id, mark);
    }

    fn update(&mut self, it: &Update, event: &Event, facts: &mut Facts) {
        self.pass(it.monotonic_ns, it.time);
        let Some(lane) = self.homes.get(&it.id) else {
            return;
        };
        let state = state_of(&it.delivery);
        let new = facts.add(shown_facts(event));
        self.lanes[*lane].change(it.id, |mark| {
            mark.state = state;
            mark.took = it.timing.delivery_ns().or(mark.took);
            mark.fate = match state {
                MarkState::Ok => None,
                MarkState::Failed => Some(words::state(it.delivery.state).to_owned()),
                MarkState::Open | MarkState::Warning => mark.fate.take(),
            };
            facts.replace(&mut mark.facts, new);
        });
    }

    fn connect(&mut self, it: &ConnectFailed, event: &Event, facts: &mut Facts) {
        let at = self.pass(it.monotonic_ns, it.time);
        let lane = self.lane(lane_of(Some(&it.sender), &it.class));
        let key = NO_ID + self.connects;
        self.connects += 1;
        let mark = Mark {
            id: None,
            at,
            took: None,
            kind: MarkKind::Connect,
            state: MarkState::Failed,
            lines: Vec::new(),
            fate: Some(format!(
                "connect to {} failed: {}",
                words::address(&it.address),
                words::errno(&it.error)
            )),
            clock: clock(at, it.time),
            facts: facts.add(shown_facts(event)),
            verdicts: Vec::new(),
        };
        self.lanes[lane].mark(key, mark);
    }

    fn unit(&mut self, state: &UnitState) {
        let at = self.pass(state.monotonic_ns, state.time);
        let key = UnitKey::of_state(state);
        if !key.is_service() {
            return;
        }
        let lane = self.lane(lane_of_key(&key));
        let found = self.lanes[lane].starts.state(state);
        self.lanes[lane].state = Some(unit_state(state));
        self.lanes[lane].touch(at);
        self.span(lane, found);
    }

    pub(super) fn span(&mut self, lane: usize, found: Option<Found>) {
        if let Some(found) = found {
            let span = Span {
                kind: found.kind,
                end: found.end,
                from: self.at(found.from_ns),
                to: self.at(found.to_ns),
                text: found.text,
            };
            self.lanes[lane].span(span);
        }
    }

    pub(super) fn finish(mut self) -> Section {
        let end_ns = self.latest_ns;
        for lane in 0..self.lanes.len() {
            let found = self.lanes[lane].starts.finish(end_ns);
            self.span(lane, found);
        }
        if self.drift.abs() > CLOCK_NS {
            let by = SignedDuration::from_nanos(self.drift);
            let side = if self.drift > 0 { "ahead of" } else { "behind" };
            let by = words::duration(by.unsigned_abs().as_nanos().try_into().unwrap_or(u64::MAX));
            self.note(format!(
                "The wall clock was at some moment {by} {side} the axis: it was set, or the host slept. \
                 The axis goes on from the time of the beginning, so that no duration is wrong."
            ));
        }
        let mut section = self.section;
        section.ended = {
            let (began, began_ns) = self.anchor;
            began.saturating_add(end_ns.wrapping_sub(began_ns).cast_signed())
        };
        let (lanes, places) = ordered(self.lanes, section.began);
        section.slow_ns = slow_ns(&lanes);
        section.lanes = lanes;
        for hop in &mut section.hops {
            hop.from = places[hop.from];
            hop.to = places[hop.to];
        }
        for verdict in &mut section.verdicts {
            verdict.lane = places[verdict.lane];
        }
        section
            .verdicts
            .sort_by_key(|verdict| (verdict.at, verdict.number));
        section
    }
}

/// All that is known, but for what is shown in a better place.
fn shown_facts(event: &Event) -> Vec<(&'static str, Vec<String>)> {
    let mut facts = verbose::facts(event);
    facts.retain(|(name, _)| !matches!(*name, "payload" | "update of"));
    facts
}

/// The wall clock of a moment, where the axis has another time.
fn clock(at: i64, time: Timestamp) -> Option<String> {
    let is_off = unix_ns(time).abs_diff(at) > CLOCK_NS.unsigned_abs();
    is_off.then(|| time.to_string())
}

fn unix_ns(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}
