//! What is known of one datagram, and the decisions that follow from it alone.

use std::sync::Arc;

use bytes::Bytes;
use notify_trace_common::record::{Dequeue, LateSender, Outcome, SEND_SENDER_UNKNOWN, Send, Task};

use super::JoinConfig;
use crate::event::{DeliveryState, Receiver};

/// How long a delivered notification waits for the return of the send call, so that one line has
/// both.
const RESULT_WAIT_NS: u64 = 5_000_000;

/// How long a delivered notification waits for its sender, where that comes last.
const SENDER_WAIT_NS: u64 = 20_000_000;

/// A record that speaks of one datagram.
#[derive(Clone, Copy)]
pub(super) enum Fact<'a> {
    Send(&'a Send, &'a Bytes),
    Outcome(&'a Outcome),
    Dequeue(&'a Dequeue),
    LateSender(&'a LateSender),
}

impl Fact<'_> {
    pub(super) const fn time_ns(&self) -> u64 {
        match self {
            Self::Send(send, _) => send.header.time_ns,
            Self::Outcome(outcome) => outcome.header.time_ns,
            Self::Dequeue(dequeue) => dequeue.header.time_ns,
            Self::LateSender(late) => late.header.time_ns,
        }
    }
}

/// All that is known of a datagram.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    /// Its place in the order of first hearing of it.
    pub(super) arrival: u64,
    /// When something is due.
    pub(super) deadline_ns: Option<u64>,
    /// The receiver's inode number under which the table finds it; 0: none.
    pub(super) found_by_receiver: u64,
    pub(super) send: Option<Send>,
    /// Given back once it has been told.
    pub(super) payload: Bytes,
    pub(super) outcome: Option<Outcome>,
    pub(super) dequeue: Option<Dequeue>,
    pub(super) late: Option<LateSender>,
    /// When the receiver was closed with it in the queue.
    pub(super) destroyed_ns: Option<u64>,
    /// The receiver was closed without it: it was read, and the record of that was lost.
    pub(super) is_lost_track_of: bool,
    /// Since when only facts are awaited that delivery doesn't depend on.
    pub(super) complete_since_ns: Option<u64>,
    pub(super) class: Option<Arc<str>>,
    /// Its number in the output.
    pub(super) number: Option<u64>,
    pub(super) retry_of: Option<u64>,
    pub(super) told: Option<Told>,
}

/// What the output says of a datagram so far.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) state: DeliveryState,
    pub(super) sender: bool,
    pub(super) result: bool,
    pub(super) receiver: Option<Receiver>,
}

/// When a notification is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(u64),
}

/// Whether a state says that all is still open.
pub(super) const fn is_pending(state: DeliveryState) -> bool {
    matches!(state, DeliveryState::Sending | DeliveryState::Queued)
}

impl Datagram {
    /// Takes a fact; whether it is a new one.
    pub(super) fn learn(&mut self, fact: Fact<'_>) -> bool {
        match fact {
            Fact::Send(send, payload) => {
                let is_new = fill(&mut self.send, send);
                if is_new {
                    self.payload = payload.clone();
                }
                is_new
            }
            Fact::Outcome(outcome) => fill(&mut self.outcome, outcome),
            Fact::Dequeue(dequeue) => fill(&mut self.dequeue, dequeue),
            Fact::LateSender(late) => fill(&mut self.late, late),
        }
    }

    /// The receiver was closed; whether that says something of the datagram. `left` counts what
    /// was still in the queue: those were destroyed, others must have been read before.
    pub(super) fn close(&mut self, closed_ns: u64, left: &mut u32, config: &JoinConfig) -> bool {
        let was_queued = self.outcome.is_some_and(|outcome| {
            let queued_ns = match outcome.queued_ns {
                0 if config.sees_queue => return false,
                0 => outcome.header.time_ns,
                queued_ns => queued_ns,
            };
            outcome.ret >= 0 && queued_ns <= closed_ns
        });
        let is_known = self.destroyed_ns.is_some() || self.is_lost_track_of;
        if self.dequeue.is_some() || is_known || !was_queued {
            return false;
        }
        if *left == 0 {
            self.is_lost_track_of = true;
        } else {
            *left -= 1;
            self.destroyed_ns = Some(closed_ns);
        }
        true
    }

