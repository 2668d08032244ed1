//! The only module that reads the clocks.

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

const NS_PER_SECOND: i128 = 1_000_000_000;

/// How often the offset between the clocks is measured; the narrowest measurement wins.
const MEASUREMENTS: usize = 5;

/// Now, `CLOCK_MONOTONIC` ns: the clock of the records.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or(0)
}

/// Time on CPUs that this thread has used, in ns.
#[must_use]
pub fn used_by_thread_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::ThreadCPUTime))).unwrap_or(0)
}

/// How far `CLOCK_BOOTTIME` is ahead of `CLOCK_MONOTONIC`, in ns: what the host has slept. To the
/// microseconds that the measurement takes.
#[must_use]
pub fn boottime_ahead_ns() -> u64 {
    let (_, ahead) = measured(ClockId::Boottime);
    u64::try_from(ahead).unwrap_or(0)
}

/// How far a clock is ahead of `CLOCK_MONOTONIC`, and how uncertain that is.
fn measured(clock: ClockId) -> (i128, i128) {
    let measure = || {
        let before = nanoseconds(clock_gettime(ClockId::Monotonic));
        let other = nanoseconds(clock_gettime(clock));
        let after = nanoseconds(clock_gettime(ClockId::Monotonic));
        (after - before, other - before.midpoint(after))
    };
    (0..MEASUREMENTS)
        .map(|_| measure())
        .min_by_key(|(uncertainty, _)| *uncertainty)
        .unwrap_or_default()
}

/// Now, by the wall clock.
#[must_use]
pub fn wall_now() -> Timestamp {
    WallClock::now().at(now())
}

/// Turns times of records into wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, in ns, at one moment.
    pub realtime_minus_monotonic_ns: i64,
}

impl WallClock {
    /// The offset of this moment. It changes when the wall clock is set, so it is taken anew from
    /// time to time.
    #[must_use]
    pub fn now() -> Self {
        let (_, offset) = measured(ClockId::Realtime);
        Self {
            realtime_minus_monotonic_ns: i64::try_from(offset).unwrap_or(0),
        }
    }

    /// The wall time of a moment; the nearest representable one if it is out of range.
    #[must_use]
    pub fn at(self, monotonic_ns: u64) -> Timestamp {
        let wall = i128::from(monotonic_ns) + i128::from(self.realtime_minus_monotonic_ns);
        Timestamp::from_nanosecond(wall).unwrap_or(if wall < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * NS_PER_SECOND + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_monotonic_time_plus_the_offset() {
        let clock = WallClock {
            realtime_minus_monotonic_ns: 1_000_000_000_000_000_000,
        };
        assert_eq!(
            clock.at(1_500_000_000).to_string(),
            "2001-09-09T01:46:41.5Z"
        );
    }

    #[test]
    fn times_out_of_range_do_not_panic() {
        for offset in [i64::MIN, 0, i64::MAX] {
            for time in [0, u64::MAX] {
                let clock = WallClock {
                    realtime_minus_monotonic_ns: offset,
                };
                let _ = clock.at(time);
            }
        }
    }

    #[test]
    fn the_measured_offset_leads_to_the_wall_clock() {
        let clock = WallClock::now();
        let difference = clock.at(now()).duration_until(Timestamp::now());
        assert!(difference.as_secs().abs() < 5, "{difference}");
    }
}
