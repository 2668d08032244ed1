//! From a unit's start to `READY=1`, or to its failure, or to the end of the recording. Pure: all times are
//! the traced host's `CLOCK_MONOTONIC`.

use super::model::{SpanEnd, SpanKind};
use crate::event::UnitState;
use crate::unit::{is_starting, must_say_ready};
use crate::words;

/// A span whose times are not yet those of the axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: SpanKind,
    pub(super) end: SpanEnd,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) text: String,
}

/// A start that goes on, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Starts {
    /// When it began.
    open_ns: Option<u64>,
    /// When the last start began whose end is known.
    ended_ns: Option<u64>,
    /// When a start began, and when the unit was up, by the word of its manager alone.
    up: Option<(u64, u64)>,
    must_say_ready: bool,
}

impl Starts {
    /// A manager says something of the unit; the start that has ended by that without `READY=1`.
    pub(super) fn state(&mut self, state: &UnitState) -> Option<Found> {
        let began_ns = state.inactive_exit_ns.or(self.open_ns)?;
        if self.ended_ns == Some(began_ns) {
            return None;
        }
        if is_starting(state) {
            self.open_ns = Some(began_ns);
            self.must_say_ready = must_say_ready(state);
            return self.up.take().map(up);
        }
        let result = state.result.as_deref();
        if matches!(result, Some("timeout" | "protocol")) && is_never_up(state, began_ns) {
            self.end(began_ns);
            let took = words::duration(state.monotonic_ns.saturating_sub(began_ns));
            return Some(Found {
                kind: SpanKind::Start,
                end: SpanEnd::Failed,
                from_ns: began_ns,
                to_ns: state.monotonic_ns,
                text: format!(
                    "failed to start, with result {}, within {took}: no READY=1 was accepted",
                    result.unwrap_or_default()
                ),
            });
        }
        let up_ns = state.active_enter_ns.filter(|up_ns| *up_ns >= began_ns)?;
        if self.open_ns == Some(began_ns) {
            // By READY=1 as a rule, which may be told of only after this.
            self.up = Some((began_ns, up_ns));
        }
        self.end(began_ns);
        None
    }

    /// `READY=1` was accepted.
    pub(super) fn ready(&mut self, ready_ns: u64, took_ns: Option<u64>) {
        if let Some(began_ns) = took_ns.map(|took_ns| ready_ns.saturating_sub(took_ns)) {
            self.end(began_ns);
            self.up = self.up.filter(|(of_ns, _)| *of_ns != began_ns);
        } else {
            self.open_ns = None;
        }
    }

    /// The recording ends: a start that must end by `READY=1`, and has not.
    pub(super) fn finish(&self, end_ns: u64) -> Option<Found> {
        if let Some(it) = self.up {
            return Some(up(it));
        }
        let began_ns = self.open_ns.filter(|_| self.must_say_ready)?;
        Some(Found {
            kind: SpanKind::Start,
            end: SpanEnd::Open,
            from_ns: began_ns,
            to_ns: end_ns.max(began_ns),
            text: format!(
                "still starting when the recording ended, for {}",
                words::duration(end_ns.saturating_sub(began_ns))
            ),
        })
    }

    fn end(&mut self, began_ns: u64) {
        self.ended_ns = Some(began_ns);
        self.open_ns = None;
    }
}

/// A unit that is up without a `READY=1` that was seen.
fn up((began_ns, up_ns): (u64, u64)) -> Found {
    let took = words::duration(up_ns - began_ns);
    Found {
        kind: SpanKind::Start,
        end: SpanEnd::Done,
        from_ns: began_ns,
        to_ns: up_ns,
        text: format!("up {took} after its start began, by the word of its manager"),
    }
}

fn is_never_up(state: &UnitState, began_ns: u64) -> bool {
    state.active_enter_ns.is_none_or(|up_ns| up_ns < began_ns)
}

/// A start of which no manager said when it began: at the latest when the process began that says
/// `READY=1`. `CLOCK_BOOTTIME` is ahead of the monotonic clock where the host has slept, so it took at least
/// that long.
pub(super) fn since_process(ready_ns: u64, process_start_ns: Option<u64>) -> Option<Found> {
    /// A process that is older has said it for another reason.
    const OLD_NS: u64 = 600_000_000_000;
    let from_ns = process_start_ns?;
    let took_ns = ready_ns.checked_sub(from_ns).filter(|it| *it <= OLD_NS)?;
    Some(Found {
        kind: SpanKind::Start,
        end: SpanEnd::Done,
        from_ns,
        to_ns: ready_ns,
        text: format!(
            "ready at least {} after its start: so old is the process that said it (no manager was asked)",
            words::duration(took_ns)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, unit_state};

    fn starting(at_ns: u64) -> UnitState {
        UnitState {
            active_state: "activating".to_owned(),
            sub_state: "start".to_owned(),
            inactive_exit_ns: Some(S),
            ..unit_state("app.service", at_ns)
        }
    }

    #[test]
    fn a_start_without_ready_goes_on_until_the_end() {
        let mut starts = Starts::default();
        assert_eq!(starts.state(&starting(2 * S)), None);
        let open = starts.finish(9 * S).expect("it is open");
        assert_eq!(
            (open.end, open.from_ns, open.to_ns),
            (SpanEnd::Open, S, 9 * S)
        );
    }

    #[test]
    fn a_start_that_ready_has_ended_is_told_by_its_phase_alone() {
        let mut starts = Starts::default();
        starts.state(&starting(2 * S));
        starts.ready(3 * S, Some(2 * S));
        let up = UnitState {
            inactive_exit_ns: Some(S),
            active_enter_ns: Some(3 * S),
            ..unit_state("app.service", 4 * S)
        };
        assert_eq!(starts.state(&up), None);
        assert_eq!(starts.finish(9 * S), None);
    }

    #[test]
    fn a_start_that_timed_out_has_failed() {
        let mut starts = Starts::default();
        starts.state(&starting(2 * S));
        let failed = UnitState {
            active_state: "failed".to_owned(),
            sub_state: "failed".to_owned(),
            result: Some("timeout".to_owned()),
            inactive_exit_ns: Some(S),
            ..unit_state("app.service", 6 * S)
        };
        let found = starts.state(&failed).expect("it ended");
        assert_eq!(
            (found.end, found.from_ns, found.to_ns),
            (SpanEnd::Failed, S, 6 * S)
        );
        assert_eq!(starts.state(&failed), None, "it is told once");
        let mut starts = Starts::default();
        starts.state(&starting(2 * S));
        let forgotten = UnitState {
            inactive_exit_ns: None,
            ..failed
        };
        let found = starts.state(&forgotten).expect("it ended");
        assert_eq!(found.from_ns, S, "the beginning is that of before");
    }

    #[test]
    fn a_process_that_is_old_or_of_a_clock_ahead_says_nothing_of_the_start() {
        assert!(since_process(5 * S, Some(3 * S)).is_some());
        assert_eq!(since_process(5 * S, Some(6 * S)), None);
        assert_eq!(since_process(5_000 * S, Some(S)), None);
        assert_eq!(since_process(5 * S, None), None);
    }
}
