//! Notifications in, hops out.

use super::*;
use crate::correlate::samples::{MS, S, Sample};

fn closed(notifications: impl IntoIterator<Item = Notification>, end_ns: u64) -> Vec<Closed> {
    let mut relays = Relays::default();
    let mut out = Vec::new();
    for it in notifications {
        relays.advance(it.monotonic_ns, &mut out);
        relays.settled(&it, &mut out);
    }
    relays.advance(end_ns, &mut out);
    out
}

fn told(id: u64, at_ns: u64, payload: &str) -> Notification {
    Sample::new(payload)
        .id(id)
        .at(at_ns)
        .from("payload", 300, "box.scope")
        .to("runc", 700, ("runc", 200))
        .build()
}

/// To a socket of the process 200, which has several.
fn told_at(inode: u64, id: u64, at_ns: u64, payload: &str) -> Notification {
    Sample::new(payload)
        .id(id)
        .at(at_ns)
        .from("payload", 300, "box.scope")
        .to("conmon", inode, ("proxy", 200))
        .build()
}

/// Which notification was passed on by which.
fn links(hops: &[Closed]) -> Vec<(u64, u64)> {
    let mut links: Vec<_> = hops
        .iter()
        .map(|hop| (hop.relay.notification, hop.relay.sent[0].notification))
        .collect();
    links.sort_unstable();
    links
}

fn sends(id: u64, at_ns: u64, payload: &str) -> Notification {
    Sample::new(payload)
        .id(id)
        .at(at_ns)
        .from("runc", 200, "box.service")
        .build()
}

#[test]
fn runc_passes_ready_on_and_adds_its_own() {
    let hops = closed(
        [
            told(1, S, "READY=1\nSTATUS=up"),
            sends(2, S + 3 * MS, "READY=1"),
            sends(3, S + 4 * MS, "MAINPID=77"),
            sends(4, S + 5 * MS, "BARRIER=1"),
        ],
        3 * S,
    );
    let [hop] = &hops[..] else {
        panic!("{hops:?}");
    };
    let Relay {
        notification,
        sent,
        forwarded,
        dropped,
        added,
        ..
    } = &hop.relay;
    assert_eq!(*notification, 1);
    assert_eq!(
        sent.iter().map(|it| it.notification).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    assert_eq!(sent[0].hop_ns, 3 * MS - 100_000);
    assert_eq!(forwarded, &["READY"]);
    assert_eq!(dropped, &["STATUS"]);
    assert_eq!(added, &["MAINPID=77", "BARRIER=1"]);
    assert!(!hop.is_swallowed);
}

#[test]
fn ready_behind_a_status_is_swallowed() {
    let hops = closed([told(1, S, "STATUS=up\nREADY=1")], 20 * S);
    assert_eq!(hops.len(), 1);
    assert!(hops[0].is_swallowed);
    assert_eq!(hops[0].relay.dropped, ["STATUS", "READY"]);
}

#[test]
fn what_is_told_to_a_final_receiver_is_no_hop() {
    let mut it = told(1, S, "READY=1");
    it.class = "custom".into();
    assert!(closed([it], 20 * S).is_empty());
}

#[test]
fn a_manager_that_says_that_it_is_ready_passes_nothing_on() {
    let service = Sample::new("READY=1")
        .to("systemd-user", 800, ("systemd", 200))
        .build();
    assert!(closed([service, sends(2, 2 * S, "READY=1")], 20 * S).is_empty());
}

#[test]
fn one_process_that_serves_many_containers_one_after_the_other() {
    let hops = closed(
        [
            told_at(701, 1, S, "READY=1"),
            sends(2, S + MS, "READY=1"),
            told_at(702, 3, S + 2 * MS, "READY=1"),
            sends(4, S + 3 * MS, "READY=1"),
        ],
        5 * S,
    );
    assert_eq!(links(&hops), [(1, 2), (3, 4)]);
    assert!(hops.iter().all(|hop| hop.relay.sent[0].or_for.is_empty()));
}

#[test]
fn the_same_words_of_two_containers_are_told_apart_by_nothing() {
    let hops = closed(
        [
            told_at(701, 1, S, "READY=1"),
            told_at(702, 2, S, "READY=1"),
            sends(3, S + MS, "READY=1"),
            sends(4, S + 2 * MS, "READY=1"),
        ],
        20 * S,
    );
    let ambiguous: Vec<_> = hops
        .iter()
        .flat_map(|hop| &hop.relay.sent)
        .map(|it| (it.notification, it.or_for.clone()))
        .collect();
    assert_eq!(ambiguous, [(3, vec![2]), (4, vec![1])]);
}

#[test]
fn what_is_told_of_late_is_linked_all_the_same() {
    let mut relays = Relays::default();
    let mut out = Vec::new();
    relays.settled(&sends(2, S + 3 * MS, "READY=1"), &mut out);
    relays.exited(200, S + 4 * MS);
    relays.settled(&told(1, S, "READY=1"), &mut out);
    relays.advance(20 * S, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].relay.sent[0].notification, 2);
}

#[test]
fn what_a_proxy_sent_before_its_end_counts() {
    let mut relays = Relays::default();
    let mut out = Vec::new();
    relays.settled(&told(1, S, "READY=1"), &mut out);
    relays.exited(200, S + 4 * MS);
    relays.advance(S + 5 * MS, &mut out);
    relays.settled(&sends(2, S + 3 * MS, "READY=1"), &mut out);
    relays.advance(20 * S, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].relay.sent.len(), 1);
}

#[test]
fn what_says_more_of_the_same_is_meant() {
    let hops = closed(
        [
            told_at(701, 1, S, "READY=1\nSTATUS=one"),
            told_at(702, 2, S, "READY=1\nSTATUS=two"),
            sends(3, S + MS, "READY=1\nSTATUS=two"),
            sends(4, S + MS, "READY=1\nSTATUS=one"),
        ],
        20 * S,
    );
    assert_eq!(links(&hops), [(1, 4), (2, 3)]);
    assert!(hops.iter().all(|hop| hop.relay.sent[0].or_for.is_empty()));
}

#[test]
fn different_words_of_two_containers_are_told_apart_by_them() {
    let hops = closed(
        [
            told_at(701, 1, S, "STATUS=one"),
            told_at(702, 2, S, "STATUS=two"),
            sends(3, S + MS, "STATUS=two"),
            sends(4, S + MS, "STATUS=one"),
        ],
        20 * S,
    );
    assert_eq!(links(&hops), [(1, 4), (2, 3)]);
}