    /// What has become of it. A dequeue proves success, whatever else is known.
    pub(super) fn state(&self, config: &JoinConfig) -> DeliveryState {
        if self.dequeue.is_some() {
            return DeliveryState::Delivered;
        }
        match self.outcome {
            Some(outcome) if outcome.ret < 0 => DeliveryState::Failed,
            _ if self.destroyed_ns.is_some() => DeliveryState::Destroyed,
            _ if self.is_lost_track_of => DeliveryState::Unknown,
            Some(outcome) if outcome.queued_ns == 0 && config.sees_queue => DeliveryState::Filtered,
            Some(_) => DeliveryState::Queued,
            None if config.sees_results => DeliveryState::Sending,
            // Such a plan sees a datagram when it is received: its dequeue was lost.
            None => DeliveryState::Unknown,
        }
    }

    /// When it is passed on for the first time. Whether it was filtered is concluded from what
    /// didn't come, so that takes as long as to be pending.
    pub(super) fn due(&mut self, config: &JoinConfig, now_ns: u64) -> Due {
        let opened_ns = self.send.map_or(now_ns, |send| send.header.time_ns);
        let pending_ns = opened_ns.saturating_add(config.pending_after_ns);
        match self.state(config) {
            DeliveryState::Failed | DeliveryState::Destroyed => Due::Now,
            DeliveryState::Unknown if self.is_lost_track_of => Due::Now,
            DeliveryState::Delivered => {
                let since_ns = *self.complete_since_ns.get_or_insert(now_ns);
                let wait_ns = if config.sees_results && self.outcome.is_none() {
                    RESULT_WAIT_NS
                } else if self.sender().is_none() {
                    SENDER_WAIT_NS
                } else {
                    return Due::Now;
                };
                Due::At(since_ns.saturating_add(wait_ns).min(pending_ns))
            }
            DeliveryState::Sending
            | DeliveryState::Queued
            | DeliveryState::Filtered
            | DeliveryState::Unknown => Due::At(pending_ns),
        }
    }

    /// Whether, though it is settled, a record of it may still come.
    pub(super) fn may_hear_more(&self, config: &JoinConfig) -> bool {
        match self.state(config) {
            DeliveryState::Delivered => {
                (config.sees_results && self.outcome.is_none()) || self.sender().is_none()
            }
            DeliveryState::Failed => false,
            // A missed fact may have led to a wrong conclusion: a dequeue would prove it.
            _ => true,
        }
    }

    /// Who sent it.
    pub(super) fn sender(&self) -> Option<&Task> {
        let send = self.send.as_ref()?;
        if send.flags & SEND_SENDER_UNKNOWN == 0 {
            Some(&send.sender)
        } else {
            self.late.as_ref().map(|late| &late.sender)
        }
    }

    /// What the send call returned.
    pub(super) fn ret(&self) -> Option<i32> {
        self.outcome
            .map(|outcome| outcome.ret)
            .or(self.late.map(|late| late.ret))
    }

    /// Inode number of the receiving socket; 0: unknown.
    pub(super) fn receiver_inode(&self) -> u64 {
        [
            self.dequeue.map(|dequeue| dequeue.receiver_inode),
            self.outcome.map(|outcome| outcome.receiver_inode),
            self.send.map(|send| send.receiver_inode),
        ]
        .into_iter()
        .flatten()
        .find(|inode| *inode != 0)
        .unwrap_or(0)
    }
}

fn fill<T: Copy>(place: &mut Option<T>, value: &T) -> bool {
    let is_new = place.is_none();
    if is_new {
        *place = Some(*value);
    }
    is_new
}
