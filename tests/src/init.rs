//! Process 1 of the guest: mounts what there is to mount, runs the driver, reaps, switches off.
//!
//! Exactly one line tells how it went: the driver's, or ours if the driver could not.

use std::{fs, panic, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{
    driver::{Driver, Settings},
    need::Home,
    play::this_program,
    raw::process::{self, End},
};

/// Exit codes of the driver: it has said how it went.
const SAID: [i32; 2] = [0, 1];

/// What is mounted, and where.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
];

/// Runs as process 1; the guest is off afterwards.
pub fn run() -> ! {
    // What went wrong before this line is the kernel's affair, or the emulator's.
    println!("init: begins");
    panic::set_hook(Box::new(|trouble| {
        println!("init: failure tests=1 failed=1 skipped=0");
        println!("    {trouble}");
        power_off()
    }));
    if let Err(error) = prepare().and_then(|()| drive()) {
        println!("    {error:#}");
        println!("init: failure tests=1 failed=1 skipped=0");
    }
    power_off()
}

fn power_off() -> ! {
    let error = process::power_off();
    println!("could not switch off: {error}");
    // The kernel panics when process 1 ends, and `panic=-1` reboots, which ends QEMU.
    process::exit_now(1)
}

fn prepare() -> Result<()> {
    for (kind, at) in MOUNTS {
        let at = Path::new(at);
        // A kernel without tracefs has no such folder either, and proc and sys are made here.
        if !at.exists() {
            fs::create_dir_all(at).with_context(|| format!("no {}", at.display()))?;
        }
        process::mount(kind, at).with_context(|| format!("could not mount {kind}"))?;
    }
    Ok(())
}

/// Waits for the driver, and for whoever else ends meanwhile.
fn drive() -> Result<()> {
    let driver = this_program()
        .arg("driver")
        .spawn()
        .context("could not start the driver")?;
    loop {
        let (pid, end) = process::wait_any().context("could not wait")?;
        if pid != driver.id() {
            continue;
        }
        return match end {
            End::Code(code) if SAID.contains(&code) => Ok(()),
            end => bail!("the driver ended with {end:?}"),
        };
    }
}

/// The driver in the guest.
pub fn driver() -> Result<ExitCode> {
    let words = fs::read_to_string("/proc/cmdline").context("no kernel command line")?;
    Ok(Driver::new(settings(&words)).run().tell())
}

/// What the words of the kernel command line ask for.
fn settings(words: &str) -> Settings {
    let word = |name: &str| {
        words.split_whitespace().find_map(|word| {
            let value = word.strip_prefix("notify-trace.")?.strip_prefix(name)?;
            value.strip_prefix('=').map(str::to_owned)
        })
    };
    Settings {
        agent: "/notify-trace".into(),
        plan: word("plan"),
        only: word("only"),
        home: Home::Guest,
        with_flood: word("flood").as_deref() == Some("1"),
        root: "/run/nt".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_command_line_selects() {
        let all = settings("console=ttyS0 quiet\n");
        assert_eq!((all.plan, all.only, all.with_flood), (None, None, false));
        let some = settings("x notify-trace.only=fds notify-trace.plan=full notify-trace.flood=1");
        assert_eq!(some.only.as_deref(), Some("fds"));
        assert_eq!(some.plan.as_deref(), Some("full"));
        assert!(some.with_flood);
    }
}
