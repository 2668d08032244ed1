//! The plan of trampolines, for kernels on which no program is preempted: the same stages as those of
//! the probes, each at a fraction of the cost.
//!
//! A trampoline calls its program directly, hands it the arguments with their types, so that fields are
//! plain loads, and at the end of a function the arguments again, so that nothing has to be carried
//! there. Where programs may be preempted, the kernel skips runs of them, and the plan of probes is
//! the one that loses nothing.
//!
//! What is unrelated leaves as early as it can be known: a stream at its socket's type, a datagram at
//! its destination (`VERDICTS`, by what the sender wrote) and at its receiver (`UNRELATED`).

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::{FEntryContext, FExitContext};
use notify_trace_common::limits::Emitter;

use crate::emit::Loss;
use crate::maps::{
    CALL_CONTROL, CALL_COPIED, CALL_UNRELATED, Connect, OPEN, RECEIVER_HAS_PLACES, ReceiverKey,
    ReceiverState, Scratch, UNRELATED, Unrelated,
};
use crate::payload::{
    AF_UNIX, SOCK_DGRAM, Sending, emit_send, keep_control_block, rule_by_destination, socket_inode,
    written_name,
};
use crate::read::{
    ByLoad, SKB_CB, SKB_SK, SOCK_FAMILY, SOCK_TYPE, SOCKET_INODE, SOCKET_SK, UNIX_SOCK_ADDR,
    UNIX_SOCK_PEER, UNIXCB_FP, UNIXCB_PID, peek, peek_within, pointer, read_or_0,
};
use crate::select::FAMILY_BYTES;
use crate::{connect, emit, queue, receive, select, send, slots, task, waiting};

/// Slots of a context that hold what the function returned: those behind its arguments.
/// (`bpf_get_func_ret` would need Linux 5.17.)
mod returned {
    pub const SENDMSG: usize = 3;
    pub const COPY: usize = 4;
    pub const RECEIVE: usize = 6;
    pub const CONNECT: usize = 4;
}

/// Whether a `struct sock` that can be peeked into is a datagram socket of AF_UNIX.
#[inline(always)]
fn is_unix_datagram(sk: u64) -> bool {
    peek::<u16>(sk, &SOCK_TYPE) == Some(SOCK_DGRAM)
        && peek::<u16>(sk, &SOCK_FAMILY) == Some(AF_UNIX)
}

/// Whether all programs are attached that the plan can't do without. Before, no call begins, and without one the others
/// have nothing to go by: so nothing is seen by half.
#[inline(always)]
fn is_open() -> bool {
    // SAFETY: an aligned integer, valid as long as the programs; userspace writes it once.
    unsafe { OPEN.place(0).read_volatile() != 0 }
}

/// `unix_dgram_sendmsg` is entered.
#[inline(always)]
pub fn try_send(ctx: &FEntryContext) -> Option<()> {
    let sk = peek::<u64>(ctx.arg::<u64>(0), &SOCKET_SK)?;
    // SOCK_SEQPACKET comes through here too.
    if peek::<u16>(sk, &SOCK_TYPE)? != SOCK_DGRAM || !is_open() {
        return None;
    }
    let msg = ctx.arg::<u64>(1);
    let len = ctx.arg::<u64>(2) as u32;
    // SAFETY: a helper without arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    slots::begin(Emitter::TrampSend, sk, msg, len, now_ns);
    Some(())
}

/// `skb_copy_datagram_from_iter` has returned.
#[inline(always)]
pub fn try_copy(ctx: &FExitContext) -> Option<()> {
    let skb = ctx.arg::<u64>(0);
    let sk = peek::<u64>(skb, &SKB_SK)?;
    if !is_unix_datagram(sk) {
        return None;
    }
    let call = slots::find(Emitter::TrampCopy, sk)?.call;
    if ctx.arg::<i32>(returned::COPY) != 0 {
        // The rest of the buffer is uninitialised: there is no payload.
        call.skb = 0;
        return None;
    }
    call.skb = skb;
    call.flags = CALL_COPIED;
    let fds = peek_within::<u64>(skb, &SKB_CB, &UNIXCB_FP);
    let claimed = peek_within::<u64>(skb, &SKB_CB, &UNIXCB_PID);
    if fds == Some(0) && claimed == Some(0) {
        call.fds = 0;
        call.flags |= CALL_CONTROL;
    } else {
        keep_control_block(call);
    }
    let scratch = emit::scratch(Emitter::TrampCopy)?;
    let rule = rule_of_destination(scratch, call.msg, call.sk);
    if rule == 0 {
        return None;
    }
    // Found once more rather than kept: where it was found would be a way of its own to here.
    let call = slots::find(Emitter::TrampCopy, sk)?.call;
    if !task::is_wanted() {
        call.flags |= CALL_UNRELATED;
        return None;
    }
    let call = slots::copy(Emitter::TrampCopy, call)?;
    call.rule = rule;
    let of: Sending<ByLoad> = Sending::new(sk, skb);
    emit_send(ctx, Emitter::TrampCopy, scratch, call, &of);
    slots::put_back(Emitter::TrampCopy, sk, call)
}

