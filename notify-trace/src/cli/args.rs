//! The command line. The doc comments are the help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::compare::{self, CompareArgs};
use crate::cli::derive::{self, DeriveArgs};
use crate::cli::exit;
use crate::cli::expect::{self, ExpectArgs};
#[cfg(feature = "tui")]
use crate::cli::output::ColorArg;
use crate::cli::output::{Format, OutputArgs};
use crate::cli::parse::{parse_duration, parse_file_size, parse_size};
use crate::cli::report::{self, ReportArgs};
use crate::cli::timeline::TimelineArgs;
use crate::cli::view::ViewArgs;
use crate::event::PlanName;

/// Shows every sd_notify datagram on this host: by whom, to whom, when, and what became of it.
///
/// Nothing is stopped or changed; payloads never leave the host.
#[derive(Debug, Parser)]
#[command(name = "notify-trace", version, after_help = exit::TABLE, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Attach, and print each datagram sent to a notify socket until told to stop.
    #[command(after_long_help = format!("{TRACE_EXAMPLES}\n\n{}", exit::TABLE))]
    Trace(Box<TraceArgs>),
    /// Attach, and record every event in a file until told to stop.
    ///
    /// The file is SQLite, survives kill -9 at any moment, can be read while it grows, and holds any
    /// number of sessions (docs/recording.md). Nothing is printed; show and explain read it.
    #[command(after_long_help = format!("{RECORD_EXAMPLES}\n\n{}", exit::TABLE))]
    Record(Box<RecordArgs>),
    /// Print a recording again, through any filter and in any form.
    #[command(after_long_help = format!("{SHOW_EXAMPLES}\n\n{}", exit::TABLE))]
    Show(Box<ShowArgs>),
    /// Say of a recording why notifications were lost, what proxies made of them, and how long
    /// starts and reloads took.
    ///
    /// What systemd accepts or refuses can be told of recordings made with trace --explain, which
    /// has asked it. Each verdict says whether it is certain or inferred.
    #[command(after_long_help = format!("{EXPLAIN_EXAMPLES}\n\n{}", exit::TABLE))]
    Explain(Box<ExplainArgs>),
    /// Answer a study over recordings: how long starts, reloads and stops take, how much watchdogs have
    /// to spare, how fast datagrams are delivered, and so on.
    ///
    /// The numbers are exact order statistics, the same as those of the recordings' own SQL views
    /// (docs/studies.md).
    #[command(after_long_help = format!("{}\n\n{}", report::EXAMPLES, exit::TABLE))]
    Report(Box<ReportArgs>),
    /// Compare two sets of recordings, unit by unit: before and after an upgrade, two kernels.
    ///
    /// A difference of medians counts if its bootstrap interval does not hold zero
    /// (docs/studies.md).
    #[command(after_long_help = format!("{}\n\n{}", compare::EXAMPLES, exit::TABLE))]
    Compare(Box<CompareArgs>),
    /// Expect notifications, for tests: what must be sent while a command runs, how soon, in which order,
    /// and what must not.
    ///
    /// On failure: what was sent instead, what became of it, and why (docs/expect.md). Exit code 9.
    #[command(after_long_help = format!("{}\n\n{}", expect::EXAMPLES, exit::TABLE))]
    Expect(Box<ExpectArgs>),
    /// Write recordings in the forms of other tools.
    #[cfg(feature = "parquet")]
    #[command(after_long_help = super::export::EXAMPLES)]
    Export(super::export::ExportArgs),
    /// Draw the conclusions of a recording anew, from its events.
    ///
    /// For recordings that were cut off, and for those of an older version.
    #[command(after_long_help = derive::EXAMPLES)]
    Derive(DeriveArgs),
    /// Draw recordings: units as lanes, from start to READY=1, with every message on the axis.
    ///
    /// An HTML page that needs no network (filter, zoom, details, and why messages failed), a static
    /// SVG, or a trace for Perfetto (docs/timeline.md).
    #[command(after_long_help = format!("{TIMELINE_EXAMPLES}\n\n{}", exit::TABLE))]
    Timeline(Box<TimelineArgs>),
    /// Try what this kernel lets these privileges do, and say what to change.
    ///
    /// Each hook is loaded and attached for real, then detached; then the plan that trace would
    /// choose, with its self-test. Nothing stays attached. The last line is the answer; the exit
    /// code is 0 if everything can be traced, 6 if something can't be told, and else the one that
    /// trace would end with.
    #[command(after_long_help = format!("{DOCTOR_EXAMPLES}\n\n{}", exit::TABLE))]
    Doctor(DoctorArgs),
    /// Show the notify sockets that exist now, who has them, and who was told to use them.
    #[command(after_long_help = SOCKETS_EXAMPLES)]
    Sockets(SocketsArgs),
    /// Attach, and show a live view of all units that send notifications, on the whole terminal.
    ///
    /// For each unit: what it is doing and what it said last, how often it sends, how much of its
    /// watchdog's time was left, how fast its messages arrive, what failed, and the verdicts. Enter
    /// shows a unit's history, ? all keys, q ends it (docs/top.md). The service managers are asked
    /// about the units that send, as with trace --explain.
    #[cfg(feature = "tui")]
    #[command(
        after_long_help = format!("{TOP_EXAMPLES}\n\n{}", exit::TABLE),
        mut_arg("settle", |arg| arg.hide(true)),
        mut_arg("command", |arg| arg.hide(true)),
    )]
    Top(Box<TopArgs>),
    /// The self-test's child: waits for the end of its input, sends one datagram, exits.
    #[command(name = crate::probe::self_test::CHILD_VERB, hide = true)]
    SelfTestSender {
        /// Abstract name to send to.
        address: String,
    },
}

