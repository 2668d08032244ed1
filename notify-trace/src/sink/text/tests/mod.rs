//! Events in, lines out: each golden line is what a reader of a terminal sees.

mod frame;

use jiff::tz::{TimeZone, offset};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Blob, Line, Notification};

/// A delivered notification; fields of `changes` replace its own, `null` removes one.
fn send(changes: &Value) -> Event {
    event(
        json!({
            "type": "send",
            "id": 12,
            "time": "2026-11-23T14:42:01.123456Z",
            "monotonic_ns": 1_000_000_000_u64,
            "sender": process("nginx", 4242),
            "destination": {"address": "/run/systemd/notify", "connected": false},
            "receiver": {"inode": 500, "address": "/run/systemd/notify", "queue_length": 0},
            "class": "systemd",
            "length_bytes": 7,
            "payload": "READY=1",
            "lines": [{"key": "READY", "value": "1"}],
            "fds": 0,
            "result": {"sent_bytes": 7},
            "delivery": {"state": "delivered", "reader": process("systemd", 1)},
            "timing": {
                "entry_ns": 1_000_000_000_u64,
                "queued_ns": 1_000_010_000_u64,
                "returned_ns": 1_000_020_000_u64,
                "dequeued_ns": 1_000_095_000_u64,
            },
        }),
        changes,
    )
}

/// An update of it, 3.2 s later: delivered.
fn update(changes: &Value) -> Event {
    event(
        json!({
            "type": "update",
            "id": 12,
            "time": "2026-11-23T14:42:04.323456Z",
            "monotonic_ns": 4_200_000_000_u64,
            "delivery": {"state": "delivered", "reader": process("systemd", 1)},
            "timing": {"entry_ns": 1_000_000_000_u64, "dequeued_ns": 4_200_000_000_u64},
        }),
        changes,
    )
}

fn process(comm: &str, pid: u32) -> Value {
    json!({"pid": pid, "tid": pid, "comm": comm, "uid": 0, "gid": 0})
}

fn event(mut event: Value, changes: &Value) -> Event {
    for (key, value) in changes.as_object().expect("an object") {
        let fields = event.as_object_mut().expect("an object");
        if value.is_null() {
            fields.remove(key);
        } else {
            fields.insert(key.clone(), value.clone());
        }
    }
    serde_json::from_value(event).expect("a well-formed event")
}

fn text(events: &[Event]) -> String {
    let mut out = Vec::new();
    let mut sink = Text::new(&mut out, TimeZone::fixed(offset(1)));
    for event in events {
        sink.event(event).expect("a vector takes all");
    }
    sink.flush().expect("a vector takes all");
    String::from_utf8(out).expect("text is UTF-8")
}

/// The line of a notification without what all golden lines have in common.
#[track_caller]
fn line(changes: &Value) -> String {
    let text = text(&[send(changes)]);
    let line = text.strip_suffix('\n').expect("a line");
    let line = line
        .strip_prefix("15:42:01.123456  ")
        .expect("begins with the time");
    assert!(!line.contains('\n'), "{line}");
    line.to_owned()
}

const HEAD: &str = "nginx[4242]  → /run/systemd/notify  READY=1  ";

#[track_caller]
fn assert_tail(changes: &Value, expected: &str) {
    assert_eq!(line(changes), format!("{HEAD}{expected}"));
}

#[test]
fn a_delivered_notification_is_one_line() {
    let mut sender = process("nginx", 4242);
    sender["cgroup"] = json!({"id": 77, "path": "/system.slice/nginx.service"});
    assert_eq!(
        text(&[send(&json!({
            "sender": sender,
            "lines": [{"key": "READY", "value": "1"}, {"key": "STATUS", "value": "Ready to serve"}],
        }))]),
        "15:42:01.123456  nginx[4242]  /system.slice/nginx.service  → /run/systemd/notify  \
         READY=1  STATUS=Ready to serve  delivered 85 µs systemd[1]\n"
    );
}

