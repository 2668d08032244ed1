//! Histograms with fixed buckets. Pure.

#[cfg(feature = "native")]
use super::native::Native;

/// Seconds of starts, reloads and stops.
pub(super) static PHASES: [f64; 15] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 90.0, 180.0, 600.0,
];

/// Seconds that a datagram waits, or its sender.
pub(super) static WAITS: [f64; 15] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05,
    0.25, 1.0, 5.0, 30.0,
];

/// Seconds that a watchdog's ping left; below 0 it came too late.
pub(super) static MARGINS: [f64; 11] =
    [0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0];

/// Counts by bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds: what is above all.
    counts: Vec<u64>,
    sum_ns: i128,
    /// The same in native buckets.
    #[cfg(feature = "native")]
    native: Native,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum_ns: 0,
            #[cfg(feature = "native")]
            native: Native::default(),
        }
    }

    pub(super) fn observe(&mut self, value_ns: i64) {
        let seconds = seconds(value_ns.into());
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[at] += 1;
        self.sum_ns += i128::from(value_ns);
        #[cfg(feature = "native")]
        self.native.observe(seconds);
    }

    /// Adds what another counted in the same buckets.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_ns += other.sum_ns;
        #[cfg(feature = "native")]
        self.native.add(&other.native);
    }

    #[cfg(feature = "native")]
    pub(super) const fn native(&self) -> &Native {
        &self.native
    }

    /// Whether there may be values below 0 among them.
    #[must_use]
    pub fn has_negative(&self) -> bool {
        self.bounds.first().is_some_and(|bound| *bound <= 0.0) && self.counts[0] > 0
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        seconds(self.sum_ns)
    }

    /// Upper bound of each bucket and what is in it alone; the last has no bound.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a histogram's sum is a float; 2^53 ns are 104 days"
)]
pub(super) fn seconds(ns: i128) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let mut it = Histogram::new(&MARGINS);
        for ns in [-1, 0, 100_000_000, 100_000_001, i64::MAX] {
            it.observe(ns);
        }
        let counts: Vec<u64> = it.buckets().iter().map(|(_, count)| *count).collect();
        assert_eq!(counts[..3], [2, 1, 1]);
        assert_eq!((counts[11], it.count()), (1, 5));
    }

    #[test]
    fn sums_are_seconds() {
        let mut it = Histogram::new(&PHASES);
        it.observe(1_500_000_000);
        let mut other = it.clone();
        other.observe(500_000_000);
        it.add(&other);
        assert!((it.sum() - 3.5).abs() < 1e-9);
        assert_eq!(it.count(), 3);
    }
}
