//! Receivers that do not read what they were sent, and senders that send very much. Pure state.

use std::collections::{HashMap, HashSet};

use super::outcome::{Certainty, Kind};
use super::verdict::Finding;
use crate::event::{DeliveryState, Notification};
use crate::words;

/// After how long in a queue a datagram's receiver is said not to read. A manager that reloads its
/// units does not read for a second or two.
const UNREAD_NS: u64 = 5_000_000_000;

/// So many notifications of one process within [`FLOOD_NS`] are a flood.
const FLOOD: u64 = 200;
const FLOOD_NS: u64 = 1_000_000_000;

/// Most receivers and senders that are followed.
const FOLLOWED: usize = 4_096;

/// A receiver's queue.
#[derive(Debug)]
struct Queue {
    target: String,
    /// Notifications that wait in it or for it, with the time at which they came.
    waiting: HashMap<u64, u64>,
    /// Those of them that wait for room.
    blocked: HashSet<u64>,
    last_read_ns: Option<u64>,
    is_told: bool,
}

/// Sends of one process in the current window.
#[derive(Debug)]
struct Rate {
    since_ns: u64,
    count: u64,
}

/// Follows queues and rates.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: HashMap<u64, Queue>,
    rates: HashMap<u32, Rate>,
}

impl Queues {
    /// A notification, or what became known of it.
    pub(super) fn take(&mut self, it: &Notification) {
        let Some(receiver) = &it.receiver else { return };
        if self.queues.len() >= FOLLOWED && !self.queues.contains_key(&receiver.inode) {
            self.queues.retain(|_, queue| !queue.waiting.is_empty());
            if self.queues.len() >= FOLLOWED {
                return;
            }
        }
        let queue = self.queues.entry(receiver.inode).or_insert_with(|| Queue {
            target: words::target(it),
            waiting: HashMap::new(),
            blocked: HashSet::new(),
            last_read_ns: None,
            is_told: false,
        });
        match it.delivery.state {
            DeliveryState::Queued | DeliveryState::Sending => {
                queue.waiting.insert(it.id, it.monotonic_ns);
                if it.delivery.state == DeliveryState::Sending {
                    queue.blocked.insert(it.id);
                } else {
                    queue.blocked.remove(&it.id);
                }
            }
            state => {
                queue.waiting.remove(&it.id);
                queue.blocked.remove(&it.id);
                if state == DeliveryState::Delivered {
                    queue.last_read_ns = queue.last_read_ns.max(it.timing.dequeued_ns);
                    queue.is_told = false;
                }
            }
        }
    }

    /// One more of this sender; a finding when it becomes a flood.
    pub(super) fn sent(&mut self, it: &Notification) -> Option<Finding> {
        let sender = it.sender.as_ref()?;
        if self.rates.len() >= FOLLOWED && !self.rates.contains_key(&sender.pid) {
            self.rates.clear();
        }
        let rate = self.rates.entry(sender.pid).or_insert(Rate {
            since_ns: it.monotonic_ns,
            count: 0,
        });
        if it.monotonic_ns.saturating_sub(rate.since_ns) > FLOOD_NS {
            *rate = Rate {
                since_ns: it.monotonic_ns,
                count: 0,
            };
        }
        rate.count += 1;
        (rate.count == FLOOD).then(|| {
            Finding::new(
                Kind::Flood,
                Certainty::Certain,
                format!(
                    "{} sent {FLOOD} notifications within {}",
                    words::name(sender),
                    words::duration(it.monotonic_ns.saturating_sub(rate.since_ns).max(1))
                ),
            )
            .by("the manager takes one datagram for each turn of its event loop, before anything else that waits")
            .helps("send WATCHDOG=1 at half of the interval, STATUS= only when it changes")
        })
    }

    /// The receiver was closed: what waited is destroyed.
    pub(super) fn closed(&mut self, inode: u64) {
        self.queues.remove(&inode);
    }

