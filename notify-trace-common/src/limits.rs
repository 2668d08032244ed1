//! Sizes both sides agree on, the programs that write records, and the counters of every loss.

/// Most payload bytes a record carries. systemd drops a longer datagram whole: `NOTIFY_BUFFER_MAX`
/// in `src/basic/constants.h` is `PIPE_BUF`, 4096.
pub const PAYLOAD_MAX: usize = 4096;

/// Most bytes of a cgroup path that a [`Cgroup`](crate::record::Cgroup) record carries, the
/// terminating NUL of each name included.
pub const CGROUP_PATH_MAX: usize = 4096;

/// Most levels of the cgroup tree that are walked, leaf first.
pub const CGROUP_DEPTH_MAX: usize = 24;

/// Longest name of one cgroup with its NUL: `NAME_MAX` + 1, `include/uapi/linux/limits.h`.
pub const CGROUP_NAME_MAX: usize = 256;

/// `TASK_COMM_LEN` of `include/linux/sched.h`.
pub const COMM_LEN: usize = 16;

/// Room in which a program builds one record; a power of two, so that a length can be masked.
pub const SCRATCH_BYTES: usize = 8192;

/// Calls of `unix_dgram_sendmsg` in flight that each CPU has a place of its own for (plan of trampolines);
/// a power of two.
pub const SLOTS_PER_CPU: u32 = 32;

/// Most CPUs that have such places.
pub const CPUS_WITH_SLOTS_MAX: u32 = 1_024;

/// Words of what the kernel side keeps of a call of `unix_dgram_sendmsg` in flight; the first one is the
/// thread.
pub const CALL_WORDS: usize = 14;

/// Words of what it keeps of a call of `unix_dgram_connect` in flight.
pub const CONNECT_WORDS: usize = 3;

/// Receiving sockets that have places of their own for the datagrams in their queues (plan of trampolines);
/// a power of two.
pub const QUEUES_WITH_PLACES: u32 = 1_024;

/// Such places of each socket; a power of two.
pub const PLACES_PER_QUEUE: u32 = 8;

/// A kernel program, as records and counters name it. Each has its own scratch room, its own
/// sequence numbers and its own counters per CPU, because a program is never entered twice on a
/// CPU but two programs may be: one may be preempted by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Emitter {
    /// kprobe on `unix_dgram_sendmsg`.
    SendEntry = 0,
    /// kprobe on `skb_copy_datagram_from_iter`.
    CopyEntry = 1,
    /// kretprobe on `skb_copy_datagram_from_iter`.
    CopyReturn = 2,
    /// kprobe on `security_unix_may_send`.
    Queue = 3,
    /// fexit on `unix_dgram_sendmsg`.
    SendExitTrampoline = 4,
    /// kretprobe on `unix_dgram_sendmsg`.
    SendExitProbe = 5,
    /// kprobe on `__skb_try_recv_datagram`.
    DequeueEntry = 6,
    /// kretprobe on `__skb_try_recv_datagram`.
    DequeueReturn = 7,
    /// kprobe on `unix_dgram_connect`.
    ConnectEntry = 8,
    /// kretprobe on `unix_dgram_connect`.
    ConnectReturn = 9,
    /// kprobe on `unix_release`.
    Release = 10,
    /// Raw tracepoint `sched_process_exit`.
    Exit = 11,
    /// Raw tracepoint `sock_send_length`.
    TraceSend = 12,
    /// Raw tracepoint `skb_copy_datagram_iovec`.
    TraceCopy = 13,
    /// Raw tracepoint `sock_recv_length`.
    TraceReceive = 14,
    /// fentry on `unix_dgram_sendmsg`.
    TrampSend = 15,
    /// fexit on `skb_copy_datagram_from_iter`.
    TrampCopy = 16,
    /// fentry on `security_unix_may_send`.
    TrampQueue = 17,
    /// fexit on `unix_dgram_sendmsg`, in the plan that has no probes.
    TrampSent = 18,
    /// fexit on `__skb_try_recv_datagram`.
    TrampDequeue = 19,
    /// fexit on `unix_dgram_connect`.
    TrampConnect = 20,
    /// fentry on `unix_release`.
    TrampRelease = 21,
}

/// How many [`Emitter`]s there are.
pub const EMITTER_COUNT: usize = 22;

