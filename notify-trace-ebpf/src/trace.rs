//! The tracepoint plan, for kernels that allow neither kprobes nor trampolines: datagrams are seen
//! when they are received.
//!
//! `sock_send_length` fires in the sender after the call, without the datagram: it remembers who
//! used the socket. `skb_copy_datagram_iovec` fires in the receiver with the whole buffer, but
//! without the receiving socket. `sock_recv_length` follows in the same task with the socket: there
//! it is decided whether anyone wants to see it. The receiver may be faster than the sender's
//! return; then the sender's record comes late, under the same id.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::programs::RawTracePointContext;
use notify_trace_common::limits::{Emitter, PAYLOAD_MAX};
use notify_trace_common::record::{
    DEQUEUE_CREDENTIALS, Dequeue, Kind, LateSender, QUEUE_LEN_UNKNOWN, SEND_CLAIM_UNKNOWN,
    SEND_CONNECTED, SEND_SENDER_BY_SOCKET, SEND_SENDER_UNKNOWN, SEND_UNREADABLE, Send, Task,
};

use crate::emit::{Loss, put_address};
use crate::maps::{LAST_SENDERS, LastSender, RECEIVING, Receiving, SENDERS, WANTED, Wanted};
use crate::payload::{is_unix_datagram, socket_inode, take_payload};
use crate::queue::{announce_receiver, receiver_key, receiver_state};
use crate::read::{ByHelper, SKB_SK, SOCK_QUEUE_LEN, UNIX_SOCK_PEER, pointer, read};
use crate::receive::{tell, told};
use crate::{cgroup, emit, select, task};

/// `MSG_PEEK`, `include/linux/socket.h`.
const MSG_PEEK: i32 = 2;

#[inline(always)]
pub fn try_send(ctx: &RawTracePointContext) -> Option<()> {
    let sk = ctx.arg::<u64>(0);
    let ret = ctx.arg::<i32>(1);
    if ret < 0 || !is_unix_datagram(sk) {
        return None;
    }
    let emitter = Emitter::TraceSend;
    let scratch = emit::scratch(emitter)?;
    let cgroup_id = cgroup::announce(ctx, emitter, scratch);
    let inode = socket_inode(sk);
    let last = emit::record::<LastSender>(scratch);
    task::describe(&mut last.task, cgroup_id);
    last.inode = inode;
    last.is_wanted = u64::from(task::is_wanted());
    let sender = last.task;
    // First this, then the look at WANTED; `try_receive` does it the other way round, so that at
    // least one of the two sees the other.
    let _ = LAST_SENDERS.insert(sk, &*last, 0);
    // SAFETY: an integer that only this side writes.
    let wanted = *unsafe { WANTED.get(sk) }?;
    WANTED.remove(sk).ok()?;
    if wanted.inode != inode {
        // Of a socket that is gone, and whose `struct sock` is reused.
        return None;
    }
    let late = emit::record::<LateSender>(scratch);
    late.sender = sender;
    late.ret = ret;
    late.reserved = 0;
    emit::output(
        ctx,
        emitter,
        scratch,
        Kind::LateSender,
        wanted.id,
        size_of::<LateSender>() as u32,
    );
    Some(())
}

#[inline(always)]
pub fn try_copy(ctx: &RawTracePointContext) -> Option<()> {
    let skb = ctx.arg::<u64>(0);
    let sk = pointer(skb, &SKB_SK)?;
    if !is_unix_datagram(sk) {
        return None;
    }
    let emitter = Emitter::TraceCopy;
    let scratch = emit::scratch(emitter)?;
    let is_connected = match pointer(sk, &UNIX_SOCK_PEER) {
        Some(peer) => select::take_bound(scratch, peer),
        None => false,
    };
    if !is_connected {
        emit::clear_address(scratch);
    }
    put_address(scratch, core::mem::offset_of!(Send, address));
    let send = emit::record::<Send>(scratch);
    send.len = 0;
    send.captured = 0;
    let is_read = take_payload::<ByHelper>(scratch, skb).is_some();
    if !is_read {
        emit::count(emitter, Loss::Unreadable);
    }
    // The payload now stands behind a `Send`, as it does in a `Receiving`.
    let told = told::<ByHelper>(skb);
    let send = emit::record::<Send>(scratch);
    send.socket_inode = socket_inode(sk);
    send.entry_ns = 0;
    send.receiver_inode = 0;
    send.fds = told.fds;
    send.claimed_pid = 0;
    send.claimed_uid = 0;
    send.claimed_gid = 0;
    send.rule = 0;
    send.reserved = 0;
    send.flags = SEND_CLAIM_UNKNOWN
        | if is_connected { SEND_CONNECTED } else { 0 }
        | if is_read { 0 } else { SEND_UNREADABLE };
    let thread = task::thread();
    let receiving = emit::record::<Receiving>(scratch);
    receiving.sk = sk;
    receiving.told = told;
    receiving.pad = 0;
    if RECEIVING.insert(thread, &*receiving, 0).is_err() {
        emit::count(emitter, Loss::CallsFull);
    }
    Some(())
}

