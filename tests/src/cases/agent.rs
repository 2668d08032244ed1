//! The agent as a service: what its manager hears, told by a manager of the tests' own, and what it keeps
//! of its privileges, on every kernel.

use std::{
    fs,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Alone;
use crate::{
    need::{Home, Version},
    pipe::until_within,
    raw::{
        process::{Signal, monotonic_ns},
        socket,
    },
    stage::datagram_socket,
    tracer::Agent,
};

const WATCHDOG_USEC: u64 = 1_000_000;
/// How long an emulated agent may take to load its programs.
const PATIENCE: Duration = Duration::from_secs(120);
const DONT_WAIT: i32 = libc::MSG_DONTWAIT;

/// A socket bound to a path.
fn bound(path: &Path) -> Result<OwnedFd> {
    let socket = datagram_socket()?;
    socket::bind(socket.as_fd(), path.as_os_str().as_bytes())
        .with_context(|| format!("could not bind {}", path.display()))?;
    Ok(socket)
}

/// The next message.
fn heard(socket: &OwnedFd, what: &str) -> Result<String> {
    let mut buffer = [0; 4096];
    until_within(PATIENCE, what, || {
        match socket::receive(socket.as_fd(), &mut buffer, DONT_WAIT) {
            Ok(it) => Ok(Some(String::from_utf8(buffer[..it.length].to_vec())?)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// The next message that is no ping; how many pings came before.
fn next(socket: &OwnedFd, what: &str) -> Result<(String, usize)> {
    let mut pings = 0;
    loop {
        let text = heard(socket, what)?;
        if text.trim_end() != "WATCHDOG=1" {
            return Ok((text, pings));
        }
        pings += 1;
    }
}

/// Effective capabilities of the main thread.
fn capabilities(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let hex = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .context("no CapEff")?;
    Ok(u64::from_str_radix(hex.trim(), 16)?)
}

pub fn the_agent_is_a_service_by_its_own_protocol(alone: &Alone<'_>) -> Result<()> {
    let folder = alone.root.join(format!("agent-{}", alone.plan.name()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let (manager_path, app_path) = (folder.join("manager"), folder.join("notify.sock"));
    let (manager, app) = (bound(&manager_path)?, bound(&app_path)?);
    let recording = folder.join("a.ntrec");
    let set = |name: &str, value: &str| [String::from("--set"), format!("{name}={value}")];
    let mut command = Command::new(alone.agents.path());
    command
        .args(["agent", "--config", "/dev/null"])
        .args(set("capture.plan", alone.plan.name()))
        .args(set("record.file", &recording.to_string_lossy()))
        .args(set("limits.cpu_percent", "0"))
        .env("NOTIFY_SOCKET", &manager_path)
        .env("WATCHDOG_USEC", WATCHDOG_USEC.to_string());
    let agent = Agent::spawn(&mut command)?;
    let pid = agent.pid();
    let result = talk(&agent, &manager, &app, &app_path, alone);
    if result.is_err() {
        let _ = agent.signal(Signal::Terminate);
    }
    let ended = agent.ended()?;
    result.with_context(|| ended.complaints.clone())?;
    ensure!(
        ended.code() == Some(0),
        "{}: {}",
        ended.status,
        ended.complaints
    );

    let shown = Command::new(alone.agents.path())
        .args(["show", "-o", "json"])
        .arg(&recording)
        .output()?;
    let events: Vec<Value> = String::from_utf8(shown.stdout)?
        .lines()
        .map(|line| serde_json::from_str(line).context("no JSON"))
        .collect::<Result<_>>()?;
    let sends: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "send")
        .collect();
    let own: Vec<&&Value> = sends
        .iter()
        .filter(|send| send["sender"]["pid"] == pid)
        .collect();
    ensure!(own.is_empty(), "its own are recorded: {own:?}");
    let of_app = sends
        .iter()
        .filter(|send| send["lines"][0]["value"] == "of the app");
    ensure!(of_app.count() == 2, "{sends:?}");
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    ensure!(
        kinds.first() == Some(&"session") && kinds.last() == Some(&"summary"),
        "{kinds:?}"
    );
    fs::remove_dir_all(&folder).context("could not remove the folder")
}

fn talk(
    agent: &Agent,
    manager: &OwnedFd,
    app: &OwnedFd,
    app_path: &Path,
    alone: &Alone<'_>,
) -> Result<()> {
    let (ready, _) = next(manager, "READY=1")?;
    let plan = format!("STATUS=plan {}", alone.plan.name());
    ensure!(
        ready.starts_with("READY=1\n") && ready.contains(&plan),
        "{ready}"
    );
    let kept = capabilities(agent.pid())?;
    let needs_bpf = Version::running()? < Version(5, 19);
    ensure!(
        kept >> 39 & 1 == u64::from(needs_bpf) && kept >> 21 & 1 == 0 && kept >> 38 & 1 == 1,
        "CapEff {kept:x}"
    );
    let say = || -> Result<()> {
        let socket = datagram_socket()?;
        let to = app_path.as_os_str().as_bytes();
        socket::send_to(socket.as_fd(), b"STATUS=of the app", to, 0)?;
        heard(app, "the app's message").map(drop)
    };
    say()?;
    // At least every half of the time, and not much more often: not counted those that waited already.
    let mut buffer = [0; 4096];
    while socket::receive(manager.as_fd(), &mut buffer, DONT_WAIT).is_ok() {}
    let begun_ns = monotonic_ns();
    for _ in 0..3 {
        let ping = heard(manager, "a ping")?;
        ensure!(ping.trim_end() == "WATCHDOG=1", "{ping}");
    }
    let took_usec = (monotonic_ns() - begun_ns) / 1_000;
    ensure!(
        took_usec > WATCHDOG_USEC / 2,
        "three pings in {took_usec} µs"
    );
    if alone.home == Home::Native {
        // An emulated one may be late for other reasons.
        ensure!(
            took_usec < 3 * WATCHDOG_USEC,
            "three pings in {took_usec} µs"
        );
    }
    let before_usec = monotonic_ns() / 1_000;
    agent.signal(Signal::HangUp)?;
    let (reloading, _) = next(manager, "RELOADING=1")?;
    let after_usec = monotonic_ns() / 1_000;
    let at_usec: u64 = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .and_then(|rest| rest.trim().parse().ok())
        .with_context(|| format!("no reload: {reloading}"))?;
    ensure!(
        (before_usec..=after_usec).contains(&at_usec),
        "{at_usec} is not in {before_usec}..={after_usec}"
    );
    let (ready, _) = next(manager, "READY=1 after the reload")?;
    ensure!(ready.starts_with("READY=1\n"), "{ready}");
    say()?;
    agent.signal(Signal::Terminate)?;
    let (stopping, _) = next(manager, "STOPPING=1")?;
    ensure!(stopping.trim_end() == "STOPPING=1", "{stopping}");
    Ok(())
}
