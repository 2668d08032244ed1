//! `trace`: from arguments to settings, and from the report to an exit code.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use clap::Args;

use crate::cli::capture::CaptureArgs;
use crate::cli::exit::Exit;
use crate::cli::output::OutputArgs;
use crate::enrich::cgroup;
use crate::pipeline::{self, Report, Request, Settings};
use crate::privileges::{self, Role};
use crate::probe::load::LoadOptions;
use crate::probe::{pid_namespace, self_test};
use crate::select::Rules;
use crate::sink::Sink;
use crate::sink::file::create;
use crate::sink::tee::Tee;
use crate::store::{self, Store};

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace trace
      everything, until Ctrl-C
  notify-trace trace -- systemctl restart nginx
      from before the command starts until it has ended; its exit code is passed on
  notify-trace trace -o json --for 30s --fail-on-loss > boot.jsonl
      30 seconds as JSON Lines; exit code 5 if anything was lost
  notify-trace trace --socket '/srv/app/*.sock'
      one's own notify sockets too
  notify-trace trace --cgroup /system.slice/nginx.service
      what is sent from one cgroup only, decided in the kernel
  notify-trace trace --unit nginx --key READY --key RELOADING
      when one service says that it is ready, or reloads
  notify-trace trace --container web --failed -v
      every fact of what a container could not get delivered
  notify-trace trace --user alice --class systemd-user --time delta
      what a user's services tell that user's manager, with the time between
  notify-trace trace --comm 'systemd-*' --keys-only --width 80
      which fields systemd's own programs send, without their values
  notify-trace trace --redact STATUS,X_TOKEN --write boot.jsonl
      on the terminal and, as JSON Lines, in a file; two keys' values in neither";

/// Arguments of `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Ask the service managers about the units that send, and say between the lines why a
    /// notification was lost and what proxies made of it
    #[arg(long)]
    pub explain: bool,

    /// Record the same events in this file too (docs/recording.md), as the verb record does
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,

    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// Runs the verb.
///
/// # Errors
/// If tracing can't begin or the output can't be written.
pub fn run(args: &TraceArgs) -> Result<Exit> {
    let mut settings = settings(&args.capture)?;
    settings.explain = args.explain;
    settings.asks_managers = args.explain;
    let mut sink = args.output.open()?;
    if let Some(path) = &args.record {
        let store = Store::open(path, store::Options::default())
            .with_context(|| format!("--record {}", path.display()))?;
        sink = Box::new(Tee::new(sink, Box::new(store)));
    }
    let report = capture(settings, sink.as_mut())?;
    Ok(exit(&args.capture, &report))
}

/// Captures until the end has come.
pub(super) fn capture(settings: Settings, sink: &mut dyn Sink) -> Result<Report> {
    capture_until(settings, sink, listen_for_signals(Hangup::Ends)?)
}

/// Captures until the end is requested.
pub(super) fn capture_until(
    settings: Settings,
    sink: &mut dyn Sink,
    requests: pipeline::Requests,
) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(pipeline::run(settings, sink, requests))
}

/// Turns what the user typed into what to do; opens nothing.
pub(super) fn settings(args: &CaptureArgs) -> Result<Settings> {
    pid_namespace::require_host_pids(Path::new(pid_namespace::PID_NAMESPACE))?;
    let rules = Rules::new(&args.socket, &args.only_socket, args.internal)?;
    let mut warnings = Vec::new();
    if !cgroup::are_hosts(Path::new("/proc")) {
        warnings.push(cgroup::FOREIGN_NAMESPACE.to_owned());
    }
    for pid in &args.pid {
        if !Path::new(&format!("/proc/{pid}")).exists() {
            bail!("--pid {pid}: there is no such process");
        }
    }
    let cgroups = args
        .cgroup
        .iter()
        .map(|path| cgroup_id(path))
        .collect::<Result<Vec<_>>>()?;
    Ok(Settings {
        load: LoadOptions {
            plan: args.plan.forced(),
            btf: args.btf.clone(),
            pids: args.pid.clone(),
            cgroups,
            self_test_address: self_test::address(),
        },
        rules,
        looks_into_environments: args.only_socket.is_empty(),
        view: args.view.options()?,
        service: None,
        explain: false,
        asks_managers: false,
        records: args
            .save_records
            .as_deref()
            .map(|path| create(path).with_context(|| format!("--save-records {}", path.display())))
            .transpose()?,
        ring_bytes: args.ring_size,
        duration: args.duration,
        count: args.count,
        command: args.command.clone(),
        settle: args.settle,
        command_line: std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        warnings,
    })
}

/// The id of a cgroup: the inode number of its directory.
pub(super) fn cgroup_id(path: &Path) -> Result<u64> {
    let candidates: Vec<PathBuf> = cgroup::V2_ROOTS
        .iter()
        .filter(|root| Path::new(root).join("cgroup.procs").exists())
        .map(|root| {
            if path.starts_with(root) {
                path.to_owned()
            } else {
                Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
            }
        })
        .collect();
    if candidates.is_empty() {
        bail!(
            "--cgroup: no cgroup v2 hierarchy is mounted at {}; selection by cgroup needs one",
            cgroup::V2_ROOTS.join(" or ")
        );
    }
    candidates
        .iter()
        .find_map(|candidate| std::fs::metadata(candidate).ok())
        .map(|metadata| metadata.ino())
        .with_context(|| {
            format!(
                "--cgroup {}: there is no such cgroup (tried {})",
                path.display(),
                candidates
                    .iter()
                    .map(|c| c.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        })
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    /// The terminal went away.
    Ends,
    /// Settings are to be read anew.
    Reloads,
}

/// Listens for SIGINT, SIGTERM and SIGHUP in a thread of its own, so that a second one ends the
/// program at once even while the output blocks.
pub(super) fn listen_for_signals(on_hangup: Hangup) -> Result<pipeline::Requests> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot listen for signals")?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _guard = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            privileges::enter(Role::Talk);
            runtime.block_on(async move {
                let mut is_second = false;
                loop {
                    let number = tokio::select! {
                        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
                        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
                        _ = hangup.recv() => {
                            if on_hangup == Hangup::Reloads {
                                let _ = sender.send(Request::Reload);
                                continue;
                            }
                            SignalKind::hangup().as_raw_value()
                        }
                    };
                    if is_second {
                        #[cfg(feature = "tui")]
                        crate::top::screen::restore();
                        // The kernel takes the programs away with the process.
                        std::process::exit(128 + number);
                    }
                    is_second = true;
                    // Nobody listens any more: the end is near anyway.
                    let _ = sender.send(Request::End(number));
                }
            });
        })
        .context("cannot listen for signals")?;
    Ok(receiver)
}

/// How the program ends after a capture.
pub(super) fn exit(args: &CaptureArgs, report: &Report) -> Exit {
    let command = report.command.map_or(0, command_code);
    if command != 0 {
        Exit::Command(command)
    } else if args.fail_on_loss && report.losses.any() {
        Exit::Loss
    } else {
        Exit::Success
    }
}

/// A command's exit code as a shell shows it.
fn command_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_end_is_shown_as_a_shell_shows_it() {
        assert_eq!(command_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(command_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(command_code(ExitStatus::from_raw(9)), 137);
    }

    #[test]
    fn a_cgroup_that_is_not_there_is_named_in_the_error() {
        let error = cgroup_id(Path::new("/no/such/cgroup"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("--cgroup"), "{error}");
    }
}
