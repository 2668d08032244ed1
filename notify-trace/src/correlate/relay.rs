//! Hops: a process took a notification out of its queue and then sent one to another socket.
//!
//! Behaviour decides: the same process, within [`LINK_NS`], at least one same assignment. Names only
//! label. Where notifications of several sockets would do and nothing tells them apart, the link
//! says so instead of choosing silently. Service managers pass nothing on: what they tell their own
//! manager is of themselves.

use std::collections::{HashMap, VecDeque};

use super::message::{Assignment, assignments, assignments_of, says};
use super::outcome::{Forward, Moment, Relay};
use super::subject::of_process;
use crate::escape::escape_field;
use crate::event::{DeliveryState, Line, Notification, Process};
use crate::unit::is_to_manager;

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
    fn matching<'a>(&'a self, other: Sent<'a>) -> impl Iterator<Item = usize> + 'a {
        assignments(&self.notification)
            .zip(&self.passed)
            .enumerate()
            .filter(move |(_, (mine, passed))| {
                !**passed
                    && mine.is_content()
                    && assignments_of(other.lines).any(|its| is_same(*mine, its))
            })
            .map(|(position, _)| position)
    }

    /// Something was sent because of it.
    fn answered(&mut self, it: Sent<'_>, or_for: Vec<u64>) {
        let Sent { sent_ns, to, .. } = it;
        self.added.extend(foreign(it, &self.notification));
        self.sent.push(Forward {
            notification: it.id,
            hop_ns: sent_ns - self.at.monotonic_ns,
            or_for,
        });
        self.last = Some((to, sent_ns));
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

/// What a process sent: as much of it as tells why.
#[derive(Clone, Copy, Debug)]
struct Sent<'a> {
    id: u64,
    pid: u32,
    tid: u32,
    /// The receiver's inode number.
    to: u64,
    sent_ns: u64,
    lines: &'a [Line],
}

impl<'a> Sent<'a> {
    fn of(it: &'a Notification) -> Option<Self> {
        let sender = it.sender.as_ref()?;
        Some(Self {
            id: it.id,
            pid: sender.pid,
            tid: sender.tid,
            to: it.receiver.as_ref().map_or(0, |receiver| receiver.inode),
            sent_ns: it.timing.entry_ns.unwrap_or(it.monotonic_ns),
            lines: &it.lines,
        })
    }

    const fn kept(&self, lines: Vec<Line>) -> Kept {
        Kept {
            id: self.id,
            tid: self.tid,
            to: self.to,
            sent_ns: self.sent_ns,
            lines,
        }
    }
}

/// The same, kept for a while.
#[derive(Debug)]
struct Kept {
    id: u64,
    tid: u32,
    to: u64,
    sent_ns: u64,
    lines: Vec<Line>,
}

impl Kept {
    fn sent(&self, pid: u32) -> Sent<'_> {
        Sent {
            id: self.id,
            pid,
            tid: self.tid,
            to: self.to,
            sent_ns: self.sent_ns,
            lines: &self.lines,
        }
    }
}

/// Follows hops.
#[derive(Debug, Default)]
pub(super) struct Relays {
    /// By the process that reads.
    inboxes: HashMap<u32, VecDeque<Arrival>>,
    /// What was sent shortly before by processes, and not because of anything known.
    recent: HashMap<u32, VecDeque<Kept>>,
}

impl Relays {
    /// Takes a notification whose fate is known; hops that it ends go to `out`.
    pub(super) fn settled(&mut self, it: &Notification, out: &mut Vec<Closed>) {
        if let Some(sent) = Sent::of(it) {
            self.sent(sent);
        }
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
        let pid = reader.pid;
        for kept in earlier {
            // What it is not sent for is kept on.
            if !self.link(kept.sent(pid)) {
                self.keep(pid, kept);
            }
        }
    }

    /// Looks whether this is sent because of something that its sender was told; it is kept for a while
    /// if not.
    fn sent(&mut self, it: Sent<'_>) {
        if !self.link(it) {
            self.keep(it.pid, it.kept(it.lines.to_vec()));
        }
    }

    fn keep(&mut self, pid: u32, it: Kept) {
        if self.recent.len() >= READERS && !self.recent.contains_key(&pid) {
            return;
        }
        let recent = self.recent.entry(pid).or_default();
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(it);
    }

    fn link(&mut self, it: Sent<'_>) -> bool {
        if self.inboxes.is_empty() {
            return false;
        }
        let Some(inbox) = self.inboxes.get_mut(&it.pid) else {
            return false;
        };
        let Sent { sent_ns, to, .. } = it;
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
        let Some(chosen) = choose(inbox, &sharing, it.tid) else {
            return accompany(inbox, it);
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
        let mut or_for = arrival.alike.clone();
        or_for.retain(|id| *id != arrival.notification.id);
        or_for.sort_unstable();
        or_for.dedup();
        arrival.answered(it, or_for);
        true
    }

    /// Whether no hop is open.
    pub(super) fn is_empty(&self) -> bool {
        self.inboxes.is_empty()
    }

    /// Ends hops to which nothing can be added any more.
    pub(super) fn advance(&mut self, now_ns: u64, out: &mut Vec<Closed>) {
        let first = out.len();
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
        out[first..]
            .sort_by_key(|closed| (closed.relay.at.monotonic_ns, closed.relay.notification));
        self.inboxes.retain(|_, inbox| !inbox.is_empty());
        self.recent.retain(|_, sent| {
            sent.retain(|it| now_ns.saturating_sub(it.sent_ns) <= LINGER_NS);
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
fn accompany(inbox: &mut VecDeque<Arrival>, it: Sent<'_>) -> bool {
    let Sent { sent_ns, to, .. } = it;
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
    arrival.answered(it, Vec::new());
    true
}

/// Assignments to keys that `told` does not have, in words.
fn foreign(it: Sent<'_>, told: &Notification) -> Vec<String> {
    assignments_of(it.lines)
        .filter(|its| !assignments(told).any(|known| known.key == its.key))
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
    let is_swallowed =
        is_proxy && is_over && says(&arrival.notification, "READY") && !has_said_ready(&arrival);
    Some(Closed {
        relay: Relay {
            at: arrival.at,
            notification: arrival.notification.id,
            proxy: of_process(&arrival.reader),
            class: arrival.notification.class.to_string(),
            sent: arrival.sent,
            forwarded,
            dropped,
            added: arrival.added,
        },
        notification: arrival.notification,
        reader: arrival.reader,
        is_swallowed,
    })
}

#[cfg(test)]
mod tests;
