//! Every way to name a receiver. What it was bound to is what counts, however the sender spells it.

use std::{
    env,
    fs::{self, File, OpenOptions},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::OpenOptionsExt as _,
    },
};

use anyhow::{Context as _, Result};

use super::calls::deliver;
use crate::{
    raw::{
        self,
        process::Namespace,
        socket::{self, Message},
    },
    receiver::{Behaviour, Receiver},
    stage::{Outgoing, Stage, datagram_socket, expect_sent},
};

/// Sends one datagram to a receiver under another name.
fn send_as(stage: &mut Stage, receiver: &Receiver, name: &[u8]) -> Result<()> {
    let socket = datagram_socket()?;
    let payload = stage.payload(120);
    let outgoing = Outgoing::to(receiver, &socket, &payload).spelled(name);
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, name, 0)
    })?;
    expect_sent(sent, payload.len())
}

pub fn an_abstract_name_with_nuls_is_shown_whole(stage: &mut Stage) -> Result<()> {
    let name = stage.abstract_name(b"a\0b\0\0/notify.sock");
    let mut receiver = stage.receiver_at(&name, Behaviour::DEFAULT)?;
    send_as(stage, &receiver, &name)?;
    receiver.wait(1)?;
    stage.stop(receiver)
}

pub fn a_sender_with_a_name_of_its_own_changes_nothing(stage: &mut Stage) -> Result<()> {
    deliver(stage, 2, |stage, receiver, socket| {
        // One that the kernel chooses, and one that looks like a notify socket itself.
        socket::bind(socket.as_fd(), &[])?;
        let payload = stage.payload(110);
        stage.send_to(receiver, socket, &payload)?;
        let other = datagram_socket()?;
        socket::bind(other.as_fd(), &stage.path("sender-notify.sock"))?;
        let payload = stage.payload(111);
        stage.send_to(receiver, &other, &payload)
    })
}

pub fn a_relative_path_finds_the_receiver(stage: &mut Stage) -> Result<()> {
    deliver(stage, 2, |stage, receiver, _| {
        env::set_current_dir(&stage.dir)?;
        send_as(stage, receiver, b"notify.sock")?;
        let dir = stage.dir.file_name().context("a folder without a name")?;
        let detour = format!("./../{}/./notify.sock", dir.to_string_lossy());
        send_as(stage, receiver, detour.as_bytes())
    })
}

pub fn a_path_through_proc_self_fd_finds_the_receiver(stage: &mut Stage) -> Result<()> {
    deliver(stage, 2, |stage, receiver, _| {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(stage.dir.join("notify.sock"))
            .context("could not open the socket's path")?;
        send_as(
            stage,
            receiver,
            format!("/proc/self/fd/{}", file.as_raw_fd()).as_bytes(),
        )?;
        let dir = File::open(&stage.dir).context("could not open the folder")?;
        let name = format!("/proc/self/fd/{}/notify.sock", dir.as_raw_fd());
        send_as(stage, receiver, name.as_bytes())
    })
}

pub fn an_alias_by_bind_mount_finds_the_receiver(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let alias = stage.dir.join("alias");
    File::create(&alias).context("no place for the alias")?;
    let child = stage.child(|stage| {
        raw::process::unshare(Namespace::Mount).context("no mount namespace")?;
        raw::process::bind_mount(&stage.dir.join("notify.sock"), &alias)
            .context("no bind mount")?;
        let name = stage.path("alias");
        send_as(stage, &receiver, &name)
    })?;
    receiver.wait(1)?;
    stage.join(child)?;
    stage.stop(receiver)
}

pub fn a_receiver_that_was_renamed_is_known_by_the_name_it_was_bound_to(
    stage: &mut Stage,
) -> Result<()> {
    deliver(stage, 1, |stage, receiver, _| {
        fs::rename(stage.dir.join("notify.sock"), stage.dir.join("moved"))?;
        let moved = stage.path("moved");
        send_as(stage, receiver, &moved)
    })
}

pub fn a_name_that_only_the_sender_uses_selects_too(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_at(&stage.path("odd"), Behaviour::DEFAULT)?;
    fs::rename(stage.dir.join("odd"), stage.dir.join("notify.sock"))?;
    let socket = datagram_socket()?;
    let (payload, name) = (stage.payload(120), stage.path("notify.sock"));
    let outgoing = Outgoing::to(&receiver, &socket, &payload)
        .spelled(&name)
        .selected_by_destination_only();
    let sent = stage.send(outgoing, || {
        socket::send_to(socket.as_fd(), &payload, &name, 0)
    })?;
    expect_sent(sent, payload.len())?;
    receiver.wait(1)?;
    stage.stop(receiver)
}

pub fn a_padded_address_is_cut_at_its_end(stage: &mut Stage) -> Result<()> {
    deliver(stage, 1, |stage, receiver, socket| {
        let payload = stage.payload(130);
        let message = Message {
            to: Some(&receiver.address),
            padded: true,
            parts: &[&payload],
            ..Message::default()
        };
        let outgoing = Outgoing::to(receiver, socket, &payload);
        let sent = stage.send(outgoing, || socket::send_message(socket.as_fd(), &message))?;
        expect_sent(sent, payload.len())
    })
}
