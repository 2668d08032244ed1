//! One test for each rule, with records made by hand.

mod facts;
mod late;
mod permutations;
mod records;
mod tracepoints;

use records::{
    FULL, MANAGER, MS, Scene, TRACEPOINTS, US, address, closed, connect_failed, dequeue, exit,
    outcome, receiver, send,
};

use super::*;
use crate::event::{DeliveryState, Errno, SendResult, Unknown};
use notify_trace_common::record::{
    Exit, Header, Outcome, ReceiverClosed, SEND_CONNECTED, SEND_NOT_COPIED, Send,
};

#[test]
fn it_is_passed_on_when_result_and_dequeue_are_known() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(outcome(9, 101 * MS, 7));
    assert!(scene.take().is_empty());
    scene.push(dequeue(9, 102 * MS));
    let sent = scene.take_send();
    assert_eq!(sent.id, 1);
    assert_eq!(sent.result, Some(SendResult::SentBytes(7)));
    assert_eq!(sent.delivery.state, DeliveryState::Delivered);
    assert_eq!(sent.unknown, []);
    assert_eq!(scene.join.next_deadline_ns(), None);
}

#[test]
fn a_failed_one_is_passed_on_at_once() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(outcome(9, 100 * MS + 1, -111));
    let sent = scene.take_send();
    assert_eq!(sent.delivery.state, DeliveryState::Failed);
    let errno = Errno {
        errno: 111,
        name: Some("ECONNREFUSED".to_owned()),
    };
    assert_eq!(sent.result, Some(SendResult::Failed(errno)));
    assert_eq!(scene.counters().failed, 1);
    assert_eq!(scene.counters().open, 0);
}

#[test]
fn what_is_not_queued_after_a_quarter_second_is_pending_as_sending() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    assert_eq!(scene.join.next_deadline_ns(), Some(350 * MS));
    scene.expire(350 * MS - 1);
    assert!(scene.take().is_empty());
    scene.expire(350 * MS);
    let sent = scene.take_send();
    assert_eq!(sent.delivery.state, DeliveryState::Sending);
    assert_eq!(sent.unknown, [], "the result may still come");
    assert_eq!(scene.counters().open, 1);
}

#[test]
fn what_is_queued_after_a_quarter_second_is_pending_as_queued() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(outcome(9, 101 * MS, 7));
    scene.expire(350 * MS);
    let sent = scene.take_send();
    assert_eq!(sent.delivery.state, DeliveryState::Queued);
    assert_eq!(sent.receiver.and_then(|to| to.queue_length), Some(3));
}

#[test]
fn the_time_of_later_records_makes_it_pending_too() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(exit(400 * MS, 1));
    let events = scene.take();
    assert!(matches!(events[..], [Event::Send(_), Event::Exit(_)]));
}

#[test]
fn a_process_exits_once() {
    let mut scene = Scene::new(TRACEPOINTS);
    let mut exits = |start_boottime_ns: u64| {
        scene.push(Exit {
            start_boottime_ns,
            ..exit(400 * MS, 42)
        });
        scene.take().len()
    };
    assert_eq!([exits(7), exits(7)], [1, 0]);
    assert_eq!([exits(8), exits(7)], [1, 0], "its number was used again");
    assert_eq!(
        [exits(0), exits(0)],
        [1, 1],
        "they may be two: nobody knows"
    );
}

#[test]
fn each_fact_that_comes_after_passing_on_is_one_update() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.expire(400 * MS);
    assert_eq!(scene.take_send().id, 1);

    scene.push(outcome(9, 2_000 * MS, 7));
    let update = scene.take_update();
    assert_eq!((update.id, update.monotonic_ns), (1, 2_000 * MS));
    assert_eq!(update.result, Some(SendResult::SentBytes(7)));
    assert_eq!(update.delivery.state, DeliveryState::Queued);
    assert_eq!(update.receiver.and_then(|to| to.queue_length), Some(3));

    scene.push(dequeue(9, 3_000 * MS));
    let update = scene.take_update();
    assert_eq!(update.result, None, "it was known before");
    assert_eq!(update.receiver, None, "it was known before");
    assert_eq!(update.delivery.state, DeliveryState::Delivered);
    assert_eq!(update.timing.dequeued_ns, Some(3_000 * MS));
    assert_eq!(update.timing.returned_ns, Some(2_000 * MS));
    assert_eq!((scene.counters().delivered, scene.counters().open), (1, 0));
}

