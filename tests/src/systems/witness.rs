//! systemd's own debug journal against the trace of the whole boot: what each manager took from its
//! queue, by its own word. Nothing here shares code with the agent.
//!
//! Every accepted "Got notification message" and every "Received barrier" must be one send and dequeue
//! of the same process with the same fields, and every dequeue must have its line, or its refusal.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const TRACE: &str = "/run/notify-trace/trace.jsonl";

/// systemd's limit (`NOTIFY_BUFFER_MAX`).
const LENGTH_MAX: u64 = 4096;

/// What a manager says of one datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// It acts on it: the sender, and the assignments joined by `, `.
    Got(u64, String),
    /// A barrier.
    Barrier(u64),
    /// It does not act on it; the payload is not told.
    Refused(u64),
    /// Thrown away before it is looked at: not even the sender is told.
    Malformed,
}

/// A datagram that a manager took, by the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dequeue {
    at_ns: u64,
    pid: u64,
    text: String,
    is_malformed: bool,
}

/// How many lines had their dequeue, and what was left on either side.
#[derive(Debug, Default)]
struct Sum {
    matched: usize,
    missing: Vec<Line>,
    extra: Vec<Dequeue>,
}

/// Compares the whole boot so far.
pub fn check() -> Result<()> {
    // A mark in both: what comes after it is of neither.
    let mark = "STATUS=the witness is heard";
    let marked = Command::new("systemd-run")
        .args([
            "--wait",
            "-q",
            "-p",
            "Type=notify",
            "-p",
            "NotifyAccess=all",
        ])
        .args(["systemd-notify", "--ready", "--status=the witness is heard"])
        .output()
        .context("no systemd-run")?;
    ensure!(
        marked.status.success(),
        "the mark could not be set: {}",
        String::from_utf8_lossy(&marked.stderr)
    );
    let lines = journal()?;
    let (mut dequeues, began_ns) = dequeues()?;
    let managers: BTreeSet<u64> = dequeues.keys().copied().collect();
    ensure!(
        managers.len() >= 2,
        "only these managers were told: {managers:?}"
    );
    let mut trouble = Vec::new();
    for (manager, lines) in lines {
        let taken = dequeues.remove(&manager).unwrap_or_default();
        let (lines, before) = since(lines, began_ns);
        let (lines, taken) = if manager == 1 {
            until(lines, taken, mark)?
        } else {
            (lines, taken)
        };
        let sum = compare(lines, taken);
        println!(
            "witness: manager {manager}: matched {}, missing {}, extra {} ({before} before the agent began)",
            sum.matched,
            sum.missing.len(),
            sum.extra.len()
        );
        trouble.extend(
            sum.missing
                .iter()
                .take(12)
                .map(|it| format!("{manager}: no dequeue for {it:?}")),
        );
        trouble.extend(
            sum.extra
                .iter()
                .take(12)
                .map(|it| format!("{manager}: no line for {it:?}")),
        );
    }
    for (manager, taken) in dequeues {
        trouble.push(format!(
            "{manager}: {} dequeues and no line at all",
            taken.len()
        ));
    }
    ensure!(trouble.is_empty(), "{}", trouble.join("\n"));
    Ok(())
}

/// Lines with the time at which the manager wrote them, microseconds of the monotonic clock.
type Lines = Vec<(u64, Line)>;

/// What each manager, by its pid, wrote.
fn journal() -> Result<BTreeMap<u64, Lines>> {
    Command::new("journalctl")
        .arg("--sync")
        .status()
        .context("no journalctl")?;
    let output = Command::new("journalctl")
        .args(["-b", "-o", "json", "--no-pager", "--all"])
        .arg(
            "--output-fields=MESSAGE,_PID,SYSLOG_PID,SYSLOG_IDENTIFIER,_SOURCE_MONOTONIC_TIMESTAMP",
        )
        .output()
        .context("no journalctl")?;
    let mut managers: BTreeMap<u64, Lines> = BTreeMap::new();
    for text in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(entry) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        let Some(message) = entry["MESSAGE"].as_str() else {
            continue;
        };
        for loss in ["Suppressed ", "Missed "] {
            ensure!(
                !(message.starts_with(loss) && message.contains(" messages")),
                "the witness lost something itself: {message}"
            );
        }
        if entry["SYSLOG_IDENTIFIER"] != "systemd" {
            continue;
        }
        let number = |name: &str| {
            entry[name]
                .as_str()
                .and_then(|text| text.parse::<u64>().ok())
        };
        // What process 1 writes before journald runs goes through the kernel's log.
        let Some(pid) = number("_PID").or_else(|| number("SYSLOG_PID")) else {
            continue;
        };
        let at_usec = number("_SOURCE_MONOTONIC_TIMESTAMP")
            .or_else(|| number("__MONOTONIC_TIMESTAMP"))
            .unwrap_or(0);
        if let Some(line) = parse(message) {
            managers.entry(pid).or_default().push((at_usec, line));
        }
    }
    Ok(managers)
}

