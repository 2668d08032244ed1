//! How often something happened in the last minute, by whole seconds.

/// How far back is counted.
const SECONDS: usize = 60;

const SECOND_NS: u64 = 1_000_000_000;

/// Counts of the last seconds.
#[derive(Clone, Debug)]
pub struct Rate {
    counts: [u32; SECONDS],
    /// The second that was counted last.
    last_s: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            counts: [0; SECONDS],
            last_s: 0,
        }
    }
}

impl Rate {
    /// Counts one more. What is older than a minute is not counted.
    pub fn add(&mut self, at_ns: u64) {
        let at_s = at_ns / SECOND_NS;
        if at_s > self.last_s {
            let passed = at_s - self.last_s;
            for back in 0..passed.min(SECONDS as u64) {
                self.counts[slot(at_s - back)] = 0;
            }
            self.last_s = at_s;
        } else if self.last_s - at_s >= SECONDS as u64 {
            return;
        }
        let count = &mut self.counts[slot(at_s)];
        *count = count.saturating_add(1);
    }

    /// How many there were in the last `seconds` before `now_ns`, the one that goes on included.
    #[must_use]
    pub fn count(&self, now_ns: u64, seconds: u64) -> u64 {
        let now_s = (now_ns / SECOND_NS).max(self.last_s);
        (0..seconds.min(SECONDS as u64))
            .filter_map(|back| now_s.checked_sub(back))
            .filter(|at_s| *at_s <= self.last_s && self.last_s - at_s < SECONDS as u64)
            .map(|at_s| u64::from(self.counts[slot(at_s)]))
            .sum()
    }
}

fn slot(at_s: u64) -> usize {
    // The remainder is below 60.
    usize::try_from(at_s % SECONDS as u64).unwrap_or(0)
}

/// So many in `window_ns`: `12.3/s`, or `4/min` where it is less than one a second.
#[must_use]
pub fn words(count: u64, window_ns: u64) -> String {
    let window_ns = u128::from(window_ns.clamp(SECOND_NS, SECONDS as u64 * SECOND_NS));
    let tenths = u128::from(count) * 10 * u128::from(SECOND_NS) / window_ns;
    match tenths {
        0 if count == 0 => "0".to_owned(),
        0..10 => {
            let per_minute = u128::from(count) * 60 * u128::from(SECOND_NS) / window_ns;
            format!("{per_minute}/min")
        }
        10..1_000 => format!("{}.{}/s", tenths / 10, tenths % 10),
        _ => format!("{}/s", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SECOND_NS;

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut rate = Rate::default();
        for second in 100..110 {
            rate.add(second * S);
            rate.add(second * S + 1);
        }
        assert_eq!(rate.count(109 * S, 60), 20);
        assert_eq!(rate.count(109 * S, 5), 10);
        assert_eq!(rate.count(112 * S, 5), 4);
        assert_eq!(rate.count(400 * S, 60), 0);
    }

    #[test]
    fn a_slot_is_empty_again_after_a_minute() {
        let mut rate = Rate::default();
        rate.add(5 * S);
        rate.add(65 * S);
        assert_eq!(rate.count(65 * S, 60), 1);
        rate.add(1_000 * S);
        assert_eq!(rate.count(1_000 * S, 60), 1);
    }

    #[test]
    fn one_that_comes_late_counts_in_its_own_second() {
        let mut rate = Rate::default();
        rate.add(100 * S);
        rate.add(98 * S);
        rate.add(10 * S);
        assert_eq!(rate.count(100 * S, 60), 2);
        assert_eq!(rate.count(100 * S, 2), 1);
    }

    #[test]
    fn rates_have_the_unit_that_suits_them() {
        let shown = |count| words(count, 60 * S);
        assert_eq!(shown(0), "0");
        assert_eq!(shown(4), "4/min");
        assert_eq!(shown(59), "59/min");
        assert_eq!(shown(60), "1.0/s");
        assert_eq!(shown(738), "12.3/s");
        assert_eq!(shown(60_000), "1000/s");
        assert_eq!(words(4, 2 * S), "2.0/s");
        assert_eq!(words(4, 0), "4.0/s");
    }
}
