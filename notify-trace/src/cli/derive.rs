//! `derive`: the conclusions of recordings, drawn anew.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::exit::Exit;
use super::progress::Progress;
use crate::escape;
use crate::store::derive;
use crate::words;

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace derive crashed.ntrec
      after a crash: what followed of the last events";

/// Arguments of `derive`.
#[derive(Debug, Args)]
pub struct DeriveArgs {
    /// Recordings that nobody records to
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// If a recording can't be read or written.
pub fn run(args: &DeriveArgs) -> Result<Exit> {
    for path in &args.files {
        let mut progress: Option<Progress> = None;
        let derived = derive(path, &mut |done, of| {
            progress
                .get_or_insert_with(|| Progress::new("concluding", of))
                .at(done);
        })?;
        drop(progress);
        let count = |sessions: usize| {
            let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
            words::count(sessions, "session", "sessions")
        };
        eprintln!(
            "notify-trace: the conclusions of {} in {} are drawn anew",
            count(derived.sessions),
            escape::path(path)
        );
        if derived.left > 0 {
            eprintln!(
                "notify-trace: {} stay as they are: their first events were deleted by a limit",
                count(derived.left)
            );
        }
    }
    Ok(Exit::Success)
}
