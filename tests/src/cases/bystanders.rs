//! What must not be shown, or not be taken for something else.

use std::{fs, os::fd::AsFd as _, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::errors::deserted;
use crate::{
    raw::socket::{self, Kind},
    receiver::{Behaviour, Receiver},
    stage::{Outgoing, Stage, datagram_socket, expect_error},
};

/// Sends what nobody may see: only the receiver, which is stopped here, is the witness.
fn send_unseen(stage: &mut Stage, receiver: &mut Receiver, count: usize) -> Result<()> {
    let socket = datagram_socket()?;
    for number in 1..=count {
        let payload = stage.payload(77);
        socket::send_to(socket.as_fd(), &payload, &receiver.address, 0)?;
        receiver.wait(number)?;
    }
    Ok(())
}

pub fn a_socket_that_also_talks_to_syslog_is_shown_only_where_it_notifies(
    stage: &mut Stage,
) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let log = stage.path("dev-log");
    let mut log = stage.receiver_at(&log, Behaviour::DEFAULT)?;
    let socket = datagram_socket()?;
    for number in 1..=50 {
        let payload = stage.payload(48);
        stage.send_to(&receiver, &socket, &payload)?;
        socket::send_to(socket.as_fd(), &payload, &log.address, 0)?;
        receiver.wait(number)?;
        log.wait(number)?;
    }
    let logged = log.stop()?;
    ensure!(
        logged.receipts.len() == 50,
        "syslog got {}",
        logged.receipts.len()
    );
    stage.stop(receiver)
}

pub fn a_reused_buffer_is_no_delivery(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let log = stage.path("dev-log");
    let mut log = stage.receiver_at(&log, Behaviour::DEFAULT)?;
    fs::create_dir(stage.dir.join("deserted"))?;
    let refusing = deserted(stage, "deserted/notify.sock")?;
    let socket = datagram_socket()?;
    let mut delivered = 0;
    for number in 1..=200 {
        let payload = stage.payload(64);
        let failing = Outgoing::to_nobody(&refusing, &socket, &payload);
        let sent = stage.send(failing, || {
            socket::send_to(socket.as_fd(), &payload, &refusing, 0)
        })?;
        expect_error(sent, libc::ECONNREFUSED)?;
        // The buffer that was just freed is likely to be the next one's.
        socket::send_to(socket.as_fd(), &payload, &log.address, 0)?;
        log.wait(number)?;
        if number % 4 == 0 {
            let payload = stage.payload(64);
            stage.send_to(&receiver, &socket, &payload)?;
            delivered += 1;
            receiver.wait(delivered)?;
        }
    }
    log.stop()?;
    stage.stop(receiver)
}

pub fn other_kinds_of_sockets_with_that_name_are_not_shown(stage: &mut Stage) -> Result<()> {
    for (kind, dir) in [(Kind::Seqpacket, "seqpacket"), (Kind::Stream, "stream")] {
        fs::create_dir(stage.dir.join(dir))?;
        let name = stage.path(&format!("{dir}/notify.sock"));
        let listener = socket::socket(kind)?;
        socket::bind(listener.as_fd(), &name).context("could not bind")?;
        socket::listen(listener.as_fd())?;
        let client = socket::socket(kind)?;
        socket::connect(client.as_fd(), &name).context("could not connect")?;
        let server = socket::accept(listener.as_fd())?;
        let payload = stage.payload(40);
        socket::write(client.as_fd(), &payload)?;
        let mut buffer = [0; 100];
        let received = socket::receive(server.as_fd(), &mut buffer, 0)?;
        ensure!(
            buffer[..received.length] == payload[..],
            "the {dir} socket got something else"
        );
    }
    Ok(())
}

pub fn journald_and_helpers_of_systemd_are_not_shown(stage: &mut Stage) -> Result<()> {
    // The real one where nobody else has it, which is so in a guest.
    let real = PathBuf::from("/run/systemd/journal");
    let dir = if std::path::Path::new("/run/systemd").exists() {
        stage.dir.join("run/systemd/journal")
    } else {
        real
    };
    fs::create_dir_all(&dir)?;
    let mut names = Vec::new();
    for name in ["socket", "dev-log"] {
        names.push(dir.join(name).into_os_string().into_encoded_bytes());
    }
    // As systemd makes them for its own workers: `--internal` shows these.
    names.push(format!("\0{}", 7_000_000_000_u64 + u64::from(std::process::id())).into_bytes());
    for name in &names {
        let mut receiver = stage.receiver_at(name, Behaviour::DEFAULT)?;
        send_unseen(stage, &mut receiver, 5)?;
        receiver.stop()?;
    }
    // In a guest nobody else cleans up, and each plan comes here.
    if !dir.starts_with(&stage.dir) {
        fs::remove_dir_all("/run/systemd")?;
    }
    Ok(())
}