#[test]
fn every_fate_has_its_words() {
    let of = |state: &str| json!({"delivery": {"state": state}});
    assert_tail(&json!({}), "delivered 85 µs systemd[1]");
    assert_tail(&of("destroyed"), "DESTROYED unread");
    for (state, words) in [
        ("sending", "pending (sending)"),
        ("queued", "pending (queued)"),
        ("filtered", "DROPPED by the receiver's filter"),
        ("unknown", "fate unknown"),
    ] {
        assert_eq!(line(&of(state)), format!("#12  {HEAD}{words}"));
    }
    assert_eq!(
        line(&json!({
            "delivery": {"state": "queued"},
            "receiver": {"inode": 500, "address": "/run/systemd/notify", "queue_length": 12},
        })),
        format!("#12  {HEAD}pending (queued, 12 waiting)")
    );
    for (error, words) in [
        (
            json!({"errno": 111, "name": "ECONNREFUSED"}),
            "FAILED ECONNREFUSED",
        ),
        (json!({"errno": 999}), "FAILED errno 999"),
    ] {
        let failed = json!({"delivery": {"state": "failed"}, "result": {"failed": error}});
        assert_tail(&failed, words);
    }
}

#[test]
fn the_bound_name_is_shown_only_if_it_differs() {
    let to = |destination: Value, receiver: Value| {
        let line = line(&json!({"destination": destination, "receiver": receiver}));
        line.split("  ")
            .nth(1)
            .map(str::to_owned)
            .expect("a receiver")
    };
    let wanted = json!({"address": "/run/notify/notify.sock", "connected": true});
    assert_eq!(
        to(
            wanted.clone(),
            json!({"inode": 5, "address": "/proc/self/fd/9/notify/notify.sock"})
        ),
        "→ /run/notify/notify.sock (bound as /proc/self/fd/9/notify/notify.sock)"
    );
    assert_eq!(to(wanted, json!({"inode": 5})), "→ /run/notify/notify.sock");
    assert_eq!(
        to(Value::Null, json!({"inode": 5, "address": "@name"})),
        "→ @name"
    );
    assert_eq!(to(Value::Null, json!({"inode": 5})), "→ socket:[5]");
    assert_eq!(to(Value::Null, Value::Null), "→ ?");
}

#[test]
fn what_is_not_as_usual_is_remarked() {
    let delivered = "delivered 85 µs systemd[1]";
    let claim = |pid, uid| json!({"claimed": {"pid": pid, "uid": uid, "gid": 0}});
    assert_tail(&json!({"fds": 2}), &format!("+2 fds  {delivered}"));
    assert_tail(&json!({"fds": 1}), &format!("+1 fd  {delivered}"));
    assert_tail(
        &claim(1, 0),
        &format!("{delivered}  claims pid 1 uid 0 gid 0"),
    );
    assert_tail(&claim(4242, 0), delivered);
    assert_tail(
        &json!({"retry_of": 3}),
        &format!("{delivered}  retry of #3"),
    );
    assert_tail(
        &json!({"defects": ["too_long", "embedded_nul"]}),
        &format!("{delivered}  [defect: longer than 4096 bytes, NUL inside]"),
    );
    assert_tail(
        &json!({"unknown": ["result", "receiver_address"]}),
        &format!("{delivered}  [unknown: result, receiver's name]"),
    );
    assert_tail(
        &json!({"delivery": {
            "state": "delivered",
            "reader": process("systemd", 1),
            "trimmed_to_bytes": 5,
            "sender_present": false,
        }}),
        &format!("{delivered}  trimmed to 5 bytes  sender gone"),
    );
}

#[test]
fn a_sender_that_waited_more_than_a_millisecond_was_blocked() {
    let waited = |ns: u64, tries: Option<u64>| {
        json!({"timing": {
            "entry_ns": 1_000_000_000_u64,
            "queued_ns": 1_000_000_000 + ns,
            "dequeued_ns": 1_000_085_000 + ns,
            "queue_tries": tries,
        }})
    };
    let delivered = "delivered 85 µs systemd[1]";
    assert_tail(
        &waited(2_300_000_000, Some(2)),
        &format!("{delivered}  blocked 2.3 s"),
    );
    assert_tail(&waited(1_000_000, Some(2)), delivered);
    assert_tail(&waited(5_000_000, None), delivered);
    assert_tail(
        &json!({
            "delivery": {"state": "failed"},
            "result": {"failed": {"errno": 11, "name": "EAGAIN"}},
            "timing": {"entry_ns": 1, "returned_ns": 5_000_000_001_u64},
        }),
        "FAILED EAGAIN  blocked 5.0 s",
    );
}

