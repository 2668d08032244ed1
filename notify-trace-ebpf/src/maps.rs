//! Every map, and the values that only the kernel side sees.
//!
//! State that must not vanish (calls in flight) lives in plain preallocated hashes whose insert
//! errors are counted; what may be lost without a wrong answer (caches, datagrams in queues) in LRU
//! hashes. Userspace sizes the larger ones before it loads the object.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{
    Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerfEventByteArray, RingBuf,
};
use notify_trace_common::address::{ADDRESS_MAX, Address, TrieKey};
use notify_trace_common::limits::{
    CALL_WORDS, CONNECT_WORDS, Counters, EMITTER_COUNT, PAYLOAD_MAX, PLACES_PER_QUEUE,
    QUEUES_WITH_PLACES, SCRATCH_BYTES, SLOTS_PER_CPU,
};
use notify_trace_common::record::{Send, Task};

use crate::task::Known;

/// A call of `unix_dgram_sendmsg` in flight, by thread.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Call {
    /// The thread; 0: the place in `SLOTS` is free.
    pub thread: u64,
    /// The sending `struct sock`.
    pub sk: u64,
    /// The `struct msghdr`, valid until the call returns. The length of its name may be changed on the way
    /// by a program of the sender's cgroup (`BPF_CGROUP_UNIX_SENDMSG`, Linux 6.7).
    pub msg: u64,
    /// The `struct sk_buff` once `skb_copy_datagram_from_iter` was entered for it, else 0.
    pub skb: u64,
    pub entry_ns: u64,
    pub queued_ns: u64,
    /// The datagram's id, 0 until its record was written (or lost in the attempt).
    pub id: u64,
    /// The receiving `struct sock`, 0 until the datagram was about to be queued.
    pub receiver_sk: u64,
    pub receiver_inode: u64,
    /// What the control block said when the copy began.
    pub claimed_pid: u32,
    pub claimed_uid: u32,
    pub claimed_gid: u32,
    pub fds: u32,
    pub len: u32,
    pub queue_len: u32,
    pub queue_tries: u32,
    pub rule: u32,
    /// `CALL_*` bits.
    pub flags: u32,
    pub pad: u32,
}

// Userspace looks for calls that were left behind.
const _: () =
    assert!(size_of::<Call>() == CALL_WORDS * 8 && size_of::<Connect>() == CONNECT_WORDS * 8);

/// [`Call::flags`]: the copy's return was seen.
pub const CALL_COPIED: u32 = 1;
/// [`Call::flags`]: what the control block said was kept.
pub const CALL_CONTROL: u32 = 2;
/// [`Call::flags`]: it had credentials, and they were kept.
pub const CALL_CLAIMED: u32 = 4;
/// [`Call::flags`]: nobody wants to know of it (plan of trampolines).
pub const CALL_UNRELATED: u32 = 8;

/// A receiving socket that no rule selects and that has a name, which it keeps for good.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Unrelated {
    /// Inode number, not reused while it matters: the kernel counts on.
    pub inode: u64,
    /// The `struct sock`.
    pub sk: u64,
}

/// How many sockets `UNRELATED` holds; a power of two.
pub const UNRELATED_PLACES: usize = 4_096;

/// A destination as a sender wrote it, and what the rules say of it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Verdict {
    /// Every byte that the sender wrote, also those behind a path's end; a length of 0: free.
    pub name: Address,
    /// The rule; 0: none.
    pub rule: u32,
    /// With a rule: the length of the address, without what stands behind a path's end.
    pub used: u32,
}

/// How many cgroups `ANNOUNCED` holds; a power of two.
pub const CGROUPS_AT_HAND: usize = 1_024;

/// How many destinations `VERDICTS` holds for each CPU; a power of two.
pub const VERDICT_PLACES: u32 = 128;

/// A datagram in a receiver's queue, by the address of its `struct sk_buff`. Such addresses are
/// reused at once, so the sockets at both ends are kept to recognise it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Queued {
    pub id: u64,
    pub sk: u64,
    pub receiver_sk: u64,
    pub receiver_inode: u64,
    pub queued_ns: u64,
    pub rule: u32,
    pub pad: u32,
}

/// A receiving socket that has places of its own in `PLACES` (plan of trampolines), and what is known of it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Queue {
    /// The receiving `struct sock`; 0: nobody has these places.
    pub sk: u64,
    pub inode: u64,
    /// Address pointer, which a socket that has one keeps.
    pub address: u64,
    /// The last one that had these places, and when it was closed; 0: there was none.
    pub last_sk: u64,
    pub freed_ns: u64,
    /// As in `ReceiverState`.
    pub rule: u32,
    pub flags: u32,
    /// How often these places were given up.
    pub generation: u32,
    /// 1: a datagram found none of them free, and went to `QUEUED`.
    pub spilled: u32,
}

/// A datagram in the queue of a socket that has places, as in `Queued`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Place {
    /// The address of its `struct sk_buff`; 0: the place is free.
    pub skb: u64,
    pub id: u64,
    pub sk: u64,
    pub queued_ns: u64,
    pub rule: u32,
    pub pad: u32,
}

