//! How many datagrams a second a peer shows without losing any: each rate is held for a while, from slow to
//! fast, and what the peer showed of each is told apart by what was sent.

use std::time::Duration;

use super::workload::Scene;
use crate::raw::process::monotonic_ns;

/// So many datagrams a second.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub u32);

/// All, from slow to fast.
pub const RATES: [Rate; 6] = [
    Rate(1_000),
    Rate(2_000),
    Rate(4_000),
    Rate(8_000),
    Rate(16_000),
    Rate(32_000),
];

/// How long a rate is held.
const HELD_NS: u64 = 2_000_000_000;
/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// A sender that reaches less of a rate does not hold it.
const REACHED: f64 = 0.9;

/// What came of a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// Datagrams sent.
    pub sent: u32,
    /// Whether the sender was fast enough.
    pub is_reached: bool,
}

impl Rate {
    /// The rate as a row's name has it.
    pub fn name(self) -> String {
        format!("not shown at {}/s", self.0)
    }

    /// What a line about one of its datagrams has in it; no part of another rate's.
    pub fn mark(self) -> String {
        format!("bench rate {}", self.0)
    }

    /// Sends as many datagrams as are due, each read at once, for a while.
    pub fn hold(self, scene: &Scene) -> std::io::Result<Held> {
        let payload = format!("STATUS={}", self.mark());
        let start_ns = monotonic_ns();
        let mut sent = 0;
        loop {
            let elapsed_ns = monotonic_ns() - start_ns;
            if elapsed_ns >= HELD_NS {
                return Ok(Held {
                    sent,
                    is_reached: f64::from(sent) >= REACHED * f64::from(self.due(HELD_NS)),
                });
            }
            let due = self.due(elapsed_ns);
            if sent >= due {
                std::thread::sleep(TICK);
            } else {
                scene.send_captured(payload.as_bytes())?;
                sent += 1;
            }
        }
    }

    /// How many have to be sent by then.
    fn due(self, elapsed_ns: u64) -> u32 {
        let due = u64::from(self.0) * elapsed_ns / 1_000_000_000;
        u32::try_from(due).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_is_a_part_of_another() {
        for (at, rate) in RATES.iter().enumerate() {
            let mut others = RATES.iter().enumerate().filter(|(other, _)| *other != at);
            assert!(others.all(|(_, other)| !other.mark().contains(&rate.mark())));
            assert!(rate.mark().ends_with(&rate.0.to_string()));
        }
    }

    #[test]
    fn what_is_due_grows_with_time() {
        let rate = RATES[1];
        assert_eq!((rate.due(0), rate.due(500_000_000)), (0, 1_000));
        assert_eq!(rate.due(HELD_NS), 4_000);
    }
}
