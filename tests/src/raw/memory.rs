//! Pages of memory with special qualities.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr, slice,
};

use libc::{c_int, c_void};

use super::{check, process::page_size};

/// Pages of our own.
#[derive(Debug)]
pub struct Pages {
    start: *mut u8,
    length: usize,
}

// SAFETY: the mapping belongs to the process, and `&Pages` only gives `&[u8]`.
unsafe impl Send for Pages {}
// SAFETY: as for `Send`.
unsafe impl Sync for Pages {}

impl Pages {
    /// Private zeroed pages.
    pub fn new(pages: usize) -> io::Result<Self> {
        Self::map(pages, libc::MAP_ANONYMOUS, -1)
    }

    /// As [`Self::new`], at an address that fits into 32 bits.
    pub fn low(pages: usize) -> io::Result<Self> {
        Self::map(pages, libc::MAP_ANONYMOUS | libc::MAP_32BIT, -1)
    }

    /// The beginning of a file; none of it is in memory before it is touched.
    pub fn of_file(pages: usize, file: BorrowedFd<'_>) -> io::Result<Self> {
        Self::map(pages, 0, file.as_raw_fd())
    }

    fn map(pages: usize, flags: c_int, fd: c_int) -> io::Result<Self> {
        let length = pages * page_size();
        // SAFETY: the kernel chooses an unused place.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                flags | libc::MAP_PRIVATE,
                fd,
                0,
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

    /// Address of the first byte.
    pub fn address(&self) -> usize {
        self.start.addr()
    }

    /// Bytes of all pages.
    pub fn len(&self) -> usize {
        self.length
    }

    /// The memory. Reading a page that [`Self::forbid_last`] took away is a crash.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `length` bytes at `start` are ours until `drop`, and initialised by the kernel.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }

    /// The memory, for writing.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start, self.length) }
    }

    /// Takes the last page away: whoever touches it gets EFAULT or SIGSEGV.
    pub fn forbid_last(&mut self) -> io::Result<()> {
        let page = page_size();
        // SAFETY: the last page lies within the mapping.
        check(unsafe {
            let last = self.start.add(self.length - page).cast::<c_void>();
            libc::mprotect(last, page, libc::PROT_NONE)
        })?;
        Ok(())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody can use it any more.
        unsafe { libc::munmap(self.start.cast::<c_void>(), self.length) };
    }
}
