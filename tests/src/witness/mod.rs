//! In a guest whose service managers tell all that they do: the agent's trace against their journal,
//! and against strace of one sender.
//!
//! ```text
//! workload ──▶ managers ──journal──▶ journal (lines) ─┐
//!     │   └──▶ agent ──JSON Lines──▶ shown (dequeues) ┼─▶ compare
//!     └──▶ attempts ──▶ strace ───────────────────────┴─▶ strace
//! ```
//!
//! Both accounts end at the last thing that each manager is told.

mod attempts;
mod compare;
mod fields;
mod journal;
mod serve;
mod strace;
mod workload;

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};

pub use self::{
    attempts::attempts,
    serve::{say, serve},
};
use self::{
    compare::{Dequeue, compare},
    journal::{Entry, Line, Said},
    workload::{ABSENT, CROWD, DEAD, END, STRACE, SYSTEM, timed},
};
use crate::{
    driver::Counts,
    shown::{Datagram, Outcome, Shown},
    systemd::wait_for_boot,
};

const TRACE: &str = "/run/notify-trace/trace.jsonl";
const USER: &str = "/run/user/0/systemd/notify";
/// So many differences are printed.
const DIFFERENCES: usize = 40;
/// Each service of a crowd says at least: ready, a barrier, two for a reload, stopping.
const FEWEST: usize = 5 * CROWD;
const FEWEST_OF_USER: usize = 150;

/// Both accounts, and who wrote them.
struct Accounts {
    shown: Shown,
    entries: Vec<Entry>,
    user_manager: u32,
}

