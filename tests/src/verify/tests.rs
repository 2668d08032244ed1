//! A perfect agent is found to be right, and each single fault is found.

use serde_json::{Value, json};

use super::datagram::shown_path;
use super::*;
use crate::truth::{
    Bytes, Cgroup, Connect, Credentials, Destination, Fate, Process, Receipt, Receiver, Send,
};

const DIR: &str = "/run/nt/1";
const ADDRESS: &str = "/run/nt/1/notify.sock";

fn process() -> Process {
    Process {
        pid: 20,
        parent_pid: 10,
        uid: 0,
        gid: 0,
        namespace_pid: 20,
        pid_namespace: 4_026_531_836,
        start_ticks: 55,
        cgroup: Some(Cgroup {
            id: 9,
            path: "/a.slice/b.service".into(),
        }),
        comm: Bytes(b"case".to_vec()),
        executable: Bytes(b"/x".to_vec()),
        command_line: Vec::new(),
        attribution: None,
        is_gone: false,
    }
}

fn send(payload: &[u8], before_ns: u64) -> Send {
    Send {
        process: 0,
        tid: Some(20),
        comm: Bytes(b"case".to_vec()),
        io_uring_worker: false,
        socket_inode: 71,
        destination: Destination {
            address: Bytes(ADDRESS.into()),
            is_connected: false,
        },
        receiver: Some(70),
        payload: Some(Bytes(payload.to_vec())),
        length: u32::try_from(payload.len()).unwrap(),
        is_copied: true,
        fds: 0,
        claimed: None,
        result: Ok(u32::try_from(payload.len()).unwrap()),
        before_ns,
        after_ns: before_ns + 100,
        fate: Fate::Delivered,
        is_repetition: false,
        sender_present: Some(true),
        is_selected_by_destination_only: false,
        is_blocked: false,
        is_contended: false,
    }
}

fn receipt(payload: &[u8], before_ns: u64) -> Receipt {
    Receipt {
        payload: Bytes(payload.to_vec()),
        length: u32::try_from(payload.len()).unwrap(),
        credentials: Some(Credentials {
            pid: 20,
            uid: 0,
            gid: 0,
        }),
        fds: 0,
        before_ns,
        after_ns: before_ns + 100,
    }
}

/// Two datagrams that arrive, one that fails, and a connect that fails.
fn truth() -> Truth {
    let failed = Send {
        receiver: None,
        destination: Destination {
            address: Bytes(b"/run/nt/1/x/notify.sock".to_vec()),
            is_connected: false,
        },
        result: Err(libc::ENOENT),
        fate: Fate::Failed,
        ..send(b"FAILED=1", 5000)
    };
    Truth {
        processes: vec![process()],
        sends: vec![send(b"READY=1", 1000), send(b"STATUS=\xff", 3000), failed],
        connects: vec![Connect {
            process: 0,
            socket_inode: 71,
            address: Bytes(ADDRESS.into()),
            errno: libc::EACCES,
            before_ns: 7000,
            after_ns: 7100,
        }],
        receivers: vec![Receiver {
            inode: 70,
            address: Bytes(ADDRESS.into()),
            pid: 30,
            is_told: true,
            receipts: vec![receipt(b"READY=1", 1200), receipt(b"STATUS=\xff", 3200)],
            is_end_hidden: false,
        }],
        pids: vec![20, 30],
        marks: std::collections::BTreeMap::new(),
    }
}

fn task(pid: u32) -> Value {
    json!({
        "pid": pid, "tid": pid, "comm": "case", "uid": 0, "gid": 0, "parent_pid": 10,
        "namespace_pid": pid, "pid_namespace": 4_026_531_836_u64,
        "start_boottime_ns": 557_000_000,
        "cgroup": {"id": 9, "path": "/a.slice/b.service"},
    })
}

