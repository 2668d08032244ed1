//! Writing a record to this CPU's ring, and counting what could not be written.

use core::ffi::c_void;
use core::mem::offset_of;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_EXIST, BPF_F_CURRENT_CPU, BPF_NOEXIST, BPF_RB_FORCE_WAKEUP};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_perf_event_output};
use aya_ebpf::maps::HashMap;
use notify_trace_common::limits::{COUNTER_FIELDS, Counters, Emitter, SCRATCH_BYTES};
use notify_trace_common::record::{Header, Kind};

use crate::maps::{ASLEEP, BELL, COUNTERS, EVENTS, SCRATCH, Scratch};
use crate::task::Known;

/// The kernel's `ENOSPC`: the ring has no room.
const ENOSPC: i64 = 28;

/// The counters of a program on this CPU.
#[inline(always)]
pub fn counters(emitter: Emitter) -> Option<&'static mut Counters> {
    counters_of(emitter as u32)
}

#[inline(always)]
fn counters_of(emitter: u32) -> Option<&'static mut Counters> {
    let slot = COUNTERS.get_ptr_mut(emitter)?;
    // SAFETY: a program is not entered twice on a CPU, and only it uses its slot, so nothing else
    // refers to this value while it runs; maps live as long as the programs that name them.
    Some(unsafe { &mut *slot })
}

/// What one may have to say of a datagram or a call that was not, or not wholly, captured: its place among the words
/// of [`Counters`].
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Loss {
    /// [`Counters::calls_full`].
    CallsFull = word_of(offset_of!(Counters, calls_full)),
    /// [`Counters::queued_full`].
    QueuedFull = word_of(offset_of!(Counters, queued_full)),
    /// [`Counters::unreadable`].
    Unreadable = word_of(offset_of!(Counters, unreadable)),
    /// [`Counters::returns_missed`].
    ReturnsMissed = word_of(offset_of!(Counters, returns_missed)),
    /// [`Counters::undecided`].
    Undecided = word_of(offset_of!(Counters, undecided)),
}

const fn word_of(offset: usize) -> u32 {
    (offset / size_of::<u64>()) as u32
}

/// Counts one loss.
#[inline(always)]
pub fn count(emitter: Emitter, loss: Loss) {
    count_word(emitter as u32, loss as u32);
}

/// One piece of code for all of a program, because each look-up of a map has the kernel copy the program as a whole.
#[inline(never)]
fn count_word(emitter: u32, word: u32) {
    const { assert!(COUNTER_FIELDS.is_power_of_two()) };
    let Some(counters) = counters_of(emitter) else {
        return;
    };
    let words: *mut u64 = (&raw mut *counters).cast();
    // SAFETY: a value of nothing but words, and one of them by the mask.
    unsafe { *words.add(word as usize & (COUNTER_FIELDS - 1)) += 1 };
}

/// Notes that the current thread is in a call. An entry that is there already is of a call whose end
/// was missed, since a thread is in one call at a time.
#[inline(always)]
pub fn begin<V>(emitter: Emitter, calls: &HashMap<u64, V>, call: &V) {
    let thread = crate::task::thread();
    if calls.insert(thread, call, u64::from(BPF_NOEXIST)).is_err() {
        let is_left = calls.insert(thread, call, u64::from(BPF_EXIST)).is_ok();
        count(
            emitter,
            if is_left {
                Loss::ReturnsMissed
            } else {
                Loss::CallsFull
            },
        );
    }
}

/// The room of a program on this CPU.
#[inline(always)]
pub fn scratch(emitter: Emitter) -> Option<&'static mut Scratch> {
    let slot = SCRATCH.get_ptr_mut(emitter as u32)?;
    // SAFETY: as for `counters`.
    Some(unsafe { &mut *slot })
}

/// The record being built, as the struct it will be read as.
#[inline(always)]
pub fn record<T: Copy>(scratch: &mut Scratch) -> &mut T {
    record_and_known(scratch).0
}

/// The same, and the task that was described last.
#[inline(always)]
pub fn record_and_known<T: Copy>(scratch: &mut Scratch) -> (&mut T, &mut Known) {
    const { assert!(size_of::<T>() < SCRATCH_BYTES && align_of::<T>() <= 8) };
    // SAFETY: `record` is the first field of a map value, which is 8-byte aligned, is large enough
    // (asserted), and every T used here is made of integers, so any bytes are a value.
    let record = unsafe { &mut *scratch.record.as_mut_ptr().cast::<T>() };
    (record, &mut scratch.known)
}

