//! Settings of the agent: a file, the environment above it, `--set` above that. Pure.
//!
//! The file is TOML; `dist/agent.toml` has every option with its default. Owns what the options are and
//! how layers cover each other; what they mean is the business of those who are given them.

mod layers;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::layers::{ConfigError, Override, resolve};
use crate::event::PlanName;
use crate::quantity::{Size, Span};
use crate::store::Durability;

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is captured.
    pub capture: Capture,
    /// What of it is shown: recorded, counted, sent.
    pub view: View,
    /// Where it is recorded.
    pub record: Record,
    /// Where it is counted.
    pub metrics: Metrics,
    /// Where it is sent.
    pub otlp: Otlp,
    /// What it may cost.
    pub limits: Limits,
}

/// What is captured. Another `[capture]` needs a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// As `--socket`.
    pub socket: Vec<String>,
    /// As `--only-socket`.
    pub only_socket: Vec<String>,
    /// As `--internal`.
    pub internal: bool,
    /// As `--cgroup`.
    pub cgroup: Vec<PathBuf>,
    /// As `--ring-size`; absent: by the number of CPUs and the limit of locked memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_size: Option<Size>,
    /// As `--plan`; absent: the best that works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// As `--btf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btf: Option<PathBuf>,
    /// Whether the service managers are asked about the units that send.
    pub facts: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            socket: Vec::new(),
            only_socket: Vec::new(),
            internal: false,
            cgroup: Vec::new(),
            ring_size: None,
            plan: None,
            btf: None,
            facts: true,
        }
    }
}

/// What is shown, by the options of `trace` of the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct View {
    /// As `--unit`.
    pub unit: Vec<String>,
    /// As `--container`.
    pub container: Vec<String>,
    /// As `--user`.
    pub user: Vec<String>,
    /// As `--comm`.
    pub comm: Vec<String>,
    /// As `--key`.
    pub key: Vec<String>,
    /// As `--class`.
    pub class: Vec<String>,
    /// As `--failed`.
    pub failed: bool,
    /// As `--redact`.
    pub redact: Vec<String>,
    /// As `--keys-only`.
    pub keys_only: bool,
}

/// Where it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Record {
    /// Whether at all.
    pub enabled: bool,
    /// The recording. Another one needs a restart.
    pub file: PathBuf,
    /// As `--max-size`; 0: no limit.
    pub max_size: Size,
    /// As `--max-age`; 0: no limit.
    pub max_age: Span,
    /// As `--durability`. Another one needs a restart.
    pub durability: Durability,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            enabled: true,
            file: PathBuf::from("/var/lib/notify-trace/host.ntrec"),
            max_size: Size(1 << 30),
            max_age: Span(std::time::Duration::from_hours(30 * 24)),
            durability: Durability::default(),
        }
    }
}

/// Where it is counted, for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// `off`, `unix:/path`, or an address and a port of the loopback. Another one needs a restart.
    pub listen: String,
    /// Whether another address than one of the loopback is meant.
    pub public: bool,
    /// Most units and containers that are counted each on their own.
    pub units: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            listen: "off".to_owned(),
            public: false,
            units: 500,
        }
    }
}

/// Where it is sent, by OTLP over HTTP. Another `[otlp]` needs a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Otlp {
    /// `off`, or the address of a receiver: `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Whether a log record for each notification is sent.
    pub logs: bool,
    /// Whether spans for starts, reloads and stops are sent.
    pub spans: bool,
    /// Whether the numbers are sent.
    pub metrics: bool,
    /// How often the numbers are sent.
    pub interval: Span,
    /// How long an answer may take.
    pub timeout: Span,
    /// `none` or `gzip`.
    pub compression: Compression,
    /// A file of headers for each request, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers_file: Option<PathBuf>,
    /// Authorities to trust; absent: those of this system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The agent's own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// The key of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// How bodies are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// With gzip.
    Gzip,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: "off".to_owned(),
            logs: true,
            spans: true,
            metrics: true,
            interval: Span(std::time::Duration::from_secs(60)),
            timeout: Span(std::time::Duration::from_secs(10)),
            compression: Compression::default(),
            headers_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
        }
    }
}

/// What it may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Percent of one CPU that is aimed at; 0: no limit. Above it, those who send most are shed.
    pub cpu_percent: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_percent: 25 }
    }
}

impl Config {
    /// What of `new` holds only after a restart, each by its name in the file.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let changed = [
            (self.capture != new.capture, "[capture]"),
            (self.record.enabled != new.record.enabled, "record.enabled"),
            (self.record.file != new.record.file, "record.file"),
            (
                self.record.durability != new.record.durability,
                "record.durability",
            ),
            (
                (&self.metrics.listen, self.metrics.public)
                    != (&new.metrics.listen, new.metrics.public),
                "metrics.listen",
            ),
            (self.otlp != new.otlp, "[otlp]"),
            (
                self.limits.cpu_percent != new.limits.cpu_percent,
                "limits.cpu_percent",
            ),
        ];
        changed
            .into_iter()
            .filter_map(|(is_changed, name)| is_changed.then_some(name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file that is installed.
    const FILE: &str = include_str!("../../dist/agent.toml");

    #[test]
    fn the_file_that_is_installed_changes_nothing() {
        let installed: Config = toml::from_str(FILE).expect("it is valid");
        assert_eq!(installed, Config::default());
    }

    #[test]
    fn the_file_that_is_installed_has_every_option_with_its_default() {
        // `#key = value`, without a space behind the mark, is an option; other comments are prose.
        let written: String = FILE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(option) if option.starts_with(|c: char| c.is_ascii_lowercase()) => option,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let all: Config = toml::from_str(&written).expect("examples are valid");
        let has: toml::Table = toml::from_str(&written).expect("examples are valid");
        let wanted = toml::Table::try_from(Config {
            capture: Capture {
                ring_size: Some(Size(4 << 20)),
                plan: Some(PlanName::Full),
                btf: Some(PathBuf::from("/x")),
                ..Capture::default()
            },
            otlp: Otlp {
                headers_file: Some(PathBuf::from("/x")),
                ca_file: Some(PathBuf::from("/x")),
                certificate_file: Some(PathBuf::from("/x")),
                key_file: Some(PathBuf::from("/x")),
                ..Otlp::default()
            },
            ..Config::default()
        })
        .expect("a table");
        for (section, options) in &wanted {
            for option in options.as_table().expect("a section").keys() {
                let found = has.get(section).and_then(|section| section.get(option));
                assert!(found.is_some(), "{section}.{option} is not in agent.toml");
            }
        }
        // Those without a default are examples.
        let defaults = Config {
            capture: Capture {
                ring_size: None,
                plan: None,
                btf: None,
                ..all.capture.clone()
            },
            otlp: Otlp {
                headers_file: None,
                ca_file: None,
                certificate_file: None,
                key_file: None,
                ..all.otlp.clone()
            },
            ..all
        };
        assert_eq!(defaults, Config::default());
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let old = Config::default();
        let mut new = old.clone();
        new.view.failed = true;
        new.record.max_size = Size(1 << 20);
        assert!(old.needs_restart(&new).is_empty());
        new.capture.internal = true;
        new.metrics.listen = "unix:/run/x".to_owned();
        assert_eq!(old.needs_restart(&new), ["[capture]", "metrics.listen"]);
    }
}
