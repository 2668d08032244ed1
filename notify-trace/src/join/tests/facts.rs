//! What an event says of the facts of its records.

use notify_trace_common::record::{
    DEQUEUE_SENDER_GONE, Dequeue, Outcome, SEND_CLAIMED, SEND_CONNECTED, SEND_FDS_UNKNOWN,
    SEND_UNREADABLE, Send, TASK_IO_WORKER,
};

use super::records::{
    FULL, MANAGER_ADDRESS, MS, Scene, US, address, cgroup, dequeue, outcome, send,
};
use crate::event::{Address, Blob, Credentials, Defect, Destination, Line, Notification, Unknown};

#[track_caller]
fn joined(send: Send, outcome: Outcome, dequeue: Dequeue) -> Notification {
    let mut scene = Scene::new(FULL);
    scene.push(cgroup(1, 77, b"/system.slice/a.service"));
    scene.push(send);
    scene.push(outcome);
    scene.push(dequeue);
    scene.take_send()
}

#[test]
fn all_facts_of_the_three_records_are_told() {
    let mut send = Send {
        socket_inode: 900,
        fds: 2,
        claimed_pid: 5,
        claimed_uid: 6,
        claimed_gid: 7,
        flags: SEND_CLAIMED,
        ..send(9, 100 * MS)
    };
    send.sender.start_boottime_ns = 1234;
    send.sender.cgroup_id = 77;
    send.sender.pid_in_namespace = 3;
    send.sender.pid_namespace = 4_026_531_836;
    send.sender.parent_tgid = 40;
    send.sender.uid = 1000;
    send.sender.gid = 1001;
    let outcome = Outcome {
        queue_tries: 2,
        ..outcome(9, 103 * MS, 7)
    };
    let sent = joined(send, outcome, dequeue(9, 104 * MS));

    assert_eq!(&*sent.class, "systemd");
    assert_eq!(sent.monotonic_ns, 100 * MS - 10 * US);
    assert_eq!(sent.time.to_string(), "2001-09-09T01:46:40.09999Z");
    assert_eq!(sent.socket_inode, Some(900));
    assert_eq!(sent.payload, Some("READY=1".into()));
    assert_eq!(
        sent.lines,
        [Line::Assignment {
            key: "READY".into(),
            value: "1".into()
        }]
    );
    assert_eq!(sent.fds, Some(2));
    let credentials = |pid, uid, gid| Some(Credentials { pid, uid, gid });
    assert_eq!(sent.claimed, credentials(5, 6, 7));
    assert_eq!(
        sent.destination,
        Some(Destination {
            address: Address::from(MANAGER_ADDRESS),
            connected: false
        })
    );

    let sender = sent.sender.expect("known");
    assert_eq!((sender.pid, sender.tid), (42, 42));
    assert_eq!(sender.comm, "service".into());
    assert_eq!((sender.uid, sender.gid), (1000, 1001));
    assert_eq!(sender.parent_pid, Some(40));
    assert_eq!(sender.namespace_pid, Some(3));
    assert_eq!(sender.pid_namespace, Some(4_026_531_836));
    assert_eq!(sender.start_boottime_ns, Some(1234));
    let cgroup = sender.cgroup.expect("known");
    assert_eq!(cgroup.path, Some("/system.slice/a.service".into()));

    assert_eq!(sent.timing.entry_ns, Some(100 * MS - 10 * US));
    assert_eq!(sent.timing.queued_ns, Some(103 * MS - 10 * US));
    assert_eq!(sent.timing.returned_ns, Some(103 * MS));
    assert_eq!(sent.timing.dequeued_ns, Some(104 * MS));
    assert_eq!(sent.timing.queue_tries, Some(2));

    let delivery = sent.delivery;
    assert_eq!(delivery.reader.map(|reader| reader.pid), Some(1));
    assert_eq!(delivery.credentials, credentials(42, 1000, 1000));
    assert_eq!(delivery.sender_present, Some(true));
    assert_eq!(delivery.left_in_queue, Some(2));
    assert_eq!(delivery.trimmed_to_bytes, None);
}

#[test]
fn what_is_not_known_of_a_process_is_absent() {
    let sent = joined(
        send(9, 100 * MS),
        outcome(9, 101 * MS, 7),
        dequeue(9, 102 * MS),
    );
    let sender = sent.sender.expect("known");
    assert_eq!(sender.parent_pid, None);
    assert_eq!(sender.namespace_pid, None);
    assert_eq!(sender.pid_namespace, None);
    assert_eq!(sender.start_boottime_ns, None);
    assert_eq!(sender.cgroup, None);
    assert_eq!(sent.socket_inode, None);
    assert_eq!(sent.claimed, None);
    assert_eq!(sent.timing.queue_tries, None);
}

