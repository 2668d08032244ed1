//! The tracepoint plan: datagrams are seen at their receiver.

use notify_trace_common::address::Address;
use notify_trace_common::record::{
    SEND_CLAIM_UNKNOWN, SEND_SENDER_BY_SOCKET, SEND_SENDER_UNKNOWN, Send, Task,
};
use zerocopy::FromZeros;

use super::records::{MS, Scene, TRACEPOINTS, dequeue, late_sender, send};
use crate::event::{DeliveryState, SendResult, Unknown};

fn seen_at_receiver(id: u64, time_ns: u64, flags: u32) -> Send {
    Send {
        entry_ns: 0,
        address: Address::EMPTY,
        flags,
        ..send(id, time_ns)
    }
}

fn of_unknown_sender(id: u64, time_ns: u64) -> Send {
    Send {
        sender: Task::new_zeroed(),
        ..seen_at_receiver(id, time_ns, SEND_SENDER_UNKNOWN | SEND_CLAIM_UNKNOWN)
    }
}

#[test]
fn a_send_and_its_dequeue_are_complete() {
    let mut scene = Scene::new(TRACEPOINTS);
    scene.push(seen_at_receiver(9, 100 * MS, SEND_SENDER_BY_SOCKET));
    assert!(scene.take().is_empty());
    scene.push(dequeue(9, 100 * MS));
    let sent = scene.take_send();
    assert_eq!(sent.delivery.state, DeliveryState::Delivered);
    assert_eq!(sent.monotonic_ns, 100 * MS);
    assert_eq!(sent.sender.map(|sender| sender.pid), Some(42));
    assert_eq!(
        sent.unknown,
        [
            Unknown::SenderAtThisSend,
            Unknown::Destination,
            Unknown::Result,
            Unknown::SendTimes
        ]
    );
}

#[test]
fn an_unknown_sender_is_waited_for_20_ms() {
    let mut scene = Scene::new(TRACEPOINTS);
    scene.push(of_unknown_sender(9, 100 * MS));
    scene.push(dequeue(9, 100 * MS));
    assert_eq!(scene.join.next_deadline_ns(), Some(120 * MS));
    scene.push(late_sender(9, 119 * MS));
    let sent = scene.take_send();
    assert_eq!(sent.sender.map(|sender| sender.pid), Some(42));
    assert_eq!(sent.result, Some(SendResult::SentBytes(7)));
    assert_eq!(sent.timing.returned_ns, Some(119 * MS));
    assert_eq!(
        sent.unknown,
        [Unknown::Destination, Unknown::SendTimes, Unknown::Claimed]
    );
}

#[test]
fn a_sender_that_comes_later_is_an_update() {
    let mut scene = Scene::new(TRACEPOINTS);
    scene.push(of_unknown_sender(9, 100 * MS));
    scene.push(dequeue(9, 100 * MS));
    scene.expire(120 * MS);
    let sent = scene.take_send();
    assert_eq!(sent.sender, None);
    assert_eq!(sent.unknown[0], Unknown::Sender);
    scene.push(late_sender(9, 300 * MS));
    let update = scene.take_update();
    assert_eq!(update.sender.map(|sender| sender.pid), Some(42));
    assert_eq!(update.delivery.state, DeliveryState::Delivered);
    assert_eq!(scene.join.next_deadline_ns(), None);
}

#[test]
fn a_sender_that_comes_too_late_is_dropped() {
    let mut scene = Scene::new(TRACEPOINTS);
    scene.push(of_unknown_sender(9, 100 * MS));
    scene.push(dequeue(9, 100 * MS));
    scene.expire(120 * MS);
    scene.take();
    scene.push(late_sender(9, 400 * MS));
    scene.finish();
    assert!(scene.take().is_empty());
    assert_eq!(scene.counters().orphans, 0);
}

#[test]
fn a_send_whose_dequeue_was_lost_is_unknown() {
    let mut scene = Scene::new(TRACEPOINTS);
    scene.push(seen_at_receiver(9, 100 * MS, 0));
    scene.expire(350 * MS);
    assert_eq!(scene.take_send().delivery.state, DeliveryState::Unknown);
}
