//! What really happened, written down by those who did it: the senders' calls with their results,
//! and every byte that the receivers read. Knows nothing of the agent.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most payload bytes that are written down, and that the agent shows.
pub const PAYLOAD_MAX: usize = 4096;

/// Bytes; in base64 where they are written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Everything that happened in a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// The processes that sent, as they were.
    pub processes: Vec<Process>,
    /// Every attempt to send to a socket that is to be shown.
    pub sends: Vec<Send>,
    /// Every connect to such a socket that failed.
    pub connects: Vec<Connect>,
    /// Every socket that is to be shown.
    pub receivers: Vec<Receiver>,
    /// All process ids of the case.
    pub pids: Vec<u32>,
    /// Numbers that only this case knows the meaning of.
    pub marks: BTreeMap<String, u64>,
}

/// A process, as `/proc` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id in the initial pid namespace.
    pub pid: u32,
    /// Id of its parent, which is looked up when it sends.
    pub parent_pid: u32,
    /// Real user id.
    pub uid: u32,
    /// Real group id.
    pub gid: u32,
    /// Its id in its own pid namespace.
    pub namespace_pid: u32,
    /// Inode number of that namespace.
    pub pid_namespace: u64,
    /// Start, in hundredths of a second since boot.
    pub start_ticks: u64,
    /// Its cgroup of the v2 hierarchy, if one is mounted.
    pub cgroup: Option<Cgroup>,
    /// `comm` of the process.
    pub comm: Bytes,
    /// `/proc/PID/exe`.
    pub executable: Bytes,
    /// `/proc/PID/cmdline`.
    pub command_line: Vec<Bytes>,
    /// What is to be said of its cgroup, as JSON; none: what holds for every case's own cgroup.
    pub attribution: Option<serde_json::Value>,
    /// It is gone, or another process has its pid, when the agent gets to look at it.
    pub is_gone: bool,
}

/// A cgroup of the v2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Inode number of its folder.
    pub id: u64,
    /// Path below the hierarchy's root.
    pub path: String,
}

/// One call that sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// Who sends; index into [`Truth::processes`].
    pub process: usize,
    /// The thread; none if the kernel lends one of its own.
    pub tid: Option<u32>,
    /// `comm` that is to be shown.
    pub comm: Bytes,
    /// A worker of `io_uring` acts.
    pub io_uring_worker: bool,
    /// Inode number of the socket.
    pub socket_inode: u64,
    /// The address as it was written, or the peer's.
    pub destination: Destination,
    /// Inode number of the receiver, if there is one.
    pub receiver: Option<u64>,
    /// At most the first [`PAYLOAD_MAX`] bytes; none if only the receiver knows what it was.
    pub payload: Option<Bytes>,
    /// Bytes of the whole datagram.
    pub length: u32,
    /// The call got as far as to copy it.
    pub is_copied: bool,
    /// Descriptors that go with it.
    pub fds: u32,
    /// Credentials that it claims.
    pub claimed: Option<Credentials>,
    /// What the call returned: bytes, or a positive error number.
    pub result: Result<u32, i32>,
    /// Before the call, `CLOCK_MONOTONIC`.
    pub before_ns: u64,
    /// After it.
    pub after_ns: u64,
    /// What becomes of it.
    pub fate: Fate,
    /// It repeats the refused attempt before it.
    pub is_repetition: bool,
    /// Whether the process that the receiver is told of is there when it reads; none: either.
    pub sender_present: Option<bool>,
    /// Only the address that the sender writes makes it one to be shown.
    pub is_selected_by_destination_only: bool,
    /// It has to wait for room in the queue.
    pub is_blocked: bool,
    /// Other senders compete: only without competition is every plan to know every result.
    pub is_contended: bool,
}

/// Where a datagram is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The address.
    pub address: Bytes,
    /// It is that of the connected peer.
    pub is_connected: bool,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The receiver reads it.
    Delivered,
    /// The receiver's filter leaves so many bytes of it, and the receiver reads them.
    Trimmed(u32),
    /// The call fails.
    Failed,
    /// The receiver's filter drops it.
    Filtered,
    /// The receiver is closed without reading it.
    Destroyed,
}

/// A `connect` that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// Who connects; index into [`Truth::processes`].
    pub process: usize,
    /// Inode number of the socket.
    pub socket_inode: u64,
    /// The address as it was written.
    pub address: Bytes,
    /// A positive error number.
    pub errno: i32,
    /// Before the call.
    pub before_ns: u64,
    /// After it.
    pub after_ns: u64,
}

/// A socket that is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Its inode number.
    pub inode: u64,
    /// The address that it was bound to.
    pub address: Bytes,
    /// The process that reads and closes it.
    pub pid: u32,
    /// It asked to be told who sends.
    pub is_told: bool,
    /// What it read, in order.
    pub receipts: Vec<Receipt>,
    /// The agent was asked for other processes than the one that closes it.
    #[serde(default)]
    pub is_end_hidden: bool,
}

/// One datagram as the receiver got it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// At most the first [`PAYLOAD_MAX`] bytes.
    pub payload: Bytes,
    /// Bytes of the whole.
    pub length: u32,
    /// Who it was told had sent it.
    pub credentials: Option<Credentials>,
    /// Descriptors that came along.
    pub fds: u32,
    /// Before the call that read it.
    pub before_ns: u64,
    /// After it.
    pub after_ns: u64,
}

/// A process, a user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Process id.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Truth {
    /// Adds what another process of the case wrote down.
    pub fn absorb(&mut self, other: Self) {
        let Self {
            processes,
            sends,
            connects,
            receivers,
            pids,
            marks,
        } = other;
        let shift = self.processes.len();
        self.processes.extend(processes);
        self.sends.extend(sends.into_iter().map(|send| Send {
            process: send.process + shift,
            ..send
        }));
        self.connects
            .extend(connects.into_iter().map(|connect| Connect {
                process: connect.process + shift,
                ..connect
            }));
        self.receivers.extend(receivers);
        self.pids.extend(pids);
        self.marks.extend(marks);
    }

    /// What is left if only these processes' datagrams are looked at.
    pub fn only_from(mut self, pids: &[u32]) -> Self {
        let processes = &self.processes;
        self.sends
            .retain(|send| pids.contains(&processes[send.process].pid));
        self.connects
            .retain(|connect| pids.contains(&processes[connect.process].pid));
        for receiver in &mut self.receivers {
            receiver
                .receipts
                .retain(|receipt| receipt.credentials.is_some_and(|it| pids.contains(&it.pid)));
        }
        self
    }

    /// What is left if only receivers with such a name are looked at.
    pub fn only_to(mut self, is_wanted: impl Fn(&[u8]) -> bool) -> Self {
        self.receivers
            .retain(|receiver| is_wanted(&receiver.address.0));
        self.sends
            .retain(|send| is_wanted(&send.destination.address.0));
        self
    }

    /// A number that the case noted, 0 if it didn't.
    pub fn mark(&self, name: &str) -> u64 {
        self.marks.get(name).copied().unwrap_or(0)
    }
}

/// The beginning of a payload that is written down.
pub fn head(payload: &[u8]) -> Bytes {
    Bytes(payload[..payload.len().min(PAYLOAD_MAX)].to_vec())
}
