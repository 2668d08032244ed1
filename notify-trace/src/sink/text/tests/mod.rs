//! Events in, lines out: each golden line is what a reader of a terminal sees.

mod frame;

use jiff::tz::{TimeZone, offset};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::{Blob, Line, Notification};
use crate::words;

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

/// What is written in a zone one hour east of UTC.
fn written(events: &[Event], options: Options) -> String {
    let mut out = Vec::new();
    let mut sink = Text::new(&mut out, options);
    for event in events {
        sink.event(event).expect("a vector takes all");
    }
    sink.flush().expect("a vector takes all");
    String::from_utf8(out).expect("text is UTF-8")
}

fn options() -> Options {
    Options::for_file(TimeZone::fixed(offset(1)))
}

fn at(cells: usize) -> Options {
    Options {
        columns: Columns::Fixed(cells),
        ..options()
    }
}

fn text(events: &[Event]) -> String {
    written(events, options())
}

/// The columns of a notification's row behind the time: what became of it, who, sender and receiver,
/// and the message.
#[track_caller]
fn columns(changes: &Value) -> [String; 4] {
    let text = text(&[send(changes)]);
    let line = text.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n'), "{line}");
    let parts: Vec<&str> = line
        .split(GAP)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    let arrow = parts
        .iter()
        .position(|part| part.trim().starts_with('→'))
        .or_else(|| parts.iter().position(|part| part.contains(" → ")))
        .expect("a receiver");
    let ends = [parts[1], parts[2]].map(|part| part.trim().to_owned());
    let between = parts[3..=arrow].join(" ");
    let [fate, who] = ends;
    [
        fate,
        who,
        between,
        parts[arrow + 1..].join(GAP).trim().to_owned(),
    ]
}

#[track_caller]
fn message(changes: &Value) -> String {
    let [_, _, _, message] = columns(changes);
    message
}

fn in_unit(unit: &str) -> Value {
    let mut sender = process("nginx", 4242);
    sender["cgroup"] = json!({"id": 77, "path": format!("/system.slice/{unit}")});
    sender["attribution"] = json!({"unit": {"name": unit}, "slice": "system.slice"});
    sender
}

fn in_container(container: Value, more: Value) -> Value {
    let mut sender = process("nginx", 4242);
    sender["cgroup"] = json!({"id": 78, "path": "/x"});
    sender["attribution"] = json!({"unit": {"name": "x.scope"}, "container": container});
    for (key, value) in more.as_object().expect("an object") {
        sender["attribution"][key] = value.clone();
    }
    sender
}

/// A bit of everything.
fn everything() -> Vec<Event> {
    let id = "b0f1c6b3f4e0cbd8f9e4b8f1c3f6f8e2a1d3c5b7a9e8f7d6c5b4a39281706f5e";
    let web = in_container(
        json!({"id": id, "runtime": "docker", "name": "web"}),
        json!({}),
    );
    let pod = in_container(
        json!({"id": id, "runtime": "containerd", "name": "app"}),
        json!({"pod": {"uid": "1", "name": "shop-7d9", "namespace": "prod"}}),
    );
    let conmon = in_container(
        json!({"id": id, "runtime": "podman", "is_monitor": true}),
        json!({"is_later": true}),
    );
    let mut user = process("syncthing", 5555);
    user["attribution"] = json!({
        "unit": {"name": "user@1000.service"}, "user": 1000,
        "user_unit": {"name": "syncthing.service"},
    });
    let refused = json!({
        "sender": in_unit("mail.service"), "delivery": {"state": "failed"}, "receiver": null,
        "result": {"failed": {"errno": 111, "name": "ECONNREFUSED"}},
        "destination": {"address": "/run/containers/a-long-way/notify/notify.sock", "connected": true},
    });
    let status =
        |text: &str| json!([{"key": "READY", "value": "1"}, {"key": "STATUS", "value": text}]);
    vec![
        frame::session("full"),
        send(&json!({"sender": in_unit("nginx.service"), "lines": status("Ready to serve")})),
        send(&json!({"sender": web})),
        send(&json!({"sender": pod, "fds": 1, "claimed": {"pid": 7, "uid": 0, "gid": 0}})),
        send(&json!({"sender": conmon, "lines": status(&"a long status, ".repeat(20))})),
        send(&json!({"sender": user})),
        send(&refused),
        send(&json!({
            "sender": in_unit("systemd-fsck@dev-disk-by\\x2duuid-5f4e2c9a-77d4-4f43.service"),
            "delivery": {"state": "queued"},
            "receiver": {"inode": 500, "address": "/run/systemd/notify", "queue_length": 12},
        })),
        update(&json!({})),
        send(&json!({"delivery": {"state": "filtered"}, "sender": null, "unknown": ["sender"]})),
    ]
}