/// A line of systemd's, 257 and its neighbours; those of units have the unit in front.
fn parse(message: &str) -> Option<Line> {
    let pid_behind = |words: &str| -> Option<(u64, &str)> {
        let rest = &message[message.find(words)? + words.len()..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some((rest[..end].parse().ok()?, &rest[end..]))
    };
    if let Some((pid, _)) = pid_behind("Received barrier notification message from PID ") {
        return Some(Line::Barrier(pid));
    }
    if let Some((pid, rest)) = pid_behind("Got notification message from PID ") {
        return Some(match rest.strip_prefix(": ") {
            Some(text) => Line::Got(pid, text.to_owned()),
            None => Line::Refused(pid),
        });
    }
    for words in [
        "Cannot find unit for notify message of PID ",
        "Failed to find unit for notify message of PID ",
    ] {
        if let Some((pid, _)) = pid_behind(words) {
            return Some(Line::Refused(pid));
        }
    }
    let is_about = message.contains("notification message")
        || message.contains("notify message")
        || message.contains("truncated");
    let is_thrown_away = message.contains("gnoring") || message.contains("gnored");
    (is_about && is_thrown_away).then_some(Line::Malformed)
}

/// What each manager took, and when the agent had begun.
fn dequeues() -> Result<(BTreeMap<u64, Vec<Dequeue>>, u64)> {
    let text = fs::read_to_string(TRACE).context("the agent has said nothing")?;
    let mut sends: HashMap<u64, Value> = HashMap::new();
    let mut found: BTreeMap<u64, Vec<Dequeue>> = BTreeMap::new();
    let mut began_ns = 0;
    for line in text.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        match event["type"].as_str() {
            Some("session") => began_ns = event["monotonic_ns"].as_u64().unwrap_or(0),
            Some("send") => {
                take(&event, &event, &mut found);
                if let Some(id) = event["id"].as_u64()
                    && event["delivery"]["state"] != "delivered"
                {
                    sends.insert(id, event);
                }
            }
            Some("update") => {
                if let Some(id) = event["id"].as_u64()
                    && let Some(send) = sends.get(&id)
                    && event["delivery"]["state"] == "delivered"
                {
                    take(send, &event, &mut found);
                    sends.remove(&id);
                }
            }
            _ => {}
        }
    }
    for taken in found.values_mut() {
        taken.sort_by_key(|it| it.at_ns);
    }
    Ok((found, began_ns))
}

fn take(send: &Value, fate: &Value, found: &mut BTreeMap<u64, Vec<Dequeue>>) {
    let class = send["class"].as_str().unwrap_or_default();
    let delivery = &fate["delivery"];
    if !class.starts_with("systemd") || delivery["state"] != "delivered" {
        return;
    }
    let (Some(manager), Some(pid)) = (
        delivery["reader"]["pid"].as_u64(),
        delivery["credentials"]["pid"].as_u64(),
    ) else {
        return;
    };
    let payload = send["payload"].as_str().unwrap_or_default();
    // One NUL at the end is tolerated; empty lines are no tags.
    let payload = payload.strip_suffix('\0').unwrap_or(payload);
    let tags: Vec<&str> = payload.split('\n').filter(|tag| !tag.is_empty()).collect();
    let is_barrier = tags.contains(&"BARRIER=1");
    let is_malformed = payload.contains('\0')
        || send["length_bytes"].as_u64() > Some(LENGTH_MAX)
        || (is_barrier && (tags.len() != 1 || send["fds"] != 1));
    found.entry(manager).or_default().push(Dequeue {
        at_ns: fate["timing"]["dequeued_ns"].as_u64().unwrap_or(0),
        pid,
        text: tags.join(", "),
        is_malformed,
    });
}