/// The rule that the destination matches, which lies in the room then, by the caches where they know it; 0:
/// none.
#[inline(always)]
fn rule_of_destination(scratch: &mut Scratch, msg: u64, sk: u64) -> u32 {
    let name = written_name(msg);
    if name.first != 0 && u64::from(name.second) > FAMILY_BYTES {
        let (path, len) = (name.first + FAMILY_BYTES, name.second - FAMILY_BYTES as u32);
        scratch.flags = 0;
        return select::rule_of_written(scratch, path, len);
    }
    let Some(peer) = pointer(sk, &UNIX_SOCK_PEER) else {
        return 0;
    };
    if is_known_unrelated(peer, socket_inode(peer)) {
        return 0;
    }
    rule_by_destination(scratch, msg, sk)
}

/// `security_unix_may_send` is entered.
#[inline(always)]
pub fn try_queue(ctx: &FEntryContext) -> Option<()> {
    let sk = peek::<u64>(ctx.arg::<u64>(0), &SOCKET_SK)?;
    let call = slots::find(Emitter::TrampQueue, sk)?.call;
    // Without a buffer it is connect(2).
    if call.skb == 0 || call.flags & CALL_UNRELATED != 0 {
        return None;
    }
    let is_written = call.id != 0;
    let receiver_socket = ctx.arg::<u64>(1);
    let receiver_sk = peek::<u64>(receiver_socket, &SOCKET_SK)?;
    // An inode is no part of what the verifier knows a socket to be.
    let inode = read_or_0(receiver_socket, &SOCKET_INODE);
    if !is_written && is_known_unrelated(receiver_sk, inode) {
        call.flags |= CALL_UNRELATED;
        return None;
    }
    let scratch = emit::scratch(Emitter::TrampQueue)?;
    let mut key = ReceiverKey {
        sk: receiver_sk,
        address: 0,
        inode,
    };
    let state = ReceiverState::from_word(look_at_receiver(scratch, &mut key));
    if state.rule == 0 && key.address != 0 {
        // A name is for good.
        remember_unrelated(receiver_sk, inode);
    }
    // As in `try_copy`.
    let call = slots::find(Emitter::TrampQueue, sk)?.call;
    if !is_written && (state.rule == 0 || !task::is_wanted()) {
        call.flags |= CALL_UNRELATED;
        return None;
    }
    let call = slots::copy(Emitter::TrampQueue, call)?;
    let has_places = state.flags & RECEIVER_HAS_PLACES != 0;
    let state = ReceiverState {
        flags: state.flags & !RECEIVER_HAS_PLACES,
        ..state
    };
    let changed = queue::announce_receiver(ctx, Emitter::TrampQueue, scratch, &key, state);
    if changed.is_some() || !has_places {
        waiting::claim(scratch, &key, changed.unwrap_or(state).word());
    }
    if call.queue_tries > 0 {
        // The sender waited for room. The receiver may be another one by now.
        waiting::withdraw(scratch, call.skb, call.id, call.receiver_sk);
    }
    let queued = queue::join::<_, ByLoad>(
        ctx,
        Emitter::TrampQueue,
        scratch,
        call,
        receiver_sk,
        &key,
        state,
    );
    waiting::put(Emitter::TrampQueue, scratch, call.skb, &queued);
    slots::put_back(Emitter::TrampQueue, sk, call)
}

/// What is known of a receiving socket, whose address is found meanwhile; found out at its first datagram.
#[inline(never)]
fn look_at_receiver(scratch: &mut Scratch, key: &mut ReceiverKey) -> u64 {
    if let Some((address, state)) = waiting::state_of(scratch, key.sk, key.inode) {
        key.address = address;
        return state.word();
    }
    key.address = read_or_0(key.sk, &UNIX_SOCK_ADDR);
    queue::look_at_receiver(scratch, key)
}

