//! Who is this: the facts of the current task, and of the credentials in a socket buffer.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf,
};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use notify_trace_common::limits::COMM_LEN;
use notify_trace_common::record::{TASK_IO_WORKER, Task};

use crate::cgroup;
use crate::maps::{CGROUPS, OWN, PIDS};
use crate::read::{
    ByHelper, ByLoad, PID_LEVEL, PID_NAMESPACE_INUM, PID_NUMBERS, PID_TASKS, Pair, TASK_COMM,
    TASK_FLAGS, TASK_GROUP_LEADER, TASK_REAL_PARENT, TASK_START_BOOTTIME, TASK_TGID,
    TASK_THREAD_PID, UPID_NR, UPID_NS, UPID_SIZE, Way, field, load, read, read_or_0, read_pair,
};

/// `PF_IO_WORKER`, `include/linux/sched.h`.
const PF_IO_WORKER: u32 = 0x10;

/// 1: only processes in `PIDS` are of interest.
#[unsafe(no_mangle)]
pub static FILTER_PIDS: Global<u32> = Global::new(0);
/// 1: only processes in the subtrees of `CGROUPS` are of interest.
#[unsafe(no_mangle)]
pub static FILTER_CGROUPS: Global<u32> = Global::new(0);

/// The current thread, as key: process id in the upper half, thread id in the lower.
#[inline(always)]
pub fn thread() -> u64 {
    bpf_get_current_pid_tgid()
}

/// The current process id.
#[inline(always)]
pub fn process() -> u32 {
    (thread() >> 32) as u32
}

/// The current cgroup v2's id.
#[inline(always)]
pub fn cgroup_id() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_cgroup_id() }
}

/// The current `struct task_struct`.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_task() }
}

/// Whether only some senders are of interest.
#[inline(always)]
pub fn is_filtering() -> bool {
    FILTER_PIDS.load() != 0 || FILTER_CGROUPS.load() != 0
}

/// Whether the user wants to see what the current task sends (`--pid`, `--cgroup`).
#[inline(always)]
pub fn is_wanted() -> bool {
    if !is_filtering() {
        return true;
    }
    // SAFETY: the value is not used, only whether the key exists.
    if unsafe { OWN.get(process()) }.is_some() {
        return true;
    }
    // SAFETY: as above.
    if FILTER_PIDS.load() != 0 && unsafe { PIDS.get(process()) }.is_none() {
        return false;
    }
    FILTER_CGROUPS.load() == 0 || is_cgroup_wanted()
}

/// Whether the current cgroup lies in a selected subtree; each cgroup is walked once.
#[inline(always)]
fn is_cgroup_wanted() -> bool {
    let id = cgroup_id();
    let seen = cgroup::seen(id);
    if seen & cgroup::SEEN_CHECKED != 0 {
        return seen & cgroup::SEEN_WANTED != 0;
    }
    cgroup::check_wanted(id, seen)
}

/// Whether a cgroup id stands in `CGROUPS`.
#[inline(always)]
pub fn is_selected_cgroup(id: u64) -> bool {
    // SAFETY: the value is not used, only whether the key exists.
    unsafe { CGROUPS.get(id) }.is_some()
}

/// Start time of the current process, 0 where unknown.
#[inline(always)]
pub fn start_boottime_ns(leader: u64) -> u64 {
    read_or_0(leader, &TASK_START_BOOTTIME)
}

/// 1: the kernel hands out the current task with its type, so that its fields are plain loads
/// (`bpf_get_current_task_btf`).
#[unsafe(no_mangle)]
pub static TYPED_TASK: Global<u32> = Global::new(0);

/// Writes the facts of the current task, which is of this cgroup.
#[inline(never)]
pub fn describe(out: &mut Task, cgroup_id: u64) {
    let task = current();
    let leader = read_or_0(task, &TASK_GROUP_LEADER);
    out.cgroup_id = cgroup_id;
    out.start_boottime_ns = start_boottime_ns(leader);
    put_ids(out, thread());
    out.parent_tgid = parent(leader);
    (out.pid_in_namespace, out.pid_namespace) = innermost(leader);
    if read_or_0::<u32>(task, &TASK_FLAGS) & PF_IO_WORKER == 0 {
        out.flags = 0;
        // SAFETY: the helper writes a field of that size, zeros if it can't answer.
        let _ = unsafe { bpf_get_current_comm(out.comm.as_mut_ptr().cast(), COMM_LEN as u32) };
    } else {
        put_comm_of_process(out, leader);
    }
}

/// What does not change of a task, kept by each program on each CPU. A task is told by all three of its address, which
/// is reused, its id, which exec(2) may change, and its start.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Known {
    /// The `struct task_struct`; 0: nothing is known.
    pub task: u64,
    /// As in [`thread`].
    pub thread: u64,
    /// Start of the thread.
    pub start_boottime_ns: u64,
    /// The `struct task_struct` of its thread group's leader.
    pub leader: u64,
    /// As in [`Task`].
    pub process_start_boottime_ns: u64,
    /// As in [`Task`].
    pub pid_in_namespace: u32,
    /// As in [`Task`].
    pub pid_namespace: u32,
}

