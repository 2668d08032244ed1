//! What is counted of all units together.

use super::rate::Rate;
use super::row::is_bad;
use crate::event::{DeliveryState, Losses};

/// The counts.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Notifications.
    pub notifications: u64,
    /// How often.
    pub rate: Rate,
    /// Notifications that did not arrive, and failed connects.
    pub failed: u64,
    /// Notifications that have not arrived yet.
    pub pending: u64,
    /// Verdicts.
    pub verdicts: u64,
    /// What was lost.
    pub losses: Losses,
    /// Units that were forgotten.
    pub forgotten: u64,
    /// Nothing will come any more.
    pub is_over: bool,
}

impl Totals {
    /// Takes a notification.
    pub fn heard(&mut self, at_ns: u64, state: DeliveryState) {
        self.notifications += 1;
        self.rate.add(at_ns);
        if is_bad(state) {
            self.failed += 1;
        } else if state != DeliveryState::Delivered {
            self.pending += 1;
        }
    }

    /// Takes what became of a pending one.
    pub fn settle(&mut self, before: DeliveryState, state: DeliveryState) {
        if before != DeliveryState::Delivered && !is_bad(before) {
            self.pending = self.pending.saturating_sub(1);
        }
        if is_bad(state) {
            self.failed += 1;
        } else if state != DeliveryState::Delivered {
            self.pending += 1;
        }
    }

    /// Takes a loss.
    pub fn lost(&mut self, losses: &Losses) {
        self.losses.add(losses);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_add_up() {
        let mut totals = Totals::default();
        let lost = Losses {
            ring_full: 2,
            join_evicted: 1,
            programs_skipped: Some(9),
            ..Losses::default()
        };
        totals.lost(&lost);
        totals.lost(&lost);
        assert_eq!(totals.losses.in_all(), 6);
        assert_eq!(totals.losses.programs_skipped, Some(18));
    }

    #[test]
    fn a_pending_one_counts_as_what_became_of_it() {
        let mut totals = Totals::default();
        totals.heard(0, DeliveryState::Queued);
        totals.heard(0, DeliveryState::Sending);
        assert_eq!((totals.pending, totals.failed), (2, 0));
        totals.settle(DeliveryState::Queued, DeliveryState::Delivered);
        totals.settle(DeliveryState::Sending, DeliveryState::Failed);
        assert_eq!((totals.pending, totals.failed), (0, 1));
    }
}
