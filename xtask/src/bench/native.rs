//! The part that needs no kernel side: userspace alone, on this machine.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{
    Arguments,
    line::{self, Line},
};
use crate::{agent, command, setup::Ready};

/// Runs `notify-trace/benches/records.rs`, built as the agent is; all its lines.
pub fn run(ready: &Ready, arguments: &Arguments) -> Result<Vec<Line>> {
    let program = agent::build_bench(ready, "notify-trace", "records")?;
    let mut bench = Command::new(program);
    bench.args(["--json", "--rounds", &arguments.rounds.to_string()]);
    let text = command::step("measuring userspace on this machine", || {
        command::output(&mut bench)
    })?;
    text.lines()
        .map(line::parse)
        .collect::<Result<_>>()
        .context("the bench of the userspace side")
}
