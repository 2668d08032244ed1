//! How long deliveries took: the last, and the 99th percentile of the last ones.

use std::collections::VecDeque;

/// How many are remembered.
const KEPT: usize = 256;

/// The last deliveries' latencies, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Latencies(VecDeque<u64>);

impl Latencies {
    /// Takes one more.
    pub fn add(&mut self, ns: u64) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(ns);
    }

    /// The last.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.0.back().copied()
    }

    /// The smallest that 99 of 100 do not exceed.
    #[must_use]
    pub fn p99(&self) -> Option<u64> {
        let mut all: Vec<u64> = self.0.iter().copied().collect();
        let rank = (all.len() * 99).div_ceil(100).checked_sub(1)?;
        Some(*all.select_nth_unstable(rank).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_one_of_the_values() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.last(), latencies.p99()), (None, None));
        latencies.add(7);
        assert_eq!((latencies.last(), latencies.p99()), (Some(7), Some(7)));
        for ns in (1..=100).rev() {
            latencies.add(ns);
        }
        latencies.0.pop_front();
        assert_eq!((latencies.last(), latencies.p99()), (Some(1), Some(99)));
    }

    #[test]
    fn old_ones_are_forgotten() {
        let mut latencies = Latencies::default();
        latencies.add(1_000_000);
        for _ in 0..KEPT {
            latencies.add(5);
        }
        assert_eq!(latencies.p99(), Some(5));
    }
}
