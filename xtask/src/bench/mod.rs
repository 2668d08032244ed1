//! `bench`: what the agent costs, against no agent and against other tools.
//!
//! ```text
//! guest  (kernel side, in a VM) ─┐
//!                                ├─▶ line ──▶ fold ──▶ table ──▶ standard output, page
//! native (userspace, right here) ┘
//! ```
//!
//! Owns the command line and what is said above the table. Figures from a VM without KVM are those of
//! an emulator: ratios mean something there, times don't.

mod fold;
mod guest;
mod line;
mod native;
mod page;
mod recordings;
mod table;
mod worse;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use self::{fold::Row, guest::Part, line::Line};
use crate::{
    agent,
    setup::{self, Need},
    vm::{emulator, qemu},
};

/// CPUs of the guests of the table that is kept.
const CPUS: [u32; 3] = [2, 1, 8];

/// Measures what the agent costs, against no agent and against other tools.
#[derive(clap::Args)]
pub struct Arguments {
    /// How often each peer has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Operations of each workload in each round
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    operations: u32,
    /// CPUs of the guest; behind the first number those of more guests, in which a few rows are measured
    #[arg(long, value_name = "N,…", default_values_t = CPUS, value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: Vec<u32>,
    /// How long the idleness of each peer is watched, once
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    idle_seconds: u32,
    /// Boot no VM: only userspace on this machine
    #[arg(long, conflicts_with = "skip_native")]
    skip_vm: bool,
    /// Only what is measured in a VM
    #[arg(long)]
    skip_native: bool,
    /// Measure recordings and studies instead, for recordings of so many events
    #[arg(long, value_name = "EVENTS,…", value_delimiter = ',', num_args = 0..=1,
        default_missing_value = "100000,1000000,10000000",
        conflicts_with_all = ["skip_vm", "skip_native", "json", "cpus", "build_time"])]
    recordings: Option<Vec<u64>>,
    /// Also build the agent from nothing, and measure that; `--write` does so in any case
    #[arg(long, conflicts_with = "skip_native")]
    build_time: bool,
    /// Write facts, rows and the values of all rounds to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the table into docs/performance.md
    #[arg(long, conflicts_with_all = ["skip_vm", "skip_native"])]
    write: bool,
}

impl Arguments {
    /// What the program in the guest is told.
    fn guest_options(&self) -> Vec<String> {
        let options = [
            ("--rounds", self.rounds),
            ("--operations", self.operations),
            ("--idle-seconds", self.idle_seconds),
        ];
        options
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value.to_string()])
            .collect()
    }
}