#[test]
fn columns_hold_at_every_width() {
    for cells in [40, 80, 120, 200] {
        let text = written(&everything(), at(cells));
        for line in text.lines() {
            assert!(line.width() <= cells, "{cells}: {line}");
        }
        insta::assert_snapshot!(format!("columns_{cells}"), text);
    }
    insta::assert_snapshot!("columns_of_a_file", text(&everything()));
}

#[test]
fn every_fact_is_shown_by_the_verbose_view() {
    let verbose = Options {
        is_verbose: true,
        ..at(100)
    };
    let mut events = super::super::format_tests::events();
    events.retain(|event| !matches!(event, Event::Session(_) | Event::Summary(_)));
    insta::assert_snapshot!(written(&events, verbose));
}

#[test]
fn colours_add_to_what_is_said_and_never_say_it() {
    let coloured = Options {
        is_coloured: true,
        ..at(120)
    };
    let with = written(&everything(), coloured);
    assert!(with.contains("\x1b[1m\x1b[31m   FAILED\x1b[0m"), "{with:?}");
    let mut plain = String::new();
    let mut rest = with.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').expect("a colour").1;
    }
    plain.push_str(rest);
    assert_eq!(plain, written(&everything(), at(120)));
}

#[test]
fn times_are_of_day_or_since_the_beginning_or_since_the_row_above() {
    let events = [
        frame::session("full"),
        send(&json!({"monotonic_ns": 1_500_000_001_u64})),
        send(&json!({"monotonic_ns": 1_500_250_001_u64, "time": "2026-11-23T14:42:02Z"})),
    ];
    let times = |times: Times| -> Vec<String> {
        let text = written(&events, Options { times, ..options() });
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.map(|line| line[..15].trim().to_owned()).collect()
    };
    assert_eq!(
        times(Times::Absolute),
        ["15:42:01.123456", "15:42:02.000000"]
    );
    assert_eq!(times(Times::Utc), ["14:42:01.123456", "14:42:02.000000"]);
    assert_eq!(times(Times::Relative), ["+1.500000", "+1.500250"]);
    assert_eq!(times(Times::Delta), ["+1.500000", "+0.000250"]);
}

#[test]
fn every_fate_has_its_word() {
    let of = |state: &str| {
        let [fate, _, _, message] = columns(&json!({"delivery": {"state": state}}));
        format!("{fate}: {message}")
    };
    assert_eq!(columns(&json!({}))[0], "85 µs");
    assert_eq!(
        of("destroyed"),
        "DESTROYED: receiver closed, unread  READY=1"
    );
    assert_eq!(of("sending"), "pending: #12  not queued yet  READY=1");
    assert_eq!(of("queued"), "pending: #12  in the queue  READY=1");
    assert_eq!(
        of("filtered"),
        "DROPPED: #12  by the receiver's filter  READY=1"
    );
    assert_eq!(
        of("unknown"),
        "unknown: #12  what became of it is not known  READY=1"
    );
    for (error, words) in [
        (
            json!({"errno": 111, "name": "ECONNREFUSED"}),
            "ECONNREFUSED",
        ),
        (json!({"errno": 999}), "errno 999"),
    ] {
        let failed = json!({"delivery": {"state": "failed"}, "result": {"failed": error}});
        let [fate, _, _, message] = columns(&failed);
        assert_eq!(
            (fate.as_str(), message),
            ("FAILED", format!("{words}  READY=1"))
        );
    }
}

