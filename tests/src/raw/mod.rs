//! System calls that the standard library doesn't offer, as safe functions: all `unsafe` is here.
//!
//! Owns no decision of any test. Arguments are slices, descriptors and numbers; what comes back is
//! `io::Result`, so that a test compares `raw_os_error()` with what the agent shows.

pub mod bpf;
pub mod compat;
pub mod fault;
pub mod memory;
pub mod network;
pub mod process;
pub mod socket;
pub mod uring;

use std::io;

/// The error of a call that returns -1.
fn check(ret: libc::c_int) -> io::Result<libc::c_int> {
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}

/// The error of a call that returns -1, else the number of bytes.
fn check_size(ret: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(ret).map_err(|_| io::Error::last_os_error())
}

/// The error of a call by `libc::syscall`.
fn check_long(ret: libc::c_long) -> io::Result<u64> {
    u64::try_from(ret).map_err(|_| io::Error::last_os_error())
}

/// A length that fits into an ABI's narrower type because the caller's buffer is small.
fn narrow<T: TryFrom<usize>>(length: usize) -> io::Result<T> {
    T::try_from(length).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}
