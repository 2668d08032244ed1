//! An agent's beginning and end.

use std::{
    os::fd::AsFd as _,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Alone, selection::compare};
use crate::{
    need::Home,
    pipe::{pipe, until},
    play::{Playing, play, this_program},
    raw::{
        bpf::{self, Kind},
        process::Signal,
        socket,
    },
    receiver::Behaviour,
    shown::Text,
    stage::{Outgoing, Stage, datagram_socket, expect_error},
    tracer::Agent,
};

/// A receiver for one datagram of somebody else.
pub fn one_listener(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_at(&stage.path("notify.sock"), Behaviour::DEFAULT)?;
    stage.gate(&[])?;
    receiver.wait(1)?;
    stage.stop(receiver)
}

/// Five datagrams that arrive, and one that doesn't.
pub fn five_datagrams(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    stage.gate(&[])?;
    let socket = datagram_socket()?;
    for number in 1..=5 {
        let payload = stage.payload(40 * number);
        stage.send_to(&receiver, &socket, &payload)?;
        receiver.wait(number)?;
    }
    let nowhere = stage.path("nowhere/notify.sock");
    let payload = stage.payload(33);
    let outgoing = Outgoing::to_nobody(&nowhere, &socket, &payload);
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, &nowhere, 0)
    })?;
    expect_error(sent, libc::ENOENT)?;
    stage.stop(receiver)
}

fn played(alone: &Alone<'_>) -> Result<Playing> {
    let mut playing = play("five_datagrams", alone.root)?;
    playing.ready()?;
    playing.go()?;
    Ok(playing)
}

pub fn a_command_is_traced_from_its_start_and_its_exit_code_passed_on(
    alone: &Alone<'_>,
) -> Result<()> {
    const TEXT: &str = "READY=1\nSTATUS=the first thing it does";
    let mut playing = play("one_listener", alone.root)?;
    playing.ready()?;
    playing.go()?;
    let to = format!("{}/notify.sock", playing.dir_text());
    let program = std::env::current_exe().context("no path of this program")?;
    let program = program.to_str().context("an odd path")?;
    let agent = alone
        .agents
        .spawn(&["--", program, "send", &to, TEXT, "7"])?;
    let pid = agent.pid();
    let ended = agent.ended()?;
    ensure!(
        ended.code() == Some(7),
        "it ended with {}: {}",
        ended.status,
        ended.complaints
    );
    playing.finish()?;
    let shown = crate::shown::Shown::read(&ended.said)?;
    ensure!(shown.summary.is_some(), "it ended without a summary");
    ensure!(
        shown.datagrams.len() == 1,
        "{} datagrams are shown",
        shown.datagrams.len()
    );
    let datagram = &shown.datagrams[0];
    let payload = datagram.payload.as_ref().map(Text::bytes);
    ensure!(
        payload.as_deref() == Some(TEXT.as_bytes()),
        "the payload is {payload:?}"
    );
    let parent = datagram
        .sender
        .as_ref()
        .and_then(|sender| sender.parent_pid);
    ensure!(
        parent == Some(pid),
        "the sender's parent is {parent:?}, not the agent {pid}"
    );
    Ok(())
}

pub fn count_ends_the_trace(alone: &Alone<'_>) -> Result<()> {
    let agent = alone.agents.start(&["--count", "3"])?;
    played(alone)?.finish()?;
    let shown = agent.ended()?.shown()?;
    let count = shown.datagrams.len();
    ensure!(count == 3, "{count} datagrams are shown");
    let counted = shown.summary.map(|summary| summary.notifications);
    ensure!(counted == Some(3), "the summary counts {counted:?}");
    Ok(())
}

pub fn for_ends_the_trace(alone: &Alone<'_>) -> Result<()> {
    let agent = alone.agents.start(&["--for", "1500ms"])?;
    let start = Instant::now();
    let ended = agent.ended()?;
    let took = start.elapsed();
    ended.shown()?;
    ensure!(
        took > Duration::from_millis(1000),
        "it ended after {took:?}"
    );
    ensure!(took < Duration::from_secs(20), "it ended after {took:?}");
    Ok(())
}

