//! A cgroup's path, written once before the first record that names the cgroup, so that it is known
//! even when the cgroup is gone before userspace looks.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use notify_trace_common::fields::ABSENT;
use notify_trace_common::limits::{CGROUP_DEPTH_MAX, CGROUP_NAME_MAX, CGROUP_PATH_MAX, Emitter};
use notify_trace_common::record::{CGROUP_TRUNCATED, Cgroup, Kind};

use crate::emit;
use crate::maps::{ANNOUNCED, CGROUPS_SEEN, Scratch};
use crate::read::{
    CGROUP_KN, CSS_SET_DFL_CGRP, KERNFS_ID, KERNFS_NAME, KERNFS_PARENT, Pair, TASK_CGROUPS,
    load_pair, pointer, read, read_or_0,
};
use crate::task;

/// `CGROUPS_SEEN`: the path was written.
pub const SEEN_ANNOUNCED: u32 = 1;
/// `CGROUPS_SEEN`: it was checked against `CGROUPS`.
pub const SEEN_CHECKED: u32 = 2;
/// `CGROUPS_SEEN`: it lies in a subtree of `CGROUPS`.
pub const SEEN_WANTED: u32 = 4;

/// The current task's `struct kernfs_node` in the v2 hierarchy. From a place that can't be read on, nothing can.
#[inline(always)]
fn current_node() -> Option<u64> {
    let set = read_or_0(task::current(), &TASK_CGROUPS);
    match read_or_0(read_or_0(set, &CSS_SET_DFL_CGRP), &CGROUP_KN) {
        0 => None,
        node => Some(node),
    }
}

/// What was done of a cgroup so far: `SEEN_*` bits. Another CPU may add one before this one is done: what it adds may
/// be lost, and costs one more path or check.
#[inline(always)]
pub fn seen(id: u64) -> u32 {
    // SAFETY: an aligned integer that only this side writes, copied at once.
    unsafe { CGROUPS_SEEN.get(id) }.copied().unwrap_or(0)
}

#[inline(always)]
fn remember(id: u64, before: u32, bits: u32) {
    // Only a cache: if it can't be kept, the path is written or checked once more.
    let _ = CGROUPS_SEEN.insert(id, before | bits, 0);
}

/// Walks from the current cgroup up to the root and looks for a selected one.
#[inline(never)]
pub fn check_wanted(id: u64, seen: u32) -> bool {
    let mut wanted = false;
    let mut node = current_node();
    for _ in 0..CGROUP_DEPTH_MAX {
        let Some(here) = node else { break };
        if let Some(id) = read::<u64>(here, &KERNFS_ID)
            && task::is_selected_cgroup(id)
        {
            wanted = true;
            break;
        }
        node = pointer(here, &KERNFS_PARENT);
    }
    remember(
        id,
        seen,
        if wanted {
            SEEN_CHECKED | SEEN_WANTED
        } else {
            SEEN_CHECKED
        },
    );
    wanted
}

/// Writes the current cgroup's path unless that was done; the cgroup's id.
#[inline(always)]
pub fn announce<C: EbpfContext>(ctx: &C, emitter: Emitter, scratch: &mut Scratch) -> u64 {
    let id = task::cgroup_id();
    let number = emit::number(scratch, id) as u32;
    let at_hand = ANNOUNCED.place(number);
    // SAFETY: a map's value, an aligned integer; whoever writes it has seen the path written.
    if unsafe { at_hand.read_volatile() } == id {
        return id;
    }
    let seen = seen(id);
    if seen & SEEN_ANNOUNCED == 0 {
        let size = describe(scratch, id);
        if size == 0 || !emit::output(ctx, emitter, scratch, Kind::Cgroup, 0, size) {
            return id;
        }
        remember(id, seen, SEEN_ANNOUNCED);
    }
    // SAFETY: as above.
    unsafe { at_hand.write_volatile(id) };
    id
}

/// Builds the record in the room; answers its size, 0 if the cgroup can't be read. What it knows so far it keeps
/// in memory: in registers, each end of the loop would be a way of its own for the verifier, and so is each
/// branch of it, of which there is but one for that.
#[inline(never)]
fn describe(scratch: &mut Scratch, id: u64) -> u32 {
    const { assert!(CGROUP_PATH_MAX.is_power_of_two()) };
    let Some(mut node) = current_node() else {
        return 0;
    };
    let room_of_record = scratch.record.as_mut_ptr();
    let record: *mut Cgroup = room_of_record.cast();
    let rest = &raw mut scratch.word;
    // SAFETY: the record lies at the beginning of the room, which is 8-byte aligned and large enough, and is made of
    // integers (`emit::record`).
    let (len, depth) = unsafe {
        (*record).cgroup_id = id;
        (*record).reserved = 0;
        (&raw mut (*record).len, &raw mut (*record).depth)
    };
    // SAFETY: fields of the record and of the room, aligned; volatile, so that they stay in memory.
    unsafe {
        len.write_volatile(0);
        depth.write_volatile(0);
        rest.write_volatile(1);
    }
    // Looked up once, for each level is verified anew.
    let (parent_at, name_at) = (KERNFS_PARENT.load(), KERNFS_NAME.load());
    let is_known = parent_at != ABSENT && name_at != ABSENT;
    for _ in 0..if is_known { CGROUP_DEPTH_MAX } else { 0 } {
        let Pair::<u64, u64> {
            first: parent,
            second: name,
        } = load_pair(node, parent_at, name_at);
        // SAFETY: as above.
        let room = unsafe { len.read_volatile() } & (CGROUP_PATH_MAX as u32 - 1);
        // SAFETY: `room` is below CGROUP_PATH_MAX by the mask, so the longest name ends well
        // inside the record's room; the helper checks the source address itself.
        let read = unsafe {
            bpf_probe_read_kernel_str(
                room_of_record
                    .add(size_of::<Cgroup>() + room as usize)
                    .cast(),
                CGROUP_NAME_MAX as u32,
                name as *const _,
            )
        };
        // 0 at the root, which has no parent, and a name of nothing but its NUL.
        // SAFETY: as above.
        unsafe { rest.write_volatile(parent | (read as u64 ^ 1)) };
        let after = i64::from(room).wrapping_add(read);
        // Such a name, one that can't be read, or one that is too much: either difference is below 0.
        if read.wrapping_sub(2) | (CGROUP_PATH_MAX as i64 - 1).wrapping_sub(after) < 0 {
            break;
        }
        // SAFETY: as above.
        unsafe {
            len.write_volatile(after as u32);
            depth.write_volatile(depth.read_volatile() + 1);
        }
        node = parent;
    }
    // SAFETY: as above.
    unsafe {
        (*record).flags = if rest.read_volatile() == 0 {
            0
        } else {
            CGROUP_TRUNCATED
        };
        size_of::<Cgroup>() as u32 + len.read_volatile()
    }
}
