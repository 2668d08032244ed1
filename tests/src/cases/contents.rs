//! What a datagram carries: bytes, descriptors, credentials.

use std::{fs, os::fd::AsFd as _, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result};

use super::calls::deliver;
use crate::{
    raw::{
        self,
        socket::{self, Credentials, Message},
    },
    stage::{Outgoing, Stage, datagram_socket, expect_error, expect_sent},
};

pub fn payloads_of_all_sizes_are_shown(stage: &mut Stage) -> Result<()> {
    let sizes = [0, 1, 2, 4095, 4096, 4097, 20_000, 150_000];
    deliver(stage, sizes.len(), |stage, receiver, socket| {
        for size in sizes {
            let payload = stage.payload(size);
            stage.send_to(receiver, socket, &payload)?;
        }
        Ok(())
    })
}

pub fn passed_descriptors_are_counted(stage: &mut Stage) -> Result<()> {
    deliver(stage, 2, |stage, receiver, socket| {
        for count in [1, socket::FDS_MAX] {
            let payload = stage.payload(40);
            let fds = vec![socket.as_fd(); count];
            let message = Message {
                to: Some(&receiver.address),
                parts: &[&payload],
                fds: &fds,
                ..Message::default()
            };
            let outgoing = Outgoing::to(receiver, socket, &payload).with_fds(u32::try_from(count)?);
            let sent = stage.send(outgoing, || socket::send_message(socket.as_fd(), &message))?;
            expect_sent(sent, payload.len())?;
        }
        Ok(())
    })
}

/// Of process 1, as `systemd-notify --pid=1` by root would claim.
const OF_INIT: Credentials = Credentials {
    pid: 1,
    uid: 0,
    gid: 0,
};

pub fn credentials_that_root_forges_are_shown_as_claimed(stage: &mut Stage) -> Result<()> {
    deliver(stage, 2, |stage, receiver, socket| {
        let of_another_user = Credentials {
            pid: receiver.pid,
            uid: 12,
            gid: 34,
        };
        for credentials in [OF_INIT, of_another_user] {
            let payload = stage.payload(50);
            let message = Message {
                to: Some(&receiver.address),
                parts: &[&payload],
                credentials: Some(credentials),
                ..Message::default()
            };
            let outgoing = Outgoing::to(receiver, socket, &payload).claims(credentials);
            let sent = stage.send(outgoing, || socket::send_message(socket.as_fd(), &message))?;
            expect_sent(sent, payload.len())?;
        }
        Ok(())
    })
}

pub fn a_refused_claim_is_joined_with_its_repetition(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    fs::set_permissions(
        stage.dir.join("notify.sock"),
        fs::Permissions::from_mode(0o777),
    )?;
    let child = stage.child(|stage| {
        raw::process::become_user(1000).context("could not become another user")?;
        stage.look_at_self()?;
        let socket = datagram_socket()?;
        let payload = stage.payload(50);
        let mut message = Message {
            to: Some(&receiver.address),
            parts: &[&payload],
            credentials: Some(OF_INIT),
            flags: libc::MSG_NOSIGNAL,
            ..Message::default()
        };
        let refused = Outgoing::to_nobody(&receiver.address, &socket, &payload)
            .claims(OF_INIT)
            .never_copied();
        let sent = stage.send(refused, || socket::send_message(socket.as_fd(), &message))?;
        expect_error(sent, libc::EPERM)?;
        message.credentials = None;
        let again = Outgoing::to(&receiver, &socket, &payload).repetition();
        let sent = stage.send(again, || socket::send_message(socket.as_fd(), &message))?;
        expect_sent(sent, payload.len())?;
        // Another one repeats nothing.
        let payload = stage.payload(50);
        stage.send_to(&receiver, &socket, &payload)
    })?;
    receiver.wait(2)?;
    stage.join(child)?;
    stage.stop(receiver)
}
