//! The bootstrap of a median, exactly. Pure.
//!
//! Drawing n of n values again and again, and taking the median of each draw, gives each value with a
//! probability that is known: the k-th smallest of n draws is at most the j-th value if at least k of them
//! are among the first j, so P = P(Binomial(n, j / n) ≥ k). So nothing is drawn here: the interval is the
//! one that infinitely many draws would give (Efron's ideal bootstrap), and the same each time.

use crate::study::quantile::place;

/// How the median of a sample varies.
#[derive(Clone, Debug)]
pub struct MedianDistribution {
    /// The sample in order.
    sorted: Vec<i64>,
    /// Probability that the median of a draw is one of the first so many.
    up_to: Vec<f64>,
}

/// Bounds of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// From this on.
    pub low: i64,
    /// Up to this.
    pub high: i64,
}

impl Interval {
    /// Whether no difference is possible.
    #[must_use]
    pub const fn holds_zero(self) -> bool {
        self.low <= 0 && 0 <= self.high
    }
}

impl MedianDistribution {
    /// Of a sample, which must not be empty.
    #[must_use]
    pub fn new(mut sample: Vec<i64>) -> Option<Self> {
        if sample.is_empty() {
            return None;
        }
        sample.sort_unstable();
        let n = sample.len();
        let k = usize::try_from(place(u64::try_from(n).ok()?, 50)).ok()?;
        let up_to = (1..=n).map(|j| at_least(n, j, k)).collect();
        Some(Self {
            sorted: sample,
            up_to,
        })
    }

    /// The median, by the nearest rank.
    #[must_use]
    pub fn median(&self) -> i64 {
        let n = u64::try_from(self.sorted.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(place(n, 50) - 1).unwrap_or(0);
        self.sorted[at]
    }

    /// How many values.
    #[must_use]
    pub fn n(&self) -> usize {
        self.sorted.len()
    }

    /// Probability that the median of a draw is at most that.
    fn cumulated(&self, value: i128) -> f64 {
        match self.sorted.partition_point(|it| i128::from(*it) <= value) {
            0 => 0.0,
            count => self.up_to[count - 1],
        }
    }

    /// Between which bounds `other`'s median minus this one's is, with the given probability of being
    /// outside.
    #[must_use]
    pub fn difference(&self, other: &Self, outside: f64) -> Interval {
        let first = |it: &Self| i128::from(it.sorted[0]);
        let last = |it: &Self| i128::from(it.sorted[it.sorted.len() - 1]);
        let (least, most) = (first(other) - last(self), last(other) - first(self));
        // The smallest difference that is not exceeded with that probability.
        let quantile = |share: f64| {
            let (mut low, mut high) = (least, most);
            while low < high {
                let middle = low + (high - low).div_euclid(2);
                if self.at_most(other, middle) >= share {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            i64::try_from(low).unwrap_or(if low < 0 { i64::MIN } else { i64::MAX })
        };
        Interval {
            low: quantile(outside / 2.0),
            high: quantile(1.0 - outside / 2.0),
        }
    }

    /// Probability that the difference is at most that.
    fn at_most(&self, other: &Self, difference: i128) -> f64 {
        let mut before = 0.0;
        let mut sum = 0.0;
        for (value, up_to) in self.sorted.iter().zip(&self.up_to) {
            let share = up_to - before;
            before = *up_to;
            // The far ends are as good as impossible.
            if share > 0.0 {
                sum += share * other.cumulated(i128::from(*value) + difference);
            }
        }
        sum
    }
}

/// P(Binomial(n, j / n) ≥ k), which is the regularized incomplete beta function I(j/n; k, n − k + 1).
#[expect(
    clippy::cast_precision_loss,
    reason = "counts are far below 2^53, where every integer is a float"
)]
fn at_least(n: usize, j: usize, k: usize) -> f64 {
    if j >= n {
        return 1.0;
    }
    incomplete_beta(j as f64 / n as f64, k as f64, (n - k + 1) as f64)
}

/// I(x; a, b), by its continued fraction (Lentz's method), for 0 < x < 1.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    let front = a.mul_add(x.ln(), b * (1.0 - x).ln()) + libm::lgamma(a + b)
        - libm::lgamma(a)
        - libm::lgamma(b);
    // It converges fast on one side of the mean only.
    if x < (a + 1.0) / (a + b + 2.0) {
        (front.exp() * fraction(x, a, b) / a).clamp(0.0, 1.0)
    } else {
        (1.0 - front.exp() * fraction(1.0 - x, b, a) / b).clamp(0.0, 1.0)
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    /// Far more than are needed: some √max(a, b).
    const STEPS: u32 = 100_000;
    const ENOUGH: f64 = 1e-14;
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for step in 1..STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((2.0f64.mul_add(m, a) - 1.0) * 2.0f64.mul_add(m, a));
        let odd =
            -(a + m) * (a + b + m) * x / (2.0f64.mul_add(m, a) * (2.0f64.mul_add(m, a) + 1.0));
        let mut factor = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(term.mul_add(d, 1.0));
            c = away(1.0 + term / c);
            factor = d * c;
            result *= factor;
        }
        if (factor - 1.0).abs() < ENOUGH {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-11
    }

