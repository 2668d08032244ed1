//! What the kernel programs write to the perf rings: a [`Header`], the rest of the struct its kind
//! names, and a tail where that struct says so.
//!
//! All times are `CLOCK_MONOTONIC` nanoseconds (`bpf_ktime_get_ns`) unless a name says otherwise.
//! All pids are those of the initial pid namespace unless a name says otherwise. An inode number
//! of 0 is "unknown": sockfs numbers start at 1.

use crate::address::Address;
use crate::limits::COMM_LEN;

macro_rules! wire {
    ($size:literal, $(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(
            zerocopy::FromBytes, zerocopy::Immutable, zerocopy::IntoBytes, zerocopy::KnownLayout,
        ))]
        #[repr(C)]
        pub struct $name { $($body)* }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

/// The kinds of record; [`Header::kind`] holds one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// [`Send`], then `captured` payload bytes.
    Send = 1,
    /// [`Outcome`].
    Outcome = 2,
    /// [`Dequeue`].
    Dequeue = 3,
    /// [`ConnectFailed`].
    ConnectFailed = 4,
    /// [`ReceiverClosed`].
    ReceiverClosed = 5,
    /// [`Exit`].
    Exit = 6,
    /// [`Cgroup`], then `len` bytes of names.
    Cgroup = 7,
    /// [`Receiver`].
    Receiver = 8,
    /// [`LateSender`].
    LateSender = 9,
}

wire! { 32,
    /// The beginning of every record.
    pub struct Header {
        /// Bytes of the record, this header and the tail included; the ring pads to 8.
        pub size: u32,
        /// A [`Kind`].
        pub kind: u16,
        /// The [`Emitter`](crate::limits::Emitter) that wrote it.
        pub emitter: u16,
        /// Number of this attempt by this program on this CPU, from 1: a gap is a lost record.
        pub seq: u64,
        /// When it was written.
        pub time_ns: u64,
        /// The datagram it speaks of, unique while the programs are attached; 0: none.
        pub id: u64,
    }
}

wire! { 64,
    /// A task, as it was when the record was written.
    pub struct Task {
        /// Start of its process, `CLOCK_BOOTTIME` ns (`task_struct.start_boottime`); 0: unknown.
        pub start_boottime_ns: u64,
        /// Id of its cgroup v2, the inode number of the directory; 0: unknown.
        pub cgroup_id: u64,
        /// Process id.
        pub tgid: u32,
        /// Thread id.
        pub tid: u32,
        /// Process id in its own, innermost pid namespace; 0: unknown.
        pub pid_in_namespace: u32,
        /// Inode number of that namespace; 0: unknown.
        pub pid_namespace: u32,
        /// Process id of the parent; 0: unknown.
        pub parent_tgid: u32,
        /// Real user id, in the initial user namespace.
        pub uid: u32,
        /// Real group id, in the initial user namespace.
        pub gid: u32,
        /// `TASK_*` bits.
        pub flags: u32,
        /// `comm`, NUL padded; the process's for an `io_uring` worker, else the thread's.
        pub comm: [u8; COMM_LEN],
    }
}

impl Task {
    /// Nothing is known.
    pub const ZERO: Self = Self {
        start_boottime_ns: 0,
        cgroup_id: 0,
        tgid: 0,
        tid: 0,
        pid_in_namespace: 0,
        pid_namespace: 0,
        parent_tgid: 0,
        uid: 0,
        gid: 0,
        flags: 0,
        comm: [0; COMM_LEN],
    };
}

/// A queue length that could not be read.
pub const QUEUE_LEN_UNKNOWN: u32 = u32::MAX;

/// [`Task::flags`]: an `io_uring` worker acted for the process (`PF_IO_WORKER`).
pub const TASK_IO_WORKER: u32 = 1;

