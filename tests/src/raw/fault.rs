//! Memory whose pages come only when we say so: userfaultfd.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use super::{check, check_long, check_size, memory::Pages, process::page_size, socket::poll_two};

/// `UFFD_API` and the requests of `include/uapi/linux/userfaultfd.h`.
const API: u64 = 0xaa;
const IOCTL_API: libc::c_ulong = 0xc018_aa3f;
const IOCTL_REGISTER: libc::c_ulong = 0xc020_aa00;
const IOCTL_ZEROPAGE: libc::c_ulong = 0xc020_aa04;
const REGISTER_MODE_MISSING: u64 = 1;

/// Pages that nobody can read before [`Held::release`].
#[derive(Debug)]
pub struct Held {
    pages: Pages,
    fd: OwnedFd,
}

impl Held {
    /// As many pages.
    pub fn new(pages: usize) -> io::Result<Self> {
        let pages = Pages::new(pages)?;
        // SAFETY: takes flags only.
        let fd = check_long(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) })?;
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel has just given this descriptor to us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut api = [API, 0, 0];
        // SAFETY: `struct uffdio_api` is three 64-bit words.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), IOCTL_API, api.as_mut_ptr()) })?;
        let mut register = [
            pages.address() as u64,
            pages.len() as u64,
            REGISTER_MODE_MISSING,
            0,
        ];
        // SAFETY: `struct uffdio_register` is four 64-bit words.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), IOCTL_REGISTER, register.as_mut_ptr()) })?;
        Ok(Self { pages, fd })
    }

    /// The pages one by one. Only a system call can be given these: to read one here blocks.
    pub fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.pages.bytes().chunks_exact(page_size())
    }

    /// Waits until someone is stuck on a page; whether that happened within the time.
    pub fn wait_for_fault(&self, timeout_ms: i32) -> io::Result<bool> {
        let (is_ready, _) = poll_two(self.fd.as_fd(), self.fd.as_fd(), timeout_ms)?;
        if !is_ready {
            return Ok(false);
        }
        // `struct uffd_msg`, 32 bytes.
        let mut message = [0_u64; 4];
        // SAFETY: room for one message.
        check_size(unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                message.as_mut_ptr().cast(),
                size_of_val(&message),
            )
        })?;
        Ok(true)
    }

    /// Fills all pages with zeroes: whoever was stuck goes on.
    pub fn release(&self) -> io::Result<()> {
        let mut zero = [self.pages.address() as u64, self.pages.len() as u64, 0, 0];
        // SAFETY: `struct uffdio_zeropage` is four 64-bit words.
        check(unsafe { libc::ioctl(self.fd.as_raw_fd(), IOCTL_ZEROPAGE, zero.as_mut_ptr()) })?;
        Ok(())
    }
}
