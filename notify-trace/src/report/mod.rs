//! Reports: a study over one or many recordings, as a table.
//!
//! ```text
//! recordings ──▶ inputs (which rows) ──▶ by (which group) ──▶ numbers (study::quantile) ──▶ render (text, JSON, CSV)
//!                                              └─▶ compare (two sets, by the bootstrap)
//! ```
//!
//! Inputs are read in passes, whatever their size; memory grows with the number of groups alone. The
//! numbers are those of the recordings' own views (`docs/studies.md`), bit for bit.

pub mod bootstrap;
pub mod by;
pub mod compare;
pub mod histogram;
pub mod inputs;
pub mod numbers;
pub mod ranks;
pub mod render;
pub mod table;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use self::by::{By, Value};
pub use self::inputs::Inputs;
use crate::study::Study;
use crate::study::quantile::Summary;

/// A study's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which study.
    pub study: Study,
    /// What the groups are.
    pub by: Vec<By>,
    /// A line for each group and measure.
    pub lines: Vec<Line>,
    /// What is not in it, each a sentence.
    pub missing: Vec<String>,
}

/// What is said of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Of which group: the columns of each of [`Report::by`].
    pub key: Vec<Value>,
    /// What.
    pub numbers: Numbers,
}

/// Numbers of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Order statistics of a measure.
    Times {
        /// Which measure.
        measure: &'static str,
        /// Of its values: nanoseconds, or notifications a minute for the study `rate`.
        summary: Summary,
    },
    /// Verdicts.
    Verdicts(Causes),
}

/// How often something was concluded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Causes {
    /// How often, repetitions included.
    pub n: u64,
    /// Of how many units.
    pub units: u64,
    /// First time, microseconds since 1970.
    pub first_us: i64,
    /// Last time.
    pub last_us: i64,
}
