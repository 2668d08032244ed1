//! One `sendmsg` through io_uring, without a library.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    check_long,
    socket::{Message, with_header},
};

/// Who makes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// The thread that submits it.
    Inline,
    /// A worker thread of the kernel (`IOSQE_ASYNC`).
    Async,
}

const OFFSET_SUBMISSIONS: i64 = 0;
const OFFSET_COMPLETIONS: i64 = 0x0800_0000;
const OFFSET_ENTRIES: i64 = 0x1000_0000;
const OP_SENDMSG: u8 = 9;
const SQE_ASYNC: u8 = 1 << 4;
const ENTER_GETEVENTS: u32 = 1;

/// `struct io_uring_params` of `include/uapi/linux/io_uring.h`, and the parts of it.
#[repr(C)]
#[derive(Default)]
struct Parameters {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    sq: SubmissionOffsets,
    cq: CompletionOffsets,
}

#[repr(C)]
#[derive(Default)]
struct SubmissionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: u32,
    user: u64,
}

#[repr(C)]
#[derive(Default)]
struct CompletionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    cqes: u32,
    flags: u32,
    reserved: u32,
    user: u64,
}

/// `struct io_uring_sqe`, as far as a `sendmsg` uses it.
#[repr(C)]
struct Entry {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: RawFd,
    offset: u64,
    address: u64,
    length: u32,
    message_flags: u32,
    rest: [u64; 4],
}

/// A mapped part of the ring.
struct Ring {
    start: *mut u8,
    length: usize,
}

impl Ring {
    fn map(ring: &OwnedFd, length: usize, offset: i64) -> io::Result<Self> {
        // SAFETY: the kernel chooses an unused place.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                ring.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            start: start.cast::<u8>(),
            length,
        })
    }

    /// # Safety
    /// There must be a `u32` at this place.
    unsafe fn word(&self, at: u32) -> &AtomicU32 {
        // SAFETY: the caller's duty; the kernel aligns the words, and shares them as atomics.
        unsafe { &*self.start.add(at as usize).cast::<AtomicU32>() }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody uses it any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// Whether this kernel lets us have a ring.
pub fn is_there() -> bool {
    let mut parameters = Parameters::default();
    new_ring(&mut parameters).is_ok()
}

fn new_ring(parameters: &mut Parameters) -> io::Result<OwnedFd> {
    // SAFETY: `parameters` is the structure that the call fills in.
    let ring = check_long(unsafe {
        libc::syscall(libc::SYS_io_uring_setup, 4_u32, ptr::from_mut(parameters))
    })?;
    let ring = RawFd::try_from(ring).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(ring) })
}

/// `sendmsg` by io_uring; waits for its completion.
pub fn send_message(
    socket: BorrowedFd<'_>,
    message: &Message<'_>,
    worker: Worker,
) -> io::Result<usize> {
    let mut parameters = Parameters::default();
    let ring = new_ring(&mut parameters)?;
    let (sq, cq) = (&parameters.sq, &parameters.cq);
    let submissions_length = (sq.array + parameters.sq_entries * 4) as usize;
    let submissions = Ring::map(&ring, submissions_length, OFFSET_SUBMISSIONS)?;
    let completions_length = (cq.cqes + parameters.cq_entries * 16) as usize;
    let completions = Ring::map(&ring, completions_length, OFFSET_COMPLETIONS)?;
    let entries_length = parameters.sq_entries as usize * size_of::<Entry>();
    let entries = Ring::map(&ring, entries_length, OFFSET_ENTRIES)?;
    with_header(message, |header| {
        let entry = Entry {
            opcode: OP_SENDMSG,
            flags: if worker == Worker::Async {
                SQE_ASYNC
            } else {
                0
            },
            priority: 0,
            fd: socket.as_raw_fd(),
            offset: 0,
            address: header.addr() as u64,
            length: 1,
            message_flags: message.flags.cast_unsigned(),
            rest: [0; 4],
        };
        // SAFETY: the mapping has room for `sq_entries` entries, and the kernel doesn't look at
        // this one before the tail below.
        unsafe { entries.start.cast::<Entry>().write(entry) };
        // SAFETY: the offsets come from the kernel and are those of words within the mapping.
        unsafe {
            submissions.word(sq.array).store(0, Ordering::Relaxed);
            submissions.word(sq.tail).store(1, Ordering::Release);
        }
        // SAFETY: numbers, and a null for the signal mask; the header lives till this closure ends.
        check_long(unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                ring.as_raw_fd(),
                1_u32,
                1_u32,
                ENTER_GETEVENTS,
                ptr::null::<u8>(),
                0_usize,
            )
        })?;
        // SAFETY: a completion is 16 bytes; its result stands after the 8 bytes of user data.
        let result = unsafe { completions.word(cq.cqes + 8) }.load(Ordering::Acquire);
        let result = result.cast_signed();
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Parameters>(), 120);
        assert_eq!(size_of::<Entry>(), 64);
    }
}
