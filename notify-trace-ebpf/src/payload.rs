//! `skb_copy_datagram_from_iter`: the payload, exactly as the receiver will get it.
//!
//! The entry notes which socket buffer a call fills and what came with it; the return writes the
//! datagram if the address that the sender wrote (or the connected peer's) is selected. Return
//! probes may be missed while many tasks sleep in this function, which stream sockets use too; then
//! `queue` writes the datagram. Only a send that fails before it is queued needs the return.

use core::marker::PhantomData;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use notify_trace_common::limits::{Emitter, PAYLOAD_MAX};
use notify_trace_common::record::{
    Kind, SEND_CLAIM_UNKNOWN, SEND_CLAIMED, SEND_CONNECTED, SEND_FDS_UNKNOWN, SEND_NOT_COPIED,
    SEND_UNREADABLE, Send,
};

use crate::emit::{Loss, at_most, put_address};
use crate::maps::{CALL_CLAIMED, CALL_CONTROL, CALL_COPIED, CALLS, Call, SENDERS, Scratch};
use crate::read::{
    ByHelper, MSG_NAME, MSG_NAMELEN, Pair, SCM_FP_COUNT, SKB_CB, SKB_DATA, SKB_DATA_LEN, SKB_LEN,
    SKB_SK, SOCK_FAMILY, SOCK_SOCKET, SOCK_TYPE, SOCKET_INODE, UNIX_SOCK_PEER, UNIXCB_FP,
    UNIXCB_GID, UNIXCB_PID, UNIXCB_UID, Way, field, pointer, read, read_or_0, read_pair,
};
use crate::task::OfTask;
use crate::{cgroup, emit, select, task};

pub const AF_UNIX: u16 = 1;
pub const SOCK_DGRAM: u16 = 2;

/// Whether a `struct sock` is a datagram socket of AF_UNIX.
#[inline(always)]
pub fn is_unix_datagram(sk: u64) -> bool {
    read::<u16>(sk, &SOCK_TYPE) == Some(SOCK_DGRAM)
        && read::<u16>(sk, &SOCK_FAMILY) == Some(AF_UNIX)
}

/// Inode number of the socket file of a `struct sock`, 0 where unknown.
#[inline(always)]
pub fn socket_inode(sk: u64) -> u64 {
    read_or_0(read_or_0(sk, &SOCK_SOCKET), &SOCKET_INODE)
}

/// The current thread's call, if it is one on the socket `sk`.
#[inline(always)]
pub fn call_of(sk: u64) -> Option<&'static mut Call> {
    let call = CALLS.get_ptr_mut(task::thread())?;
    // SAFETY: the key is the current thread, so nothing else uses this entry; the map outlives the
    // program.
    let call = unsafe { &mut *call };
    (call.sk == sk).then_some(call)
}

#[inline(always)]
pub fn try_entry(ctx: &ProbeContext) -> Option<()> {
    let skb = ctx.arg::<u64>(0)?;
    let sk = pointer(skb, &SKB_SK)?;
    if !is_unix_datagram(sk) {
        return None;
    }
    let call = call_of(sk)?;
    call.skb = skb;
    call.flags &= !(CALL_COPIED | CALL_CONTROL | CALL_CLAIMED);
    keep_control_block(call)
}

#[inline(always)]
pub fn try_return(ctx: &RetProbeContext) -> Option<()> {
    let call = CALLS.get_ptr_mut(task::thread())?;
    // SAFETY: as in `call_of`.
    let call = unsafe { &mut *call };
    if call.skb == 0 {
        return None;
    }
    if ctx.ret::<i32>() != 0 {
        // The rest of the buffer is uninitialised: there is no payload.
        call.skb = 0;
        return None;
    }
    call.flags |= CALL_COPIED;
    if call.id != 0 {
        return None;
    }
    let scratch = emit::scratch(Emitter::CopyReturn)?;
    let rule = rule_by_destination(scratch, call.msg, call.sk);
    if rule != 0 {
        call.rule = rule;
        let of = Sending::by_helper(call);
        emit_send(ctx, Emitter::CopyReturn, scratch, call, &of);
    }
    Some(())
}