/// What a perfect agent would write of [`truth`].
fn lines() -> Vec<Value> {
    let delivered = |id: u64, at: u64, payload: Value, length: u64| {
        json!({
            "type": "send", "id": id, "monotonic_ns": at + 10, "sender": task(20),
            "socket_inode": 71, "class": "other", "length_bytes": length, "payload": payload,
            "destination": {"address": ADDRESS, "connected": false},
            "receiver": {"inode": 70, "address": ADDRESS, "queue_length": 0},
            "fds": 0, "result": {"sent_bytes": length},
            "delivery": {
                "state": "delivered", "reader": task(30), "sender_present": true,
                "credentials": {"pid": 20, "uid": 0, "gid": 0}, "left_in_queue": 0,
            },
            "timing": {
                "entry_ns": at + 10, "queued_ns": at + 20, "returned_ns": at + 90,
                "dequeued_ns": at + 210,
            },
        })
    };
    let second = delivered(2, 3000, json!({"base64": "U1RBVFVTPf8="}), 8);
    vec![
        json!({
            "type": "session", "format_version": 1, "monotonic_ns": 1, "kernel": "k", "host": "h", "machine": "m",
            "cpus": 2, "ring_bytes": 65536, "rules": [],
            "plan": {"name": "full", "reason": "r", "programs": {}},
        }),
        delivered(1, 1000, json!("READY=1"), 7),
        second,
        json!({
            "type": "send", "id": 3, "monotonic_ns": 5010, "sender": task(20),
            "socket_inode": 71, "class": "other", "length_bytes": 8, "payload": "FAILED=1",
            "destination": {"address": "/run/nt/1/x/notify.sock", "connected": false},
            "fds": 0, "result": {"failed": {"errno": 2, "name": "ENOENT"}},
            "delivery": {"state": "failed"},
            "timing": {"entry_ns": 5010, "returned_ns": 5090},
        }),
        json!({
            "type": "connect_failed", "monotonic_ns": 7050, "sender": task(20),
            "socket_inode": 71, "address": ADDRESS, "class": "other",
            "error": {"errno": 13, "name": "EACCES"},
        }),
        json!({
            "type": "receiver_closed", "closer": task(30), "class": "other",
            "receiver": {"inode": 70, "address": ADDRESS, "queue_length": 0},
        }),
        json!({"type": "exit", "monotonic_ns": 9000, "pid": 20, "start_boottime_ns": 557_000_000}),
        json!({
            "type": "summary", "notifications": 3, "delivered": 2, "failed": 1,
            "connect_failed": 1, "records_attempted": 12, "records_received": 12, "losses": {},
        }),
    ]
}

fn problems_of(lines: &[Value], plan: Plan) -> Vec<String> {
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    let shown = match Shown::read(&lines) {
        Ok(shown) => shown,
        Err(error) => return vec![format!("{error:#}")],
    };
    let truth = truth();
    let part = Part::of(&truth, DIR, &shown);
    verify(&truth, &part, plan).1.0
}

#[test]
fn a_perfect_agent_has_no_problems() {
    assert_eq!(problems_of(&lines(), Plan::Full), [""; 0]);
}

#[test]
fn every_fact_that_is_wrong_is_found() {
    for (line, pointer, wrong) in [
        (1, "/payload", json!("READY=2")),
        (1, "/length_bytes", json!(9)),
        (1, "/sender/pid", json!(21)),
        (1, "/sender/tid", json!(21)),
        (1, "/sender/comm", json!("another")),
        (1, "/sender/uid", json!(1)),
        (1, "/sender/parent_pid", json!(1)),
        (1, "/sender/namespace_pid", json!(1)),
        (1, "/sender/start_boottime_ns", json!(1)),
        (1, "/sender/cgroup/path", json!("/a.slice")),
        (1, "/sender/cgroup/id", json!(8)),
        (1, "/destination/address", json!("/run/nt/1/other")),
        (1, "/destination/connected", json!(true)),
        (1, "/receiver/inode", json!(72)),
        (1, "/receiver/address", json!("@x")),
        (1, "/fds", json!(1)),
        (1, "/result/sent_bytes", json!(6)),
        (1, "/delivery/state", json!("queued")),
        (1, "/delivery/reader/pid", json!(20)),
        (1, "/delivery/sender_present", json!(false)),
        (1, "/delivery/credentials/pid", json!(1)),
        (1, "/timing/entry_ns", json!(900)),
        (1, "/timing/returned_ns", json!(1200)),
        (1, "/timing/queued_ns", json!(1005)),
        (1, "/timing/dequeued_ns", json!(1199)),
        (2, "/payload", json!("STATUS=?")),
        (3, "/result/failed/errno", json!(111)),
        (3, "/result/failed/name", json!("EPERM")),
        (3, "/delivery/state", json!("delivered")),
        (4, "/error/errno", json!(1)),
        (4, "/address", json!("/x")),
        (5, "/receiver/queue_length", json!(1)),
        (5, "/closer/pid", json!(20)),
        (6, "/start_boottime_ns", json!(1)),
        (6, "/monotonic_ns", json!(4000)),
    ] {
        let mut lines = lines();
        *lines[line]
            .pointer_mut(pointer)
            .expect("the pointer is right") = wrong;
        assert_ne!(
            problems_of(&lines, Plan::Full),
            [""; 0],
            "line {line}, {pointer}"
        );
    }
}

#[test]
fn what_is_missing_or_twice_is_found() {
    for line in 1..=6 {
        let mut without = lines();
        without.remove(line);
        assert_ne!(
            problems_of(&without, Plan::Full),
            [""; 0],
            "without line {line}"
        );
        let mut twice = lines();
        let mut again = twice[line].clone();
        if let Some(id) = again.get_mut("id") {
            *id = json!(99);
        }
        twice.insert(line, again);
        assert_ne!(
            problems_of(&twice, Plan::Full),
            [""; 0],
            "line {line} twice"
        );
    }
}

