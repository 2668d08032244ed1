//! Recordings and studies: how fast, how large, how much memory, for several sizes; beside DuckDB over
//! Parquet and jq over JSON Lines.
//!
//! ```text
//! bench "recordings" ──▶ a.ntrec ──┬──▶ notify-trace report      (seconds, peak memory)
//!                                  ├─export─▶ Parquet ──▶ DuckDB (the same)
//!                                  └──▶ JSON Lines ──▶ jq        (up to a million events)
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{agent, command, python, setup::Ready};

/// jq takes minutes for more.
const MOST_FOR_JQ: u64 = 1_000_000;
const STUDIES: [&str; 3] = ["startup", "watchdog", "delivery"];
const BY_DUCKDB: &str = include_str!("duckdb_times.py");
/// What the study `delivery` asks, of JSON Lines.
const FOR_JQ: &str = r#"[inputs | select(.type == "send") | .timing
    | select(.dequeued_ns and .queued_ns) | .dequeued_ns - .queued_ns]
    | sort | [length, .[0], .[(length * 50 / 100 | ceil) - 1], .[(length * 99 / 100 | ceil) - 1], .[-1]]"#;

/// Values by what was measured, then by the number of events.
type Values = BTreeMap<String, BTreeMap<u64, String>>;

/// Measures all sizes; a table.
pub fn run(ready: &Ready, sizes: &[u64]) -> Result<String> {
    let bench = agent::build_bench(ready, "notify-trace", "recordings")?;
    let folder = agent::build_release(ready, &["notify-trace"])?;
    let agent = folder.join("notify-trace");
    let duckdb = python::with(&ready.cache, &["duckdb==2.0.0"])?;
    let work = agent::target_folder()?.join("recordings");
    let mut values = Values::new();
    let mut order = Vec::new();
    for size in sizes {
        let mut note = |what: &str, value: String| {
            if !values.contains_key(what) {
                order.push(what.to_owned());
            }
            values
                .entry(what.to_owned())
                .or_default()
                .insert(*size, value);
        };
        command::step(&format!("{size} events"), || {
            clear(&work)?;
            one(*size, &bench, &agent, &duckdb, &work, &mut note)
        })?;
    }
    clear(&work)?;
    Ok(table(sizes, &order, &values))
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("could not clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))
}

fn one(
    size: u64,
    bench: &Path,
    agent: &Path,
    duckdb: &Path,
    work: &Path,
    note: &mut dyn FnMut(&str, String),
) -> Result<()> {
    let lines = work.join("a.jsonl");
    let mut command = Command::new(bench);
    command
        .args(["--events", &size.to_string(), "--keep"])
        .arg(work);
    if size <= MOST_FOR_JQ {
        command.arg("--lines").arg(&lines);
    }
    for line in command::output(&mut command)?.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        if let [what, value, unit] = cells[..] {
            note(what, format!("{} {unit}", thousands(value)));
        }
    }
    let recording = work.join("FULL.ntrec");
    for study in STUDIES {
        let mut report = Command::new(agent);
        report.args(["report", study, "-o", "json"]).arg(&recording);
        let (seconds, mib) = measured(report)?;
        note(
            &format!("report {study}"),
            format!("{seconds:.2} s, {mib} MiB"),
        );
    }
    let parquet = work.join("parquet");
    let mut export = Command::new(agent);
    export
        .args(["export", "parquet"])
        .args([&parquet, &recording]);
    let (seconds, mib) = measured(export)?;
    note("export parquet", format!("{seconds:.2} s, {mib} MiB"));
    let bytes = bytes_below(&parquet)?;
    note(
        "bytes of an event, Parquet",
        format!("{:.1} B", ratio(bytes, size)),
    );
    for study in STUDIES {
        let mut query = Command::new(duckdb);
        query
            .args(["-c", BY_DUCKDB])
            .args([&recording, &parquet])
            .arg(study);
        let (seconds, mib) = measured(query)?;
        note(
            &format!("DuckDB {study}"),
            format!("{seconds:.2} s, {mib} MiB"),
        );
    }
    if lines.exists() {
        let mut jq = Command::new("jq");
        jq.args(["-n", FOR_JQ]).arg(&lines);
        let (seconds, mib) = measured(jq).context("jq is measured, too: install it")?;
        note("jq delivery", format!("{seconds:.2} s, {mib} MiB"));
    }
    Ok(())
}

/// Runs to the end: how many seconds it took, and the most memory that it had.
fn measured(mut command: Command) -> Result<(f64, u64)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let began = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("could not start {name}"))?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak_kib = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        peak_kib = peak_kib.max(peak(&fs::read_to_string(&status).unwrap_or_default()));
        thread::sleep(Duration::from_millis(5));
    };
    let seconds = began.elapsed().as_secs_f64();
    ensure!(ended.success(), "{name} ended with {ended}");
    Ok((seconds, peak_kib / 1024))
}

fn peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.path().is_dir() {
            bytes_below(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "one digit after the point is shown"
)]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

/// 123456.7 as 123,457.
fn thousands(value: &str) -> String {
    let Ok(number) = value.parse::<f64>() else {
        return value.to_owned();
    };
    if number < 1000.0 {
        return value.to_owned();
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn table(sizes: &[u64], order: &[String], values: &Values) -> String {
    let heads: Vec<String> = sizes
        .iter()
        .map(|size| format!("{} events", thousands(&size.to_string())))
        .collect();
    let cell =
        |what: &str, size: &u64| values[what].get(size).map_or("", String::as_str).to_owned();
    let mut text = format!("{:<30}", "measured");
    for head in &heads {
        text.push_str(&format!("  {head:>20}"));
    }
    text.push('\n');
    for what in order {
        text.push_str(&format!("{what:<30}"));
        for size in sizes {
            text.push_str(&format!("  {:>20}", cell(what, size)));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_have_commas() {
        assert_eq!(thousands("188123.4"), "188,123");
        assert_eq!(thousands("1234567"), "1,234,567");
        assert_eq!(thousands("130.1"), "130.1");
    }

    #[test]
    fn the_peak_is_read_from_the_status() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t   2048 kB\n"), 2048);
        assert_eq!(peak(""), 0);
    }

    #[test]
    fn what_was_not_measured_is_left_empty() {
        let values = Values::from([
            (
                "a".to_owned(),
                BTreeMap::from([(10, "1 s".to_owned()), (20, "2 s".to_owned())]),
            ),
            ("jq".to_owned(), BTreeMap::from([(10, "9 s".to_owned())])),
        ]);
        let text = table(&[10, 20], &["a".to_owned(), "jq".to_owned()], &values);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].ends_with("2 s") && lines[2].ends_with("9 s"),
            "{text}"
        );
    }
}
