//! In a guest with the container engines: scenarios, each a folder with a script and what the agent
//! should say of it.
//!
//! ```text
//! run (sh) ──▶ real programs ──▶ agent, since boot ──▶ slice of its trace ──▶ normal ─┐
//!                                                            └─▶ explain ──▶ verdicts ─┼─▶ expected?
//! ```
//!
//! A scenario is shell-simple: `tests/systems/README.md` says what is in its folder. Nothing here
//! knows any of them by name.

mod normal;
mod scenario;
mod table;
mod units;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};

use self::scenario::{Ended, Scenario};
use crate::{driver::Counts, systemd};

const SCENARIOS: &str = "/run/notify-trace/systems";
const RECORDING: &str = "/run/notify-trace/systems.ntrec";
const DISK: &str = "/dev/vdb";

/// Runs all scenarios, or those whose names contain what the kernel command line asks for.
pub fn run() -> ExitCode {
    match all() {
        Ok(counts) => counts.tell(),
        Err(error) => {
            println!("init: failure {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<Counts> {
    // Whatever else was written to the console stands on a line of its own.
    println!();
    let only = only();
    systemd::wait_for_boot();
    table::print_versions();
    let mut counts = Counts::default();
    for folder in folders(Path::new(SCENARIOS))? {
        let scenario = Scenario::read(&folder)?;
        if only
            .as_ref()
            .is_some_and(|only| !only.split(',').any(|part| scenario.name.contains(part)))
        {
            continue;
        }
        let name = format!("systems::{}", scenario.name);
        match scenario.play() {
            Ok(Ended::AsExpected) => counts.check(&name, Ok(())),
            Ok(Ended::Skipped(why)) => {
                counts.tests += 1;
                counts.skipped += 1;
                println!("test {name} ... skipped: {why}");
            }
            Err(error) => counts.check(&name, Err(error)),
        }
    }
    let name = "systems::unit_events_are_what_busctl_is_told";
    counts.check_saying(
        name,
        systemd::trace().and_then(|events| units::compare(&events)),
    );
    if only.is_none() {
        counts.check("systems::sockets", systemd::sockets());
    }
    counts.check("systems::the_recording_is_handed_out", hand_out());
    Ok(counts)
}

/// Ends the recording, and writes it to the second disk behind a header: the host looks for it there.
fn hand_out() -> Result<()> {
    let status = Command::new("systemctl")
        .args(["stop", "notify-trace.service"])
        .status()
        .context("could not start systemctl")?;
    ensure!(status.success(), "systemctl stop ended with {status}");
    let recording = fs::read(RECORDING).with_context(|| format!("no {RECORDING}"))?;
    let length = u64::try_from(recording.len()).context("too long")?;
    let mut disk = fs::OpenOptions::new()
        .write(true)
        .open(DISK)
        .with_context(|| format!("no {DISK}"))?;
    disk.write_all(b"NTHANDED")
        .and_then(|()| disk.write_all(&length.to_le_bytes()))
        .and_then(|()| disk.write_all(&recording))
        .and_then(|()| disk.sync_all())
        .with_context(|| format!("could not write {DISK}"))
}

/// `notify-trace.only=NAME` of the kernel command line.
fn only() -> Option<String> {
    let words = fs::read_to_string("/proc/cmdline").ok()?;
    words
        .split_whitespace()
        .find_map(|word| word.strip_prefix("notify-trace.only="))
        .map(str::to_owned)
}

/// Folders with a script, by name.
fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = fs::read_dir(of)
        .with_context(|| format!("no scenarios at {}", of.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("run").is_file())
        .collect();
    folders.sort();
    Ok(folders)
}
