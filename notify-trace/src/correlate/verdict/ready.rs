//! A unit that must say `READY=1` and is still starting, or has failed to start.

use super::Finding;
use crate::correlate::message::says;
use crate::correlate::outcome::{Certainty, Kind};
use crate::escape::escape_field;
use crate::event::{Notification, UnitProcess, UnitState};
use crate::unit::{is_starting, must_say_ready};
use crate::words;

/// Of a start that has no time limit, after how long it is said to be late.
const LATE_NS: u64 = 60_000_000_000;

/// Results of a start that `READY=1` would have prevented.
const RESULTS: [&str; 2] = ["timeout", "protocol"];

/// Most processes that are named.
const NAMED: usize = 4;

/// What a unit's own notifications say about why.
#[derive(Clone, Debug, Default)]
pub(in crate::correlate) struct Said {
    /// The last thing that was sent from it, and how long before: its words.
    pub(in crate::correlate) last: Option<(String, u64)>,
    /// Why its `READY=1` was not accepted, with the notification's number.
    pub(in crate::correlate) refused: Vec<String>,
}

/// Whether it began to start and was never up since.
fn is_or_was_starting(state: &UnitState) -> bool {
    match (state.inactive_exit_ns, state.active_enter_ns) {
        (Some(began_ns), Some(up_ns)) => up_ns < began_ns,
        _ => true,
    }
}

/// Whether the manager says, asked later than it took this `READY=1`, that the start which that should have
/// ended goes on: it did not act on it.
pub(in crate::correlate) fn starts_on(
    state: &UnitState,
    it: &Notification,
    dequeued_ns: u64,
) -> bool {
    let is_before = |at_ns: Option<u64>| at_ns.is_some_and(|at_ns| at_ns <= dequeued_ns);
    says(it, "READY")
        // It wins.
        && !says(it, "STOPPING")
        && must_say_ready(state)
        && is_starting(state)
        && state.asked_ns.is_some_and(|asked_ns| asked_ns >= dequeued_ns)
        // And not of a start that began since.
        && is_before(state.inactive_exit_ns)
        && is_before(state.main_start_ns)
}

/// A unit that should have said that it is ready.
pub(in crate::correlate) fn never_ready(state: &UnitState, said: &Said) -> Option<Finding> {
    if !must_say_ready(state) || !is_or_was_starting(state) {
        return None;
    }
    let result = state
        .result
        .as_deref()
        .filter(|result| RESULTS.contains(result));
    let since_ns = state.main_start_ns.or(state.inactive_exit_ns);
    let age_ns = since_ns.map(|since_ns| state.monotonic_ns.saturating_sub(since_ns));
    let name = words::unit(&state.unit);
    let what = if let Some(result) = result {
        format!("{name} failed to start, with result {result}: no READY=1 was accepted")
    } else if is_starting(state) && age_ns.is_some_and(|age_ns| age_ns >= late_ns(state)) {
        let age = words::duration(age_ns.unwrap_or(0));
        let limit = state.timeout_start_usec.map_or_else(
            || "without a time limit".to_owned(),
            |usec| {
                format!(
                    "of {} that it has",
                    words::duration(usec.saturating_mul(1_000))
                )
            },
        );
        format!("{name} is still starting after {age} {limit}: no READY=1 was accepted so far")
    } else {
        return None;
    };
    let mut found = Finding::new(Kind::NeverReady, Certainty::Certain, what);
    for refused in &said.refused {
        found = found.seen(refused.clone());
    }
    if said.refused.is_empty() {
        found = found.seen(match &said.last {
            Some((words, ago_ns)) => {
                format!("last sent {} before: {words}", words::duration(*ago_ns))
            }
            None => "nothing was sent from it".to_owned(),
        });
    }
    found
        .evidence
        .extend(state.processes.iter().take(NAMED).map(process));
    if state.processes.len() > NAMED {
        found = found.seen(format!(
            "and {} more processes",
            state.processes.len() - NAMED
        ));
    }
    Some(
        found
            .by("Type=notify and notify-reload: the unit is up when READY=1 is accepted; the start ends after TimeoutStartSec=, or when the main process exits (result protocol)")
            .helps(if said.refused.is_empty() {
                "let the service send READY=1 (it needs NOTIFY_SOCKET), or use Type=exec"
            } else {
                "see why its READY=1 was refused"
            }),
    )
}

