//! A real OpenTelemetry Collector: receives what an agent would have recorded, over TLS.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::checks::kept_recording;
use crate::{agent, collector, command, setup::Ready};

const ASKS: &str = include_str!("otlp/asks.py");

/// Runs it; what it says.
pub fn check(ready: &Ready, binaries: &Path) -> Result<String> {
    let program = collector::provide(&ready.cache)?;
    let example = agent::example(ready, "otlp_of_recording")?;
    let (folder, recording) = kept_recording("otlp")?;
    let script = folder.join("asks.py");
    fs::write(&script, ASKS).context("could not write the script")?;
    let mut python = Command::new("python3");
    python.arg(&script).arg(&program).arg(&example);
    python.arg(binaries.join("notify-trace"));
    python.arg(&recording).arg(&folder);
    let said = command::output(&mut python).context("the Collector and what is sent")?;
    Ok(said.trim().to_owned())
}