wire! { 272,
    /// One datagram on its way to a selected socket. A tail of `captured` bytes follows.
    pub struct Send {
        /// Header; `time_ns` is when the payload was read.
        pub header: Header,
        /// Who sends. All zero if [`SEND_SENDER_UNKNOWN`].
        pub sender: Task,
        /// When `unix_dgram_sendmsg` was entered; 0: unknown.
        pub entry_ns: u64,
        /// Inode number of the sending socket.
        pub socket_inode: u64,
        /// Inode number of the receiving socket, where it was known by then.
        pub receiver_inode: u64,
        /// Bytes of the datagram.
        pub len: u32,
        /// Bytes of it that follow.
        pub captured: u32,
        /// File descriptors passed with it (`SCM_RIGHTS`).
        pub fds: u32,
        /// Process id claimed by `SCM_CREDENTIALS`, with [`SEND_CLAIMED`].
        pub claimed_pid: u32,
        /// User id claimed.
        pub claimed_uid: u32,
        /// Group id claimed.
        pub claimed_gid: u32,
        /// Number of the rule that selected it.
        pub rule: u32,
        /// `SEND_*` bits.
        pub flags: u32,
        /// Destination as the sender wrote it, or the connected peer's name with
        /// [`SEND_CONNECTED`].
        pub address: Address,
        /// Zero.
        pub reserved: u64,
    }
}

/// [`Send::flags`]: no address was given, the socket is connected.
pub const SEND_CONNECTED: u32 = 1;
/// [`Send::flags`]: the call failed before any byte was copied, so there is no payload.
pub const SEND_NOT_COPIED: u32 = 1 << 1;
/// [`Send::flags`]: there was a payload, but it could not be read.
pub const SEND_UNREADABLE: u32 = 1 << 2;
/// [`Send::flags`]: credentials were claimed explicitly.
pub const SEND_CLAIMED: u32 = 1 << 3;
/// [`Send::flags`]: whether credentials were claimed is unknown.
pub const SEND_CLAIM_UNKNOWN: u32 = 1 << 4;
/// [`Send::flags`]: who sent it is unknown so far.
pub const SEND_SENDER_UNKNOWN: u32 = 1 << 5;
/// [`Send::flags`]: the sender is the task that last sent through the socket before this datagram
/// was read (tracepoint plan).
pub const SEND_SENDER_BY_SOCKET: u32 = 1 << 6;
/// [`Send::flags`]: the number of file descriptors is unknown.
pub const SEND_FDS_UNKNOWN: u32 = 1 << 7;

wire! { 72,
    /// `unix_dgram_sendmsg` returned.
    pub struct Outcome {
        /// Header; `time_ns` is the return.
        pub header: Header,
        /// Inode number of the receiving socket, if the datagram came as far.
        pub receiver_inode: u64,
        /// When it was about to be queued, for the last time if the sender had to wait; 0: never.
        pub queued_ns: u64,
        /// Datagrams waiting in the receiver's queue then, without this one, or
        /// [`QUEUE_LEN_UNKNOWN`].
        pub queue_len: u32,
        /// How often it was about to be queued: more than 1 if the sender had to wait.
        pub queue_tries: u32,
        /// Bytes sent, or a negative errno.
        pub ret: i32,
        /// Number of the rule that selected it.
        pub rule: u32,
        /// Zero.
        pub reserved: u64,
    }
}

wire! { 152,
    /// The receiver took a datagram out of its queue.
    pub struct Dequeue {
        /// Header; `time_ns` is the dequeue.
        pub header: Header,
        /// Who reads.
        pub reader: Task,
        /// Inode number of the receiving socket.
        pub receiver_inode: u64,
        /// When it was queued; 0: unknown.
        pub queued_ns: u64,
        /// Bytes that the receiver gets, less than sent if its filter trims.
        pub len: u32,
        /// Datagrams left in the queue, or [`QUEUE_LEN_UNKNOWN`].
        pub queue_len: u32,
        /// Process id that the receiver is told (`SCM_CREDENTIALS`), with [`DEQUEUE_CREDENTIALS`].
        pub told_pid: u32,
        /// User id that the receiver is told.
        pub told_uid: u32,
        /// Group id that the receiver is told.
        pub told_gid: u32,
        /// `DEQUEUE_*` bits.
        pub flags: u32,
        /// Number of the rule that selected it.
        pub rule: u32,
        /// File descriptors that the receiver gets, if it asks for them.
        pub fds: u32,
        /// Zero.
        pub reserved: u64,
    }
}

