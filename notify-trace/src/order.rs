//! Merges the per-CPU streams of records by kernel time.
//!
//! Each CPU's ring is in order, but the rings are drained one after the other. Whoever drains them
//! takes the time before, drains all, and releases what is older: nothing older can come any more.
//! Knows nothing of records; what comes too late nonetheless is passed on, never dropped.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// When fewer wait than this, and there is room for four times as many, the rest of the room is given back.
const KEPT: usize = 4_096;

/// Things that wait for their turn.
#[derive(Debug)]
pub struct Order<T> {
    /// Small, because they are moved around; what they stand for is not.
    waiting: BinaryHeap<Waiting>,
    values: Vec<Option<T>>,
    free: Vec<usize>,
    /// How many have ever come: equal times leave in the order of arrival.
    arrived: u64,
    /// The latest time released so far.
    released_ns: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    time_ns: u64,
    arrival: u64,
    /// Its place in `values`.
    place: usize,
}

impl<T> Order<T> {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            waiting: BinaryHeap::new(),
            values: Vec::new(),
            free: Vec::new(),
            arrived: 0,
            released_ns: 0,
        }
    }

    /// Takes one thing and its time.
    pub fn push(&mut self, time_ns: u64, value: T) {
        let place = if let Some(place) = self.free.pop() {
            self.values[place] = Some(value);
            place
        } else {
            self.values.push(Some(value));
            self.values.len() - 1
        };
        self.waiting.push(Waiting {
            time_ns,
            arrival: self.arrived,
            place,
        });
        self.arrived += 1;
    }

    /// Shows what is older than `before_ns`, or than something already released, the oldest first, but at
    /// most so many, and drops it; whether there are more. (Shown where it lies: to be moved would cost more
    /// than to be sorted.)
    pub fn release(&mut self, before_ns: u64, at_most: usize, mut show: impl FnMut(&T)) -> bool {
        let mut shown = 0;
        while let Some(first) = self.waiting.peek() {
            if first.time_ns >= before_ns && first.time_ns >= self.released_ns {
                break;
            }
            if shown == at_most {
                return true;
            }
            shown += 1;
            self.pop(&mut show);
        }
        false
    }

    /// Shows everything, the oldest first, and drops it.
    pub fn flush(&mut self, mut show: impl FnMut(&T)) {
        while !self.waiting.is_empty() {
            self.pop(&mut show);
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The time of the oldest that waits.
    #[must_use]
    pub fn oldest_ns(&self) -> Option<u64> {
        self.waiting.peek().map(|first| first.time_ns)
    }

    fn pop(&mut self, show: &mut impl FnMut(&T)) {
        let Some(first) = self.waiting.pop() else {
            return;
        };
        self.released_ns = self.released_ns.max(first.time_ns);
        let value = &mut self.values[first.place];
        value.iter().for_each(show);
        *value = None;
        self.free.push(first.place);
        if self.values.len() > 4 * KEPT && self.waiting.len() < KEPT {
            self.move_together();
        }
    }

    /// A flood is over: what is left needs less room.
    fn move_together(&mut self) {
        let mut values = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        let moved = waiting.into_iter().map(|mut it| {
            values.push(self.values[it.place].take());
            it.place = values.len() - 1;
            it
        });
        self.waiting = moved.collect();
        self.values = values;
        self.free = Vec::new();
    }
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The heap's greatest is the oldest.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time_ns, other.arrival).cmp(&(self.time_ns, self.arrival))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn released<T: Clone>(order: &mut Order<T>, before_ns: u64) -> Vec<T> {
        let mut values = Vec::new();
        order.release(before_ns, usize::MAX, |value| values.push(value.clone()));
        values
    }

    fn filled<T>(values: impl IntoIterator<Item = (u64, T)>) -> Order<T> {
        let mut order = Order::new();
        for (time_ns, value) in values {
            order.push(time_ns, value);
        }
        order
    }

    #[test]
    fn two_streams_leave_in_the_order_of_time() {
        let mut order = filled([(1, "a1"), (4, "a4"), (2, "b2"), (3, "b3")]);
        assert_eq!(released(&mut order, 10), ["a1", "b2", "b3", "a4"]);
        assert!(order.is_empty());
    }

    #[test]
    fn equal_times_leave_in_the_order_of_arrival() {
        let mut order = filled([(5, "first"), (5, "second"), (5, "third")]);
        assert_eq!(released(&mut order, 6), ["first", "second", "third"]);
    }

    #[test]
    fn what_is_as_young_as_the_limit_waits() {
        let mut order = filled([(9, "old"), (10, "young")]);
        assert_eq!(released(&mut order, 10), ["old"]);
        assert_eq!(order.len(), 1);
    }

    #[test]
    fn what_comes_after_its_turn_leaves_whatever_the_limit_is() {
        let mut order = filled([(100, "on time")]);
        assert_eq!(released(&mut order, 101), ["on time"]);
        order.push(50, "late");
        order.push(100, "in time");
        assert_eq!(released(&mut order, 0), ["late"]);
        assert_eq!(released(&mut order, 101), ["in time"]);
    }

    #[test]
    fn at_most_so_many_leave_at_once() {
        let mut order = filled([(1, "a"), (2, "b"), (3, "c"), (9, "young")]);
        let mut values = Vec::new();
        assert!(order.release(5, 2, |value| values.push(*value)));
        assert!(!order.release(5, 2, |value| values.push(*value)));
        assert_eq!(values, ["a", "b", "c"]);
        assert_eq!(order.len(), 1);
    }

    #[test]
    fn places_are_used_again_and_given_back_after_a_flood() {
        let mut order = filled((0..10).map(|time| (time, time)));
        for round in 1..100 {
            released(&mut order, u64::MAX);
            for time in 0..10 {
                order.push(round * 10 + time, time);
            }
        }
        assert_eq!(order.values.len(), 10);
        released(&mut order, u64::MAX);
        let flood: Vec<u64> = (5_000..25_000).collect();
        for time in &flood {
            order.push(*time, *time);
        }
        // There is always something left.
        assert_eq!(released(&mut order, 24_000), flood[..19_000]);
        assert!(order.values.len() < KEPT && order.values.capacity() < 2 * KEPT);
        order.push(1, 7);
        assert_eq!(released(&mut order, u64::MAX)[0], 7);
        assert!(order.is_empty());
    }

    #[test]
    fn a_flush_gives_everything() {
        let mut order = filled([(7, "b"), (3, "a"), (u64::MAX, "c")]);
        let mut values = Vec::new();
        order.flush(|value| values.push(*value));
        assert_eq!(values, ["a", "b", "c"]);
    }

    proptest! {
        #[test]
        fn the_release_is_a_stable_sort(times in proptest::collection::vec(0_u64..50, 0..200)) {
            let mut expected: Vec<_> = times.iter().copied().enumerate().map(|(i, t)| (t, i)).collect();
            let mut order = filled(expected.iter().map(|&(time, index)| (time, (time, index))));
            let mut values = released(&mut order, 25);
            prop_assert!(values.iter().all(|(time, _)| *time < 25));
            order.flush(|value| values.push(*value));
            expected.sort();
            prop_assert_eq!(values, expected);
        }
    }
}
