//! Against a `/proc` of our own making: processes that go, pids and cgroup ids that come back.

use std::path::PathBuf;

use bytes::Bytes;
use notify_trace_common::record::{Cgroup as WireCgroup, Header, Kind, Send};
use serde_json::json;
use zerocopy::FromZeros as _;

use super::*;
use crate::event::Notification;

/// A folder that goes with the test.
struct Proc(PathBuf);

impl Proc {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nt-enrich-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn process(&self, pid: u32, start_ticks: u64, command: &str, cgroups: &str) {
        let folder = self.0.join(pid.to_string());
        std::fs::create_dir_all(&folder).expect("a folder");
        let fields = "0 ".repeat(18);
        std::fs::write(
            folder.join("stat"),
            format!("{pid} (x) S {fields}{start_ticks} 0\n"),
        )
        .expect("a file");
        std::fs::write(folder.join("cmdline"), format!("{command}\0")).expect("a file");
        std::fs::write(folder.join("cgroup"), cgroups).expect("a file");
        let _ = std::fs::remove_file(folder.join("exe"));
        std::os::unix::fs::symlink(format!("/bin/{command}"), folder.join("exe")).expect("a link");
    }

    fn gone(&self, pid: u32) {
        std::fs::remove_dir_all(self.0.join(pid.to_string())).expect("it was there");
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SECOND_NS: u64 = 1_000_000_000;

fn task(pid: u32, start_ticks: u64) -> Task {
    Task {
        tgid: pid,
        tid: pid,
        start_boottime_ns: start_ticks * 10_000_000 + 77,
        cgroup_id: 5,
        ..Task::ZERO
    }
}

fn record(sender: Task, time_ns: u64) -> Record {
    let mut send = Send::new_zeroed();
    send.header.time_ns = time_ns;
    send.sender = sender;
    Record::Send {
        send,
        payload: Bytes::new(),
    }
}

fn cgroup_record(id: u64, path: &str) -> Record {
    let header = Header::new_zeroed();
    let mut cgroup = WireCgroup::new_zeroed();
    cgroup.header = header;
    cgroup.header.kind = Kind::Cgroup as u16;
    cgroup.cgroup_id = id;
    Record::Cgroup {
        cgroup,
        path: path.to_owned().into(),
    }
}

/// What is known of the sender of a datagram.
fn told(enrich: &mut Enrich, task: Task, path: Option<&str>) -> Process {
    let mut cgroup = json!({"id": task.cgroup_id});
    if let Some(path) = path {
        cgroup["path"] = path.into();
    }
    let mut event: Event = serde_json::from_value(json!({
        "type": "send", "id": 1, "time": "2026-11-23T14:42:01Z", "monotonic_ns": 1,
        "sender": {
            "pid": task.tgid, "tid": task.tid, "comm": "x", "uid": 0, "gid": 0,
            "start_boottime_ns": task.start_boottime_ns, "cgroup": cgroup,
        },
        "class": "systemd", "length_bytes": 0, "delivery": {"state": "sending"}, "timing": {},
    }))
    .expect("a well-formed event");
    enrich.complete(&mut event);
    match event {
        Event::Send(it) => {
            let Notification { sender, .. } = *it;
            sender.expect("it has one")
        }
        _ => unreachable!("it was a send"),
    }
}

fn executable(process: &Process) -> Option<String> {
    let later = process.later.as_ref()?;
    String::from_utf8(later.executable.as_ref()?.0.to_vec()).ok()
}

fn unit(process: &Process) -> Option<String> {
    Some(process.attribution.as_ref()?.unit.as_ref()?.name.clone())
}

#[test]
fn a_process_that_is_gone_stays_known_and_the_next_with_its_pid_is_another() {
    let proc = Proc::new("reuse");
    let mut enrich = Enrich::new(&proc.0);
    proc.process(7, 100, "first", "0::/a.service\n");
    enrich.look(&record(task(7, 100), SECOND_NS));
    proc.gone(7);
    proc.process(7, 200, "second", "0::/b.service\n");
    // Looked at again, long after: it is still the first one's record.
    enrich.look(&record(task(7, 100), 9 * SECOND_NS));
    let first = told(&mut enrich, task(7, 100), Some("/a.service"));
    assert_eq!(executable(&first).as_deref(), Some("/bin/first"));
    enrich.look(&record(task(7, 200), 9 * SECOND_NS));
    let second = told(&mut enrich, task(7, 200), Some("/b.service"));
    assert_eq!(executable(&second).as_deref(), Some("/bin/second"));
}

#[test]
fn of_a_process_that_was_gone_before_anybody_looked_nothing_is_invented() {
    let proc = Proc::new("gone");
    let mut enrich = Enrich::new(&proc.0);
    // Its pid belongs to another one by now.
    proc.process(7, 300, "other", "0::/other.service\n");
    enrich.look(&record(task(7, 100), SECOND_NS));
    let process = told(&mut enrich, task(7, 100), Some("/system.slice/a.service"));
    assert_eq!(process.later, None);
    assert_eq!(unit(&process).as_deref(), Some("a.service"));
}

#[test]
fn a_process_that_executes_another_program_is_looked_at_again() {
    let proc = Proc::new("exec");
    let mut enrich = Enrich::new(&proc.0);
    proc.process(7, 100, "sh", "0::/a.service\n");
    enrich.look(&record(task(7, 100), SECOND_NS));
    proc.process(7, 100, "daemon", "0::/a.service\n");
    let mut renamed = task(7, 100);
    renamed.comm[..6].copy_from_slice(b"daemon");
    enrich.look(&record(renamed, SECOND_NS + 1));
    let process = told(&mut enrich, renamed, Some("/a.service"));
    assert_eq!(executable(&process).as_deref(), Some("/bin/daemon"));
}

#[test]
fn a_cgroup_id_that_gets_another_path_is_another_cgroup() {
    let mut enrich = Enrich::new(Path::new("/nonexistent"));
    enrich.look(&cgroup_record(5, "/system.slice/a.service"));
    let before = told(&mut enrich, task(7, 100), Some("/system.slice/a.service"));
    enrich.look(&cgroup_record(5, "/system.slice/b.service"));
    let after = told(&mut enrich, task(7, 100), Some("/system.slice/b.service"));
    assert_eq!(unit(&before).as_deref(), Some("a.service"));
    assert_eq!(unit(&after).as_deref(), Some("b.service"));
    // An event of before that comes late is still what it was.
    let late = told(&mut enrich, task(7, 100), Some("/system.slice/a.service"));
    assert_eq!(unit(&late).as_deref(), Some("a.service"));
}

#[test]
fn a_move_to_another_cgroup_between_two_sends_is_seen() {
    let proc = Proc::new("moved");
    let mut enrich = Enrich::new(&proc.0);
    proc.process(7, 100, "x", "0::/b.service\n");
    enrich.look(&record(task(7, 100), SECOND_NS));
    let mut moved = task(7, 100);
    moved.cgroup_id = 6;
    let before = told(&mut enrich, task(7, 100), Some("/a.service"));
    let after = told(&mut enrich, moved, Some("/b.service"));
    assert_eq!(unit(&before).as_deref(), Some("a.service"));
    assert_eq!(unit(&after).as_deref(), Some("b.service"));
}

#[test]
fn on_a_host_with_v1_hierarchies_what_proc_says_is_marked_as_later() {
    let proc = Proc::new("v1");
    let mut enrich = Enrich::new(&proc.0);
    proc.process(
        7,
        100,
        "x",
        "4:memory:/\n1:name=systemd:/system.slice/a.service\n",
    );
    enrich.look(&record(task(7, 100), SECOND_NS));
    let process = told(&mut enrich, task(7, 100), Some("/"));
    assert_eq!(unit(&process).as_deref(), Some("a.service"));
    assert!(process.attribution.as_ref().is_some_and(|it| it.is_later));
    let line = process
        .later
        .as_ref()
        .and_then(|later| later.cgroup.clone());
    assert_eq!(
        line.map(|line| line.hierarchy).as_deref(),
        Some("name=systemd")
    );
    // What the record itself says is not.
    let process = told(&mut enrich, task(7, 100), Some("/system.slice/b.service"));
    assert_eq!(unit(&process).as_deref(), Some("b.service"));
    assert!(process.attribution.as_ref().is_some_and(|it| !it.is_later));
}

#[test]
fn a_move_between_v1_cgroups_is_followed_at_each_record() {
    let proc = Proc::new("v1-moved");
    let mut enrich = Enrich::new(&proc.0);
    let in_unit = |unit: &str| format!("4:memory:/\n1:name=systemd:/system.slice/{unit}\n");
    proc.process(7, 100, "x", &in_unit("a.service"));
    enrich.look(&record(task(7, 100), SECOND_NS));
    proc.process(7, 100, "x", &in_unit("b.service"));
    enrich.look(&record(task(7, 100), SECOND_NS + 1));
    let process = told(&mut enrich, task(7, 100), Some("/"));
    assert_eq!(unit(&process).as_deref(), Some("b.service"));
}

#[test]
fn from_within_another_cgroup_namespace_proc_says_nothing_of_cgroups() {
    let proc = Proc::new("namespace");
    proc.process(1, 1, "init", "0::/../../init.scope\n");
    let mut enrich = Enrich::new(&proc.0);
    proc.process(7, 100, "x", "1:name=systemd:/system.slice/a.service\n");
    enrich.look(&record(task(7, 100), SECOND_NS));
    let process = told(&mut enrich, task(7, 100), Some("/"));
    assert_eq!(unit(&process), None);
    assert!(process.later.is_some_and(|later| later.cgroup.is_none()));
}

#[test]
fn without_a_start_no_process_is_looked_up() {
    let proc = Proc::new("startless");
    let mut enrich = Enrich::new(&proc.0);
    proc.process(7, 0, "x", "0::/a.service\n");
    let mut unknown = task(7, 0);
    unknown.start_boottime_ns = 0;
    enrich.look(&record(unknown, SECOND_NS));
    assert_eq!(told(&mut enrich, unknown, None).later, None);
}