#[test]
fn a_pending_one_may_fail() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.expire(400 * MS);
    scene.push(outcome(9, 2_000 * MS, -11));
    scene.push(dequeue(9, 2_001 * MS));
    assert_eq!(
        scene.take_states(),
        [
            ("send", 1, DeliveryState::Sending),
            ("update", 1, DeliveryState::Failed)
        ]
    );
    assert_eq!(scene.counters().orphans, 0);
}

#[test]
fn numbers_are_dense_and_in_the_order_of_sends() {
    let mut scene = Scene::new(FULL);
    for id in [70, 60, 50] {
        scene.push(send(id, (100 - id) * MS));
    }
    for id in [50, 60, 70] {
        scene.push(outcome(id, 60 * MS, -111));
    }
    let ids: Vec<_> = scene.take_states().iter().map(|state| state.1).collect();
    assert_eq!(ids, [3, 2, 1]);
}

#[test]
fn nothing_queued_though_the_call_succeeded_was_filtered() {
    let mut scene = Scene::new(FULL);
    let not_queued = Outcome {
        queued_ns: 0,
        ..outcome(9, 101 * MS, 7)
    };
    scene.push(send(9, 100 * MS));
    scene.push(not_queued);
    scene.expire(350 * MS);
    assert_eq!(scene.take_send().delivery.state, DeliveryState::Filtered);
    assert_eq!((scene.counters().filtered, scene.counters().open), (1, 0));

    scene.push(send(10, 400 * MS));
    scene.push(Outcome {
        header: Header {
            id: 10,
            ..not_queued.header
        },
        ..not_queued
    });
    scene.push(dequeue(10, 402 * MS));
    assert_eq!(scene.take_send().delivery.state, DeliveryState::Delivered);
}

#[test]
fn a_plan_that_sees_no_queue_concludes_no_filter() {
    let mut scene = Scene::new(JoinConfig {
        sees_queue: false,
        ..FULL
    });
    scene.push(send(9, 100 * MS));
    scene.push(Outcome {
        queued_ns: 0,
        ..outcome(9, 101 * MS, 7)
    });
    scene.expire(350 * MS);
    assert_eq!(scene.take_send().delivery.state, DeliveryState::Queued);
}

#[test]
fn closing_the_receiver_destroys_what_is_in_its_queue() {
    let mut scene = Scene::new(FULL);
    scene.push(send(1, 100 * MS));
    scene.push(outcome(1, 101 * MS, 7));
    scene.expire(360 * MS);
    scene.push(send(2, 370 * MS));
    scene.push(outcome(2, 371 * MS, 7));
    scene.push(send(3, 372 * MS));
    scene.push(Send {
        receiver_inode: MANAGER + 1,
        ..send(4, 373 * MS)
    });
    scene.take();

    scene.push(closed(MANAGER, 380 * MS));
    let events = scene.take();
    let [
        Event::Update(first),
        Event::Send(second),
        Event::ReceiverClosed(receiver),
    ] = &events[..]
    else {
        panic!("{events:#?}");
    };
    assert_eq!((first.id, second.id), (1, 2));
    assert_eq!(first.delivery.state, DeliveryState::Destroyed);
    assert_eq!(first.monotonic_ns, 380 * MS);
    assert_eq!(second.delivery.state, DeliveryState::Destroyed);
    assert_eq!(&*receiver.class, "systemd");
    assert_eq!(scene.counters().destroyed, 2);

    scene.push(outcome(3, 381 * MS, -111));
    assert_eq!(
        scene.take_send().delivery.state,
        DeliveryState::Failed,
        "it wasn't queued yet"
    );
}

#[test]
fn a_close_destroys_no_more_than_was_left_in_the_queue_and_that_came_last() {
    let mut scene = Scene::new(FULL);
    for id in 1..=3 {
        scene.push(send(id, (100 + id) * MS));
        scene.push(outcome(id, (100 + id) * MS + US, 7));
    }
    scene.push(ReceiverClosed {
        queue_len: 1,
        ..closed(MANAGER, 110 * MS)
    });
    let states: Vec<_> = scene
        .take()
        .into_iter()
        .filter_map(|event| match event {
            Event::Send(send) => Some((send.id, send.delivery.state)),
            _ => None,
        })
        .collect();
    assert_eq!(
        states,
        [
            (1, DeliveryState::Unknown),
            (2, DeliveryState::Unknown),
            (3, DeliveryState::Destroyed)
        ]
    );
}

#[test]
fn a_result_that_comes_after_the_close_tells_whether_it_was_queued_before() {
    let mut scene = Scene::new(FULL);
    scene.push(send(1, 100 * MS));
    scene.push(closed(MANAGER, 101 * MS));
    scene.take();
    scene.push(outcome(1, 101 * MS + 5 * US, 7));
    assert_eq!(scene.take_send().delivery.state, DeliveryState::Destroyed);
}