/// Copies a value word by word, because the compiler's own copy is a call that goes byte by byte.
///
/// # Safety
/// Both places hold a `T` (the first may hold any bytes), 8-byte aligned.
#[inline(always)]
pub unsafe fn copy_words<T>(to: *mut T, from: *const T) {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    let (to, from): (*mut u64, *const u64) = (to.cast(), from.cast());
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: inside both, and aligned, as the caller says.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

/// Zeroes a value word by word, because a run of zeros becomes a call, too.
///
/// # Safety
/// The place may hold any bytes, a `T` of zeros is a value, and it lies 8-byte aligned.
#[inline(always)]
pub unsafe fn clear_words<T>(to: *mut T) {
    const { assert!(size_of::<T>().is_multiple_of(8)) };
    let to: *mut u64 = to.cast();
    for word in 0..size_of::<T>() / 8 {
        // SAFETY: inside, and aligned, as the caller says.
        unsafe { to.add(word).write_volatile(0) };
    }
}

/// No address in the room.
#[inline(always)]
pub fn clear_address(scratch: &mut Scratch) {
    // SAFETY: a field of a map's value, 8-byte aligned, made of integers.
    unsafe { clear_words(&raw mut scratch.address) };
}

/// Copies the room's address to the record being built, which has one at that offset.
#[inline(always)]
pub fn put_address(scratch: &mut Scratch, offset: usize) {
    let from = &raw const scratch.address;
    // SAFETY: the caller names a field of type `Address` of a record, which lies in the room; both
    // ends are 8-byte aligned: the room's address follows a multiple of 8 bytes in a map value, and
    // in each record that has one an even number of 4-byte fields stands before it.
    unsafe { copy_words(scratch.record.as_mut_ptr().add(offset).cast(), from) };
}

/// A length with a bound that the verifier sees: `MASK` is one less than a power of two. Without the
/// detour over memory the compiler, which knows the length to be small already, drops the mask or
/// bounds a copy of the register.
#[inline(always)]
pub fn bounded<const MASK: u32>(room: &mut u32, len: u32) -> u32 {
    const { assert!((MASK + 1).is_power_of_two()) };
    let room: *mut u32 = room;
    // SAFETY: a reference, so valid for both.
    unsafe {
        room.write_volatile(len);
        room.read_volatile() & MASK
    }
}

/// The same of a length that is cut. That is done in memory, too: the compiler's own way of it would be two ways
/// for the verifier.
#[inline(always)]
pub fn at_most<const MAX: u32, const MASK: u32>(room: &mut u32, len: u32) -> u32 {
    const { assert!(MAX <= MASK && (MASK + 1).is_power_of_two()) };
    let room: *mut u32 = room;
    // SAFETY: a reference, so valid for all.
    unsafe {
        room.write_volatile(len);
        if room.read_volatile() > MAX {
            room.write_volatile(MAX);
        }
        room.read_volatile() & MASK
    }
}

/// An address as a number to reckon with: the verifier lets nobody do that with a pointer, and what comes back
/// from memory is none to it.
#[inline(always)]
pub fn number(scratch: &mut Scratch, address: u64) -> u64 {
    let room = &raw mut scratch.word;
    // SAFETY: a field of a map's value, aligned.
    unsafe {
        room.write_volatile(address);
        room.read_volatile()
    }
}

/// A datagram id that no other datagram has while the programs are attached: the program, the CPU,
/// and how many datagrams the program met there.
#[inline(always)]
pub fn new_id(emitter: Emitter, scratch: &mut Scratch) -> u64 {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    scratch.datagrams += 1;
    let number = scratch.datagrams & 0xff_ffff_ffff;
    ((emitter as u64 + 1) << 56) | (u64::from(cpu & 0xffff) << 40) | number
}

/// Wakes the reader of the rings if it sleeps; once, for it finds all that has come.
#[inline(always)]
fn wake_reader() {
    let asleep = ASLEEP.place(0);
    // SAFETY: an aligned integer, valid as long as the programs. Other CPUs may write 0 and the reader 1
    // meanwhile: who rings twice does no harm, and the reader looks again before it sleeps.
    unsafe {
        if asleep.read_volatile() == 0 {
            return;
        }
        asleep.write_volatile(0);
        if BELL
            .output::<u64>(&0, u64::from(BPF_RB_FORCE_WAKEUP))
            .is_err()
        {
            // The next one tries again.
            asleep.write_volatile(1);
        }
    }
}

/// Writes the first `size` bytes of the room as a record. Answers whether the ring took it; if not,
/// the loss is counted, and the attempt's number is missing from the ring.
#[inline(always)]
pub fn output<C: EbpfContext>(
    ctx: &C,
    emitter: Emitter,
    scratch: &mut Scratch,
    kind: Kind,
    id: u64,
    size: u32,
) -> bool {
    let header = record::<Header>(scratch);
    header.size = size;
    header.kind = kind as u16;
    header.emitter = emitter as u16;
    header.id = id;
    submit(ctx.as_ptr(), emitter as u32, scratch)
}

/// Writes a record whose header is not complete yet. One piece of code for all of a program: the kernel works
/// over a program as a whole, time and again, before it lets it be attached.
#[inline(never)]
fn submit(ctx: *mut c_void, emitter: u32, scratch: &mut Scratch) -> bool {
    const { assert!(SCRATCH_BYTES.is_power_of_two()) };
    let Some(counters) = counters_of(emitter) else {
        return false;
    };
    counters.attempts += 1;
    let header = record::<Header>(scratch);
    header.seq = counters.attempts;
    // SAFETY: a helper without arguments.
    header.time_ns = unsafe { bpf_ktime_get_ns() };
    // SAFETY: a field of the record, aligned; volatile, so that the mask stays.
    let size = unsafe { (&raw const header.size).read_volatile() } & (SCRATCH_BYTES as u32 - 1);
    // SAFETY: the map is of this object, and `size` is less than the room that `record` has.
    let rc = unsafe {
        bpf_perf_event_output(
            ctx,
            (&raw const EVENTS).cast_mut().cast(),
            BPF_F_CURRENT_CPU,
            scratch.record.as_mut_ptr().cast(),
            u64::from(size),
        )
    };
    if rc == 0 {
        wake_reader();
        return true;
    }
    if i64::from(rc as i32) == -ENOSPC {
        counters.ring_full += 1;
    } else {
        counters.ring_error += 1;
        #[cfg(feature = "log")]
        if counters.ring_error == 1 {
            aya_log_ebpf::warn!(
                &Context(ctx),
                "a record had no ring to go to: error {}",
                rc as i32
            );
        }
    }
    false
}

/// What a program was called with.
#[cfg(feature = "log")]
struct Context(*mut c_void);

#[cfg(feature = "log")]
impl EbpfContext for Context {
    fn as_ptr(&self) -> *mut c_void {
        self.0
    }
}