impl Emitter {
    /// All programs, in the order of their numbers.
    pub const ALL: [Self; EMITTER_COUNT] = [
        Self::SendEntry,
        Self::CopyEntry,
        Self::CopyReturn,
        Self::Queue,
        Self::SendExitTrampoline,
        Self::SendExitProbe,
        Self::DequeueEntry,
        Self::DequeueReturn,
        Self::ConnectEntry,
        Self::ConnectReturn,
        Self::Release,
        Self::Exit,
        Self::TraceSend,
        Self::TraceCopy,
        Self::TraceReceive,
        Self::TrampSend,
        Self::TrampCopy,
        Self::TrampQueue,
        Self::TrampSent,
        Self::TrampDequeue,
        Self::TrampConnect,
        Self::TrampRelease,
    ];

    /// The program's name in the object file, and so in `bpftool prog`.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::SendEntry => "send_entry",
            Self::CopyEntry => "copy_entry",
            Self::CopyReturn => "copy_return",
            Self::Queue => "queue",
            Self::SendExitTrampoline => "send_exit_tramp",
            Self::SendExitProbe => "send_exit_probe",
            Self::DequeueEntry => "dequeue_entry",
            Self::DequeueReturn => "dequeue_return",
            Self::ConnectEntry => "connect_entry",
            Self::ConnectReturn => "connect_return",
            Self::Release => "release",
            Self::Exit => "exit",
            Self::TraceSend => "trace_send",
            Self::TraceCopy => "trace_copy",
            Self::TraceReceive => "trace_receive",
            Self::TrampSend => "tramp_send",
            Self::TrampCopy => "tramp_copy",
            Self::TrampQueue => "tramp_queue",
            Self::TrampSent => "tramp_sent",
            Self::TrampDequeue => "tramp_dequeue",
            Self::TrampConnect => "tramp_connect",
            Self::TrampRelease => "tramp_release",
        }
    }

    /// Whether it is called from a trampoline (`fentry`, `fexit`), for which its function's id is needed.
    #[must_use]
    pub const fn is_trampoline(self) -> bool {
        matches!(
            self,
            Self::SendExitTrampoline
                | Self::TrampSend
                | Self::TrampCopy
                | Self::TrampQueue
                | Self::TrampSent
                | Self::TrampDequeue
                | Self::TrampConnect
                | Self::TrampRelease
        )
    }

    /// The kernel function or tracepoint that it hangs on.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::SendEntry
            | Self::SendExitTrampoline
            | Self::SendExitProbe
            | Self::TrampSend
            | Self::TrampSent => "unix_dgram_sendmsg",
            Self::CopyEntry | Self::CopyReturn | Self::TrampCopy => "skb_copy_datagram_from_iter",
            Self::Queue | Self::TrampQueue => "security_unix_may_send",
            Self::DequeueEntry | Self::DequeueReturn | Self::TrampDequeue => {
                "__skb_try_recv_datagram"
            }
            Self::ConnectEntry | Self::ConnectReturn | Self::TrampConnect => "unix_dgram_connect",
            Self::Release | Self::TrampRelease => "unix_release",
            Self::Exit => "sched_process_exit",
            Self::TraceSend => "sock_send_length",
            Self::TraceCopy => "skb_copy_datagram_iovec",
            Self::TraceReceive => "sock_recv_length",
        }
    }
}

/// What one program counts on one CPU; the value type of the `COUNTERS` map. Plain additions are
/// exact, because nothing else writes the same slot (see [`Emitter`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::IntoBytes,
        zerocopy::KnownLayout
    )
)]
#[repr(C)]
pub struct Counters {
    /// Records that the program tried to write; also the last sequence number it gave.
    pub attempts: u64,
    /// Of these, refused because the ring was full (`ENOSPC`).
    pub ring_full: u64,
    /// Of these, refused for another cause, such as a CPU that has no ring yet (`ENOENT`).
    pub ring_error: u64,
    /// Calls that could not be followed because the table of calls in flight was full.
    pub calls_full: u64,
    /// Datagrams whose dequeue can't be recognised because the table of queued ones was full.
    pub queued_full: u64,
    /// Datagrams whose payload could not be read.
    pub unreadable: u64,
    /// Calls whose end no program saw: found when the same thread began the next one, or exited. Userspace
    /// adds those of threads whose exit no program saw either.
    pub returns_missed: u64,
    /// Datagrams dropped because who sent them was not known yet, and a filter asked for it
    /// (tracepoint plan).
    pub undecided: u64,
}

/// Fields of [`Counters`].
pub const COUNTER_FIELDS: usize = size_of::<Counters>() / size_of::<u64>();
