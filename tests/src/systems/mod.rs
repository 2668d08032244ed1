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

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use self::scenario::{Ended, Scenario};
use crate::systemd;

const SCENARIOS: &str = "/run/notify-trace/systems";

/// Runs all scenarios, or those whose names contain what the kernel command line asks for.
pub fn run() -> ExitCode {
    match all() {
        Ok((tests, failed, skipped)) => {
            if failed == 0 {
                println!("init: success tests={tests} skipped={skipped}");
                ExitCode::SUCCESS
            } else {
                println!("init: failure tests={tests} failed={failed} skipped={skipped}");
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            println!("init: failure {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<(usize, usize, usize)> {
    // Whatever else was written to the console stands on a line of its own.
    println!();
    let only = only();
    // Whatever is still starting would come and go meanwhile.
    let _ = Command::new("systemctl")
        .args(["is-system-running", "--wait"])
        .output();
    let (mut tests, mut failed, mut skipped) = (0, 0, 0);
    for folder in folders(Path::new(SCENARIOS))? {
        let scenario = Scenario::read(&folder)?;
        if only
            .as_ref()
            .is_some_and(|only| !scenario.name.contains(&**only))
        {
            continue;
        }
        tests += 1;
        let name = scenario.name.clone();
        match scenario.play(only.is_some()) {
            Ok(Ended::AsExpected) => println!("test systems::{name} ... ok"),
            Ok(Ended::Skipped(why)) => {
                skipped += 1;
                println!("test systems::{name} ... skipped: {why}");
            }
            Err(error) => {
                failed += 1;
                println!("test systems::{name} ... FAILED");
                for line in format!("{error:#}").lines() {
                    println!("    {line}");
                }
            }
        }
    }
    if only.is_none() {
        tests += 1;
        match systemd::sockets() {
            Ok(()) => println!("test systems::sockets ... ok"),
            Err(error) => {
                failed += 1;
                println!("test systems::sockets ... FAILED");
                println!("    {error:#}");
            }
        }
    }
    Ok((tests, failed, skipped))
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