pub fn an_interrupt_ends_the_trace_with_a_summary(alone: &Alone<'_>) -> Result<()> {
    let agent = alone.agents.start(&[])?;
    let playing = played(alone)?;
    let dir = playing.dir_text();
    let truth = playing.finish()?;
    agent.signal(Signal::Interrupt)?;
    compare(alone, &truth, &truth, &dir, &agent.ended()?.shown()?)
}

pub fn a_reader_that_goes_away_is_a_success(alone: &Alone<'_>) -> Result<()> {
    let (mut lines, output) = pipe()?;
    let mut agent = alone
        .agents
        .command(&[])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .context("could not start the agent")?;
    let session = lines.next("waiting for the session")?;
    ensure!(
        session.contains("\"session\""),
        "the first line is {session}"
    );
    drop(lines);
    played(alone)?.finish()?;
    let status =
        until("the agent to end", || Ok(agent.try_wait()?)).inspect_err(|_| drop(agent.kill()))?;
    let complaints = agent.stderr.take().map(std::io::read_to_string);
    let complaints = complaints.transpose()?.unwrap_or_default();
    ensure!(status.success(), "it ended with {status}: {complaints}");
    ensure!(complaints.is_empty(), "it complains: {complaints}");
    Ok(())
}

pub fn a_killed_agent_leaves_nothing_behind(alone: &Alone<'_>) -> Result<()> {
    let kinds = [Kind::Program, Kind::Map, Kind::Link];
    // Those of agents before may be on their way out.
    let mut before = None;
    let before = until("programs of before to be gone", || {
        let now = kinds.map(bpf::objects);
        let now: Vec<_> = now.into_iter().collect::<Result<_, _>>()?;
        let is_steady = before.as_ref() == Some(&now)
            && !now
                .iter()
                .any(|objects| objects.values().any(|name| name == "send_entry"));
        before = Some(now.clone());
        Ok(is_steady.then_some(now))
    })?;
    let agent: Agent = alone.agents.start(&[])?;
    for (kind, before) in kinds.into_iter().zip(&before).take(2) {
        let more = bpf::objects(kind)?
            .into_keys()
            .any(|id| !before.contains_key(&id));
        ensure!(more, "the agent has no object of kind {kind:?}");
    }
    agent.signal(Signal::Kill)?;
    let ended = agent.ended()?;
    ensure!(ended.code().is_none(), "it ended with {}", ended.status);
    let mut left = String::new();
    let gone = until("everything to be gone", || {
        left.clear();
        for (kind, before) in kinds.into_iter().zip(&before) {
            for (id, name) in bpf::objects(kind)? {
                if !before.contains_key(&id) {
                    left.push_str(&format!(" {kind:?} {id} {name}"));
                }
            }
        }
        Ok(left.is_empty().then_some(()))
    });
    gone.with_context(|| format!("left behind:{left}"))?;
    // Senders don't notice, and the next agent isn't disturbed.
    let agent = alone.agents.start(&[])?;
    let playing = played(alone)?;
    let dir = playing.dir_text();
    let truth = playing.finish()?;
    compare(alone, &truth, &truth, &dir, &agent.stop()?)
}

/// The agent, at a place where every user may start it.
pub(super) fn agent_for_nobody(alone: &Alone<'_>) -> Result<String> {
    let mut path = alone.agents.path().to_owned();
    if alone.home == Home::Native {
        // Another user may not be allowed to look into the folder that the agent was built in.
        path = alone.root.join("notify-trace");
        std::fs::copy(alone.agents.path(), &path).context("could not copy the agent")?;
    }
    Ok(path.to_str().context("an odd path")?.to_owned())
}

pub fn without_privileges_the_missing_capability_is_named(alone: &Alone<'_>) -> Result<()> {
    run_as_nobody(&agent_for_nobody(alone)?)
}

fn run_as_nobody(agent: &str) -> Result<()> {
    let mut command = this_program();
    command.args(["as-user", "65534", agent, "trace", "-o", "json"]);
    let ended = Agent::spawn(&mut command)?.ended()?;
    let complaints = ended.complaints.trim();
    ensure!(
        ended.code() == Some(3),
        "it ended with {}: {complaints}",
        ended.status
    );
    ensure!(
        complaints.contains("CAP_"),
        "it names no capability: {complaints}"
    );
    ensure!(ended.said.is_empty(), "it says {:?}", ended.said);
    Ok(())
}
