//! Calls as a 32-bit program makes them: `int 0x80`, with 32-bit structures.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use super::{memory::Pages, narrow, socket};

/// `__NR_sendto` and `__NR_sendmsg` of `arch/x86/entry/syscalls/syscall_32.tbl`.
const SENDTO: u32 = 369;
const SENDMSG: u32 = 370;

/// Places in the one low page that holds what the calls point to.
const ADDRESS_AT: usize = 0;
const PARTS_AT: usize = 256;
const HEADER_AT: usize = 512;

/// `sendto(2)` of a 32-bit program. `bytes` must be at a low address, see [`Pages::low`].
pub fn send_to(socket: BorrowedFd<'_>, bytes: &[u8], to: &[u8]) -> io::Result<usize> {
    let (low, length) = low_page(to)?;
    let address: u32 = narrow(low.address() + ADDRESS_AT)?;
    let arguments = [
        socket.as_raw_fd().cast_unsigned(),
        narrow(bytes.as_ptr().addr())?,
        narrow(bytes.len())?,
        0,
        address,
        length,
    ];
    // SAFETY: the pointers among the arguments are to `bytes` and `low`, which live till the end.
    let sent = unsafe { call(SENDTO, arguments) };
    result(sent)
}

/// `sendmsg(2)` of a 32-bit program; all parts must be at low addresses, see [`Pages::low`].
pub fn send_message(socket: BorrowedFd<'_>, parts: &[&[u8]], to: &[u8]) -> io::Result<usize> {
    let (mut low, length) = low_page(to)?;
    let start = low.address();
    let mut at = PARTS_AT;
    for part in parts {
        put(&mut low, at, narrow(part.as_ptr().addr())?);
        put(&mut low, at + 4, narrow(part.len())?);
        at += 8;
    }
    let header = [
        narrow(start + ADDRESS_AT)?,
        length,
        narrow(start + PARTS_AT)?,
        narrow(parts.len())?,
        0,
        0,
        0,
    ];
    for (index, word) in header.into_iter().enumerate() {
        put(&mut low, HEADER_AT + 4 * index, word);
    }
    let header = narrow(start + HEADER_AT)?;
    let arguments = [socket.as_raw_fd().cast_unsigned(), header, 0, 0, 0, 0];
    // SAFETY: the header and all that it points to are `parts` and `low`, which live till the end.
    let sent = unsafe { call(SENDMSG, arguments) };
    result(sent)
}

fn low_page(to: &[u8]) -> io::Result<(Pages, u32)> {
    let mut low = Pages::low(1)?;
    let (address, length) = socket::address(to, false)?;
    low.bytes_mut()[..2].copy_from_slice(&address.sun_family.to_ne_bytes());
    for (to, from) in low.bytes_mut()[2..].iter_mut().zip(address.sun_path) {
        *to = from.cast_unsigned();
    }
    Ok((low, length))
}

fn put(low: &mut Pages, at: usize, word: u32) {
    low.bytes_mut()[at..at + 4].copy_from_slice(&word.to_ne_bytes());
}

fn result(returned: i32) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::from_raw_os_error(-returned))
}

/// # Safety
/// The pointers among the arguments must be valid for what the call does with them.
unsafe fn call(number: u32, arguments: [u32; 6]) -> i32 {
    let [first, second, third, fourth, fifth, sixth] = arguments.map(u64::from);
    let mut returned = u64::from(number);
    // SAFETY: `rbx` and `rbp`, which the compiler keeps for itself, are put back; the kernel may
    // zero r8 to r11. The pointers are the caller's duty.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "push rbp",
            "mov rbx, r8",
            "mov rbp, r9",
            "int 0x80",
            "pop rbp",
            "pop rbx",
            inout("rax") returned,
            inout("r8") first => _,
            in("rcx") second,
            in("rdx") third,
            in("rsi") fourth,
            in("rdi") fifth,
            inout("r9") sixth => _,
            out("r10") _,
            out("r11") _,
        );
    }
    #[expect(clippy::cast_possible_truncation, reason = "the call returns 32 bits")]
    let low = returned as u32;
    low.cast_signed()
}
