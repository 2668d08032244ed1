//! `test`: the quick checks, then the VM tests on every kernel.
//!
//! Owns the order and the exit code. The first quick step that fails ends the run; kernels are all
//! tried and reported together.

mod boot;
mod boots;
mod checks;
mod document;
mod hand_out;
mod matrix;
mod otlp;
mod power_loss;
mod prometheus;
mod service;
mod studies;
mod systemd;
mod systems;
mod witness;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use self::{boot::Selection, boots::Boot, studies::Engines};
use crate::{
    agent, collector, dist,
    setup::{self, Need},
};

/// Formatting, lints, unit tests, documentation, then the VM tests on every kernel.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these boots of the VM tests, such as 6.12 or 6.12-preempt (repeatable); sid-systems is run
    /// only when named
    #[arg(long, value_name = "NAME", value_parser = boots::boot)]
    kernel: Vec<Boot>,
    /// How long 6.12-soak runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Only this plan of hooks; the guest goes through all of them by default
    #[arg(long)]
    plan: Option<Plan>,
    /// Only the tests whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only the quick checks: boot no VM
    #[arg(long)]
    skip_vm: bool,
    /// Only the VM tests: leave out the quick checks
    #[arg(long, conflicts_with = "skip_vm")]
    skip_checks: bool,
    /// Boot notify-trace and notify-trace-tests of this folder; check and build nothing
    #[arg(long, value_name = "FOLDER", conflicts_with = "skip_vm")]
    binaries: Option<PathBuf>,
    /// Write docs/systems.md and docs/systems-newest.md of what the scenarios of the boots 13-systems and
    /// sid-systems showed
    #[arg(long, conflicts_with = "skip_vm")]
    write_systems: bool,
    /// So many guests at once; one for every CPU by default, at most 4
    #[arg(long, short, value_name = "NUMBER", conflicts_with = "skip_vm")]
    jobs: Option<usize>,
    /// Compare studies with those of a Spark cluster, too (a master and two workers on this machine; needs
    /// Java)
    #[arg(long)]
    fleet: bool,
    /// Look for newer kernels instead of taking those in the cache
    #[arg(long)]
    refresh: bool,
}

/// Which hooks the agent uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Plan {
    /// What the agent chooses on this kernel
    Auto,
    /// Trampolines (fentry and fexit) alone
    Trampolines,
    /// Kprobes and a trampoline
    Full,
    /// Kprobes alone
    NoTrampolines,
    /// Raw tracepoints alone
    Tracepoints,
}

/// Runs `cargo xtask test`.
pub fn verb(arguments: &Arguments) -> Result<ExitCode> {
    let ready = setup::ensure(if arguments.skip_vm {
        Need::Build
    } else {
        Need::Boot
    })?;
    let folder = match &arguments.binaries {
        Some(folder) => folder.clone(),
        None => {
            if !arguments.skip_checks {
                checks::quick(&ready)?;
            }
            let folder = agent::build_release(&ready, &["notify-trace", "notify-trace-tests"])?;
            if !arguments.skip_checks {
                checks::native(&folder, arguments.only.as_deref())?;
            }
            folder
        }
    };
    let engines = if arguments.fleet {
        Engines::Fleet
    } else {
        Engines::DuckDb
    };
    if !arguments.skip_checks {
        checks::studies(&ready, &folder, engines)?;
        checks::metrics(&ready)?;
        checks::sending(&ready, &folder)?;
    }
    if arguments.skip_vm {
        println!("all checks passed; the VM tests were left out");
        return Ok(ExitCode::SUCCESS);
    }
    let boots = &arguments.kernel;
    if boots.is_empty() || boots.iter().any(Boot::needs_package) {
        let packages = dist::pack(&ready, &folder, &agent::target_folder()?.join("dist"))?;
        checks::rpm(&packages.rpm)?;
        let beside = folder.join(service::PACKAGE);
        fs::copy(&packages.deb, &beside)
            .with_context(|| format!("could not copy {}", packages.deb.display()))?;
    }
    if boots.is_empty() || boots.iter().any(Boot::needs_collector) {
        let program = collector::provide(&ready.cache)?;
        fs::copy(&program, folder.join(service::COLLECTOR))
            .with_context(|| format!("could not copy {}", program.display()))?;
    }
    let plan = arguments.plan.and_then(|plan| plan.to_possible_value());
    let selection = Selection {
        boots: &arguments.kernel,
        plan: plan.as_ref().map(|plan| plan.get_name()),
        only: arguments.only.as_deref(),
        refresh: arguments.refresh,
        engines,
        jobs: arguments.jobs,
        minutes: arguments.minutes,
    };
    let passed = matrix::run(&ready.cache, &folder, &selection)?;
    if arguments.write_systems {
        document::write(&agent::target_folder()?.join("vm-logs"), |name| {
            arguments.kernel.is_empty() || arguments.kernel.iter().any(|boot| boot.name == name)
        })?;
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
