//! All that is known of each notification: what was said first, and every later fact. Bounded.

use std::collections::VecDeque;

use crate::event::{DeliveryState, Notification, SendResult, Update};
use crate::names::Recent;

/// Most notifications that are open at once.
const OPEN: usize = 65_536;

/// How long a refused claim of credentials may be followed by a second try without them.
const RETRY_NS: u64 = 100_000_000;

const EPERM: i32 = 1;

/// Notifications that are not settled yet.
#[derive(Debug)]
pub(super) struct Ledger {
    open: Recent<u64, Notification>,
    /// Failed attempts that may be repeated.
    held: VecDeque<Notification>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            open: Recent::new(OPEN),
            held: VecDeque::new(),
        }
    }

    /// Takes a notification; gives those that are settled now.
    pub(super) fn send(&mut self, it: &Notification) -> Vec<Notification> {
        // Folded into this one: libsystemd sends again without the claimed credentials.
        let is_first = |held: &Notification| {
            it.retry_of == Some(held.id)
                || (held.socket_inode.is_some()
                    && held.socket_inode == it.socket_inode
                    && !may_be_repeated(it))
        };
        self.held.retain(|held| !is_first(held));
        if may_be_repeated(it) {
            self.held.push_back(it.detached());
            return Vec::new();
        }
        if is_settled(it) {
            return vec![it.detached()];
        }
        self.open.insert(it.id, it.detached());
        Vec::new()
    }

    /// Adds a later fact; gives the notification as it is known now.
    pub(super) fn update(&mut self, update: &Update) -> Option<Notification> {
        let mut it = self.open.remove(&update.id)?;
        let Update {
            id: _,
            time: _,
            monotonic_ns: _,
            sender,
            receiver,
            result,
            delivery,
            timing,
        } = update.clone();
        it.sender = sender.or(it.sender);
        it.receiver = receiver.or(it.receiver);
        it.result = result.or(it.result);
        it.delivery = delivery;
        it.timing = timing;
        if !is_settled(&it) {
            self.open.insert(it.id, it.clone());
        }
        Some(it)
    }

    /// Whether nothing is open.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.open.is_empty()
    }

    /// Failed attempts that were not repeated.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Notification> {
        let mut due = Vec::new();
        while self
            .held
            .front()
            .is_some_and(|it| now_ns.saturating_sub(it.monotonic_ns) > RETRY_NS)
        {
            due.extend(self.held.pop_front());
        }
        due
    }

    /// The same, when nothing comes any more.
    pub(super) fn finish(&mut self) -> Vec<Notification> {
        self.held.drain(..).collect()
    }
}

/// Whether nothing more will become known of it that matters.
pub(super) const fn is_settled(it: &Notification) -> bool {
    match it.delivery.state {
        DeliveryState::Delivered
        | DeliveryState::Failed
        | DeliveryState::Filtered
        | DeliveryState::Destroyed
        | DeliveryState::Unknown => true,
        DeliveryState::Sending | DeliveryState::Queued => false,
    }
}

fn may_be_repeated(it: &Notification) -> bool {
    it.retry_of.is_none()
        && matches!(&it.result, Some(SendResult::Failed(error)) if error.errno == EPERM)
}
