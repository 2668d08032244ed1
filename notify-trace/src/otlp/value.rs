//! Attributes: names and values as OTLP has them. An unknown fact is no attribute.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};

use crate::event::{Address, Blob};

/// Attributes that are gathered.
#[derive(Debug, Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    fn push(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }

    pub(super) fn text(&mut self, key: &str, text: impl Into<String>) {
        self.push(key, Value::StringValue(text.into()));
    }

    pub(super) fn maybe_text(&mut self, key: &str, text: Option<impl Into<String>>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    /// More than fits is the most there can be.
    pub(super) fn number(&mut self, key: &str, number: impl TryInto<i64>) {
        self.push(key, Value::IntValue(number.try_into().unwrap_or(i64::MAX)));
    }

    pub(super) fn maybe_number(&mut self, key: &str, number: Option<impl TryInto<i64>>) {
        if let Some(number) = number {
            self.number(key, number);
        }
    }

    /// If it is so.
    pub(super) fn flag(&mut self, key: &str, is_so: bool) {
        if is_so {
            self.push(key, Value::BoolValue(true));
        }
    }

    /// Text, or bytes where it is none.
    pub(super) fn blob(&mut self, key: &str, Blob(bytes): &Blob) {
        self.push(
            key,
            match std::str::from_utf8(bytes) {
                Ok(text) => Value::StringValue(text.to_owned()),
                Err(_) => Value::BytesValue(bytes.to_vec()),
            },
        );
    }

    /// As `NOTIFY_SOCKET=` has it, or bytes where that would not be without doubt.
    pub(super) fn address(&mut self, key: &str, address: &Address) {
        match address.spelling() {
            Some(text) => self.text(key, text),
            None => self.push(key, Value::BytesValue(address.0.to_vec())),
        }
    }

    /// Words, if there are any.
    pub(super) fn words(&mut self, key: &str, words: impl IntoIterator<Item = String>) {
        let value = |word| AnyValue {
            value: Some(Value::StringValue(word)),
        };
        let values: Vec<AnyValue> = words.into_iter().map(value).collect();
        if !values.is_empty() {
            self.push(key, Value::ArrayValue(ArrayValue { values }));
        }
    }
}
