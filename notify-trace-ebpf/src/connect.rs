//! `unix_dgram_connect` failed: programs that connect before they send (Go's do) fail here, and no
//! datagram is ever sent.

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use notify_trace_common::limits::Emitter;
use notify_trace_common::record::{ConnectFailed, Kind};

use crate::emit::put_address;
use crate::maps::{CONNECTS, Connect};
use crate::read::{SOCKET_INODE, read_or_0};
use crate::{cgroup, emit, select, task};

#[inline(always)]
pub fn try_entry(ctx: &ProbeContext) -> Option<()> {
    if !task::is_wanted() {
        return None;
    }
    let connect = Connect {
        socket: ctx.arg::<u64>(0)?,
        address: ctx.arg::<u64>(1)?,
        len: u64::from(ctx.arg::<u32>(2)?),
    };
    emit::begin(Emitter::ConnectEntry, &CONNECTS, &connect);
    Some(())
}

#[inline(always)]
pub fn try_return(ctx: &RetProbeContext) -> Option<()> {
    let thread = task::thread();
    // SAFETY: the key is the current thread, so nothing else uses this entry.
    let connect: Connect = *unsafe { CONNECTS.get(thread) }?;
    let _ = CONNECTS.remove(thread);
    let ret = ctx.ret::<i32>();
    if ret >= 0 {
        return None;
    }
    fail(ctx, Emitter::ConnectReturn, &connect, ret)
}

/// Writes a failure, if it was about a selected address.
#[inline(always)]
pub fn fail<C: EbpfContext>(ctx: &C, emitter: Emitter, connect: &Connect, ret: i32) -> Option<()> {
    let scratch = emit::scratch(emitter)?;
    if !select::take_sockaddr(scratch, connect.address, connect.len as u32) {
        return None;
    }
    let rule = select::rule(scratch);
    if rule == 0 {
        return None;
    }
    let cgroup_id = cgroup::announce(ctx, emitter, scratch);
    put_address(scratch, core::mem::offset_of!(ConnectFailed, address));
    let failed = emit::record::<ConnectFailed>(scratch);
    task::describe(&mut failed.sender, cgroup_id);
    failed.socket_inode = read_or_0(connect.socket, &SOCKET_INODE);
    failed.ret = ret;
    failed.rule = rule;
    // SAFETY: a field of the record, 8-byte aligned, made of integers.
    unsafe { emit::clear_words(&raw mut failed.reserved) };
    let size = size_of::<ConnectFailed>() as u32;
    emit::output(ctx, emitter, scratch, Kind::ConnectFailed, 0, size);
    Some(())
}
