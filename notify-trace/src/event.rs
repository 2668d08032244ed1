//! The public, versioned types: what every output, text or JSON, is made of.
//!
//! The serde names here are the format (`docs/events.md` explains each field, `docs/event.schema.json`
//! is generated from these types). An unknown fact is absent, never guessed and never `null`. Owns
//! no behaviour but the spelling of bytes and the key of a line; decoding, joining and printing are
//! elsewhere.
//!
//! Times ending in `_ns` are `CLOCK_MONOTONIC` nanoseconds of the traced host, so they compare with
//! each other and with `MONOTONIC_USEC=`; `time` is wall time by the clock's offset when the record
//! was read.

mod unit_state;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::unit_state::{UnitProcess, UnitState};

/// Version of the format. Within one version fields are only added.
pub const FORMAT_VERSION: u32 = 1;

/// One line of output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// First of every output: what is traced, how, since when.
    Session(Box<Session>),
    /// A datagram that a process sent, or tried to send, to a notify socket.
    Send(Box<Notification>),
    /// What became known of an earlier `send` after it was passed on as pending.
    Update(Box<Update>),
    /// `connect(2)` to a notify socket failed: no datagram was ever sent.
    ConnectFailed(Box<ConnectFailed>),
    /// A notify socket was closed for good.
    ReceiverClosed(Box<ReceiverClosed>),
    /// A process that had sent a notification exited.
    Exit(Exit),
    /// What a service manager says of a unit that has to do with notifications.
    Unit(Box<UnitState>),
    /// Something was lost since the last such line.
    Loss(Loss),
    /// Last of every output: counts, loss included.
    Summary(Box<Summary>),
}

/// A datagram and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Notification {
    /// Number of the datagram in this output; an `update` refers to it.
    pub id: u64,
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The earliest moment known of it: the send call's entry, else its dequeue.
    pub monotonic_ns: u64,
    /// The process that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Process>,
    /// Inode number of the socket it was sent from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_inode: Option<u64>,
    /// Where the sender wanted it to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// The socket that it arrived at or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Receiver>,
    /// Kind of notify socket, by the rule that selected it, such as `systemd` or `runc`.
    pub class: String,
    /// Bytes of the datagram.
    pub length_bytes: u32,
    /// The payload, at most its first 4096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Blob>,
    /// The payload is longer than what is shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// The payload's lines in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// What a receiver that follows the protocol will object to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<Defect>,
    /// File descriptors passed with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fds: Option<u32>,
    /// Credentials that the sender attached itself (`SCM_CREDENTIALS`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Credentials>,
    /// What the send call returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<SendResult>,
    /// What became of it.
    pub delivery: Delivery,
    /// The failed attempt (its `id`) that this one repeats: libsystemd sends again without
    /// credentials when the kernel refuses the claimed ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<u64>,
    /// When what happened.
    pub timing: Timing,
    /// Facts that this output can't give for this datagram, and why they are absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unknown>,
}

/// A later fact about a `send`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Update {
    /// The `send` that it completes.
    pub id: u64,
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When the new fact came about.
    pub monotonic_ns: u64,
    /// The sender, if it became known only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Process>,
    /// The receiver, if it became known only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Receiver>,
    /// The result, if it became known only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<SendResult>,
    /// What is known of the delivery now.
    pub delivery: Delivery,
    /// All times known now.
    pub timing: Timing,
}

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
    #[serde(default, skip_serializing_if = "is_false")]
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
    #[serde(default, skip_serializing_if = "is_false")]
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
    #[serde(default, skip_serializing_if = "is_false")]
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

/// Where a datagram was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Destination {
    /// The address as the sender wrote it; the peer's if the socket was connected.
    pub address: Address,
    /// The sender had connected its socket and gave no address.
    pub connected: bool,
}

/// A receiving socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receiver {
    /// Its inode number, as in `/proc/net/unix`.
    pub inode: u64,
    /// Its address, as the process that bound it wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Datagrams that waited in its queue when this one was about to be queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<u32>,
}

/// What the send call returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SendResult {
    /// The number of bytes accepted.
    SentBytes(u32),
    /// It failed.
    Failed(Errno),
}

/// An error number and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Errno {
    /// The number, positive.
    pub errno: i32,
    /// Its name, such as `ECONNREFUSED`, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What became of a datagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Delivery {
    /// The short answer.
    pub state: DeliveryState,
    /// The process that took it out of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader: Option<Process>,
    /// Bytes that the receiver got, where they are fewer than were sent (its filter trims).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trimmed_to_bytes: Option<u32>,
    /// The credentials that the receiver is told: by these systemd finds the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Whether the process of those credentials was still there at the dequeue, be it as a zombie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_present: Option<bool>,
    /// Datagrams left in the queue after it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_in_queue: Option<u32>,
}

/// The short answer to what became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The receiver took it out of its queue.
    Delivered,
    /// The send call failed.
    Failed,
    /// Nothing is known of it yet: the sender may wait for room in the queue.
    Sending,
    /// It is in the receiver's queue, or was when this was written.
    Queued,
    /// The send call succeeded, but the receiver's socket filter had dropped the datagram.
    Filtered,
    /// The receiver was closed with the datagram in its queue.
    Destroyed,
    /// It was sent or queued, but what came of it can't be known any more.
    Unknown,
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