#[test]
fn a_refused_attempt_shows_the_number_that_its_retry_names() {
    assert_eq!(
        line(&json!({
            "id": 3, "lines": [], "payload": null,
            "unknown": ["payload_never_copied"],
            "delivery": {"state": "failed"},
            "result": {"failed": {"errno": 1, "name": "EPERM"}},
        })),
        "#3  nginx[4242]  → /run/systemd/notify  FAILED EPERM  [unknown: payload, never copied]"
    );
}

#[test]
fn an_unknown_sender_is_a_question_mark_and_gets_a_number_to_be_named_by() {
    assert_eq!(
        line(&json!({"sender": null, "unknown": ["sender"]})),
        "#12  ?  → /run/systemd/notify  READY=1  delivered 85 µs systemd[1]  [unknown: sender]"
    );
}

#[test]
fn updates_name_the_number() {
    let of = |changes: Value| {
        let text = text(&[update(&changes)]);
        text.strip_prefix("15:42:04.323456  ")
            .unwrap_or(&text)
            .to_owned()
    };
    assert_eq!(of(json!({})), "#12 delivered after 3.2 s systemd[1]\n");
    assert_eq!(
        of(json!({"timing": {"dequeued_ns": 4_200_000_000_u64}})),
        "#12 delivered systemd[1]\n"
    );
    assert_eq!(
        of(json!({
            "delivery": {"state": "failed"},
            "result": {"failed": {"errno": 104, "name": "ECONNRESET"}},
        })),
        "#12 FAILED ECONNRESET after 3.2 s\n"
    );
    assert_eq!(
        of(json!({
            "delivery": {"state": "queued"},
            "receiver": {"inode": 500, "queue_length": 10},
        })),
        "#12 queued after 3.2 s, 10 waiting\n"
    );
    assert_eq!(
        of(json!({"delivery": {"state": "destroyed"}})),
        "#12 DESTROYED unread after 3.2 s\n"
    );
    let late = json!({"entry_ns": 1_000_000_000_u64, "dequeued_ns": 1_000_100_000_u64});
    assert_eq!(
        of(json!({"sender": process("nginx", 4242), "timing": late.clone()})),
        "#12 was sent by nginx[4242]\n"
    );
    assert_eq!(of(json!({"result": {"sent_bytes": 7}, "timing": late})), "");
}

#[test]
fn no_sender_can_write_what_looks_like_our_words() {
    let payload = "STATUS=x  delivered 1 µs systemd[1]\nFAILED EPERM\n\x1b[2J=\u{202e}";
    let parsed = crate::decode::message::parse(payload.as_bytes(), 60, None);
    let lines = serde_json::to_value(parsed.lines).expect("lines");
    let mut sender = process("a  b[1]", 4242);
    sender["cgroup"] = json!({"id": 77, "path": "/a\n15:42:01  b"});
    assert_eq!(
        line(&json!({"sender": sender, "lines": lines})),
        "a \\x20b[1][4242]  /a\\n15:42:01 \\x20b  → /run/systemd/notify  \
         STATUS=x \\x20delivered 1 µs systemd[1]  \"FAILED EPERM\"  \\e[2J=\\u{202e}  \
         delivered 85 µs systemd[1]"
    );
}

#[test]
fn addresses_that_could_be_mistaken_are_escaped() {
    let to = |address: Value| {
        let line = line(&json!({
            "destination": {"address": address, "connected": false}, "receiver": null,
        }));
        line.split("  ")
            .nth(1)
            .map(str::to_owned)
            .expect("a receiver")
    };
    assert_eq!(to(json!({"base64": "QHg="})), r"→ \x40x");
    assert_eq!(to(json!("@x")), "→ @x");
    assert_eq!(to(json!({"base64": "/w=="})), r"→ \xff");
    assert_eq!(to(json!("")), "→ (unnamed)");
}

