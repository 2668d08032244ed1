//! `export`: recordings in the forms of other tools.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::exit::Exit;
use super::progress::Progress;
use crate::escape;
use crate::export::{export, make_folder};
use crate::report::Inputs;
use crate::words;

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace export parquet /data/notify host1.ntrec host2.ntrec
      files by date and host, for Spark, DuckDB, ClickHouse, Trino";

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Into what.
    #[command(subcommand)]
    pub form: ExportForm,
}

/// Forms.
#[derive(Debug, Subcommand)]
pub enum ExportForm {
    /// Parquet files in folders by date and host (docs/studies.md)
    Parquet(ParquetArgs),
}

/// Arguments of `export parquet`.
#[derive(Debug, Args)]
pub struct ParquetArgs {
    /// The folder; what is there already stays, and the same session's files are replaced
    #[arg(value_name = "FOLDER")]
    pub to: PathBuf,

    /// Recordings
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// If a recording can't be read or a file can't be written.
pub fn run(args: &ExportArgs) -> Result<Exit> {
    let ExportForm::Parquet(args) = &args.form;
    make_folder(&args.to)?;
    let inputs = Inputs::open(&args.files)?;
    let mut progress = Progress::new("exporting", inputs.events());
    let mut before = 0;
    for input in &inputs.0 {
        let done = export(&input.reader, &args.to, &mut |rows| {
            progress.at(before + rows)
        })
        .with_context(|| format!("export {}", escape::path(&input.path)))?;
        before += done.rows;
        eprintln!(
            "notify-trace: {} of {} in {}, {} bytes",
            words::count(done.rows, "row", "rows"),
            escape::path(&input.path),
            words::count(done.files, "file", "files"),
            done.bytes
        );
        if done.kept > 0 {
            eprintln!(
                "notify-trace: {} of an earlier export were left: they have more rows than the recording \
                 has now",
                words::count(done.kept, "file", "files")
            );
        }
    }
    drop(progress);
    for missing in inputs.missing() {
        eprintln!("notify-trace: {missing}");
    }
    Ok(Exit::Success)
}
