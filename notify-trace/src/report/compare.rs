//! Two sets of recordings, group by group: whether medians differ, by how much, how surely. Pure but for
//! [`compare`], which reads.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::bootstrap::{Interval, MedianDistribution};
use super::by::{By, Value};
use super::inputs::{Inputs, Selection};
use super::numbers::{Groups, values};
use super::ranks;
use crate::store::StoreError;

/// Fewest values of each side that can show a difference: below that an interval says nothing.
pub const FEWEST: usize = 5;

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Column of the notifications.
    pub column: &'a str,
    /// What the groups are.
    pub by: &'a [By],
    /// Probability, of all groups together, that none is said to differ that does not.
    pub confidence: f64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Groups that are on both sides, those that differ first.
    pub lines: Vec<Line>,
    /// Groups that only the first side has, with how many values.
    pub only_before: Vec<(Vec<Value>, usize)>,
    /// Groups that only the second side has.
    pub only_after: Vec<(Vec<Value>, usize)>,
}

/// A group on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Which group.
    pub key: Vec<Value>,
    /// Values on the first side.
    pub n_before: usize,
    /// Values on the second.
    pub n_after: usize,
    /// Median of the first.
    pub before: i64,
    /// Median of the second.
    pub after: i64,
    /// Bounds of the difference of the medians; absent if there are too few values.
    pub interval: Option<Interval>,
    /// The ranks differ more than those of one distribution would, but for the doubt that is allowed.
    pub ranks_differ: bool,
}

/// What a group's numbers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The second side is larger.
    Larger,
    /// The second side is smaller.
    Smaller,
    /// No difference is shown; there may be one.
    Nothing,
    /// Too few values to tell.
    TooFew,
}

impl Line {
    /// What it shows.
    #[must_use]
    pub const fn shown(&self) -> Shown {
        match self.interval {
            None => Shown::TooFew,
            Some(interval) if interval.holds_zero() || !self.ranks_differ => Shown::Nothing,
            Some(interval) if interval.low > 0 => Shown::Larger,
            Some(_) => Shown::Smaller,
        }
    }

    /// How much larger the second side is.
    #[must_use]
    pub const fn change(&self) -> i64 {
        self.after.saturating_sub(self.before)
    }

    /// The difference in per cent of the first side, where that is not zero.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "it is shown with one digit after the point"
    )]
    pub fn per_cent(&self) -> Option<f64> {
        let change = self.change() as f64;
        (self.before > 0).then(|| change * 100.0 / self.before as f64)
    }
}

/// Reads both sides and compares them.
///
/// # Errors
/// If a recording can't be read.
pub fn compare(
    before: &Inputs,
    after: &Inputs,
    question: Question<'_>,
    selection: &Selection,
    zone: &TimeZone,
) -> Result<Comparison, StoreError> {
    let read = |inputs: &Inputs| {
        let mut groups = Groups::new(question.by, selection, zone);
        let mut all: Vec<Vec<i64>> = Vec::new();
        values(inputs, question.column, &mut groups, &mut |group, value| {
            if group >= all.len() {
                all.resize_with(group + 1, Vec::new);
            }
            all[group].push(value);
        })?;
        Ok::<_, StoreError>(groups.keys.into_iter().zip(all).collect::<HashMap<_, _>>())
    };
    Ok(of(read(before)?, read(after)?, question.confidence))
}

/// Compares values by group.
#[must_use]
pub fn of(
    before: HashMap<Vec<Value>, Vec<i64>>,
    mut after: HashMap<Vec<Value>, Vec<i64>>,
    confidence: f64,
) -> Comparison {
    let mut both = Vec::new();
    let mut only_before = Vec::new();
    for (key, first) in before {
        match after.remove(&key) {
            Some(second) => both.push((key, first, second)),
            None => only_before.push((key, first.len())),
        }
    }
    let mut only_after: Vec<_> = after
        .into_iter()
        .map(|(key, values)| (key, values.len()))
        .collect();
    only_before.sort();
    only_after.sort();
    // Of many groups some would differ by chance: each has its share of the doubt (Bonferroni).
    let doubt = 1.0 - confidence;
    let compared = both
        .iter()
        .filter(|(_, first, second)| is_enough(first, second, doubt))
        .count();
    let outside = doubt / f64::from(u32::try_from(compared.max(1)).unwrap_or(u32::MAX));
    let mut lines: Vec<Line> = both
        .into_iter()
        .filter_map(|(key, first, second)| line(key, first, second, outside))
        .collect();
    lines.sort_by(|one, other| {
        let rank = |line: &Line| match line.shown() {
            Shown::Larger => 0,
            Shown::Smaller => 1,
            Shown::Nothing => 2,
            Shown::TooFew => 3,
        };
        let change = |line: &Line| line.before.abs_diff(line.after);
        (rank(one), change(other), &one.key).cmp(&(rank(other), change(one), &other.key))
    });
    Comparison {
        lines,
        only_before,
        only_after,
    }
}

/// Whether two samples have so many values that they can be told to differ.
fn is_enough(first: &[i64], second: &[i64], outside: f64) -> bool {
    first.len() >= FEWEST
        && second.len() >= FEWEST
        && ranks::least(first.len(), second.len()) <= outside
}

