//! `unix_dgram_sendmsg`: a call begins and ends.
//!
//! The end is seen by a trampoline and by a return probe, because each misses some: whichever comes
//! first takes the call out of the table and writes the outcome.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::{FExitContext, ProbeContext, RetProbeContext};
use notify_trace_common::limits::Emitter;
use notify_trace_common::record::{Kind, Outcome, SEND_NOT_COPIED, SEND_UNREADABLE};

use crate::emit::Loss;
use crate::maps::{CALL_COPIED, CALLS, Call};
use crate::payload::{Sending, emit_send, mark, rule_by_destination};
use crate::read::{SOCK_TYPE, SOCKET_SK, pointer, read};
use crate::{emit, slots, task, waiting};

/// The fourth slot of a trampoline's context is the return value of a function of three arguments.
/// (`bpf_get_func_ret` would need Linux 5.17.)
const RETURN_SLOT: usize = 3;

#[inline(always)]
pub fn try_entry(ctx: &ProbeContext) -> Option<()> {
    let sk = pointer(ctx.arg::<u64>(0)?, &SOCKET_SK)?;
    // SOCK_SEQPACKET comes through here too.
    if read::<u16>(sk, &SOCK_TYPE)? != 2 || !task::is_wanted() {
        return None;
    }
    let (msg, len) = (ctx.arg::<u64>(1)?, ctx.arg::<u64>(2)? as u32);
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    slots::begin_in_table(Emitter::SendEntry, task::thread(), sk, msg, len, now_ns)
}

#[inline(always)]
pub fn try_exit_trampoline(ctx: &FExitContext) -> Option<()> {
    finish(
        ctx,
        Emitter::SendExitTrampoline,
        ctx.arg::<i32>(RETURN_SLOT),
    )
}

#[inline(always)]
pub fn try_exit_probe(ctx: &RetProbeContext) -> Option<()> {
    finish(ctx, Emitter::SendExitProbe, ctx.ret::<i32>())
}

#[inline(always)]
fn finish<C: EbpfContext>(ctx: &C, emitter: Emitter, ret: i32) -> Option<()> {
    let thread = task::thread();
    // SAFETY: the key is the current thread, so nothing else uses this entry.
    let mut call: Call = *unsafe { CALLS.get(thread) }?;
    let _ = CALLS.remove(thread);
    if ret < 0 && call.skb != 0 && call.id != 0 {
        waiting::withdraw_from_table(call.skb, call.id);
    }
    conclude(ctx, emitter, &mut call, ret)
}

/// Writes how a call ended, and the datagram if that was not done.
#[inline(always)]
pub fn conclude<C: EbpfContext>(
    ctx: &C,
    emitter: Emitter,
    call: &mut Call,
    ret: i32,
) -> Option<()> {
    if call.id == 0 {
        // Nothing was written so far, and `queue` did not find it unrelated: it failed before it was
        // queued, a filter dropped it, or a program was skipped. If the end of its copy was seen,
        // the destination was looked at then, and is none of ours.
        if call.flags & CALL_COPIED != 0 {
            return None;
        }
        let scratch = emit::scratch(emitter)?;
        let rule = rule_by_destination(scratch, call.msg, call.sk);
        if rule == 0 {
            return None;
        }
        call.rule = rule;
        if call.skb == 0 && ret < 0 {
            mark(scratch, SEND_NOT_COPIED);
        } else {
            mark(scratch, SEND_UNREADABLE);
            emit::count(emitter, Loss::Unreadable);
        }
        let of = Sending::by_helper(call);
        emit_send(ctx, emitter, scratch, call, &of);
    }
    let scratch = emit::scratch(emitter)?;
    let outcome = emit::record::<Outcome>(scratch);
    outcome.receiver_inode = call.receiver_inode;
    outcome.queued_ns = call.queued_ns;
    outcome.queue_len = call.queue_len;
    outcome.queue_tries = call.queue_tries;
    outcome.ret = ret;
    outcome.rule = call.rule;
    outcome.reserved = 0;
    emit::output(
        ctx,
        emitter,
        scratch,
        Kind::Outcome,
        call.id,
        size_of::<Outcome>() as u32,
    );
    Some(())
}
