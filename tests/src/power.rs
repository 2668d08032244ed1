//! In a guest whose power will be cut: says what an earlier guest's recording holds, then records and says
//! what is stored.
//!
//! Each line for the host begins with `power: `.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const AGENT: &str = "/notify-trace";
const SOCKET: &str = "/tmp/nt-power.sock";

/// Until the power is cut.
pub fn run(path: &str) -> Result<()> {
    if Path::new(path).exists() {
        look(path).inspect_err(|error| println!("power: wrong {error:#}"))?;
    }
    record(path).inspect_err(|error| println!("power: wrong {error:#}"))
}

/// Says how many events each session has; what it holds must be a row without gaps.
fn look(path: &str) -> Result<()> {
    let shown = Command::new(AGENT)
        .args(["show", path, "--output", "json"])
        .output()
        .context("could not start the agent")?;
    let complaints = String::from_utf8_lossy(&shown.stderr).into_owned();
    ensure!(shown.status.success(), "show: {complaints}");
    let mut found: Option<u64> = None;
    let mut last: Option<u64> = None;
    for line in shown.stdout.lines() {
        let event: Value = serde_json::from_str(&line.context("show")?).context("no JSON")?;
        if event["type"] == "session" {
            if let Some(events) = found.replace(0) {
                println!("power: found {events}");
            }
            last = None;
            continue;
        }
        found = found.map(|events| events + 1);
        if event["type"] == "send" {
            let number = event["lines"][0]["value"]
                .as_str()
                .and_then(|it| it.parse().ok());
            let number: u64 = number.context("a message of somebody else")?;
            ensure!(
                last.is_none_or(|last| number == last + 1),
                "{number} follows {last:?}"
            );
            last = Some(number);
        }
    }
    if let Some(events) = found {
        println!("power: found {events}");
    }
    // The rows that studies read are there, too, and agree with the events.
    let report = Command::new(AGENT)
        .args(["report", "rate", path, "--output", "json"])
        .output()
        .context("could not start the agent")?;
    ensure!(
        report.status.success(),
        "report: {}",
        String::from_utf8_lossy(&report.stderr)
    );
    Ok(())
}

fn record(path: &str) -> Result<()> {
    let receiver = UnixDatagram::bind(SOCKET).context("no receiver")?;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while receiver.recv(&mut buffer).is_ok() {}
    });
    let mut agent = Command::new(AGENT)
        .args([
            "record",
            path,
            "--acknowledge",
            "--no-facts",
            "--socket",
            SOCKET,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start the agent")?;
    let lines = BufReader::new(agent.stdout.take().context("no output")?).lines();
    thread::spawn(move || {
        let sender = UnixDatagram::unbound()?;
        for number in 0_u64.. {
            sender.send_to(format!("STATUS={number}").as_bytes(), SOCKET)?;
            thread::sleep(Duration::from_micros(500));
        }
        Ok::<(), std::io::Error>(())
    });
    for line in lines {
        println!("power: {}", line.context("the agent's output")?);
    }
    let status = agent.wait().context("could not wait for the agent")?;
    ensure!(false, "the agent ended with {status}");
    Ok(())
}
