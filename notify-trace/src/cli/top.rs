//! `top`: from arguments to a live view, or to that of a recording.

use crate::cli::output::ColorArg;
use clap::Args;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use jiff::tz::TimeZone;

use crate::cli::capture::CaptureArgs;
use crate::cli::exit::Exit;
use crate::cli::replay::{Source, warn};
use crate::cli::trace::{Hangup, capture, exit, listen_for_signals, settings};
use crate::escape;
use crate::replay::replay;
use crate::top::draw::Frame;
use crate::top::draw::theme::Theme;
use crate::top::live::{Shared, Top};
use crate::top::screen::Screen;
use crate::words::count;

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace top
      all units, until q
  notify-trace top --class systemd --unit 'app-*'
      the units of some services only
  notify-trace top --replay boot.ntrec
      how things stood at the end of a recording; needs no privileges
  notify-trace top --no-facts --for 1h
      without asking the service managers, for an hour";

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Show how things stood at the end of this recording instead (of its last session): one of
    /// record, or JSON Lines of trace; only options about what is shown apply
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,

    /// Do not ask the service managers about the units that send: less is known of states, of
    /// watchdogs, and for verdicts
    #[arg(long)]
    pub no_facts: bool,

    /// Colours: unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t = ColorArg::Auto, value_name = "WHEN")]
    pub color: ColorArg,

    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// Runs the verb.
///
/// # Errors
/// If there is no terminal, tracing can't begin, or the recording can't be read.
pub fn run(args: &TopArgs) -> Result<Exit> {
    let term = std::env::var_os("TERM");
    require_terminal(io::stdout().is_terminal(), term.as_deref())?;
    if !args.capture.command.is_empty() {
        bail!(
            "top -- COMMAND: what the command prints would stand in the view; run it in another \
             terminal, or use trace -- COMMAND"
        );
    }
    let frame = Frame {
        zone: TimeZone::system(),
        theme: Theme {
            is_coloured: args.color.is_coloured(),
        },
        is_live: args.replay.is_none(),
    };
    match &args.replay {
        Some(file) => show(file, args, frame),
        None => live(args, frame),
    }
}

fn require_terminal(is_terminal: bool, term: Option<&OsStr>) -> Result<()> {
    if is_terminal && term.is_some_and(|term| term == "dumb") {
        bail!(
            "top needs a terminal whose cursor can be moved, and TERM is dumb; set TERM to what the \
             terminal is, or use trace, which prints lines"
        );
    }
    if is_terminal {
        return Ok(());
    }
    bail!(
        "top needs a terminal, and the standard output is none; use trace, which prints lines, or \
         record"
    )
}

fn live(args: &TopArgs, frame: Frame) -> Result<Exit> {
    let mut settings = settings(&args.capture)?;
    settings.explain = true;
    settings.asks_managers = !args.no_facts;
    let shared = Arc::new(Shared::new(true));
    let mut sink = Top::new(Arc::clone(&shared), Some(frame));
    let result = capture(settings, &mut sink);
    // Whatever it was, it is to be read.
    drop(sink);
    let report = result?;
    fail_on(&shared)?;
    let picture = shared.picture();
    let totals = &picture.totals;
    eprintln!(
        "notify-trace: {} of {}, {} failed, {}, {} lost",
        count(totals.notifications, "notification", "notifications"),
        count(picture.rows.len() as u64, "unit", "units"),
        totals.failed,
        count(totals.verdicts, "verdict", "verdicts"),
        totals.losses.in_all()
    );
    Ok(exit(&args.capture, &report))
}

/// Shows how things stood at the end of a recording.
fn show(file: &Path, args: &TopArgs, frame: Frame) -> Result<Exit> {
    let options = args.capture.view.options()?;
    let shared = Arc::new(Shared::new(false));
    let mut sink = Top::new(Arc::clone(&shared), None);
    Source::open(file)?.each(&mut |input, session| {
        // A session begins everything anew, so the last one stays.
        let replayed = replay(input, &options, true, &mut sink)
            .with_context(|| format!("top --replay {}", escape::path(file)))?;
        warn(replayed.left_out, session);
        Ok(())
    })?;
    let mut stop = listen_for_signals(Hangup::Ends)?;
    let screen = Screen::open(Arc::clone(&shared), frame).context("cannot set up the terminal")?;
    // The screen sends a signal when the user has seen enough.
    let _ = stop.blocking_recv();
    screen.close();
    fail_on(&shared)?;
    Ok(Exit::Success)
}

/// The view may have ended by itself.
fn fail_on(shared: &Shared) -> Result<()> {
    match shared.trouble() {
        Some(trouble) => bail!("top: {trouble}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_the_error_says_what_to_use() {
        assert!(require_terminal(true, None).is_ok());
        assert!(require_terminal(true, Some(OsStr::new("xterm"))).is_ok());
        for (is_terminal, term) in [(false, "xterm"), (true, "dumb")] {
            let error = require_terminal(is_terminal, Some(OsStr::new(term))).unwrap_err();
            assert!(error.to_string().contains("use trace"), "{error}");
        }
    }
}
