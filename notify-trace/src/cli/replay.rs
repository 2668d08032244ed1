//! `show` and `explain`: from a recording to what a user sees.

use clap::Args;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;

use crate::cli::exit::Exit;
use crate::cli::output::Format;
use crate::cli::output::OutputArgs;
use crate::cli::view::ViewArgs;
use crate::escape::{self, escape};
use crate::recording::LeftOut;
use crate::replay::replay;
use crate::sink::Json;
use crate::sink::explained::Explained;
use crate::sink::text::Options;
use crate::store::{Reader, SessionRow, is_store};

/// For `--help`.
pub const SHOW_EXAMPLES: &str = "\
Examples:
  notify-trace show boot.jsonl
      as trace would have printed it
  notify-trace show boot.jsonl --unit docker --time delta -v
      one service, every fact, with the time between
  notify-trace show boot.jsonl --explain
      with the conclusions between the lines
  notify-trace show - --keys-only -o json
      from the standard input, without values, as JSON Lines";

/// For `--help`.
pub const EXPLAIN_EXAMPLES: &str = "\
Examples:
  notify-trace explain boot.jsonl
      verdicts, hops and units of a whole recording
  notify-trace explain boot.jsonl --unit app
      why app.service never became ready
  notify-trace explain boot.jsonl --fail-on-verdict -o json
      for a test: exit code 7 if a notification was lost, and why as JSON Lines";

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A recording of record, or JSON Lines of trace (--output json, or --write); - is the standard
    /// input, for JSON Lines only
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Say between the lines why a notification was lost, and what proxies made of it
    #[arg(long)]
    pub explain: bool,

    /// End with exit code 7 if there is any verdict
    #[arg(long, requires = "explain")]
    pub fail_on_verdict: bool,

    /// What is shown.
    #[command(flatten)]
    pub view: ViewArgs,

    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A recording of record, or JSON Lines of trace (--output json, or --write); - is the standard
    /// input, for JSON Lines only
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// End with exit code 7 if there is any verdict
    #[arg(long)]
    pub fail_on_verdict: bool,

    /// What is explained.
    #[command(flatten)]
    pub view: ViewArgs,

    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs `show`.
///
/// # Errors
/// If the recording can't be read or the output can't be written.
pub fn show(args: &ShowArgs) -> Result<Exit> {
    let options = args.view.options()?;
    let source = Source::open(&args.file)?;
    let mut sink = args.output.open()?;
    let context = || format!("show {}", escape::path(&args.file));
    let mut verdicts = 0;
    source.each(&mut |input, session| {
        let replayed =
            replay(input, &options, args.explain, sink.as_mut()).with_context(context)?;
        verdicts += replayed.verdicts;
        warn(replayed.left_out, session);
        Ok(())
    })?;
    drop(sink);
    Ok(exit(args.fail_on_verdict, verdicts))
}

/// Runs `explain`.
///
/// # Errors
/// If the recording can't be read or the output can't be written.
pub fn explain(args: &ExplainArgs) -> Result<Exit> {
    let options = args.view.options()?;
    let source = Source::open(&args.file)?;
    let context = || format!("explain {}", escape::path(&args.file));
    let mut verdicts = 0;
    source.each(&mut |input, session| {
        let replayed = match args.output.output {
            Format::Json => {
                let mut sink = OutcomesOnly(Json::new(BufWriter::new(io::stdout().lock())));
                replay(input, &options, true, &mut sink).with_context(context)?
            }
            Format::Text => {
                let mut sink = Explained::default();
                let result = replay(input, &options, true, &mut sink).with_context(context);
                // What was concluded before the trouble is worth as much.
                print(&sink, session, &args.output.text())?;
                result?
            }
        };
        verdicts += replayed.verdicts;
        warn(replayed.left_out, session);
        Ok(())
    })?;
    Ok(exit(args.fail_on_verdict, verdicts))
}

