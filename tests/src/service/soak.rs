//! A mixed load for minutes or hours: a steady sender, services and containers that come and go, floods,
//! reloads, scrapes. Every notification has to be recorded, nothing lost, nothing leaked, memory flat.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    AGENT, RECORDING, TESTS_PROGRAM, UNIT, configure, get, loaded, main_pid, metric, systemctl,
    unit, until,
};

/// Of the steady sender, a second.
const STEADY_PER_SECOND: u64 = 20;
/// Of a flood, and how often one comes.
const FLOOD: u64 = 2_000;
const FLOOD_EVERY: Duration = Duration::from_secs(15);
const RELOAD_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So much more memory than in the first part may be a matter of chance.
const SLACK_BYTES: f64 = 4e6;
/// For containers.
const BUNDLE: &str = "
. \"$LIB\"
bundle /run/nt-soak runc \"nt speak --stay-ms 1500 'READY=1'\"
";

/// What the agent said of itself.
#[derive(Clone, Copy, Debug)]
struct Look {
    resident_bytes: f64,
    fds: f64,
    threads: f64,
    lost: f64,
    cpu_seconds: f64,
}

/// How many were sent, by the unit's name without its number.
#[derive(Debug, Default)]
struct Sent {
    churn: AtomicU64,
    boxes: AtomicU64,
    floods: AtomicU64,
    reloads: AtomicU64,
}

/// So many minutes of it, by the kernel's command line.
pub(super) fn minutes() -> Option<u64> {
    let words = fs::read_to_string("/proc/cmdline").ok()?;
    words
        .split_whitespace()
        .find_map(|word| word.strip_prefix("notify-trace.minutes=")?.parse().ok())
}

fn look() -> Result<Look> {
    let text = get("/metrics")?;
    let sum = |name: &str| metric(&text, name);
    Ok(Look {
        resident_bytes: sum("process_resident_memory_bytes "),
        fds: sum("process_open_fds "),
        threads: sum("process_threads "),
        lost: sum("notify_trace_lost_total{"),
        cpu_seconds: sum("process_cpu_seconds_total "),
    })
}

/// Does something again and again until the end.
fn again(end: Instant, every: Duration, mut act: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let mut number = 0;
    while Instant::now() < end {
        let begun = Instant::now();
        act(number)?;
        number += 1;
        thread::sleep(every.saturating_sub(begun.elapsed()));
    }
    Ok(())
}