/// As [`describe`], for programs that do it for each datagram, by what is known of the task that they met last: most
/// often it is this one. The rest are plain loads, but not of pointers: for each of those the verifier looks for up to
/// four names among all types of the kernel, one after the other (before Linux 6.19).
#[inline(never)]
fn describe_known(out: &mut Task, known: &mut Known, cgroup_id: u64) {
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task_btf() } as u64;
    let thread = thread();
    let start_boottime_ns = ByLoad::get(task, &TASK_START_BOOTTIME);
    // As a number: with a pointer one can't reckon.
    let number = current();
    let differs = (known.task ^ number)
        | (known.thread ^ thread)
        | (known.start_boottime_ns ^ start_boottime_ns);
    if differs != 0 {
        learn(known, number, thread, start_boottime_ns);
    }
    out.cgroup_id = cgroup_id;
    out.start_boottime_ns = known.process_start_boottime_ns;
    put_ids(out, thread);
    out.parent_tgid = parent(known.leader);
    out.pid_in_namespace = known.pid_in_namespace;
    out.pid_namespace = known.pid_namespace;
    if ByLoad::get::<u32>(task, &TASK_FLAGS) & PF_IO_WORKER == 0 {
        out.flags = 0;
        put_own_comm(out, task);
    } else {
        put_comm_of_process(out, known.leader);
    }
}

/// Reads what does not change of a task, and is not known of it yet.
#[inline(never)]
fn learn(known: &mut Known, task: u64, thread: u64, start_ns: u64) {
    let leader = read_or_0(task, &TASK_GROUP_LEADER);
    known.task = task;
    known.thread = thread;
    known.start_boottime_ns = start_ns;
    known.leader = leader;
    known.process_start_boottime_ns = start_boottime_ns(leader);
    (known.pid_in_namespace, known.pid_namespace) = innermost(leader);
}

#[inline(always)]
fn put_ids(out: &mut Task, thread: u64) {
    let ids = bpf_get_current_uid_gid();
    out.tgid = (thread >> 32) as u32;
    out.tid = thread as u32;
    out.uid = ids as u32;
    out.gid = (ids >> 32) as u32;
}

/// The process id of a process's parent, which is another one when that has ended.
#[inline(always)]
fn parent(leader: u64) -> u32 {
    read_or_0(read_or_0(leader, &TASK_REAL_PARENT), &TASK_TGID)
}

/// The name of a task that is read by plain loads.
#[inline(always)]
fn put_own_comm(out: &mut Task, task: u64) {
    const { assert!(COMM_LEN == 16 && core::mem::offset_of!(Task, comm).is_multiple_of(8)) };
    let words: *mut u64 = out.comm.as_mut_ptr().cast();
    // SAFETY: a field of 16 bytes, which lies 8-byte aligned in a map value.
    unsafe {
        words.write_volatile(ByLoad::get(task, &TASK_COMM));
        words
            .add(1)
            .write_volatile(ByLoad::get_behind(task, &TASK_COMM, 8));
    }
}

/// An `io_uring` worker has a name of its own.
#[inline(always)]
fn put_comm_of_process(out: &mut Task, leader: u64) {
    out.flags = TASK_IO_WORKER;
    out.comm = read_or_0(leader, &TASK_COMM);
}

/// How the current task is described.
pub trait OfTask: Way {
    /// Writes the facts of the current task, which is of this cgroup; keeps what does not change of it.
    fn describe(out: &mut Task, known: &mut Known, cgroup_id: u64);
}

impl OfTask for ByHelper {
    #[inline(always)]
    fn describe(out: &mut Task, _: &mut Known, cgroup_id: u64) {
        describe(out, cgroup_id);
    }
}

impl OfTask for ByLoad {
    #[inline(always)]
    fn describe(out: &mut Task, known: &mut Known, cgroup_id: u64) {
        if TYPED_TASK.load() == 0 {
            describe(out, cgroup_id);
        } else {
            describe_known(out, known, cgroup_id);
        }
    }
}

/// The id that a process has in its own, innermost pid namespace, and that one's inode number; 0: unknown.
#[inline(always)]
fn innermost(leader: u64) -> (u32, u32) {
    let pid = read_or_0(leader, &TASK_THREAD_PID);
    let Some(numbers) = field(pid, &PID_NUMBERS) else {
        return (0, 0);
    };
    let level: u32 = read_or_0(pid, &PID_LEVEL);
    let at = u64::from(level) * u64::from(UPID_SIZE.load());
    // A bound that the verifier sees: at most 32 levels (`MAX_PID_NS_LEVEL`, include/linux/pid_namespace.h)
    // of 16 bytes.
    let upid = numbers + (at & 1023);
    let upid: Pair<u32, u64> = read_pair(upid, &UPID_NR, &UPID_NS);
    (upid.first, read_or_0(upid.second, &PID_NAMESPACE_INUM))
}

/// The id that a `struct pid` has in the initial pid namespace.
#[inline(always)]
pub fn pid_number(pid: u64) -> Option<u32> {
    read::<u32>(field(pid, &PID_NUMBERS)?, &UPID_NR)
}

/// Whether a `struct pid` still has a process or a thread, be it a zombie: an entry of
/// `PIDTYPE_PID` or `PIDTYPE_TGID` in `pid.tasks`.
#[inline(always)]
pub fn pid_is_present(pid: u64) -> Option<bool> {
    let tasks = load::<[u64; 2]>(field(pid, &PID_TASKS)?)?;
    Some(tasks[0] != 0 || tasks[1] != 0)
}
