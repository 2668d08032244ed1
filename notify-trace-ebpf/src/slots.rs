//! Where a call in flight is kept: in the plans with probes in a table, `CALLS`.
//!
//! Plan of trampolines: a hash costs more than all the rest of an
//! unrelated datagram, so each CPU has places of its own for calls that begin there.
//!
//! A place is taken only by the CPU it belongs to, and no program is preempted where this plan is
//! used, so nothing races for it. The call itself may go on, and end, on another CPU: then its place is
//! looked for. Where two threads want the same place, the second one goes to `CALLS`.
//!
//! A call may never be seen to end: whoever attaches to a function makes the kernel build a new trampoline,
//! and calls that are in the old one then return without it (`bpf_tramp_image_put`). So a place counts only
//! for the socket that it was taken for, and one that is left behind is freed and counted when its thread
//! sends again or exits.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use notify_trace_common::limits::{CPUS_WITH_SLOTS_MAX, Emitter, SLOTS_PER_CPU};

use crate::emit::Loss;
use crate::maps::{CALLS, CURRENT, Call, SLOTS};
use crate::{emit, task};

/// CPUs that `SLOTS` has places for, at most [`CPUS_WITH_SLOTS_MAX`]: so many the verifier follows without
/// complaint. Calls that begin on others go to `CALLS`.
#[unsafe(no_mangle)]
pub static CPUS: Global<u32> = Global::new(1);

/// A call that was found.
pub struct Found {
    /// The call.
    pub call: &'static mut Call,
    /// Whether it lies in `CALLS`.
    is_in_table: bool,
}

#[inline(always)]
fn place(cpu: u32, thread: u64) -> Option<&'static mut Call> {
    if cpu >= CPUS.load() {
        return None;
    }
    let place = SLOTS.get_ptr_mut(cpu * SLOTS_PER_CPU + (thread as u32 & (SLOTS_PER_CPU - 1)))?;
    // SAFETY: a map's value, valid as long as the programs; who may write it is said above.
    Some(unsafe { &mut *place })
}

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() }
}

/// A call of the current thread begins.
#[inline(always)]
pub fn begin(emitter: Emitter, sk: u64, msg: u64, len: u32, now_ns: u64) {
    let thread = task::thread();
    let Some(call) = place(cpu(), thread).filter(|it| it.thread == 0 || it.thread == thread) else {
        begin_in_table(emitter, thread, sk, msg, len, now_ns);
        return;
    };
    if call.thread == thread {
        // Left behind: a thread is in one call at a time.
        emit::count(emitter, Loss::ReturnsMissed);
    }
    fill(call, thread, sk, msg, len, now_ns);
}

/// A call of the current thread begins, and is kept in `CALLS`.
#[inline(always)]
pub fn begin_in_table(
    emitter: Emitter,
    thread: u64,
    sk: u64,
    msg: u64,
    len: u32,
    now_ns: u64,
) -> Option<()> {
    let call = CURRENT.get_ptr_mut(emitter as u32)?;
    // SAFETY: as in `copy`. The kernel runs the program of a probe unpreempted, and no other on that CPU
    // meanwhile.
    let call = unsafe { &mut *call };
    fill(call, thread, sk, msg, len, now_ns);
    emit::begin(emitter, &CALLS, call);
    Some(())
}

/// What is known of a call that has just begun: who calls, and with what.
#[inline(always)]
fn fill(call: &mut Call, thread: u64, sk: u64, msg: u64, len: u32, now_ns: u64) {
    // SAFETY: a map's value, so 8-byte aligned, made of integers.
    unsafe { emit::clear_words(&raw mut *call) };
    call.thread = thread;
    call.sk = sk;
    call.msg = msg;
    call.entry_ns = now_ns;
    call.len = len;
}

/// The current thread's call on a socket.
#[inline(always)]
pub fn find(emitter: Emitter, sk: u64) -> Option<Found> {
    let thread = task::thread();
    if let Some(call) = place(cpu(), thread)
        && call.thread == thread
    {
        if call.sk == sk {
            return Some(Found {
                call,
                is_in_table: false,
            });
        }
        // Left behind by a call on another socket.
        call.thread = 0;
        emit::count(emitter, Loss::ReturnsMissed);
    }
    if let Some(call) = CALLS.get_ptr_mut(thread) {
        // SAFETY: the key is the current thread, so nothing else uses this entry.
        let call = unsafe { &mut *call };
        return (call.sk == sk).then_some(Found {
            call,
            is_in_table: true,
        });
    }
    let call = search(thread, sk);
    if call.is_null() {
        return None;
    }
    Some(Found {
        // SAFETY: not null, so a place that holds the current thread's call.
        call: unsafe { &mut *call },
        is_in_table: false,
    })
}

/// The thread slept and woke on another CPU: which place has its call? Null: none. With a socket of 0, any.
#[inline(never)]
fn search(thread: u64, sk: u64) -> *mut Call {
    for cpu in 0..CPUS_WITH_SLOTS_MAX {
        if cpu >= CPUS.load() {
            break;
        }
        if let Some(call) = place(cpu, thread)
            && call.thread == thread
            && (sk == 0 || call.sk == sk)
        {
            return call;
        }
    }
    core::ptr::null_mut()
}

/// The current thread exits: frees a place that it left behind; whether there was one.
#[inline(always)]
pub fn abandon() -> bool {
    let call = search(task::thread(), 0);
    if call.is_null() {
        return false;
    }
    // SAFETY: not null, so a place that holds the current thread's call.
    unsafe { (*call).thread = 0 };
    true
}

/// A copy of a call, to be worked with: one place for the verifier, wherever the call was found. Each place
/// would be a way of its own to the program's end.
#[inline(always)]
pub fn copy(emitter: Emitter, call: &Call) -> Option<&'static mut Call> {
    let place = CURRENT.get_ptr_mut(emitter as u32)?;
    // SAFETY: a value of this CPU and program, which isn't entered twice; maps live as long as programs.
    let place = unsafe { &mut *place };
    // SAFETY: both are values of maps, which are 8-byte aligned.
    unsafe { emit::copy_words(place, call) };
    Some(place)
}

/// Keeps what was done with a copy.
#[inline(always)]
pub fn put_back(emitter: Emitter, sk: u64, call: &Call) -> Option<()> {
    // SAFETY: as above.
    unsafe { emit::copy_words(find(emitter, sk)?.call, call) };
    Some(())
}

impl Found {
    /// The call has ended.
    #[inline(always)]
    pub fn free(self) {
        if self.is_in_table {
            let _ = CALLS.remove(self.call.thread);
        } else {
            self.call.thread = 0;
        }
    }
}