#[test]
fn who_is_the_container_or_else_the_unit() {
    let id = "b0f1c6b3f4e0cbd8f9e4b8f1c3f6f8e2a1d3c5b7a9e8f7d6c5b4a39281706f5e";
    let of = |sender: Value| columns(&json!({"sender": sender}))[1].clone();
    assert_eq!(of(in_unit("nginx.service")), "nginx.service");
    assert_eq!(of(in_unit(r"a\x2db.service")), r"a\x2db.service");
    let docker = json!({"id": id, "runtime": "docker"});
    assert_eq!(of(in_container(docker, json!({}))), "docker:b0f1c6b3f4e0");
    let inside = json!({"id": "deb", "runtime": "nspawn", "unit": {"name": "a.service"}});
    assert_eq!(
        of(in_container(inside.clone(), json!({}))),
        "nspawn:deb/a.service"
    );
    let later = json!({"is_later": true});
    assert_eq!(of(in_container(inside, later)), "~nspawn:deb/a.service");
    assert_eq!(
        of(in_container(json!({"id": id}), json!({}))),
        "container:b0f1c6b3f4e0"
    );
    let nested = json!({"id": "a", "runtime": "lxc", "outer": {"id": id, "runtime": "docker"}});
    assert_eq!(
        of(in_container(nested, json!({"user": 1000}))),
        "lxc:a in docker:b0f1c6b3f4e0 (user 1000)"
    );
    let mut session = process("sh", 7);
    session["attribution"] = json!({
        "unit": {"name": "session-3.scope"}, "session": "3", "user": 1000,
    });
    assert_eq!(of(session), "session 3 (user 1000)");
    let mut unowned = process("sh", 7);
    unowned["cgroup"] = json!({"id": 9, "path": "/odd one"});
    assert_eq!(of(unowned.clone()), "/odd one");
    unowned["cgroup"] = json!({"id": 9});
    assert_eq!(of(unowned), "(cgroup 9)");
    assert_eq!(of(process("sh", 7)), "(no cgroup v2)");
}

#[test]
fn the_receiver_is_who_read_it_or_else_the_address() {
    let to = |changes: Value| columns(&changes)[2].clone();
    assert_eq!(to(json!({})), "nginx[4242] → systemd[1]");
    let open = |destination: Value, receiver: Value| {
        to(json!({
            "destination": destination, "receiver": receiver, "delivery": {"state": "queued"},
        }))
    };
    let wanted = json!({"address": "/run/notify/notify.sock", "connected": true});
    assert_eq!(
        open(
            wanted.clone(),
            json!({"inode": 5, "address": "/proc/self/fd/9/notify/notify.sock"})
        ),
        "nginx[4242] → /run/notify/notify.sock (bound as /proc/self/fd/9/notify/notify.sock)"
    );
    for (address, expected) in [
        (json!({"base64": "QHg="}), r"\x40x"),
        (json!("@x"), "@x"),
        (json!({"base64": "/w=="}), r"\xff"),
        (json!(""), "(unnamed)"),
    ] {
        let to = open(json!({"address": address, "connected": false}), Value::Null);
        assert_eq!(to, format!("nginx[4242] → {expected}"));
    }
    assert!(open(Value::Null, json!({"inode": 5})).ends_with("→ socket:[5]"));
    assert!(open(Value::Null, Value::Null).ends_with("→ ?"));
}

#[test]
fn what_is_not_as_usual_is_remarked() {
    let remarks = |changes: Value| {
        message(&changes)
            .replacen("READY=1", "", 1)
            .trim()
            .to_owned()
    };
    let claim = |pid, uid| json!({"claimed": {"pid": pid, "uid": uid, "gid": 0}});
    assert_eq!(remarks(json!({"fds": 2})), "+2 fds");
    assert_eq!(remarks(json!({"fds": 1})), "+1 fd");
    assert_eq!(remarks(claim(1, 0)), "claims pid 1 uid 0 gid 0");
    assert_eq!(remarks(claim(4242, 0)), "");
    assert_eq!(remarks(json!({"retry_of": 3})), "retry of #3");
    assert_eq!(
        remarks(json!({"defects": ["too_long", "embedded_nul"]})),
        "[defect: longer than 4096 bytes, NUL inside]"
    );
    assert_eq!(
        remarks(json!({"unknown": ["result", "receiver_address"]})),
        "[unknown: result, receiver's name]"
    );
    assert_eq!(
        remarks(json!({"delivery": {
            "state": "delivered",
            "reader": process("systemd", 1),
            "trimmed_to_bytes": 5,
            "sender_present": false,
        }})),
        "trimmed to 5 bytes  sender gone"
    );
}

