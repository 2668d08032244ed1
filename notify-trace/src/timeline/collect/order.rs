//! In which order lanes stand. Pure.

use crate::timeline::lane::Filling;
use crate::timeline::model::{Lane, Span, SpanEnd, SpanKind};

/// A start is slow if it takes so many times as long as half of all do.
const TIMES: i64 = 4;
/// And not less than this.
const LEAST_NS: i64 = 1_000_000_000;

/// Lanes by their first activity, each below the one that passes its messages on; and where each that was
/// given has gone.
pub(super) fn ordered(lanes: Vec<Filling>, began: i64) -> (Vec<Lane>, Vec<usize>) {
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); lanes.len()];
    let mut top = Vec::new();
    for (index, lane) in lanes.iter().enumerate() {
        match lane.parent {
            Some(parent) => below[parent].push(index),
            None => top.push(index),
        }
    }
    let by_first = |list: &mut Vec<usize>| {
        list.sort_by(|one, other| {
            let key = |it: &usize| (lanes[*it].first(began), &lanes[*it].name);
            key(one).cmp(&key(other))
        });
        list.reverse();
    };
    below.iter_mut().for_each(by_first);
    by_first(&mut top);
    // A stack instead of recursion: parents are never their own children's children.
    let mut places = vec![0; lanes.len()];
    let mut order = Vec::new();
    while let Some(next) = top.pop() {
        places[next] = order.len();
        order.push(next);
        top.append(&mut below[next]);
    }
    let mut slots: Vec<Option<Filling>> = lanes.into_iter().map(Some).collect();
    let lanes = order
        .iter()
        .filter_map(|index| slots[*index].take())
        .map(|lane| {
            let mut lane = lane.into_lane(began);
            lane.parent = lane.parent.map(|parent| places[parent]);
            lane
        })
        .collect();
    (lanes, places)
}

/// Whether one lane may stand below the other: not if that would be a circle.
pub(super) fn may_stand_below(lanes: &[Filling], lane: usize, parent: usize) -> bool {
    let mut above = Some(parent);
    while let Some(at) = above {
        if at == lane {
            return false;
        }
        above = lanes[at].parent;
    }
    lanes[lane].parent.is_none()
}

/// From which duration on a start is slow.
pub(super) fn slow_ns(lanes: &[Lane]) -> i64 {
    let is_start = |span: &&Span| span.kind == SpanKind::Start && span.end == SpanEnd::Done;
    let spans = lanes.iter().flat_map(|lane| &lane.spans).filter(is_start);
    let mut took: Vec<i64> = spans.map(|span| span.to - span.from).collect();
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied().unwrap_or(0);
    median.saturating_mul(TIMES).max(LEAST_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, first: i64, parent: Option<usize>) -> Filling {
        let mut lane = Filling::new(name.to_owned());
        lane.touch(first);
        lane.parent = parent;
        lane
    }

    #[test]
    fn lanes_stand_by_their_first_activity_and_below_who_passes_on() {
        let lanes = vec![
            lane("late", 9, None),
            lane("runc:box", 1, Some(2)),
            lane("box.service", 5, None),
            lane("early", 2, None),
        ];
        let (lanes, places) = ordered(lanes, 0);
        let names: Vec<&str> = lanes.iter().map(|lane| &*lane.name).collect();
        assert_eq!(names, ["early", "box.service", "runc:box", "late"]);
        assert_eq!(places, [3, 2, 1, 0]);
        assert_eq!(lanes[2].parent, Some(1));
    }

    #[test]
    fn no_lane_stands_below_itself() {
        let mut lanes = vec![lane("a", 1, None), lane("b", 2, None)];
        assert!(may_stand_below(&lanes, 0, 1));
        lanes[0].parent = Some(1);
        assert!(!may_stand_below(&lanes, 1, 0));
        assert!(!may_stand_below(&lanes, 1, 1));
        assert!(!may_stand_below(&lanes, 0, 1), "it has its place");
    }

    #[test]
    fn slow_is_what_takes_four_times_as_long_as_usual_and_a_second() {
        let with = |seconds: &[i64]| {
            let span = |seconds: &i64| Span {
                kind: SpanKind::Start,
                end: SpanEnd::Done,
                from: 0,
                to: seconds * LEAST_NS,
                text: String::new(),
            };
            [Lane {
                spans: seconds.iter().map(span).collect(),
                ..Lane::default()
            }]
        };
        assert_eq!(slow_ns(&with(&[])), LEAST_NS);
        assert_eq!(slow_ns(&with(&[1, 2, 30])), 8 * LEAST_NS);
    }
}
