//! The command line. The doc comments are the help.

use clap::{Parser, Subcommand};

use super::agent::{self, AgentArgs};
use super::compare::{self, CompareArgs};
use super::derive::{self, DeriveArgs};
use super::doctor::{self, DoctorArgs};
use super::exit;
use super::expect::{self, ExpectArgs};
use super::record::{self, RecordArgs};
use super::replay::{self, ExplainArgs, ShowArgs};
use super::report::{self, ReportArgs};
use super::sockets::{self, SocketsArgs};
use super::timeline::{self, TimelineArgs};
#[cfg(feature = "tui")]
use super::top::{self, TopArgs};
use super::trace::{self, TraceArgs};

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
    #[command(after_long_help = format!("{}\n\n{}", trace::EXAMPLES, exit::TABLE))]
    Trace(Box<TraceArgs>),
    /// Attach, and record every event in a file until told to stop.
    ///
    /// The file is SQLite, survives kill -9 at any moment, can be read while it grows, and holds any
    /// number of sessions (docs/recording.md). Nothing is printed; show and explain read it.
    #[command(after_long_help = format!("{}\n\n{}", record::EXAMPLES, exit::TABLE))]
    Record(Box<RecordArgs>),
    /// Attach for good, as a service: record, count, and tell the service manager how it is.
    ///
    /// Settings are those of a file, the environment and --set (docs/agent.md); SIGHUP has them read
    /// anew.
    #[command(after_long_help = format!("{}\n\n{}", agent::EXAMPLES, exit::TABLE))]
    Agent(AgentArgs),
    /// Print a recording again, through any filter and in any form.
    #[command(after_long_help = format!("{}\n\n{}", replay::SHOW_EXAMPLES, exit::TABLE))]
    Show(Box<ShowArgs>),
    /// Say of a recording why notifications were lost, what proxies made of them, and how long
    /// starts and reloads took.
    ///
    /// What systemd accepts or refuses can be told of recordings made with trace --explain, which
    /// has asked it. Each verdict says whether it is certain or inferred.
    #[command(after_long_help = format!("{}\n\n{}", replay::EXPLAIN_EXAMPLES, exit::TABLE))]
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
    #[command(after_long_help = format!("{}\n\n{}", timeline::EXAMPLES, exit::TABLE))]
    Timeline(Box<TimelineArgs>),
    /// Try what this kernel lets these privileges do, and say what to change.
    ///
    /// Each hook is loaded and attached for real, then detached; then the plan that trace would
    /// choose, with its self-test. Nothing stays attached. The last line is the answer; the exit
    /// code is 0 if everything can be traced, 6 if something can't be told, and else the one that
    /// trace would end with.
    #[command(after_long_help = format!("{}\n\n{}", doctor::EXAMPLES, exit::TABLE))]
    Doctor(DoctorArgs),
    /// Show the notify sockets that exist now, who has them, and who was told to use them.
    #[command(after_long_help = sockets::EXAMPLES)]
    Sockets(SocketsArgs),
    /// Attach, and show a live view of all units that send notifications, on the whole terminal.
    ///
    /// For each unit: what it is doing and what it said last, how often it sends, how much of its
    /// watchdog's time was left, how fast its messages arrive, what failed, and the verdicts. Enter
    /// shows a unit's history, ? all keys, q ends it (docs/top.md). The service managers are asked
    /// about the units that send, as with trace --explain.
    #[cfg(feature = "tui")]
    #[command(
        after_long_help = format!("{}\n\n{}", top::EXAMPLES, exit::TABLE),
        mut_arg("settle", |arg| arg.hide(true)),
        mut_arg("command", |arg| arg.hide(true)),
    )]
    Top(Box<TopArgs>),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::cli::output::Format;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_in_the_readme_and_the_help_is_valid() {
        let readme = include_str!("../../../README.md");
        #[cfg(feature = "tui")]
        let top = top::EXAMPLES;
        #[cfg(not(feature = "tui"))]
        let top = "";
        let commands: Vec<&str> = readme
            .lines()
            .chain(top.lines())
            .chain(trace::EXAMPLES.lines())
            .chain(doctor::EXAMPLES.lines())
            .chain(sockets::EXAMPLES.lines())
            .chain(record::EXAMPLES.lines())
            .chain(replay::SHOW_EXAMPLES.lines())
            .chain(replay::EXPLAIN_EXAMPLES.lines())
            .chain(report::EXAMPLES.lines())
            .chain(compare::EXAMPLES.lines())
            .chain(derive::EXAMPLES.lines())
            .chain(expect::EXAMPLES.lines())
            .chain(timeline::EXAMPLES.lines())
            .chain(agent::EXAMPLES.lines())
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
