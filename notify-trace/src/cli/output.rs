//! Where events go: options and what is opened for them.

use std::io::{self, BufWriter, IsTerminal as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use crate::sink::Sink;
use crate::sink::file::create;
use crate::sink::json::Json;
use crate::sink::tee::Tee;
use crate::sink::text::{Columns, Options, Text, Times};

/// How events are written.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "How it is written")]
pub struct OutputArgs {
    /// How to print: text for people, or JSON Lines (docs/events.md explains every field)
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,

    /// Every fact of each event, a paragraph each (text only)
    #[arg(short, long)]
    pub verbose: bool,

    /// Which times (text only)
    #[arg(long, value_enum, default_value_t = TimeArg::Absolute)]
    pub time: TimeArg,

    /// Colours: on a terminal, unless NO_COLOR is set (text only)
    #[arg(long, value_enum, default_value_t = ColorArg::Auto, value_name = "WHEN")]
    pub color: ColorArg,

    /// Cells of a line, 0 for no bound; by default as many as the terminal has, and no bound in a
    /// file (text only)
    #[arg(long, value_name = "N")]
    pub width: Option<u16>,

    /// Write the same events as JSON Lines to this file too; only its owner may read it (mode 0600)
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One row per notification.
    Text,
    /// One JSON object per line.
    Json,
}

/// Times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeArg {
    /// Time of day, here.
    Absolute,
    /// Since tracing began.
    Relative,
    /// Since the row above.
    Delta,
    /// Time of day, UTC.
    Utc,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// On a terminal, unless NO_COLOR or TERM=dumb says otherwise.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorArg {
    /// Whether the standard output gets colours.
    #[must_use]
    pub fn is_coloured(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                io::stdout().is_terminal()
                    && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
            }
        }
    }
}

impl OutputArgs {
    /// Opens everything, so that a wrong path is noticed before the work begins.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn open(&self) -> Result<Box<dyn Sink>> {
        let output = BufWriter::new(io::stdout().lock());
        let shown: Box<dyn Sink> = match self.output {
            Format::Text => Box::new(Text::new(output, self.text())),
            Format::Json => Box::new(Json::new(output)),
        };
        let Some(path) = &self.write else {
            return Ok(shown);
        };
        let file = create(path).with_context(|| {
            format!(
                "--write {}: the file can't be opened for writing",
                path.display()
            )
        })?;
        Ok(Box::new(Tee::new(
            shown,
            Box::new(Json::new(BufWriter::new(file))),
        )))
    }

    /// How text is written.
    #[must_use]
    pub fn text(&self) -> Options {
        Options {
            zone: TimeZone::system(),
            times: match self.time {
                TimeArg::Absolute => Times::Absolute,
                TimeArg::Relative => Times::Relative,
                TimeArg::Delta => Times::Delta,
                TimeArg::Utc => Times::Utc,
            },
            columns: match self.width {
                Some(0) => Columns::Unbounded,
                Some(cells) => Columns::Fixed(cells.into()),
                None if io::stdout().is_terminal() => Columns::Asked(terminal_columns),
                None => Columns::Unbounded,
            },
            is_coloured: self.color.is_coloured(),
            is_verbose: self.verbose,
        }
    }
}

/// Cells of a line, if the standard output is a terminal.
#[must_use]
pub fn columns_of_output() -> Option<usize> {
    io::stdout().is_terminal().then(terminal_columns).flatten()
}

fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that doesn't know its width says 0.
    (size.ws_col > 0).then(|| size.ws_col.into())
}