#[test]
fn only_a_counted_loss_explains_an_exit_that_is_missing() {
    let mut counted = lines();
    counted[7]["losses"] = json!({"programs_skipped": 1});
    let mut without = counted.clone();
    without.remove(6);
    assert_eq!(problems_of(&without, Plan::Full), [""; 0]);
    // It explains nothing else.
    counted.remove(1);
    assert_ne!(problems_of(&counted, Plan::Full), [""; 0]);
}

#[test]
fn an_absent_fact_must_be_named_and_the_plan_must_not_know_it() {
    for fact in ["sender", "destination", "result", "payload", "fds"] {
        let mut silent = lines();
        silent[1].as_object_mut().unwrap().remove(fact);
        assert_ne!(
            problems_of(&silent, Plan::Full),
            [""; 0],
            "{fact} silently absent"
        );
        silent[1]["unknown"] = json!([fact]);
        assert_ne!(
            problems_of(&silent, Plan::Full),
            [""; 0],
            "{fact} named as unknown"
        );
    }
}

#[test]
fn only_a_counted_loss_explains_a_result_that_is_named_as_unknown() {
    for (fact, skipped, is_explained) in
        [("result", 1, true), ("result", 0, false), ("fds", 1, false)]
    {
        let mut lines = lines();
        lines[7]["losses"] = json!({"programs_skipped": skipped});
        lines[1].as_object_mut().unwrap().remove(fact);
        let timing = lines[1]["timing"].as_object_mut().unwrap();
        if fact == "result" {
            timing.remove("returned_ns");
        }
        lines[1]["unknown"] = json!([fact]);
        let problems = problems_of(&lines, Plan::Full);
        assert_eq!(problems.is_empty(), is_explained, "{fact}: {problems:?}");
    }
}

#[test]
fn an_update_completes_what_was_pending() {
    let mut lines = lines();
    let whole = lines[2].clone();
    lines[2]["delivery"] = json!({"state": "queued"});
    lines[2]["timing"]
        .as_object_mut()
        .unwrap()
        .remove("dequeued_ns");
    let update = json!({
        "type": "update", "id": 2, "delivery": whole["delivery"], "timing": whole["timing"],
    });
    lines.insert(5, update);
    assert_eq!(problems_of(&lines, Plan::Full), [""; 0]);
}

/// What the tracepoint plan would write.
fn lines_of_tracepoints() -> Vec<Value> {
    let mut lines = lines();
    lines.drain(3..6);
    for line in &mut lines[1..3] {
        let line = line.as_object_mut().unwrap();
        line.remove("destination");
        line.remove("result");
        let dequeued = line["timing"]["dequeued_ns"].clone();
        line.insert("timing".into(), json!({"dequeued_ns": dequeued}));
        line.insert("monotonic_ns".into(), dequeued);
        let unknown = json!(["sender_at_this_send", "destination", "result", "send_times"]);
        line.insert("unknown".into(), unknown);
    }
    lines
}

#[test]
fn the_tracepoint_plan_needs_only_know_what_it_can() {
    assert_eq!(
        problems_of(&lines_of_tracepoints(), Plan::Tracepoints),
        [""; 0]
    );
    assert_ne!(problems_of(&lines_of_tracepoints(), Plan::Full), [""; 0]);
    assert_ne!(problems_of(&lines(), Plan::Tracepoints), [""; 0]);
}

#[test]
fn a_format_that_breaks_its_promise_is_found() {
    let mut no_session = lines();
    no_session.remove(0);
    let mut summary_first = lines();
    summary_first.swap(1, 7);
    let mut unknown_type = lines();
    unknown_type[6]["type"] = json!("gossip");
    let mut unheard = lines();
    unheard[2] = json!({"type": "update", "id": 55, "delivery": {"state": "queued"}, "timing": {}});
    for lines in [no_session, summary_first, unknown_type, unheard] {
        assert_eq!(problems_of(&lines, Plan::Full).len(), 1);
    }
}

#[test]
fn a_path_is_shown_as_far_as_it_fits() {
    let deep = |levels: usize| "/x".repeat(levels);
    assert_eq!(shown_path("/"), "/");
    assert_eq!(shown_path(&deep(23)), deep(23));
    assert_eq!(shown_path(&deep(24)), format!("…{}", deep(24)));
    assert_eq!(shown_path(&deep(30)), format!("…{}", deep(24)));
    let long = |longest: usize| {
        format!(
            "/{}{}",
            "x".repeat(longest),
            format!("/{}", "y".repeat(255)).repeat(15)
        )
    };
    assert_eq!(shown_path(&long(254)), long(254));
    assert_eq!(shown_path(&long(255)), format!("…{}", &long(255)[256..]));
    let below = |longest| format!("/a{}", long(longest));
    assert_eq!(shown_path(&below(252)), below(252));
    assert_eq!(shown_path(&below(253)), format!("…{}", long(253)));
}
