//! What got worse since the table that was landed last. Pure but for the file's place.
//!
//! Only what machines agree on is held against the past: ratios of the same round, and what is counted or
//! weighed. Times are another machine's business.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::fold::{AGENT, Row, Spread};
use crate::agent;

/// Units whose values mean the same on any machine; less is better.
const COMPARABLE: [&str; 8] = [
    "rss_bytes",
    "anonymous_bytes",
    "map_bytes",
    "file_bytes",
    "percent",
    "records",
    "instructions",
    "instructions_per_op",
];
/// What is more by less than this share is the same.
const TOLERANCE: f64 = 0.02;

/// Where the last landed rows are kept.
pub fn file() -> PathBuf {
    agent::root().join("docs/performance.json")
}

/// A row; medians stand before the smallest and the largest.
pub fn to_value(row: &Row) -> Value {
    let spread = |it: Spread| json!([it.median, it.min, it.max]);
    json!({
        "what": row.what, "under": row.under, "unit": row.unit, "rounds": row.rounds,
        "value": spread(row.spread),
        "to_nothing": row.to_nothing.map(spread),
        "agent_to_it": row.agent_to_it.map(spread),
    })
}

/// The rows as they are kept, one line each.
pub fn to_text(rows: &[Row]) -> String {
    let lines: Vec<_> = rows.iter().map(|row| to_value(row).to_string()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// The opposite of [`to_text`].
///
/// # Errors
/// If it is no such text.
pub fn of_text(text: &str) -> Result<Vec<Row>> {
    let rows: Vec<Value> = serde_json::from_str(text).context("no list of rows")?;
    rows.iter()
        .map(|row| row_of(row).with_context(|| format!("no row: {row}")))
        .collect()
}

fn row_of(row: &Value) -> Option<Row> {
    let text = |key: &str| row.get(key)?.as_str().map(str::to_owned);
    let spread = |key: &str| {
        let values = row.get(key)?.as_array()?;
        Some(Spread {
            median: values.first()?.as_f64()?,
            min: values.get(1)?.as_f64()?,
            max: values.get(2)?.as_f64()?,
        })
    };
    Some(Row {
        what: text("what")?,
        unit: text("unit")?,
        under: text("under")?,
        spread: spread("value")?,
        rounds: usize::try_from(row.get("rounds")?.as_u64()?).ok()?,
        to_nothing: spread("to_nothing"),
        agent_to_it: spread("agent_to_it"),
    })
}

/// Sentences about what is worse than it was in every round.
pub fn worse(old: &[Row], new: &[Row]) -> Vec<String> {
    let mut sentences = Vec::new();
    for now in new {
        let Some(then) = old
            .iter()
            .find(|it| (&it.what, &it.under, &it.unit) == (&now.what, &now.under, &now.unit))
        else {
            continue;
        };
        let mut compare = |how: &str, then: Option<Spread>, now_is: Option<Spread>| {
            if let (Some(then), Some(now_is)) = (then, now_is)
                && is_more(then, now_is)
            {
                sentences.push(format!(
                    "{}, {how}: {:.3} ({:.3} – {:.3}), was {:.3} ({:.3} – {:.3})",
                    now.what,
                    now_is.median,
                    now_is.min,
                    now_is.max,
                    then.median,
                    then.min,
                    then.max
                ));
            }
        };
        if now.under == AGENT {
            compare("agent / nothing", then.to_nothing, now.to_nothing);
            // A share of one round has no spread.
            let is_single = now.unit == "percent" && now.rounds == 1;
            if COMPARABLE.contains(&now.unit.as_str()) && !is_single {
                compare(&now.unit, Some(then.spread), Some(now.spread));
            }
        } else {
            let how = format!("agent / {}", now.under);
            compare(&how, then.agent_to_it, now.agent_to_it);
        }
    }
    sentences
}

/// Whether even the best of now is more than the worst of then.
fn is_more(then: Spread, now: Spread) -> bool {
    now.min > then.max * (1.0 + TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(under: &str, unit: &str, value: f64, to_nothing: Option<f64>) -> Row {
        let spread = |median: f64| Spread {
            median,
            min: median * 0.9,
            max: median * 1.1,
        };
        Row {
            what: "stream write".into(),
            unit: unit.into(),
            under: under.into(),
            spread: spread(value),
            rounds: 5,
            to_nothing: to_nothing.map(spread),
            agent_to_it: None,
        }
    }

    #[test]
    fn rows_are_kept_as_they_are() {
        let mut rows = vec![row(AGENT, "ns_per_op", 10.0, Some(1.5))];
        rows.push(row("bpftrace", "ns_per_op", 12.0, None));
        for row in &mut rows {
            // Without digits that a reader may round in another way.
            let exact = Spread {
                median: 1.5,
                min: 1.25,
                max: 2.0,
            };
            row.spread = exact;
            row.to_nothing = row.to_nothing.map(|_| exact);
        }
        assert_eq!(of_text(&to_text(&rows)).unwrap(), rows);
        assert!(of_text("[{}]").is_err());
    }

    #[test]
    fn times_may_be_another_machines_but_ratios_may_not_grow() {
        let old = [row(AGENT, "ns_per_op", 10.0, Some(1.5))];
        assert_eq!(
            worse(&old, &[row(AGENT, "ns_per_op", 99.0, Some(1.6))]),
            [""; 0]
        );
        let sentences = worse(&old, &[row(AGENT, "ns_per_op", 10.0, Some(2.0))]);
        assert_eq!(sentences.len(), 1);
        assert!(
            sentences[0].contains("agent / nothing: 2.000"),
            "{sentences:?}"
        );
    }

    #[test]
    fn memory_and_losses_may_not_grow() {
        let old = [
            row(AGENT, "rss_bytes", 8e6, None),
            row(AGENT, "percent", 0.0, None),
        ];
        let new = [
            row(AGENT, "rss_bytes", 12e6, None),
            row(AGENT, "percent", 3.0, None),
        ];
        assert_eq!(worse(&old, &new).len(), 2);
        assert_eq!(worse(&new, &old), [""; 0]);
        let mut single = row(AGENT, "percent", 3.0, None);
        single.rounds = 1;
        assert_eq!(worse(&old, &[single]), [""; 0]);
    }

    #[test]
    fn what_is_new_is_not_worse() {
        assert_eq!(worse(&[], &[row(AGENT, "rss_bytes", 8e6, None)]), [""; 0]);
    }
}
