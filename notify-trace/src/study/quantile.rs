//! Exact order statistics of many groups, in passes over their values and in bounded memory.
//!
//! ```text
//! pass 1: few values of a group are kept, more are counted in buckets ──▶ which bucket holds each rank
//! pass 2: the values of those buckets are kept, or counted in narrower ones ──▶ … ──▶ the ranks' values
//! ```
//!
//! A quantile is the value of the nearest rank, as in [`super::sql`]: of n values in order the one at
//! place ⌈n · p / 100⌉.

use std::collections::BTreeMap;

use super::sql::PER_CENTS;

/// Up to so many values of a group are kept in the first pass.
const KEPT: usize = 2_048;

/// So many values are kept in a later pass, of all groups together.
const KEPT_OF_ALL: u64 = 4 << 20;

/// Into so many parts a bucket is divided that holds too many values to keep them.
const PARTS: u64 = 4_096;

/// Buckets of the first pass: each power of two is divided into so many.
const PARTS_OF_A_POWER: u32 = 6;

/// What is said of a group's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub n: u64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// By [`PER_CENTS`].
    pub quantiles: [i64; PER_CENTS.len()],
    /// How many values are in each bucket, by its lowest value; empty ones are left out.
    pub buckets: BTreeMap<i64, u64>,
}

/// Gives all values, each with the number of its group, the same ones at each call.
pub type Scan<'a, E> = dyn FnMut(&mut dyn FnMut(usize, i64)) -> Result<(), E> + 'a;

/// Summarises all groups; groups without values have none.
///
/// # Errors
/// Those of `scan`.
pub fn summarise<E>(scan: &mut Scan<'_, E>) -> Result<Vec<Option<Summary>>, E> {
    let mut groups: Vec<Group> = Vec::new();
    scan(&mut |group, value| {
        if group >= groups.len() {
            groups.resize_with(group + 1, Group::default);
        }
        groups[group].push(value);
    })?;
    let mut searches: Vec<Vec<Search>> = groups.iter_mut().map(Group::searches).collect();
    loop {
        choose(&mut searches);
        if !searches.iter().flatten().any(Search::is_open) {
            break;
        }
        scan(&mut |group, value| {
            for search in searches.get_mut(group).into_iter().flatten() {
                search.push(value);
            }
        })?;
        for search in searches.iter_mut().flatten() {
            search.narrow();
        }
    }
    Ok(groups
        .into_iter()
        .zip(searches)
        .map(|(group, searches)| group.summary(&searches))
        .collect())
}

/// The smallest place whose share of all is at least that: ⌈n · p / 100⌉, counted from 1.
#[must_use]
pub fn place(n: u64, per_cent: u32) -> u64 {
    let wide = (u128::from(n) * u128::from(per_cent)).div_ceil(100);
    u64::try_from(wide).unwrap_or(n).max(1)
}

/// The lowest value of the bucket that holds this one.
#[must_use]
pub fn bucket(value: i64) -> i64 {
    let size = value.unsigned_abs();
    let shift = size
        .checked_ilog2()
        .unwrap_or(0)
        .saturating_sub(PARTS_OF_A_POWER);
    let low = (size >> shift) << shift;
    if value >= 0 {
        return i64::try_from(low).unwrap_or(i64::MAX);
    }
    // Away from zero: the bucket's lowest value is the one with the largest size.
    let high = low.saturating_add((1 << shift) - 1);
    i64::try_from(-i128::from(high)).unwrap_or(i64::MIN)
}

/// The highest value of the bucket that begins with this one.
fn bucket_end(low: i64) -> i64 {
    let size = low.unsigned_abs();
    let shift = size
        .checked_ilog2()
        .unwrap_or(0)
        .saturating_sub(PARTS_OF_A_POWER);
    let width = i64::try_from((1_u64 << shift) - 1).unwrap_or(i64::MAX);
    low.saturating_add(width)
}

/// The first pass of a group.
#[derive(Debug, Default)]
struct Group {
    n: u64,
    min: i64,
    max: i64,
    /// All values, while they are few.
    values: Vec<i64>,
    /// How many values are in each bucket, since they are not.
    buckets: BTreeMap<i64, u64>,
}