/// When what happened to a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Timing {
    /// The send call was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_ns: Option<u64>,
    /// It was put into the receiver's queue: the last try, if the sender had to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_ns: Option<u64>,
    /// The send call returned. The receiver may have read the datagram before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned_ns: Option<u64>,
    /// The receiver took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dequeued_ns: Option<u64>,
    /// How often the sender tried to queue it, where it had to wait for room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_tries: Option<u32>,
}

/// One line of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Line {
    /// `KEY=VALUE`.
    Assignment {
        /// What stands before the first `=`.
        key: Blob,
        /// What stands after it.
        value: Blob,
    },
    /// A line without `=`, or with nothing before it: receivers ignore it.
    Other {
        /// The line.
        text: Blob,
    },
    /// A line whose value is withheld (`--redact`, `--keys-only`).
    Redacted {
        /// What stands before the first `=`; absent if that is withheld too.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<Blob>,
        /// Bytes that are withheld.
        redacted_bytes: u64,
    },
}

impl Line {
    /// What stands before the first `=`, where that is known.
    #[must_use]
    pub const fn key(&self) -> Option<&Blob> {
        match self {
            Self::Assignment { key, .. } | Self::Redacted { key: Some(key), .. } => Some(key),
            Self::Other { .. } | Self::Redacted { key: None, .. } => None,
        }
    }
}

/// What a receiver that follows the protocol will object to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// Longer than 4096 bytes: systemd drops it whole.
    TooLong,
    /// A NUL byte before the end: systemd drops it whole. One trailing NUL is tolerated.
    EmbeddedNul,
    /// No byte at all.
    Empty,
    /// No line is an assignment.
    NoAssignment,
    /// A value that must be UTF-8 (`STATUS=`) is not: systemd ignores the assignment.
    StatusNotUtf8,
    /// `BARRIER=1` together with other assignments, or with other than one file descriptor:
    /// systemd ignores the datagram.
    MalformedBarrier,
}

/// Why a fact is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Who sent it: this plan sees datagrams at the receiver.
    Sender,
    /// The sender is the task that sent through the same socket before: this plan can't see the
    /// send itself.
    SenderAtThisSend,
    /// The address as the sender wrote it.
    Destination,
    /// What the send call returned: its return was missed or this plan can't see it.
    Result,
    /// When it was sent.
    SendTimes,
    /// The payload: kernel memory that held it could not be read.
    Payload,
    /// The payload: the call failed before the kernel copied any byte, so nothing was sent.
    PayloadNeverCopied,
    /// The payload: it was withheld (`--redact`, `--keys-only`).
    PayloadRedacted,
    /// Whether credentials were claimed.
    Claimed,
    /// How many file descriptors were passed.
    Fds,
    /// The receiving socket's name: the record that carries it was lost.
    ReceiverAddress,
}

/// `connect(2)` to a notify socket failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConnectFailed {
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When the call returned.
    pub monotonic_ns: u64,
    /// Who connected.
    pub sender: Process,
    /// Inode number of the connecting socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_inode: Option<u64>,
    /// The address as it was written.
    pub address: Address,
    /// Kind of notify socket, by the rule that selected the address.
    pub class: String,
    /// Why it failed.
    pub error: Errno,
}

/// A notify socket was closed for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceiverClosed {
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When it was closed.
    pub monotonic_ns: u64,
    /// Who closed it.
    pub closer: Process,
    /// The socket; its `queue_length` counts the datagrams destroyed unread with it.
    pub receiver: Receiver,
    /// Kind of notify socket.
    pub class: String,
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

/// Losses by cause. A `loss` event counts those since the last one, the summary all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Losses {
    /// Records that a kernel program could not write because a CPU's ring was full: the reader
    /// was too slow or the ring too small (`--ring-size`).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ring_full: u64,
    /// Records that had no ring to go to: a CPU that had just come up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub no_ring: u64,
    /// Send calls that could not be followed because too many were in flight at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls_full: u64,
    /// Datagrams whose dequeue will not be recognised because too many were queued at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queued_full: u64,
    /// Datagrams whose payload could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// Calls whose end no program saw: what became of them is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returns_missed: u64,
    /// Datagrams left out because an option such as `--pid` or `--unit` asked who sent them, which was
    /// not known (yet).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undecided: u64,
    /// Program runs that the kernel skipped; absent where the kernel doesn't count them. Not a loss
    /// by itself: most are of traffic that isn't selected, or made good by a second program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs_skipped: Option<u64>,
    /// Records that could not be decoded: a defect of notify-trace.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undecodable: u64,
    /// Notifications evicted from the join table before all was known of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub join_evicted: u64,
}

