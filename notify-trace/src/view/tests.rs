//! Events in, what is shown of them out.

use serde_json::{Value, json};

use super::*;
use crate::view::filter::unit_pattern;

fn send(changes: &Value) -> Event {
    let mut event = json!({
        "type": "send", "id": 1, "time": "2026-11-23T14:42:01Z", "monotonic_ns": 1,
        "sender": sender(json!({})),
        "class": "systemd", "length_bytes": 7, "payload": "READY=1",
        "lines": [{"key": "READY", "value": "1"}], "delivery": {"state": "delivered"},
        "timing": {},
    });
    for (key, value) in changes.as_object().expect("an object") {
        event[key] = value.clone();
        if value.is_null() {
            event.as_object_mut().expect("an object").remove(key);
        }
    }
    serde_json::from_value(event).expect("a well-formed event")
}

fn sender(changes: Value) -> Value {
    let mut sender = json!({
        "pid": 42, "tid": 42, "comm": "nginx", "uid": 33, "gid": 33, "start_boottime_ns": 7,
        "attribution": {
            "unit": {"name": "web@blue.service", "template": "web@.service", "instance": "blue"},
            "slice": "system.slice",
        },
    });
    for (key, value) in changes.as_object().expect("an object") {
        sender[key] = value.clone();
    }
    sender
}

fn of(attribution: Value) -> Event {
    send(&json!({"sender": sender(json!({"attribution": attribution}))}))
}

fn view(filter: Filter) -> View {
    View::new(ViewOptions {
        filter,
        redact: Redact::Nothing,
    })
}

/// What is shown of an event.
fn shown(view: &mut View, event: Event) -> Vec<Event> {
    let mut shown = Vec::new();
    view.show(event, &mut |event| shown.push(event));
    shown
}

