//! Merges the per-CPU streams of records by kernel time.
//!
//! Each CPU's ring is in order, but the rings are drained one after the other. Whoever drains them
//! takes the time before, drains all, and releases what is older: nothing older can come any more.
//! Knows nothing of records; what comes too late nonetheless is passed on, never dropped.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Things that wait for their turn.
#[derive(Debug)]
pub struct Order<T> {
    waiting: BinaryHeap<Waiting<T>>,
    /// How many have ever come: equal times leave in the order of arrival.
    arrived: u64,
    /// The latest time released so far.
    released_ns: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    time_ns: u64,
    arrival: u64,
    value: T,
}

impl<T> Order<T> {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            waiting: BinaryHeap::new(),
            arrived: 0,
            released_ns: 0,
        }
    }

    /// Takes one thing and its time.
    pub fn push(&mut self, time_ns: u64, value: T) {
        self.waiting.push(Waiting {
            time_ns,
            arrival: self.arrived,
            value,
        });
        self.arrived += 1;
    }

    /// Gives away what is older than `before_ns`, or than something already given away, the oldest
    /// first.
    pub fn release(&mut self, before_ns: u64, mut give: impl FnMut(T)) {
        while let Some(first) = self.waiting.peek() {
            if first.time_ns >= before_ns && first.time_ns >= self.released_ns {
                break;
            }
            self.pop(&mut give);
        }
    }

    /// Gives away everything, the oldest first.
    pub fn flush(&mut self, mut give: impl FnMut(T)) {
        while !self.waiting.is_empty() {
            self.pop(&mut give);
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

    fn pop(&mut self, give: &mut impl FnMut(T)) {
        if let Some(first) = self.waiting.pop() {
            self.released_ns = self.released_ns.max(first.time_ns);
            give(first.value);
        }
    }
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The heap's greatest is the oldest.
impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time_ns, other.arrival).cmp(&(self.time_ns, self.arrival))
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Waiting<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn released<T>(order: &mut Order<T>, before_ns: u64) -> Vec<T> {
        let mut values = Vec::new();
        order.release(before_ns, |value| values.push(value));
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
    fn a_flush_gives_everything() {
        let mut order = filled([(7, "b"), (3, "a"), (u64::MAX, "c")]);
        let mut values = Vec::new();
        order.flush(|value| values.push(value));
        assert_eq!(values, ["a", "b", "c"]);
    }

    proptest! {
        #[test]
        fn the_release_is_a_stable_sort(times in proptest::collection::vec(0_u64..50, 0..200)) {
            let mut expected: Vec<_> = times.iter().copied().enumerate().map(|(i, t)| (t, i)).collect();
            let mut order = filled(expected.iter().map(|&(time, index)| (time, (time, index))));
            let mut values = released(&mut order, 25);
            prop_assert!(values.iter().all(|(time, _)| *time < 25));
            order.flush(|value| values.push(value));
            expected.sort();
            prop_assert_eq!(values, expected);
        }
    }
}
