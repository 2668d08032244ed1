//! Small programs that cases start through other programs.

use std::{
    io::{self, Read as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    raw::{self, bpf},
    stage::datagram_socket,
};

/// Waits for the end of its input.
pub fn wait() -> Result<()> {
    let mut nothing = Vec::new();
    io::stdin().read_to_end(&mut nothing).context("no input")?;
    Ok(())
}

/// Sends a text to a path, and ends with this code.
pub fn send(to: &str, text: &str, code: &str) -> Result<ExitCode> {
    let socket = datagram_socket()?;
    raw::socket::send_to(socket.as_fd(), text.as_bytes(), to.as_bytes(), 0)
        .with_context(|| format!("could not send to {to}"))?;
    Ok(ExitCode::from(code.parse::<u8>()?))
}

/// Becomes another user, then another program.
pub fn as_user(uid: &str, program: &str, arguments: &[&str]) -> Result<ExitCode> {
    raw::process::become_user(uid.parse()?).context("could not become another user")?;
    Err(Command::new(program).args(arguments).exec())
        .with_context(|| format!("could not start {program}"))
}

/// Becomes another program, to which the kernel opens no tracepoint.
pub fn without_tracepoints(program: &str, arguments: &[&str]) -> Result<ExitCode> {
    raw::process::refuse_bpf(bpf::RAW_TRACEPOINT_OPEN).context("could not set a seccomp filter")?;
    Err(Command::new(program).args(arguments).exec())
        .with_context(|| format!("could not start {program}"))
}
