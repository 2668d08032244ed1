//! A second object, for `notify-trace sockets`: walks the unix sockets of a network namespace and
//! writes the inode number and queue length of each that may be a receiver. It is attached to nothing that others call: the
//! kernel runs it while its output is read (`iter/unix`, Linux 5.15, `bpf_iter_unix` of
//! net/unix/af_unix.c).
//!
//! Kept apart from the trace's programs, because a kernel without this iterator refuses to load it.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    reason = "a program has no items to name from outside; the modules say what each does"
)]

use core::ffi::c_void;
use core::mem::size_of;

use aya_ebpf::Global;
use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_seq_write};
use notify_trace_common::fields::ABSENT;
use notify_trace_common::queues::QueueLength;

// Filled by userspace from the running kernel's BTF, under the names that the list of fields has.
#[unsafe(no_mangle)]
pub static SOCK_SOCKET: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
pub static SOCKET_INODE: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
pub static SOCK_TYPE: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
pub static UNIX_SOCK_ADDR: Global<u32> = Global::new(ABSENT);
#[unsafe(no_mangle)]
pub static SOCK_QUEUE_LEN: Global<u32> = Global::new(ABSENT);

/// `include/linux/net.h`.
const SOCK_DGRAM: u16 = 2;
const RECORD_BYTES: u32 = 16;
const _: () = assert!(size_of::<QueueLength>() == RECORD_BYTES as usize);

/// `struct bpf_iter__unix`, net/unix/af_unix.c.
#[repr(C)]
pub struct Context {
    meta: *const Meta,
    /// Null at the end. A `unix_sock` begins with its `sock`.
    socket: *const c_void,
}

/// The beginning of `struct bpf_iter_meta`, include/linux/bpf.h.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

/// # Safety
/// The kernel calls it, with its own context.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/unix")]
pub unsafe extern "C" fn queue_lengths(ctx: *const Context) -> i32 {
    // SAFETY: the verifier knows the types of both fields, and that the context is there.
    let (meta, sock) = unsafe { ((*ctx).meta, (*ctx).socket) };
    if !sock.is_null()
        && let Some(record) = look(sock as u64)
    {
        // SAFETY: the verifier checks both pointers and the length. A full buffer is the kernel's
        // affair: it comes back to this socket.
        unsafe {
            bpf_seq_write((*meta).seq, (&raw const record).cast(), RECORD_BYTES);
        }
    }
    0
}

/// Only of bound datagram sockets: the less is written, the less the kernel has to stop (see the
/// reader).
#[inline(always)]
fn look(sock: u64) -> Option<QueueLength> {
    let kind: u16 = load(sock + u64::from(SOCK_TYPE.load()))?;
    let address: u64 = load(sock + u64::from(UNIX_SOCK_ADDR.load()))?;
    if kind != SOCK_DGRAM || address == 0 {
        return None;
    }
    let socket: u64 = load(sock + u64::from(SOCK_SOCKET.load()))?;
    if socket == 0 {
        // Closed, or not accepted yet.
        return None;
    }
    Some(QueueLength {
        inode: load(socket + u64::from(SOCKET_INODE.load()))?,
        datagrams: load(sock + u64::from(SOCK_QUEUE_LEN.load()))?,
        padding: 0,
    })
}

#[inline(always)]
fn load<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself; T is an integer.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
