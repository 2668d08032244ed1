//! The text, and that the format's description names all there is.

use super::super::{FORMAT_VERSION, NetworkNamespace, Owner, Skipped, Unreadable};
use super::*;
use crate::event::{Attribution, SocketRule, Unit};

fn of_unit(name: &str) -> Attribution {
    Attribution {
        unit: Some(Unit {
            name: name.to_owned(),
            template: None,
            instance: None,
        }),
        ..Attribution::default()
    }
}

fn process(pid: u32, depth: u32, value: Option<&str>) -> Process {
    Process {
        pid,
        parent_pid: 1,
        depth,
        comm: Blob::from("worker"),
        attribution: Some(of_unit("app.service")),
        network_namespace: Some(4_026_531_840),
        notify_socket: value.map(Blob::from),
        watchdog: None,
    }
}

/// A report in which every field is present.
fn report() -> Report {
    let mut processes = vec![
        process(300, 0, Some("/run/systemd/notify")),
        process(301, 1, Some("/run/host/notify")),
        process(302, 2, Some("/run/systemd/notify")),
        process(303, 1, Some("/run/systemd/notify")),
        process(400, 0, Some("/run/systemd/notify")),
    ];
    processes[0].watchdog = Some(Watchdog {
        usec: Some(180_000_000),
        malformed: None,
        pid: Some(300),
        applies: Some(true),
    });
    processes[1].watchdog = Some(Watchdog {
        usec: Some(180_000_000),
        malformed: None,
        pid: Some(300),
        applies: Some(false),
    });
    let mut lost = process(500, 0, None);
    lost.watchdog = Some(Watchdog {
        usec: None,
        malformed: Some(Blob::from("soon")),
        pid: None,
        applies: Some(true),
    });
    Report {
        format_version: FORMAT_VERSION,
        time: "2026-11-23T14:42:01.5Z".parse().expect("a time"),
        rules: vec![SocketRule {
            class: "systemd".to_owned(),
            matches: "/run/systemd/notify".to_owned(),
        }],
        sockets: vec![Socket {
            address: Address::from(&b"/run/systemd/notify"[..]),
            class: "systemd".to_owned(),
            rule: Some("/run/systemd/notify".to_owned()),
            inode: 17000,
            network_namespace: 4_026_531_840,
            uid: Some(0),
            queue_length: Some(2),
            next_datagram_bytes: Some(34),
            owners: vec![Owner {
                pid: 1,
                comm: Blob::from("systemd"),
                attribution: Some(of_unit("init.scope")),
            }],
            processes,
        }],
        unresolved: vec![Unresolved {
            notify_socket: Blob::from("@gone"),
            reason: Reason::NobodyBound,
            network_namespace: Some(4_026_532_000),
            processes: vec![process(600, 0, Some("@gone"))],
        }],
        without_socket: vec![lost],
        network_namespaces: vec![
            NetworkNamespace {
                inode: 4_026_531_840,
                is_own: true,
                processes: 80,
                source: Some(Source::Table),
                no_diag: Some("ENOENT".to_owned()),
            },
            NetworkNamespace {
                inode: 4_026_532_000,
                is_own: false,
                processes: 1,
                source: None,
                no_diag: None,
            },
        ],
        skipped: vec![Skipped {
            network_namespace: 4_026_532_000,
            pid: 600,
            reason: "setns(2) is refused".to_owned(),
        }],
        unreadable: Unreadable {
            environments: 1,
            descriptors: 2,
            network_namespaces: 0,
        },
        warnings: vec!["this is not the host's pid namespace".to_owned()],
    }
}