/// A receiving socket. Its address pointer and inode number are part of the key, because a socket
/// may be bound late and a `struct sock` may be reused.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ReceiverKey {
    pub sk: u64,
    pub address: u64,
    pub inode: u64,
}

/// What is known of a receiving socket.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ReceiverState {
    /// Rule that its name or inode number matches; 0: none.
    pub rule: u32,
    /// `RECEIVER_*` bits.
    pub flags: u32,
}

impl ReceiverState {
    /// What is known of one that nobody selects, or of none.
    pub const NOTHING: Self = Self { rule: 0, flags: 0 };

    /// As one word.
    #[inline(always)]
    pub fn word(self) -> u64 {
        u64::from(self.flags) << 32 | u64::from(self.rule)
    }

    /// Of such a word.
    #[inline(always)]
    pub fn from_word(word: u64) -> Self {
        Self {
            rule: word as u32,
            flags: (word >> 32) as u32,
        }
    }
}

/// [`ReceiverState::flags`]: its name was written to the ring.
pub const RECEIVER_ANNOUNCED: u32 = 1;
/// [`ReceiverState::flags`]: no rule, but a selected datagram went there by the sender's spelling.
pub const RECEIVER_TRACKED: u32 = 2;

/// The same of what is read of a receiving socket that has places; kept nowhere.
pub const RECEIVER_HAS_PLACES: u32 = 4;

/// A call of `unix_dgram_connect` in flight, by thread.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Connect {
    pub socket: u64,
    pub address: u64,
    pub len: u64,
}

/// Room to build records and keys in; one per program and CPU.
#[repr(C)]
pub struct Scratch {
    pub record: [u8; SCRATCH_BYTES],
    /// An address, also the key of `EXACT`.
    pub address: Address,
    /// For `emit::bounded`.
    pub bound: u32,
    /// Key of the tries.
    pub key: TrieKey,
    /// The address's place in `VERDICTS`.
    pub place: u32,
    /// Where an address is put to be read backwards.
    pub window: [u8; 256],
    /// `SEND_*` bits of the datagram that is going to be written.
    pub flags: u32,
    pub pad: u32,
    /// A value that the verifier is to know nothing of.
    pub word: u64,
    /// Datagrams that got an id here.
    pub datagrams: u64,
    /// The task that was described last (plan of trampolines).
    pub known: Known,
}

const _: () = assert!(
    core::mem::offset_of!(Scratch, window).is_multiple_of(8)
        && (core::mem::offset_of!(Scratch, key) + core::mem::offset_of!(TrieKey, bytes))
            .is_multiple_of(8)
);

/// Tracepoint plan: who last sent through a socket, by its `struct sock`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LastSender {
    pub task: Task,
    /// Inode number of the socket, because a `struct sock` may be reused.
    pub inode: u64,
    /// 1: the filters let it pass.
    pub is_wanted: u64,
}

/// Tracepoint plan: a datagram whose sender has yet to return.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Wanted {
    pub id: u64,
    /// Inode number of the sending socket.
    pub inode: u64,
}

/// Tracepoint plan: a datagram that is being received, by thread. The record comes first, so that
/// it can be built in a program's room and put into the map from there.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Receiving {
    pub send: Send,
    pub payload: [u8; PAYLOAD_MAX],
    /// The sending `struct sock`.
    pub sk: u64,
    pub told: Told,
    pub pad: u32,
}

/// What a receiver is told about a sender, as in `Dequeue`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Told {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
    /// `DEQUEUE_*` bits.
    pub flags: u32,
    pub fds: u32,
}

/// A table that all CPUs share, zeros at first. It is a variable, of which the loader makes (part of) the only
/// value of a map: there is nothing to look up, and nothing that might not be found.
#[repr(transparent)]
pub struct Table<T, const N: usize>(UnsafeCell<MaybeUninit<[T; N]>>);

// SAFETY: it only hands out pointers; who uses one answers for it.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

