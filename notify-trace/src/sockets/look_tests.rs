//! The report of invented processes and namespaces, and one look at this machine.

use super::super::Source;
use super::super::bound::{Bound, Name};
use super::super::processes::Environment;
use super::*;

fn process(pid: u32, parent_pid: u32, notify_socket: Option<&str>) -> processes::Process {
    processes::Process {
        pid,
        parent_pid,
        comm: Blob::from("x"),
        environment: Environment {
            notify_socket: notify_socket.map(|value| value.as_bytes().to_vec()),
            ..Environment::default()
        },
        network_namespace: Some(4),
        ..processes::Process::default()
    }
}

fn bound(inode: u64, name: &[u8]) -> Bound {
    Bound {
        inode,
        kind: Kind::Datagram,
        name: Name {
            bytes: name.to_vec(),
            at_may_be_nul: false,
        },
        file: None,
        uid: Some(0),
        next_datagram_bytes: Some(0),
    }
}

fn look_of(sockets: Vec<Bound>) -> Look {
    Look {
        inode: 4,
        pids: vec![1],
        is_own: true,
        listed: Some((Source::Diag, sockets)),
        queue_lengths: Ok(HashMap::from([(100, 3)])),
        refusal: None,
        no_diag: None,
    }
}

fn rules() -> Rules {
    Rules::new(&[], &[], false).expect("the defaults are valid")
}

#[test]
fn selected_sockets_and_those_of_an_environment_are_listed_with_their_processes() {
    let mut processes = vec![
        process(1, 0, None),
        process(5, 1, Some("@odd")),
        process(6, 5, Some("@odd")),
        process(7, 1, Some("@gone")),
    ];
    processes[0].sockets = vec![100, 102];
    let looks = [look_of(vec![
        bound(100, b"\0odd"),
        bound(101, b"\0unrelated"),
        bound(102, b"\0/org/freedesktop/systemd1/notify"),
    ])];
    let proc = Path::new("/nowhere");
    let scene = Scene::new(proc, &processes, &looks);
    let aims = scene.aims(proc, &rules(), false, true);
    let sockets = scene.sockets(&rules(), false, &aims);
    let seen: Vec<_> = sockets
        .iter()
        .map(|socket| (socket.inode, socket.class.as_str(), socket.rule.is_some()))
        .collect();
    assert_eq!(seen, [(102, "systemd", true), (100, "environment", false)]);
    assert_eq!(sockets[1].owners[0].pid, 1);
    assert_eq!(sockets[1].queue_length, Some(3));
    assert_eq!(sockets[0].queue_length, None);
    let users: Vec<_> = sockets[1]
        .processes
        .iter()
        .map(|process| (process.pid, process.depth))
        .collect();
    assert_eq!(users, [(5, 0), (6, 1)]);
    let unresolved = scene.unresolved(&aims);
    assert_eq!(unresolved.len(), 1);
    assert_eq!(unresolved[0].reason, Reason::NobodyBound);
    assert_eq!(unresolved[0].network_namespace, Some(4));
    assert_eq!(unresolved[0].processes[0].pid, 7);
}

#[test]
fn with_only_the_users_rules_nothing_else_is_listed() {
    let processes = [process(5, 1, Some("@odd")), process(7, 1, Some("@gone"))];
    let looks = [look_of(vec![bound(100, b"\0odd"), bound(101, b"\0mine")])];
    let only = Rules::new(&[], &["@mine".to_owned()], false).expect("a pattern");
    let proc = Path::new("/nowhere");
    let scene = Scene::new(proc, &processes, &looks);
    let aims = scene.aims(proc, &only, true, true);
    assert!(aims.is_empty());
    let sockets = scene.sockets(&only, true, &aims);
    assert_eq!(sockets.len(), 1);
    assert_eq!(sockets[0].inode, 101);
}

#[test]
fn a_watchdog_is_said_to_be_for_another_only_if_that_is_known() {
    let with = |usec: &str, pid: Option<&str>| {
        let mut process = process(5, 1, None);
        process.environment.watchdog_usec = Some(usec.as_bytes().to_vec());
        process.environment.watchdog_pid = pid.map(|pid| pid.as_bytes().to_vec());
        process.namespace_pid = Some(5);
        watchdog(&process).expect("it has one")
    };
    assert_eq!(with("180000000", None).applies, Some(true));
    assert_eq!(with("180000000", Some("5")).applies, Some(true));
    assert_eq!(with("180000000", Some("6")).applies, Some(false));
    assert_eq!(with("180000000", Some("?")).applies, None);
    assert_eq!(with("soon", None).malformed, Some(Blob::from("soon")));
    assert_eq!(with("soon", None).usec, None);
}

#[test]
fn this_machine_can_be_looked_at() {
    let report = look(Path::new("/proc"), &rules(), false).expect("there is a /proc");
    assert!(report.network_namespaces.iter().any(|it| it.is_own));
    assert!(look(Path::new("/nowhere"), &rules(), false).is_err());
}
