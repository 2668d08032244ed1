//! Hops: a process took a notification out of its queue and then sent one to another socket.
//!
//! Behaviour decides: the same process, within [`LINK_NS`], at least one same assignment. Names only
//! label. Where notifications of several sockets would do and nothing tells them apart, the link
//! says so instead of choosing silently. Service managers pass nothing on: what they tell their own
//! manager is of themselves.

use std::collections::{HashMap, VecDeque};

use super::message::{Assignment, assignments, keys, says};
use super::outcome::{Certainty, Forward, Kind, Moment, Relay};
use super::subject::of_process;
use super::verdict::Finding;
use crate::escape::escape_field;
use crate::event::{DeliveryState, Notification, Process};
use crate::unit::is_to_manager;
use crate::words;

/// Longest time from the dequeue of one to the send of the other. Runtimes forward within
/// milliseconds; podman's kube proxy waits for the pod's other containers.
const LINK_NS: u64 = 10_000_000_000;

/// After the last that belongs to a hop, how long more may follow: `MAINPID=`, a barrier.
const LINGER_NS: u64 = 1_000_000_000;

/// Most notifications that wait, for each process that reads them.
const ARRIVALS: usize = 1_024;

/// Most notifications of one process that are kept for what may be told of later.
const RECENT: usize = 64;

/// Most processes that read notifications.
const READERS: usize = 4_096;

/// Classes of sockets that only a proxy has: who is told there and says nothing swallows it.
const PROXIES: [&str; 5] = ["runc", "crun", "conmon", "podman", "nspawn"];

/// A notification that a process was told.
#[derive(Debug)]
struct Arrival {
    notification: Notification,
    reader: Process,
    at: Moment,
    receiver: u64,
    /// Which assignments were passed on, in the order of the message.
    passed: Vec<bool>,
    sent: Vec<Forward>,
    /// Receiver and time of what was sent last because of it.
    last: Option<(u64, u64)>,
    added: Vec<String>,
    /// All notifications, itself included, that one of these was sent for: nothing tells which.
    alike: Vec<u64>,
    /// When the process exited; what it had sent before may be told of later.
    exited_ns: Option<u64>,
}

impl Arrival {
    /// Positions of assignments that `other` has too, and that were not passed on before.
    fn matching<'a>(&'a self, other: &'a Notification) -> impl Iterator<Item = usize> + 'a {
        assignments(&self.notification)
            .zip(&self.passed)
            .enumerate()
            .filter(move |(_, (mine, passed))| {
                !**passed && mine.is_content() && assignments(other).any(|its| is_same(*mine, its))
            })
            .map(|(position, _)| position)
    }
}

/// The same key and value. What was withheld is not known to be the same, except where only one
/// value is in use.
fn is_same(one: Assignment<'_>, other: Assignment<'_>) -> bool {
    one.key == other.key
        && match (one.value, other.value) {
            (Some(one), Some(other)) => one == other,
            _ => one.key == b"READY",
        }
}

/// A hop that is over.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) relay: Relay,
    /// What was told.
    pub(super) notification: Notification,
    pub(super) reader: Process,
    /// `READY=1` was told to a proxy and not passed on.
    pub(super) is_swallowed: bool,
}

/// Follows hops.
#[derive(Debug, Default)]
pub(super) struct Relays {
    /// By the process that reads.
    inboxes: HashMap<u32, VecDeque<Arrival>>,
    /// What was sent shortly before by processes, and not because of anything known.
    recent: HashMap<u32, VecDeque<Notification>>,
}

impl Relays {
    /// Takes a notification whose fate is known; hops that it ends go to `out`.
    pub(super) fn settled(&mut self, it: &Notification, out: &mut Vec<Closed>) {
        self.sent(it);
        if it.delivery.state != DeliveryState::Delivered || is_to_manager(&it.class) {
            return;
        }
        let (Some(reader), Some(receiver), Some(dequeued_ns)) =
            (&it.delivery.reader, &it.receiver, it.timing.dequeued_ns)
        else {
            return;
        };
        if !self.inboxes.contains_key(&reader.pid) && self.inboxes.len() >= READERS {
            return;
        }
        let inbox = self.inboxes.entry(reader.pid).or_default();
        if inbox.len() >= ARRIVALS
            && let Some(oldest) = inbox.pop_front()
        {
            out.extend(close(oldest, false));
        }
        let at = super::moment_of(it, dequeued_ns);
        inbox.push_back(Arrival {
            passed: assignments(it).map(|_| false).collect(),
            notification: it.clone(),
            reader: reader.clone(),
            at,
            receiver: receiver.inode,
            sent: Vec::new(),
            last: None,
            added: Vec::new(),
            alike: Vec::new(),
            exited_ns: None,
        });
        // What is sent because of it may have been told of first.
        let earlier = self.recent.remove(&reader.pid).unwrap_or_default();
        for sent in &earlier {
            self.sent(sent);
        }
    }

