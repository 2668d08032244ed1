//! Builds, runs and tests notify-trace: `cargo xtask setup | run | demo | test | bench | assets | dist`.
//!
//! Owns the command line and the exit code; every verb is a module of its own:
//!
//! ```text
//! setup ──▶ tools in place ──▶ agent (release build) ──▶ run  | the agent on this host
//!                                                   ├──▶ test | checks, then vm/ on every kernel
//!                                                   ├──▶ demo | vm/ with a whole Debian in it
//!                                                   ├──▶ dist | packages
//!                                                   └──▶ bench | vm/ with a Debian of other tools
//! ```

mod agent;
mod assets;
mod bench;
mod cache;
mod collector;
mod command;
mod debian;
mod demo;
mod dist;
mod prebuilt;
mod python;
mod run;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, runs and tests notify-trace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Makes this machine able to build and test: tool chain, bpf-linker, packages
    Setup(setup::Arguments),
    /// Builds the agent and runs it on this host
    Run(run::Arguments),
    /// Boots a small Debian in a VM and shows its notifications live
    Demo(demo::Arguments),
    /// Formatting, lints, unit tests, documentation, then the VM tests on every kernel
    Test(test::Arguments),
    /// Writes manual pages and shell completions
    Assets(assets::Arguments),
    /// Makes packages: a static program, .deb, .rpm
    Dist(dist::Arguments),
    /// Measures what the agent costs, against no agent and against other tools
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Setup(arguments) => setup::verb(&arguments),
        Verb::Run(arguments) => run::verb(&arguments),
        Verb::Demo(arguments) => demo::verb(&arguments),
        Verb::Test(arguments) => test::verb(&arguments),
        Verb::Assets(arguments) => assets::verb(&arguments),
        Verb::Dist(arguments) => dist::verb(&arguments),
        Verb::Bench(arguments) => bench::verb(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
