//! Who is this: the facts of the current task, and of the credentials in a socket buffer.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf,
};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use notify_trace_common::limits::COMM_LEN;
use notify_trace_common::record::{TASK_IO_WORKER, Task};

use crate::maps::{CGROUPS, CGROUPS_SEEN, OWN, PIDS};
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
    // SAFETY: an integer that only this side writes; a torn or stale one is not possible.
    if let Some(seen) = unsafe { CGROUPS_SEEN.get(id) }
        && *seen & crate::cgroup::SEEN_CHECKED != 0
    {
        return *seen & crate::cgroup::SEEN_WANTED != 0;
    }
    crate::cgroup::check_wanted(id)
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

/// Writes the facts of the current task, which is of this cgroup. By loads only where it is done for each
/// datagram: each pointer that is loaded has the verifier look for four names among all types of the kernel,
/// one after the other (before Linux 6.19).
#[inline(never)]
pub fn describe<W: OfTask>(out: &mut Task, cgroup_id: u64) {
    out.cgroup_id = cgroup_id;
    W::describe(out);
}

#[inline(always)]
fn describe_by<W: OfTask>(out: &mut Task, task: u64) {
    let leader = W::get::<u64>(task, &TASK_GROUP_LEADER);
    let thread = thread();
    let ids = bpf_get_current_uid_gid();
    out.start_boottime_ns = W::get(leader, &TASK_START_BOOTTIME);
    out.tgid = (thread >> 32) as u32;
    out.tid = thread as u32;
    out.uid = ids as u32;
    out.gid = (ids >> 32) as u32;
    out.parent_tgid = W::get(W::get(leader, &TASK_REAL_PARENT), &TASK_TGID);
    let pid = W::get::<u64>(leader, &TASK_THREAD_PID);
    (out.pid_in_namespace, out.pid_namespace) = W::innermost(pid);
    if W::get::<u32>(task, &TASK_FLAGS) & PF_IO_WORKER == 0 {
        out.flags = 0;
        W::take_own_comm(out, task);
    } else {
        out.flags = TASK_IO_WORKER;
        out.comm = read_or_0(leader, &TASK_COMM);
    }
}

/// What is read of a task in another way where its type is known.
pub trait OfTask: Way {
    /// Writes the facts of the current task, except for its cgroup.
    fn describe(out: &mut Task);
    /// The id that a `struct pid` has in its own, innermost pid namespace, and that one's inode number; 0: unknown.
    fn innermost(pid: u64) -> (u32, u32);
    /// The name of the current task, which this is.
    fn take_own_comm(out: &mut Task, task: u64);
}

impl OfTask for ByHelper {
    #[inline(always)]
    fn describe(out: &mut Task) {
        describe_by::<Self>(out, current());
    }

    #[inline(always)]
    fn innermost(pid: u64) -> (u32, u32) {
        let Some(numbers) = field(pid, &PID_NUMBERS) else {
            return (0, 0);
        };
        innermost_at(numbers, read_or_0(pid, &PID_LEVEL))
    }

    #[inline(always)]
    fn take_own_comm(out: &mut Task, _: u64) {
        // SAFETY: the helper writes a field of that size, zeros if it can't answer.
        let _ = unsafe { bpf_get_current_comm(out.comm.as_mut_ptr().cast(), COMM_LEN as u32) };
    }
}

impl OfTask for ByLoad {
    #[inline(always)]
    fn describe(out: &mut Task) {
        if TYPED_TASK.load() == 0 {
            describe_by::<ByHelper>(out, current());
        } else {
            // SAFETY: a helper without arguments.
            describe_by::<Self>(out, unsafe { bpf_get_current_task_btf() } as u64);
        }
    }

    #[inline(always)]
    fn innermost(pid: u64) -> (u32, u32) {
        let level = Self::get::<u32>(pid, &PID_LEVEL);
        if level == 0 {
            let namespace = Self::get_within::<u64>(pid, &PID_NUMBERS, &UPID_NS);
            return (
                Self::get_within(pid, &PID_NUMBERS, &UPID_NR),
                Self::get(namespace, &PID_NAMESPACE_INUM),
            );
        }
        match field(pid, &PID_NUMBERS) {
            // By the helper: the place is not a constant.
            Some(numbers) => innermost_at(numbers, level),
            None => (0, 0),
        }
    }

    #[inline(always)]
    fn take_own_comm(out: &mut Task, task: u64) {
        const { assert!(COMM_LEN == 16 && core::mem::offset_of!(Task, comm).is_multiple_of(8)) };
        let words: *mut u64 = out.comm.as_mut_ptr().cast();
        // SAFETY: a field of 16 bytes, which lies 8-byte aligned in a map value.
        unsafe {
            words.write_volatile(Self::get(task, &TASK_COMM));
            words
                .add(1)
                .write_volatile(Self::get_behind(task, &TASK_COMM, 8));
        }
    }
}

/// The same of the `struct upid`s of a `struct pid`, by the helper.
#[inline(always)]
fn innermost_at(numbers: u64, level: u32) -> (u32, u32) {
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
