//! What `doctor` says, held against what the test reads itself, and against what `trace` does.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Alone, life::agent_for_nobody};
use crate::{
    need::Home,
    pipe::until,
    play::this_program,
    raw::{
        bpf::{self, Kind},
        process,
    },
    shown,
    tracer::{Agent, Ended},
};

/// The report, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Report {
    format_version: u32,
    kernel: String,
    machine: String,
    verdict: String,
    exit_code: i32,
    refusal: Option<String>,
    checks: Vec<Check>,
    hooks: Vec<Hook>,
    plan: Option<shown::Plan>,
    warnings: Vec<String>,
    advice: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    status: String,
    found: String,
    follows: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Hook {
    program: String,
    style: String,
    target: String,
    status: String,
    attached: Option<bool>,
}

impl Report {
    fn read(ended: &Ended) -> Result<Self> {
        let said = ended.said.join("\n");
        let report: Self = serde_json::from_str(&said)
            .with_context(|| format!("it says {said}; {}", ended.complaints.trim()))?;
        ensure!(
            ended.code() == Some(report.exit_code),
            "it ended with {}, and says {}",
            ended.status,
            report.exit_code
        );
        ensure!(report.format_version == 1, "an unknown format");
        let expected = match report.exit_code {
            0 => "usable",
            6 => "limited",
            _ => "not_usable",
        };
        ensure!(
            report.verdict == expected,
            "the verdict is {}, the exit code {}",
            report.verdict,
            report.exit_code
        );
        Ok(report)
    }

    fn check(&self, name: &str) -> Result<&Check> {
        let mut checks = self.checks.iter();
        checks
            .find(|check| check.name == name)
            .with_context(|| format!("no check {name}"))
    }

    fn names(&self) -> Vec<&str> {
        self.checks
            .iter()
            .map(|check| check.name.as_str())
            .collect()
    }
}

