//! The receiver's side: `__skb_try_recv_datagram` takes a datagram out of a queue, `unix_release`
//! closes the socket with whatever is left in it.

use aya_ebpf::EbpfContext;
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use notify_trace_common::limits::Emitter;
use notify_trace_common::record::{
    DEQUEUE_CREDENTIALS, DEQUEUE_SENDER_GONE, DEQUEUE_SENDER_PRESENT, Dequeue, Kind, ReceiverClosed,
};

use crate::maps::{Queued, RECEIVERS, RECEIVES, ReceiverState, Scratch, Told};
use crate::payload::{is_unix_datagram, socket_inode};
use crate::queue::{queue_length, receiver_key};
use crate::read::{
    ByHelper, SCM_FP_COUNT, SKB_CB, SKB_LEN, SKB_SK, SOCKET_SK, UNIXCB_FP, UNIXCB_GID, UNIXCB_PID,
    UNIXCB_UID, Way, pointer, read_or_0,
};
use crate::task::OfTask;
use crate::{cgroup, emit, task, waiting};

/// `MSG_PEEK`, `include/linux/socket.h`: the datagram stays in the queue.
pub const MSG_PEEK: u32 = 2;

#[inline(always)]
pub fn try_entry(ctx: &ProbeContext) -> Option<()> {
    let sk = ctx.arg::<u64>(0)?;
    if ctx.arg::<u32>(2)? & MSG_PEEK != 0 || !is_unix_datagram(sk) {
        return None;
    }
    // A socket known to be none of ours needs no more; an unknown one may have been evicted.
    // SAFETY: copied at once.
    if let Some(state) = unsafe { RECEIVERS.get(receiver_key(sk, socket_inode(sk))) }
        && state.rule == 0
        && state.flags == 0
    {
        return None;
    }
    emit::begin(Emitter::DequeueEntry, &RECEIVES, &sk);
    Some(())
}

#[inline(always)]
pub fn try_return(ctx: &RetProbeContext) -> Option<()> {
    let thread = task::thread();
    // SAFETY: the key is the current thread, so nothing else uses this entry.
    let receiver_sk = *unsafe { RECEIVES.get(thread) }?;
    let _ = RECEIVES.remove(thread);
    let skb = ctx.ret::<u64>();
    if skb == 0 {
        return None;
    }
    let queued = waiting::take_from_table(skb, read_or_0(skb, &SKB_SK), receiver_sk)?;
    leave::<_, ByHelper>(ctx, Emitter::DequeueReturn, skb, receiver_sk, &queued)
}

/// A datagram of which so much is known has left the queue of a receiver.
#[inline(always)]
pub fn leave<C: EbpfContext, W: OfTask>(
    ctx: &C,
    emitter: Emitter,
    skb: u64,
    receiver_sk: u64,
    queued: &Queued,
) -> Option<()> {
    let scratch = emit::scratch(emitter)?;
    let cgroup_id = cgroup::announce(ctx, emitter, scratch);
    let (dequeue, known) = emit::record_and_known::<Dequeue>(scratch);
    W::describe(&mut dequeue.reader, known, cgroup_id);
    dequeue.receiver_inode = queued.receiver_inode;
    dequeue.queued_ns = queued.queued_ns;
    dequeue.len = W::get(skb, &SKB_LEN);
    dequeue.queue_len = queue_length::<W>(receiver_sk);
    dequeue.rule = queued.rule;
    tell(dequeue, told::<W>(skb));
    emit::output(
        ctx,
        emitter,
        scratch,
        Kind::Dequeue,
        queued.id,
        size_of::<Dequeue>() as u32,
    );
    Some(())
}

/// What the receiver is told about the sender, and whether that process is still there.
#[inline(always)]
pub fn told<W: Way>(skb: u64) -> Told {
    let mut told = Told {
        pid: 0,
        uid: 0,
        gid: 0,
        flags: 0,
        fds: 0,
    };
    let fds = W::get_within::<u64>(skb, &SKB_CB, &UNIXCB_FP);
    if fds != 0 {
        told.fds = read_or_0::<u16>(fds, &SCM_FP_COUNT).into();
    }
    let pid = W::get_within::<u64>(skb, &SKB_CB, &UNIXCB_PID);
    if pid != 0
        && let Some(number) = task::pid_number(pid)
    {
        told.pid = number;
        told.uid = W::get_within(skb, &SKB_CB, &UNIXCB_UID);
        told.gid = W::get_within(skb, &SKB_CB, &UNIXCB_GID);
        told.flags = DEQUEUE_CREDENTIALS
            | match task::pid_is_present(pid) {
                Some(true) => DEQUEUE_SENDER_PRESENT,
                Some(false) => DEQUEUE_SENDER_GONE,
                None => 0,
            };
    }
    told
}

/// Writes what the receiver is told into a record.
#[inline(always)]
pub fn tell(dequeue: &mut Dequeue, told: Told) {
    dequeue.told_pid = told.pid;
    dequeue.told_uid = told.uid;
    dequeue.told_gid = told.gid;
    dequeue.flags = told.flags;
    dequeue.fds = told.fds;
    dequeue.reserved = 0;
}

#[inline(always)]
pub fn try_release(ctx: &ProbeContext) -> Option<()> {
    let sk = pointer(ctx.arg::<u64>(0)?, &SOCKET_SK)?;
    if !is_unix_datagram(sk) {
        return None;
    }
    close(ctx, Emitter::Release, sk, ReceiverState::NOTHING)
}

/// A datagram socket of AF_UNIX is closed for good; what is known of it from elsewhere.
#[inline(always)]
pub fn close<C: EbpfContext>(
    ctx: &C,
    emitter: Emitter,
    sk: u64,
    known: ReceiverState,
) -> Option<()> {
    let key = receiver_key(sk, socket_inode(sk));
    let mut state = known;
    // SAFETY: copied at once.
    if let Some(found) = unsafe { RECEIVERS.get(key) } {
        state = *found;
        let _ = RECEIVERS.remove(key);
    }
    if state.rule == 0 && state.flags == 0 {
        return None;
    }
    let scratch: &mut Scratch = emit::scratch(emitter)?;
    let cgroup_id = cgroup::announce(ctx, emitter, scratch);
    let closed = emit::record::<ReceiverClosed>(scratch);
    task::describe(&mut closed.closer, cgroup_id);
    closed.inode = key.inode;
    closed.queue_len = queue_length::<ByHelper>(sk);
    closed.rule = state.rule;
    let size = size_of::<ReceiverClosed>() as u32;
    emit::output(ctx, emitter, scratch, Kind::ReceiverClosed, 0, size);
    Some(())
}
