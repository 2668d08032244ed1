//! What becomes of a datagram that was sent.

use std::{fs, os::fd::AsFd as _};

use anyhow::{Context as _, Result};

use crate::{
    pipe::until,
    procfs::{enter_cgroup, remove_cgroup},
    raw::socket,
    receiver::{Behaviour, Receiver},
    stage::{Outgoing, Stage, datagram_socket, expect_sent},
    truth::Fate,
};

/// So many datagrams fit into a queue (`net.unix.max_dgram_qlen` is 10 and counts one more).
const AT_ONCE: usize = 11;

/// Sends one datagram that has this fate.
fn send_to_fate(stage: &mut Stage, receiver: &Receiver, fate: Fate) -> Result<()> {
    let socket = datagram_socket()?;
    let payload = stage.payload(45);
    let outgoing = Outgoing::to(receiver, &socket, &payload).becomes(fate);
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, &receiver.address, 0)
    })?;
    expect_sent(sent, payload.len())
}

pub fn a_filter_that_drops_all_is_told_from_a_delivery(stage: &mut Stage) -> Result<()> {
    let drops = Behaviour {
        keeps: Some(0),
        ..Behaviour::DEFAULT
    };
    let receiver = stage.receiver_that(drops)?;
    send_to_fate(stage, &receiver, Fate::Filtered)?;
    stage.stop(receiver)
}

pub fn a_filter_that_trims_is_shown(stage: &mut Stage) -> Result<()> {
    let trims = Behaviour {
        keeps: Some(5),
        ..Behaviour::DEFAULT
    };
    let mut receiver = stage.receiver_that(trims)?;
    send_to_fate(stage, &receiver, Fate::Trimmed(5))?;
    receiver.wait(1)?;
    stage.stop(receiver)
}

pub fn what_nobody_reads_is_destroyed_with_its_receiver(stage: &mut Stage) -> Result<()> {
    let receiver = stage.receiver_that(Behaviour::HOLDS)?;
    for _ in 0..3 {
        send_to_fate(stage, &receiver, Fate::Destroyed)?;
    }
    stage.stop(receiver)
}

/// Each of them gets more at once than the kernel side has places for, and every other one is closed with all of
/// it unread; the next one is likely to be where the last one was.
pub fn receivers_that_come_and_go_leave_nothing_to_each_other(stage: &mut Stage) -> Result<()> {
    for round in 0..8 {
        let mut receivers = Vec::new();
        for one_of_two in ["one", "other"] {
            let dir = format!("{round}-{one_of_two}");
            fs::create_dir(stage.dir.join(&dir))?;
            let path = stage.path(&format!("{dir}/notify.sock"));
            receivers.push(stage.receiver_at(&path, Behaviour::HOLDS)?);
        }
        let is_read = round % 2 == 0;
        let fate = if is_read {
            Fate::Delivered
        } else {
            Fate::Destroyed
        };
        for _ in 0..AT_ONCE {
            for receiver in &receivers {
                send_to_fate(stage, receiver, fate)?;
            }
        }
        for mut receiver in receivers {
            if is_read {
                receiver.go()?;
                receiver.wait(AT_ONCE)?;
            }
            stage.stop(receiver)?;
        }
    }
    Ok(())
}

pub fn to_peek_is_not_to_read(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour {
        peeks: true,
        ..Behaviour::DEFAULT
    })?;
    let socket = datagram_socket()?;
    for length in [46, 0, 47] {
        let payload = stage.payload(length);
        stage.send_to(&receiver, &socket, &payload)?;
    }
    receiver.wait(3)?;
    stage.stop(receiver)
}

pub fn a_receiver_that_does_not_ask_is_told_nothing(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour {
        is_told: false,
        ..Behaviour::DEFAULT
    })?;
    send_to_fate(stage, &receiver, Fate::Delivered)?;
    receiver.wait(1)?;
    stage.stop(receiver)
}

/// Sends from a cgroup of the sender's own, and says whether the sender will be there.
fn send_and_exit(
    stage: &mut Stage,
    receiver: &Receiver,
    cgroup: &str,
    is_present: bool,
) -> Result<()> {
    enter_cgroup(cgroup)?;
    stage.look_at_self()?;
    let socket = datagram_socket()?;
    let payload = stage.payload(80);
    let outgoing = Outgoing::to(receiver, &socket, &payload).sender_present(Some(is_present));
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, &receiver.address, 0)
    })?;
    expect_sent(sent, payload.len())
}

pub fn a_sender_reaped_before_the_dequeue_is_not_present(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour::HOLDS)?;
    let cgroup = format!("{}/short-lived.service", stage.cgroup);
    let child = stage.child(|stage| send_and_exit(stage, &receiver, &cgroup, false))?;
    stage.join(child)?;
    until("the cgroup to be removed", || {
        Ok(remove_cgroup(&cgroup).ok())
    })?;
    receiver.go()?;
    receiver.wait(1)?;
    stage.stop(receiver)
}

pub fn a_zombie_is_still_present(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour::HOLDS)?;
    let cgroup = format!("{}/undead.service", stage.cgroup);
    let mut child = stage.child(|stage| send_and_exit(stage, &receiver, &cgroup, true))?;
    stage.keep_record(&mut child)?;
    child.wait_exited()?;
    receiver.go()?;
    receiver.wait(1)?;
    child.reap().context("the zombie")?;
    stage.stop(receiver)
}
