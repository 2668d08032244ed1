//! A real Prometheus: scrapes what an agent would have counted of a recording, takes the alert rules, and
//! answers every question of the dashboard.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::checks::kept_recording;
use crate::{
    agent,
    cache::Cache,
    command,
    debian::{Archive, Suite},
    setup::Ready,
};

/// Whose Prometheus.
const SUITE: Suite = "trixie";
const PACKAGE: &str = "prometheus";
const ASKS: &str = include_str!("prometheus/asks.py");

/// Runs it; what it says.
pub fn check(ready: &Ready) -> Result<String> {
    let programs = programs(&ready.cache)?;
    let example = agent::example(ready, "metrics_of_recording")?;
    let (folder, recording) = kept_recording(PACKAGE)?;
    let script = folder.join("asks.py");
    fs::write(&script, ASKS).context("could not write the script")?;
    let mut python = Command::new("python3");
    python.arg(&script).arg(&programs).arg(&example);
    python.arg(&recording);
    python.arg(agent::root().join("dist")).arg(&folder);
    let said = command::output(&mut python).context("Prometheus and the metrics")?;
    ensure!(said.contains("Prometheus"), "it says: {said}");
    Ok(said.trim().to_owned())
}

/// Where `prometheus` lies: unpacked in the cache, installed nowhere.
fn programs(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.path("tools").join(format!("{PACKAGE}-{SUITE}"));
    let bin = folder.join("usr/bin");
    let fetch = || {
        let archive = Archive::of_this_system(cache)?;
        archive.update(SUITE)?;
        let stanza = archive.package(SUITE, PACKAGE)?;
        let draft = cache.draft()?;
        let unpacked = draft.path().join("unpacked");
        archive.unpack(SUITE, &stanza, draft.path(), &unpacked)?;
        draft.publish("unpacked", &folder)
    };
    cache.ensure(
        || bin.join("prometheus").is_file(),
        || command::step("fetching Prometheus", fetch),
    )?;
    Ok(bin)
}
