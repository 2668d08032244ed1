//! Senders that wait for room in a receiver's queue.

use std::os::fd::AsFd as _;

use anyhow::Result;

use super::errors::fill;
use crate::{
    plan::Plan,
    raw::{self, socket},
    receiver::{Behaviour, Receiver},
    stage::{Outgoing, Stage, datagram_socket, expect_sent},
    truth::Truth,
    verify::{Pair, Problems},
};

/// Sends one datagram to a receiver whose queue is full.
fn wait_and_send(stage: &mut Stage, receiver: &Receiver, is_one_of_many: bool) -> Result<()> {
    let socket = datagram_socket()?;
    let payload = stage.payload(64);
    let outgoing = Outgoing::to(receiver, &socket, &payload).blocked();
    let outgoing = if is_one_of_many {
        outgoing.contended()
    } else {
        outgoing
    };
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, &receiver.address, 0)
    })?;
    expect_sent(sent, payload.len())
}

pub fn a_blocked_sender_is_shown_with_the_time_it_waited(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour::HOLDS)?;
    let queued = fill(stage, &receiver)?;
    let child = stage.child(|stage| wait_and_send(stage, &receiver, false))?;
    child.wait_blocked_in(libc::SYS_sendto)?;
    stage.mark("released_ns", raw::process::monotonic_ns());
    receiver.go()?;
    receiver.wait(queued + 1)?;
    stage.join(child)?;
    stage.stop(receiver)
}

/// It entered the call before there was room, and was queued only after.
pub fn waited_long(truth: &Truth, pairs: &[Pair<'_>], plan: Plan, problems: &mut Problems) {
    let released = truth.mark("released_ns");
    for (index, datagram) in pairs {
        if truth.sends[*index].is_blocked && plan.sees_senders() {
            let timing = datagram.timing;
            let before = timing.entry_ns.is_some_and(|entered| entered < released);
            let after = timing.queued_ns.is_some_and(|queued| queued > released);
            problems.unless_equal(
                "entered before, queued after",
                (before, after),
                (true, true),
            );
        }
    }
}

pub fn twenty_blocked_senders_hide_nobody(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour::HOLDS)?;
    let other = stage.path("other-notify/notify.sock");
    std::fs::create_dir(stage.dir.join("other-notify"))?;
    let mut other = stage.receiver_at(&other, Behaviour::DEFAULT)?;
    let queued = fill(stage, &receiver)?;
    let mut children = Vec::new();
    for _ in 0..20 {
        children.push(stage.child(|stage| wait_and_send(stage, &receiver, true))?);
    }
    for child in &children {
        child.wait_blocked_in(libc::SYS_sendto)?;
    }
    let socket = datagram_socket()?;
    let payload = stage.payload(90);
    let outgoing = Outgoing::to(&other, &socket, &payload).contended();
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, &other.address, 0)
    })?;
    expect_sent(sent, payload.len())?;
    other.wait(1)?;
    receiver.go()?;
    receiver.wait(queued + children.len())?;
    for child in children {
        stage.join(child)?;
    }
    stage.stop(other)?;
    stage.stop(receiver)
}
