//! What the agent's `unit` events say of a unit, against what busctl is told of it by the same manager.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// How a value of D-Bus becomes one of the event.
#[derive(Clone, Copy, Debug)]
enum As {
    /// As it is; empty: absent.
    Same,
    /// A number; 0 and the greatest one: absent.
    Given,
    /// Microseconds to nanoseconds; 0: absent.
    TimeNs,
    /// Bytes to hexadecimal digits.
    Digits,
}

/// Field of the event, property, how. They don't change as long as the unit runs.
const OF_UNIT: [(&str, &str, As); 5] = [
    ("active_state", "ActiveState", As::Same),
    ("sub_state", "SubState", As::Same),
    ("invocation_id", "InvocationID", As::Digits),
    (
        "inactive_exit_ns",
        "InactiveExitTimestampMonotonic",
        As::TimeNs,
    ),
    (
        "active_enter_ns",
        "ActiveEnterTimestampMonotonic",
        As::TimeNs,
    ),
];
const OF_SERVICE: [(&str, &str, As); 10] = [
    ("service_type", "Type", As::Same),
    ("notify_access", "NotifyAccess", As::Same),
    ("main_pid", "MainPID", As::Given),
    ("control_group", "ControlGroup", As::Same),
    ("timeout_start_usec", "TimeoutStartUSec", As::Given),
    ("timeout_stop_usec", "TimeoutStopUSec", As::Given),
    ("watchdog_usec", "WatchdogUSec", As::Given),
    ("fd_store_max", "FileDescriptorStoreMax", As::Same),
    ("restarts", "NRestarts", As::Same),
    (
        "main_start_ns",
        "ExecMainStartTimestampMonotonic",
        As::TimeNs,
    ),
];
/// Fewest units that are to be compared: journald, logind, and one of the tests' own at least.
const FEWEST: usize = 2;

/// Compares the last word on each unit of the system's manager that still is as it was then.
pub fn compare(events: &[Value]) -> Result<String> {
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in events {
        if event["type"] == "unit"
            && event["user"].is_null()
            && let Some(unit) = event["unit"].as_str()
        {
            last.insert(unit, event);
        }
    }
    let mut compared = 0;
    for (unit, event) in last {
        if event["active_state"] != "active" {
            continue;
        }
        let path = path(unit)?;
        let mut said = properties(&path, "Unit", &OF_UNIT)?;
        // It was started anew, or stopped, since.
        if said["invocation_id"] != event["invocation_id"] || said["active_state"] != "active" {
            continue;
        }
        said.append(&mut properties(&path, "Service", &OF_SERVICE)?);
        for (field, value) in &said {
            ensure!(
                event[*field] == *value,
                "{field} of {unit}: shown {}, is {value}",
                event[*field]
            );
        }
        compared += 1;
    }
    ensure!(compared >= FEWEST, "only {compared} units were compared");
    Ok(format!("{compared} units"))
}

/// The object of a unit.
fn path(unit: &str) -> Result<String> {
    let answer = busctl(&[
        "call",
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "LoadUnit",
        "s",
        unit,
    ])?;
    let path = answer.first().and_then(|it| it["data"][0].as_str());
    path.map(str::to_owned).context("no path")
}

fn properties<'a>(
    path: &str,
    interface: &str,
    wanted: &[(&'a str, &str, As)],
) -> Result<BTreeMap<&'a str, Value>> {
    let interface = format!("org.freedesktop.systemd1.{interface}");
    let mut words = vec!["get-property", "org.freedesktop.systemd1", path, &interface];
    words.extend(wanted.iter().map(|(_, property, _)| *property));
    let answers = busctl(&words)?;
    ensure!(answers.len() == wanted.len(), "busctl says {answers:?}");
    Ok(wanted
        .iter()
        .zip(answers)
        .map(|((field, _, how), answer)| (*field, converted(&answer["data"], *how)))
        .collect())
}

fn converted(value: &Value, how: As) -> Value {
    let number = value.as_u64();
    match how {
        As::Same if value == "" => Value::Null,
        As::Same => value.clone(),
        As::Given => number
            .filter(|it| *it != 0 && *it != u64::MAX)
            .map_or(Value::Null, |it| json!(it)),
        As::TimeNs => number
            .filter(|it| *it != 0)
            .map_or(Value::Null, |it| json!(it * 1000)),
        As::Digits => {
            let bytes = value.as_array().map_or(&[][..], Vec::as_slice);
            let digits: String = bytes
                .iter()
                .filter_map(Value::as_u64)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            json!(digits)
        }
    }
}

/// What busctl says, a document on each line.
fn busctl(words: &[&str]) -> Result<Vec<Value>> {
    let output = Command::new("busctl")
        .arg("--json=short")
        .args(words)
        .output()
        .context("no busctl")?;
    ensure!(
        output.status.success(),
        "busctl {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_what_the_event_has() {
        assert_eq!(converted(&json!(""), As::Same), Value::Null);
        assert_eq!(converted(&json!(u64::MAX), As::Given), Value::Null);
        assert_eq!(converted(&json!(7), As::TimeNs), json!(7000));
        assert_eq!(converted(&json!([1, 255]), As::Digits), json!("01ff"));
    }
}
