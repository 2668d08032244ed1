//! The notify sockets that exist now, and the processes that were told to use one.
//!
//! ```text
//! /proc ──▶ processes ──▶ namespaces ──┬─ diag ──┬─▶ bound ──▶ matching ──▶ tree ──▶ report ──▶ render
//!                                      └─ table ─┘               files ─┘
//! ```
//!
//! Nothing is attached to what others call and nothing is changed; what may not be seen is said. This
//! module owns the report's types, whose serde names are the format that `docs/sockets.md` describes;
//! `look` makes one of them, of one moment that lasts as long as the look does.

pub mod bound;
pub mod diag;
pub mod environment;
pub mod files;
pub mod look;
pub mod matching;
pub mod namespaces;
pub mod processes;
pub mod render;
pub mod table;
pub mod tree;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Address, Attribution, Blob, SocketRule};
use matching::Reason;

/// Version of the format. Within one version fields are only added.
pub const FORMAT_VERSION: u32 = 1;

/// Everything that was found. An unknown fact is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the format, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// When the look began.
    pub time: Timestamp,
    /// The rules that select sockets by name, the first match deciding.
    pub rules: Vec<SocketRule>,
    /// The notify sockets: those that a rule selects or a process's `NOTIFY_SOCKET` points at.
    pub sockets: Vec<Socket>,
    /// Values of `NOTIFY_SOCKET` that are none of these sockets.
    pub unresolved: Vec<Unresolved>,
    /// Processes with `WATCHDOG_USEC` and without `NOTIFY_SOCKET`.
    pub without_socket: Vec<Process>,
    /// The network namespaces that were looked into.
    pub network_namespaces: Vec<NetworkNamespace>,
    /// Those that could not be entered.
    pub skipped: Vec<Skipped>,
    /// How many processes could not be looked at.
    pub unreadable: Unreadable,
    /// What else limits the view, each a sentence.
    pub warnings: Vec<String>,
}

impl Report {
    /// Where the processes of the report belong.
    fn attributions(&mut self) -> impl Iterator<Item = &mut Option<Attribution>> {
        let Self {
            sockets,
            unresolved,
            without_socket,
            ..
        } = self;
        let of_sockets = sockets.iter_mut().flat_map(|socket| {
            let owners = socket.owners.iter_mut().map(|it| &mut it.attribution);
            let processes = socket.processes.iter_mut().map(|it| &mut it.attribution);
            owners.chain(processes)
        });
        let others = unresolved
            .iter_mut()
            .flat_map(|it| &mut it.processes)
            .chain(without_socket)
            .map(|process| &mut process.attribution);
        of_sockets.chain(others)
    }
}

/// A notify socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    /// Its address, as it was bound.
    pub address: Address,
    /// Kind of notify socket, by the rule that selects it; `environment` if only a process does.
    pub class: String,
    /// The pattern of that rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Its inode number, as in `/proc/PID/fd`.
    pub inode: u64,
    /// Inode number of its network namespace.
    pub network_namespace: u64,
    /// The user that created it, as seen from our user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Datagrams in its queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<u32>,
    /// Bytes of the first of them; 0 if there is none, or an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_datagram_bytes: Option<u32>,
    /// The processes that have it open.
    pub owners: Vec<Owner>,
    /// The processes whose `NOTIFY_SOCKET` it is, in the order of a forest.
    pub processes: Vec<Process>,
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its id.
    pub pid: u32,
    /// Its `comm`.
    pub comm: Blob,
    /// Where it belongs, by its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
}

/// A process that was given a notify socket or a watchdog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent_pid: u32,
    /// How many of its ancestors stand above it in the same list, the nearest right above.
    pub depth: u32,
    /// Its `comm`.
    pub comm: Blob,
    /// Where it belongs, by its cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<Attribution>,
    /// Inode number of its network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_namespace: Option<u64>,
    /// Its `NOTIFY_SOCKET`, as it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_socket: Option<Blob>,
    /// Its watchdog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
}

/// What a process was told of a watchdog (sd_watchdog_enabled(3)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watchdog {
    /// `WATCHDOG_USEC`, in µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usec: Option<u64>,
    /// `WATCHDOG_USEC`, where it is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<Blob>,
    /// `WATCHDOG_PID`, in the process's own pid namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whether it is meant for this very process, and not inherited from the one it is meant for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applies: Option<bool>,
}

/// A value of `NOTIFY_SOCKET` that is none of the sockets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unresolved {
    /// The value, as it stands in the environment.
    pub notify_socket: Blob,
    /// Why it is none.
    pub reason: Reason,
    /// For an abstract name: inode number of the network namespace in which it means something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_namespace: Option<u64>,
    /// The processes that have it, in the order of a forest.
    pub processes: Vec<Process>,
}

/// A network namespace that was looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkNamespace {
    /// Its inode number.
    pub inode: u64,
    /// It is our own.
    pub is_own: bool,
    /// How many processes are in it.
    pub processes: u32,
    /// Where its sockets were listed; absent if they could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Why `unix_diag` did not list them, though the namespace was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_diag: Option<String>,
}

/// Where sockets were listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `NETLINK_SOCK_DIAG` with `unix_diag`.
    Diag,
    /// `/proc/PID/net/unix` of a process there: no queue, no user, no file.
    Table,
}

/// A network namespace that could not be entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its inode number.
    pub network_namespace: u64,
    /// A process in it.
    pub pid: u32,
    /// Why not.
    pub reason: String,
}

/// How many processes could not be looked at for lack of privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Processes whose environment may not be read.
    pub environments: u32,
    /// Processes whose descriptors may not be listed.
    pub descriptors: u32,
    /// Processes whose network namespace may not be looked at.
    pub network_namespaces: u32,
}
