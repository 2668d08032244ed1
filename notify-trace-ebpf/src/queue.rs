//! `security_unix_may_send`: the receiving socket is known, and the datagram is about to be queued.
//!
//! It is called once per try, so again whenever a sender that waited for room is woken, and with
//! the receiver's lock held: nothing else is queued meanwhile. `connect(2)` calls it too.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::ProbeContext;
use notify_trace_common::limits::Emitter;
use notify_trace_common::record::{Kind, QUEUE_LEN_UNKNOWN, Receiver};

use crate::emit::put_address;
use crate::maps::{
    CALL_COPIED, CALLS, Call, INODES, Queued, RECEIVER_ANNOUNCED, RECEIVER_TRACKED, RECEIVERS,
    ReceiverKey, ReceiverState, Scratch,
};
use crate::payload::{Sending, call_of, emit_send, rule_by_destination, take_destination};
use crate::read::{
    ByHelper, SOCK_QUEUE_LEN, SOCKET_INODE, SOCKET_SK, UNIX_SOCK_ADDR, Way, pointer, read_or_0,
};
use crate::{emit, select, task, waiting};

/// The key of a receiving socket.
#[inline(always)]
pub fn receiver_key(sk: u64, inode: u64) -> ReceiverKey {
    ReceiverKey {
        sk,
        address: read_or_0(sk, &UNIX_SOCK_ADDR),
        inode,
    }
}

/// What is known of a receiving socket; found out at its first datagram.
#[inline(always)]
pub fn receiver_state(scratch: &mut Scratch, key: &ReceiverKey) -> ReceiverState {
    ReceiverState::from_word(look_at_receiver(scratch, key))
}

/// A state as one word: a subprogram, whose ways end where it does, answers in one register.
#[inline(never)]
pub fn look_at_receiver(scratch: &mut Scratch, key: &ReceiverKey) -> u64 {
    // SAFETY: copied at once; only this side writes it, and an entry that is evicted and reused
    // meanwhile costs one wrong look at a cache whose answers are verified by the key's inode.
    if let Some(state) = unsafe { RECEIVERS.get(key) } {
        return state.word();
    }
    // SAFETY: an integer that only userspace writes, before anything is attached.
    let by_inode = unsafe { INODES.get(key.inode) }.copied().unwrap_or(0);
    let rule = if by_inode != 0 {
        by_inode
    } else if select::take_bound(scratch, key.sk) {
        select::rule(scratch)
    } else {
        0
    };
    let state = ReceiverState { rule, flags: 0 };
    let _ = RECEIVERS.insert(key, state, 0);
    state.word()
}

/// Writes a receiving socket's name unless that was done; the state if it is another one now.
#[inline(always)]
pub fn announce_receiver<C: EbpfContext>(
    ctx: &C,
    emitter: Emitter,
    scratch: &mut Scratch,
    key: &ReceiverKey,
    state: ReceiverState,
) -> Option<ReceiverState> {
    let wanted = RECEIVER_ANNOUNCED | if state.rule == 0 { RECEIVER_TRACKED } else { 0 };
    if state.flags & wanted == wanted {
        return None;
    }
    if !select::take_bound(scratch, key.sk) {
        emit::clear_address(scratch);
    }
    put_address(scratch, core::mem::offset_of!(Receiver, address));
    let record = emit::record::<Receiver>(scratch);
    record.inode = key.inode;
    record.rule = state.rule;
    record.reserved = 0;
    let size = size_of::<Receiver>() as u32;
    let mut flags = state.flags | wanted;
    if !emit::output(ctx, emitter, scratch, Kind::Receiver, 0, size) {
        // The next one tries again.
        flags &= !RECEIVER_ANNOUNCED;
    }
    let state = ReceiverState { flags, ..state };
    let _ = RECEIVERS.insert(key, state, 0);
    Some(state)
}

#[inline(always)]
pub fn try_queue(ctx: &ProbeContext) -> Option<()> {
    let sk = pointer(ctx.arg::<u64>(0)?, &SOCKET_SK)?;
    let call = call_of(sk)?;
    if call.skb == 0 {
        // connect(2), or a call whose copy was not seen.
        return None;
    }
    let receiver_socket = ctx.arg::<u64>(1)?;
    let receiver_sk = pointer(receiver_socket, &SOCKET_SK)?;
    let inode = read_or_0(receiver_socket, &SOCKET_INODE);
    let scratch = emit::scratch(Emitter::Queue)?;
    let key = receiver_key(receiver_sk, inode);
    let state = receiver_state(scratch, &key);
    if state.rule == 0 && call.id == 0 {
        // The end of its copy may have been missed, and with it the look at the destination.
        if call.flags & CALL_COPIED == 0 {
            call.rule = rule_by_destination(scratch, call.msg, call.sk);
        }
        if call.rule == 0 {
            // Unrelated: what follows of this call is found missing at once.
            let _ = CALLS.remove(task::thread());
            return None;
        }
    }
    announce_receiver(ctx, Emitter::Queue, scratch, &key, state);
    let queued = join::<_, ByHelper>(ctx, Emitter::Queue, scratch, call, receiver_sk, &key, state);
    waiting::put_in_table(Emitter::Queue, call.skb, &queued);
    Some(())
}

/// How many datagrams wait in the queue of a `struct sock`.
#[inline(always)]
pub fn queue_length<W: Way>(sk: u64) -> u32 {
    W::find(sk, &SOCK_QUEUE_LEN).unwrap_or(QUEUE_LEN_UNKNOWN)
}

/// A datagram is about to join the queue of a receiver: it is written if that was not done. What has to be
/// remembered until it leaves: before it is queued, because the receiver may be faster than anything that
/// comes after.
#[inline(always)]
pub fn join<C: EbpfContext, W: Way>(
    ctx: &C,
    emitter: Emitter,
    scratch: &mut Scratch,
    call: &mut Call,
    receiver_sk: u64,
    key: &ReceiverKey,
    state: ReceiverState,
) -> Queued {
    if state.rule != 0 {
        call.rule = state.rule;
    }
    // SAFETY: a helper without arguments.
    call.queued_ns = unsafe { bpf_ktime_get_ns() };
    call.queue_tries += 1;
    call.queue_len = queue_length::<W>(receiver_sk);
    call.receiver_sk = key.sk;
    call.receiver_inode = key.inode;
    if call.id == 0 {
        // If the copy's return was missed: had it failed, the call would not have come here.
        take_destination(scratch, call.msg, call.sk);
        let of = Sending::by_helper(call);
        emit_send(ctx, emitter, scratch, call, &of);
    }
    Queued {
        id: call.id,
        sk: call.sk,
        receiver_sk: key.sk,
        receiver_inode: key.inode,
        queued_ns: call.queued_ns,
        rule: call.rule,
        pad: 0,
    }
}
