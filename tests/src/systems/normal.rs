//! What the agent said, without what differs from run to run, and the comparison. Pure.

use std::collections::HashMap;

use serde_json::Value;

/// Keys whose values are processes or times.
const VARIES: [&str; 4] = [
    "MAINPID",
    "MONOTONIC_USEC",
    "X_NSPAWN_LEADER_PID",
    "MAINPIDFDID",
];

/// One line for each notification: `UNIT COMM → CLASS: KEY=VALUE …`, with the error behind it if it
/// did not arrive. Those of units named in `ignored`, one a line, are left out.
pub fn notifications(events: &[Value], ignored: &str) -> Vec<String> {
    let fates = fates(events);
    let mut found: Vec<(u64, String)> = events
        .iter()
        .filter(|event| !is_ignored(event, ignored))
        .filter_map(|event| {
            let at_ns = event["monotonic_ns"].as_u64()?;
            let line = match event["type"].as_str()? {
                "send" => {
                    let fate = fates.get(&event["id"].as_u64()?).copied().unwrap_or(event);
                    send(event, fate)
                }
                "connect_failed" => format!(
                    "{} → {}: connect {}",
                    sender(event),
                    text(&event["class"]),
                    text(&event["error"]["name"]),
                ),
                _ => return None,
            };
            Some((at_ns, line))
        })
        .collect();
    found.sort_by_key(|(at_ns, _)| *at_ns);
    found.into_iter().map(|(_, line)| line).collect()
}

/// The last word on each notification that was incomplete when it was shown first, by its number.
pub fn fates(events: &[Value]) -> HashMap<u64, &Value> {
    events
        .iter()
        .filter(|event| event["type"] == "update")
        .filter_map(|event| Some((event["id"].as_u64()?, event)))
        .collect()
}

/// Whether an event is of a unit that has nothing to do with scenarios.
pub fn is_ignored(event: &Value, ignored: &str) -> bool {
    let is_of = &event["sender"]["attribution"];
    let user_unit = is_of["user_unit"]["name"].as_str();
    if user_unit.is_some_and(|unit| unit != "init.scope") {
        return false;
    }
    let unit = is_of["unit"]["name"].as_str().unwrap_or_default();
    ignored.lines().any(|line| line == unit && !unit.is_empty())
}

fn send(event: &Value, fate: &Value) -> String {
    let failed = event["result"]["failed"]["name"].as_str();
    let state = fate["delivery"]["state"].as_str().unwrap_or("unknown");
    let mut line = format!(
        "{} → {}: {}",
        sender(event),
        text(&event["class"]),
        message(event)
    );
    if event["retry_of"].is_u64() {
        line.push_str(" [retry]");
    }
    match (state, failed) {
        ("delivered", _) => {}
        (_, Some(error)) => line.push_str(&format!(" [{error}]")),
        (state, None) => line.push_str(&format!(" [{state}]")),
    }
    line
}

/// The assignments, with values that vary as `*`, and fds.
pub fn message(event: &Value) -> String {
    let mut words: Vec<String> = event["lines"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| {
            let key = text(&line["key"]);
            if VARIES.contains(&&*key) {
                format!("{key}=*")
            } else if line["key"].is_null() {
                text(&line["text"])
            } else {
                format!("{key}={}", text(&line["value"]))
            }
        })
        .collect();
    if let Some(fds @ 1..) = event["fds"].as_u64() {
        words.push(format!("+{fds}fd"));
    }
    words.join(" ")
}

/// Unit or container, and the program's name.
pub fn sender(event: &Value) -> String {
    format!(
        "{} {}",
        who(&event["sender"]),
        text(&event["sender"]["comm"])
    )
}

