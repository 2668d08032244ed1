//! The rank test of Wilcoxon, Mann and Whitney: how likely it is that two samples of one distribution are
//! ordered as differently as these. Pure.

/// Up to so many arrangements are counted exactly: floats hold every such number.
const MOST_ARRANGEMENTS: f64 = 4_503_599_627_370_496.0;

/// The probability, both sides, that samples of one distribution differ in their ranks at least as much.
///
/// Exact for small samples; ties count half and towards no difference, so that what is said is never too
/// much. By the normal distribution for large ones, with ties taken into account.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn probability(one: &[i64], other: &[i64]) -> f64 {
    let (n, m) = (one.len(), other.len());
    if n == 0 || m == 0 {
        return 1.0;
    }
    let mut sorted = other.to_vec();
    sorted.sort_unstable();
    // Pairs in which the first sample's value is the larger one; ties count half.
    let halves: u64 = one
        .iter()
        .map(|value| {
            let below = sorted.partition_point(|it| it < value);
            let up_to = sorted.partition_point(|it| it <= value);
            (below + up_to) as u64
        })
        .sum();
    let pairs = (n as u64) * (m as u64);
    let arrangements = arrangements(n, m);
    if arrangements <= MOST_ARRANGEMENTS && pairs <= 1 << 20 {
        // The smaller side, ties rounded towards the middle.
        let smaller = halves.min(2 * pairs - halves).div_ceil(2);
        return exact(
            n,
            m,
            usize::try_from(smaller).unwrap_or(usize::MAX),
            arrangements,
        );
    }
    let mean = pairs as f64 / 2.0;
    let all = (n + m) as f64;
    let ties: f64 = tied(one, other)
        .into_iter()
        .map(|t| {
            let t = t as f64;
            t.mul_add(t * t, -t)
        })
        .sum();
    let variance = pairs as f64 / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let away = ((halves as f64 / 2.0 - mean).abs() - 0.5).max(0.0);
    libm::erfc(away / variance.sqrt() / std::f64::consts::SQRT_2)
}

/// The smallest probability that any two samples of these sizes can have: that of complete separation.
#[must_use]
pub fn least(n: usize, m: usize) -> f64 {
    2.0 / arrangements(n, m)
}

/// In how many ways the ranks can fall to the two samples.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn arrangements(n: usize, m: usize) -> f64 {
    let few = n.min(m);
    (1..=few).fold(1.0, |product, i| {
        product * ((n + m - few + i) as f64) / i as f64
    })
}

/// P(U ≤ u), both sides: coefficients of the Gaussian binomial.
fn exact(n: usize, m: usize, u: usize, arrangements: f64) -> f64 {
    let (few, many) = (n.min(m), n.max(m));
    let mut ways = vec![0.0; few * many + 1];
    ways[0] = 1.0;
    for i in 1..=few {
        // Times (1 − x^(many + i)), then divided by (1 − x^i).
        for at in (many + i..ways.len()).rev() {
            ways[at] -= ways[at - many - i];
        }
        for at in i..ways.len() {
            ways[at] += ways[at - i];
        }
    }
    let up_to: f64 = ways.iter().take(u + 1).sum();
    (2.0 * up_to / arrangements).min(1.0)
}

/// How many values are equal, for each value that is there more than once.
fn tied(one: &[i64], other: &[i64]) -> Vec<usize> {
    let mut all: Vec<i64> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    all.chunk_by(|one, other| one == other)
        .map(<[i64]>::len)
        .filter(|count| *count > 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn complete_separation_has_one_arrangement_on_each_side() {
        let (low, high) = ([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]);
        assert!(near(probability(&low, &high), 2.0 / 252.0));
        assert!(near(probability(&high, &low), 2.0 / 252.0));
        assert!(near(least(5, 5), 2.0 / 252.0));
    }

    #[test]
    fn small_samples_are_counted() {
        // Of the ten arrangements of 2 and 3 two have U = 0 or 6, and two have U = 1 or 5.
        assert!(near(probability(&[1, 3], &[2, 4, 5]), 0.4));
        assert!(near(probability(&[1, 5], &[2, 3, 4]), 1.0));
    }

    #[test]
    fn what_is_the_same_does_not_differ() {
        assert!(near(probability(&[7; 9], &[7; 9]), 1.0));
        assert!(near(probability(&[7; 900], &[7; 900]), 1.0));
        assert!(near(probability(&[], &[1]), 1.0));
    }

    #[test]
    fn large_samples_agree_with_the_counted_ones() {
        let one: Vec<i64> = (0..26).map(|i| i * 10).collect();
        let other: Vec<i64> = (0..26).map(|i| i * 10 + 63).collect();
        let counted = probability(&one, &other);
        // The same by the normal distribution, as more values of the same kind take it.
        let mean = 26.0 * 26.0 / 2.0;
        let larger: usize = one
            .iter()
            .map(|value| other.iter().filter(|it| *it < value).count())
            .sum();
        let z = ((mean - f64::from(u32::try_from(larger).expect("few"))) - 0.5)
            / (26.0_f64 * 26.0 * 53.0 / 12.0).sqrt();
        let normal = libm::erfc(z / std::f64::consts::SQRT_2);
        assert!((counted / normal - 1.0).abs() < 0.2, "{counted} {normal}");
    }
}
