//! Which units' lives are followed, and when they are forgotten: transient units come and go, hour by hour.

use super::Correlator;
use super::life::Life;
use super::subject;
use crate::event::UnitState;
use crate::unit::UnitKey;
use crate::words;

/// Most units whose lives are followed.
const LIVES: usize = 8_192;

/// A unit that is gone is forgotten so long after it was heard of: what comes late comes sooner.
const GONE_NS: u64 = 600_000_000_000;

/// How often they are looked for.
const EVERY_NS: u64 = 60_000_000_000;

impl Correlator {
    /// The life of a unit, if it is a service.
    pub(super) fn life(&mut self, key: Option<&UnitKey>) -> Option<&mut Life> {
        let key = key?;
        if !key.is_service() {
            return None;
        }
        if self.lives.len() >= LIVES && !self.lives.contains_key(key) {
            self.forget_lives();
        }
        let life = self
            .lives
            .entry(key.clone())
            .or_insert_with(|| Life::new(words::unit(&key.name), subject::of_unit(key)));
        Some(life)
    }

    /// Forgets the quarter that was not heard of for longest.
    fn forget_lives(&mut self) {
        let mut all: Vec<(u64, UnitKey)> = self
            .lives
            .iter()
            .map(|(key, life)| (life.heard_ns(), key.clone()))
            .collect();
        all.sort();
        for (_, key) in all.into_iter().take(LIVES / 4) {
            self.lives.remove(&key);
        }
    }

    /// Forgets units that are gone, now and then.
    pub(super) fn forget_the_gone(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.forgot_ns) < EVERY_NS {
            return;
        }
        self.forgot_ns = now_ns;
        let before_ns = now_ns.saturating_sub(GONE_NS);
        let Self {
            units,
            lives,
            exits,
            ..
        } = self;
        let exited_ns = |pid: u32| exits.peek(&pid).copied();
        for key in units.forget(|state| is_gone(state, before_ns, exited_ns)) {
            if lives
                .get(&key)
                .is_some_and(|life| life.heard_ns() < before_ns)
            {
                lives.remove(&key);
            }
        }
    }
}

/// Whether a unit was gone by then, by what its manager said last and by exits that were seen.
fn is_gone(state: &UnitState, before_ns: u64, exited_ns: impl Fn(u32) -> Option<u64>) -> bool {
    if state.monotonic_ns >= before_ns {
        return false;
    }
    let is_down = matches!(&*state.active_state, "inactive" | "failed");
    let main_exited_ns = state.main_pid.and_then(exited_ns);
    is_down || main_exited_ns.is_some_and(|at_ns| at_ns >= state.since_ns() && at_ns < before_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, unit_state};
    use crate::event::{Event, Exit};

    #[test]
    fn gone_is_what_is_down_or_has_lost_its_main_process() {
        let mut state = unit_state("app.service", 10 * S);
        let nobody = |_| None;
        assert!(!is_gone(&state, 100 * S, nobody), "it may be silent");
        assert!(is_gone(&state, 100 * S, |_| Some(20 * S)));
        assert!(
            !is_gone(&state, 100 * S, |_| Some(5 * S)),
            "an earlier one with that pid"
        );
        assert!(!is_gone(&state, 15 * S, |_| Some(20 * S)), "not yet");
        state.active_state = "inactive".to_owned();
        assert!(is_gone(&state, 100 * S, nobody));
        assert!(!is_gone(&state, 10 * S, nobody));
    }

    #[test]
    fn units_that_come_and_go_leave_nothing() {
        let mut correlator = Correlator::new();
        let mut most = 0;
        for number in 1..3_000_u32 {
            let at_ns = u64::from(number) * S;
            let unit = format!("nt-{number}.service");
            let it = Sample::new("READY=1").id(number.into()).at(at_ns);
            let it = it.from("nt", number, &unit).build();
            let mut state = unit_state(&unit, at_ns + S / 10);
            state.main_pid = Some(number);
            let exit = Exit {
                time: it.time,
                monotonic_ns: at_ns + S / 2,
                pid: number,
                start_boottime_ns: None,
            };
            for event in [
                Event::Send(Box::new(it)),
                Event::Unit(Box::new(state)),
                Event::Exit(exit),
            ] {
                correlator.event(&event, &mut |_| {});
            }
            most = most.max(correlator.lives.len());
        }
        // Those of ten minutes, and of the one until they are looked for.
        assert!((600..700).contains(&most), "{most}");
    }
}