/// Keeps what the control block says: it is filled before the copy, and some kernels add the
/// sender's own credentials to it before `queue`. Values, not pointers: the socket buffer may be
/// freed before they are written.
#[inline(always)]
pub fn keep_control_block(call: &mut Call) -> Option<()> {
    let cb = field(call.skb, &SKB_CB)?;
    let fds = read::<u64>(cb, &UNIXCB_FP)?;
    call.fds = if fds == 0 {
        0
    } else {
        u32::from(read::<u16>(fds, &SCM_FP_COUNT)?)
    };
    let pid = read::<u64>(cb, &UNIXCB_PID)?;
    if pid != 0 {
        call.claimed_pid = task::pid_number(pid)?;
        call.claimed_uid = read::<u32>(cb, &UNIXCB_UID)?;
        call.claimed_gid = read::<u32>(cb, &UNIXCB_GID)?;
        call.flags |= CALL_CLAIMED;
    }
    call.flags |= CALL_CONTROL;
    Some(())
}

/// The rule that the destination matches, which stays in the room; 0: none.
#[inline(always)]
pub fn rule_by_destination(scratch: &mut Scratch, msg: u64, sk: u64) -> u32 {
    if take_destination(scratch, msg, sk) {
        select::rule(scratch)
    } else {
        0
    }
}

/// Where the name lies that the sender wrote, and how long it is.
#[inline(always)]
pub fn written_name(msg: u64) -> Pair<u64, u32> {
    read_pair(msg, &MSG_NAME, &MSG_NAMELEN)
}

/// Puts the destination into the room: the address that the sender wrote, or its connected peer's. Without
/// one, an empty address lies there.
#[inline(never)]
pub fn take_destination(scratch: &mut Scratch, msg: u64, sk: u64) -> bool {
    scratch.flags = 0;
    let name = written_name(msg);
    if name.first != 0 && name.second != 0 {
        if select::take_sockaddr(scratch, name.first, name.second) {
            return true;
        }
    } else if let Some(peer) = pointer(sk, &UNIX_SOCK_PEER)
        && select::take_bound(scratch, peer)
    {
        scratch.flags = SEND_CONNECTED;
        return true;
    }
    emit::clear_address(scratch);
    false
}

/// The kernel's objects of a call, and how they are read.
pub struct Sending<W: Way> {
    /// The sending `struct sock`.
    pub sk: u64,
    /// The `struct sk_buff`, 0 where there is none.
    pub skb: u64,
    way: PhantomData<W>,
}

impl<W: Way> Sending<W> {
    /// Both have to be what this way can read.
    #[inline(always)]
    pub const fn new(sk: u64, skb: u64) -> Self {
        Self {
            sk,
            skb,
            way: PhantomData,
        }
    }
}

impl Sending<ByHelper> {
    /// What is noted of a call.
    #[inline(always)]
    pub const fn by_helper(call: &Call) -> Self {
        Self::new(call.sk, call.skb)
    }
}