const TRACE_EXAMPLES: &str = "\
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

const RECORD_EXAMPLES: &str = "\
Examples:
  notify-trace record boot.ntrec
      everything, until Ctrl-C
  notify-trace record /var/lib/notify-trace/host.ntrec --max-age 30d --max-size 1G
      for ever, the last month of it, at most a gigabyte
  notify-trace record update.ntrec --unit nginx -- systemctl restart nginx
      one service, while a command runs
  notify-trace record early.ntrec --from-boot
      from an early unit, before the disk can be written";

const SHOW_EXAMPLES: &str = "\
Examples:
  notify-trace show boot.jsonl
      as trace would have printed it
  notify-trace show boot.jsonl --unit docker --time delta -v
      one service, every fact, with the time between
  notify-trace show boot.jsonl --explain
      with the conclusions between the lines
  notify-trace show - --keys-only -o json
      from the standard input, without values, as JSON Lines";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  notify-trace explain boot.jsonl
      verdicts, hops and units of a whole recording
  notify-trace explain boot.jsonl --unit app
      why app.service never became ready
  notify-trace explain boot.jsonl --fail-on-verdict -o json
      for a test: exit code 7 if a notification was lost, and why as JSON Lines";

const TIMELINE_EXAMPLES: &str = "\
Examples:
  notify-trace timeline boot.ntrec -o boot.html
      a page for any browser: what started when, what was slow, what failed and why
  notify-trace timeline before.ntrec after.ntrec -o update.svg --unit nginx
      two recordings of one service below each other, as a picture
  notify-trace timeline boot.jsonl -o boot.json --keys-only
      a trace for Perfetto's UI, without values";

#[cfg(feature = "tui")]
const TOP_EXAMPLES: &str = "\
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
#[cfg(feature = "tui")]
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

const DOCTOR_EXAMPLES: &str = "\
Examples:
  notify-trace doctor
      as root: what works here, and what would make more work
  notify-trace doctor --json > report.json
      the same for programs (docs/doctor.md explains every field)
  notify-trace doctor --btf /boot/vmlinux.btf
      with type information from a file, as trace --btf would";

/// What is captured: the arguments that `trace` and `record` share.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// Stop after this time, such as 30s, 5m, 500ms
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Stop after this many notifications
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Go on for this time after the command has ended, so that what it caused is seen too
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "500ms")]
    pub settle: Duration,

    /// Also show datagrams to sockets whose address matches: a path, or @NAME for an abstract one;
    /// * is any run of characters but /, ** any run at all
    #[arg(long, value_name = "GLOB")]
    pub socket: Vec<String>,

    /// Show datagrams to these sockets only, instead of those known as notify sockets
    #[arg(long, value_name = "GLOB")]
    pub only_socket: Vec<String>,

    /// Also show what systemd-udevd, importd and the like tell their own helpers' sockets
    /// (abstract names of digits; many datagrams)
    #[arg(long)]
    pub internal: bool,

    /// Only what these processes send (repeatable); decided in the kernel
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,

    /// Only what is sent from this cgroup and those below it (repeatable): a path below the cgroup
    /// v2 root, such as /system.slice/nginx.service; decided in the kernel
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,

    /// End with exit code 5 if anything was lost
    #[arg(long)]
    pub fail_on_loss: bool,

    /// Size of each CPU's ring in bytes (K and M are understood), rounded up to a power of two of
    /// pages
    #[arg(long, value_name = "BYTES", value_parser = parse_size, default_value = "1M")]
    pub ring_size: u64,

    /// How to trace; by default the best plan that works on this kernel
    #[arg(long, value_enum, default_value_t = PlanArg::Auto)]
    pub plan: PlanArg,

    /// Type information of this very kernel, where the kernel itself has none
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,

    /// Save the kernel programs' records to this file as they are, for a report of a defect
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["redact", "keys_only"])]
    pub save_records: Option<PathBuf>,

    /// What is shown.
    #[command(flatten)]
    pub view: ViewArgs,

    /// Trace until this command has ended
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

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

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The recording: a new file, or one of notify-trace to be continued
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Delete the oldest events while the file has more bytes than this (K, M and G are understood)
    #[arg(long, value_name = "BYTES", value_parser = parse_file_size)]
    pub max_size: Option<u64>,

    /// Delete events that are older than this, such as 24h or 30d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_age: Option<Duration>,

    /// When events count as stored
    #[arg(long, value_enum, default_value_t = DurabilityArg::Full)]
    pub durability: DurabilityArg,

    /// Begin before the disk can be written: events wait in memory until the file can be made
    #[arg(long)]
    pub from_boot: bool,

    /// Do not ask the service managers about the units that send: explain will know less
    #[arg(long)]
    pub no_facts: bool,

    /// Print how many events are stored, whenever more are: what no crash takes away any more
    #[arg(long)]
    pub acknowledge: bool,

    /// What is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
}

