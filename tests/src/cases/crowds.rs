//! Many datagrams.

use std::{
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Alone, calls::deliver, selection::compare};
use crate::{
    play::play,
    raw::{
        process::Signal,
        socket::{self, Kind},
    },
    shown::Shown,
    stage::{Outgoing, Stage, datagram_socket, expect_sent},
    whole,
};

pub fn a_thousand_in_bursts_by_four_are_all_shown(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let mut children = Vec::new();
    for _ in 0..4 {
        children.push(stage.child(|stage| {
            let socket = datagram_socket()?;
            for _ in 0..250 {
                let payload = stage.payload(64);
                let outgoing = Outgoing::to(&receiver, &socket, &payload).contended();
                let sent = stage.send(outgoing, || {
                    socket::send_to(socket.as_fd(), &payload, &receiver.address, 0)
                })?;
                expect_sent(sent, payload.len())?;
            }
            Ok(())
        })?);
    }
    receiver.wait(1000)?;
    for child in children {
        stage.join(child)?;
    }
    stage.stop(receiver)
}

/// Six thousand datagrams in three seconds, or as fast as this machine can.
pub fn six_thousand_paced(stage: &mut Stage) -> Result<()> {
    const COUNT: u32 = 6000;
    deliver(stage, COUNT as usize, |stage, receiver, socket| {
        let start = Instant::now();
        for number in 0..COUNT {
            let due = start + Duration::from_micros(500) * number;
            // The pace, not a wait for something to happen.
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let payload = stage.payload(32);
            stage.send_to(receiver, socket, &payload)?;
        }
        stage.mark("milliseconds", u64::try_from(start.elapsed().as_millis())?);
        Ok(())
    })
}

pub fn two_thousand_a_second_are_all_shown(alone: &Alone<'_>) -> Result<()> {
    let agent = alone.agents.start(&[])?;
    let playing = play("six_thousand_paced", alone.root)?;
    let dir = playing.dir_text();
    let truth = playing.finish()?;
    let cost = agent.cost();
    let took = truth.mark("milliseconds");
    let shown = agent.stop()?;
    compare(alone, &truth, &truth, &dir, &shown)
        .and_then(|()| {
            let losses = shown.summary.context("no summary")?.losses;
            ensure!(losses.of_records() == 0, "{losses:?}");
            Ok(())
        })
        .with_context(|| format!("they were sent in {took} ms; {cost}"))
}

/// How many datagrams each of four processes sends in the flood. The driver holds all that an agent says of them: with
/// twice as many, and one that lost few, it had 860 MB when its guest of 1 GiB had no more.
const FLOOD: u64 = 25_000;

/// Nobody writes down a flood: what was sent is counted, and so is what was read.
pub fn flood(stage: &mut Stage) -> Result<()> {
    let server = socket::socket(Kind::Datagram)?;
    let name = stage.path("notify.sock");
    socket::bind(server.as_fd(), &name).context("could not bind")?;
    let mut children = Vec::new();
    for _ in 0..4 {
        children.push(stage.child(|stage| {
            let socket = datagram_socket()?;
            let payload = stage.payload(64);
            for _ in 0..FLOOD {
                socket::send_to(socket.as_fd(), &payload, &name, 0)?;
            }
            Ok(())
        })?);
    }
    let mut buffer = [0; 100];
    for _ in 0..4 * FLOOD {
        socket::receive(server.as_fd(), &mut buffer, 0)?;
    }
    for child in children {
        stage.join(child)?;
    }
    Ok(())
}

pub fn a_flood_is_shown_or_counted_as_lost(alone: &Alone<'_>) -> Result<()> {
    let agent = alone
        .agents
        .start(&["--ring-size", "64K", "--fail-on-loss"])?;
    let playing = play("flood", alone.root)?;
    playing.finish()?;
    agent.signal(Signal::Terminate)?;
    let mut ended = agent.ended()?;
    let shown = Shown::read(std::mem::take(&mut ended.said))?;
    let summary = shown.summary.as_ref().context("no summary")?;
    let lost = summary.losses.ring_full + summary.losses.no_ring;
    let missing = summary
        .records_attempted
        .checked_sub(summary.records_received);
    ensure!(
        missing == Some(lost),
        "{missing:?} records are missing, {lost} counted as lost"
    );
    ensure!(
        summary.notifications <= 4 * FLOOD,
        "{} notifications of {} datagrams",
        summary.notifications,
        4 * FLOOD
    );
    // Each datagram is shown or at least one record of it is counted as lost.
    let hidden = 4 * FLOOD - summary.notifications;
    let all = summary.losses.of_records() + summary.losses.programs_skipped.unwrap_or(0);
    ensure!(
        hidden <= all,
        "{hidden} datagrams are not shown, {all} losses are counted"
    );
    let code = if all > 0 { 5 } else { 0 };
    ensure!(
        ended.code() == Some(code),
        "{all} losses, but it ended with {}",
        ended.status
    );
    let problems = whole::summary(&shown, alone.plan);
    ensure!(problems.0.is_empty(), "{}", problems.0.join("; "));
    Ok(())
}