#[inline(always)]
fn unrelated_place(inode: u64) -> *mut Unrelated {
    UNRELATED.place((inode ^ (inode >> 12)) as u32)
}

/// Whether a receiving socket is known to be none of ours. A place that another CPU writes meanwhile
/// has an inode number that was looked at, whichever of the two it is.
#[inline(always)]
fn is_known_unrelated(sk: u64, inode: u64) -> bool {
    let place = unrelated_place(inode);
    // SAFETY: a map's value, valid as long as the programs; read word by word.
    let known = unsafe {
        (
            (&raw const (*place).inode).read_volatile(),
            (&raw const (*place).sk).read_volatile(),
        )
    };
    inode != 0 && known == (inode, sk)
}

#[inline(always)]
fn remember_unrelated(sk: u64, inode: u64) {
    if inode != 0 {
        // SAFETY: as above.
        unsafe { unrelated_place(inode).write_volatile(Unrelated { inode, sk }) };
    }
}

/// `unix_dgram_sendmsg` has returned.
#[inline(always)]
pub fn try_sent(ctx: &FExitContext) -> Option<()> {
    let sk = peek::<u64>(ctx.arg::<u64>(0), &SOCKET_SK)?;
    // As in `try_send`: what did not begin needs no search.
    if peek::<u16>(sk, &SOCK_TYPE)? != SOCK_DGRAM {
        return None;
    }
    let found = slots::find(Emitter::TrampSent, sk)?;
    if found.call.flags & CALL_UNRELATED != 0 {
        found.free();
        return None;
    }
    let call = slots::copy(Emitter::TrampSent, found.call)?;
    found.free();
    if call.id == 0 && !task::is_wanted() {
        return None;
    }
    let ret = ctx.arg::<i32>(returned::SENDMSG);
    if ret < 0 && call.skb != 0 && call.receiver_sk != 0 {
        let scratch = emit::scratch(Emitter::TrampSent)?;
        waiting::withdraw(scratch, call.skb, call.id, call.receiver_sk);
    }
    if ret >= 0 && call.flags & CALL_COPIED == 0 {
        // The end of its copy was not seen, so `try_queue` could not look at its receiver.
        emit::count(Emitter::TrampSent, Loss::ReturnsMissed);
    }
    send::conclude(ctx, Emitter::TrampSent, call, ret)
}

/// `__skb_try_recv_datagram` has returned.
#[inline(always)]
pub fn try_dequeue(ctx: &FExitContext) -> Option<()> {
    let skb = ctx.arg::<u64>(returned::RECEIVE);
    let sk = ctx.arg::<u64>(0);
    if skb == 0 || ctx.arg::<u32>(2) & receive::MSG_PEEK != 0 || !is_unix_datagram(sk) {
        return None;
    }
    let scratch = emit::scratch(Emitter::TrampDequeue)?;
    let queued = waiting::take(scratch, skb, peek::<u64>(skb, &SKB_SK)?, sk)?;
    receive::leave::<_, ByLoad>(ctx, Emitter::TrampDequeue, skb, sk, &queued)
}

/// `unix_dgram_connect` has returned.
#[inline(always)]
pub fn try_connect(ctx: &FExitContext) -> Option<()> {
    let ret = ctx.arg::<i32>(returned::CONNECT);
    if ret >= 0 || !task::is_wanted() {
        return None;
    }
    let connect = Connect {
        socket: ctx.arg::<u64>(0),
        address: ctx.arg::<u64>(1),
        len: u64::from(ctx.arg::<u32>(2)),
    };
    connect::fail(ctx, Emitter::TrampConnect, &connect, ret)
}

/// `unix_release` is entered.
#[inline(always)]
pub fn try_release(ctx: &FEntryContext) -> Option<()> {
    let sk = peek::<u64>(ctx.arg::<u64>(0), &SOCKET_SK)?;
    if sk == 0 || !is_unix_datagram(sk) {
        return None;
    }
    let scratch = emit::scratch(Emitter::TrampRelease)?;
    let known = waiting::close(scratch, sk, socket_inode(sk));
    receive::close(ctx, Emitter::TrampRelease, sk, known)
}
