//! Writes manual pages and shell completions, made of the same types as the command line itself:
//! `cargo run -p notify-trace --example assets -- FOLDER`; `cargo xtask assets` does that.
//!
//! An example, so that the agent itself carries neither of it.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use notify_trace::cli::args::Cli;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("give the folder to write to")?;
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder)?;
    }
    clap_mangen::generate_to(Cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "notify-trace", &completions)?;
    }
    list(&man)?;
    list(&completions)
}

fn list(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        println!("{}", path.display());
    }
    Ok(())
}