/// The lines written since the agent began, and how many were before.
fn since(lines: Lines, began_ns: u64) -> (Vec<Line>, usize) {
    let all = lines.len();
    let lines: Vec<Line> = lines
        .into_iter()
        .filter(|(at_usec, _)| at_usec.saturating_mul(1_000) >= began_ns)
        .map(|(_, line)| line)
        .collect();
    let before = all - lines.len();
    (lines, before)
}

/// Both up to the mark.
fn until(
    mut lines: Vec<Line>,
    mut taken: Vec<Dequeue>,
    mark: &str,
) -> Result<(Vec<Line>, Vec<Dequeue>)> {
    let is_marked = |line: &Line| matches!(line, Line::Got(_, text) if text.contains(mark));
    let at = lines
        .iter()
        .position(is_marked)
        .context("the journal does not have the mark")?;
    lines.truncate(at + 1);
    let at = taken
        .iter()
        .position(|it| it.text.contains(mark))
        .context("the trace does not have the mark")?;
    taken.truncate(at + 1);
    Ok((lines, taken))
}

/// Gives each line its dequeue: accepted ones by process and fields, refusals by process.
fn compare(lines: Vec<Line>, taken: Vec<Dequeue>) -> Sum {
    let mut sum = Sum::default();
    let mut left = taken;
    let mut refusals = Vec::new();
    for line in lines {
        let fits = |it: &Dequeue| match &line {
            Line::Got(pid, text) => it.pid == *pid && it.text == *text && !it.is_malformed,
            Line::Barrier(pid) => it.pid == *pid && it.text == "BARRIER=1" && !it.is_malformed,
            Line::Refused(_) | Line::Malformed => false,
        };
        if matches!(line, Line::Refused(_) | Line::Malformed) {
            refusals.push(line);
            continue;
        }
        match left.iter().position(fits) {
            Some(at) => {
                left.remove(at);
                sum.matched += 1;
            }
            None => sum.missing.push(line),
        }
    }
    for line in refusals {
        let fits = |it: &Dequeue| match line {
            Line::Refused(pid) => it.pid == pid && !it.is_malformed,
            _ => it.is_malformed,
        };
        match left.iter().position(fits) {
            Some(at) => {
                left.remove(at);
                sum.matched += 1;
            }
            None => sum.missing.push(line),
        }
    }
    sum.extra = left;
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pid: u64, text: &str) -> Dequeue {
        Dequeue {
            at_ns: 0,
            pid,
            text: text.to_owned(),
            is_malformed: false,
        }
    }

    #[test]
    fn lines_of_systemd_are_understood() {
        let got = |text: &str| parse(text);
        assert_eq!(
            got("a.service: Got notification message from PID 17: READY=1, STATUS=a, b"),
            Some(Line::Got(17, "READY=1, STATUS=a, b".to_owned()))
        );
        assert_eq!(
            got(
                "a.service: Got notification message from PID 17, but reception only permitted for main PID 9"
            ),
            Some(Line::Refused(17))
        );
        assert_eq!(
            got("Cannot find unit for notify message of PID 17, ignoring."),
            Some(Line::Refused(17))
        );
        assert_eq!(
            got("Received barrier notification message from PID 17."),
            Some(Line::Barrier(17))
        );
        assert_eq!(got("a.service: Changed dead -> start"), None);
    }

    #[test]
    fn every_line_needs_a_dequeue_and_every_dequeue_a_line() {
        let sum = compare(
            vec![
                Line::Got(1, "READY=1".to_owned()),
                Line::Barrier(1),
                Line::Refused(2),
                Line::Got(3, "READY=1".to_owned()),
            ],
            vec![
                taken(1, "READY=1"),
                taken(1, "BARRIER=1"),
                taken(2, "STATUS=x"),
                taken(4, "READY=1"),
            ],
        );
        assert_eq!(sum.matched, 3);
        assert_eq!(sum.missing, [Line::Got(3, "READY=1".to_owned())]);
        assert_eq!(sum.extra, [taken(4, "READY=1")]);
    }
}
