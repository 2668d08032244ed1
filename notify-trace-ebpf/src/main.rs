//! notify-trace, kernel side: one object for every plan and every kernel from 5.10 on.
//!
//! A datagram passes these programs in this order; each file is one stage of its way:
//!
//! * `send`: `unix_dgram_sendmsg` is entered (a call is noted) and left (its outcome is written).
//! * `payload`: `skb_copy_datagram_from_iter` has copied the bytes the receiver will get.
//! * `queue`: `security_unix_may_send` names the receiving socket, right before queueing.
//! * `receive`: `__skb_try_recv_datagram` takes the datagram out of the receiver's queue, and
//!   `unix_release` destroys what is left.
//! * `connect`: `unix_dgram_connect` failed.
//! * `exit`: a process that sent is gone.
//! * `tramp`: the same from trampolines, for kernels that don't preempt programs.
//! * `trace`: the same from raw tracepoints, for kernels that allow nothing else.
//!
//! Until it ends, `slots` keeps a call; between `queue` and `receive`, `waiting` keeps what is known of a
//! datagram.
//!
//! They share `select` (is this a notify socket?), `task` (who is this?), `cgroup` (its path,
//! once), `emit` (writing a record, counting a loss), `read` (kernel memory by BTF offset) and
//! `maps`. What is a datagram of interest is decided twice: by the address as the sender wrote it,
//! as soon as the payload is there, and by the receiving socket's own name, right before queueing.
//! Either is enough, so a send that fails early and a send by a strange spelling are both seen.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    reason = "a program has no items to name from outside; the modules say what each does"
)]
#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a map's key or value stays where it is: a copy may not fit the stack"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the kernel packs two ids into a word and answers lengths and errors as longs; sizes \
              of records are below SCRATCH_BYTES (asserted)"
)]

mod cgroup;
mod connect;
mod emit;
mod exit;
mod maps;
mod payload;
mod queue;
mod read;
mod receive;
mod select;
mod send;
mod slots;
mod task;
mod trace;
mod tramp;
mod waiting;

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint};
use aya_ebpf::programs::{
    FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext,
};

/// A program's answer; the kernel ignores it for all program types used here.
const DONE: u32 = 0;

#[kprobe]
pub fn send_entry(ctx: ProbeContext) -> u32 {
    send::try_entry(&ctx);
    DONE
}

#[fexit(function = "unix_dgram_sendmsg")]
pub fn send_exit_tramp(ctx: FExitContext) -> u32 {
    send::try_exit_trampoline(&ctx);
    DONE
}

#[kretprobe]
pub fn send_exit_probe(ctx: RetProbeContext) -> u32 {
    send::try_exit_probe(&ctx);
    DONE
}

#[kprobe]
pub fn copy_entry(ctx: ProbeContext) -> u32 {
    payload::try_entry(&ctx);
    DONE
}

#[kretprobe]
pub fn copy_return(ctx: RetProbeContext) -> u32 {
    payload::try_return(&ctx);
    DONE
}

#[kprobe]
pub fn queue(ctx: ProbeContext) -> u32 {
    queue::try_queue(&ctx);
    DONE
}

#[kprobe]
pub fn dequeue_entry(ctx: ProbeContext) -> u32 {
    receive::try_entry(&ctx);
    DONE
}

#[kretprobe]
pub fn dequeue_return(ctx: RetProbeContext) -> u32 {
    receive::try_return(&ctx);
    DONE
}

#[kprobe]
pub fn release(ctx: ProbeContext) -> u32 {
    receive::try_release(&ctx);
    DONE
}

#[kprobe]
pub fn connect_entry(ctx: ProbeContext) -> u32 {
    connect::try_entry(&ctx);
    DONE
}

#[kretprobe]
pub fn connect_return(ctx: RetProbeContext) -> u32 {
    connect::try_return(&ctx);
    DONE
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn exit(ctx: RawTracePointContext) -> u32 {
    exit::try_exit(&ctx);
    DONE
}

#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn trace_send(ctx: RawTracePointContext) -> u32 {
    trace::try_send(&ctx);
    DONE
}

#[raw_tracepoint(tracepoint = "skb_copy_datagram_iovec")]
pub fn trace_copy(ctx: RawTracePointContext) -> u32 {
    trace::try_copy(&ctx);
    DONE
}

#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn trace_receive(ctx: RawTracePointContext) -> u32 {
    trace::try_receive(&ctx);
    DONE
}

#[fentry(function = "unix_dgram_sendmsg")]
pub fn tramp_send(ctx: FEntryContext) -> u32 {
    tramp::try_send(&ctx);
    DONE
}

#[fexit(function = "skb_copy_datagram_from_iter")]
pub fn tramp_copy(ctx: FExitContext) -> u32 {
    tramp::try_copy(&ctx);
    DONE
}

#[fentry(function = "security_unix_may_send")]
pub fn tramp_queue(ctx: FEntryContext) -> u32 {
    tramp::try_queue(&ctx);
    DONE
}

#[fexit(function = "unix_dgram_sendmsg")]
pub fn tramp_sent(ctx: FExitContext) -> u32 {
    tramp::try_sent(&ctx);
    DONE
}

#[fexit(function = "__skb_try_recv_datagram")]
pub fn tramp_dequeue(ctx: FExitContext) -> u32 {
    tramp::try_dequeue(&ctx);
    DONE
}

#[fexit(function = "unix_dgram_connect")]
pub fn tramp_connect(ctx: FExitContext) -> u32 {
    tramp::try_connect(&ctx);
    DONE
}

#[fentry(function = "unix_release")]
pub fn tramp_release(ctx: FEntryContext) -> u32 {
    tramp::try_release(&ctx);
    DONE
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