/// Prints what was concluded; of which session, where there are several.
fn print(sink: &Explained, session: Option<&Session>, options: &Options) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = session
        .filter(|session| session.of > 1)
        .map_or(Ok(()), |session| {
            let lead = if session.number > 1 { "\n" } else { "" };
            writeln!(out, "{lead}{}:", session.describe(&options.zone))
        })
        .and_then(|()| sink.print(&mut out, options))
        .and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
    }
}

/// What is done with a session's lines.
pub(super) type Step<'a> = dyn FnMut(&mut dyn BufRead, Option<&Session>) -> Result<()> + 'a;

/// Where events come from.
pub(super) enum Source {
    /// JSON Lines.
    Lines(Box<dyn BufRead>),
    /// A recording.
    Store(Reader),
}

/// A session of a recording, among others.
pub(super) struct Session {
    row: SessionRow,
    number: usize,
    of: usize,
}

impl Session {
    fn describe(&self, zone: &TimeZone) -> String {
        let began = self.row.began.to_zoned(zone.clone());
        format!(
            "session {} of {}, on {} since {}",
            self.number,
            self.of,
            escape(self.row.host.as_bytes()),
            began.strftime("%Y-%m-%d %H:%M:%S %:z")
        )
    }
}

impl Source {
    /// A file of either kind, or the standard input for `-`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Lines(Box::new(io::stdin().lock())));
        }
        let context = || format!("cannot open {}", escape::path(path));
        if is_store(path).with_context(context)? {
            return Ok(Self::Store(Reader::open(path)?));
        }
        let file = File::open(path).with_context(context)?;
        Ok(Self::Lines(Box::new(BufReader::new(file))))
    }

    /// Gives each session's lines to `step`; JSON Lines count as one.
    pub(super) fn each(self, step: &mut Step<'_>) -> Result<()> {
        let reader = match self {
            Self::Lines(mut lines) => return step(&mut lines, None),
            Self::Store(reader) => reader,
        };
        if let Some(missing) = reader.missing() {
            eprintln!("notify-trace: {missing}");
        }
        let rows = reader.sessions()?;
        let of = rows.len();
        for (index, row) in rows.into_iter().enumerate() {
            let session = Session {
                row,
                number: index + 1,
                of,
            };
            step(&mut reader.lines(&session.row), Some(&session))?;
        }
        Ok(())
    }
}

/// Says what is missing.
pub(super) fn warn(left_out: LeftOut, session: Option<&Session>) {
    for text in missing(left_out, session) {
        eprintln!("notify-trace: {text}");
    }
}

/// What is missing, each a sentence.
pub(super) fn missing(left_out: LeftOut, session: Option<&Session>) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(session) = session {
        let row = &session.row;
        if row.deleted > 0 {
            said.push(format!(
                "session {}: the oldest {} of {} events were deleted, by the limits \
                 that it was recorded with",
                session.number, row.deleted, row.stored
            ));
        }
        if row.dropped > 0 {
            said.push(format!(
                "session {}: {} events are missing: the disk did not take them in time",
                session.number, row.dropped
            ));
        }
    }
    if left_out.is_cut_off {
        said.push("the last line was cut off and is left out".to_owned());
    } else if left_out.is_open {
        said.push("there is no summary: the recording was cut off, or goes on".to_owned());
    }
    if left_out.unknown > 0 {
        said.push(format!(
            "{} lines of types that only a newer notify-trace knows are left out",
            left_out.unknown
        ));
    }
    said
}

const fn exit(fail_on_verdict: bool, verdicts: u64) -> Exit {
    if fail_on_verdict && verdicts > 0 {
        Exit::Verdict
    } else {
        Exit::Success
    }
}

/// Conclusions as JSON Lines, without the events.
struct OutcomesOnly<W: io::Write>(Json<W>);

impl<W: io::Write> crate::sink::Sink for OutcomesOnly<W> {
    fn event(&mut self, _: &crate::event::Event) -> io::Result<()> {
        Ok(())
    }

    fn outcome(&mut self, outcome: &crate::correlate::outcome::Outcome) -> io::Result<()> {
        self.0.outcome(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
