//! `doctor`: prints the report; from the verdict to an exit code.

use clap::Args;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cli::exit::Exit;
use crate::doctor::{self, Verdict, render};
use crate::sink::json;

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace doctor
      as root: what works here, and what would make more work
  notify-trace doctor --json > report.json
      the same for programs (docs/doctor.md explains every field)
  notify-trace doctor --btf /boot/vmlinux.btf
      with type information from a file, as trace --btf would";

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON document (docs/doctor.md explains every field)
    #[arg(long)]
    pub json: bool,

    /// Type information of this very kernel, where the kernel itself has none
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// If the report can't be made or written. What the kernel refuses is no error here but the report.
pub fn run(args: &DoctorArgs) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("cannot start the event loop")?;
    let (mut report, refusal) = runtime.block_on(doctor::examine(args.btf.clone()))?;
    let exit = exit(report.verdict, refusal.as_ref());
    report.exit_code = exit.code();
    let text = if args.json {
        let mut text = Vec::new();
        json::write_line(&mut text, &report).context("cannot write the report")?;
        text
    } else {
        render::text(&report, render::COLUMNS).into_bytes()
    };
    match io::stdout().write_all(&text) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(exit),
        result => result.context("cannot write the report").map(|()| exit),
    }
}

/// What `trace` would end with if it would not begin, else how much it can tell.
fn exit(verdict: Verdict, refusal: Option<&anyhow::Error>) -> Exit {
    match (refusal, verdict) {
        (Some(error), _) => Exit::of(error),
        (None, Verdict::Usable) => Exit::Success,
        (None, Verdict::Limited) => Exit::Limited,
        // Something is bad, and yet everything was attached: only a defect of ours does that.
        (None, Verdict::NotUsable) => Exit::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::error::AttachError;

    #[test]
    fn what_trace_would_end_with_comes_first() {
        let error = AttachError::Unsupported {
            reasons: Vec::new(),
        };
        let error = error.into();
        assert_eq!(exit(Verdict::NotUsable, Some(&error)), Exit::KernelUnusable);
        assert_eq!(exit(Verdict::Usable, None), Exit::Success);
        assert_eq!(exit(Verdict::Limited, None), Exit::Limited);
    }
}
