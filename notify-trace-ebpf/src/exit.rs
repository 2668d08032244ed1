//! `sched_process_exit`: a process that sent is gone, and what its thread had in flight with it.

use aya_ebpf::programs::RawTracePointContext;
use notify_trace_common::limits::Emitter;
use notify_trace_common::record::{Exit, Kind};

use crate::maps::{CALLS, CONNECTS, RECEIVES, RECEIVING, SENDERS};
use crate::read::{SIGNAL_LIVE, TASK_GROUP_LEADER, TASK_SIGNAL, pointer, read};
use crate::{emit, slots, task};

#[inline(always)]
pub fn try_exit(ctx: &RawTracePointContext) -> Option<()> {
    let thread = task::thread();
    // No thread exits within a call, so what it leaves behind is a call whose end was missed.
    let calls = u64::from(CALLS.remove(thread).is_ok());
    let receives = u64::from(RECEIVES.remove(thread).is_ok());
    let connects = u64::from(CONNECTS.remove(thread).is_ok());
    let left = u64::from(slots::abandon());
    let missed = calls + receives + connects + left;
    if missed > 0 {
        emit::counters(Emitter::Exit)?.returns_missed += missed;
    }
    let _ = RECEIVING.remove(thread);
    let process = task::process();
    // SAFETY: an integer that only this side writes.
    let start_boottime_ns = *unsafe { SENDERS.get(process) }?;
    let current = task::current();
    let leader = pointer(current, &TASK_GROUP_LEADER).unwrap_or(current);
    if task::start_boottime_ns(leader) != start_boottime_ns {
        // The process id was reused: the sender is gone already.
        let _ = SENDERS.remove(process);
        return None;
    }
    let signal = pointer(current, &TASK_SIGNAL)?;
    if read::<u32>(signal, &SIGNAL_LIVE)? != 0 {
        // Other threads of the process live on.
        return None;
    }
    SENDERS.remove(process).ok()?;
    let scratch = emit::scratch(Emitter::Exit)?;
    let exit = emit::record::<Exit>(scratch);
    exit.start_boottime_ns = start_boottime_ns;
    exit.tgid = process;
    exit.reserved = 0;
    emit::output(
        ctx,
        Emitter::Exit,
        scratch,
        Kind::Exit,
        0,
        size_of::<Exit>() as u32,
    );
    Some(())
}