    /// Whether this is sent because of something that its sender was told; it is kept for a while
    /// if not.
    fn sent(&mut self, it: &Notification) {
        if !self.link(it)
            && let Some(sender) = &it.sender
            && (self.recent.len() < READERS || self.recent.contains_key(&sender.pid))
        {
            let recent = self.recent.entry(sender.pid).or_default();
            if recent.len() >= RECENT {
                recent.pop_front();
            }
            recent.push_back(it.clone());
        }
    }

    fn link(&mut self, it: &Notification) -> bool {
        let Some(sender) = &it.sender else {
            return false;
        };
        let Some(inbox) = self.inboxes.get_mut(&sender.pid) else {
            return false;
        };
        let sent_ns = it.timing.entry_ns.unwrap_or(it.monotonic_ns);
        let to = it.receiver.as_ref().map_or(0, |receiver| receiver.inode);
        let is_before = |arrival: &Arrival| {
            arrival.receiver != to
                && arrival.at.monotonic_ns <= sent_ns
                && sent_ns - arrival.at.monotonic_ns <= LINK_NS
        };
        let shared: Vec<(usize, usize)> = (0..inbox.len())
            .filter(|at| is_before(&inbox[*at]))
            .map(|at| (at, inbox[at].matching(it).count()))
            .filter(|(_, count)| *count > 0)
            .collect();
        // Many say READY=1; what says most of the same is meant.
        let most = shared.iter().map(|(_, count)| *count).max();
        let sharing: Vec<usize> = shared
            .into_iter()
            .filter(|(_, count)| Some(*count) == most)
            .map(|(at, _)| at)
            .collect();
        let Some(chosen) = choose(inbox, &sharing, sender.tid) else {
            return accompany(inbox, it, to, sent_ns);
        };
        if chosen.is_ambiguous {
            let alike: Vec<u64> = sharing
                .iter()
                .map(|at| inbox[*at].notification.id)
                .collect();
            for at in &sharing {
                inbox[*at].alike.extend(&alike);
            }
        }
        let arrival = &mut inbox[chosen.position];
        let positions: Vec<usize> = arrival.matching(it).collect();
        for position in positions {
            arrival.passed[position] = true;
        }
        let known: Vec<Vec<u8>> = keys(&arrival.notification);
        arrival.added.extend(foreign(it, &known));
        let mut or_for = arrival.alike.clone();
        or_for.retain(|id| *id != arrival.notification.id);
        or_for.sort_unstable();
        or_for.dedup();
        arrival.sent.push(Forward {
            notification: it.id,
            hop_ns: sent_ns - arrival.at.monotonic_ns,
            or_for,
        });
        arrival.last = Some((to, sent_ns));
        true
    }

    /// Whether no hop is open.
    pub(super) fn is_empty(&self) -> bool {
        self.inboxes.is_empty()
    }

    /// Ends hops to which nothing can be added any more.
    pub(super) fn advance(&mut self, now_ns: u64, out: &mut Vec<Closed>) {
        for inbox in self.inboxes.values_mut() {
            let mut open = VecDeque::with_capacity(inbox.len());
            for arrival in inbox.drain(..) {
                let is_whole = arrival.passed.iter().all(|passed| *passed);
                let is_gone = arrival
                    .exited_ns
                    .is_some_and(|exited_ns| now_ns.saturating_sub(exited_ns) > LINGER_NS);
                let is_over = is_gone
                    || match arrival.last {
                        Some((_, last_ns)) if is_whole || has_said_ready(&arrival) => {
                            now_ns.saturating_sub(last_ns) > LINGER_NS
                        }
                        _ => now_ns.saturating_sub(arrival.at.monotonic_ns) > LINK_NS,
                    };
                if is_over {
                    out.extend(close(arrival, true));
                } else {
                    open.push_back(arrival);
                }
            }
            *inbox = open;
        }
        self.inboxes.retain(|_, inbox| !inbox.is_empty());
        self.recent.retain(|_, sent| {
            sent.retain(|it| now_ns.saturating_sub(it.monotonic_ns) <= LINGER_NS);
            !sent.is_empty()
        });
    }

