//! The lines of a bench, as `tests/src/bench/line.rs` and `notify-trace/benches/records.rs` write
//! them.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// What is true of the whole run.
    Fact {
        /// Its name.
        fact: String,
        /// What it says.
        is: String,
    },
    /// One number.
    Measured(Measured),
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub what: String,
    /// Which peer watched meanwhile, or was measured itself.
    pub under: String,
    /// In which round, from 1; what has the same number was measured close together.
    pub round: u64,
    /// The value's unit: the name of its field.
    pub unit: String,
    /// The number.
    pub value: f64,
}

/// Reads one line.
///
/// # Errors
/// If it isn't a fact, nor a measurement with exactly one value.
pub fn parse(line: &str) -> Result<Line> {
    read(line).with_context(|| format!("the bench wrote a line that nobody can read: {line}"))
}

fn read(line: &str) -> Result<Line> {
    let mut map: Map<String, Value> = serde_json::from_str(line)?;
    let mut text = |key: &str| match map.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    if let (Some(fact), Some(is)) = (text("fact"), text("is")) {
        return Ok(Line::Fact { fact, is });
    }
    let what = text("what").context("it doesn't say what")?;
    let under = text("under").context("it doesn't say under what")?;
    let round = map
        .remove("round")
        .and_then(|round| round.as_u64())
        .context("it doesn't say in which round")?;
    let mut rest = map.into_iter();
    let (Some((unit, value)), None) = (rest.next(), rest.next()) else {
        bail!("it has not exactly one value");
    };
    let value = value.as_f64().context("its value is not a number")?;
    Ok(Line::Measured(Measured {
        what,
        under,
        round,
        unit,
        value,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_without_a_name_of_its_own_is_the_value_in_its_unit() {
        let line = r#"{"what":"stream write","under":"agent","round":3,"ns_per_op":12.5}"#;
        let expected = Measured {
            what: "stream write".into(),
            under: "agent".into(),
            round: 3,
            unit: "ns_per_op".into(),
            value: 12.5,
        };
        assert_eq!(parse(line).unwrap(), Line::Measured(expected));
    }

    #[test]
    fn a_fact_is_no_measurement() {
        let expected = Line::Fact {
            fact: "plan".into(),
            is: "full".into(),
        };
        assert_eq!(parse(r#"{"fact":"plan","is":"full"}"#).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_cut_or_says_too_little_or_too_much_is_an_error() {
        for line in [
            r#"{"what":"a","under":"b","rou"#,
            r#"{"what":"a","under":"b","ns":1}"#,
            r#"{"what":"a","under":"b","round":1}"#,
            r#"{"what":"a","under":"b","round":1,"ns":1,"ms":2}"#,
            r#"{"what":"a","under":"b","round":1,"ns":"1"}"#,
            "[  1.0] a word of the kernel",
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
        }
    }
}
