//! Counts what was written, so that the summary speaks of the lines before it and of no others.

use std::collections::HashSet;

use crate::event::{DeliveryState, Event};

/// What was written so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    open: HashSet<u64>,
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
        self.open.contains(&id)
    }

    /// How many notifications' fates are still open.
    #[must_use]
    pub fn open(&self) -> u64 {
        u64::try_from(self.open.len()).unwrap_or(u64::MAX)
    }

    fn settle(&mut self, id: u64, state: DeliveryState, is_new: bool) {
        let count = match state {
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Failed => &mut self.failed,
            DeliveryState::Filtered => &mut self.filtered,
            DeliveryState::Destroyed => &mut self.destroyed,
            DeliveryState::Sending | DeliveryState::Queued | DeliveryState::Unknown => {
                if is_new {
                    self.open.insert(id);
                }
                return;
            }
        };
        // A settled one may be updated with facts that come late.
        if is_new || self.open.remove(&id) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
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
