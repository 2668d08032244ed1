//! Native histograms of Prometheus: buckets as fine as they need to be, where something was counted. Pure.
//!
//! Buckets grow by 2^(2^-schema), as the exposition format has it; if that were too many, each two
//! become one.

use std::collections::BTreeMap;

/// Buckets grow by 9 percent.
const SCHEMA: i32 = 3;

/// The coarsest that the format knows: each is 65536 times as wide as the one before.
const COARSEST: i32 = -4;

/// Most buckets.
const BUCKETS: usize = 160;

/// Seconds that count as none: nothing that is measured here is that short.
pub(super) const ZERO: f64 = 1e-9;

/// What was counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Native {
    pub(super) schema: i32,
    pub(super) zero: u64,
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
}

/// One side: gaps and lengths of runs of buckets, and by how much each differs from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    pub(super) spans: Vec<(i32, u32)>,
    pub(super) deltas: Vec<i64>,
}

impl Default for Native {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            zero: 0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
        }
    }
}

impl Native {
    pub(super) fn observe(&mut self, seconds: f64) {
        if seconds.abs() <= ZERO {
            self.zero += 1;
            return;
        }
        let index = index(seconds.abs(), self.schema);
        let side = if seconds > 0.0 {
            &mut self.positive
        } else {
            &mut self.negative
        };
        *side.entry(index).or_default() += 1;
        self.bound();
    }

    /// Adds what another counted.
    pub(super) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        while other.schema > self.schema {
            other.coarsen();
        }
        while self.schema > other.schema {
            self.coarsen();
        }
        self.zero += other.zero;
        for (index, count) in other.positive {
            *self.positive.entry(index).or_default() += count;
        }
        for (index, count) in other.negative {
            *self.negative.entry(index).or_default() += count;
        }
        self.bound();
    }

    fn bound(&mut self) {
        while self.positive.len() + self.negative.len() > BUCKETS && self.schema > COARSEST {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        for side in [&mut self.positive, &mut self.negative] {
            let fine = std::mem::take(side);
            for (index, count) in fine {
                *side.entry((index + 1) >> 1).or_default() += count;
            }
        }
        self.schema -= 1;
    }

    pub(super) fn positive(&self) -> Sparse {
        sparse(&self.positive)
    }

    pub(super) fn negative(&self) -> Sparse {
        sparse(&self.negative)
    }
}

/// The bucket of a number above 0: its upper bound, which belongs to it, is 2^(index / 2^schema).
fn index(value: f64, schema: i32) -> i32 {
    let per_octave = f64::from(schema).exp2();
    let bound = |index: i32| (f64::from(index) / per_octave).exp2();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a double has some 2,100 octaves"
    )]
    let mut index = (value.log2() * per_octave).ceil() as i32;
    // What rounding has done at a bound.
    while bound(index) < value {
        index += 1;
    }
    while bound(index - 1) >= value {
        index -= 1;
    }
    index
}

fn sparse(buckets: &BTreeMap<i32, u64>) -> Sparse {
    let mut sparse = Sparse::default();
    let mut next = 0;
    let mut before = 0;
    for (index, count) in buckets {
        match sparse.spans.last_mut() {
            Some((_, length)) if *index == next => *length += 1,
            _ => sparse.spans.push((index - next, 1)),
        }
        next = index + 1;
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        sparse.deltas.push(count - before);
        before = count;
    }
    sparse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        for (value, wanted) in [
            (1.0, 0),
            (2.0, 8),
            (2.001, 9),
            (1.999, 8),
            (0.5, -8),
            (0.501, -7),
        ] {
            assert_eq!(index(value, 3), wanted, "{value}");
        }
        assert_eq!(index(4.0, 0), 2);
        assert_eq!(index(65_536.0, -4), 1);
    }

    #[test]
    fn runs_are_told_by_gaps_and_differences() {
        let buckets = BTreeMap::from([(-3, 2), (-2, 5), (4, 1)]);
        let wanted = Sparse {
            spans: vec![(-3, 2), (5, 1)],
            deltas: vec![2, 3, -4],
        };
        assert_eq!(sparse(&buckets), wanted);
    }

    #[test]
    fn many_buckets_become_coarse_and_lose_nothing() {
        let mut all = Native::default();
        for number in 1..5_000_i32 {
            all.observe(1.01_f64.powi(number));
            all.observe(-f64::from(number));
        }
        all.observe(0.0);
        let buckets = all.positive.len() + all.negative.len();
        assert!(buckets <= BUCKETS && all.schema < SCHEMA, "{buckets}");
        let sum = |side: &BTreeMap<i32, u64>| side.values().sum::<u64>();
        let counts = (sum(&all.positive), sum(&all.negative), all.zero);
        assert_eq!(counts, (4_999, 4_999, 1));
        let mut fine = Native::default();
        fine.observe(3.0);
        fine.add(&all);
        assert_eq!((fine.schema, sum(&fine.positive)), (all.schema, 5_000));
    }
}