impl Losses {
    /// Whether anything was lost at all.
    #[must_use]
    pub fn any(&self) -> bool {
        let Self {
            ring_full,
            no_ring,
            calls_full,
            queued_full,
            unreadable,
            returns_missed,
            undecided,
            programs_skipped: _,
            undecodable,
            join_evicted,
        } = *self;
        ring_full
            + no_ring
            + calls_full
            + queued_full
            + unreadable
            + returns_missed
            + undecided
            + undecodable
            + join_evicted
            > 0
    }
}

/// Something was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Loss {
    /// When it was noticed.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// What, since the last such event.
    pub losses: Losses,
}

/// The first event of every output; it is written when everything is attached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Session {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of notify-trace.
    pub tool_version: String,
    /// Its command line.
    pub command_line: Vec<String>,
    /// When everything was attached and had passed the self-test.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The same moment.
    pub monotonic_ns: u64,
    /// Host name (`uname -n`).
    pub host: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Architecture (`uname -m`).
    pub machine: String,
    /// `/proc/sys/kernel/random/boot_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// CPUs whose rings are read.
    pub cpus: u32,
    /// Bytes of each CPU's ring.
    pub ring_bytes: u64,
    /// The plan that was chosen.
    pub plan: Plan,
    /// The rules that select sockets.
    pub rules: Vec<SocketRule>,
    /// What of it is shown: options such as `unit=nginx.service`, `redact=STATUS`. Those of one
    /// name are alternatives, different ones must all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub view: Vec<String>,
    /// What is not as one would wish, each a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How the kernel is traced, and why so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Plan {
    /// Which of the three.
    pub name: PlanName,
    /// Why this one.
    pub reason: String,
    /// What this plan can't know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Program name to what it hangs on, for each program attached.
    pub programs: BTreeMap<String, String>,
}

/// The three plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlanName {
    /// kprobes, and a trampoline beside the return probe on the send call.
    Full,
    /// kprobes only: results may be missed while many senders are blocked.
    NoTrampolines,
    /// Raw tracepoints only: datagrams are seen when they are received.
    Tracepoints,
}

/// A rule that selects sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SocketRule {
    /// The kind of socket that it stands for.
    pub class: String,
    /// The glob that an address must match, or the socket's inode number.
    pub matches: String,
}

/// The last event of every output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// When tracing ended.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The same moment.
    pub monotonic_ns: u64,
    /// Notifications passed on.
    pub notifications: u64,
    /// Of these: delivered.
    pub delivered: u64,
    /// Of these: failed.
    pub failed: u64,
    /// Of these: dropped by the receiver's socket filter.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub filtered: u64,
    /// Of these: destroyed unread with their receiver.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub destroyed: u64,
    /// Of these: none of that, as far as was known when tracing ended.
    pub open: u64,
    /// Failed connects.
    pub connect_failed: u64,
    /// Notifications and failed connects besides, that were left out because options such as
    /// `--unit` asked for others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// Records that the kernel programs tried to write.
    pub records_attempted: u64,
    /// Records read.
    pub records_received: u64,
    /// All that was lost.
    pub losses: Losses,
}

/// An address of a unix socket: the bytes of `sun_path`.
///
/// Written as a path, or as `@` and the name for an abstract address (the notation of
/// `NOTIFY_SOCKET=`; NULs in the name stay). What can't be written so without doubt (not UTF-8, or
/// a path that itself begins with `@`) is written as an object with the raw bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub Vec<u8>);

impl Address {
    /// The spelling that `NOTIFY_SOCKET=` would use, if there is one without doubt.
    #[must_use]
    pub fn spelling(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.0).ok()?;
        match text.strip_prefix('\0') {
            Some(name) => Some(format!("@{name}")),
            None if text.starts_with('@') => None,
            None => Some(text.to_owned()),
        }
    }

    /// The opposite of [`Self::spelling`].
    #[must_use]
    pub fn from_spelling(text: &str) -> Self {
        match text.strip_prefix('@') {
            Some(name) => Self([b"\0", name.as_bytes()].concat()),
            None => Self(text.as_bytes().to_vec()),
        }
    }
}

/// Bytes that are text as a rule: written as a string if they are UTF-8, else as an object with
/// the bytes in base64. Nothing is lost either way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blob(pub Vec<u8>);

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// How bytes are written: as text or, where they aren't text, in base64.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
enum Spelling {
    /// The bytes are UTF-8.
    Text(String),
    /// They are not.
    Raw {
        /// The bytes.
        base64: String,
    },
}

impl Spelling {
    fn raw(bytes: &[u8]) -> Self {
        Self::Raw {
            base64: BASE64.encode(bytes),
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Spelling::raw(&self.0).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Spelling::deserialize(deserializer)? {
            Spelling::Text(text) => Ok(Self(text.into_bytes())),
            Spelling::Raw { base64 } => BASE64
                .decode(base64)
                .map(Self)
                .map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.spelling() {
            Some(text) => serializer.serialize_str(&text),
            None => Spelling::raw(&self.0).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Spelling::deserialize(deserializer)? {
            Spelling::Text(text) => Ok(Self::from_spelling(&text)),
            Spelling::Raw { base64 } => BASE64
                .decode(base64)
                .map(Self)
                .map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Blob {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Blob".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Spelling::json_schema(generator)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Spelling::json_schema(generator)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
