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
        emulator::Emulator,
        image,
        initramfs::Initramfs,
        kernel::{self, Kernel, TRIXIE},
        qemu::{self, Crash, End, Guest},
        verdict::is_in_trouble,
    },
};

const MEMORY: u32 = 2048;
/// Boot and shutdown with what is measured once, and each round, on a slow machine.
const DEADLINE: Duration = Duration::from_secs(360);
const DEADLINE_OF_ROUND: Duration = Duration::from_secs(120);
const LOG_LINES: usize = 40;
/// A QEMU before 8.1 now and then stumbles over code that another CPU patches, any may lose a CPU's timer, or
/// die; so often it is tried.
const TRIES: usize = 3;
const INIT: &str = include_str!("guest/bench");

/// How much is measured in a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything there is.
    Whole,
    /// What shows how cost grows with the number of CPUs, in rows of its own.
    Few,
    /// How many instructions are executed, once: no noise is in it.
    Counted,
}

/// Rows of a guest in which few are measured.
const GROWING: [&str; 5] = [
    "unrelated datagram",
    "captured datagram",
    "attach",
    "CPU of the peer, per captured",
    "memory after load",
];

/// Boots and measures; all lines of the guest.
pub fn run(
    ready: &Ready,
    emulator: &Emulator,
    arguments: &Arguments,
    cpus: u32,
    part: Part,
) -> Result<Vec<Line>> {
    let binaries = agent::build_release(ready, &["notify-trace", "notify-trace-tests"])?;
    let kernel = kernel::get(&ready.cache, TRIXIE, false)?;
    let image = image::get(&ready.cache, &image::BENCH)?;
    let logs = agent::target_folder()?.join("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("could not create {}", logs.display()))?;
    let initramfs = logs.join("bench.cpio");
    let options = options(arguments, part);
    pack(&kernel, &binaries, &options)?.write(&initramfs)?;
    let log = logs.join("bench.log");
    let guest = Guest {
        emulator,
        kernel: &kernel.vmlinuz,
        initramfs: &initramfs,
        words: vec!["init=/run/notify-trace/bench".into()],
        cpus,
        memory: MEMORY,
        disk: Some(&image),
        kept_disk: None,
        console_log: Some(&log),
        counts_instructions: part == Part::Counted,
        deadline: DEADLINE + DEADLINE_OF_ROUND * arguments.rounds,
    };
    let title = format!(
        "{} in a guest of {cpus} CPUs with kernel {}; its console goes to {}",
        match part {
            Part::Counted => "counting instructions",
            Part::Whole | Part::Few => "measuring",
        },
        kernel.version,
        log.display()
    );
    let mut tries = 1;
    let lines = loop {
        let result = measure(&guest, &title);
        let has_crashed = matches!(&result, Err(error) if error.is::<Crash>());
        let is_excused = has_crashed || is_kernel_trouble(&log);
        if result.is_ok() || !is_excused || tries == TRIES {
            break result.with_context(|| last_words(&log))?;
        }
        eprintln!("the kernel or its emulator died, or the kernel stalled: once more");
        tries += 1;
    };
    Ok(match part {
        Part::Whole => lines,
        Part::Few => growing(lines, cpus),
        Part::Counted => measured_alone(lines),
    })
}

/// What the program in the guest is told.
fn options(arguments: &Arguments, part: Part) -> Vec<String> {
    let mut options = arguments.guest_options();
    let only = match part {
        Part::Whole => return options,
        Part::Few => ["--few", "yes"].as_slice(),
        Part::Counted => &["--counted", "yes", "--rounds", "1"],
    };
    options.extend(only.iter().map(|word| (*word).to_owned()));
    options
}

/// All lines without the facts, which are those of another guest.
fn measured_alone(mut lines: Vec<Line>) -> Vec<Line> {
    lines.retain(|line| matches!(line, Line::Measured(_)));
    lines
}

/// Of all lines those that show how cost grows, under names of their own.
fn growing(lines: Vec<Line>, cpus: u32) -> Vec<Line> {
    let lines = lines.into_iter().filter_map(|line| match line {
        Line::Measured(mut one) if GROWING.contains(&one.what.as_str()) => {
            let plural = if cpus == 1 { "" } else { "s" };
            one.what = format!("{}, {cpus} CPU{plural}", one.what);
            Some(Line::Measured(one))
        }
        _ => None,
    });
    lines.collect()
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
    is_in_trouble(&fs::read_to_string(log).unwrap_or_default())
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
    use crate::bench::line::Measured;

    #[test]
    fn few_rows_of_another_guest_are_kept_and_say_of_which() {
        let measured = |what: &str| {
            Line::Measured(Measured {
                what: what.into(),
                under: "agent".into(),
                round: 1,
                unit: "ms".into(),
                value: 7.0,
            })
        };
        let fact = Line::Fact {
            fact: "plan".into(),
            is: "full".into(),
        };
        let lines = vec![measured("attach"), fact, measured("detach and end")];
        assert_eq!(growing(lines.clone(), 8), [measured("attach, 8 CPUs")]);
        assert_eq!(growing(lines, 1), [measured("attach, 1 CPU")]);
    }

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
