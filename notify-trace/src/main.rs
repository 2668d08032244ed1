//! Parses the command line, runs the verb, prints one chain of errors, ends with its exit code; or is the
//! self-test's child.

use std::env;
use std::process::ExitCode;

use clap::Parser as _;
use notify_trace::cli::args::{Cli, Verb};
use notify_trace::cli::exit::Exit;
use notify_trace::cli::{
    agent, compare, derive, doctor, expect, record, replay, report, sockets, timeline, trace,
};
use notify_trace::escape;
use notify_trace::probe::{descriptors, loader, self_test};

fn main() -> ExitCode {
    let result = match self_test::address_of_child(env::args_os()) {
        // Who started it waits for it, and both may have but one CPU.
        Some(address) => self_test::child(&address).map(|()| Exit::Success),
        None => {
            let verb = Cli::parse().verb;
            descriptors::make_room();
            loader::prepare().and_then(|()| run(verb))
        }
    };
    let exit = result.unwrap_or_else(|error| {
        print_chain(&error);
        Exit::of(&error)
    });
    exit.into()
}

fn run(verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Trace(args) => trace::run(&args),
        Verb::Record(args) => record::run(&args),
        Verb::Agent(args) => agent::run(&args),
        Verb::Show(args) => replay::show(&args),
        Verb::Explain(args) => replay::explain(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Expect(args) => expect::run(&args),
        Verb::Compare(args) => compare::run(&args),
        #[cfg(feature = "parquet")]
        Verb::Export(args) => notify_trace::cli::export::run(&args),
        Verb::Derive(args) => derive::run(&args),
        Verb::Timeline(args) => timeline::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Sockets(args) => sockets::run(&args),
        #[cfg(feature = "tui")]
        Verb::Top(args) => notify_trace::cli::top::run(&args),
    }
}

/// Prints what failed and, indented, what caused it. Lines of a cause (a verifier's log) stay
/// lines; whatever else a terminal could take for a command is escaped.
fn print_chain(error: &anyhow::Error) {
    let mut previous = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        // Many causes repeat what they were caused by.
        if depth > 0 && previous.contains(&text) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let lead = match (depth, number) {
                (0, 0) => "notify-trace: ",
                (_, 0) => "  because: ",
                _ => "    ",
            };
            eprintln!("{lead}{}", escape::escape(line.as_bytes()));
        }
        previous = text;
    }
}