/// The container, by its name if it has one, else the unit, a user's first.
pub fn who(process: &Value) -> String {
    let is_of = &process["attribution"];
    let container = &is_of["container"];
    if !container.is_null() {
        let id = container["id"].as_str().unwrap_or("?");
        let is_number = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = match container["name"].as_str() {
            Some(name) => name,
            None if is_number => "ID",
            None => id,
        };
        let monitor = if container["is_monitor"] == true {
            "(monitor)"
        } else {
            ""
        };
        let runtime = container["runtime"].as_str().unwrap_or("container");
        return format!("{runtime}:{name}{monitor}");
    }
    if let Some(name) = is_of["user_unit"]["name"].as_str() {
        return match is_of["user"].as_u64() {
            Some(user) => format!("{name} (user {user})"),
            None => name.to_owned(),
        };
    }
    text(&is_of["unit"]["name"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

/// `KIND CERTAINTY UNIT`, in the order in which they were drawn.
pub fn verdicts(outcomes: &[Value]) -> Vec<String> {
    outcomes
        .iter()
        .filter(|outcome| outcome["type"] == "verdict")
        .map(|verdict| {
            format!(
                "{} {} {}",
                text(&verdict["kind"]),
                text(&verdict["certainty"]),
                verdict["unit"].as_str().unwrap_or("-")
            )
        })
        .collect()
}

/// `WHO MESSAGE | PROXY | forwarded … | dropped … | added …`: one for each hop.
pub fn relays(outcomes: &[Value], events: &[Value]) -> Vec<String> {
    let sends: HashMap<u64, &Value> = events
        .iter()
        .filter(|event| event["type"] == "send")
        .filter_map(|event| Some((event["id"].as_u64()?, event)))
        .collect();
    let list = |value: &Value| -> String {
        let words: Vec<String> = value
            .as_array()
            .into_iter()
            .flatten()
            .map(|word| {
                let word = text(word);
                match word.split_once('=') {
                    Some((key, _)) if VARIES.contains(&key) => format!("{key}=*"),
                    _ => word,
                }
            })
            .collect();
        words.join(" ")
    };
    outcomes
        .iter()
        .filter(|outcome| outcome["type"] == "relay")
        .map(|relay| {
            let of = relay["notification"].as_u64().and_then(|id| sends.get(&id));
            let told = of.map_or_else(
                || "?".to_owned(),
                |event| format!("{} {}", who(&event["sender"]), message(event)),
            );
            let mut line = format!("{told} | {}", text(&relay["comm"]));
            for name in ["forwarded", "dropped", "added"] {
                if relay[name].is_array() {
                    line.push_str(&format!(" | {name} {}", list(&relay[name])));
                }
            }
            let is_doubtful = relay["sent"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|sent| sent["or_for"].is_array());
            if is_doubtful {
                line.push_str(" | doubtful");
            }
            line
        })
        .collect()
}

/// Compares lines with patterns, in order. `?` before a pattern: it may be absent. `~`: anywhere from
/// here on; `~?`: or nowhere. Empty lines and those that begin with `#` are for readers.
pub fn difference(what: &str, expected: &str, seen: &[String]) -> Option<String> {
    let patterns: Vec<&str> = expected
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .collect();
    let mut left: Vec<&String> = seen.iter().collect();
    let mut missing: Vec<&str> = Vec::new();
    // Those that have no place of their own are taken out first.
    for pattern in patterns.iter().filter_map(|line| line.strip_prefix('~')) {
        if let Some(pattern) = pattern.strip_prefix('+') {
            left.retain(|line| !matches(pattern, line));
            continue;
        }
        let (pattern, may_be_absent) = match pattern.strip_prefix('?') {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        match left.iter().position(|line| matches(pattern, line)) {
            Some(at) => drop(left.remove(at)),
            None if may_be_absent => {}
            None => missing.push(pattern),
        }
    }
    let mut rest = left.into_iter().peekable();
    let mut extra: Vec<&String> = Vec::new();
    for line in patterns.iter().filter(|line| !line.starts_with('~')) {
        let (pattern, may_be_absent) = match line.strip_prefix('?') {
            Some(pattern) => (pattern, true),
            None => (*line, false),
        };
        match rest.peek() {
            Some(next) if matches(pattern, next) => drop(rest.next()),
            _ if may_be_absent => {}
            _ => {
                // Whatever stands before the one that is expected is too much.
                let ahead: Vec<&String> = rest.clone().collect();
                match ahead.iter().position(|next| matches(pattern, next)) {
                    Some(at) => {
                        extra.extend(rest.by_ref().take(at));
                        rest.next();
                    }
                    None => missing.push(pattern),
                }
            }
        }
    }
    extra.extend(rest);
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let mut text = format!("{what} are not as expected");
    for line in missing {
        text.push_str(&format!("\n  missing: {line}"));
    }
    for line in extra {
        text.push_str(&format!("\n  extra:   {line}"));
    }
    text.push_str("\n  all that was seen:");
    for line in seen {
        text.push_str(&format!("\n    {line}"));
    }
    Some(text)
}

/// `*` is any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_same(expected: &str, seen: &[&str]) -> bool {
        let seen: Vec<String> = seen.iter().map(|line| (*line).to_owned()).collect();
        difference("lines", expected, &seen).is_none()
    }

    #[test]
    fn order_counts_and_nothing_may_be_extra() {
        assert!(is_same("a\nb", &["a", "b"]));
        assert!(!is_same("a\nb", &["b", "a"]));
        assert!(!is_same("a", &["a", "b"]));
        assert!(!is_same("a\nb", &["a"]));
        assert!(is_same("# why\n\na *", &["a b"]));
    }

    #[test]
    fn some_may_be_absent_and_some_anywhere() {
        assert!(is_same("?a\nb", &["b"]) && is_same("?a\nb", &["a", "b"]));
        assert!(is_same("~c\na\nb", &["a", "c", "b"]));
        assert!(!is_same("~c\na", &["a"]));
        assert!(is_same("~+c\na", &["c", "a", "c"]) && is_same("~+c\na", &["a"]));
    }

    #[test]
    fn stars_stand_for_any_run() {
        assert!(matches("a*c", "abbc") && matches("*", "") && matches("a", "a"));
        assert!(!matches("a*c", "abb") && !matches("a", "ab"));
        assert!(matches("a*b*c", "a1b2c") && !matches("a*b*c", "a1c"));
    }

    #[test]
    fn a_notification_is_a_line_without_what_varies() {
        let event = json!({
            "type": "send", "id": 3, "monotonic_ns": 5, "class": "systemd",
            "sender": {"comm": "runc", "attribution": {"unit": {"name": "box.service"}}},
            "lines": [{"key": "READY", "value": "1"}, {"key": "MAINPID", "value": "17"}],
            "fds": 0, "delivery": {"state": "delivered"},
        });
        assert_eq!(
            notifications(std::slice::from_ref(&event), ""),
            ["box.service runc → systemd: READY=1 MAINPID=*"]
        );
        assert!(notifications(&[event], "box.service\n").is_empty());
    }
}