#[test]
fn an_empty_payload_leaves_no_gap() {
    assert_eq!(
        line(&json!({"lines": [], "payload": "", "length_bytes": 0, "defects": ["empty"]})),
        "nginx[4242]  → /run/systemd/notify  delivered 85 µs systemd[1]  [defect: empty]"
    );
}

#[test]
fn a_huge_payload_is_cut_but_what_became_of_it_is_shown() {
    let line = line(&json!({
        "lines": [{"key": "STATUS", "value": "x".repeat(4089)}],
        "length_bytes": 5000, "truncated": true, "defects": ["too_long"],
    }));
    assert!(line.contains("STATUS=xxx"), "{line}");
    assert!(
        line.ends_with(
            "xxx…  (first 4096 of 5000 bytes)  delivered 85 µs systemd[1]  \
             [defect: longer than 4096 bytes]"
        ),
        "{line}"
    );
    assert_eq!(
        "15:42:01.123456  ".chars().count() + line.chars().count(),
        COLUMNS
    );
}

#[test]
fn failed_connects_and_closed_receivers_are_lines_and_exits_are_not() {
    let failed = json!({
        "type": "connect_failed", "time": "2026-11-23T14:42:01Z", "monotonic_ns": 1,
        "sender": process("dockerd", 7), "address": "/run/systemd/notify", "class": "systemd",
        "error": {"errno": 2, "name": "ENOENT"},
    });
    let closed = json!({
        "type": "receiver_closed", "time": "2026-11-23T14:42:02Z", "monotonic_ns": 1,
        "closer": process("runc", 8), "class": "runc",
        "receiver": {"inode": 9, "address": "/run/runc/a/notify/notify.sock", "queue_length": 3},
    });
    let exit = json!({
        "type": "exit", "time": "2026-11-23T14:42:03Z", "monotonic_ns": 1, "pid": 8,
    });
    let events = [failed, closed, exit].map(|json| event(json, &json!({})));
    assert_eq!(
        text(&events),
        "15:42:01.000000  dockerd[7]  → /run/systemd/notify  connect FAILED ENOENT\n\
         15:42:02.000000  runc[8]  closed /run/runc/a/notify/notify.sock  \
         3 datagrams DESTROYED unread\n"
    );
}

#[test]
fn durations_have_the_unit_that_suits_them() {
    for (ns, expected) in [
        (0, "<1 µs"),
        (85_999, "85 µs"),
        (1_234_567, "1.2 ms"),
        (99_999_999, "99.9 ms"),
        (250_000_000, "250 ms"),
        (3_200_000_000, "3.2 s"),
        (125_000_000_000, "2 min 5 s"),
        (u64::MAX, "307445734 min 33 s"),
    ] {
        assert_eq!(words::duration(ns), expected);
    }
}

proptest! {
    #[test]
    fn whatever_the_sender_chooses_it_is_one_line_of_bounded_length(
        payload in proptest::collection::vec(any::<u8>(), 0..5000),
        comm in proptest::collection::vec(any::<u8>(), 0..16),
        path in proptest::collection::vec(any::<u8>(), 0..4000),
    ) {
        let Event::Send(base) = send(&json!({})) else { unreachable!() };
        let mut sender = base.sender.clone().expect("known");
        sender.comm = Blob(comm);
        sender.cgroup = Some(crate::event::Cgroup { id: 1, path: Some(Blob(path)) });
        let notification = Notification {
            sender: Some(sender),
            lines: vec![Line::Other { text: Blob(payload) }],
            ..*base
        };
        let text = text(&[Event::Send(Box::new(notification))]);
        prop_assert_eq!(text.lines().count(), 1);
        prop_assert!(text.chars().count() <= COLUMNS + 1);
        prop_assert!(text.ends_with("  delivered 85 µs systemd[1]\n"));
        prop_assert!(!text.trim_end_matches('\n').chars().any(char::is_control));
    }
}
