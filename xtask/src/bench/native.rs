//! The part that needs no kernel side: userspace alone, on this machine.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result};

use super::{
    Arguments,
    fold::AGENT,
    line::{self, Line, Measured},
};
use crate::{agent, command, setup::Ready};

/// Runs `notify-trace/benches/records.rs`, built as the agent is; all its lines, and how large the agent's
/// file is and how fast it starts.
pub fn run(ready: &Ready, arguments: &Arguments) -> Result<Vec<Line>> {
    let binaries = agent::build_release(ready, &["notify-trace", "notify-trace-tests"])?;
    let mut lines = of_file(&binaries.join("notify-trace"), arguments.rounds)?;
    if arguments.build_time || arguments.write {
        let seconds = agent::build_time(ready)?.as_secs_f64();
        lines.push(measured("build from nothing", 1, "s", seconds));
    }
    let program = agent::build_bench(ready, "notify-trace", "records")?;
    let mut bench = Command::new(program);
    bench.args(["--json", "--rounds", &arguments.rounds.to_string()]);
    let text = command::step("measuring userspace on this machine", || {
        command::output(&mut bench)
    })?;
    for line in text.lines() {
        lines.push(line::parse(line).context("the bench of the userspace side")?);
    }
    Ok(lines)
}

fn measured(what: &str, round: u32, unit: &str, value: f64) -> Line {
    Line::Measured(Measured {
        what: what.into(),
        under: AGENT.into(),
        round: round.into(),
        unit: unit.into(),
        value,
    })
}

/// The size of the agent's file, and how long `--version` takes: what comes before anything is done.
fn of_file(program: &Path, rounds: u32) -> Result<Vec<Line>> {
    let size = fs::metadata(program)
        .with_context(|| format!("could not look at {}", program.display()))?
        .len();
    let mut lines = vec![measured("program file", 1, "file_bytes", size as f64)];
    for round in 1..=rounds {
        let mut fastest_ms = f64::INFINITY;
        for _ in 0..20 {
            let begun = Instant::now();
            command::output(Command::new(program).arg("--version"))?;
            fastest_ms = fastest_ms.min(begun.elapsed().as_secs_f64() * 1e3);
        }
        lines.push(measured("start and end", round, "ms", fastest_ms));
    }
    Ok(lines)
}