#[test]
fn a_sender_that_waited_more_than_a_millisecond_was_blocked() {
    let waited = |ns: u64, tries: Option<u64>| {
        message(&json!({"timing": {
            "entry_ns": 1_000_000_000_u64,
            "queued_ns": 1_000_000_000 + ns,
            "dequeued_ns": 1_000_085_000 + ns,
            "queue_tries": tries,
        }}))
    };
    assert_eq!(waited(2_300_000_000, Some(2)), "READY=1  blocked 2.3 s");
    assert_eq!(waited(1_000_000, Some(2)), "READY=1");
    assert_eq!(waited(5_000_000, None), "READY=1");
    assert_eq!(
        message(&json!({
            "delivery": {"state": "failed"},
            "result": {"failed": {"errno": 11, "name": "EAGAIN"}},
            "timing": {"entry_ns": 1, "returned_ns": 5_000_000_001_u64},
        })),
        "EAGAIN  READY=1  blocked 5.0 s"
    );
}

#[test]
fn a_refused_attempt_shows_the_number_that_its_retry_names() {
    assert_eq!(
        message(&json!({
            "id": 3, "lines": [], "payload": null,
            "unknown": ["payload_never_copied"],
            "delivery": {"state": "failed"},
            "result": {"failed": {"errno": 1, "name": "EPERM"}},
        })),
        "#3  EPERM  [unknown: payload, never copied]"
    );
}

#[test]
fn updates_name_the_number_and_the_sender_again() {
    let of = |changes: Value| {
        let pending = send(&json!({
            "sender": in_unit("nginx.service"), "delivery": {"state": "queued"},
        }));
        let text = text(&[pending, update(&changes)]);
        let line = text.lines().nth(1).unwrap_or_default();
        line.split(GAP)
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .skip(1)
            .collect::<Vec<_>>()
            .join("|")
    };
    let late = json!({
        "entry_ns": 1_000_000_000_u64, "queued_ns": 1_000_000_000_u64,
        "dequeued_ns": 4_200_000_000_u64,
    });
    assert_eq!(
        of(json!({"timing": late})),
        "3.2 s|nginx.service|nginx[4242]|→ systemd[1]|#12 delivered after 3.2 s"
    );
    let failed = json!({
        "delivery": {"state": "failed"},
        "result": {"failed": {"errno": 104, "name": "ECONNRESET"}},
    });
    assert!(of(failed).ends_with("#12 ECONNRESET after 3.2 s"));
    let destroyed = json!({"delivery": {"state": "destroyed"}});
    assert!(of(destroyed).ends_with("#12 receiver closed, unread after 3.2 s"));
    let timing = json!({"entry_ns": 1_000_000_000_u64, "dequeued_ns": 1_000_100_000_u64});
    let sender = of(json!({"sender": process("nginx", 7), "timing": timing}));
    assert!(sender.ends_with("#12 was sent by this one"), "{sender}");
    assert_eq!(
        of(json!({"result": {"sent_bytes": 7}, "timing": timing})),
        ""
    );
}

#[test]
fn no_sender_can_write_what_looks_like_our_words() {
    let payload = "STATUS=x  ECONNREFUSED\nFAILED EPERM\n\x1b[2J=\u{202e}";
    let parsed = crate::decode::message::parse(payload.as_bytes(), 60, None);
    let lines = serde_json::to_value(parsed.lines).expect("lines");
    let mut sender = process("a  b[1]", 4242);
    sender["cgroup"] = json!({"id": 77, "path": "/a\n15:42:01  b"});
    let [_, who, between, message] = columns(&json!({"sender": sender, "lines": lines}));
    assert_eq!(who, r"/a\n15:42:01 \x20b");
    assert_eq!(between, r"a \x20b\x5b1\x5d[4242] → systemd[1]");
    assert_eq!(
        message,
        "STATUS=x \\x20ECONNREFUSED  \"FAILED EPERM\"  \\e[2J=\\u{202e}"
    );
}

