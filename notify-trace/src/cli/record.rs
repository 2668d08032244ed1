//! `record`: captures into a recording, and prints nothing but what went wrong.

use clap::{Args, ValueEnum};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::capture::CaptureArgs;
use crate::cli::exit::Exit;
use crate::cli::trace::{capture, exit, settings};
use crate::escape;
use crate::quantity::{parse_duration, parse_file_size};
use crate::store::{Durability, Limits, Options, Store};
use crate::words;

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace record boot.ntrec
      everything, until Ctrl-C
  notify-trace record /var/lib/notify-trace/host.ntrec --max-age 30d --max-size 1G
      for ever, the last month of it, at most a gigabyte
  notify-trace record update.ntrec --unit nginx -- systemctl restart nginx
      one service, while a command runs
  notify-trace record early.ntrec --from-boot
      from an early unit, before the disk can be written";

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The recording: a new file, or one of notify-trace to be continued
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Delete the oldest events while the file has more bytes than this (K, M and G are understood)
    #[arg(long, value_name = "BYTES", value_parser = parse_file_size)]
    pub max_size: Option<u64>,

    /// Delete events that are older than this, such as 24h or 30d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_age: Option<Duration>,

    /// When events count as stored
    #[arg(long, value_enum, default_value_t = DurabilityArg::Full)]
    pub durability: DurabilityArg,

    /// Begin before the disk can be written: events wait in memory until the file can be made
    #[arg(long)]
    pub from_boot: bool,

    /// Do not ask the service managers about the units that send: explain will know less
    #[arg(long)]
    pub no_facts: bool,

    /// Print how many events are stored, whenever more are: what no crash takes away any more
    #[arg(long)]
    pub acknowledge: bool,

    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// When events count as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// When the disk has them: a power loss takes nothing away.
    Full,
    /// When the kernel has them: a power loss may take the last seconds.
    Normal,
}

/// Runs the verb.
///
/// # Errors
/// If tracing can't begin, or events can't be stored.
pub fn run(args: &RecordArgs) -> Result<Exit> {
    let mut settings = settings(&args.capture)?;
    settings.asks_managers = !args.no_facts;
    let file = escape::path(&args.file);
    let mut store =
        Store::open(&args.file, options(args)).with_context(|| format!("record {file}"))?;
    let report = capture(settings, &mut store)?;
    let stored = words::count(store.stored(), "event", "events");
    match store.dropped() {
        0 => eprintln!("notify-trace: {stored} stored in {file}"),
        dropped => eprintln!(
            "notify-trace: {stored} stored in {file}; {dropped} were dropped, because the disk did \
             not take them in time"
        ),
    }
    Ok(match exit(&args.capture, &report) {
        Exit::Success if args.capture.fail_on_loss && store.dropped() > 0 => Exit::Loss,
        exit => exit,
    })
}

fn options(args: &RecordArgs) -> Options {
    Options {
        durability: match args.durability {
            DurabilityArg::Full => Durability::Full,
            DurabilityArg::Normal => Durability::Normal,
        },
        limits: Limits {
            size_bytes: args.max_size,
            age: args.max_age,
        },
        waits_for_disk: args.from_boot,
        acknowledge: args.acknowledge.then_some(acknowledge as fn(u64)),
        is_outbox: false,
    }
}

/// Whoever listened may be gone: the recording goes on.
fn acknowledge(stored: u64) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "stored {stored}").and_then(|()| out.flush());
}
