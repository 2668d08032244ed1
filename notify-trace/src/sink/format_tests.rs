//! The format as documented is the format as written: `docs/events.md` and
//! `docs/event.schema.json` against the types.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::event::Event;

const DOCUMENT: &str = include_str!("../../../docs/events.md");

/// The JSON blocks of the document.
fn examples() -> Vec<&'static str> {
    DOCUMENT
        .split("```json\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap_or_default().trim_end())
        .collect()
}

/// The events of the document.
pub(super) fn events() -> Vec<Event> {
    examples()
        .into_iter()
        .map(|example| serde_json::from_str(example).expect(example))
        .collect()
}

fn schema() -> Value {
    serde_json::to_value(schemars::schema_for!(Event)).expect("a schema is JSON")
}

#[test]
fn each_example_is_what_its_event_is_written_as() {
    for example in examples() {
        let event: Event = serde_json::from_str(example).expect(example);
        let written = serde_json::to_string_pretty(&event).expect("events are JSON");
        assert_eq!(written, example);
    }
}

#[test]
fn there_is_an_example_of_each_type_of_event() {
    let kinds: BTreeSet<String> = examples()
        .iter()
        .map(|example| {
            let value: Value = serde_json::from_str(example).expect(example);
            value["type"].as_str().expect("a type").to_owned()
        })
        .collect();
    let expected = [
        "connect_failed",
        "exit",
        "loss",
        "receiver_closed",
        "send",
        "session",
        "summary",
        "unit",
        "update",
        "view",
    ];
    assert_eq!(
        kinds.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
}

/// Names of fields, and values of enumerations, anywhere in a schema.
fn vocabulary(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(properties)) = fields.get("properties") {
                words.extend(properties.keys().cloned());
            }
            let constants = fields.get("const").into_iter();
            let values = fields.get("enum").and_then(Value::as_array);
            words.extend(
                constants
                    .chain(values.into_iter().flatten())
                    .filter_map(|value| value.as_str().map(str::to_owned)),
            );
            fields.values().for_each(|value| vocabulary(value, words));
        }
        Value::Array(values) => values.iter().for_each(|value| vocabulary(value, words)),
        _ => {}
    }
}

#[test]
fn the_document_explains_every_field_and_every_value() {
    let mut words = BTreeSet::new();
    vocabulary(&schema(), &mut words);
    assert!(words.contains("retry_of") && words.contains("payload_never_copied"));
    let missing: Vec<_> = words
        .into_iter()
        .filter(|word| !DOCUMENT.contains(&format!("`{word}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/events.md: {missing:?}");
}

#[test]
fn the_schema_file_is_generated_from_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/event.schema.json");
    let generated = serde_json::to_string_pretty(&schema()).expect("a schema is JSON") + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &generated).expect("docs/ can be written to");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == generated,
        "docs/event.schema.json is not that of the types in event; to regenerate it:\n\
         UPDATE_SCHEMA=1 cargo test -p notify-trace schema"
    );
}
