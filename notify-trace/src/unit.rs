//! Which unit of which service manager a process is of: the key by which facts about units, and
//! conclusions, are found again.

use crate::event::{Attribution, Process, UnitState};

/// A unit of the system's manager, or of a user's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitKey {
    /// The user whose manager it is; `None`: the system's.
    pub user: Option<u32>,
    /// Its name.
    pub name: String,
}

impl UnitKey {
    /// The unit that the manager who was told finds the process in.
    ///
    /// A user's manager is told on a socket of its own, so the class decides.
    #[must_use]
    pub fn of(is_of: &Attribution, class: &str) -> Option<Self> {
        if class == USER_CLASS {
            let unit = is_of.user_unit.as_ref()?;
            return Some(Self {
                user: is_of.user,
                name: unit.name.clone(),
            });
        }
        let unit = is_of.unit.as_ref()?;
        Some(Self {
            user: None,
            name: unit.name.clone(),
        })
    }

    /// The same for the sender of a notification.
    #[must_use]
    pub fn of_sender(sender: Option<&Process>, class: &str) -> Option<Self> {
        Self::of(sender?.attribution.as_deref()?, class)
    }

    /// The unit that a manager speaks of.
    #[must_use]
    pub fn of_state(state: &UnitState) -> Self {
        Self {
            user: state.user,
            name: state.unit.clone(),
        }
    }

    /// Whether it is a service: other units take no notifications.
    #[must_use]
    pub fn is_service(&self) -> bool {
        is_service(&self.name)
    }
}

/// Whether a unit of this name is a service.
#[must_use]
pub fn is_service(name: &str) -> bool {
    name.ends_with(".service")
}

/// Whether the unit is up only when it has said so.
#[must_use]
pub fn must_say_ready(state: &UnitState) -> bool {
    matches!(
        state.service_type.as_deref(),
        Some("notify" | "notify-reload")
    )
}

/// Whether its main process is being waited for.
#[must_use]
pub fn is_starting(state: &UnitState) -> bool {
    state.active_state == "activating" && state.sub_state == "start"
}

/// Class of the system manager's socket.
pub const SYSTEM_CLASS: &str = "systemd";
/// Class of the sockets of users' managers.
pub const USER_CLASS: &str = "systemd-user";

/// Whether the receiver of a notification is a service manager of systemd.
#[must_use]
pub fn is_to_manager(class: &str) -> bool {
    class == SYSTEM_CLASS || class == USER_CLASS
}
