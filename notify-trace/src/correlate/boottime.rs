//! `CLOCK_BOOTTIME`, in which the kernel gives the start of processes, against `CLOCK_MONOTONIC`. Pure.

use super::outcome::Moment;

/// How far `CLOCK_BOOTTIME` was ahead of `CLOCK_MONOTONIC`, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boottime {
    pub(super) at: Moment,
    pub(super) ahead_ns: u64,
}

impl Boottime {
    /// The same at another moment; unknown if the host may have slept between the two. The wall clock
    /// tells, which goes on meanwhile; if it was set, that can't be told from a sleep.
    pub(super) fn ahead_ns(self, now: Moment) -> Option<u64> {
        let expected = self.at.moved_to(now.monotonic_ns).time;
        let apart = now.time.duration_since(expected).abs();
        (apart.as_secs() < 1).then_some(self.ahead_ns)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_sleep_or_a_clock_that_is_set_makes_it_unknown() {
        const S: u64 = 1_000_000_000;
        let at = Moment::new("2026-11-24T12:00:00Z".parse().expect("a time"), S);
        let clock = Boottime { at, ahead_ns: 7 };
        assert_eq!(clock.ahead_ns(at.moved_to(90 * S)), Some(7));
        let mut later = at.moved_to(90 * S);
        later.time = later
            .time
            .checked_add(SignedDuration::from_secs(60))
            .expect("a time");
        assert_eq!(clock.ahead_ns(later), None);
    }
}
