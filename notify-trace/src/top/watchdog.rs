//! How much of its watchdog's time a unit had left at each ping.
//!
//! systemd counts from the dequeue of `READY=1`, of `WATCHDOG=1` or of `WATCHDOG_USEC=` to that of the
//! next ping; so do we.

use crate::correlate::verdict::watchdog::THIN_PER_CENT;

/// The pings of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watchdog {
    limit_ns: Option<u64>,
    /// From when the time of the next ping counts.
    since_ns: Option<u64>,
    last_gap_ns: Option<u64>,
    worst_gap_ns: Option<u64>,
}

/// What was left of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin {
    /// The time that is allowed.
    pub limit_ns: u64,
    /// The time that was taken.
    pub gap_ns: u64,
}

/// How good that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// There is time left.
    Good,
    /// There is little left.
    Thin,
    /// It was too late.
    Late,
}

impl Margin {
    /// What is left in nanoseconds; negative: so much too late.
    #[must_use]
    pub fn left_ns(self) -> i64 {
        let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        signed(self.limit_ns) - signed(self.gap_ns)
    }

    /// How good that is, by the limits of the verdicts `watchdog_late` and `watchdog_thin`.
    #[must_use]
    pub const fn quality(self) -> Quality {
        if self.gap_ns > self.limit_ns {
            Quality::Late
        } else if self.gap_ns.saturating_mul(100) > self.limit_ns.saturating_mul(THIN_PER_CENT) {
            Quality::Thin
        } else {
            Quality::Good
        }
    }
}

impl Watchdog {
    /// The unit is up: what was before it is another life's.
    pub const fn start(&mut self, at_ns: u64) {
        self.since_ns = Some(at_ns);
        self.last_gap_ns = None;
        self.worst_gap_ns = None;
    }

    /// A ping.
    pub fn ping(&mut self, at_ns: u64) {
        if let Some(since_ns) = self.since_ns {
            let gap_ns = at_ns.saturating_sub(since_ns);
            self.last_gap_ns = Some(gap_ns);
            self.worst_gap_ns = self.worst_gap_ns.max(Some(gap_ns));
        }
        self.since_ns = Some(at_ns);
    }

    /// The time that is allowed, as its manager says.
    pub fn allow(&mut self, usec: u64) {
        let limit_ns = Some(usec.saturating_mul(1_000)).filter(|ns| *ns > 0);
        if self.limit_ns.is_some() && self.limit_ns != limit_ns {
            self.last_gap_ns = None;
            self.worst_gap_ns = None;
        }
        self.limit_ns = limit_ns;
    }

    /// `WATCHDOG_USEC=`: another time is allowed, and counts from now.
    pub fn change(&mut self, usec: u64, at_ns: u64) {
        self.allow(usec);
        self.since_ns = Some(at_ns);
    }

    /// The time that is allowed.
    #[must_use]
    pub const fn limit_ns(&self) -> Option<u64> {
        self.limit_ns
    }

    /// What was left at the last ping; or by how much the next one is overdue.
    #[must_use]
    pub fn last(&self, now_ns: u64) -> Option<Margin> {
        self.overdue(now_ns).or(self.margin(self.last_gap_ns))
    }

    /// The least that was left.
    #[must_use]
    pub fn worst(&self, now_ns: u64) -> Option<Margin> {
        let worst = self.margin(self.worst_gap_ns);
        let all = [worst, self.overdue(now_ns)].into_iter().flatten();
        all.min_by_key(|margin| margin.left_ns())
    }

    fn overdue(&self, now_ns: u64) -> Option<Margin> {
        let gap_ns = now_ns.saturating_sub(self.since_ns?);
        self.margin(Some(gap_ns))
            .filter(|margin| margin.quality() == Quality::Late)
    }

    fn margin(&self, gap_ns: Option<u64>) -> Option<Margin> {
        Some(Margin {
            limit_ns: self.limit_ns?,
            gap_ns: gap_ns?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn up(usec: u64) -> Watchdog {
        let mut watchdog = Watchdog::default();
        watchdog.allow(usec);
        watchdog.start(100 * S);
        watchdog
    }

    #[test]
    fn margins_count_from_ready_and_from_ping_to_ping() {
        let mut watchdog = up(10_000_000);
        assert_eq!(watchdog.last(101 * S), None);
        watchdog.ping(108 * S);
        watchdog.ping(111 * S);
        let left = |margin: Option<Margin>| margin.map(Margin::left_ns);
        assert_eq!(left(watchdog.last(111 * S)), Some(7_000_000_000));
        assert_eq!(left(watchdog.worst(111 * S)), Some(2_000_000_000));
    }

    #[test]
    fn a_ping_that_does_not_come_is_late_before_it_comes() {
        let watchdog = up(10_000_000);
        let late = watchdog.last(113 * S).expect("overdue");
        assert_eq!(
            (late.left_ns(), late.quality()),
            (-3_000_000_000, Quality::Late)
        );
        assert_eq!(watchdog.worst(113 * S), Some(late));
    }

    #[test]
    fn thin_is_what_the_verdicts_call_thin() {
        let quality = |gap_ns| {
            Margin {
                limit_ns: 10 * S,
                gap_ns,
            }
            .quality()
        };
        assert_eq!(quality(8 * S), Quality::Good);
        assert_eq!(quality(9 * S), Quality::Thin);
        assert_eq!(quality(11 * S), Quality::Late);
    }

    #[test]
    fn a_limit_that_is_known_later_holds_for_what_was_before() {
        let mut watchdog = Watchdog::default();
        watchdog.ping(S);
        watchdog.ping(3 * S);
        assert_eq!(watchdog.last(3 * S), None);
        watchdog.allow(5_000_000);
        assert_eq!(
            watchdog.last(3 * S).map(Margin::left_ns),
            Some(3_000_000_000)
        );
    }

    #[test]
    fn another_limit_begins_anew() {
        let mut watchdog = up(10_000_000);
        watchdog.ping(109 * S);
        watchdog.change(60_000_000, 110 * S);
        assert_eq!(watchdog.worst(111 * S), None);
        watchdog.allow(60_000_000);
        watchdog.ping(120 * S);
        assert_eq!(
            watchdog.worst(120 * S).map(Margin::left_ns),
            Some(50_000_000_000)
        );
        watchdog.allow(0);
        assert_eq!(watchdog.last(900 * S), None);
    }
}
