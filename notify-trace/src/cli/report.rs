//! `report`: a study over recordings.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::exit::Exit;
use super::output::columns_of_output;
use super::progress::Progress;
use super::selection::SelectionArgs;
use crate::report::numbers::report;
use crate::report::render::Style;
use crate::report::{By, Inputs};
use crate::study::Study;

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace report startup boot.ntrec
      how long each unit took to say READY=1
  notify-trace report watchdog host.ntrec --unit nginx --since '7d ago' --histogram
      how much time a service's pings left in the last week
  notify-trace report delivery host.ntrec --by manager,hour
      how long datagrams waited for each manager, over the day
  notify-trace report startup boot1.ntrec boot2.ntrec --by unit,kernel -o csv
      many recordings as one, for a spreadsheet
  notify-trace report failed host.ntrec --by cause,unit
      what went wrong, and where";

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The study
    #[arg(value_name = "STUDY", value_enum)]
    pub study: Study,

    /// Recordings
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// What the groups are; by default what the study is about
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',', value_enum)]
    pub by: Vec<By>,

    /// Draw the distributions, too (text only)
    #[arg(long)]
    pub histogram: bool,

    /// How to print: text for people; JSON or CSV with times in nanoseconds
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub output: Form,

    /// Which rows.
    #[command(flatten)]
    pub selection: SelectionArgs,
}

/// Forms of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A table.
    Text,
    /// One JSON document.
    Json,
    /// Comma-separated values.
    Csv,
}

impl ValueEnum for Study {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()).help(self.help()))
    }
}

impl ValueEnum for By {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

/// Runs the verb.
///
/// # Errors
/// If a recording can't be read or the output can't be written.
pub fn run(args: &ReportArgs) -> Result<Exit> {
    let inputs = Inputs::open(&args.files)?;
    let by = By::chosen(&args.by, args.study);
    let selection = args.selection.selection();
    let zone = TimeZone::system();
    let mut progress = Progress::new("reading", inputs.events());
    let report = report(&inputs, args.study, &by, &selection, &zone, &mut |rows| {
        progress.at(rows)
    })?;
    drop(progress);
    let style = Style {
        columns: columns_of_output(),
        zone,
        with_histogram: args.histogram,
    };
    print(|out| match args.output {
        Form::Text => report.text(out, &style),
        Form::Json => report.json(out),
        Form::Csv => report.csv(out),
    })?;
    if args.output == Form::Csv {
        for missing in &report.missing {
            eprintln!("notify-trace: {missing}");
        }
    }
    Ok(Exit::Success)
}

/// Writes to the standard output; a reader that went away has seen enough.
///
/// # Errors
/// If it can't be written.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
    }
}