fn doctor(alone: &Alone<'_>, arguments: &[&str]) -> Result<Ended> {
    let mut command = Command::new(alone.agents.path());
    command.arg("doctor").args(arguments);
    Agent::spawn(&mut command)?.ended()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

pub fn doctor_agrees_with_the_kernel_and_with_trace(alone: &Alone<'_>) -> Result<()> {
    if alone.home == Home::Guest {
        let before = Report::read(&doctor(alone, &["--json"])?)?;
        let status = &before.check("lockdown")?.status;
        ensure!(
            status == "unknown",
            "without securityfs, lockdown is {status}"
        );
        process::mount("securityfs", Path::new("/sys/kernel/security"))
            .context("could not mount securityfs")?;
    }
    let report = Report::read(&doctor(alone, &["--json"])?)?;
    let release = read("/proc/sys/kernel/osrelease").context("no release")?;
    ensure!(report.kernel == release, "the kernel is {}", report.kernel);
    ensure!(
        report.machine == std::env::consts::ARCH,
        "the machine is {}",
        report.machine
    );
    settings_are_right(&report)?;
    lockdown_is_right(&report)?;
    if alone.home == Home::Guest {
        hooks_are_those_of_the_kernel(&report)?;
        let found = &report.check("cgroups")?.found;
        ensure!(found == "v2 at /sys/fs/cgroup", "cgroups: {found}");
        let found = &report.check("tracefs")?.found;
        ensure!(found == "/sys/kernel/tracing", "tracefs: {found}");
    }
    plan_is_that_of_trace(alone, &report)?;
    until("the doctor's programs to be gone", || {
        let programs = bpf::objects(Kind::Program)?;
        Ok((!programs
            .values()
            .any(|name| name == "send_entry" || name == "tramp_send"))
        .then_some(()))
    })?;
    lines_hold(&doctor(alone, &[])?)
}

fn settings_are_right(report: &Report) -> Result<()> {
    for (name, path) in [
        ("perf_event_paranoid", "kernel/perf_event_paranoid"),
        (
            "unprivileged_bpf_disabled",
            "kernel/unprivileged_bpf_disabled",
        ),
        ("bpf_jit_enable", "net/core/bpf_jit_enable"),
        ("ftrace_enabled", "kernel/ftrace_enabled"),
        ("max_dgram_qlen", "net/unix/max_dgram_qlen"),
    ] {
        let check = report.check(name)?;
        match read(&format!("/proc/sys/{path}")) {
            Some(value) => ensure!(check.found == value, "{name} is {value}: {check:?}"),
            None => ensure!(check.status == "unknown", "{name} can't be read: {check:?}"),
        }
    }
    Ok(())
}

fn lockdown_is_right(report: &Report) -> Result<()> {
    let check = report.check("lockdown")?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let is_mounted = mounts.lines().any(|line| line.contains(" securityfs "));
    match read("/sys/kernel/security/lockdown") {
        Some(modes) => ensure!(
            modes.contains(&format!("[{}]", check.found)),
            "of {modes}, the mode is {}",
            check.found
        ),
        None if is_mounted => ensure!(check.status == "ok", "{check:?}"),
        None => ensure!(check.status == "unknown", "{check:?}"),
    }
    Ok(())
}

/// A hook can be attached if and only if the kernel has its function, or the function that calls
/// those who listen to its tracepoint.
fn hooks_are_those_of_the_kernel(report: &Report) -> Result<()> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("no /proc/kallsyms")?;
    let symbols: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    ensure!(
        symbols.contains("unix_dgram_sendmsg"),
        "/proc/kallsyms is of no use"
    );
    ensure!(report.hooks.len() == 22, "{} hooks", report.hooks.len());
    for hook in &report.hooks {
        let symbol = match hook.style.as_str() {
            "raw_tracepoint" => format!("__traceiter_{}", hook.target),
            _ => hook.target.clone(),
        };
        let expected = symbols.contains(symbol.as_str());
        ensure!(
            hook.attached == Some(expected),
            "{symbol} is in /proc/kallsyms: {expected}; {hook:?}"
        );
        ensure!((hook.status == "ok") == expected, "{hook:?}");
    }
    Ok(())
}

fn plan_is_that_of_trace(alone: &Alone<'_>, report: &Report) -> Result<()> {
    let mut command = Command::new(alone.agents.path());
    command.args(["trace", "-o", "json"]);
    let mut agent = Agent::spawn(&mut command)?;
    agent.wait_ready()?;
    let session = agent.stop()?.session.context("no session")?;
    let plan = report.plan.as_ref().context("no plan")?;
    let all = |plan: &shown::Plan| {
        let shown::Plan {
            name,
            reason,
            limits,
            programs,
        } = plan.clone();
        (name, reason, limits, programs)
    };
    ensure!(
        all(plan) == all(&session.plan),
        "trace has the plan {:?}, and doctor says {plan:?}",
        session.plan
    );
    ensure!(
        report.warnings == session.warnings,
        "trace warns {:?}, and doctor {:?}",
        session.warnings,
        report.warnings
    );
    let attached: BTreeSet<_> = report
        .hooks
        .iter()
        .filter(|hook| hook.attached == Some(true))
        .map(|hook| &hook.program)
        .collect();
    for program in session.plan.programs.keys() {
        ensure!(
            attached.contains(program),
            "{program} is attached, but not by doctor"
        );
    }
    ensure!(
        report.check("plan")?.found == plan.name,
        "the check names another plan"
    );
    ensure!(
        report.check("self_test")?.status == "ok",
        "{:?}",
        report.check("self_test")?
    );
    Ok(())
}

fn lines_hold(ended: &Ended) -> Result<()> {
    ensure!(ended.complaints.is_empty(), "{}", ended.complaints);
    for line in &ended.said {
        ensure!(line.chars().count() <= 80, "too long: {line}");
    }
    let last = ended.said.last().context("it says nothing")?;
    let expected = match ended.code() {
        Some(0) => "usable: ",
        Some(6) => "limited: ",
        _ => "NOT USABLE: ",
    };
    ensure!(last.starts_with(expected), "{}: {last}", ended.status);
    Ok(())
}

