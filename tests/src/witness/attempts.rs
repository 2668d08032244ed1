//! One sender that has success and all kinds of failure, for strace to watch.

use std::{os::fd::AsFd as _, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::workload::{ABSENT, DEAD, SYSTEM, run};
use crate::{
    play::this_program,
    raw::socket::{self, Message},
    stage::datagram_socket,
};

/// More than a socket's send buffer has room for.
const TOO_LONG: usize = 300_000;
/// An ordinary user: may claim no other process.
const NOBODY: &str = "65534";

/// Sends and connects, well and in vain.
pub fn attempts() -> Result<()> {
    let socket = datagram_socket()?;
    let send = |bytes: &[u8], to: &str| {
        socket::send_to(socket.as_fd(), bytes, to.as_bytes(), 0).map_err(|it| it.raw_os_error())
    };
    send(b"STATUS=attempt \xff\x01\\ done", SYSTEM)
        .ok()
        .context("not sent")?;
    ensure!(send(b"STATUS=to nobody", ABSENT) == Err(Some(libc::ENOENT)));
    ensure!(send(b"STATUS=to the dead", DEAD) == Err(Some(libc::ECONNREFUSED)));
    ensure!(send(&vec![b'x'; TOO_LONG], SYSTEM) == Err(Some(libc::EMSGSIZE)));

    let null = std::fs::File::open("/dev/null").context("no /dev/null")?;
    let message = Message {
        to: Some(SYSTEM.as_bytes()),
        parts: &[b"X_PARTS=", b"in two\n", b"X_FDS=1"],
        fds: &[null.as_fd()],
        ..Message::default()
    };
    socket::send_message(socket.as_fd(), &message).context("not sent")?;

    let connected = datagram_socket()?;
    for (to, errno) in [(ABSENT, libc::ENOENT), (DEAD, libc::ECONNREFUSED)] {
        let error = socket::connect(connected.as_fd(), to.as_bytes()).err();
        ensure!(
            error.and_then(|it| it.raw_os_error()) == Some(errno),
            "{to}"
        );
    }
    socket::connect(connected.as_fd(), SYSTEM.as_bytes()).context("not connected")?;
    socket::write(connected.as_fd(), b"STATUS=written").context("not written")?;

    // It claims to speak for its parent, is refused, and says the same as itself.
    let mut unprivileged: Command = this_program();
    unprivileged.args(["as-user", NOBODY, "systemd-notify", "--no-block"]);
    run(unprivileged.arg("STATUS=by nobody"))?;
    Ok(())
}
