//! Watchdogs and extended timeouts: what came when, against what the manager allows.
//!
//! The manager counts from the moment at which it takes a ping out of its queue
//! (`service_reset_watchdog`, service.c), so dequeues are compared here, not sends.

use super::Finding;
use crate::correlate::outcome::{Certainty, Kind};
use crate::words;

/// Of the interval, the part that may be used up before the margin is said to be thin. Pings are
/// due at half of it; what sd-event sends comes within three quarters.
pub(crate) const THIN_PER_CENT: u64 = 85;

const RULE: &str = "WatchdogSec=: the time from one ping's dequeue to the next; the sender should ping at half of it";

/// Pings of one unit so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::correlate) struct Pings {
    /// How many.
    pub(in crate::correlate) count: u64,
    /// The dequeue of the last, or of `READY=1` before the first.
    pub(in crate::correlate) last_ns: Option<u64>,
    /// Shortest and longest time between two.
    pub(in crate::correlate) min_ns: Option<u64>,
    /// The longest.
    pub(in crate::correlate) max_ns: Option<u64>,
    /// The time between the last two.
    pub(in crate::correlate) interval_ns: Option<u64>,
}

/// What a ping says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::correlate) struct Ping {
    /// Time since the one before, or since `READY=1`: what the manager's limit is for.
    pub(in crate::correlate) gap_ns: Option<u64>,
    /// Time since the one before.
    pub(in crate::correlate) interval_ns: Option<u64>,
    /// How much that differs from the interval before it.
    pub(in crate::correlate) jitter_ns: Option<u64>,
}

impl Pings {
    /// Takes the next.
    pub(in crate::correlate) fn ping(&mut self, dequeued_ns: u64) -> Ping {
        let gap_ns = self
            .last_ns
            .map(|last_ns| dequeued_ns.saturating_sub(last_ns));
        let interval_ns = gap_ns.filter(|_| self.count > 0);
        let before_ns = std::mem::replace(&mut self.interval_ns, interval_ns);
        self.last_ns = Some(dequeued_ns);
        if let Some(interval_ns) = interval_ns {
            self.min_ns = Some(self.min_ns.map_or(interval_ns, |it| it.min(interval_ns)));
            self.max_ns = Some(self.max_ns.map_or(interval_ns, |it| it.max(interval_ns)));
        }
        self.count += 1;
        Ping {
            gap_ns,
            interval_ns,
            jitter_ns: interval_ns
                .zip(before_ns)
                .map(|(one, other)| one.abs_diff(other)),
        }
    }
}

/// A ping that came `gap_ns` after the one before.
pub(in crate::correlate) fn ping(name: &str, gap_ns: u64, limit_ns: u64) -> Option<Finding> {
    let is_late = gap_ns > limit_ns;
    let is_thin = gap_ns.saturating_mul(100) > limit_ns.saturating_mul(THIN_PER_CENT);
    if !is_late && !is_thin {
        return None;
    }
    let (gap, limit) = (words::duration(gap_ns), words::duration(limit_ns));
    if is_late {
        return Some(
            Finding::new(
                Kind::WatchdogLate,
                Certainty::Certain,
                format!(
                    "{name}: a ping came {gap} after the one before, the watchdog allows {limit}"
                ),
            )
            .by(RULE)
            .helps("ping at half of WATCHDOG_USEC=, from a thread that nothing blocks"),
        );
    }
    let left = words::duration(limit_ns - gap_ns);
    Some(
        Finding::new(
            Kind::WatchdogThin,
            Certainty::Certain,
            format!("{name}: a ping came only {left} before the watchdog's end ({gap} of {limit})"),
        )
        .by(RULE)
        .helps("ping at half of WATCHDOG_USEC=, or set a longer WatchdogSec="),
    )
}

/// No ping any more.
pub(in crate::correlate) fn silent(
    name: &str,
    pings: Pings,
    now_ns: u64,
    limit_ns: u64,
    is_expired: bool,
) -> Finding {
    let limit = words::duration(limit_ns);
    let since = pings
        .last_ns
        .map(|last_ns| words::duration(now_ns.saturating_sub(last_ns)));
    let what = match (&since, pings.count) {
        (Some(since), 1..) => format!("{name}: no ping for {since}, the watchdog allows {limit}"),
        (Some(since), 0) => {
            format!("{name}: no ping in {since} since READY=1, the watchdog allows {limit}")
        }
        (None, _) => format!("{name}: no ping, the watchdog allows {limit}"),
    };
    let mut found = Finding::new(
        Kind::WatchdogLate,
        if is_expired {
            Certainty::Certain
        } else {
            Certainty::Inferred
        },
        what,
    );
    if is_expired {
        found = found.seen("the manager says: result watchdog");
    }
    found
        .by(RULE)
        .helps("see what blocks the service; children do not ping for it (WATCHDOG_PID), and NOTIFY_SOCKET must not be unset after READY=1")
}

/// `WATCHDOG=trigger`.
pub(in crate::correlate) fn triggered(name: &str) -> Finding {
    Finding::new(
        Kind::WatchdogTriggered,
        Certainty::Certain,
        format!("{name} asked to be treated as hung (WATCHDOG=trigger)"),
    )
    .by("since 243: acts at once, also without WatchdogSec=")
}

/// A message later than the extension before it, and the unit's own limit, allowed.
pub(in crate::correlate) fn overrun(name: &str, late_ns: u64, is_expired: bool) -> Finding {
    let what = if is_expired {
        format!("{name}: its EXTEND_TIMEOUT_USEC= ran out and nothing followed in time")
    } else {
        format!(
            "{name}: the message after EXTEND_TIMEOUT_USEC= came {} too late",
            words::duration(late_ns)
        )
    };
    let mut found = Finding::new(Kind::ExtensionOverrun, Certainty::Inferred, what);
    if is_expired {
        found = found.seen("the manager says: result timeout");
    }
    found
        .by("EXTEND_TIMEOUT_USEC= (236 and newer) counts from its dequeue; before that time is over another one, or READY=1, must come")
        .helps("extend earlier: the interval should be several times that of the messages")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::S;

    #[test]
    fn margins() {
        let kind = |gap_ns| ping("a", gap_ns, 10 * S).map(|found| found.kind);
        assert_eq!(kind(5 * S), None);
        assert_eq!(kind(75 * S / 10), None);
        assert_eq!(kind(9 * S), Some(Kind::WatchdogThin));
        assert_eq!(kind(11 * S), Some(Kind::WatchdogLate));
    }

    #[test]
    fn intervals_are_those_between_pings() {
        let mut pings = Pings {
            last_ns: Some(S),
            ..Pings::default()
        };
        let first = pings.ping(2 * S);
        assert_eq!((first.gap_ns, first.interval_ns), (Some(S), None));
        assert_eq!((pings.min_ns, pings.max_ns), (None, None));
        let second = pings.ping(5 * S);
        assert_eq!((second.interval_ns, second.jitter_ns), (Some(3 * S), None));
        let third = pings.ping(7 * S);
        assert_eq!((third.interval_ns, third.jitter_ns), (Some(2 * S), Some(S)));
        assert_eq!((pings.min_ns, pings.max_ns), (Some(2 * S), Some(3 * S)));
    }
}