#[inline(always)]
pub fn try_receive(ctx: &RawTracePointContext) -> Option<()> {
    let thread = task::thread();
    let receiving = RECEIVING.get_ptr_mut(thread)?;
    // SAFETY: the key is the current thread, so nothing else uses this entry.
    let receiving = unsafe { &mut *receiving };
    let done = receive(ctx, receiving);
    let _ = RECEIVING.remove(thread);
    done
}

#[inline(always)]
fn receive(ctx: &RawTracePointContext, receiving: &mut Receiving) -> Option<()> {
    let sk = ctx.arg::<u64>(0);
    if ctx.arg::<i32>(2) & MSG_PEEK != 0 || !is_unix_datagram(sk) {
        return None;
    }
    let emitter = Emitter::TraceReceive;
    let scratch = emit::scratch(emitter)?;
    let inode = socket_inode(sk);
    let key = receiver_key(sk, inode);
    let state = receiver_state(scratch, &key);
    if state.rule == 0 {
        return None;
    }
    let mut last = last_sender(receiving);
    match last {
        Some(last) if last.is_wanted == 0 => return None,
        None if task::is_filtering() => {
            // Who sent it decides whether it is wanted, and is not known yet.
            emit::count(emitter, Loss::Undecided);
            return None;
        }
        _ => {}
    }
    let id = emit::new_id(emitter, scratch);
    let socket_inode = receiving.send.socket_inode;
    // A socket without an inode number is closed: its sender returned long ago.
    if last.is_none() && socket_inode != 0 {
        let wanted = Wanted {
            id,
            inode: socket_inode,
        };
        let _ = WANTED.insert(receiving.sk, wanted, 0);
        last = last_sender(receiving);
    }
    announce_receiver(ctx, emitter, scratch, &key, state);
    let cgroup_id = cgroup::announce(ctx, emitter, scratch);
    // SAFETY: a `Send` and a whole payload fit into the room; the helper checks the source.
    let rc = unsafe {
        bpf_probe_read_kernel(
            scratch.record.as_mut_ptr().cast(),
            (size_of::<Send>() + PAYLOAD_MAX) as u32,
            (&raw const receiving.send).cast(),
        )
    };
    if rc != 0 {
        emit::count(emitter, Loss::Unreadable);
        return None;
    }
    let send = emit::record::<Send>(scratch);
    send.receiver_inode = inode;
    send.rule = state.rule;
    match last {
        Some(last) => {
            send.sender = last.task;
            send.flags |= SEND_SENDER_BY_SOCKET;
        }
        None => {
            send.sender = Task::ZERO;
            send.flags |= SEND_SENDER_UNKNOWN;
        }
    }
    let sender = send.sender;
    let captured = send.captured;
    let len = send.len;
    let size = size_of::<Send>() as u32 + captured;
    emit::output(ctx, emitter, scratch, Kind::Send, id, size);
    if sender.tgid != 0 {
        // Only a cache: if it can't be kept, the exit is not reported.
        let _ = SENDERS.insert(sender.tgid, sender.start_boottime_ns, 0);
    }
    let dequeue = emit::record::<Dequeue>(scratch);
    task::describe(&mut dequeue.reader, cgroup_id);
    dequeue.receiver_inode = inode;
    dequeue.queued_ns = 0;
    dequeue.len = len;
    dequeue.queue_len = read::<u32>(sk, &SOCK_QUEUE_LEN).unwrap_or(QUEUE_LEN_UNKNOWN);
    dequeue.rule = state.rule;
    tell(dequeue, receiving.told);
    emit::output(
        ctx,
        emitter,
        scratch,
        Kind::Dequeue,
        id,
        size_of::<Dequeue>() as u32,
    );
    Some(())
}

/// Who last sent through the socket that a datagram came from; `None` unless it is that very
/// socket, and, where the receiver is told who sent, unless it is that very process.
#[inline(always)]
fn last_sender(receiving: &Receiving) -> Option<&'static LastSender> {
    let last = LAST_SENDERS.get_ptr(receiving.sk)?;
    // SAFETY: an entry that is evicted while it is read may be another socket's; its inode number
    // is checked, and a mix of both would have to happen within a copy of 64 bytes.
    let last = unsafe { &*last };
    let inode = receiving.send.socket_inode;
    if inode != 0 && last.inode != inode {
        return None;
    }
    // A closed socket has no inode number any more; then the credentials have to agree.
    let is_told = receiving.told.flags & DEQUEUE_CREDENTIALS != 0;
    if inode == 0 && (!is_told || receiving.told.pid != last.task.tgid) {
        return None;
    }
    Some(last)
}