fn text(report: &Report, columns: Option<usize>) -> String {
    let mut out = Vec::new();
    write(&mut out, report, columns).expect("a vector takes all");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn a_report_reads_like_this() {
    assert_eq!(
        text(&report(), None),
        "\
/run/systemd/notify  2 waiting, next has 34 bytes  systemd by rule /run/systemd/notify
  inode 17000  netns 4026531840  uid 0  owner systemd[1] init.scope
  ├─ worker[300]  app.service  watchdog 3 min
  │  ├─ worker[301]  app.service  NOTIFY_SOCKET=/run/host/notify  watchdog 3 min (for pid 300)
  │  │  └─ worker[302]  app.service
  │  └─ worker[303]  app.service
  └─ worker[400]  app.service

NOTIFY_SOCKET=@gone in netns 4026532000
  GOES NOWHERE: no socket is bound to it
  └─ worker[600]  app.service

WATCHDOG_USEC without NOTIFY_SOCKET: nowhere to send to
  └─ worker[500]  app.service  watchdog malformed: soon

# 1 notify socket, 1 value of NOTIFY_SOCKET without one, 1 network namespace entered
# skipped network namespace 4026532000 of process 600: setns(2) is refused
# network namespace 4026531840: no users and no sizes of datagrams: ENOENT
# the environment of 1 process may not be read (that takes CAP_SYS_PTRACE)
# the open sockets of 2 processes may not be read (that takes CAP_SYS_PTRACE)
# this is not the host's pid namespace
"
    );
}

#[test]
fn on_a_terminal_no_line_is_wider_than_that() {
    let text = text(&report(), Some(80));
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("watchdog 3 mi…\n"), "{text}");
    let wrapped = "1 network namespace\n#   entered\n";
    assert!(text.contains(wrapped), "{text}");
}

#[test]
fn names_that_would_act_on_a_terminal_are_harmless() {
    let mut report = report();
    let count = text(&report, None).lines().count();
    let evil = "\x1b[2J\n\u{202e}";
    report.sockets[0].address = Address::from(evil.as_bytes());
    report.sockets[0].rule = Some(evil.to_owned());
    report.sockets[0].owners[0].comm = Blob::from(evil);
    report.sockets[0].owners[0].attribution = Some(of_unit(evil));
    report.sockets[0].processes[0].comm = Blob::from(evil);
    report.sockets[0].processes[0].notify_socket = Some(Blob::from(evil));
    report.unresolved[0].notify_socket = Blob::from(evil);
    report.without_socket[0].attribution = Some(of_unit(evil));
    report.skipped[0].reason = evil.to_owned();
    let lines = text(&report, None);
    let is_harmless = |c: char| c == '\n' || !crate::escape::is_dangerous(c);
    assert!(lines.chars().all(is_harmless), "{lines}");
    assert_eq!(lines.lines().count(), count);
}

#[test]
fn a_tree_of_any_depth_stays_narrow() {
    let chain: Vec<_> = (0..5_000)
        .map(|depth| process(depth, depth, None))
        .collect();
    let lines = tree(&chain, None);
    assert_eq!(lines.len(), 5_000);
    assert!(lines.iter().all(|line| line.chars().count() < 80));
}

#[test]
fn a_queue_is_unknown_rather_than_empty() {
    let mut socket = report().sockets.remove(0);
    let mut say = |length, next| {
        socket.queue_length = length;
        socket.next_datagram_bytes = next;
        queue(&socket)
    };
    assert_eq!(say(None, None), "queue unknown");
    assert_eq!(say(None, Some(0)), "queue empty, or the next datagram is");
    assert_eq!(say(None, Some(1)), "waiting, next has 1 byte");
    assert_eq!(say(Some(0), Some(0)), "queue empty");
    assert_eq!(say(Some(3), None), "3 waiting");
}

#[test]
fn spans_of_watchdogs_are_short() {
    for (usec, text) in [
        (180_000_000, "3 min"),
        (90_000_000, "1 min 30 s"),
        (30_000_000, "30 s"),
        (1_500_000, "1.5 s"),
        (0, "<1 µs"),
    ] {
        assert_eq!(time(usec), text);
    }
    // It does not overflow.
    assert!(time(u64::MAX).ends_with('s'));
}

#[test]
fn the_description_of_the_format_has_every_field() {
    fn names(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    found.push(name.clone());
                    // That is described with the events.
                    if name != "attribution" {
                        names(value, found);
                    }
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(|it| names(it, found)),
            _ => {}
        }
    }
    let description = include_str!("../../../docs/sockets.md");
    let mut found = Vec::new();
    let value = serde_json::to_value(report()).expect("it has a JSON form");
    names(&value, &mut found);
    for name in found {
        assert!(description.contains(&format!("`{name}`")), "{name}");
    }
    for reason in [
        Reason::NoFile,
        Reason::NotASocket,
        Reason::NobodyBound,
        Reason::WrongType,
        Reason::Vsock,
        Reason::Malformed,
        Reason::Ambiguous,
        Reason::NotVisible,
    ] {
        let name = serde_json::to_value(reason).expect("it has a JSON form");
        let name = name.as_str().expect("a string");
        assert!(description.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    let text = serde_json::to_string(&report()).expect("it has a JSON form");
    let read: Report = serde_json::from_str(&text).expect("it is one");
    assert_eq!(read, report());
}