impl<T, const N: usize> Table<T, N> {
    const fn new() -> Self {
        const { assert!(N.is_power_of_two()) };
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// A place, by the lowest bits of its number: valid as long as the programs.
    #[inline(always)]
    pub fn place(&self, number: u32) -> *mut T {
        let first: *mut T = self.0.get().cast();
        // SAFETY: inside the table by the mask.
        unsafe { first.add(number as usize & (N - 1)) }
    }
}

#[map]
pub static EVENTS: PerfEventByteArray = PerfEventByteArray::new(0);
/// 1: the reader of the rings is about to sleep, and wants to be woken. In a section, so a map, of its own:
/// userspace writes it, too.
#[unsafe(link_section = ".bss.asleep")]
pub static ASLEEP: Table<u32, 1> = Table::new();
/// Plan of trampolines: 1 once all are attached that it can't do without. Userspace writes it, too.
#[unsafe(link_section = ".bss.open")]
pub static OPEN: Table<u32, 1> = Table::new();
/// What wakes the reader: anything that comes.
#[map]
pub static BELL: RingBuf = RingBuf::with_byte_size(4_096, 0);
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(EMITTER_COUNT as u32, 0);
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(EMITTER_COUNT as u32, 0);

/// Calls of `unix_dgram_sendmsg` in flight.
#[map]
pub static CALLS: HashMap<u64, Call> = HashMap::with_max_entries(16_384, 0);
/// Calls of `__skb_try_recv_datagram` in flight: thread to receiving `struct sock`.
#[map]
pub static RECEIVES: HashMap<u64, u64> = HashMap::with_max_entries(16_384, 0);
/// Calls of `unix_dgram_connect` in flight.
#[map]
pub static CONNECTS: HashMap<u64, Connect> = HashMap::with_max_entries(4_096, 0);
/// Datagrams in queues.
#[map]
pub static QUEUED: LruHashMap<u64, Queued> = LruHashMap::with_max_entries(16_384, 0);
/// Receiving sockets met so far.
#[map]
pub static RECEIVERS: LruHashMap<ReceiverKey, ReceiverState> =
    LruHashMap::with_max_entries(16_384, 0);
/// Cgroups met so far: id to `cgroup::SEEN_*` bits.
#[map]
pub static CGROUPS_SEEN: LruHashMap<u64, u32> = LruHashMap::with_max_entries(16_384, 0);
/// Cgroups whose paths were written, by the lowest bits of their ids. A cache.
pub static ANNOUNCED: Table<u64, CGROUPS_AT_HAND> = Table::new();
/// Processes that sent: id to start time.
#[map]
pub static SENDERS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Selection by whole address.
#[map]
pub static EXACT: HashMap<Address, u32> = HashMap::with_max_entries(1_024, 0);
/// Selection by the beginning of an address.
#[map]
pub static PREFIXES: LpmTrie<[u8; ADDRESS_MAX], u32> = LpmTrie::with_max_entries(1_024, 0);
/// Selection by the end of an address, reversed.
#[map]
pub static SUFFIXES: LpmTrie<[u8; ADDRESS_MAX], u32> = LpmTrie::with_max_entries(1_024, 0);
/// Selection by the receiving socket's inode number.
#[map]
pub static INODES: HashMap<u64, u32> = HashMap::with_max_entries(4_096, 0);
/// `--pid`: process ids.
#[map]
pub static PIDS: HashMap<u32, u8> = HashMap::with_max_entries(1_024, 0);
/// `--cgroup`: ids of cgroups whose subtrees are selected.
#[map]
pub static CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(1_024, 0);

/// The self-test's own processes, which pass all filters.
#[map]
pub static OWN: HashMap<u32, u8> = HashMap::with_max_entries(16, 0);

/// Plan of trampolines: calls of `unix_dgram_sendmsg` in flight, each at a place of the CPU where it
/// began. Userspace gives each CPU [`SLOTS_PER_CPU`] places. A call that finds its place taken goes to
/// `CALLS`.
#[map]
pub static SLOTS: Array<Call> = Array::with_max_entries(SLOTS_PER_CPU, 0);
/// The call that a program works with.
#[map]
pub static CURRENT: PerCpuArray<Call> = PerCpuArray::with_max_entries(EMITTER_COUNT as u32, 0);
/// Plan of trampolines: receiving sockets with places, by number.
pub static QUEUES: Table<Queue, { QUEUES_WITH_PLACES as usize }> = Table::new();
/// Plan of trampolines: their places.
pub static PLACES: Table<[Place; PLACES_PER_QUEUE as usize], { QUEUES_WITH_PLACES as usize }> =
    Table::new();
/// Plan of trampolines: who has places, by their number and how often they were given up: what was inserted
/// once can't be inserted twice.
#[map]
pub static CLAIMS: HashMap<u64, u8> = HashMap::with_max_entries(2 * QUEUES_WITH_PLACES, 0);
/// Plan of trampolines: 1 once a datagram to a socket without places was put into `QUEUED`.
pub static OVERFLOWED: Table<u32, 1> = Table::new();
/// Plan of trampolines: receiving sockets that are none of ours, by inode number. A cache.
pub static UNRELATED: Table<Unrelated, UNRELATED_PLACES> = Table::new();
/// Plan of trampolines: what the rules said of the destinations that were written. A cache.
#[map]
pub static VERDICTS: PerCpuArray<Verdict> = PerCpuArray::with_max_entries(VERDICT_PLACES, 0);

/// Tracepoint plan: last senders.
#[map]
pub static LAST_SENDERS: LruHashMap<u64, LastSender> = LruHashMap::with_max_entries(16_384, 0);
/// Tracepoint plan: sockets through which a datagram came whose sender is not known yet.
#[map]
pub static WANTED: LruHashMap<u64, Wanted> = LruHashMap::with_max_entries(4_096, 0);
/// Tracepoint plan: datagrams being received. Userspace makes it large only for that plan.
#[map]
pub static RECEIVING: HashMap<u64, Receiving> = HashMap::with_max_entries(1, 0);