/// Half of the time that it has.
fn late_ns(state: &UnitState) -> u64 {
    state.timeout_start_usec.map_or(LATE_NS, |usec| {
        (usec.saturating_mul(1_000) / 2).min(LATE_NS)
    })
}

fn process(process: &UnitProcess) -> String {
    let name = words::name_of(&process.comm.0, process.pid);
    let state = match process.state {
        Some('R') => "runs",
        Some('S') => "sleeps",
        Some('D') => "waits uninterruptibly",
        Some('T' | 't') => "is stopped",
        Some('Z') => "is a zombie",
        _ => "is in an unknown state",
    };
    let place = process
        .wchan
        .as_ref()
        .map(|wchan| format!(" in {}", escape_field(wchan.as_bytes())))
        .unwrap_or_default();
    let socket = match &process.notify_socket {
        Some(socket) => format!("its NOTIFY_SOCKET is {}", escape_field(&socket.0)),
        None => "it was started without NOTIFY_SOCKET, or that can't be read".to_owned(),
    };
    format!("{name} {state}{place}; {socket}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, unit_state};

    fn starting(at_ns: u64) -> UnitState {
        UnitState {
            active_state: "activating".to_owned(),
            sub_state: "start".to_owned(),
            inactive_exit_ns: Some(S),
            active_enter_ns: None,
            timeout_start_usec: Some(3_000_000),
            ..unit_state("app.service", at_ns)
        }
    }

    #[test]
    fn a_start_goes_on_until_the_manager_says_otherwise() {
        let ready = Sample::new("READY=1").build();
        let state = UnitState {
            asked_ns: Some(3 * S),
            main_start_ns: Some(S),
            ..starting(4 * S)
        };
        assert!(starts_on(&state, &ready, 2 * S));
        assert!(!starts_on(&state, &ready, 3 * S + 1), "it was asked before");
        for other in [
            UnitState {
                asked_ns: None,
                ..state.clone()
            },
            UnitState {
                main_start_ns: Some(2 * S + 1),
                ..state.clone()
            },
            UnitState {
                sub_state: "start-post".to_owned(),
                ..state.clone()
            },
        ] {
            assert!(!starts_on(&other, &ready, 2 * S), "{other:?}");
        }
        for words in ["STATUS=x", "READY=1\nSTOPPING=1"] {
            let it = Sample::new(words).build();
            assert!(!starts_on(&state, &it, 2 * S), "{words}");
        }
    }

    #[test]
    fn half_of_its_time_is_late() {
        assert_eq!(never_ready(&starting(2 * S), &Said::default()), None);
        assert!(never_ready(&starting(3 * S), &Said::default()).is_some());
    }

    #[test]
    fn a_start_without_a_limit_is_late_after_a_minute() {
        let state = UnitState {
            timeout_start_usec: None,
            ..starting(50 * S)
        };
        assert_eq!(never_ready(&state, &Said::default()), None);
        let state = UnitState {
            timeout_start_usec: None,
            ..starting(70 * S)
        };
        assert!(never_ready(&state, &Said::default()).is_some());
    }

    #[test]
    fn a_timeout_of_a_unit_that_was_up_is_another_matter() {
        let state = UnitState {
            active_state: "failed".to_owned(),
            result: Some("timeout".to_owned()),
            active_enter_ns: Some(2 * S),
            ..starting(9 * S)
        };
        assert_eq!(never_ready(&state, &Said::default()), None);
        let state = UnitState {
            active_enter_ns: None,
            ..state
        };
        assert!(never_ready(&state, &Said::default()).is_some());
    }

    #[test]
    fn what_its_processes_do_is_shown() {
        let mut state = starting(3 * S);
        state.processes = vec![UnitProcess {
            pid: 100,
            comm: "app".into(),
            state: Some('S'),
            wchan: Some("hrtimer_nanosleep".to_owned()),
            notify_socket: Some("/run/systemd/notify".into()),
        }];
        let found = never_ready(&state, &Said::default()).expect("it is late");
        assert_eq!(
            found.evidence,
            [
                "nothing was sent from it",
                "app[100] sleeps in hrtimer_nanosleep; its NOTIFY_SOCKET is /run/systemd/notify",
            ]
        );
    }

    #[test]
    fn other_types_need_not_say_it() {
        let state = UnitState {
            service_type: Some("simple".to_owned()),
            ..starting(9 * S)
        };
        assert_eq!(never_ready(&state, &Said::default()), None);
    }
}
