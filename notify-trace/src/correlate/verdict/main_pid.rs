//! `MAINPID=`: did the manager take it?
//!
//! systemd's `service_notify_message` and `service_is_suitable_main_pid` (src/core/service.c).

use super::Finding;
use super::manager::Told;
use crate::correlate::message::find;
use crate::correlate::outcome::{Certainty, Kind};
use crate::event::Notification;
use crate::words;

/// Whether it names a main process: what became of that is seen only afterwards.
pub(in crate::correlate) fn names_one(it: &Notification) -> bool {
    find(it, "MAINPID").is_some()
}

/// The main process is another one than was named, and the same as before.
///
/// Silent unless the manager was asked before and after it, of the same start of the unit: another
/// `MAINPID=`, or a new start, would explain another process.
pub(in crate::correlate) fn refused(told: &Told<'_>) -> Option<Finding> {
    let it = told.notification;
    let named: u32 = std::str::from_utf8(find(it, "MAINPID")?.value?)
        .ok()?
        .parse()
        .ok()?;
    let dequeued_ns = it.timing.dequeued_ns?;
    let before = told
        .states
        .iter()
        .rev()
        .find(|state| state.monotonic_ns < dequeued_ns)?;
    // An answer that was on its way at the dequeue may be of either side.
    let after = told
        .states
        .last()
        .filter(|it| it.since_ns() >= dequeued_ns)?;
    let main = after.main_pid?;
    if main == named
        || before.main_pid != after.main_pid
        || before.invocation_id != after.invocation_id
    {
        return None;
    }
    let name = words::unit(&told.unit?.name);
    let mut found = Finding::new(
        Kind::MainPidRefused,
        Certainty::Inferred,
        format!("the main process of {name} stays {main}: {named} was not accepted"),
    )
    .seen(format!(
        "asked {} after the dequeue: main process {main}, as before",
        words::duration(after.since_ns() - dequeued_ns)
    ));
    let sender = it.sender.as_ref();
    if let Some(sender) = sender
        && sender.namespace_pid.is_some_and(|own| own != sender.pid)
    {
        found = found.seen(
            "the sender is in a pid namespace, where processes have other numbers than the manager's",
        );
    }
    if let Some(credentials) = it.delivery.credentials.filter(|it| it.uid != 0) {
        found = found.seen(format!("it was sent with uid {}", credentials.uid));
    }
    Some(
        found
            .by("the process has to live, and to be in the unit's own cgroup unless root names it (\"New main PID … does not belong to service, refusing\")")
            .helps("name a process of the unit's cgroup, by its number in the manager's pid namespace; for a container, the runtime has to do that"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, unit_state};
    use crate::event::UnitState;
    use crate::unit::UnitKey;

    fn kind(payload: &str, states: &[UnitState]) -> Option<Kind> {
        let key = UnitKey {
            user: None,
            name: "app.service".to_owned(),
        };
        let states: Vec<&UnitState> = states.iter().collect();
        let it = Sample::new(payload).at(5 * S).build();
        let found = refused(&Told {
            notification: &it,
            unit: Some(&key),
            states: &states,
            waiting: &[],
            exited_ns: None,
        });
        found.map(|found| found.kind)
    }

    fn state(at_ns: u64, main_pid: u32) -> UnitState {
        UnitState {
            main_pid: Some(main_pid),
            ..unit_state("app.service", at_ns)
        }
    }

    #[test]
    fn a_main_process_that_stays_was_not_changed() {
        let states = [state(4 * S, 100), state(6 * S, 100)];
        assert_eq!(kind("MAINPID=7", &states), Some(Kind::MainPidRefused));
        assert_eq!(kind("MAINPID=100", &states), None);
        assert_eq!(kind("READY=1", &states), None);
        assert_eq!(kind("MAINPID=x", &states), None);
    }

    #[test]
    fn nothing_is_said_where_something_else_explains_it() {
        // Taken; then another one, or it came to its end.
        assert_eq!(
            kind("MAINPID=7", &[state(4 * S, 100), state(6 * S, 7)]),
            None
        );
        assert_eq!(
            kind("MAINPID=7", &[state(4 * S, 100), state(6 * S, 8)]),
            None
        );
        // On its way while the message was taken: it may be of before.
        let on_its_way = UnitState {
            asked_ns: Some(5 * S - 1),
            ..state(6 * S, 100)
        };
        assert_eq!(kind("MAINPID=7", &[state(4 * S, 100), on_its_way]), None);
        // Asked on one side only.
        assert_eq!(kind("MAINPID=7", &[state(6 * S, 100)]), None);
        assert_eq!(kind("MAINPID=7", &[state(4 * S, 100)]), None);
        let mut anew = state(6 * S, 100);
        anew.invocation_id = Some("b".to_owned());
        assert_eq!(kind("MAINPID=7", &[state(4 * S, 100), anew]), None);
    }
}
