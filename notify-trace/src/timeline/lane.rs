//! One lane while it is filled: what is kept of a flood, and what is only counted.

use std::collections::BTreeMap;

use super::model::{Lane, Mark, MarkKind, MarkState, Span};
use super::start::Starts;

/// Most pings of a lane that are drawn; each time there are more, every second one goes.
const PINGS: usize = 600;

/// Most messages of a lane that are drawn, of those that arrived: so many that begin or end something, and
/// so many others, so that a talkative service does not hide its own `READY=1`.
const MARKS: usize = 2_000;

/// Most notes of a lane.
const NOTES: usize = 16;

/// A lane that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) name: String,
    pub(super) parent: Option<usize>,
    pub(super) starts: Starts,
    pub(super) state: Option<String>,
    pub(super) notes: Vec<String>,
    pub(super) spans: Vec<Span>,
    /// By their numbers; a failed connect, which has none, by one that no message has.
    marks: BTreeMap<u64, Mark>,
    /// Others, and those that begin or end something.
    arrived: [usize; 2],
    left_out: u64,
    /// Number and time.
    pings: BTreeMap<u64, i64>,
    pings_seen: u64,
    /// One of so many is kept.
    stride: u64,
    pings_left_out: u64,
    /// Starts of processes that said `READY=1`, by the number of the message.
    pub(super) process_starts: BTreeMap<u64, u64>,
    first: Option<i64>,
}

impl Filling {
    /// Nothing in it.
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            parent: None,
            starts: Starts::default(),
            state: None,
            notes: Vec::new(),
            spans: Vec::new(),
            marks: BTreeMap::new(),
            arrived: [0; 2],
            left_out: 0,
            pings: BTreeMap::new(),
            pings_seen: 0,
            stride: 1,
            pings_left_out: 0,
            process_starts: BTreeMap::new(),
            first: None,
        }
    }

    /// Something of it happened.
    pub(super) fn touch(&mut self, at: i64) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
    }

    /// A ping that arrived; whether it is kept.
    pub(super) fn ping(&mut self, id: u64, at: i64) -> bool {
        self.touch(at);
        self.pings_seen += 1;
        if !(self.pings_seen - 1).is_multiple_of(self.stride) {
            self.pings_left_out += 1;
            return false;
        }
        self.pings.insert(id, at);
        if self.pings.len() > PINGS {
            self.stride *= 2;
            let before = self.pings.len();
            let mut is_kept = false;
            self.pings.retain(|_, _| {
                is_kept = !is_kept;
                is_kept
            });
            self.pings_left_out += u64::try_from(before - self.pings.len()).unwrap_or(0);
        }
        true
    }

    /// Whether a message is kept; if not, it is counted. One that failed, or may yet, always is.
    pub(super) fn wants(&mut self, state: MarkState, kind: MarkKind) -> bool {
        let is_wanted = state != MarkState::Ok || self.arrived[class(kind)] < MARKS;
        self.left_out += u64::from(!is_wanted);
        is_wanted
    }

    /// A message that is wanted.
    pub(super) fn mark(&mut self, key: u64, mark: Mark) {
        self.touch(mark.at);
        self.arrived[class(mark.kind)] += usize::from(mark.state == MarkState::Ok);
        self.marks.insert(key, mark);
    }

    /// A message that was told of before.
    pub(super) fn change(&mut self, key: u64, change: impl FnOnce(&mut Mark)) {
        if let Some(mark) = self.marks.get_mut(&key) {
            let was = mark.state;
            change(mark);
            let (is, class) = (mark.state, class(mark.kind));
            if was != MarkState::Ok && is == MarkState::Ok {
                if self.arrived[class] >= MARKS {
                    self.marks.remove(&key);
                    self.left_out += 1;
                } else {
                    self.arrived[class] += 1;
                }
            } else if was == MarkState::Ok && is != MarkState::Ok {
                self.arrived[class] = self.arrived[class].saturating_sub(1);
            }
        }
    }

    /// Something is to be said of a ping, so that it becomes a message like others.
    pub(super) fn promote(&mut self, id: u64) {
        if let Some(at) = self.pings.remove(&id) {
            let mark = Mark {
                id: Some(id),
                at,
                took: None,
                kind: MarkKind::Watchdog,
                state: MarkState::Warning,
                lines: vec!["WATCHDOG=1".to_owned()],
                fate: None,
                clock: None,
                facts: Vec::new(),
                verdicts: Vec::new(),
            };
            self.marks.insert(id, mark);
        }
    }

    /// When a message was sent.
    pub(super) fn time_of(&self, id: u64) -> Option<i64> {
        let mark = self.marks.get(&id).map(|mark| mark.at);
        mark.or_else(|| self.pings.get(&id).copied())
    }

    /// A sentence about it.
    pub(super) fn note(&mut self, text: String) {
        if self.notes.len() < NOTES && !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The time that something took.
    pub(super) fn span(&mut self, span: Span) {
        self.touch(span.from);
        self.spans.push(span);
    }

    /// The first moment of it.
    pub(super) fn first(&self, otherwise: i64) -> i64 {
        self.first.unwrap_or(otherwise)
    }

    /// As it is drawn.
    pub(super) fn into_lane(self, otherwise: i64) -> Lane {
        let first = self.first(otherwise);
        let mut spans = self.spans;
        spans.sort_by_key(|span| (span.from, span.to));
        let mut marks: Vec<Mark> = self.marks.into_values().collect();
        marks.sort_by_key(|mark| (mark.at, mark.id));
        let mut pings: Vec<i64> = self.pings.into_values().collect();
        pings.sort_unstable();
        let mut notes: Vec<String> = self.state.into_iter().collect();
        notes.extend(self.notes);
        Lane {
            name: self.name,
            parent: self.parent,
            first,
            spans,
            marks,
            pings,
            pings_left_out: self.pings_left_out,
            marks_left_out: self.left_out,
            notes,
        }
    }
}

