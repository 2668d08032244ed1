//! The part that needs a kernel: `tests/src/bench` as the only process of a guest whose disk has the
//! other tools.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{
    Arguments,
    line::{self, Line},
};
use crate::{
    agent, command,
    setup::{self, Ready},
    vm::{
        emulator, image,
        initramfs::Initramfs,
        kernel::{self, Kernel, TRIXIE},
        qemu::{self, End, Guest},
        verdict::{NoVerdict, verdict},
    },
};

const MEMORY: u32 = 2048;
/// Boot and shutdown, and each round, on a slow machine.
const DEADLINE: Duration = Duration::from_secs(240);
const DEADLINE_OF_ROUND: Duration = Duration::from_secs(120);
const LOG_LINES: usize = 40;
/// An emulated CPU now and then stumbles over code that another one patches; so often it is tried.
const TRIES: usize = 3;
const INIT: &str = include_str!("guest/bench");

/// Boots and measures; all lines of the guest.
pub fn run(ready: &Ready, arguments: &Arguments) -> Result<Vec<Line>> {
    let binaries = agent::build_release(ready, &["notify-trace", "notify-trace-tests"])?;
    let kernel = kernel::get(&ready.cache, TRIXIE, false)?;
    let image = image::get(&ready.cache, &image::BENCH)?;
    let logs = agent::target_folder()?.join("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("could not create {}", logs.display()))?;
    let initramfs = logs.join("bench.cpio");
    pack(&kernel, &binaries, &arguments.guest_options())?.write(&initramfs)?;
    let log = logs.join("bench.log");
    let emulator = emulator::get(&ready.cache)?;
    let guest = Guest {
        emulator: &emulator,
        kernel: &kernel.vmlinuz,
        initramfs: &initramfs,
        words: vec!["init=/run/notify-trace/bench".into()],
        cpus: arguments.cpus,
        memory: MEMORY,
        disk: Some(&image),
        kept_disk: None,
        console_log: Some(&log),
        deadline: DEADLINE + DEADLINE_OF_ROUND * arguments.rounds,
    };
    let title = format!(
        "measuring in a guest with kernel {}; its console goes to {}",
        kernel.version,
        log.display()
    );
    for _ in 1..TRIES {
        let result = measure(&guest, &title);
        if result.is_ok() || !is_kernel_trouble(&log) {
            return result.with_context(|| last_words(&log));
        }
        eprintln!("the kernel died under the emulator: once more");
    }
    measure(&guest, &title).with_context(|| last_words(&log))
}

fn measure(guest: &Guest, title: &str) -> Result<Vec<Line>> {
    let fact = |fact: &str, is: String| Line::Fact {
        fact: fact.into(),
        is,
    };
    let mut lines = vec![
        fact("accelerator", qemu::accelerator()),
        fact("QEMU", guest.emulator.version.clone()),
    ];
    let end = command::step(title, || {
        qemu::boot(guest, |text| {
            if !text.is_empty() {
                lines.push(line::parse(text)?);
            }
            Ok(())
        })
    });
    match end? {
        End::PowerOff if is_whole(&lines) => Ok(lines),
        End::PowerOff => bail!("the guest ended before the bench did"),
        End::Deadline => bail!("not finished after {} s", guest.deadline.as_secs()),
    }
}

/// Whether the kernel itself said why there is no result.
fn is_kernel_trouble(log: &Path) -> bool {
    let console = fs::read_to_string(log).unwrap_or_default();
    matches!(verdict(console.lines()), Err(NoVerdict::Panic(_)))
}

/// Whether the bench itself said that it came to its end.
fn is_whole(lines: &[Line]) -> bool {
    matches!(lines.last(), Some(Line::Fact { fact, is }) if fact == "end" && is == "ok")
}

fn last_words(log: &Path) -> String {
    let console = fs::read_to_string(log).unwrap_or_default();
    format!(
        "could not measure in a guest; the last lines of {}:\n{}\n",
        log.display(),
        command::tail(&console, LOG_LINES)
    )
}

fn pack(kernel: &Kernel, binaries: &Path, options: &[String]) -> Result<Initramfs> {
    let mut archive = Initramfs::with_disk(kernel)?;
    let place = |name: &str| format!("payload/notify-trace/{name}");
    archive.program(&place("bench"), INIT.as_bytes())?;
    archive.file(&place("options"), options.join(" ").as_bytes())?;
    archive.copy(&place("busybox"), &setup::busybox()?)?;
    for name in ["notify-trace", "notify-trace-tests"] {
        archive.copy(&place(name), &binaries.join(name))?;
    }
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_is_whole_only_when_its_last_line_says_so() {
        let end = Line::Fact {
            fact: "end".into(),
            is: "ok".into(),
        };
        let plan = Line::Fact {
            fact: "plan".into(),
            is: "full".into(),
        };
        assert!(is_whole(&[plan.clone(), end.clone()]));
        assert!(!is_whole(&[end, plan]));
        assert!(!is_whole(&[]));
    }
}