/// When events count as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// When the disk has them: a power loss takes nothing away.
    Full,
    /// When the kernel has them: a power loss may take the last seconds.
    Normal,
}

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

const SOCKETS_EXAMPLES: &str = "\
Examples:
  notify-trace sockets
      every notify socket with its owner, its queue and the processes that have it as NOTIFY_SOCKET
  notify-trace sockets -o json
      the same as one JSON document
  notify-trace sockets --only-socket /run/systemd/notify
      the system manager's, and the services that report to it

Nothing is attached to what others call. Without root only one's own processes can be looked at; what could not be seen
is said at the end.";

/// Arguments of `sockets`.
#[derive(Debug, Args)]
pub struct SocketsArgs {
    /// How to print: text for people, or one JSON document (docs/sockets.md explains every field)
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,

    /// Also show sockets whose address matches: a path, or @NAME for an abstract one; * is any run
    /// of characters but /, ** any run at all
    #[arg(long, value_name = "GLOB")]
    pub socket: Vec<String>,

    /// Show these sockets only, instead of those known as notify sockets and those in the
    /// environments of processes
    #[arg(long, value_name = "GLOB")]
    pub only_socket: Vec<String>,

    /// Also show the sockets by which systemd-udevd, importd and the like hear their own helpers
    /// (abstract names of digits)
    #[arg(long)]
    pub internal: bool,
}

/// Plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanArg {
    /// The best that works.
    Auto,
    /// kprobes and trampolines.
    Full,
    /// kprobes only.
    NoTrampolines,
    /// Raw tracepoints only.
    Tracepoints,
}

impl PlanArg {
    /// The plan that is forced, if any.
    #[must_use]
    pub const fn forced(self) -> Option<PlanName> {
        match self {
            Self::Auto => None,
            Self::Full => Some(PlanName::Full),
            Self::NoTrampolines => Some(PlanName::NoTrampolines),
            Self::Tracepoints => Some(PlanName::Tracepoints),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_in_the_readme_and_the_help_is_valid() {
        let readme = include_str!("../../../README.md");
        #[cfg(feature = "tui")]
        let top = TOP_EXAMPLES;
        #[cfg(not(feature = "tui"))]
        let top = "";
        let commands: Vec<&str> = readme
            .lines()
            .chain(top.lines())
            .chain(TRACE_EXAMPLES.lines())
            .chain(DOCTOR_EXAMPLES.lines())
            .chain(SOCKETS_EXAMPLES.lines())
            .chain(RECORD_EXAMPLES.lines())
            .chain(SHOW_EXAMPLES.lines())
            .chain(EXPLAIN_EXAMPLES.lines())
            .chain(report::EXAMPLES.lines())
            .chain(compare::EXAMPLES.lines())
            .chain(derive::EXAMPLES.lines())
            .chain(expect::EXAMPLES.lines())
            .chain(TIMELINE_EXAMPLES.lines())
            .map(|line| line.split(" #").next().unwrap_or_default().trim())
            .filter(|line| line.starts_with("notify-trace "))
            .filter(|line| cfg!(feature = "tui") || !line.starts_with("notify-trace top"))
            .map(|line| line.split(" > ").next().unwrap_or_default())
            .collect();
        assert!(commands.len() > 10, "{commands:?}");
        for command in commands {
            // What stands in quotes is one word.
            let words = command.split('\'').enumerate().flat_map(|(number, part)| {
                if number % 2 == 1 {
                    vec![part]
                } else {
                    part.split_whitespace().collect()
                }
            });
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }

    #[test]
    fn what_follows_two_dashes_is_the_command() {
        let cli = Cli::try_parse_from(["notify-trace", "trace", "-o", "json", "--", "a", "-b"])
            .expect("valid");
        let Verb::Trace(args) = cli.verb else {
            panic!("another verb");
        };
        assert_eq!(args.capture.command, ["a", "-b"]);
        assert_eq!(args.output.output, Format::Json);
    }
}