pub fn doctor_as_nobody_says_all_and_ends_with_3(alone: &Alone<'_>) -> Result<()> {
    let agent = agent_for_nobody(alone)?;
    let run = |arguments: &[&str]| {
        let mut command = this_program();
        command.args(["as-user", "65534", &agent, "doctor"]);
        Agent::spawn(command.args(arguments))?.ended()
    };
    let report = Report::read(&run(&["--json"])?)?;
    ensure!(report.exit_code == 3, "it ended with {}", report.exit_code);
    let roots = Report::read(&doctor(alone, &["--json"])?)?;
    ensure!(
        report.names() == roots.names(),
        "it looks at {:?}, for root at {:?}",
        report.names(),
        roots.names()
    );
    let capabilities = report.check("capabilities")?;
    let missing = capabilities.follows.as_deref().unwrap_or_default();
    ensure!(
        capabilities.status == "bad"
            && missing.contains("CAP_BPF")
            && missing.contains("CAP_PERFMON"),
        "{capabilities:?}"
    );
    ensure!(
        report.hooks.len() == roots.hooks.len()
            && report
                .hooks
                .iter()
                .all(|hook| hook.attached.is_none() && hook.status == "unknown"),
        "{:?}",
        report.hooks
    );
    ensure!(report.plan.is_none(), "it has a plan");
    let refusal = report.refusal.as_deref().unwrap_or_default();
    ensure!(refusal.contains("CAP_BPF"), "the refusal is {refusal:?}");
    let advice = report.advice.first().map(String::as_str);
    ensure!(
        advice.is_some_and(|advice| advice.contains("as root")),
        "the first advice is {advice:?}"
    );
    lines_hold(&run(&[])?)
}

pub fn doctor_finds_what_a_filter_refuses(alone: &Alone<'_>) -> Result<()> {
    let agent = alone.agents.path().to_str().context("an odd path")?;
    let run = |arguments: &[&str]| {
        let mut command = this_program();
        command.args(["without-tracepoints", agent]);
        Agent::spawn(command.args(arguments))?.ended()
    };
    let report = Report::read(&run(&["doctor", "--json"])?)?;
    for hook in &report.hooks {
        let is_refused = matches!(hook.style.as_str(), "raw_tracepoint" | "fentry" | "fexit");
        if is_refused {
            ensure!(hook.attached == Some(false), "{hook:?}");
        } else if alone.home == Home::Guest {
            ensure!(hook.attached == Some(true), "{hook:?}");
        }
    }
    let check = report.check("seccomp")?;
    ensure!(check.status == "limited", "{check:?}");
    ensure!(
        report
            .advice
            .iter()
            .any(|advice| advice.contains("seccomp")),
        "the advice is {:?}",
        report.advice
    );
    let traced = run(&["trace", "-o", "json", "--for", "10ms"])?;
    if alone.home == Home::Guest {
        let session = traced.shown()?.session.context("no session")?;
        let plan = report.plan.as_ref().context("no plan")?;
        ensure!(
            (&plan.name, &plan.limits) == (&session.plan.name, &session.plan.limits),
            "trace has the plan {:?}, and doctor says {plan:?}",
            session.plan
        );
        ensure!(plan.name == "no-trampolines", "the plan is {}", plan.name);
    }
    let expected = match traced.code() {
        Some(0) => Some(6),
        code => code,
    };
    ensure!(
        Some(report.exit_code) == expected,
        "trace ended with {} ({}), doctor with {}: {:?}",
        traced.status,
        traced.complaints.trim(),
        report.exit_code,
        report.refusal
    );
    lines_hold(&run(&["doctor"])?)
}