/// Runs `cargo xtask bench`.
pub fn verb(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(sizes) = &arguments.recordings {
        let ready = setup::ensure(Need::Build)?;
        let figures = recordings::run(&ready, sizes)?;
        print!("{figures}");
        if arguments.write {
            write(&page::RECORDINGS, &figures)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(why) = refusal(arguments) {
        bail!("{why}");
    }
    let ready = setup::ensure(if arguments.skip_vm {
        Need::Build
    } else {
        Need::Image
    })?;
    let mut lines = Vec::new();
    let mut troubles = Vec::new();
    if !arguments.skip_vm {
        let emulator = emulator::get(&ready.cache)?;
        for (cpus, part) in guests(&arguments.cpus, &qemu::accelerator()) {
            match guest::run(&ready, &emulator, arguments, cpus, part) {
                Ok(more) => lines.extend(more),
                Err(error) if part == Part::Whole => return Err(error),
                // What was measured so far is shown.
                Err(error) => troubles.push(format!("{error:#}")),
            }
        }
    }
    if !arguments.skip_native {
        match native::run(&ready, arguments) {
            Ok(more) => lines.extend(more),
            Err(error) if lines.is_empty() => return Err(error),
            Err(error) => troubles.push(format!("{error:#}")),
        }
    }
    let measured: Vec<_> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Measured(measured) => Some(measured.clone()),
            Line::Fact { .. } => None,
        })
        .collect();
    let rows = fold::fold(&measured);
    let figures = format!("{}\n{}", heading(&lines, arguments), table::table(&rows));
    print!("{figures}");
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", as_json(&lines, &rows));
        fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
    }
    // What was landed last is an emulator's.
    if is_emulated(&lines) {
        tell_what_is_worse(&rows)?;
    }
    if !troubles.is_empty() {
        bail!(
            "a table that lacks something is not written:\n{}",
            troubles.join("\n")
        );
    }
    if arguments.write {
        land(&figures, &rows, is_emulated(&lines))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The guests, by their CPUs, and what is measured in each. Only an emulator counts instructions.
fn guests(cpus: &[u32], accelerator: &str) -> Vec<(u32, Part)> {
    let parts = std::iter::once(Part::Whole).chain(std::iter::repeat(Part::Few));
    let mut guests: Vec<_> = cpus.iter().copied().zip(parts).collect();
    if qemu::emulates(accelerator) {
        guests.push((1, Part::Counted));
    }
    guests
}

/// Puts the table into the page, and an emulator's rows where later runs find them.
fn land(figures: &str, rows: &[Row], is_emulated: bool) -> Result<()> {
    if !is_emulated {
        return write(&page::REAL, figures);
    }
    write(&page::AGENT, figures)?;
    let path = worse::file();
    fs::write(&path, worse::to_text(rows))
        .with_context(|| format!("could not write {}", path.display()))
}

/// Why the guests that are asked for make no table, if so.
fn refusal(arguments: &Arguments) -> Option<&'static str> {
    let mut cpus = arguments.cpus.clone();
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.len() != arguments.cpus.len() {
        Some("--cpus has a number twice: rows would have the same name")
    } else if arguments.write && arguments.cpus != CPUS {
        Some("the table that is kept is one of guests with 2, 1 and 8 CPUs: leave --cpus away")
    } else {
        None
    }
}

/// Holds the rows against those that were landed last.
fn tell_what_is_worse(rows: &[Row]) -> Result<()> {
    let path = worse::file();
    let Ok(text) = fs::read_to_string(&path) else {
        println!("\nnothing to compare with: there is no {}", path.display());
        return Ok(());
    };
    let old =
        worse::of_text(&text).with_context(|| format!("could not read {}", path.display()))?;
    let sentences = worse::worse(&old, rows);
    if sentences.is_empty() {
        println!("\nnothing got worse than in docs/performance.json by more than the spread");
    }
    for sentence in sentences {
        println!("worse than in docs/performance.json: {sentence}");
    }
    Ok(())
}

/// Puts a table into docs/performance.md.
fn write(marks: &page::Marks, figures: &str) -> Result<()> {
    let path = agent::root().join("docs/performance.md");
    let about = || format!("could not put the table into {}", path.display());
    let old = fs::read_to_string(&path).with_context(about)?;
    let new = page::replace(&old, marks, figures).with_context(about)?;
    fs::write(&path, new).with_context(about)
}

/// What a fact of the run says.
fn fact<'a>(lines: &'a [Line], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| match line {
        Line::Fact { fact, is } if fact == name => Some(is.as_str()),
        _ => None,
    })
}

/// Whether guests were executed by an emulator.
fn is_emulated(lines: &[Line]) -> bool {
    fact(lines, "accelerator").is_none_or(qemu::emulates)
}

