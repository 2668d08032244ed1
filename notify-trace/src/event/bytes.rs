//! How bytes that others chose are kept and written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An address of a unix socket: the bytes of `sun_path`.
///
/// Written as a path, or as `@` and the name for an abstract address (the notation of
/// `NOTIFY_SOCKET=`; NULs in the name stay). What can't be written so without doubt (not UTF-8, or
/// a path that itself begins with `@`) is written as an object with the raw bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub Bytes);

impl Address {
    /// The spelling that `NOTIFY_SOCKET=` would use, if there is one without doubt.
    #[must_use]
    pub fn spelling(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.0).ok()?;
        match text.strip_prefix('\0') {
            Some(name) => Some(format!("@{name}")),
            None if text.starts_with('@') => None,
            None => Some(text.to_owned()),
        }
    }

    /// The opposite of [`Self::spelling`].
    #[must_use]
    pub fn from_spelling(text: &str) -> Self {
        match text.strip_prefix('@') {
            Some(name) => Self([b"\0", name.as_bytes()].concat().into()),
            None => Self::from(text.as_bytes()),
        }
    }
}

/// Bytes that are text as a rule: written as a string if they are UTF-8, else as an object with
/// the bytes in base64. Nothing is lost either way.
///
/// Those of a live trace are part of what was read from a ring at once, and keep all of that in memory:
/// what is to be kept for long is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blob(pub Bytes);

impl Blob {
    /// The same in memory of its own.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::from(&self.0[..])
    }
}

/// A copy, as all of the next ones: only [`Bytes`] are shared.
impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<&[u8]> for Address {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

/// How bytes are written: as text or, where they aren't text, in base64.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Spelling {
    /// The bytes are UTF-8.
    Text(String),
    /// They are not.
    Raw {
        /// The bytes.
        base64: String,
    },
}

impl Spelling {
    fn raw(bytes: &[u8]) -> Self {
        Self::Raw {
            base64: BASE64.encode(bytes),
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Spelling::raw(&self.0).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Spelling::deserialize(deserializer)? {
            Spelling::Text(text) => Ok(Self(text.into_bytes().into())),
            Spelling::Raw { base64 } => BASE64
                .decode(base64)
                .map(|bytes| Self(bytes.into()))
                .map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.spelling() {
            Some(text) => serializer.serialize_str(&text),
            None => Spelling::raw(&self.0).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Spelling::deserialize(deserializer)? {
            Spelling::Text(text) => Ok(Self::from_spelling(&text)),
            Spelling::Raw { base64 } => BASE64
                .decode(base64)
                .map(|bytes| Self(bytes.into()))
                .map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Blob {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Blob".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Spelling::json_schema(generator)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Spelling::json_schema(generator)
    }
}