fn line(key: Vec<Value>, first: Vec<i64>, second: Vec<i64>, outside: f64) -> Option<Line> {
    let is_enough = is_enough(&first, &second, outside);
    // The bootstrap alone promises too much of few values and little doubt.
    let ranks_differ = is_enough && ranks::probability(&first, &second) <= outside;
    let before = MedianDistribution::new(first)?;
    let after = MedianDistribution::new(second)?;
    Some(Line {
        key,
        n_before: before.n(),
        n_after: after.n(),
        before: before.median(),
        after: after.median(),
        interval: is_enough.then(|| before.difference(&after, outside)),
        ranks_differ,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reproducible source of values that are spread as times are: many short ones, few long.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn time(&mut self) -> i64 {
            // The product of some spans: about lognormal.
            let factor = |random: &mut Self| 500 + random.next() % 1_000;
            let product = (0..4).fold(1, |product, _| product * factor(self));
            (product / 1_000).cast_signed()
        }

        fn sample(&mut self, n: usize, shift_per_mille: i64) -> Vec<i64> {
            (0..n)
                .map(|_| {
                    let time = self.time();
                    time + time * shift_per_mille / 1_000
                })
                .collect()
        }
    }

    fn key(name: &str) -> Vec<Value> {
        vec![Value::Text(name.to_owned()), Value::Absent]
    }

    fn shown(before: Vec<i64>, after: Vec<i64>) -> Shown {
        let side = |values| HashMap::from([(key("a"), values)]);
        of(side(before), side(after), 0.95).lines[0].shown()
    }

    #[test]
    fn two_draws_of_one_distribution_differ_as_seldom_as_promised() {
        const DRAWS: usize = 1_000;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for n in [6, 20, 60] {
            let alarms = (0..DRAWS)
                .filter(|_| {
                    let (one, other) = (random.sample(n, 0), random.sample(n, 0));
                    !matches!(shown(one, other), Shown::Nothing)
                })
                .count();
            assert!(alarms <= DRAWS / 20, "{alarms} of {DRAWS} with {n} values");
        }
    }

    #[test]
    fn a_shift_is_found_and_lies_within_the_bounds_as_often_as_promised() {
        const DRAWS: usize = 1_000;
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let mut population = random.sample(400_001, 0);
        population.sort_unstable();
        let shift = population[200_000] * 500 / 1_000;
        let (mut found, mut within) = (0, 0);
        for _ in 0..DRAWS {
            let side = |values| HashMap::from([(key("a"), values)]);
            let (one, other) = (random.sample(200, 0), random.sample(200, 500));
            let all = of(side(one), side(other), 0.95);
            found += usize::from(all.lines[0].shown() == Shown::Larger);
            let interval = all.lines[0].interval.expect("enough values");
            within += usize::from(interval.low <= shift && shift <= interval.high);
        }
        assert!(found >= DRAWS * 95 / 100, "found in {found} of {DRAWS}");
        // A share of 95 % of 1,000 draws varies by some 0.7 %.
        assert!(within >= DRAWS * 93 / 100, "within in {within} of {DRAWS}");
    }

    #[test]
    fn what_became_faster_is_not_slower() {
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let (one, other) = (random.sample(200, 600), random.sample(200, 0));
        assert_eq!(shown(one, other), Shown::Smaller);
    }

    #[test]
    fn of_many_units_that_are_the_same_none_is_said_to_differ() {
        const RUNS: usize = 200;
        let mut random = Random(0x1234_5678_9abc_def1);
        for (units, n) in [(50, 5), (50, 6), (50, 8), (50, 20), (200, 8)] {
            let alarms = (0..RUNS)
                .filter(|_| {
                    let mut side = || {
                        (0..units)
                            .map(|unit| (key(&unit.to_string()), random.sample(n, 0)))
                            .collect::<HashMap<_, _>>()
                    };
                    let all = of(side(), side(), 0.95);
                    let is_alarm =
                        |line: &Line| matches!(line.shown(), Shown::Larger | Shown::Smaller);
                    all.lines.iter().any(is_alarm)
                })
                .count();
            assert!(
                alarms <= RUNS / 20 + 4,
                "{alarms} of {RUNS}: {units} units, {n} values"
            );
        }
    }

    #[test]
    fn few_values_among_many_units_are_too_few() {
        let side = |shift: i64| {
            (0..200)
                .map(|unit| (key(&unit.to_string()), (0..5).map(|i| i + shift).collect()))
                .collect::<HashMap<_, Vec<i64>>>()
        };
        let all = of(side(0), side(1_000), 0.95);
        assert!(all.lines.iter().all(|line| line.shown() == Shown::TooFew));
        let one = |shift: i64| HashMap::from([(key("a"), (0..5).map(|i| i + shift).collect())]);
        assert_eq!(of(one(0), one(1_000), 0.95).lines[0].shown(), Shown::Larger);
    }

    #[test]
    fn few_values_show_nothing_and_one_side_is_no_comparison() {
        let before = HashMap::from([(key("a"), vec![1; 4]), (key("gone"), vec![1])]);
        let after = HashMap::from([(key("a"), vec![9; 50]), (key("new"), vec![1, 2])]);
        let all = of(before, after, 0.95);
        assert_eq!(all.lines[0].shown(), Shown::TooFew);
        assert_eq!(all.only_before, [(key("gone"), 1)]);
        assert_eq!(all.only_after, [(key("new"), 2)]);
        assert_eq!(all.lines[0].per_cent(), Some(800.0));
    }
}