/// What the figures were made on: nothing that changes from one run to the next on one machine.
fn heading(lines: &[Line], arguments: &Arguments) -> String {
    let fact = |name: &str| fact(lines, name);
    let mut text = String::new();
    if let Some(accelerator) = fact("accelerator") {
        let how = if is_emulated(lines) {
            format!(
                "under emulation (TCG of QEMU {}): ratios count, times don't",
                fact("QEMU").unwrap_or("unknown")
            )
        } else {
            accelerator.to_owned()
        };
        text.push_str(&format!(
            "guest: kernel {}, {} vCPUs, {how}\nagent: plan {}; {} rounds of {} operations\n",
            fact("kernel").unwrap_or("unknown"),
            fact("CPUs").unwrap_or("unknown number of"),
            fact("plan").unwrap_or("unknown"),
            arguments.rounds,
            arguments.operations,
        ));
        for other in ["bpftrace", "strace"] {
            if let Some(version) = fact(other) {
                text.push_str(&format!("compared with {version}\n"));
            }
        }
        if let Some(why) = fact("left out") {
            text.push_str(&format!("left out: {why}\n"));
        }
    }
    if !arguments.skip_native {
        text.push_str("rows \"records …\": userspace alone, not emulated\n");
    }
    text
}

fn as_json(lines: &[Line], rows: &[Row]) -> Value {
    let facts = lines.iter().filter_map(|line| match line {
        Line::Fact { fact, is } => Some((fact.clone(), json!(is))),
        Line::Measured(_) => None,
    });
    let rows = rows.iter().map(worse::to_value);
    let values = lines.iter().filter_map(|line| match line {
        Line::Measured(one) => Some(json!({
            "what": one.what,
            "under": one.under,
            "round": one.round,
            "unit": one.unit,
            "value": one.value,
        })),
        Line::Fact { .. } => None,
    });
    json!({
        "facts": facts.collect::<serde_json::Map<_, _>>(),
        "rows": rows.collect::<Vec<_>>(),
        "measurements": values.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            cpus: vec![2],
            build_time: false,
            recordings: None,
            rounds: 5,
            operations: 10,
            idle_seconds: 20,
            skip_vm: false,
            skip_native: false,
            json: None,
            write: false,
        }
    }

    fn fact(fact: &str, is: &str) -> Line {
        Line::Fact {
            fact: fact.into(),
            is: is.into(),
        }
    }

    #[test]
    fn numbers_of_cpus_are_different_and_those_of_the_page_for_the_page() {
        let of = |cpus: &[u32], write| Arguments {
            cpus: cpus.to_vec(),
            write,
            ..arguments()
        };
        assert_eq!(refusal(&of(&[2, 1, 8], true)), None);
        assert_eq!(refusal(&of(&[8], false)), None);
        assert!(refusal(&of(&[8], true)).is_some());
        assert!(refusal(&of(&[2, 8, 8], false)).is_some());
    }

    #[test]
    fn instructions_are_counted_last_and_by_an_emulator_alone() {
        assert_eq!(
            guests(&[2, 8], "tcg,thread=multi"),
            [(2, Part::Whole), (8, Part::Few), (1, Part::Counted)]
        );
        assert_eq!(guests(&[2], "kvm"), [(2, Part::Whole)]);
    }

    #[test]
    fn the_guest_is_told_what_the_user_asked_for() {
        let options = arguments().guest_options().join(" ");
        assert_eq!(options, "--rounds 5 --operations 10 --idle-seconds 20");
    }

    #[test]
    fn emulated_figures_are_called_so() {
        let emulated = heading(
            &[
                fact("accelerator", "tcg,thread=multi"),
                fact("QEMU", "10.0.2"),
            ],
            &arguments(),
        );
        assert!(
            emulated.contains("under emulation (TCG of QEMU 10.0.2)"),
            "{emulated}"
        );
        let real = heading(&[fact("accelerator", "kvm")], &arguments());
        assert!(!real.contains("emulation"), "{real}");
    }

    #[test]
    fn the_heading_says_what_was_measured_against_what() {
        let facts = [
            fact("accelerator", "tcg"),
            fact("kernel", "6.12.9"),
            fact("plan", "full"),
            fact("CPUs", "2"),
            fact("bpftrace", "bpftrace v0.23"),
        ];
        let text = heading(&facts, &arguments());
        for part in [
            "kernel 6.12.9, 2 vCPUs",
            "plan full",
            "compared with bpftrace v0.23",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
