//! CPUs that go and come back.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{Alone, selection::compare};
use crate::{
    pipe::until,
    play::play,
    raw::process::run_on_cpu,
    stage::{Stage, datagram_socket},
    tracer::Agent,
};

const SWITCH: &str = "/sys/devices/system/cpu/cpu1/online";

/// From each CPU that lets itself be used, three datagrams.
pub fn on_every_cpu(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let socket = datagram_socket()?;
    let mut sent = 0;
    for cpu in 0..64 {
        // One that is offline, or that there isn't.
        if run_on_cpu(cpu).is_err() {
            continue;
        }
        for length in [30, 40, 50] {
            let payload = stage.payload(length);
            stage.send_to(&receiver, &socket, &payload)?;
            sent += 1;
            receiver.wait(sent)?;
        }
    }
    stage.mark("sent", sent as u64);
    stage.stop(receiver)
}

fn switch(on: bool) -> Result<()> {
    let word = if on { "1" } else { "0" };
    fs::write(SWITCH, word).with_context(|| format!("could not write {word} to {SWITCH}"))?;
    until("the CPU to be switched", || {
        Ok((fs::read_to_string(SWITCH)?.trim() == word).then_some(()))
    })
}

/// How many descriptors of perf events the agent holds: its rings among them.
fn perf_events(agent: &Agent) -> Result<usize> {
    let folder = format!("/proc/{}/fd", agent.pid());
    let entries = fs::read_dir(&folder).with_context(|| format!("could not read {folder}"))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|link| link.to_string_lossy().contains("perf_event"))
        .count())
}

pub fn a_cpu_that_goes_and_comes_back_loses_nothing(alone: &Alone<'_>) -> Result<()> {
    let agent = alone.agents.start(&[])?;
    let result = go_and_come_back(alone, agent);
    // Whatever happened, the cases after this one want all CPUs.
    switch(true)?;
    result
}

fn go_and_come_back(alone: &Alone<'_>, agent: Agent) -> Result<()> {
    let mut all = Vec::new();
    let with_all_cpus = perf_events(&agent)?;
    for is_on in [true, false, true] {
        switch(is_on)?;
        // What happens on a CPU before it has a ring is counted as lost; here nothing may be.
        until("the agent to follow", || {
            let has_all = perf_events(&agent)? == with_all_cpus;
            Ok((has_all == is_on).then_some(()))
        })?;
        let playing = play("on_every_cpu", alone.root)?;
        let dir = playing.dir_text();
        all.push((playing.finish()?, dir));
    }
    let [before, without, after] = [0, 1, 2].map(|at: usize| all[at].0.mark("sent"));
    ensure!(
        before == after && without + 3 == before,
        "{before}, {without}, {after} were sent"
    );
    let shown = agent.stop()?;
    let mut counted = 0;
    for (truth, dir) in &all {
        // Each alone, for `compare` wants nothing of others to be there.
        let mut own = shown.clone();
        own.datagrams.retain(|datagram| {
            datagram
                .sender
                .as_ref()
                .is_some_and(|sender| truth.pids.contains(&sender.pid))
        });
        counted += own.datagrams.len();
        compare(alone, truth, truth, dir, &own)?;
    }
    ensure!(
        counted == shown.datagrams.len(),
        "{} are shown",
        shown.datagrams.len()
    );
    let losses = shown.summary.context("no summary")?.losses;
    ensure!(losses.of_records() == 0, "{losses:?}");
    Ok(())
}
