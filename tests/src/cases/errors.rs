//! Calls that fail, each with its error.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};

use crate::{
    plan::Plan,
    raw::{
        self,
        memory::Pages,
        socket::{self, Kind},
    },
    receiver::{Behaviour, Receiver},
    stage::{Outgoing, Stage, datagram_socket, expect_error},
    truth::{Fate, Truth},
    verify::{Pair, Problems},
};

/// Fills a receiver's queue without waiting, up to and with the refusal; how many it took.
pub fn fill(stage: &mut Stage, receiver: &Receiver) -> Result<usize> {
    let socket = datagram_socket()?;
    for count in 0..10_000 {
        let payload = stage.payload(64);
        let outgoing = Outgoing::to(receiver, &socket, &payload);
        let sent = stage.send(outgoing, || {
            let to = &receiver.address;
            socket::send_to(socket.as_fd(), &payload, to, libc::MSG_DONTWAIT)
        })?;
        if sent.is_err() {
            expect_error(sent, libc::EAGAIN)?;
            return Ok(count);
        }
    }
    anyhow::bail!("the queue is never full")
}

pub fn a_full_queue_is_eagain(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour::HOLDS)?;
    let queued = fill(stage, &receiver)?;
    receiver.go()?;
    receiver.wait(queued)?;
    stage.stop(receiver)
}

/// The first finds the queue empty, the next one finds one, and so on; then they leave.
pub fn queue_lengths(truth: &Truth, pairs: &[Pair<'_>], plan: Plan, problems: &mut Problems) {
    let queued = truth
        .sends
        .iter()
        .filter(|send| send.fate == Fate::Delivered)
        .count();
    for ((_, datagram), before) in pairs.iter().zip(0_u32..) {
        let found = datagram
            .receiver
            .as_ref()
            .and_then(|receiver| receiver.queue_length);
        if plan.sees_senders() {
            problems.unless_equal("queue_length", found, Some(before));
        }
        if datagram.delivery.state == "delivered" {
            let left = queued.checked_sub(before as usize + 1);
            let shown = datagram.delivery.left_in_queue.map(|left| left as usize);
            problems.unless_equal("left_in_queue", shown, left);
        }
    }
}

/// Sends to where nobody receives.
fn send_in_vain(stage: &mut Stage, name: &[u8], errno: i32) -> Result<()> {
    let socket = datagram_socket()?;
    let payload = stage.payload(70);
    let outgoing = Outgoing::to_nobody(name, &socket, &payload);
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, name, 0)
    })?;
    expect_error(sent, errno)
}

/// A socket's path that is left behind.
pub fn deserted(stage: &Stage, name: &str) -> Result<Vec<u8>> {
    let name = stage.path(name);
    socket::bind(datagram_socket()?.as_fd(), &name).context("could not bind")?;
    Ok(name)
}

pub fn nobody_there_is_enoent_or_econnrefused(stage: &mut Stage) -> Result<()> {
    let nowhere = stage.path("nowhere-notify/notify.sock");
    send_in_vain(stage, &nowhere, libc::ENOENT)?;
    let refusing = deserted(stage, "notify.sock")?;
    send_in_vain(stage, &refusing, libc::ECONNREFUSED)?;
    let unbound = stage.abstract_name(b"notify.sock");
    send_in_vain(stage, &unbound, libc::ECONNREFUSED)
}

pub fn a_forbidden_socket_is_eacces(stage: &mut Stage) -> Result<()> {
    // As it was bound, only its owner may write to it.
    let receiver = stage.receiver()?;
    let child = stage.child(|stage| {
        raw::process::become_user(1000).context("could not become another user")?;
        stage.look_at_self()?;
        send_in_vain(stage, &receiver.address, libc::EACCES)
    })?;
    stage.join(child)?;
    stage.stop(receiver)
}

pub fn a_socket_of_another_type_is_eprototype(stage: &mut Stage) -> Result<()> {
    let stream = socket::socket(Kind::Stream)?;
    let name = stage.path("notify.sock");
    socket::bind(stream.as_fd(), &name)?;
    socket::listen(stream.as_fd())?;
    send_in_vain(stage, &name, libc::EPROTOTYPE)
}

pub fn failed_connects_are_shown(stage: &mut Stage) -> Result<()> {
    let nowhere = stage.path("nowhere/notify.sock");
    let refusing = deserted(stage, "notify.sock")?;
    for (name, errno) in [
        (nowhere, libc::ENOENT),
        (refusing.clone(), libc::ECONNREFUSED),
    ] {
        let found = stage.connect_in_vain(&datagram_socket()?, &name)?;
        ensure!(found == errno, "error {found} instead of {errno}");
    }
    let child = stage.child(|stage| {
        raw::process::become_user(1000).context("could not become another user")?;
        stage.look_at_self()?;
        let found = stage.connect_in_vain(&datagram_socket()?, &refusing)?;
        ensure!(found == libc::EACCES, "error {found} instead of EACCES");
        Ok(())
    })?;
    stage.join(child)
}

pub fn memory_that_cannot_be_read_is_efault_and_nothing_was_sent(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let socket = datagram_socket()?;
    let payload = stage.payload(4096);
    let mut pages = Pages::new(2)?;
    pages.bytes_mut()[..4096].copy_from_slice(&payload);
    pages.forbid_last()?;
    let half = &pages.bytes()[..5000];
    let outgoing = Outgoing::to_nobody(&receiver.address, &socket, &[0; 5000]).never_copied();
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), half, &receiver.address, 0)
    })?;
    expect_error(sent, libc::EFAULT)?;
    // What comes after it is not disturbed by it.
    stage.send_to(&receiver, &socket, &payload)?;
    receiver.wait(1)?;
    stage.stop(receiver)
}

pub fn a_datagram_that_never_fits_is_emsgsize(stage: &mut Stage) -> Result<()> {
    let receiver = stage.receiver()?;
    let socket = datagram_socket()?;
    let payload = vec![b'x'; 4_000_000];
    let outgoing = Outgoing::to_nobody(&receiver.address, &socket, &payload).never_copied();
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, &receiver.address, 0)
    })?;
    expect_error(sent, libc::EMSGSIZE)?;
    stage.stop(receiver)
}
