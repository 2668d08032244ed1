//! The tests that need a kernel: one static program that is the guest's process 1, the driver, and
//! every sender and receiver.
//!
//! ```text
//! init ──▶ driver ──▶ agent ──JSON Lines──▶ shown ─┐
//!            │                                     ├─▶ verify
//!            └──▶ a case's process (stage) ──truth─┘
//! ```
//!
//! Each case runs as a process of its own, sends to receivers that are processes of their own, and
//! writes down what really happened. One agent sees all of it. When it has been stopped, everything
//! it said is compared with the truth.
//!
//! On a development machine, as root:
//! `notify-trace-tests --native --agent PATH [--plan NAME] [--only NAME] [--flood]`.
//!
//! The same program is the bench's (`bench`), because that, too, is static and runs in guests.

#![deny(unsafe_code)]

mod bench;
mod cases;
mod driver;
mod init;
mod need;
mod pipe;
mod plan;
mod play;
mod power;
mod procfs;
#[allow(unsafe_code, reason = "system calls that the standard library lacks")]
mod raw;
mod receiver;
mod service;
mod shown;
mod small;
mod speak;
mod stage;
mod systemd;
mod systems;
mod tracer;
mod truth;
mod verify;
mod whole;
mod witness;

use std::{env, fs, os::unix::net::UnixStream, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{
    driver::{Driver, Settings},
    need::Home,
};

fn main() -> ExitCode {
    // The first process of a container may be a sender.
    let is_sender = env::args().nth(1).is_some_and(|verb| verb == "speak");
    if std::process::id() == 1 && !is_sender {
        init::run();
    }
    match dispatch() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("notify-trace-tests: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["driver"] => init::driver(),
        ["stage", name, cgroup, dir] => {
            play::stage(name, cgroup, Path::new(dir)).map(|()| ExitCode::SUCCESS)
        }
        ["systemd"] => Ok(systemd::run()),
        ["systems"] => Ok(systems::run()),
        ["service"] => Ok(service::run()),
        ["witness"] => Ok(witness::run()),
        ["witness-serve", name] => witness::serve(name).map(|()| ExitCode::SUCCESS),
        ["witness-say", text] => witness::say(text).map(|()| ExitCode::SUCCESS),
        ["witness-attempts"] => witness::attempts().map(|()| ExitCode::SUCCESS),
        ["speak", ref words @ ..] => speak::run(words),
        ["speak-by-crate"] => speak::by_crate().map(|()| ExitCode::SUCCESS),
        ["speak-from-many", prefix, units, cgroups, socket, text] => {
            let (units, cgroups) = (units.parse()?, cgroups.parse()?);
            speak::from_many(prefix, units, cgroups, socket, text).map(|()| ExitCode::SUCCESS)
        }
        ["relay", ref words @ ..] => speak::relay(words),
        ["power-loss", path] => power::run(path).map(|()| ExitCode::SUCCESS),
        ["wait"] => small::wait().map(|()| ExitCode::SUCCESS),
        ["connect-stream", path] => {
            UnixStream::connect(path).with_context(|| format!("could not connect to {path}"))?;
            Ok(ExitCode::SUCCESS)
        }
        ["send", to, text, code] => small::send(to, text, code),
        ["as-user", uid, program, ref arguments @ ..] => small::as_user(uid, program, arguments),
        ["without-tracepoints", program, ref arguments @ ..] => {
            small::without_tracepoints(program, arguments)
        }
        ["bench", ref options @ ..] => bench::run(options),
        ["--native", ref options @ ..] => native(options),
        _ => bail!(
            "usage: notify-trace-tests --native --agent PATH [--plan NAME] [--only NAME] [--flood]"
        ),
    }
}

/// On this very machine, in a private folder.
fn native(options: &[&str]) -> Result<ExitCode> {
    let root = env::temp_dir().join(format!("notify-trace-tests.{}", std::process::id()));
    let mut settings = Settings {
        agent: "notify-trace".into(),
        plan: None,
        only: None,
        home: Home::Native,
        with_flood: false,
        root: root.clone(),
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || {
            options
                .next()
                .map(|value| (*value).to_owned())
                .context("a value is missing")
        };
        match *option {
            "--agent" => settings.agent = value()?.into(),
            "--plan" => settings.plan = Some(value()?),
            "--only" => settings.only = Some(value()?),
            "--flood" => settings.with_flood = true,
            other => bail!("what is {other}?"),
        }
    }
    settings.agent = fs::canonicalize(&settings.agent)
        .with_context(|| format!("no agent at {}", settings.agent.display()))?;
    verify::allow_a_steered_clock();
    fs::create_dir(&root).with_context(|| format!("could not create {}", root.display()))?;
    let counts = Driver::new(settings).run();
    fs::remove_dir_all(&root).with_context(|| format!("could not remove {}", root.display()))?;
    println!("{counts}");
    Ok(if counts.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