#[test]
fn a_value_that_goes_on_in_the_next_line_is_marked() {
    let value = format!("{} FAILED ECONNREFUSED", "x".repeat(46));
    let text = written(
        &[send(&json!({"lines": [{"key": "STATUS", "value": value}]}))],
        at(80),
    );
    assert!(
        text.contains("\n                         ┆ FAILED ECONNREFUSED\n"),
        "{text}"
    );
}

#[test]
fn an_empty_payload_leaves_no_gap() {
    let changes = json!({"lines": [], "payload": "", "length_bytes": 0, "defects": ["empty"]});
    assert_eq!(message(&changes), "[defect: empty]");
}

#[test]
fn a_huge_payload_is_cut_but_what_became_of_it_is_shown() {
    let huge = json!({
        "lines": [{"key": "STATUS", "value": "x".repeat(4089)}],
        "length_bytes": 5000, "truncated": true, "defects": ["too_long"],
    });
    let line = text(&[send(&huge)]);
    let end = "xxx…  (first 4096 of 5000 bytes)  [defect: longer than 4096 bytes]\n";
    assert!(line.ends_with(end), "{line}");
    assert_eq!(line.chars().count(), COLUMNS + 1);
    let lines = written(&[send(&huge)], at(80));
    assert!(lines.lines().count() < 12, "{lines}");
    assert!(
        lines.contains("… (-v shows all of it)  (first 4096 of 5000"),
        "{lines}"
    );
    let verbose = Options {
        is_verbose: true,
        ..at(80)
    };
    let whole = written(&[send(&huge)], verbose);
    assert!(whole.matches('x').count() >= 4089, "{whole}");
}

#[test]
fn failed_connects_and_closed_receivers_are_rows_and_exits_are_not() {
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
    insta::assert_snapshot!(text(&events));
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
    fn whatever_the_sender_chooses_lines_are_bounded_and_harmless(
        payload in proptest::collection::vec(any::<u8>(), 0..5000),
        comm in proptest::collection::vec(any::<u8>(), 0..16),
        path in proptest::collection::vec(any::<u8>(), 0..4000),
        name in any::<String>(),
        cells in proptest::option::of(1_usize..250),
        is_verbose in any::<bool>(),
    ) {
        let Event::Send(base) = send(&json!({})) else { unreachable!() };
        let mut sender = base.sender.clone().expect("known");
        sender.comm = Blob(comm.into());
        sender.cgroup = Some(crate::event::Cgroup { id: 1, path: Some(Blob(path.into())) });
        sender.attribution = Some(std::sync::Arc::new(crate::event::Attribution {
            machine: Some(name.clone()),
            container: Some(crate::event::Container {
                id: name.clone(), runtime: None, name: Some(name.clone()), is_monitor: false,
                unit: Some(crate::event::Unit { name, template: None, instance: None }), outer: None,
            }),
            ..crate::event::Attribution::default()
        }));
        let notification = Notification {
            sender: Some(sender),
            lines: vec![Line::Other { text: Blob(payload.into()) }],
            ..*base
        };
        let columns = cells.map_or(Columns::Unbounded, Columns::Fixed);
        let text = written(
            &[Event::Send(Box::new(notification))],
            Options { columns, is_verbose, ..options() },
        );
        for line in text.lines() {
            prop_assert!(!line.chars().any(crate::escape::is_dangerous), "{line:?}");
            if let (Some(cells), false) = (cells, is_verbose) {
                prop_assert!(line.width() <= cells.max(42), "{cells}: {line}");
            }
        }
        if cells.is_none() && !is_verbose {
            prop_assert_eq!(text.lines().count(), 1);
            prop_assert!(text.chars().count() <= COLUMNS + 1);
        }
    }
}