impl Group {
    fn push(&mut self, value: i64) {
        if self.n == 0 {
            (self.min, self.max) = (value, value);
        }
        self.n += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if self.buckets.is_empty() && self.values.len() < KEPT {
            self.values.push(value);
            return;
        }
        for kept in std::mem::take(&mut self.values) {
            *self.buckets.entry(bucket(kept)).or_default() += 1;
        }
        *self.buckets.entry(bucket(value)).or_default() += 1;
    }

    /// What is still to be found: nothing if all values are known.
    fn searches(&mut self) -> Vec<Search> {
        self.values.sort_unstable();
        if self.buckets.is_empty() {
            return Vec::new();
        }
        PER_CENTS
            .iter()
            .map(|per_cent| {
                let mut before = 0;
                let wanted = place(self.n, *per_cent);
                for (low, count) in &self.buckets {
                    if before + count >= wanted {
                        return Search::new(*low, bucket_end(*low), wanted - before, *count);
                    }
                    before += count;
                }
                // All places are in some bucket.
                Search::new(self.max, self.max, 1, 1)
            })
            .collect()
    }

    fn summary(self, searches: &[Search]) -> Option<Summary> {
        if self.n == 0 {
            return None;
        }
        let mut quantiles = [0; PER_CENTS.len()];
        for (index, quantile) in quantiles.iter_mut().enumerate() {
            *quantile = match searches.get(index) {
                Some(search) => search.low,
                None => {
                    let at = usize::try_from(place(self.n, PER_CENTS[index]) - 1).unwrap_or(0);
                    self.values[at]
                }
            };
        }
        let mut buckets = self.buckets;
        for value in &self.values {
            *buckets.entry(bucket(*value)).or_default() += 1;
        }
        Some(Summary {
            n: self.n,
            min: self.min,
            max: self.max,
            quantiles,
            buckets,
        })
    }
}

/// Where the value of a rank is.
#[derive(Debug)]
struct Search {
    /// Between these two, both included.
    low: i64,
    high: i64,
    /// Its place among the values there, counted from 1.
    place: u64,
    /// How many values are there.
    count: u64,
    /// What this pass does.
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// Nothing.
    Idle,
    /// Keeps all values.
    Keep(Vec<i64>),
    /// Counts those of each part.
    Count { width: u64, counts: Vec<u64> },
}

impl Search {
    const fn new(low: i64, high: i64, place: u64, count: u64) -> Self {
        Self {
            low,
            high,
            place,
            count,
            work: Work::Idle,
        }
    }

    const fn is_open(&self) -> bool {
        self.low < self.high
    }

    fn push(&mut self, value: i64) {
        if value < self.low || value > self.high {
            return;
        }
        match &mut self.work {
            Work::Idle => {}
            Work::Keep(values) => values.push(value),
            Work::Count { width, counts } => {
                let part = value.abs_diff(self.low) / *width;
                if let Some(count) = usize::try_from(part).ok().and_then(|at| counts.get_mut(at)) {
                    *count += 1;
                }
            }
        }
    }

    /// What the pass has found.
    fn narrow(&mut self) {
        match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Idle => {}
            Work::Keep(mut values) => {
                let at = usize::try_from(self.place - 1).unwrap_or(usize::MAX);
                if at < values.len() {
                    let (_, value, _) = values.select_nth_unstable(at);
                    self.low = *value;
                }
                // Found, or not the same values as before, which was not promised.
                self.high = self.low;
            }
            Work::Count { width, counts } => {
                let mut before = 0;
                for (part, count) in (0_u64..).zip(counts) {
                    if before + count >= self.place {
                        let low = i128::from(self.low) + i128::from(part) * i128::from(width);
                        let high = (low + i128::from(width) - 1).min(i128::from(self.high));
                        self.low = i64::try_from(low).unwrap_or(self.high);
                        self.high = i64::try_from(high).unwrap_or(self.high);
                        self.place -= before;
                        self.count = count;
                        return;
                    }
                    before += count;
                }
                self.high = self.low;
            }
        }
    }
}

