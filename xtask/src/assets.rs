//! `assets`: manual pages and shell completions, made of the command line's own types.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    agent, command,
    setup::{self, Need, Ready},
};

/// Writes manual pages and shell completions.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where to; by default target/assets
    folder: Option<PathBuf>,
}

/// Runs `cargo xtask assets`.
pub fn verb(arguments: &Arguments) -> Result<ExitCode> {
    let ready = setup::ensure(Need::Build)?;
    let folder = match &arguments.folder {
        Some(folder) => std::path::absolute(folder).context("no current folder")?,
        None => agent::target_folder()?.join("assets"),
    };
    command::inherit(&mut write(&ready, &folder)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The command that writes them to a folder.
pub fn write(ready: &Ready, folder: &Path) -> Result<Command> {
    let mut cargo = agent::cargo(ready)?;
    // The kernel side has no part in it.
    cargo.env("AYA_BUILD_SKIP", "1");
    cargo.args(["run", "--quiet", "-p", "notify-trace"]);
    cargo.args(["--example", "assets", "--"]).arg(folder);
    Ok(cargo)
}
