//! Which layer covers which: the file, the environment, `--set`.

use std::fmt;

use serde::Deserialize as _;
use toml::{Table, Value};

use super::Config;

/// What names of environment variables begin with.
const PREFIX: &str = "NOTIFY_TRACE_AGENT_";

/// One option that stands above the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Where it comes from, for errors.
    origin: String,
    section: String,
    option: String,
    value: String,
}

/// Settings that can't be used.
#[derive(Debug)]
pub enum ConfigError {
    /// The file.
    File {
        /// Its name.
        name: String,
        /// What is wrong, with its line.
        source: toml::de::Error,
    },
    /// An option above the file.
    Override {
        /// Where it comes from.
        origin: String,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, .. } => write!(
                f,
                "{name} can't be used; notify-trace agent --check-config tries it without running"
            ),
            Self::Override { origin, why } => write!(f, "{origin}: {why}"),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Override { .. } => None,
        }
    }
}

impl Override {
    /// From `SECTION.OPTION=VALUE`.
    ///
    /// # Errors
    /// If it isn't that.
    pub fn of_argument(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim().split_once('.')?, value)));
        let Some(((section, option), value)) = parts else {
            return Err("it must be SECTION.OPTION=VALUE, such as record.max_size=2G".to_owned());
        };
        Ok(Self {
            origin: format!("--set {section}.{option}"),
            section: section.to_owned(),
            option: option.to_owned(),
            value: value.trim().to_owned(),
        })
    }

    /// From an environment variable `NOTIFY_TRACE_AGENT_SECTION_OPTION`; `None`: it is another one.
    #[must_use]
    pub fn of_variable(name: &str, value: &str) -> Option<Self> {
        let (section, option) = name.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self {
            origin: name.to_owned(),
            section: section.to_ascii_lowercase(),
            option: option.to_ascii_lowercase(),
            value: value.to_owned(),
        })
    }

    fn table(&self, value: Value) -> Table {
        let section = Table::from_iter([(self.option.clone(), value)]);
        Table::from_iter([(self.section.clone(), Value::Table(section))])
    }

    /// The value in a form that the option takes: as TOML if that is meant, else the text itself, else
    /// a list of one.
    fn checked(&self) -> Result<Table, ConfigError> {
        let text = Value::String(self.value.clone());
        let list = Value::Array(vec![text.clone()]);
        let written = toml::from_str::<Table>(&format!("x = {}", self.value))
            .ok()
            .and_then(|mut table| table.remove("x"));
        let mut first = None;
        for value in written.into_iter().chain([text, list]) {
            let table = self.table(value);
            match Config::deserialize(table.clone()) {
                Ok(_) => return Ok(table),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        Err(ConfigError::Override {
            origin: self.origin.clone(),
            why: first.map_or_else(String::new, |error| error.message().to_owned()),
        })
    }
}

/// The settings: defaults, a file's text, then what stands above it, the last covering the others.
///
/// # Errors
/// If one of them has something that isn't an option, or a value that it can't have.
pub fn resolve(
    file: Option<(&str, &str)>,
    above: impl IntoIterator<Item = Override>,
) -> Result<Config, ConfigError> {
    let mut all = Table::new();
    if let Some((name, text)) = file {
        let wrong = |source| ConfigError::File {
            name: name.to_owned(),
            source,
        };
        // With the places in the text, for errors.
        toml::from_str::<Config>(text).map_err(wrong)?;
        all = toml::from_str(text).map_err(wrong)?;
    }
    for it in above {
        for (section, options) in it.checked()? {
            let Value::Table(options) = options else {
                continue;
            };
            let under = all
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(under) = under {
                under.extend(options);
            }
        }
    }
    Config::deserialize(all).map_err(|source| ConfigError::File {
        name: "all settings together".to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::quantity::Size;

    fn set(text: &str) -> Override {
        Override::of_argument(text).expect("valid")
    }

    #[test]
    fn the_last_layer_covers_the_others() {
        let file = "[record]\nmax_size = \"1M\"\nmax_age = 60\n[view]\nunit = [\"a\"]";
        let variable = Override::of_variable("NOTIFY_TRACE_AGENT_RECORD_MAX_SIZE", "2M");
        let config = resolve(
            Some(("agent.toml", file)),
            [variable.expect("ours"), set("record.max_size=3M")],
        )
        .expect("valid");
        assert_eq!(config.record.max_size, Size(3 << 20));
        assert_eq!(config.record.max_age.to_string(), "1m");
        assert_eq!(config.view.unit, ["a"]);
    }

    #[test]
    fn values_above_the_file_need_no_quotes() {
        let config = resolve(
            None,
            [
                set("view.unit=nginx"),
                set("view.redact=[\"STATUS\", \"X_*\"]"),
                set("capture.internal=true"),
                set("capture.plan=no-trampolines"),
                set("limits.cpu_percent=50"),
                set("metrics.listen=127.0.0.1:9744"),
            ],
        )
        .expect("valid");
        assert_eq!(config.view.unit, ["nginx"]);
        assert_eq!(config.view.redact, ["STATUS", "X_*"]);
        assert!(config.capture.internal);
        assert_eq!(config.limits.cpu_percent, 50);
        assert_eq!(config.metrics.listen, "127.0.0.1:9744");
    }

    #[test]
    fn an_error_says_where_it_is() {
        let error = resolve(Some(("agent.toml", "[record]\nmax_sise = 1")), []).unwrap_err();
        let cause = error.source().expect("a cause").to_string();
        assert!(error.to_string().contains("agent.toml"), "{error}");
        assert!(
            cause.contains("line 2") && cause.contains("max_sise"),
            "{cause}"
        );
        for (text, word) in [
            ("record.max_size=much", "number of bytes"),
            ("recrod.max_size=1", "recrod"),
            ("limits.cpu_percent=lots", "u32"),
        ] {
            let error = resolve(None, [set(text)]).unwrap_err().to_string();
            assert!(error.contains("--set") && error.contains(word), "{error}");
        }
        assert!(Override::of_argument("record=1").is_err());
        assert!(Override::of_variable("PATH", "x").is_none());
    }
}