/// [`Dequeue::flags`]: the datagram carries credentials, and `told_*` are they.
pub const DEQUEUE_CREDENTIALS: u32 = 1;
/// [`Dequeue::flags`]: the process of `told_pid` still has a task, be it a zombie.
pub const DEQUEUE_SENDER_PRESENT: u32 = 1 << 1;
/// [`Dequeue::flags`]: the process of `told_pid` has been reaped.
pub const DEQUEUE_SENDER_GONE: u32 = 1 << 2;

wire! { 240,
    /// `connect(2)` to a selected address failed.
    pub struct ConnectFailed {
        /// Header; `time_ns` is the return.
        pub header: Header,
        /// Who connects.
        pub sender: Task,
        /// Inode number of the connecting socket.
        pub socket_inode: u64,
        /// A negative errno.
        pub ret: i32,
        /// Number of the rule that selected the address.
        pub rule: u32,
        /// The address as it was written.
        pub address: Address,
        /// Zero.
        pub reserved: [u64; 2],
    }
}

wire! { 112,
    /// A selected socket was closed for good.
    pub struct ReceiverClosed {
        /// Header; `time_ns` is the close.
        pub header: Header,
        /// Who closed it.
        pub closer: Task,
        /// Its inode number.
        pub inode: u64,
        /// Datagrams destroyed unread with it, or [`QUEUE_LEN_UNKNOWN`].
        pub queue_len: u32,
        /// Number of the rule that selected it.
        pub rule: u32,
    }
}

wire! { 48,
    /// A process that has sent a selected datagram exited: its last thread passed
    /// `sched_process_exit`. Its pid may stay as a zombie's.
    pub struct Exit {
        /// Header; `time_ns` is the exit.
        pub header: Header,
        /// Start of the process, `CLOCK_BOOTTIME` ns; 0: unknown.
        pub start_boottime_ns: u64,
        /// Process id.
        pub tgid: u32,
        /// Zero.
        pub reserved: u32,
    }
}

wire! { 56,
    /// A cgroup's path, once before the first record that names the cgroup. A tail of `len` bytes
    /// follows: the names from the leaf up to, but without, the root's empty one, each with a NUL.
    pub struct Cgroup {
        /// Header.
        pub header: Header,
        /// The cgroup's id.
        pub cgroup_id: u64,
        /// Bytes that follow.
        pub len: u32,
        /// How many names they hold.
        pub depth: u32,
        /// `CGROUP_*` bits.
        pub flags: u32,
        /// Zero.
        pub reserved: u32,
    }
}

/// [`Cgroup::flags`]: the path goes on above the last name.
pub const CGROUP_TRUNCATED: u32 = 1;

wire! { 160,
    /// A receiving socket's name, once before the first [`Outcome`], [`Dequeue`] or
    /// [`ReceiverClosed`] that refers to it by its inode number.
    pub struct Receiver {
        /// Header.
        pub header: Header,
        /// Its inode number.
        pub inode: u64,
        /// Number of the rule that its name or its inode matches; 0: none does, the sender's
        /// spelling did.
        pub rule: u32,
        /// Zero.
        pub reserved: u32,
        /// Its address as it was bound.
        pub address: Address,
    }
}

wire! { 104,
    /// Tracepoint plan: the send that a [`Send`] with [`SEND_SENDER_UNKNOWN`] came from returned.
    pub struct LateSender {
        /// Header; `time_ns` is the return.
        pub header: Header,
        /// Who sent.
        pub sender: Task,
        /// Bytes sent.
        pub ret: i32,
        /// Zero.
        pub reserved: u32,
    }
}
