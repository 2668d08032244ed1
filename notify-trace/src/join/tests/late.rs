//! Records that come late, in another order, or not at all.

use notify_trace_common::record::{Outcome, Send};

use super::super::JoinConfig;
use super::records::{FULL, MS, Scene, address, closed, dequeue, exit, outcome, receiver, send};
use crate::event::{DeliveryState, SendResult, Unknown};

#[test]
fn after_a_dequeue_the_result_is_waited_for_5_ms() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(dequeue(9, 101 * MS));
    assert_eq!(scene.join.next_deadline_ns(), Some(106 * MS));
    scene.push(outcome(9, 104 * MS, 7));
    let sent = scene.take_send();
    assert_eq!(sent.result, Some(SendResult::SentBytes(7)));
    assert_eq!(sent.timing.returned_ns, Some(104 * MS));
}

#[test]
fn a_result_that_does_not_come_after_a_dequeue_is_unknown() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(dequeue(9, 101 * MS));
    scene.expire(106 * MS);
    let sent = scene.take_send();
    assert_eq!(sent.delivery.state, DeliveryState::Delivered);
    assert_eq!(sent.result, None);
    assert_eq!(sent.unknown, [Unknown::Result]);
}

#[test]
fn the_wait_after_a_dequeue_ends_when_it_would_be_pending() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(dequeue(9, 349 * MS));
    assert_eq!(scene.join.next_deadline_ns(), Some(350 * MS));
}

#[test]
fn a_result_that_comes_later_still_is_an_update() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(dequeue(9, 101 * MS));
    scene.expire(120 * MS);
    scene.take();
    scene.push(outcome(9, 130 * MS, 7));
    let update = scene.take_update();
    assert_eq!(update.result, Some(SendResult::SentBytes(7)));
    assert_eq!(update.delivery.state, DeliveryState::Delivered);
    assert_eq!(scene.counters().delivered, 1);
    assert_eq!(scene.join.next_deadline_ns(), None);
}

#[test]
fn what_is_delivered_without_a_result_is_forgotten_in_time() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(dequeue(9, 101 * MS));
    scene.expire(2_000 * MS);
    scene.take();
    assert_eq!(scene.join.next_deadline_ns(), Some(2_250 * MS));
    scene.expire(2_250 * MS);
    scene.push(outcome(9, 2_300 * MS, 7));
    scene.finish();
    assert!(scene.take().is_empty());
    assert_eq!(scene.counters().orphans, 0);
}

#[test]
fn records_before_their_send_are_held_for_it() {
    let mut scene = Scene::new(FULL);
    scene.push(dequeue(9, 102 * MS));
    scene.push(outcome(9, 101 * MS, 7));
    scene.expire(300 * MS);
    assert!(scene.take().is_empty());
    scene.push(send(9, 100 * MS));
    let sent = scene.take_send();
    assert_eq!(sent.delivery.state, DeliveryState::Delivered);
    assert_eq!(sent.unknown, []);
}

#[test]
fn records_whose_send_never_comes_are_counted() {
    let mut scene = Scene::new(FULL);
    scene.push(outcome(9, 100 * MS, 7));
    scene.push(dequeue(9, 101 * MS));
    scene.push(exit(349 * MS, 1));
    assert_eq!(scene.counters().orphans, 0);
    scene.push(exit(350 * MS, 1));
    assert_eq!(scene.counters().orphans, 1);
    scene.push(outcome(10, 360 * MS, 7));
    scene.take();
    scene.finish();
    assert!(scene.take().is_empty());
    assert_eq!(scene.counters().orphans, 2);
}

#[test]
fn the_same_record_twice_counts_once() {
    let mut scene = Scene::new(FULL);
    scene.push(send(9, 100 * MS));
    scene.expire(400 * MS);
    scene.push(outcome(9, 401 * MS, 7));
    scene.push(outcome(9, 401 * MS, 7));
    scene.push(send(9, 100 * MS));
    assert_eq!(
        scene.take_states(),
        [
            ("send", 1, DeliveryState::Sending),
            ("update", 1, DeliveryState::Queued)
        ]
    );
}

