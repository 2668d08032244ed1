//! Rows as aligned text: one line for each peer of each thing.

use super::fold::{Row, Spread};

/// Heads of the columns.
const HEAD: [&str; 7] = [
    "measured",
    "under",
    "median",
    "min – max",
    "unit",
    "/ nothing",
    "agent / it",
];
/// Columns of words; numbers stand at the right end of theirs.
const WORDS: [bool; 7] = [true, true, false, false, true, false, false];
const GAP: &str = "  ";

/// How a unit is shown: name of the lines' field, text, and what a value is divided by.
const UNITS: [(&str, &str, f64); 14] = [
    ("ns_per_op", "µs/op", 1e3),
    ("ns_per_record", "ns/record", 1.0),
    ("records_per_s", "million records/s", 1e6),
    ("ms", "ms", 1.0),
    ("s", "s", 1.0),
    ("rss_bytes", "MiB resident", 1_048_576.0),
    ("anonymous_bytes", "MiB anonymous", 1_048_576.0),
    ("map_bytes", "MiB of maps", 1_048_576.0),
    ("file_bytes", "MiB", 1_048_576.0),
    ("wakeups_per_s", "wake-ups/s", 1.0),
    ("datagrams_per_s", "datagrams/s", 1.0),
    ("percent", "%", 1.0),
    ("instructions", "instructions", 1.0),
    ("instructions_per_op", "instructions/op", 1.0),
];

/// The table, its lines without blanks at their ends.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    let mut last = "";
    for row in rows {
        lines.push(cells(row, row.what == last));
        last = &row.what;
    }
    let mut widths = [0; HEAD.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(widths.iter().zip(WORDS))
            .map(|(cell, (&width, is_word))| {
                if is_word {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row, is_named_above: bool) -> [String; HEAD.len()] {
    let (unit, divisor) = shown_unit(&row.unit);
    let Spread { median, min, max } = row.spread;
    let range = if row.rounds == 1 {
        String::new()
    } else {
        format!("{} – {}", number(min / divisor), number(max / divisor))
    };
    let ratio = |ratio: Option<Spread>| ratio.map(ratio_text).unwrap_or_default();
    [
        if is_named_above {
            String::new()
        } else {
            row.what.clone()
        },
        row.under.clone(),
        number(median / divisor),
        range,
        unit.to_owned(),
        ratio(row.to_nothing),
        ratio(row.agent_to_it),
    ]
}

fn ratio_text(Spread { median, min, max }: Spread) -> String {
    if min == max {
        return number(median);
    }
    format!("{} ({} – {})", number(median), number(min), number(max))
}

/// A unit that isn't known is shown as it is.
fn shown_unit(unit: &str) -> (&str, f64) {
    UNITS
        .into_iter()
        .find(|(name, _, _)| *name == unit)
        .map_or((unit, 1.0), |(_, text, divisor)| (text, divisor))
}

/// Three digits that count; more only before the point.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, under: &str, unit: &str, median: f64) -> Row {
        Row {
            what: what.into(),
            unit: unit.into(),
            under: under.into(),
            spread: Spread {
                median,
                min: median * 0.9,
                max: median * 1.1,
            },
            rounds: 5,
            to_nothing: None,
            agent_to_it: None,
        }
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let numbers = [0.0, 0.1234, 1.234, 12.34, 123.4, 12345.6].map(number);
        assert_eq!(numbers, ["0", "0.123", "1.23", "12.3", "123", "12346"]);
    }

    #[test]
    fn columns_are_aligned_and_a_thing_is_named_once() {
        let agent = Row {
            to_nothing: Some(Spread {
                median: 1.5,
                min: 1.4,
                max: 1.6,
            }),
            ..row("stream write", "agent", "ns_per_op", 1500.0)
        };
        let text = table(&[
            row("stream write", "nothing", "ns_per_op", 1000.0),
            agent,
            row("idle", "agent", "wakeups_per_s", 0.0),
        ]);
        let expected = "\
measured      under    median    min – max  unit                / nothing  agent / it
stream write  nothing    1.00  0.900 – 1.10  µs/op
              agent      1.50  1.35 – 1.65  µs/op       1.50 (1.40 – 1.60)
idle          agent         0        0 – 0  wake-ups/s
";
        let squeezed = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect()
        };
        assert_eq!(squeezed(&text), squeezed(expected));
        let at = |line: usize| text.lines().nth(line).unwrap().find("µs").map(|at| at > 0);
        assert_eq!((at(1), at(2)), (Some(true), Some(true)));
        assert!(text.lines().all(|line| !line.ends_with(' ')));
    }

    #[test]
    fn an_unknown_unit_is_shown_as_it_is() {
        assert_eq!(shown_unit("furlongs"), ("furlongs", 1.0));
    }
}