pub(super) fn soak() -> Result<String> {
    let minutes = minutes().context("no minutes")?;
    super::output("systemd-sysusers", &[])?;
    configure("")?;
    systemctl(&["start", UNIT])?;
    let pid = main_pid()?;
    let status = Command::new("sh")
        .args(["-eu", "-c", BUNDLE])
        .env("LIB", "/run/notify-trace/systems/lib.sh")
        .env("NT", TESTS_PROGRAM)
        .status()?;
    ensure!(status.success(), "no bundle for containers");
    let before = loaded()?;
    let sent = Sent::default();
    let steady = minutes * 60 * STEADY_PER_SECOND;
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut looks = Vec::new();
    thread::scope(|scope| -> Result<()> {
        let all = [
            scope.spawn(|| {
                let times = steady.to_string();
                let every_ms = (1_000 / STEADY_PER_SECOND).to_string();
                let command = [
                    TESTS_PROGRAM,
                    "speak",
                    "--times",
                    &times,
                    "--every-ms",
                    &every_ms,
                    "STATUS=steady",
                ];
                unit("nt-steady", &[], &command)
            }),
            scope.spawn(|| {
                again(end, Duration::ZERO, |number| {
                    let name = format!("nt-churn-{number}");
                    unit(
                        &name,
                        &[],
                        &[TESTS_PROGRAM, "speak", "--stay-ms", "20", "READY=1"],
                    )?;
                    sent.churn.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            }),
            scope.spawn(|| {
                again(end, Duration::ZERO, |number| {
                    let id = format!("box-{number}");
                    let runc = ["/usr/sbin/runc", "run", "--bundle", "/run/nt-soak", &id];
                    unit(&format!("nt-box-{number}"), &[], &runc)?;
                    sent.boxes.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            }),
            scope.spawn(|| {
                again(end, FLOOD_EVERY, |number| {
                    let times = FLOOD.to_string();
                    let command = [
                        TESTS_PROGRAM,
                        "speak",
                        "--times",
                        &times,
                        "--every-ms",
                        "1",
                        "STATUS=flood",
                    ];
                    unit(&format!("nt-flood-{number}"), &[], &command)?;
                    sent.floods.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            }),
            scope.spawn(|| {
                again(end, RELOAD_EVERY, |number| {
                    configure(if number % 2 == 0 {
                        "redact = [\"X_SECRET\"]"
                    } else {
                        ""
                    })?;
                    systemctl(&["reload", UNIT])?;
                    sent.reloads.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                })
            }),
        ];
        again(end, LOOK_EVERY, |number| {
            let look = look()?;
            if number % 60 == 0 {
                println!("    after {number} s: {look:?}");
            }
            looks.push(look);
            Ok(())
        })?;
        for one in all {
            one.join().map_err(|_| anyhow::anyhow!("a load"))??;
        }
        Ok(())
    })?;
    ensure!(main_pid()? == pid, "it was started again");
    until("as many programs and maps as before", || {
        Ok((loaded()? == before).then_some(()))
    })?;
    let said = judge(&looks)?;
    let wanted = [
        ("nt-steady", steady),
        ("nt-churn", sent.churn.load(Ordering::Relaxed)),
        ("nt-box", sent.boxes.load(Ordering::Relaxed)),
        ("nt-flood", sent.floods.load(Ordering::Relaxed) * FLOOD),
    ];
    // The last ones are stored within a second, as a rule.
    let all: u64 = wanted.iter().map(|(_, count)| count).sum();
    let _ = until("the last notification to be recorded", || {
        thread::sleep(Duration::from_secs(2));
        Ok((counted()?.values().sum::<u64>() >= all).then_some(()))
    });
    let counted = counted()?;
    for (name, count) in wanted {
        let got = counted.get(name).copied().unwrap_or(0);
        ensure!(got == count, "{name}: {got} recorded of {count}");
    }
    systemctl(&["stop", UNIT])?;
    Ok(format!(
        "{minutes} min: {all} of {all} notifications recorded ({}), {} reloads; {said}",
        wanted
            .map(|(name, count)| format!("{name} {count}"))
            .join(", "),
        sent.reloads.load(Ordering::Relaxed)
    ))
}

/// Notifications to the system's manager that were recorded, by their units' names without numbers.
fn counted() -> Result<BTreeMap<String, u64>> {
    let mut show = Command::new(AGENT)
        .args(["show", RECORDING, "-o", "json", "--class", "systemd"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut counted = BTreeMap::new();
    let lines = BufReader::new(show.stdout.take().context("no output")?).lines();
    for line in lines {
        let event: Value = serde_json::from_str(&line?)?;
        let is_box = event["lines"][0]["key"] == "READY";
        if event["type"] != "send" {
            continue;
        }
        let unit = event["sender"]["attribution"]["unit"]["name"].as_str();
        let name = unit.unwrap_or_default().trim_end_matches(".service");
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        // runc says more than READY=1.
        if name != "nt-box" || is_box {
            *counted.entry(name.to_owned()).or_default() += 1;
        }
    }
    ensure!(show.wait()?.success(), "the recording can't be read");
    Ok(counted)
}

/// Memory flat, nothing lost, no descriptor and no thread more than there were.
fn judge(looks: &[Look]) -> Result<String> {
    let parts = looks.len() / 5;
    ensure!(parts > 0, "too few looks: {}", looks.len());
    let most = |looks: &[Look], of: fn(&Look) -> f64| looks.iter().map(of).fold(0.0, f64::max);
    let (early, late) = (&looks[parts..2 * parts], &looks[4 * parts..]);
    let resident = [early, late].map(|looks| most(looks, |look| look.resident_bytes));
    ensure!(
        resident[1] <= resident[0] * 1.1 + SLACK_BYTES,
        "memory grows: {resident:?}"
    );
    let fds = [early, late].map(|looks| most(looks, |look| look.fds));
    ensure!(fds[1] <= fds[0] + 1.0, "descriptors leak: {fds:?}");
    let threads = [early, late].map(|looks| most(looks, |look| look.threads));
    ensure!(
        (threads[1] - threads[0]).abs() < 0.5,
        "threads: {threads:?}"
    );
    let (first, last) = (looks[0], looks[looks.len() - 1]);
    ensure!(last.lost <= 0.0, "{} lost", last.lost);
    Ok(format!(
        "resident at most {:.1} MiB in the second fifth, {:.1} MiB in the last; {} descriptors, {} \
         threads; nothing lost; {:.1} s of CPU",
        resident[0] / 1_048_576.0,
        resident[1] / 1_048_576.0,
        fds[1],
        threads[1],
        last.cpu_seconds - first.cpu_seconds
    ))
}
