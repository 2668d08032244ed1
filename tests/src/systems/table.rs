//! What a scenario showed, as a part of docs/systems.md: printed for `cargo xtask systems`, which
//! puts the parts together.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::normal;

/// Marks a line of the document among the others of the guest.
const MARK: &str = "doc| ";

/// Most rows of one table.
const ROWS: usize = 40;

/// What the scenarios run, as Debian calls it.
const PACKAGES: [&str; 8] = [
    "systemd",
    "containerd",
    "docker.io",
    "runc",
    "crun",
    "podman",
    "conmon",
    "systemd-container",
];

/// Prints which versions of the programs these are.
pub fn print_versions() {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${Version}\n"])
        .args(PACKAGES)
        .output();
    let text = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    let versions: Vec<String> = String::from_utf8_lossy(&text)
        .lines()
        .map(str::to_owned)
        .collect();
    println!("{MARK}Of this run: {}.", versions.join(", "));
    println!("{MARK}");
}

/// Prints the part of a scenario: its heading, what is run, a table, its hops and verdicts.
pub fn print(name: &str, folder: &Path, events: &[Value], outcomes: &[Value], ignored: &str) {
    let script = fs::read_to_string(folder.join("run")).unwrap_or_default();
    let notes = fs::read_to_string(folder.join("notes")).unwrap_or_default();
    for line in part(name, &script, &notes, events, outcomes, ignored) {
        println!("{MARK}{line}");
    }
}

fn part(
    name: &str,
    script: &str,
    notes: &str,
    events: &[Value],
    outcomes: &[Value],
    ignored: &str,
) -> Vec<String> {
    let mut lines = vec![format!("## {name}"), String::new()];
    lines.extend(
        script
            .lines()
            .take_while(|line| line.starts_with('#'))
            .map(|line| line.trim_start_matches('#').trim().to_owned())
            .filter(|line| !line.starts_with('!')),
    );
    let rows = rows(events, ignored);
    if !rows.is_empty() {
        lines.extend([
            String::new(),
            "| ms | sender | to | message | fate |".to_owned(),
            "|---:|---|---|---|---|".to_owned(),
        ]);
        let left_out = rows.len().saturating_sub(ROWS);
        lines.extend(rows.into_iter().take(ROWS));
        if left_out > 0 {
            lines.push(format!("| | | | and {left_out} more | |"));
        }
    }
    let relays = normal::relays(outcomes, events);
    list(&mut lines, "Hops:", &relays);
    let verdicts: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome["type"] == "verdict")
        .map(|verdict| {
            format!(
                "{} ({}): {}",
                verdict["kind"].as_str().unwrap_or_default(),
                verdict["certainty"].as_str().unwrap_or_default(),
                verdict["what"].as_str().unwrap_or_default()
            )
        })
        .collect();
    list(&mut lines, "Verdicts:", &verdicts);
    if !notes.trim().is_empty() {
        lines.push(String::new());
        lines.extend(notes.lines().map(str::to_owned));
    }
    lines.push(String::new());
    lines
}

fn list(lines: &mut Vec<String>, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    lines.extend([String::new(), title.to_owned(), String::new()]);
    lines.extend(items.iter().take(ROWS).map(|item| format!("- `{item}`")));
}

fn rows(events: &[Value], ignored: &str) -> Vec<String> {
    let fates = normal::fates(events);
    let mut found: Vec<(u64, String)> = events
        .iter()
        .filter(|event| matches!(event["type"].as_str(), Some("send" | "connect_failed")))
        .filter(|event| !normal::is_ignored(event, ignored))
        .filter_map(|event| {
            let at_ns = event["monotonic_ns"].as_u64()?;
            let later = event["id"].as_u64().and_then(|id| fates.get(&id));
            let last = later.copied().unwrap_or(event);
            let fate = match last["delivery"]["state"].as_str() {
                Some("delivered") => delivered(last),
                Some(state) => last["result"]["failed"]["name"]
                    .as_str()
                    .unwrap_or(state)
                    .to_owned(),
                None => format!(
                    "connect: {}",
                    event["error"]["name"].as_str().unwrap_or("failed")
                ),
            };
            let row = format!(
                "{} | {} | `{}` | {fate} |",
                normal::sender(event),
                event["class"].as_str().unwrap_or_default(),
                normal::message(event).replace('|', "\\|")
            );
            Some((at_ns, row))
        })
        .collect();
    found.sort_by_key(|(at_ns, _)| *at_ns);
    let first_ns = found.first().map_or(0, |(at_ns, _)| *at_ns);
    found
        .into_iter()
        .map(|(at_ns, row)| format!("| {} | {row}", (at_ns - first_ns) / 1_000_000))
        .collect()
}

/// How long it took, roughly: an emulated machine's times are no promise.
fn delivered(event: &Value) -> String {
    let timing = &event["timing"];
    let from = timing["queued_ns"].as_u64().or(timing["entry_ns"].as_u64());
    match (from, timing["dequeued_ns"].as_u64()) {
        (Some(from), Some(to)) => format!("{} ms", to.saturating_sub(from).div_ceil(1_000_000)),
        _ => "delivered".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_has_a_heading_what_is_run_and_a_table() {
        let event = json!({
            "type": "send", "id": 3, "monotonic_ns": 5, "class": "systemd",
            "sender": {"comm": "runc", "attribution": {"unit": {"name": "box.service"}}},
            "lines": [{"key": "READY", "value": "1"}],
            "delivery": {"state": "delivered"},
            "timing": {"queued_ns": 10, "dequeued_ns": 2_000_010},
        });
        let lines = part("runc-run", "# runc run\nset -x\n", "", &[event], &[], "");
        assert_eq!(lines[0], "## runc-run");
        assert_eq!(lines[2], "runc run");
        assert!(
            lines.contains(&"| 0 | box.service runc | systemd | `READY=1` | 2 ms |".to_owned())
        );
    }
}