type Test = (&'static str, fn(&Accounts) -> Result<String>);

const TESTS: [Test; 4] = [
    ("neither_account_lost_anything", losses),
    (
        "the_system_manager_tells_the_same_as_the_trace",
        |accounts| same(accounts, 1, SYSTEM, FEWEST),
    ),
    ("a_users_manager_tells_the_same_as_the_trace", |accounts| {
        same(accounts, accounts.user_manager, USER, FEWEST_OF_USER)
    }),
    ("strace_sees_the_same_calls_bytes_and_errors", same_calls),
];

/// Runs all tests and says how they ended.
pub fn run() -> ExitCode {
    let mut counts = Counts::default();
    match accounts() {
        Ok(accounts) => {
            for (name, test) in TESTS {
                counts.check_saying(&format!("witness::{name}"), test(&accounts));
            }
        }
        Err(error) => counts.check("witness::both_accounts_were_written", Err(error)),
    }
    counts.tell()
}

/// Lets all happen, then reads what both say of it.
fn accounts() -> Result<Accounts> {
    // Whatever is still starting belongs to it.
    timed("until all is started", || {
        wait_for_boot();
        Ok(())
    })?;
    let user_manager = workload::all()?;
    // Its last words are the summary: then nothing is held back.
    workload::run(Command::new("systemctl").args(["stop", "notify-trace.service"]))?;
    let text = fs::read_to_string(TRACE).context("the agent has said nothing")?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let shown = Shown::read(&lines)?;

    workload::run(Command::new("journalctl").arg("--sync"))?;
    let mut journalctl = Command::new("journalctl");
    journalctl.args(["--output=json", "--all", "--no-pager"]);
    journalctl.arg(
        "--output-fields=MESSAGE,_PID,SYSLOG_PID,SYSLOG_IDENTIFIER,_TRANSPORT,\
         _SOURCE_REALTIME_TIMESTAMP,_SOURCE_MONOTONIC_TIMESTAMP,_SOURCE_BOOTTIME_TIMESTAMP",
    );
    // Most lines are about other things, and each costs time.
    journalctl.arg(format!("--grep={}", journal::PATTERN));
    journalctl.arg("SYSLOG_IDENTIFIER=systemd");
    journalctl.arg("SYSLOG_IDENTIFIER=systemd-journald");
    let journal = timed("reading the journal", || workload::run(&mut journalctl))?;
    let entries: Result<Vec<Entry>> = String::from_utf8(journal.stdout)
        .context("the journal is not UTF-8")?
        .lines()
        .map(|line| Entry::read(line).with_context(|| format!("an entry of the journal: {line}")))
        .collect();
    Ok(Accounts {
        shown,
        entries: entries?,
        user_manager,
    })
}

fn losses(accounts: &Accounts) -> Result<String> {
    let lost: Vec<String> = accounts.entries.iter().filter_map(Entry::loss).collect();
    ensure!(
        lost.is_empty(),
        "the journal is not whole, so it proves nothing: {}",
        lost.join("; ")
    );
    let summary = accounts.shown.summary.as_ref().context("no summary")?;
    ensure!(
        summary.losses.of_records() == 0 && summary.losses.returns_missed == 0,
        "the agent lost something: {:?}",
        summary.losses
    );
    Ok(format!(
        "{} entries that matter, {} notifications",
        accounts.entries.len(),
        summary.notifications
    ))
}

/// Compares both accounts of one manager.
fn same(accounts: &Accounts, manager: u32, address: &str, fewest: usize) -> Result<String> {
    let session = accounts.shown.session.as_ref().context("no session")?;
    let ahead_us = journal::ahead_us(&accounts.entries).context("the journal is empty")?;
    let lines: Vec<Line> = accounts
        .entries
        .iter()
        .filter_map(|entry| entry.line_of(manager, ahead_us))
        .collect();
    let mut dequeues = Vec::new();
    for datagram in &accounts.shown.datagrams {
        if is_taken_by(datagram, manager, address) {
            dequeues.push(dequeue(datagram)?);
        }
    }
    let (lines, dequeues) = until_end(lines, dequeues)?;
    let outcome = compare(&lines, &dequeues, session.monotonic_ns);
    if !outcome.is_the_same() {
        let differences: Vec<String> = outcome.differences().collect();
        let shown = differences.len().min(DIFFERENCES);
        bail!(
            "{outcome}\n{}\n{} differences in all",
            differences[..shown].join("\n"),
            differences.len()
        );
    }
    ensure!(outcome.matched() >= fewest, "only this happened: {outcome}");
    for (what, count) in [
        ("message", outcome.messages),
        ("barrier", outcome.barriers),
        ("refusal", outcome.refusals),
    ] {
        ensure!(count > 0, "no {what}, so that is untested: {outcome}");
    }
    Ok(outcome.to_string())
}

fn is_taken_by(datagram: &Datagram, manager: u32, address: &str) -> bool {
    let reader = datagram.delivery.reader.as_ref();
    let receiver = datagram.receiver.as_ref();
    reader.is_some_and(|reader| reader.pid == manager)
        && receiver
            .and_then(|receiver| receiver.address.as_ref())
            .is_some_and(|said| said.address() == address.as_bytes())
}

fn dequeue(datagram: &Datagram) -> Result<Dequeue> {
    let id = datagram.id;
    Ok(Dequeue {
        at_ns: datagram
            .timing
            .dequeued_ns
            .with_context(|| format!("no time of the dequeue of #{id}"))?,
        pid: datagram
            .delivery
            .credentials
            .with_context(|| format!("no credentials of #{id}"))?
            .pid,
        payload: datagram
            .payload
            .as_ref()
            .with_context(|| format!("no payload of #{id}"))?
            .bytes(),
        length_bytes: datagram.length_bytes,
        was_sent: datagram.sender.is_some()
            && datagram.timing.entry_ns.is_some()
            && matches!(datagram.result, Some(Outcome::SentBytes(bytes)) if bytes == datagram.length_bytes),
    })
}

/// Both up to the last thing that the manager was told.
fn until_end(
    mut lines: Vec<Line>,
    mut dequeues: Vec<Dequeue>,
) -> Result<(Vec<Line>, Vec<Dequeue>)> {
    lines.sort_by_key(|line| line.at_ns);
    dequeues.sort_by_key(|dequeue| dequeue.at_ns);
    let end = lines
        .iter()
        .rposition(
            |line| matches!(&line.said, Said::Message { text, .. } if text == END.as_bytes()),
        )
        .context("the manager's journal does not have the end")?;
    lines.truncate(end + 1);
    let end = dequeues
        .iter()
        .rposition(|dequeue| dequeue.payload == END.as_bytes())
        .context("the trace does not have the end")?;
    dequeues.truncate(end + 1);
    Ok((lines, dequeues))
}

fn same_calls(accounts: &Accounts) -> Result<String> {
    let text = fs::read_to_string(STRACE).context("strace has said nothing")?;
    let addresses = [SYSTEM, DEAD, ABSENT].map(str::as_bytes);
    let theirs = strace::read(&text, |path| addresses.contains(&path))?;
    let pids: BTreeSet<u32> = theirs.iter().map(|attempt| attempt.pid).collect();
    let ours = strace::of_agent(&accounts.shown, &pids);
    strace::compare(&theirs, &ours)?;
    let errors: BTreeSet<&str> = theirs
        .iter()
        .filter_map(|attempt| attempt.result.as_ref().err().map(String::as_str))
        .collect();
    for error in ["ENOENT", "ECONNREFUSED", "EMSGSIZE", "EPERM"] {
        ensure!(errors.contains(error), "no {error}, so that is untested");
    }
    let has_retry = accounts.shown.datagrams.iter().any(|datagram| {
        let sender = datagram.sender.as_ref();
        datagram.retry_of.is_some() && sender.is_some_and(|sender| pids.contains(&sender.pid))
    });
    ensure!(
        has_retry,
        "the second attempt after EPERM is not told as such"
    );
    let errors: Vec<&str> = errors.into_iter().collect();
    Ok(format!(
        "{} calls, among them {}",
        theirs.len(),
        errors.join(", ")
    ))
}
