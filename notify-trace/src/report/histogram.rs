//! A distribution drawn with characters. Pure.

use std::collections::BTreeMap;

/// Rows of a drawing.
const ROWS: usize = 16;

/// Cells of the longest bar.
const BAR: u64 = 40;

/// Lines of bars: each a span of values, drawn by how many there are. `value` writes a value.
#[must_use]
pub fn draw(buckets: &BTreeMap<i64, u64>, value: &dyn Fn(i64) -> String) -> Vec<String> {
    let Some((low, high)) = buckets.keys().next().zip(buckets.keys().next_back()) else {
        return Vec::new();
    };
    // Neighbouring buckets together, so that the drawing is not longer than a screen.
    let together = buckets.len().div_ceil(ROWS);
    let merged: Vec<(i64, u64)> = buckets
        .iter()
        .collect::<Vec<_>>()
        .chunks(together)
        .map(|some| (*some[0].0, some.iter().map(|(_, count)| **count).sum()))
        .collect();
    let most = merged.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let labels: Vec<String> = merged.iter().map(|(low, _)| value(*low)).collect();
    let width = labels
        .iter()
        .map(|it| it.chars().count())
        .max()
        .unwrap_or(0);
    let is_one = low == high;
    merged
        .iter()
        .zip(labels)
        .map(|((_, count), label)| {
            let cells = usize::try_from((count * BAR).div_ceil(most)).unwrap_or(0);
            let sign = if is_one { "=" } else { "≥" };
            format!("{sign} {label:>width$}  {:40}  {count}", "█".repeat(cells))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_there_are_many() {
        let buckets = BTreeMap::from([(10, 1), (20, 4), (30, 2)]);
        let lines = draw(&buckets, &|value| value.to_string());
        let bars: Vec<usize> = lines.iter().map(|line| line.matches('█').count()).collect();
        assert_eq!(bars, [10, 40, 20]);
        assert!(lines[1].ends_with("  4"), "{lines:?}");
    }

    #[test]
    fn a_wide_distribution_fits_on_a_screen() {
        let buckets: BTreeMap<i64, u64> = (0..1_000).map(|low| (low, 1)).collect();
        let lines = draw(&buckets, &|value| value.to_string());
        assert!(lines.len() <= ROWS, "{}", lines.len());
        assert!(draw(&BTreeMap::new(), &|_| String::new()).is_empty());
    }
}