#[test]
fn the_oldest_is_evicted_and_counted() {
    let mut scene = Scene::new(JoinConfig {
        max_open: 2,
        ..FULL
    });
    scene.push(send(1, 100 * MS));
    scene.expire(400 * MS);
    scene.push(send(2, 401 * MS));
    scene.take();

    scene.push(send(3, 402 * MS));
    assert!(scene.take().is_empty(), "1 has been told of");
    assert_eq!(scene.counters().join_evicted, 1);

    scene.push(send(4, 403 * MS));
    let sent = scene.take_send();
    assert_eq!(
        (sent.id, sent.delivery.state),
        (2, DeliveryState::Unknown),
        "2 had to be told of now"
    );
    assert_eq!(sent.unknown, [Unknown::Result]);
    assert_eq!(scene.counters().join_evicted, 2);

    scene.push(dequeue(1, 404 * MS));
    scene.push(dequeue(2, 404 * MS));
    assert!(scene.take().is_empty());
    assert_eq!(scene.counters().open, 2);
}

#[test]
fn what_no_rule_wants_yet_is_evicted_in_silence() {
    let mut scene = Scene::new(JoinConfig {
        max_open: 1,
        ..FULL
    });
    scene.push(Send {
        receiver_inode: 0,
        address: address(b"relative"),
        ..send(1, 100 * MS)
    });
    scene.push(send(2, 101 * MS));
    assert!(scene.take().is_empty());
    assert_eq!(scene.counters().join_evicted, 0);
}

#[test]
fn what_is_open_at_the_end_is_passed_on_in_order() {
    let mut scene = Scene::new(FULL);
    scene.push(send(8, 100 * MS));
    scene.push(send(7, 101 * MS));
    scene.push(outcome(7, 102 * MS, 7));
    scene.push(send(6, 103 * MS));
    scene.push(dequeue(6, 104 * MS));
    scene.finish();
    assert_eq!(
        scene.take_states(),
        [
            ("send", 1, DeliveryState::Sending),
            ("send", 2, DeliveryState::Queued),
            ("send", 3, DeliveryState::Delivered)
        ]
    );
    assert_eq!(scene.counters().open, 2);
    scene.finish();
    assert!(scene.take().is_empty());
}

#[test]
fn a_receiver_whose_name_was_lost_is_said_to_be_nameless() {
    let mut scene = Scene::nameless(FULL);
    scene.push(send(9, 100 * MS));
    scene.push(outcome(9, 101 * MS, -111));
    let sent = scene.take_send();
    assert_eq!(sent.unknown, [Unknown::ReceiverAddress]);
    assert_eq!(sent.receiver.map(|receiver| receiver.address), Some(None));

    scene.push(receiver(102 * MS, 700, b""));
    scene.push(Send {
        receiver_inode: 700,
        ..send(10, 103 * MS)
    });
    scene.expire(400 * MS);
    assert_eq!(scene.take_send().unknown, [], "that it has none is known");
}

#[test]
fn a_receiver_without_a_number_is_not_taken_for_another_one() {
    let mut scene = Scene::new(FULL);
    scene.push(receiver(1, 0, b"/run/other/notify.sock"));
    scene.push(closed(0, 90 * MS));
    scene.take();
    let sent = outcome(9, 80 * MS, 7);
    scene.push(Send {
        receiver_inode: 0,
        ..send(9, 80 * MS)
    });
    scene.push(Outcome {
        receiver_inode: 0,
        ..sent
    });
    scene.push(closed(0, 100 * MS));
    assert!(scene.take().is_empty());
    scene.expire(330 * MS);
    let sent = scene.take_send();
    assert_eq!(sent.delivery.state, DeliveryState::Queued);
    assert_eq!((sent.receiver, &*sent.class), (None, "systemd"));
}
