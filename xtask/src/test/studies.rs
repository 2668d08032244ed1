//! The studies of a recording, by four accounts: `report`, the recording's own views read by another
//! SQLite, DuckDB over the export, and, if asked, a Spark cluster. All numbers must be the same.
//!
//! ```text
//! recording ──▶ notify-trace report ────────────────┐
//!     ├───────▶ python's sqlite3, by the views ─────┼─▶ equal?
//!     └─export─▶ DuckDB, by the views' SQL ─────────┤
//!                Spark, by the same ────────────────┘
//! ```

use std::{collections::BTreeMap, fmt, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{cache::Cache, command, python};

const BY_SQLITE: &str = include_str!("studies/sqlite_says.py");
const BY_DUCKDB: &str = include_str!("studies/duckdb_says.py");
const BY_SPARK: &str = include_str!("studies/spark_says.py");

/// Rows of a study, each a JSON object as text, in an order of their own.
type Said = BTreeMap<String, Vec<String>>;

/// Which engines are asked besides `report` and SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    /// DuckDB.
    DuckDb,
    /// DuckDB, and a Spark cluster of a master and two workers.
    Fleet,
}

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows by study.
    pub rows: BTreeMap<String, usize>,
    /// What was asked, with its version.
    pub engines: Vec<String>,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|(study, rows)| format!("{study} {rows}"))
            .collect();
        write!(
            f,
            "report = {}; rows: {}",
            self.engines.join(" = "),
            rows.join(", ")
        )
    }
}

/// Compares all accounts of recordings: of one, or of several hosts' together.
pub fn compare(
    cache: &Cache,
    agent: &Path,
    recordings: &[&Path],
    engines: Engines,
) -> Result<Compared> {
    let recording = *recordings.first().context("no recording")?;
    let folder = recording.with_extension("parquet.d");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("could not clear {}", folder.display()))?;
    }
    command::output(
        Command::new(agent)
            .args(["export", "parquet"])
            .arg(&folder)
            .args(recordings),
    )?;
    let duckdb = python::with(cache, &["duckdb==2.0.0"])?;
    let mut accounts = vec![ask(&duckdb, BY_DUCKDB, recording, &folder)?];
    if recordings.len() == 1 {
        accounts.push(ask(Path::new("python3"), BY_SQLITE, recording, &folder)?);
    }
    if engines == Engines::Fleet {
        let spark = python::with(cache, &["pyspark==4.3.0"])?;
        accounts.push(command::step("asking a Spark cluster", || {
            ask(&spark, BY_SPARK, recording, &folder)
        })?);
    }
    let (_, first) = accounts.first().context("nobody was asked")?;
    let ours = report(agent, recordings, first.keys())?;
    let mut compared = Compared::default();
    for (engine, said) in &accounts {
        ensure!(
            said.keys().eq(ours.keys()),
            "{engine} has other studies: {:?}",
            said.keys()
        );
        for (study, rows) in said {
            if let Some(difference) = difference(&ours[study], rows) {
                bail!("{study}: report and {engine} differ: {difference}");
            }
        }
        compared.engines.push(engine.clone());
    }
    compared.rows = ours
        .iter()
        .map(|(study, rows)| (study.clone(), rows.len()))
        .collect();
    Ok(compared)
}

/// Runs one of the scripts.
fn ask(python: &Path, script: &str, recording: &Path, folder: &Path) -> Result<(String, Said)> {
    let mut asked = Command::new(python);
    let text = command::output(asked.args(["-c", script]).args([recording, folder]))?;
    // Engines are talkative; the answer is the last line.
    let line = text.lines().next_back().unwrap_or_default();
    let answer: Value = serde_json::from_str(line).context("the answer is no JSON")?;
    let engine = answer["engine"].as_str().context("no engine")?.to_owned();
    let said = answer["studies"].as_object().context("no studies")?;
    Ok((
        engine,
        said.iter()
            .map(|(study, rows)| (study.clone(), sorted(rows)))
            .collect(),
    ))
}

fn report<'a>(
    agent: &Path,
    recordings: &[&Path],
    studies: impl Iterator<Item = &'a String>,
) -> Result<Said> {
    studies
        .map(|study| {
            let mut command = Command::new(agent);
            command
                .args(["report", study])
                .args(recordings)
                .args(["-o", "json"]);
            let text = command::output(&mut command)?;
            let answer: Value = serde_json::from_str(&text).context("report says no JSON")?;
            Ok((study.clone(), sorted(&answer["rows"])))
        })
        .collect()
}

fn sorted(rows: &Value) -> Vec<String> {
    // Objects have their keys in order here, so equal rows are equal texts.
    let mut rows: Vec<String> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    rows.sort();
    rows
}

/// The first rows that only one has.
fn difference(ours: &[String], theirs: &[String]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let only = |one: &[String], other: &[String]| {
        let row = one.iter().find(|row| !other.contains(row));
        row.cloned().unwrap_or_else(|| "nothing more".to_owned())
    };
    Some(format!(
        "{} rows with {}, {} rows with {}",
        ours.len(),
        only(ours, theirs),
        theirs.len(),
        only(theirs, ours)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_in_any_order_of_rows_and_of_keys() {
        let one: Value = serde_json::from_str(r#"[{"a":1,"b":null},{"a":2,"b":"x"}]"#).unwrap();
        let other: Value = serde_json::from_str(r#"[{"b":"x","a":2},{"b":null,"a":1}]"#).unwrap();
        assert_eq!(difference(&sorted(&one), &sorted(&other)), None);
        let wrong: Value = serde_json::from_str(r#"[{"b":"x","a":2},{"b":null,"a":3}]"#).unwrap();
        let difference = difference(&sorted(&one), &sorted(&wrong)).unwrap();
        assert!(difference.contains(r#"{"a":1,"b":null}"#), "{difference}");
        assert!(difference.contains(r#"{"a":3,"b":null}"#), "{difference}");
    }
}