    #[test]
    fn probabilities_are_those_of_counting() {
        // 3 of 3 draws from 3 values, median: at least 2 of them among the first.
        assert!(near(at_least(3, 1, 2), 7.0 / 27.0));
        assert!(near(at_least(3, 2, 2), 20.0 / 27.0));
        assert!(near(at_least(3, 3, 2), 1.0));
        // By symmetry.
        assert!(near(
            at_least(1_001, 500, 501) + at_least(1_001, 501, 501),
            1.0
        ));
        assert!(near(
            at_least(100_001, 50_000, 50_001) + at_least(100_001, 50_001, 50_001),
            1.0
        ));
    }

    #[test]
    fn the_median_is_the_nearest_rank() {
        let of = |values: &[i64]| MedianDistribution::new(values.to_vec()).map(|it| it.median());
        assert_eq!(of(&[3, 1, 2]), Some(2));
        assert_eq!(of(&[4, 3, 1, 2]), Some(2));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_difference_of_constants_is_certain() {
        let of = |value| MedianDistribution::new(vec![value; 9]).expect("values");
        let interval = of(5).difference(&of(7), 0.05);
        assert_eq!(interval, Interval { low: 2, high: 2 });
        assert!(!interval.holds_zero());
        assert!(of(5).difference(&of(5), 0.05).holds_zero());
    }

    /// Draws as the textbooks do it, and compares.
    #[test]
    fn the_interval_is_that_of_many_draws() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let one: Vec<i64> = (0..25).map(|_| (next() % 1_000).cast_signed()).collect();
        let other: Vec<i64> = (0..31)
            .map(|_| (next() % 1_000).cast_signed() + 200)
            .collect();
        let mut median = |values: &[i64]| {
            let mut draw: Vec<i64> = (0..values.len())
                .map(|_| values[usize::try_from(next()).expect("64 bits") % values.len()])
                .collect();
            draw.sort_unstable();
            draw[values.len().div_ceil(2) - 1]
        };
        let mut differences: Vec<i64> =
            (0..40_000).map(|_| median(&other) - median(&one)).collect();
        differences.sort_unstable();
        let of = |values: &Vec<i64>| MedianDistribution::new(values.clone()).expect("values");
        let interval = of(&one).difference(&of(&other), 0.05);
        let share = |value: i64| {
            let count = differences.iter().filter(|it| **it <= value).count();
            f64::from(u32::try_from(count).expect("few")) / 40_000.0
        };
        assert!(
            share(interval.low) >= 0.02 && share(interval.low - 1) <= 0.03,
            "{interval:?}"
        );
        assert!(
            share(interval.high) >= 0.97 && share(interval.high - 1) <= 0.98,
            "{interval:?}"
        );
    }
}