/// Which of the two bounds counts for a message.
const fn class(kind: MarkKind) -> usize {
    match kind {
        MarkKind::Ready | MarkKind::Reloading | MarkKind::Stopping => 1,
        MarkKind::Watchdog | MarkKind::Status | MarkKind::Other | MarkKind::Connect => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: u64, state: MarkState) -> Mark {
        Mark {
            id: Some(id),
            at: i64::try_from(id).expect("small"),
            took: None,
            kind: MarkKind::Status,
            state,
            lines: Vec::new(),
            fate: None,
            clock: None,
            facts: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    #[test]
    fn pings_are_thinned_out_evenly_and_counted() {
        let mut lane = Filling::new("app.service".to_owned());
        for id in 0..10_000 {
            lane.ping(id, i64::try_from(id).expect("small"));
        }
        let lane = lane.into_lane(0);
        assert!(lane.pings.len() <= PINGS && lane.pings.len() > PINGS / 3);
        let kept = u64::try_from(lane.pings.len()).expect("small");
        assert_eq!(kept + lane.pings_left_out, 10_000);
        let gaps: Vec<i64> = lane.pings.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
    }

    #[test]
    fn of_a_flood_all_that_failed_is_kept() {
        let mut lane = Filling::new("app.service".to_owned());
        for id in 0..9_000 {
            let state = if id % 3 == 0 {
                MarkState::Failed
            } else {
                MarkState::Ok
            };
            if lane.wants(state, MarkKind::Status) {
                lane.mark(id, mark(id, state));
            }
        }
        let lane = lane.into_lane(0);
        let failed = |it: &&Mark| it.state == MarkState::Failed;
        assert_eq!(lane.marks.iter().filter(failed).count(), 3_000);
        assert_eq!(lane.marks.len(), 3_000 + MARKS);
        assert_eq!(lane.marks_left_out, 6_000 - MARKS as u64);
    }

    #[test]
    fn a_talkative_service_does_not_hide_its_own_ready() {
        let mut lane = Filling::new("app.service".to_owned());
        for id in 0..3_000 {
            if lane.wants(MarkState::Ok, MarkKind::Status) {
                lane.mark(id, mark(id, MarkState::Ok));
            }
        }
        assert!(lane.wants(MarkState::Ok, MarkKind::Ready));
    }

    #[test]
    fn what_was_pending_counts_when_it_has_arrived() {
        let mut lane = Filling::new("app.service".to_owned());
        for id in 0..3_000 {
            lane.mark(id, mark(id, MarkState::Open));
        }
        for id in 0..3_000 {
            lane.change(id, |it| it.state = MarkState::Ok);
        }
        let lane = lane.into_lane(0);
        assert_eq!((lane.marks.len(), lane.marks_left_out), (2_000, 1_000));
    }

    #[test]
    fn a_ping_of_which_something_is_said_becomes_a_message() {
        let mut lane = Filling::new("app.service".to_owned());
        lane.ping(7, 70);
        lane.promote(7);
        lane.promote(8);
        let lane = lane.into_lane(0);
        assert_eq!((lane.pings.len(), lane.marks.len()), (0, 1));
    }
}
