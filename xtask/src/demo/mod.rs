//! `demo`: a Debian 13 boots in a VM, the agent starts before everything else, and its live trace
//! of the boot, of a few demo services and of a container is shown here.
//!
//! The disk image is made once and never changes; agent, units and scripts reach the guest in its
//! initramfs, which copies them to `/run`. The guest's console goes to a file, and its second
//! serial port is the user's terminal.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    agent, command, prebuilt,
    setup::{self, Need},
    vm::{
        emulator, image,
        initramfs::Initramfs,
        kernel::{self, Kernel, TRIXIE},
        qemu::{self, End, Guest},
    },
};

/// Boots a small Debian in a VM and shows its notifications live.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long the demo services run before they are stopped
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u32,
    /// Show this agent instead of building one
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

/// Boot and shutdown of the guest, on a slow machine, besides the time the services run.
const DEADLINE: Duration = Duration::from_secs(240);
const LOG_LINES: usize = 40;

/// Units and scripts, by their place below the guest's `/run`.
const UNITS: [(&str, &str); 7] = [
    (
        "notify-trace.service",
        include_str!("guest/notify-trace.service"),
    ),
    (
        "notify-trace-console.service",
        include_str!("guest/notify-trace-console.service"),
    ),
    (
        "notify-trace-demo.service",
        include_str!("guest/notify-trace-demo.service"),
    ),
    (
        "demo-database.service",
        include_str!("guest/demo-database.service"),
    ),
    ("demo-web.service", include_str!("guest/demo-web.service")),
    (
        "demo-strict.service",
        include_str!("guest/demo-strict.service"),
    ),
    ("demo-box.service", include_str!("guest/demo-box.service")),
];
const SCRIPTS: [(&str, &str); 5] = [
    ("demo", include_str!("guest/demo")),
    ("demo-database", include_str!("guest/demo-database")),
    ("demo-web", include_str!("guest/demo-web")),
    ("demo-strict", include_str!("guest/demo-strict")),
    ("demo-box", include_str!("guest/demo-box")),
];

/// Runs `cargo xtask demo`.
pub fn verb(arguments: &Arguments) -> Result<ExitCode> {
    let ready = setup::ensure(Need::Image)?;
    let agent = match &arguments.agent {
        Some(path) => path.clone(),
        None => prebuilt::agent(&ready)?,
    };
    let kernel = kernel::get(&ready.cache, TRIXIE, false)?;
    let image = image::get(&ready.cache, &image::SYSTEMS)?;

    let logs = agent::target_folder()?.join("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("could not create {}", logs.display()))?;
    let initramfs = logs.join("demo.cpio");
    pack(&agent, &kernel)?.write(&initramfs)?;
    let log = logs.join("demo.log");
    eprintln!(
        "booting Debian 13 with kernel {}; its console goes to {}",
        kernel.version,
        log.display()
    );
    let emulator = emulator::get(&ready.cache)?;
    let guest = Guest {
        emulator: &emulator,
        kernel: &kernel.vmlinuz,
        initramfs: &initramfs,
        words: words(arguments.seconds),
        cpus: 2,
        memory: 1024,
        disk: Some(&image),
        kept_disk: None,
        console_log: Some(&log),
        counts_instructions: false,
        deadline: DEADLINE + Duration::from_secs(arguments.seconds.into()),
    };
    show(&guest, &log)?;
    Ok(ExitCode::SUCCESS)
}

/// Boots and passes the trace on; a guest that traced nothing is an error.
fn show(guest: &Guest, log: &Path) -> Result<()> {
    let start = Instant::now();
    let mut lines = 0_u32;
    let end = qemu::boot(guest, |line| {
        if lines == 0 {
            eprintln!(
                "the trace begins after {:.1} s:\n",
                start.elapsed().as_secs_f64()
            );
        }
        lines += 1;
        writeln!(io::stdout(), "{line}").context("could not show the trace")
    });
    let end = match end {
        // Whoever reads the trace, such as `head`, has seen enough.
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        end => end?,
    };
    let trouble = match (end, lines) {
        (End::PowerOff, 1..) => {
            let seconds = start.elapsed().as_secs_f64();
            eprintln!("\n{lines} lines; the guest switched itself off after {seconds:.1} s");
            return Ok(());
        }
        (End::PowerOff, 0) => "the guest ended without a line of trace".to_owned(),
        (End::Deadline, _) => format!("not finished after {} s", guest.deadline.as_secs()),
    };
    let console = fs::read_to_string(log).unwrap_or_default();
    bail!(
        "{trouble}; the last lines of {}:\n{}",
        log.display(),
        command::tail(&console, LOG_LINES)
    )
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// systemd says nothing on its console, offers no login there, and starts what shows the demo.
fn words(seconds: u32) -> Vec<String> {
    let mut words: Vec<String> = [
        "systemd.show_status=0",
        "systemd.getty_auto=0",
        "systemd.unit=multi-user.target",
        "systemd.wants=notify-trace.service",
        "systemd.wants=notify-trace-console.service",
        "systemd.wants=notify-trace-demo.service",
        // These take half a minute of an emulated CPU.
        "systemd.mask=docker.service",
        "systemd.mask=docker.socket",
        "systemd.mask=podman-restart.service",
        "systemd.mask=podman-auto-update.service",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("notify-trace.seconds={seconds}"));
    words
}

fn pack(agent: &Path, kernel: &Kernel) -> Result<Initramfs> {
    let mut archive = Initramfs::with_disk(kernel)?;
    archive.copy("payload/notify-trace/notify-trace", agent)?;
    for (name, text) in SCRIPTS {
        archive.program(&format!("payload/notify-trace/{name}"), text.as_bytes())?;
    }
    archive.units(&UNITS)?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        let error = io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(
            &anyhow::Error::from(error).context("could not show the trace")
        ));
        assert!(!is_broken_pipe(&anyhow::anyhow!("another")));
    }

    #[test]
    fn every_unit_that_is_started_and_every_script_that_is_run_is_packed() {
        for word in words(1) {
            if let Some(unit) = word.strip_prefix("systemd.wants=") {
                assert!(UNITS.iter().any(|(name, _)| *name == unit), "{unit}");
            }
        }
        for (unit, text) in UNITS {
            for line in text.lines() {
                let Some(program) = line.strip_prefix("ExecStart=/run/notify-trace/") else {
                    continue;
                };
                let program = program.split(' ').next().unwrap_or_default();
                let is_packed = SCRIPTS.iter().any(|(name, _)| *name == program);
                assert!(is_packed || program == "notify-trace", "{unit}: {program}");
            }
        }
    }
}
