//! Counts what was written, so that the summary speaks of the lines before it and of no others.

use crate::event::{DeliveryState, Event};
use crate::names::Recent;

/// Most notifications whose fate may still become known.
const REMEMBERED: usize = 131_072;

/// What was written so far.
#[derive(Debug)]
pub struct Tally {
    /// Notifications.
    pub notifications: u64,
    /// Of these: delivered.
    pub delivered: u64,
    /// Of these: failed.
    pub failed: u64,
    /// Of these: dropped by a receiver's filter.
    pub filtered: u64,
    /// Of these: destroyed unread.
    pub destroyed: u64,
    /// Failed connects.
    pub connect_failed: u64,
    /// Notifications whose fate is still open.
    open: Recent<u64, ()>,
    /// How many those are, also of those that are not remembered any more.
    open_count: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            notifications: 0,
            delivered: 0,
            failed: 0,
            filtered: 0,
            destroyed: 0,
            connect_failed: 0,
            open: Recent::new(REMEMBERED),
            open_count: 0,
        }
    }
}

impl Tally {
    /// Takes an event that is about to be written.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Send(notification) => {
                self.notifications += 1;
                self.settle(notification.id, notification.delivery.state, true);
            }
            Event::Update(update) => self.settle(update.id, update.delivery.state, false),
            Event::ConnectFailed(_) => self.connect_failed += 1,
            Event::Session(_)
            | Event::ReceiverClosed(_)
            | Event::Exit(_)
            | Event::View(_)
            | Event::Loss(_)
            | Event::Unit(_)
            | Event::Summary(_) => {}
        }
    }

    /// Whether a notification was written whose fate is still open.
    #[must_use]
    pub fn is_open(&self, id: u64) -> bool {
        self.open.peek(&id).is_some()
    }

    /// How many notifications' fates are still open.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.open_count
    }

    fn settle(&mut self, id: u64, state: DeliveryState, is_new: bool) {
        let count = match state {
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Failed => &mut self.failed,
            DeliveryState::Filtered => &mut self.filtered,
            DeliveryState::Destroyed => &mut self.destroyed,
            DeliveryState::Sending | DeliveryState::Queued | DeliveryState::Unknown => {
                if is_new {
                    self.open.insert(id, ());
                    self.open_count += 1;
                }
                return;
            }
        };
        // A settled one may be updated with facts that come late.
        let was_open = !is_new && self.open.remove(&id).is_some();
        if was_open {
            self.open_count -= 1;
        }
        if is_new || was_open {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn after(states: &[(u64, DeliveryState)]) -> Tally {
        let mut tally = Tally::default();
        let mut known = HashSet::new();
        for &(id, state) in states {
            tally.settle(id, state, known.insert(id));
        }
        tally
    }

    #[test]
    fn a_pending_one_is_open_until_its_fate_is_known() {
        let tally = after(&[(1, DeliveryState::Queued)]);
        assert!(tally.is_open(1) && tally.open() == 1);
        let tally = after(&[(1, DeliveryState::Queued), (1, DeliveryState::Delivered)]);
        assert_eq!((tally.open(), tally.delivered), (0, 1));
    }

    #[test]
    fn late_facts_of_a_settled_one_do_not_count_twice() {
        let tally = after(&[(1, DeliveryState::Delivered), (1, DeliveryState::Delivered)]);
        assert_eq!(tally.delivered, 1);
    }

    #[test]
    fn updates_that_settle_nothing_leave_it_open() {
        let tally = after(&[(1, DeliveryState::Sending), (1, DeliveryState::Queued)]);
        assert_eq!(tally.open(), 1);
    }
}
