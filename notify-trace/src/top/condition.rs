//! What a unit is doing, and what its messages say of that.

use crate::correlate::message::{number, says};
use crate::event::{Notification, UnitState};

/// What a unit is doing, by its messages and by what its manager says. In the order in which they
/// deserve a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its manager says so.
    Failed,
    /// Its manager waits for it.
    Starting,
    /// It said `RELOADING=1`, and not yet `READY=1`.
    Reloading,
    /// It said `STOPPING=1`, or is being stopped.
    Stopping,
    /// It sends, and none of it tells its state.
    Sending,
    /// It said `READY=1`, or is up.
    Ready,
    /// The same as sending, and it has sent nothing for a minute.
    Quiet,
    /// It is stopped, or what said `STOPPING=1` has exited.
    Stopped,
}

impl Condition {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Starting => "starting",
            Self::Reloading => "reloading",
            Self::Stopping => "stopping",
            Self::Sending => "sending",
            Self::Ready => "ready",
            Self::Quiet => "quiet",
            Self::Stopped => "stopped",
        }
    }

    /// What a manager says.
    #[must_use]
    pub fn of(state: &UnitState) -> Option<Self> {
        let is_bad = state.result.is_some();
        Some(match state.active_state.as_str() {
            "failed" => Self::Failed,
            "activating" if is_bad && state.sub_state == "auto-restart" => Self::Failed,
            "activating" => Self::Starting,
            "active" => Self::Ready,
            "reloading" | "refreshing" => Self::Reloading,
            "deactivating" => Self::Stopping,
            "inactive" if is_bad => Self::Failed,
            "inactive" => Self::Stopped,
            _ => return None,
        })
    }
}

/// What a message says of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Says {
    pub(super) is_ready: bool,
    pub(super) is_reloading: bool,
    pub(super) is_stopping: bool,
    pub(super) is_ping: bool,
    pub(super) watchdog_usec: Option<u64>,
    pub(super) pid: Option<u32>,
}

impl Says {
    /// What a notification says.
    #[must_use]
    pub fn of(it: &Notification) -> Self {
        Self {
            is_ready: says(it, "READY"),
            is_reloading: says(it, "RELOADING"),
            is_stopping: says(it, "STOPPING"),
            is_ping: says(it, "WATCHDOG"),
            watchdog_usec: number(it, "WATCHDOG_USEC"),
            pid: it.sender.as_ref().map(|sender| sender.pid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{Sample, unit_state};

    #[test]
    fn a_unit_that_is_restarted_after_a_failure_has_failed() {
        let of = |active: &str, sub: &str, result: Option<&str>| {
            let mut state = unit_state("a.service", 1);
            active.clone_into(&mut state.active_state);
            sub.clone_into(&mut state.sub_state);
            state.result = result.map(str::to_owned);
            Condition::of(&state)
        };
        assert_eq!(of("activating", "start", None), Some(Condition::Starting));
        let restarted = of("activating", "auto-restart", Some("watchdog"));
        assert_eq!(restarted, Some(Condition::Failed));
        assert_eq!(of("inactive", "dead", None), Some(Condition::Stopped));
        assert_eq!(of("maintenance", "", None), None);
    }

    #[test]
    fn a_message_says_what_its_lines_say() {
        let says = Says::of(&Sample::new("RELOADING=1\nWATCHDOG_USEC=7").build());
        assert!(says.is_reloading && !says.is_ready && !says.is_ping);
        assert_eq!((says.watchdog_usec, says.pid), (Some(7), Some(100)));
    }
}
