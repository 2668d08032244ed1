//! The lines of the bench: one JSON object for each measurement and for each fact about the run.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// One number: `{"what":…,"under":…,"round":…,"<unit>":…}`.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// What was measured.
    pub what: &'a str,
    /// Which peer watched meanwhile, or was measured itself.
    pub under: &'a str,
    /// In which round, from 1.
    pub round: u32,
    /// The value's unit, and the name of its field.
    pub unit: &'a str,
    /// The number.
    pub value: f64,
}

impl Serialize for Measured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("what", self.what)?;
        map.serialize_entry("under", self.under)?;
        map.serialize_entry("round", &self.round)?;
        map.serialize_entry(self.unit, &self.value)?;
        map.end()
    }
}

/// What is true of the whole run: `{"fact":…,"is":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    fact: String,
    is: String,
}

impl Fact {
    /// A fact and what it says.
    pub fn new(fact: &str, is: impl Into<String>) -> Self {
        Self {
            fact: fact.to_owned(),
            is: is.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_is_a_line_whose_last_field_is_its_unit() {
        let line = Measured {
            what: "stream write",
            under: "agent",
            round: 2,
            unit: "ns_per_op",
            value: 12.5,
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"what":"stream write","under":"agent","round":2,"ns_per_op":12.5}"#
        );
    }

    #[test]
    fn a_fact_says_what_is() {
        let line = serde_json::to_string(&Fact::new("plan", "full")).unwrap();
        assert_eq!(line, r#"{"fact":"plan","is":"full"}"#);
    }
}