/// Writes a datagram, whose destination and flags lie in the room; from then on the call has an id, whether
/// the ring took the record or not.
#[inline(always)]
pub fn emit_send<C: EbpfContext, W: OfTask>(
    ctx: &C,
    emitter: Emitter,
    scratch: &mut Scratch,
    call: &mut Call,
    of: &Sending<W>,
) {
    let cgroup_id = cgroup::announce(ctx, emitter, scratch);
    call.id = emit::new_id(emitter, scratch);
    put_address(scratch, core::mem::offset_of!(Send, address));
    let (send, known) = emit::record_and_known::<Send>(scratch);
    W::describe(&mut send.sender, known, cgroup_id);
    send.entry_ns = call.entry_ns;
    // What a socket's inode lies in is no part of what the verifier knows a socket to be.
    send.socket_inode = read_or_0(W::get(of.sk, &SOCK_SOCKET), &SOCKET_INODE);
    send.receiver_inode = call.receiver_inode;
    send.rule = call.rule;
    send.len = call.len;
    for field in [
        &raw mut send.captured,
        &raw mut send.fds,
        &raw mut send.claimed_pid,
        &raw mut send.claimed_uid,
        &raw mut send.claimed_gid,
    ] {
        // SAFETY: a field of the record, aligned; volatile, because a run of zeros becomes a call that goes
        // byte by byte.
        unsafe { field.write_volatile(0) };
    }
    send.reserved = 0;
    if call.flags & CALL_CONTROL == 0 {
        mark(scratch, SEND_CLAIM_UNKNOWN | SEND_FDS_UNKNOWN);
    } else {
        send.fds = call.fds;
        if call.flags & CALL_CLAIMED != 0 {
            send.claimed_pid = call.claimed_pid;
            send.claimed_uid = call.claimed_uid;
            send.claimed_gid = call.claimed_gid;
            mark(scratch, SEND_CLAIMED);
        }
    }
    let send = emit::record::<Send>(scratch);
    let sender = send.sender.tgid;
    let start = send.sender.start_boottime_ns;
    if scratch.flags & (SEND_NOT_COPIED | SEND_UNREADABLE) == 0 {
        match take_payload::<W>(scratch, of.skb) {
            Some(()) => {}
            None => {
                mark(scratch, SEND_UNREADABLE);
                emit::count(emitter, Loss::Unreadable);
            }
        }
    }
    let flags = scratch.flags;
    let send = emit::record::<Send>(scratch);
    send.flags = flags;
    let size = size_of::<Send>() as u32 + send.captured;
    let id = call.id;
    emit::output(ctx, emitter, scratch, Kind::Send, id, size);
    remember_sender(sender, start);
}

/// Adds flags to those of the `Send` that is being built. They are collected in memory: in a register each
/// would be a way of its own for the verifier.
#[inline(always)]
pub fn mark(scratch: &mut Scratch, bits: u32) {
    let flags = &raw mut scratch.flags;
    // SAFETY: a field of a map's value, aligned; volatile, so that it stays in memory.
    unsafe { flags.write_volatile(flags.read_volatile() | bits) };
}

/// Has the exit of a sending process reported. Only a cache: if it can't be kept, the exit is not.
#[inline(always)]
fn remember_sender(process: u32, start_boottime_ns: u64) {
    // A look costs a fifth of an insertion, and most processes send more than once.
    // SAFETY: an integer that only this side writes.
    if unsafe { SENDERS.get(process) }.copied() != Some(start_boottime_ns) {
        let _ = SENDERS.insert(process, start_boottime_ns, 0);
    }
}

/// Copies the linear part of a socket buffer behind the record, up to [`PAYLOAD_MAX`]. The first
/// 4096 bytes of a unix datagram are always linear.
#[inline(never)]
pub fn take_payload<W: Way>(scratch: &mut Scratch, skb: u64) -> Option<()> {
    let len = W::get::<u32>(skb, &SKB_LEN);
    let paged = W::get::<u32>(skb, &SKB_DATA_LEN);
    let data = W::get::<u64>(skb, &SKB_DATA);
    if data == 0 {
        return None;
    }
    let send = emit::record::<Send>(scratch);
    send.len = len;
    let linear = len.saturating_sub(paged);
    send.captured = 0;
    let captured = at_most::<{ PAYLOAD_MAX as u32 }, { 2 * PAYLOAD_MAX as u32 - 1 }>(
        &mut scratch.bound,
        linear,
    );
    if captured > PAYLOAD_MAX as u32 {
        return None;
    }
    // SAFETY: at most PAYLOAD_MAX bytes go behind the fixed part, inside the room.
    let rc = unsafe {
        bpf_probe_read_kernel(
            scratch.record.as_mut_ptr().add(size_of::<Send>()).cast(),
            captured,
            data as *const _,
        )
    };
    if rc != 0 {
        return None;
    }
    emit::record::<Send>(scratch).captured = captured;
    Some(())
}
