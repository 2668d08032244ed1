//! `record`: captures into a recording, and prints nothing but what went wrong.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use crate::cli::args::{DurabilityArg, RecordArgs};
use crate::cli::exit::Exit;
use crate::cli::trace::{capture, exit, settings};
use crate::escape;
use crate::store::{Durability, Limits, Options, Store};
use crate::words;

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
    }
}

/// Whoever listened may be gone: the recording goes on.
fn acknowledge(stored: u64) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "stored {stored}").and_then(|()| out.flush());
}