fn shows(filter: &Filter, event: &Event) -> bool {
    !shown(&mut view(filter.clone()), event.clone()).is_empty()
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn unit(name: &str) -> Filter {
    Filter {
        units: vec![unit_pattern(name)],
        ..Filter::default()
    }
}

fn container(name: &str) -> Filter {
    Filter {
        containers: list(&[name]),
        ..Filter::default()
    }
}

#[test]
fn a_unit_is_asked_for_as_systemctl_takes_it() {
    for (typed, is_it) in [
        ("web@blue", true),
        ("web@blue.service", true),
        ("web@.service", true),
        ("web@*", true),
        ("system.slice", true),
        ("web", false),
        ("blue", false),
    ] {
        assert_eq!(shows(&unit(typed), &send(&json!({}))), is_it, "{typed}");
    }
}

#[test]
fn units_of_users_and_inside_of_containers_are_units_too() {
    let user = of(json!({
        "unit": {"name": "user@1000.service"}, "user": 1000,
        "user_unit": {"name": "mail.service"}, "user_slice": "app.slice",
    }));
    for name in ["mail", "user@1000", "app.slice"] {
        assert!(shows(&unit(name), &user), "{name}");
    }
    let inside = json!({"container": {"id": "deb", "unit": {"name": "cron.service"}}});
    assert!(shows(&unit("cron"), &of(inside)));
}

#[test]
fn a_container_is_asked_for_by_name_or_id_or_machine_or_pod() {
    let id = "95cbe853416f52d927dec41f1406dd75015ea131244a1ca875a7cd4ebe927ac8";
    let event = of(json!({
        "machine": "deb",
        "container": {"id": id, "name": "app", "outer": {"id": "node1"}},
        "pod": {"uid": "8833712d-6e69-4f5c-95f3-aebd020ce2e7", "name": "shop-7d9"},
    }));
    for name in [id, "95cb", "app", "a*", "node1", "deb", "shop-7d9", "8833"] {
        assert!(shows(&container(name), &event), "{name}");
    }
    for name in ["95c", "ap", "other", "be853416", "node"] {
        assert!(!shows(&container(name), &event), "{name}");
    }
    assert!(!shows(&container("app"), &send(&json!({}))));
}

#[test]
fn a_user_is_the_sender_or_the_owner_of_its_slice() {
    let user = |uid| Filter {
        users: vec![(uid, uid.to_string())],
        ..Filter::default()
    };
    assert!(shows(&user(33), &send(&json!({}))));
    assert!(!shows(&user(1000), &send(&json!({}))));
    assert!(shows(&user(1000), &of(json!({"user": 1000}))));
}

#[test]
fn alternatives_of_one_option_and_all_of_different_ones() {
    let both = Filter {
        keys: list(&["WATCHDOG", "REA*"]),
        comms: list(&["ngin?"]),
        classes: list(&["systemd"]),
        ..unit("web@blue")
    };
    assert!(shows(&both, &send(&json!({}))));
    for changes in [
        json!({"lines": [{"key": "STATUS", "value": "READY"}]}),
        json!({"class": "systemd-user"}),
        json!({"sender": sender(json!({"comm": "mail"}))}),
    ] {
        assert!(!shows(&both, &send(&changes)), "{changes}");
    }
    assert_eq!(
        both.describe(),
        [
            "unit=web@blue.service",
            "comm=ngin?",
            "key=WATCHDOG",
            "key=REA*",
            "class=systemd"
        ]
    );
}

#[test]
fn failed_is_all_that_has_not_arrived() {
    let failed = Filter {
        failed: true,
        ..Filter::default()
    };
    for (state, is_it) in [
        ("delivered", false),
        ("failed", true),
        ("queued", true),
        ("destroyed", true),
    ] {
        let event = send(&json!({"delivery": {"state": state}}));
        assert_eq!(shows(&failed, &event), is_it, "{state}");
    }
}

fn event(json: Value) -> Event {
    serde_json::from_value(json).expect("a well-formed event")
}

fn update(id: u64) -> Event {
    event(json!({
        "type": "update", "id": id, "time": "2026-11-23T14:42:02Z", "monotonic_ns": 2,
        "delivery": {"state": "delivered"}, "timing": {},
    }))
}

fn exit(pid: u32) -> Event {
    event(json!({
        "type": "exit", "time": "2026-11-23T14:42:03Z", "monotonic_ns": 3, "pid": pid,
        "start_boottime_ns": 7,
    }))
}

#[test]
fn later_facts_and_exits_follow_what_was_shown() {
    let mut view = view(unit("web@blue"));
    let mut is_shown = |event: Event| !shown(&mut view, event).is_empty();
    let other = json!({"id": 2, "sender": sender(json!({"pid": 43, "attribution": {}}))});
    assert!(is_shown(send(&json!({}))));
    assert!(!is_shown(send(&other)));
    assert!(is_shown(update(1)));
    assert!(!is_shown(update(2)));
    assert!(is_shown(exit(42)));
    assert!(!is_shown(exit(43)));
    assert_eq!(view.left_out(), 1);
}

#[test]
fn an_exit_that_comes_before_what_the_process_sent_is_shown_after_it() {
    let mut view = view(unit("web@blue"));
    assert_eq!(shown(&mut view, exit(42)), []);
    let events = shown(&mut view, send(&json!({})));
    assert_eq!(events.last(), Some(&exit(42)));
    assert_eq!(events.len(), 2);
}

#[test]
fn who_is_not_known_is_counted_as_undecided_not_as_another() {
    let mut view = view(unit("web@blue"));
    assert_eq!(shown(&mut view, send(&json!({"sender": null}))), []);
    let mut losses = Losses::default();
    view.count_losses(&mut losses);
    assert_eq!((losses.undecided, view.left_out()), (1, 0));
}

#[test]
fn a_failed_connect_has_no_key() {
    let failed = event(json!({
        "type": "connect_failed", "time": "2026-11-23T14:42:01Z", "monotonic_ns": 1,
        "sender": sender(json!({})), "address": "/run/systemd/notify", "class": "systemd",
        "error": {"errno": 2},
    }));
    assert!(shows(&unit("web@blue"), &failed));
    let key = Filter {
        keys: list(&["*"]),
        ..Filter::default()
    };
    assert!(!shows(&key, &failed));
}

/// What is written of a datagram with this payload.
fn redacted(redact: Redact, payload: &str) -> Value {
    let length = u32::try_from(payload.len()).expect("short");
    let lines = crate::decode::message::parse(payload.as_bytes(), length, None).lines;
    let later = json!({"executable": "/x", "command_line": ["x", "--status=hush"]});
    let event = send(&json!({
        "payload": payload, "lines": serde_json::to_value(lines).expect("lines"),
        "sender": sender(json!({"later": later})),
    }));
    let options = ViewOptions {
        redact,
        ..ViewOptions::default()
    };
    let shown = shown(&mut View::new(options), event);
    serde_json::to_value(&shown[0]).expect("JSON")
}

fn keys(keys: &[&str]) -> Redact {
    Redact::Keys(list(keys))
}

#[test]
fn nothing_of_a_withheld_value_is_left_anywhere() {
    for payload in [
        "READY=1\nSTATUS=hush",
        "STATUS=x\nhush\nREADY=1",
        "STATUS=aGVsbG8\nhush==\n/hush=x\nREADY=1",
        "STATUS=top\nHUSH====\nHUSH=hush\nREADY=1",
        "status=hush\nREADY=1",
        "X_a/b=hush\nREADY=1",
        "X_HUSH=hush\nREADY=1",
    ] {
        let shown = redacted(keys(&["STATUS", "X_*"]), payload).to_string();
        assert!(
            !shown.to_lowercase().replace("x_hush", "").contains("hush"),
            "{shown}"
        );
        assert!(shown.contains(r#"{"key":"READY","value":"1"}"#), "{shown}");
        assert!(shown.contains("payload_redacted"), "{shown}");
        assert!(shown.contains(r#""executable":"/x""#), "{shown}");
    }
}

#[test]
fn what_has_none_of_the_keys_stays_whole() {
    let shown = redacted(keys(&["STATUS"]), "READY=1\nodd");
    assert_eq!(shown["payload"], "READY=1\nodd");
    assert!(!shown.to_string().contains("payload_redacted"));
    // All the same: the command line may hold such a value.
    assert!(!shown.to_string().contains("hush"));
}

#[test]
fn the_command_that_is_traced_is_withheld_too() {
    let words = [
        "notify-trace",
        "trace",
        "--redact",
        "STATUS",
        "--",
        "systemd-notify",
        "--status=hush",
    ];
    let session = event(json!({
        "type": "session", "format_version": 1, "tool_version": "0.1.0", "command_line": words,
        "time": "2026-11-23T14:42:00Z", "monotonic_ns": 1, "host": "x", "kernel": "6.12",
        "machine": "x86_64", "cpus": 2, "ring_bytes": 4096, "rules": [],
        "plan": {"name": "full", "reason": "it works", "programs": {}},
    }));
    for (redact, left) in [(keys(&["STATUS"]), 4), (Redact::Nothing, 7)] {
        let options = ViewOptions {
            redact,
            ..ViewOptions::default()
        };
        let shown = shown(&mut View::new(options), session.clone());
        let Event::Session(session) = &shown[0] else {
            panic!("it was a session");
        };
        assert_eq!(session.command_line.len(), left);
    }
}

#[test]
fn a_key_in_a_payload_that_is_not_known_is_undecided() {
    let key = Filter {
        keys: list(&["READY"]),
        ..Filter::default()
    };
    for changes in [
        json!({"payload": null, "lines": []}),
        json!({"truncated": true, "lines": [{"key": "STATUS", "value": "x"}]}),
    ] {
        let mut view = view(key.clone());
        assert_eq!(shown(&mut view, send(&changes)), []);
        assert_eq!(view.left_out(), 0, "{changes}");
    }
}

#[test]
fn keys_only_leaves_keys_and_lengths() {
    let shown = redacted(Redact::AllValues, "READY=1\nSTATUS=hush\nodd\nlower=hush");
    assert_eq!(
        shown["lines"],
        json!([
            {"key": "READY", "redacted_bytes": 1},
            {"key": "STATUS", "redacted_bytes": 4},
            {"redacted_bytes": 3},
            {"redacted_bytes": 10},
        ])
    );
    assert!(shown.get("payload").is_none());
}

proptest::proptest! {
    #[test]
    fn keys_only_never_shows_a_value(payload in "([A-Z]{1,3}=)?[a-z=\n]{0,40}") {
        let shown = redacted(Redact::AllValues, &payload);
        for line in shown["lines"].as_array().into_iter().flatten() {
            proptest::prop_assert!(line.get("value").is_none(), "{line}");
            let key = line.get("key").and_then(Value::as_str).unwrap_or_default();
            proptest::prop_assert!(key.chars().all(|c| c.is_ascii_uppercase()), "{line}");
        }
    }
}

#[test]
fn what_was_shown_before_is_followed_after_a_change() {
    let others = ViewOptions {
        filter: Filter {
            units: vec!["other.service".to_owned()],
            ..Filter::default()
        },
        ..ViewOptions::default()
    };
    let mut view = View::new(ViewOptions::default()).for_changes();
    let pending = json!({"delivery": {"state": "queued"}});
    assert_eq!(shown(&mut view, send(&pending)).len(), 1);
    view.change(others);
    assert_eq!(shown(&mut view, update(1)).len(), 1, "it was shown");
    assert_eq!(shown(&mut view, update(2)).len(), 0, "it was not");
    assert_eq!(shown(&mut view, exit(42)).len(), 1, "of who sent it");
    assert_eq!(shown(&mut view, exit(43)).len(), 0, "of somebody else");
    view.change(ViewOptions::default());
    assert_eq!(shown(&mut view, exit(43)).len(), 1, "all is shown again");
}
