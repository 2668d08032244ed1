//! What a service manager says of a unit: the facts by which it accepts or refuses notifications.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Blob;

/// What a service manager answered when it was asked about a unit (`org.freedesktop.systemd1(5)`).
///
/// It is of the moment of the answer, not of that of any notification. Times the manager itself
/// gives are its own, not seen by us. Names in `snake_case` are those of its properties; what does
/// not apply, is unlimited, or is not known to that version is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnitState {
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When the answer had come.
    pub monotonic_ns: u64,
    /// When the question was asked: what it says was so at some moment between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_ns: Option<u64>,
    /// The user whose manager that is; absent: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The manager's `Version`, such as `257.13-1~deb13u1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager_version: Option<String>,
    /// `Id`: its name.
    pub unit: String,
    /// `ActiveState`, such as `activating`.
    pub active_state: String,
    /// `SubState`, such as `start`.
    pub sub_state: String,
    /// `Result`, where it isn't `success`: `timeout`, `protocol`, `watchdog`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// `Type`, such as `notify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// `NotifyAccess`: `none`, `main`, `exec` or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_access: Option<String>,
    /// `MainPID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<u32>,
    /// `ControlPID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_pid: Option<u32>,
    /// `InvocationID`, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// `ControlGroup`: its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_group: Option<Blob>,
    /// `TimeoutStartUSec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_start_usec: Option<u64>,
    /// `TimeoutStopUSec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_stop_usec: Option<u64>,
    /// `WatchdogUSec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_usec: Option<u64>,
    /// `FileDescriptorStoreMax`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_store_max: Option<u32>,
    /// `NFileDescriptorStore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_store_count: Option<u32>,
    /// `NRestarts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// `InactiveExitTimestampMonotonic`: when it began to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inactive_exit_ns: Option<u64>,
    /// `ActiveEnterTimestampMonotonic`: when it was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_enter_ns: Option<u64>,
    /// `ExecMainStartTimestampMonotonic`: when its main process was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_start_ns: Option<u64>,
    /// `RootDirectory` or `RootImage` is set: its processes see other paths than the host.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub has_own_root: bool,
    /// Its processes, where the unit is still starting: what they do instead of saying `READY=1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<UnitProcess>,
}

impl UnitState {
    /// When it was asked for: of that moment or a later one.
    #[must_use]
    pub fn since_ns(&self) -> u64 {
        self.asked_ns.unwrap_or(self.monotonic_ns)
    }
}

/// A process of a unit, as `/proc` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnitProcess {
    /// Process id.
    pub pid: u32,
    /// `/proc/PID/comm`.
    pub comm: Blob,
    /// Its state as `/proc/PID/stat` has it: `S` sleeps, `D` waits uninterruptibly, `T` is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<char>,
    /// `/proc/PID/wchan`: the kernel function in which it sleeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wchan: Option<String>,
    /// Its `NOTIFY_SOCKET`, from the environment that it was started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_socket: Option<Blob>,
}