    /// Queues in which something has waited for too long; the notifications, oldest first.
    pub(super) fn advance(&mut self, now_ns: u64) -> Vec<(Finding, Vec<u64>)> {
        let mut found = Vec::new();
        for queue in self.queues.values_mut() {
            let Some(oldest_ns) = queue.waiting.values().min().copied() else {
                continue;
            };
            let age_ns = now_ns.saturating_sub(oldest_ns);
            if queue.is_told || age_ns < UNREAD_NS {
                continue;
            }
            // Something older than what was read last can't be waiting any more.
            if queue
                .last_read_ns
                .is_some_and(|read_ns| now_ns.saturating_sub(read_ns) < UNREAD_NS)
            {
                continue;
            }
            queue.is_told = true;
            let mut about: Vec<(u64, u64)> = queue
                .waiting
                .iter()
                .map(|(id, at_ns)| (*at_ns, *id))
                .collect();
            about.sort_unstable();
            let waiting = words::count(
                u64::try_from(queue.waiting.len()).unwrap_or(u64::MAX),
                "notification waits",
                "notifications wait",
            );
            let mut finding = Finding::new(
                Kind::NotReading,
                Certainty::Certain,
                format!(
                    "{} does not read: {waiting}, the first for {}",
                    queue.target,
                    words::duration(age_ns)
                ),
            )
            .by("a receiver that does not read blocks senders when its queue is full; those that don't wait get EAGAIN")
            .helps("see what the receiver does (its state and wchan in /proc); a stopped or hung manager must be resumed, a full one relieved of a flood");
            if !queue.blocked.is_empty() {
                finding = finding.seen(format!(
                    "{} blocked in the send call",
                    words::count(
                        u64::try_from(queue.blocked.len()).unwrap_or(u64::MAX),
                        "sender is",
                        "senders are"
                    )
                ));
            }
            finding = finding.seen(match queue.last_read_ns {
                Some(read_ns) => format!(
                    "the last one was read {} before",
                    words::duration(now_ns.saturating_sub(read_ns))
                ),
                None => "none was read since tracing began".to_owned(),
            });
            let ids = about.into_iter().map(|(_, id)| id).take(16).collect();
            found.push((finding, ids));
        }
        // The queues themselves have no order.
        found.sort_by(|one: &(Finding, Vec<u64>), other| one.1.cmp(&other.1));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample};

    fn queued(id: u64, at_ns: u64) -> Notification {
        let mut it = Sample::new("WATCHDOG=1").id(id).at(at_ns).build();
        it.delivery.state = DeliveryState::Queued;
        it.timing.dequeued_ns = None;
        it
    }

    #[test]
    fn a_receiver_that_does_not_read_is_told_once() {
        let mut queues = Queues::default();
        queues.take(&queued(1, S));
        assert!(queues.advance(S + 1).is_empty());
        queues.take(&queued(2, 2 * S));
        let found = queues.advance(7 * S);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, [1, 2]);
        assert!(queues.advance(9 * S).is_empty());
    }

    #[test]
    fn one_that_reads_again_is_told_of_again() {
        let mut queues = Queues::default();
        queues.take(&queued(1, S));
        assert_eq!(queues.advance(7 * S).len(), 1);
        queues.take(&Sample::new("WATCHDOG=1").id(1).at(8 * S).build());
        assert!(queues.advance(9 * S).is_empty());
        queues.take(&queued(2, 10 * S));
        assert_eq!(queues.advance(16 * S).len(), 1);
    }

    #[test]
    fn two_hundred_in_a_second_are_a_flood() {
        let mut queues = Queues::default();
        let found: usize = (0..300)
            .filter_map(|number| queues.sent(&Sample::new("WATCHDOG=1").at(S + number).build()))
            .count();
        assert_eq!(found, 1);
        let mut queues = Queues::default();
        let found = (0..300)
            .filter_map(|number| {
                queues.sent(&Sample::new("WATCHDOG=1").at(number * S / 100).build())
            })
            .count();
        assert_eq!(found, 0);
    }
}