/// Decides what the next pass does for each: those with the fewest values are kept.
fn choose(searches: &mut [Vec<Search>]) {
    let mut open: Vec<&mut Search> = searches
        .iter_mut()
        .flatten()
        .filter(|search| search.is_open())
        .collect();
    open.sort_by_key(|search| search.count);
    let mut kept = 0;
    for search in open {
        kept += search.count;
        search.work = if kept <= KEPT_OF_ALL {
            Work::Keep(Vec::with_capacity(
                usize::try_from(search.count).unwrap_or(0),
            ))
        } else {
            let wide = search.high.abs_diff(search.low);
            let width = wide / PARTS + 1;
            let parts = usize::try_from(wide / width + 1).unwrap_or(1);
            Work::Count {
                width,
                counts: vec![0; parts],
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn exact(mut values: Vec<i64>) -> [i64; PER_CENTS.len()] {
        values.sort_unstable();
        PER_CENTS.map(|per_cent| {
            let at = place(values.len() as u64, per_cent) - 1;
            values[usize::try_from(at).expect("few")]
        })
    }

    fn summarised(groups: &[Vec<i64>]) -> Vec<Option<Summary>> {
        summarise::<Infallible>(&mut |take| {
            for (group, values) in groups.iter().enumerate() {
                values.iter().for_each(|value| take(group, *value));
            }
            Ok(())
        })
        .expect("nothing can fail")
    }

    #[test]
    fn places_are_the_nearest_ranks() {
        assert_eq!(PER_CENTS, [1, 50, 90, 99]);
        let of = |n| PER_CENTS.map(|per_cent| place(n, per_cent));
        assert_eq!(of(1), [1, 1, 1, 1]);
        assert_eq!(of(2), [1, 1, 2, 2]);
        assert_eq!(of(100), [1, 50, 90, 99]);
        assert_eq!(of(101), [2, 51, 91, 100]);
    }

    #[test]
    fn a_bucket_holds_what_begins_with_it() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            127,
            128,
            1_000_003,
            -77_777,
            i64::MAX,
            i64::MIN + 1,
        ] {
            let low = bucket(value);
            assert!(low <= value && value <= bucket_end(low), "{value} {low}");
            assert_eq!(bucket(low), low, "{value}");
            assert_eq!(bucket(bucket_end(low)), low, "{value}");
        }
    }

    #[test]
    fn many_equal_values_are_found_too() {
        let mut values = vec![5; 100_000];
        values.extend(vec![7_000_000_000; 900_000]);
        let summary = summarised(std::slice::from_ref(&values))[0]
            .clone()
            .expect("values");
        assert_eq!(summary.quantiles, exact(values));
        assert_eq!(
            (summary.n, summary.min, summary.max),
            (1_000_000, 5, 7_000_000_000)
        );
    }

    #[test]
    fn more_than_can_be_kept_is_narrowed_down() {
        // All in one bucket of the first pass, and more of them than are kept.
        let base: i64 = 1 << 60;
        let n = i64::try_from(KEPT_OF_ALL).expect("few") + 1_000_000;
        let values: Vec<i64> = (0..n).map(|i| base + (i * 7_919) % n).collect();
        let summary = summarised(std::slice::from_ref(&values))[0]
            .clone()
            .expect("values");
        assert_eq!(summary.quantiles, exact(values));
        assert_eq!(summary.buckets.len(), 1);
    }

    #[test]
    fn groups_without_values_have_no_numbers() {
        let all = summarised(&[vec![], vec![3]]);
        assert_eq!(all[0], None);
        assert_eq!(all[1].as_ref().map(|it| it.quantiles), Some([3; 4]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn quantiles_are_those_of_the_sorted_values(
            few in prop::collection::vec(any::<i64>(), 1..100),
            many in prop::collection::vec(-1_000_000_i64..2_000_000_000, 2_049..6_000),
        ) {
            let all = summarised(&[few.clone(), many.clone()]);
            prop_assert_eq!(all[0].as_ref().map(|it| it.quantiles), Some(exact(few)));
            let summary = all[1].as_ref().expect("values");
            prop_assert_eq!(summary.quantiles, exact(many.clone()));
            prop_assert_eq!(summary.buckets.values().sum::<u64>(), many.len() as u64);
        }
    }
}