    /// The proxy has gone, so nothing more comes of what it was told.
    pub(super) fn exited(&mut self, pid: u32, at_ns: u64) {
        for arrival in self.inboxes.get_mut(&pid).into_iter().flatten() {
            arrival.exited_ns.get_or_insert(at_ns);
        }
    }

    /// The recording ends: what has not been passed on may have been later.
    pub(super) fn finish(&mut self, now_ns: u64, out: &mut Vec<Closed>) {
        let mut rest: Vec<Arrival> = self.inboxes.drain().flat_map(|(_, inbox)| inbox).collect();
        rest.sort_by_key(|arrival| (arrival.at.monotonic_ns, arrival.notification.id));
        for arrival in rest {
            let is_old = arrival.exited_ns.is_some()
                || now_ns.saturating_sub(arrival.at.monotonic_ns) > LINGER_NS;
            out.extend(close(arrival, is_old));
        }
    }
}

/// Which of the arrivals that share something it is.
struct Chosen {
    position: usize,
    is_ambiguous: bool,
}

/// The only one; the only one of one socket, oldest first; the one that the same thread took last.
fn choose(inbox: &VecDeque<Arrival>, sharing: &[usize], tid: u32) -> Option<Chosen> {
    let first = *sharing.first()?;
    let is_one_socket = sharing
        .iter()
        .all(|at| inbox[*at].receiver == inbox[first].receiver);
    if is_one_socket {
        return Some(Chosen {
            position: first,
            is_ambiguous: false,
        });
    }
    // A thread that reads one and sends one before it reads the next.
    let by_thread: Vec<usize> = sharing
        .iter()
        .copied()
        .filter(|at| inbox[*at].reader.tid == tid)
        .collect();
    if let [only] = by_thread[..] {
        return Some(Chosen {
            position: only,
            is_ambiguous: false,
        });
    }
    Some(Chosen {
        position: first,
        is_ambiguous: true,
    })
}

/// Something without a shared assignment that goes with what was passed on just before.
fn accompany(inbox: &mut VecDeque<Arrival>, it: &Notification, to: u64, sent_ns: u64) -> bool {
    let latest = inbox
        .iter_mut()
        .filter_map(|arrival| Some((arrival.last?, arrival)))
        .filter(|((receiver, last_ns), _)| {
            *receiver == to && sent_ns >= *last_ns && sent_ns - last_ns <= LINGER_NS
        })
        .max_by_key(|((_, last_ns), _)| *last_ns);
    let Some((_, arrival)) = latest else {
        return false;
    };
    let known: Vec<Vec<u8>> = keys(&arrival.notification);
    arrival.added.extend(foreign(it, &known));
    arrival.sent.push(Forward {
        notification: it.id,
        hop_ns: sent_ns - arrival.at.monotonic_ns,
        or_for: Vec::new(),
    });
    arrival.last = Some((to, sent_ns));
    true
}

/// Assignments to keys that aren't known, in words.
fn foreign(it: &Notification, known: &[Vec<u8>]) -> Vec<String> {
    assignments(it)
        .filter(|its| !known.iter().any(|key| key == its.key))
        .map(|its| match its.value {
            Some(value) => escape_field(&[its.key, b"=", value].concat()).to_string(),
            None => escape_field(its.key).to_string(),
        })
        .collect()
}

fn has_said_ready(arrival: &Arrival) -> bool {
    assignments(&arrival.notification)
        .zip(&arrival.passed)
        .any(|(it, passed)| it.key == b"READY" && *passed)
}

/// What is to be said of a hop. Of one who was told something and told nobody, only if it is known
/// to be a proxy.
fn close(arrival: Arrival, is_over: bool) -> Option<Closed> {
    let is_proxy = PROXIES.contains(&&*arrival.notification.class);
    if arrival.sent.is_empty() && !(is_proxy && is_over) {
        return None;
    }
    let name = |key: &[u8]| escape_field(key).to_string();
    let mut forwarded: Vec<String> = Vec::new();
    let mut dropped: Vec<String> = Vec::new();
    for (it, passed) in assignments(&arrival.notification).zip(&arrival.passed) {
        let list = if *passed {
            &mut forwarded
        } else {
            &mut dropped
        };
        let name = name(it.key);
        if !list.contains(&name) {
            list.push(name);
        }
    }
    let is_swallowed = is_over && says(&arrival.notification, "READY") && !has_said_ready(&arrival);
    Some(Closed {
        relay: Relay {
            at: arrival.at,
            notification: arrival.notification.id,
            proxy: of_process(&arrival.reader),
            class: arrival.notification.class.clone(),
            sent: arrival.sent,
            forwarded,
            dropped,
            added: arrival.added,
        },
        notification: arrival.notification,
        reader: arrival.reader,
        is_swallowed: is_swallowed && is_proxy,
    })
}

