//! When losses are looked for, and what of them is new. Pure: the caller says what time it is, and what was
//! counted.

use crate::event::Losses;

/// Losses that leave no gap in the rings are looked for when something was read, at most this often.
const CHECK_NS: u64 = 1_000_000_000;

/// How soon a gap is looked into.
const GAP_CHECK_NS: u64 = 100_000_000;

/// What was looked at, and what was shown.
#[derive(Debug, Default)]
pub(super) struct LossWatch {
    checked_ns: u64,
    gaps_seen: u64,
    shown: Losses,
}

impl LossWatch {
    /// Whether it is time to look, with so many records missing among those that were read; if so, it counts as
    /// done. Gaps are looked into soon, what leaves no gap now and then.
    pub(super) fn is_due(&mut self, gaps: u64, now_ns: u64) -> bool {
        let interval_ns = if gaps == self.gaps_seen {
            CHECK_NS
        } else {
            GAP_CHECK_NS
        };
        if now_ns.saturating_sub(self.checked_ns) < interval_ns {
            return false;
        }
        self.gaps_seen = gaps;
        self.checked_ns = now_ns;
        true
    }

    /// What of all losses was not shown yet, if anything; then it counts as shown.
    pub(super) fn take_new(&mut self, losses: Losses) -> Option<Losses> {
        let since = losses.since(&self.shown);
        if !since.any() {
            return None;
        }
        self.shown = losses;
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_looked_into_sooner() {
        let mut watch = LossWatch::default();
        assert!(watch.is_due(0, CHECK_NS));
        assert!(!watch.is_due(0, CHECK_NS + GAP_CHECK_NS));
        assert!(watch.is_due(1, CHECK_NS + GAP_CHECK_NS));
        // The same gap is no news.
        assert!(!watch.is_due(1, CHECK_NS + 2 * GAP_CHECK_NS));
        assert!(watch.is_due(1, 2 * CHECK_NS + GAP_CHECK_NS));
    }

    #[test]
    fn a_loss_is_shown_once() {
        let full = |ring_full| Losses {
            ring_full,
            ..Losses::default()
        };
        let mut watch = LossWatch::default();
        assert_eq!(watch.take_new(full(0)), None);
        assert_eq!(watch.take_new(full(3)), Some(full(3)));
        assert_eq!(watch.take_new(full(3)), None);
        assert_eq!(watch.take_new(full(5)), Some(full(2)));
    }
}
