//! Processes: who they are, where they belong, and their ends.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Blob;

/// A process, as it was at the moment the record speaks of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// `comm`: the thread's, or the process's if an `io_uring` worker acted for it.
    pub comm: Blob,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Process id of the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_pid: Option<u32>,
    /// Process id in the process's own pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_pid: Option<u32>,
    /// Inode number of that namespace (`/proc/PID/ns/pid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_namespace: Option<u32>,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_boottime_ns: Option<u64>,
    /// Its cgroup v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// An `io_uring` worker thread acted for the process.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub io_uring_worker: bool,
    /// Where it belongs: what its cgroup's path says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Arc<Attribution>>,
    /// What `/proc` said of it, not at the moment of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub later: Option<Arc<Later>>,
}

/// A cgroup of the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cgroup {
    /// Its id, the inode number of its directory.
    pub id: u64,
    /// Its path below the hierarchy's root, as it was when it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Blob>,
}

/// Where a process belongs, read from its cgroup's path by systemd's and the container runtimes' own
/// rules for naming cgroups. What the path doesn't say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attribution {
    /// The unit of the host's systemd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The slice that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// The user whose slice or service manager that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The unit of that user's service manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_unit: Option<Unit>,
    /// The slice of that user's service manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_slice: Option<String>,
    /// The login session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The machine, a container or a VM, as systemd-machined calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The container, the innermost one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The pod, of Kubernetes or of podman.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// All this is of the path under `later`: the path at the moment of the record said nothing, or
    /// is not known.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub is_later: bool,
}

/// A unit of a systemd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unit {
    /// Its name, as `systemctl` takes it.
    pub name: String,
    /// The template that it is an instance of, such as `getty@.service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The instance, unescaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Blob>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Container {
    /// Its id, as the runtime gave it.
    pub id: String,
    /// Who runs it, where the path tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Its name, read from the runtime's own state on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The process is not in the container but watches over it: conmon, the monitor of lxc, the
    /// supervisor of nspawn.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub is_monitor: bool,
    /// The unit of a systemd that runs inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The container that this one runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outer: Option<Box<Self>>,
}

/// Who runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd, for Kubernetes or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// podman.
    Podman,
    /// systemd-nspawn.
    Nspawn,
    /// LXC, LXD, Incus.
    Lxc,
    /// runc, called directly.
    Runc,
    /// crun, called directly.
    Crun,
    /// youki, called directly.
    Youki,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pod {
    /// Its uid (Kubernetes), or its id (podman).
    pub uid: String,
    /// Its class of service in Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<Qos>,
    /// Its name, read from the runtime's own state on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace, read likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A pod's class of service in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Qos {
    /// Every container has limits that equal its requests.
    Guaranteed,
    /// Some have.
    Burstable,
    /// None has.
    BestEffort,
}

/// What `/proc` said of a process. It is of that very process (pid and start agree), but of another
/// moment than the record, as a rule shortly after: it may have executed another program in between,
/// or been moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Later {
    /// `/proc/PID/exe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Blob>,
    /// `/proc/PID/cmdline`, at most its first 4096 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command_line: Vec<Blob>,
    /// The cgroup that says most, where the v2 path at the moment of the record says too little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<LaterCgroup>,
}

/// A line of `/proc/PID/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LaterCgroup {
    /// The hierarchy: `name=systemd`, a list of v1 controllers, or empty for v2.
    pub hierarchy: String,
    /// The path in it.
    pub path: Blob,
}

/// A process, a user and a group, as `SCM_CREDENTIALS` (unix(7)) carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Credentials {
    /// Process id.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A process that had sent a notification exited. Its pid may live on as a zombie's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Exit {
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When its last thread exited.
    pub monotonic_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Start of the process, `CLOCK_BOOTTIME` ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_boottime_ns: Option<u64>,
}