/// A proxy was told `READY=1` and did not pass it on.
pub(super) fn swallowed(hop: &Closed) -> Finding {
    let proxy = words::name(&hop.reader);
    let first = keys(&hop.notification).into_iter().next();
    let is_behind = first.as_deref() != Some(b"READY");
    let what = format!("{proxy} was told READY=1 and did not pass it on");
    let found = Finding::new(Kind::Swallowed, Certainty::Certain, what).seen(
        if hop.relay.sent.is_empty() {
            "it sent nothing because of it".to_owned()
        } else {
            format!("of it, it passed on {}", hop.relay.forwarded.join(", "))
        },
    );
    match &*hop.relay.class {
        "runc" if is_behind => found
            .by("runc looks at a datagram only if it begins with READY= (1.1 to 1.4)")
            .helps("let the container send READY=1 first, or in a datagram of its own"),
        "crun" => found
            .by("crun reads at most 255 bytes of a datagram (1.2x)")
            .helps("let the container send READY=1 first, or in a datagram of its own"),
        "nspawn" => found
            .by("systemd-nspawn --notify-ready=yes listens to the payload's process 1 only, and without it says READY=1 itself")
            .helps("let the payload's process 1 send it"),
        "conmon" => found
            .by("after a failed forward conmon stops to relay")
            .helps("see conmon's log; restart the container"),
        _ => found,
    }
}

#[cfg(test)]
mod tests {
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
        it.class = "custom".to_owned();
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
        let from = |inode: u64, id: u64, at_ns: u64| {
            Sample::new("READY=1")
                .id(id)
                .at(at_ns)
                .from("payload", 300, "box.scope")
                .to("conmon", inode, ("proxy", 200))
                .build()
        };
        let hops = closed(
            [
                from(701, 1, S),
                sends(2, S + MS, "READY=1"),
                from(702, 3, S + 2 * MS),
                sends(4, S + 3 * MS, "READY=1"),
            ],
            5 * S,
        );
        let links: Vec<_> = hops
            .iter()
            .map(|hop| (hop.relay.notification, hop.relay.sent[0].notification))
            .collect();
        assert_eq!(links, [(1, 2), (3, 4)]);
        assert!(hops.iter().all(|hop| hop.relay.sent[0].or_for.is_empty()));
    }

    #[test]
    fn the_same_words_of_two_containers_are_told_apart_by_nothing() {
        let from = |inode: u64, id: u64| {
            Sample::new("READY=1")
                .id(id)
                .at(S)
                .to("conmon", inode, ("proxy", 200))
                .build()
        };
        let hops = closed(
            [
                from(701, 1),
                from(702, 2),
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
        let from = |inode: u64, id: u64, status: &str| {
            Sample::new(&format!("READY=1\nSTATUS={status}"))
                .id(id)
                .at(S)
                .to("conmon", inode, ("proxy", 200))
                .build()
        };
        let hops = closed(
            [
                from(701, 1, "one"),
                from(702, 2, "two"),
                sends(3, S + MS, "READY=1\nSTATUS=two"),
                sends(4, S + MS, "READY=1\nSTATUS=one"),
            ],
            20 * S,
        );
        let mut links: Vec<_> = hops
            .iter()
            .map(|hop| (hop.relay.notification, hop.relay.sent[0].notification))
            .collect();
        links.sort_unstable();
        assert_eq!(links, [(1, 4), (2, 3)]);
        assert!(hops.iter().all(|hop| hop.relay.sent[0].or_for.is_empty()));
    }

    #[test]
    fn different_words_of_two_containers_are_told_apart_by_them() {
        let from = |inode: u64, id: u64, status: &str| {
            Sample::new(&format!("STATUS={status}"))
                .id(id)
                .at(S)
                .to("conmon", inode, ("proxy", 200))
                .build()
        };
        let hops = closed(
            [
                from(701, 1, "one"),
                from(702, 2, "two"),
                sends(3, S + MS, "STATUS=two"),
                sends(4, S + MS, "STATUS=one"),
            ],
            20 * S,
        );
        let mut links: Vec<_> = hops
            .iter()
            .map(|hop| (hop.relay.notification, hop.relay.sent[0].notification))
            .collect();
        links.sort_unstable();
        assert_eq!(links, [(1, 4), (2, 3)]);
    }
}