#[test]
fn a_cgroup_whose_path_was_lost_has_only_its_id() {
    let mut send = send(9, 100 * MS);
    send.sender.cgroup_id = 78;
    let sent = joined(send, outcome(9, 101 * MS, 7), dequeue(9, 102 * MS));
    let cgroup = sent.sender.and_then(|sender| sender.cgroup).expect("known");
    assert_eq!((cgroup.id, cgroup.path), (78, None));
}

#[test]
fn a_full_comm_and_a_worker_are_told_as_they_are() {
    let mut send = send(9, 100 * MS);
    send.sender.comm = *b"sixteen-bytes-xy";
    send.sender.flags = TASK_IO_WORKER;
    let sent = joined(send, outcome(9, 101 * MS, 7), dequeue(9, 102 * MS));
    let sender = sent.sender.expect("known");
    assert_eq!(sender.comm, Blob::from("sixteen-bytes-xy"));
    assert!(sender.io_uring_worker);
}

#[test]
fn a_payload_longer_than_captured_is_truncated_and_too_long() {
    let send = Send {
        len: 5000,
        ..send(9, 100 * MS)
    };
    let sent = joined(send, outcome(9, 101 * MS, 5000), dequeue(9, 102 * MS));
    assert!(sent.truncated);
    assert_eq!(sent.defects, [Defect::TooLong]);
    assert_eq!(sent.delivery.trimmed_to_bytes, Some(7));
}

#[test]
fn a_payload_that_could_not_be_read_is_unknown_and_not_empty() {
    let send = Send {
        captured: 0,
        flags: SEND_UNREADABLE | SEND_FDS_UNKNOWN,
        ..send(9, 100 * MS)
    };
    let sent = joined(send, outcome(9, 101 * MS, 7), dequeue(9, 102 * MS));
    assert_eq!(sent.payload, None);
    assert_eq!(sent.defects, []);
    assert!(!sent.truncated);
    assert_eq!(sent.fds, None);
    assert_eq!(sent.unknown, [Unknown::Payload, Unknown::Fds]);
}

#[test]
fn a_connected_socket_has_its_peers_address() {
    let send = Send {
        flags: SEND_CONNECTED,
        address: address(b"\0org/notify"),
        ..send(9, 100 * MS)
    };
    let sent = joined(send, outcome(9, 101 * MS, 7), dequeue(9, 102 * MS));
    let destination = sent.destination.expect("known");
    assert!(destination.connected);
    assert_eq!(
        destination.address.spelling().as_deref(),
        Some("@org/notify")
    );
}

#[test]
fn whether_the_sender_is_still_there_may_be_unknown() {
    for (flags, expected) in [(0, None), (DEQUEUE_SENDER_GONE, Some(false))] {
        let dequeue = Dequeue {
            flags,
            ..dequeue(9, 102 * MS)
        };
        let sent = joined(send(9, 100 * MS), outcome(9, 101 * MS, 7), dequeue);
        assert_eq!(sent.delivery.sender_present, expected);
        assert_eq!(sent.delivery.credentials, None);
    }
}

#[test]
fn names_decide_before_rules_of_inodes_and_of_these_what_is_known_last() {
    let mut scene = Scene::nameless(FULL);
    scene.rules.add_inode("first", 70);
    scene.rules.add_inode("second", 71);
    let last = u32::try_from(scene.rules.describe().count()).unwrap();
    let odd = |id: u64, rule: u32| Send {
        address: address(b"/odd"),
        rule,
        ..send(id, 100 * MS)
    };
    let read = |id: u64, rule: u32| Dequeue {
        rule,
        ..dequeue(id, 102 * MS)
    };
    // A rule of names selects nothing by its number.
    scene.push(odd(1, 1));
    scene.push(outcome(1, 101 * MS, 7));
    scene.push(read(1, last - 1));
    assert_eq!(&*scene.take_send().class, "first");

    scene.push(odd(2, last - 1));
    scene.push(outcome(2, 101 * MS, 7));
    scene.push(read(2, last));
    assert_eq!(&*scene.take_send().class, "second");

    scene.push(send(3, 100 * MS));
    scene.push(outcome(3, 101 * MS, 7));
    scene.push(read(3, last));
    assert_eq!(&*scene.take_send().class, "systemd");
}
