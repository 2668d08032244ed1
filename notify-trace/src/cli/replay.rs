//! `show` and `explain`: from a recording to what a user sees.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cli::args::{ExplainArgs, ShowArgs};
use crate::cli::exit::Exit;
use crate::cli::output::Format;
use crate::recording::LeftOut;
use crate::replay::{Replayed, replay};
use crate::sink::Json;
use crate::sink::explained::Explained;

/// Runs `show`.
///
/// # Errors
/// If the recording can't be read or the output can't be written.
pub fn show(args: &ShowArgs) -> Result<Exit> {
    let options = args.view.options()?;
    let mut input = open(&args.file)?;
    let mut sink = args.output.open()?;
    let replayed = replay(&mut input, &options, args.explain, sink.as_mut())
        .with_context(|| format!("show {}", args.file.display()))?;
    drop(sink);
    warn(replayed.left_out);
    Ok(exit(args.fail_on_verdict, replayed))
}

/// Runs `explain`.
///
/// # Errors
/// If the recording can't be read or the output can't be written.
pub fn explain(args: &ExplainArgs) -> Result<Exit> {
    let options = args.view.options()?;
    let mut input = open(&args.file)?;
    let context = || format!("explain {}", args.file.display());
    let replayed = match args.output.output {
        Format::Json => {
            let mut sink = OutcomesOnly(Json::new(BufWriter::new(io::stdout().lock())));
            replay(&mut input, &options, true, &mut sink).with_context(context)?
        }
        Format::Text => {
            let mut sink = Explained::default();
            let result = replay(&mut input, &options, true, &mut sink).with_context(context);
            // What was concluded before the trouble is worth as much.
            let mut out = BufWriter::new(io::stdout().lock());
            let printed = sink
                .print(&mut out, &args.output.text())
                .and_then(|()| out.flush());
            match printed {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(error).context("cannot write the output");
                }
                _ => {}
            }
            result?
        }
    };
    warn(replayed.left_out);
    Ok(exit(args.fail_on_verdict, replayed))
}

/// A file, or the standard input for `-`.
fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn warn(left_out: LeftOut) {
    if left_out.is_cut_off {
        eprintln!("notify-trace: the last line was cut off and is left out");
    } else if left_out.is_open {
        eprintln!("notify-trace: there is no summary: the recording was cut off, or goes on");
    }
    if left_out.unknown > 0 {
        eprintln!(
            "notify-trace: {} lines of types that only a newer notify-trace knows are left out",
            left_out.unknown
        );
    }
}

const fn exit(fail_on_verdict: bool, replayed: Replayed) -> Exit {
    if fail_on_verdict && replayed.verdicts > 0 {
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
