//! `run`: builds the agent and becomes it.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    command, prebuilt,
    setup::{self, Need},
};

/// Builds the agent and runs it on this host.
#[derive(clap::Args)]
pub struct Arguments {
    /// What the agent is told, such as `-- trace --unit ssh.service`
    #[arg(last = true)]
    agent: Vec<OsString>,
}

/// Runs `cargo xtask run`; returns only when the agent could not be started.
pub fn verb(arguments: &Arguments) -> Result<ExitCode> {
    let ready = setup::ensure(Need::Build)?;
    let binary = prebuilt::agent(&ready)?;
    let program = binary
        .to_str()
        .context("the path of the agent is not valid UTF-8")?;
    let error = command::as_root(program)?.args(&arguments.agent).exec();
    Err(error).with_context(|| format!("could not start {program}"))
}
