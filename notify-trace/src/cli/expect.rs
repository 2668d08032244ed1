//! `expect`: the assertion that a test needs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::time::Instant;

use super::capture::CaptureArgs;
use super::exit::Exit;
use super::output::Format;
use super::replay::{Source, warn};
use super::report::print;
use super::trace::{capture, exit, settings};
use crate::correlate::outcome::Outcome;
use crate::enrich::clock;
use crate::escape;
use crate::event::Event;
use crate::expect::grammar::{Expectation, parse, parse_file};
use crate::expect::heard::Heard;
use crate::expect::judge::{Standing, judge};
use crate::expect::tell;
use crate::replay::replay;
use crate::sink::Sink;
use crate::sink::tee::Tee;
use crate::store::{self, Store};

/// For `--help`.
pub const EXAMPLES: &str = "\
An expectation: [never] WHO… WHAT… [once | N times | at least N | at most N] [within TIME] [then …]
  WHO   unit=GLOB, container=GLOB, user=UID, comm=GLOB, class=GLOB
  WHAT  KEY=GLOB, or KEY= for any value
A message counts if it was delivered and nobody is known to have refused it. Times count from the start of the
command; after then, from the message before.

Examples:
  notify-trace expect 'unit=nginx READY=1 within 5s' -- systemctl start nginx
      exit code 9 if it is not ready in time, with what it sent instead, and why
  notify-trace expect 'unit=app RELOADING=1 then unit=app READY=1 within 2s' -- systemctl reload app
      in this order
  notify-trace expect 'unit=app WATCHDOG=1 at least 3 within 30s' 'never unit=app ERRNO=' --for 30s
      several at once, without a command
  notify-trace expect --file boot.expect --in boot.ntrec
      a file of expectations, one a line, about a recording";

/// Arguments of `expect`.
#[derive(Debug, Args)]
pub struct ExpectArgs {
    /// What is expected
    #[arg(value_name = "EXPECTATION", required_unless_present = "file", value_parser = |text: &str| parse(text))]
    pub expectations: Vec<Expectation>,

    /// Expectations, one a line; # begins a comment
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Look into this recording instead of capturing: into its last session; times count from that one's
    /// beginning
    #[arg(long = "in", value_name = "RECORDING")]
    pub recording: Option<PathBuf>,

    /// Record what is captured in this file, too
    #[arg(long, value_name = "FILE", conflicts_with = "recording")]
    pub record: Option<PathBuf>,

    /// How to print: text for people, or one JSON document
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,

    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// Runs the verb.
///
/// # Errors
/// If an expectation can't be read, or tracing can't begin.
pub fn run(args: &ExpectArgs) -> Result<Exit> {
    let mut expectations = args.expectations.clone();
    if let Some(path) = &args.file {
        let shown = escape::path(path).to_string();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let more = parse_file(&text).with_context(|| format!("cannot read {shown}"))?;
        ensure!(!more.is_empty(), "{shown} has no expectation");
        expectations.extend(more);
    }
    let mut sink = Expecting::new(expectations, args.capture.settle);
    let code = match &args.recording {
        Some(path) => {
            let options = args.capture.view.options()?;
            let mut sessions = 0;
            Source::open(path)?.each(&mut |input, session| {
                let replayed = replay(input, &options, true, &mut sink)?;
                warn(replayed.left_out, session);
                sessions += 1;
                Ok(())
            })?;
            if sessions > 1 {
                eprintln!("notify-trace: of {sessions} sessions the last one is looked at");
            }
            Exit::Success
        }
        None => captured(args, &mut sink)?,
    };
    let results: Vec<(&Expectation, Standing)> = sink
        .heard
        .expectations()
        .iter()
        .map(|it| (it, judge(it, &sink.heard, true)))
        .collect();
    print(|out| match args.output {
        Format::Text => tell::text(out, &results, &sink.heard),
        Format::Json => {
            crate::sink::json::write_line(&mut &mut *out, &tell::document(&results, &sink.heard))
        }
    })?;
    let is_met = |(_, standing): &(_, Standing)| matches!(standing, Standing::Met { .. });
    Ok(if results.iter().all(is_met) {
        code
    } else {
        Exit::Unexpected
    })
}

fn captured(args: &ExpectArgs, sink: &mut Expecting) -> Result<Exit> {
    let mut settings = settings(&args.capture)?;
    settings.explain = true;
    settings.asks_managers = true;
    // The command may be over long before.
    settings.settle = settings.settle.max(sink.longest());
    let report = match &args.record {
        None => capture(settings, sink)?,
        Some(path) => {
            let store = Store::open(path, store::Options::default())
                .with_context(|| format!("--record {}", escape::path(path)))?;
            let mut tee = Tee::new(Box::new(Borrowed(sink)), Box::new(store));
            capture(settings, &mut tee)?
        }
    };
    Ok(exit(&args.capture, &report))
}

/// Listens until all is decided.
struct Expecting {
    heard: Heard,
    settle: Duration,
    /// When all was decided, as far as is known.
    decided: Option<Instant>,
    /// Until when something is open that has an end.
    open: Option<Instant>,
}

impl Expecting {
    fn new(expectations: Vec<Expectation>, settle: Duration) -> Self {
        Self {
            heard: Heard::of(expectations),
            settle,
            decided: None,
            open: None,
        }
    }

    /// The longest time that an expectation may take, all its steps together.
    fn longest(&self) -> Duration {
        let of = |it: &Expectation| it.steps.iter().filter_map(|step| step.within).sum();
        let expectations = self.heard.expectations().iter();
        expectations.map(of).max().unwrap_or_default()
    }

    /// Looks how all stand.
    fn look(&mut self) {
        let now = Instant::now();
        let mut is_decided = true;
        let mut end = Some(now);
        for it in self.heard.expectations() {
            if let Standing::Open { until_ns } = judge(it, &self.heard, false) {
                is_decided = false;
                let until = until_ns.and_then(|until_ns| {
                    let wait_ns = until_ns.saturating_sub(clock::now());
                    now.checked_add(Duration::from_nanos(wait_ns))
                });
                end = end.zip(until).map(|(one, other)| one.max(other));
            }
        }
        if is_decided {
            // What comes later does not put it off.
            self.decided.get_or_insert(now);
        } else {
            self.decided = None;
            self.open = end;
        }
    }
}

impl Sink for Expecting {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if self.heard.event(event) {
            self.look();
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        if self.heard.outcome(outcome) {
            self.look();
        }
        Ok(())
    }

    /// A little after all is decided: what is known of a message may change for a moment.
    fn ends_at(&self) -> Option<Instant> {
        self.decided.or(self.open)?.checked_add(self.settle)
    }
}

/// A sink that somebody else needs afterwards.
struct Borrowed<'a>(&'a mut Expecting);

impl Sink for Borrowed<'_> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.0.event(event)
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.0.outcome(outcome)
    }

    fn ends_at(&self) -> Option<Instant> {
        self.0.ends_at()
    }
}