/// Makes a second attempt differ from the first.
type Change = fn(&mut Send);

#[test]
fn a_refused_attempt_and_its_repetition_are_tied_together() {
    let refused = |id, time_ns| Send {
        flags: SEND_NOT_COPIED,
        captured: 0,
        claimed_pid: 1,
        ..send(id, time_ns)
    };
    // Each case: what differs in the second attempt, and whether it is a repetition.
    let cases: [(&str, Change, bool); 6] = [
        ("nothing", |_| (), true),
        ("another thread", |send| send.sender.tid += 1, false),
        ("another length", |send| send.len += 1, false),
        (
            "another address",
            |send| send.address = address(b"/run/other/notify.sock"),
            false,
        ),
        ("connected", |send| send.flags |= SEND_CONNECTED, false),
        ("too late", |send| send.header.time_ns += 100 * MS, false),
    ];
    for (what, change, is_repetition) in cases {
        let mut scene = Scene::new(FULL);
        scene.push(refused(1, 100 * MS));
        scene.push(outcome(1, 100 * MS, -1));
        let first = scene.take_send();
        assert_eq!(first.unknown, [Unknown::PayloadNeverCopied]);
        let mut second = send(2, 100 * MS + 1);
        change(&mut second);
        scene.push(second);
        scene.push(outcome(2, 300 * MS, -111));
        let expected = is_repetition.then_some(first.id);
        assert_eq!(scene.take_send().retry_of, expected, "{what}");
    }
}

#[test]
fn only_one_attempt_repeats_a_refused_one_and_only_a_refusal_is_repeated() {
    let mut scene = Scene::new(FULL);
    scene.push(Send {
        flags: SEND_NOT_COPIED,
        captured: 0,
        ..send(1, 100 * MS)
    });
    scene.push(outcome(1, 100 * MS, -2));
    scene.push(Send {
        flags: SEND_NOT_COPIED,
        captured: 0,
        ..send(2, 110 * MS)
    });
    scene.push(outcome(2, 110 * MS, -1));
    for id in [3, 4] {
        scene.push(send(id, 120 * MS));
        scene.push(outcome(id, 121 * MS, -111));
    }
    let retries: Vec<_> = scene
        .take()
        .into_iter()
        .map(|event| match event {
            Event::Send(send) => send.retry_of,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(retries, [None, None, Some(2), None]);
}

#[test]
fn what_no_rule_wants_is_dropped_with_all_its_records() {
    let mut scene = Scene::new(FULL);
    let other = b"/run/systemd/journal/dev-log";
    scene.push(receiver(1, 600, other));
    scene.push(Send {
        receiver_inode: 600,
        address: address(other),
        ..send(9, 100 * MS)
    });
    scene.push(outcome(9, 101 * MS, 7));
    scene.push(dequeue(9, 102 * MS));
    scene.push(closed(600, 103 * MS));
    scene.push(connect_failed(104 * MS, other));
    scene.finish();
    assert!(scene.take().is_empty());
    assert_eq!(scene.counters(), Counters::default());
}

#[test]
fn a_rule_may_want_it_only_once_its_receiver_is_known() {
    let mut scene = Scene::new(FULL);
    scene.push(Send {
        receiver_inode: 0,
        address: address(b"relative"),
        ..send(9, 100 * MS)
    });
    scene.expire(400 * MS);
    assert!(scene.take().is_empty());
    scene.push(outcome(9, 500 * MS, 7));
    let sent = scene.take_send();
    assert_eq!((sent.id, &*sent.class), (1, "systemd"));
    assert_eq!(sent.delivery.state, DeliveryState::Queued);
}

#[test]
fn exits_connects_and_closes_pass_through() {
    let mut scene = Scene::new(FULL);
    scene.push(exit(MS, 42));
    scene.push(connect_failed(2 * MS, b"/run/systemd/notify"));
    scene.push(closed(MANAGER, 3 * MS));
    let events = scene.take();
    let [
        Event::Exit(exit),
        Event::ConnectFailed(connect),
        Event::ReceiverClosed(close),
    ] = &events[..]
    else {
        panic!("{events:#?}");
    };
    assert_eq!((exit.pid, exit.monotonic_ns), (42, MS));
    assert_eq!(exit.time.to_string(), "2001-09-09T01:46:40.001Z");
    assert_eq!(connect.error.name.as_deref(), Some("ECONNREFUSED"));
    assert_eq!(&*connect.class, "systemd");
    assert_eq!(close.receiver.queue_length, Some(2));
    assert_eq!(scene.counters().connect_failed, 1);
}
