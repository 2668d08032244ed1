//! Unix sockets: addresses as the kernel holds them, and every way to send and to receive.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
};

use libc::{c_int, c_void, iovec, msghdr, sockaddr, sockaddr_un, socklen_t, ucred};

use super::{check, check_size, narrow};

/// `SCM_MAX_FD` of `include/net/scm.h`.
pub const FDS_MAX: usize = 253;

/// Type of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SOCK_DGRAM`.
    Datagram,
    /// `SOCK_SEQPACKET`.
    Seqpacket,
    /// `SOCK_STREAM`.
    Stream,
}

/// What `SCM_CREDENTIALS` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What `sendmsg` gets.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    /// The address; none for a connected socket.
    pub to: Option<&'a [u8]>,
    /// Pass `sizeof(struct sockaddr_un)` as its length, as conmon does.
    pub padded: bool,
    /// The payload, one `iovec` each.
    pub parts: &'a [&'a [u8]],
    /// Descriptors to pass.
    pub fds: &'a [BorrowedFd<'a>],
    /// Credentials to claim.
    pub credentials: Option<Credentials>,
    /// `MSG_*`.
    pub flags: c_int,
}

/// What `recvmsg` gave.
#[derive(Debug)]
pub struct Received {
    /// Bytes of the datagram, also those that didn't fit.
    pub length: usize,
    /// What `SCM_CREDENTIALS` told.
    pub credentials: Option<Credentials>,
    /// Descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// An address in the form that system calls want. Whoever wants a name longer than fits gets
/// `ENAMETOOLONG`.
pub fn address(name: &[u8], padded: bool) -> io::Result<(sockaddr_un, socklen_t)> {
    let mut address = sockaddr_un {
        sun_family: 1, // AF_UNIX, in the width of this field.
        sun_path: [0; 108],
    };
    let is_path = name.first().is_some_and(|first| *first != 0);
    if name.len() + usize::from(is_path) > address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    let length = if padded {
        size_of::<sockaddr_un>()
    } else {
        mem::offset_of!(sockaddr_un, sun_path) + name.len() + usize::from(is_path)
    };
    Ok((address, narrow(length)?))
}

/// A socket that programs started later don't inherit.
pub fn socket(kind: Kind) -> io::Result<OwnedFd> {
    let kind = match kind {
        Kind::Datagram => libc::SOCK_DGRAM,
        Kind::Seqpacket => libc::SOCK_SEQPACKET,
        Kind::Stream => libc::SOCK_STREAM,
    };
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just given this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `bind(2)`; an empty name makes the kernel choose an abstract one.
pub fn bind(socket: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let (address, length) = address(name, false)?;
    // SAFETY: `address` lives through the call and is at least `length` bytes long.
    check(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast::<sockaddr>(),
            length,
        )
    })?;
    Ok(())
}

/// `connect(2)`.
pub fn connect(socket: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let (address, length) = address(name, false)?;
    // SAFETY: `address` lives through the call and is at least `length` bytes long.
    check(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast::<sockaddr>(),
            length,
        )
    })?;
    Ok(())
}

/// `listen(2)` and then, when someone has connected, `accept(2)`.
pub fn listen(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::listen(socket.as_raw_fd(), 8) })?;
    Ok(())
}

/// `accept(2)`.
pub fn accept(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: null pointers mean that nobody wants the peer's address.
    let fd = check(unsafe {
        libc::accept4(
            socket.as_raw_fd(),
            ptr::null_mut(),
            ptr::null_mut(),
            libc::SOCK_CLOEXEC,
        )
    })?;
    // SAFETY: the kernel has just given this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A socket's inode number.
pub fn inode(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: all zeroes is a valid `stat`, and it is valid for writing.
    unsafe {
        let mut status: libc::stat = mem::zeroed();
        check(libc::fstat(socket.as_raw_fd(), &raw mut status))?;
        Ok(status.st_ino)
    }
}

/// The name that a socket is bound to.
pub fn name(socket: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let (mut address, _) = address(&[], false)?;
    let mut length: socklen_t = narrow(size_of::<sockaddr_un>())?;
    // SAFETY: both are valid for writing; the kernel writes at most `length` bytes.
    check(unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            (&raw mut address).cast::<sockaddr>(),
            &raw mut length,
        )
    })?;
    let length = (length as usize).saturating_sub(mem::offset_of!(sockaddr_un, sun_path));
    let bytes = address
        .sun_path
        .iter()
        .take(length)
        .map(|byte| byte.cast_unsigned());
    let mut bytes: Vec<u8> = bytes.collect();
    if bytes.first().is_some_and(|first| *first != 0) {
        bytes.retain(|byte| *byte != 0);
    }
    Ok(bytes)
}

/// `sendto(2)`.
pub fn send_to(socket: BorrowedFd<'_>, bytes: &[u8], to: &[u8], flags: c_int) -> io::Result<usize> {
    let (address, length) = address(to, false)?;
    // SAFETY: the slice and the address live through the call.
    check_size(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast::<c_void>(),
            bytes.len(),
            flags,
            (&raw const address).cast::<sockaddr>(),
            length,
        )
    })
}

/// `sendto(2)` of memory that other threads change at the same time.
pub fn send_changing(
    socket: BorrowedFd<'_>,
    words: &[std::sync::atomic::AtomicU64],
    to: &[u8],
) -> io::Result<usize> {
    let (address, length) = address(to, false)?;
    // SAFETY: the memory lives through the call; atomics may change while the kernel copies them,
    // for we make no assumption about which value it gets.
    check_size(unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            words.as_ptr().cast::<c_void>(),
            size_of_val(words),
            0,
            (&raw const address).cast::<sockaddr>(),
            length,
        )
    })
}

/// `write(2)`.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the slice lives through the call.
    check_size(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast::<c_void>(), bytes.len()) })
}

/// The memory that a `msghdr` points to.
struct Header {
    address: sockaddr_un,
    parts: Vec<iovec>,
    /// Of `u64`, so that it is aligned as a `cmsghdr` must be.
    control: Vec<u64>,
    control_length: usize,
    header: msghdr,
}

impl Header {
    /// Boxed, so that the pointers stay valid when the box moves.
    fn new(message: &Message<'_>) -> io::Result<Box<Self>> {
        let (address, length) = address(message.to.unwrap_or_default(), message.padded)?;
        let parts = message.parts.iter().map(|part| iovec {
            iov_base: part.as_ptr().cast_mut().cast::<c_void>(),
            iov_len: part.len(),
        });
        let fds: Vec<c_int> = message.fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let space = control_space(size_of_val(&fds[..]))? + control_space(size_of::<ucred>())?;
        // SAFETY: all zeroes is a valid `msghdr`.
        let header: msghdr = unsafe { mem::zeroed() };
        let mut this = Box::new(Self {
            address,
            parts: parts.collect(),
            control: vec![0; space.div_ceil(size_of::<u64>())],
            control_length: 0,
            header,
        });
        if message.to.is_some() {
            this.header.msg_name = (&raw mut this.address).cast::<c_void>();
            this.header.msg_namelen = length;
        }
        this.header.msg_iov = this.parts.as_mut_ptr();
        this.header.msg_iovlen = this.parts.len();
        if !fds.is_empty() {
            let bytes: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
            this.add_control(libc::SCM_RIGHTS, &bytes)?;
        }
        if let Some(Credentials { pid, uid, gid }) = message.credentials {
            let bytes = [pid, uid, gid].map(u32::to_ne_bytes).concat();
            this.add_control(libc::SCM_CREDENTIALS, &bytes)?;
        }
        if this.control_length > 0 {
            this.header.msg_control = this.control.as_mut_ptr().cast::<c_void>();
            this.header.msg_controllen = this.control_length;
        }
        Ok(this)
    }

    fn add_control(&mut self, kind: c_int, bytes: &[u8]) -> io::Result<()> {
        let length: libc::c_uint = narrow(bytes.len())?;
        // SAFETY: plain arithmetic.
        let (whole, space) = unsafe { (libc::CMSG_LEN(length), libc::CMSG_SPACE(length)) };
        let at = self.control_length;
        // SAFETY: `new` made `control` large enough for all messages it adds, and each begins at
        // a multiple of 8 because `CMSG_SPACE` rounds up to that.
        unsafe {
            let message = self
                .control
                .as_mut_ptr()
                .cast::<u8>()
                .add(at)
                .cast::<libc::cmsghdr>();
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = whole as usize;
            ptr::copy_nonoverlapping(bytes.as_ptr(), libc::CMSG_DATA(message), bytes.len());
        }
        self.control_length += space as usize;
        Ok(())
    }
}

fn control_space(length: usize) -> io::Result<usize> {
    let length = narrow(length)?;
    // SAFETY: plain arithmetic.
    Ok(unsafe { libc::CMSG_SPACE(length) } as usize)
}

/// `sendmsg(2)`.
pub fn send_message(socket: BorrowedFd<'_>, message: &Message<'_>) -> io::Result<usize> {
    let header = Header::new(message)?;
    // SAFETY: everything `header` points to lives as long as it and `message`.
    check_size(unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const header.header, message.flags)
    })
}

/// Calls `act` with a `msghdr` of the message.
pub(super) fn with_header<T>(
    message: &Message<'_>,
    act: impl FnOnce(*const msghdr) -> io::Result<T>,
) -> io::Result<T> {
    let header = Header::new(message)?;
    act(&raw const header.header)
}

/// `sendmmsg(2)`; the number of messages sent.
pub fn send_messages(socket: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
    let headers: io::Result<Vec<_>> = messages.iter().map(Header::new).collect();
    let headers = headers?;
    let mut vector: Vec<libc::mmsghdr> = headers
        .iter()
        .map(|header| libc::mmsghdr {
            msg_hdr: header.header,
            msg_len: 0,
        })
        .collect();
    let length = narrow(vector.len())?;
    // SAFETY: the vector and all that its headers point to live through the call.
    let sent =
        check(unsafe { libc::sendmmsg(socket.as_raw_fd(), vector.as_mut_ptr(), length, 0) })?;
    usize::try_from(sent).map_err(io::Error::other)
}

/// `recvmsg(2)`, with room for all that may come along.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: c_int) -> io::Result<Received> {
    let mut part = iovec {
        iov_base: buffer.as_mut_ptr().cast::<c_void>(),
        iov_len: buffer.len(),
    };
    let space = control_space(FDS_MAX * size_of::<c_int>())? + control_space(size_of::<ucred>())?;
    let mut control = vec![0_u64; space.div_ceil(size_of::<u64>())];
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut header: msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast::<c_void>();
    header.msg_controllen = size_of_val(&control[..]);
    let flags = flags | libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header points to memory that lives through the call, with its true lengths.
    let length = check_size(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })?;
    let mut received = Received {
        length,
        credentials: None,
        fds: Vec::new(),
    };
    // SAFETY: the kernel filled `control` with whole messages and set its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole message in `control`.
        let (kind, data, bytes) = unsafe {
            let bytes = (*next).cmsg_len - libc::CMSG_LEN(0) as usize;
            ((*next).cmsg_type, libc::CMSG_DATA(next), bytes)
        };
        // SAFETY: a message's data are `cmsg_len` less its header, all within `control`.
        let data = unsafe { std::slice::from_raw_parts(data, bytes) };
        take_control(kind, data, &mut received);
        // SAFETY: as for CMSG_FIRSTHDR.
        next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
    }
    Ok(received)
}

fn take_control(kind: c_int, data: &[u8], received: &mut Received) {
    let words: Vec<u32> = data
        .chunks_exact(4)
        .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    if kind == libc::SCM_CREDENTIALS
        && let [pid, uid, gid] = words[..]
    {
        received.credentials = Some(Credentials { pid, uid, gid });
    } else if kind == libc::SCM_RIGHTS {
        for fd in words {
            // SAFETY: the kernel has just given this descriptor to us.
            received
                .fds
                .push(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) });
        }
    }
}

/// `SO_PASSCRED`: have the kernel tell who sent.
pub fn pass_credentials(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: c_int = 1;
    set_option(socket, libc::SO_PASSCRED, &on)
}

/// A classic filter that keeps the first `bytes` of each datagram; with 0 it drops all.
pub fn keep_only(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    // BPF_RET | BPF_K of include/uapi/linux/filter.h.
    let mut filter = [libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: bytes,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: filter.as_mut_ptr(),
    };
    set_option(socket, libc::SO_ATTACH_FILTER, &program)
}

fn set_option<T>(socket: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is valid for its size, and what it points to for the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            ptr::from_ref(value).cast::<c_void>(),
            narrow(size_of::<T>())?,
        )
    })?;
    Ok(())
}

/// Waits until one of two descriptors has something to read, or was closed by its other end; which
/// ones.
pub fn poll_two(
    first: BorrowedFd<'_>,
    second: BorrowedFd<'_>,
    timeout_ms: c_int,
) -> io::Result<(bool, bool)> {
    let mut fds = [first, second].map(|fd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: an array of two.
    check(unsafe { libc::poll(fds.as_mut_ptr(), 2, timeout_ms) })?;
    Ok((fds[0].revents != 0, fds[1].revents != 0))
}

/// `splice(2)` from a pipe, from its current place.
pub fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    // SAFETY: null offsets mean the descriptors' own.
    check_size(unsafe {
        libc::splice(
            from.as_raw_fd(),
            ptr::null_mut(),
            to.as_raw_fd(),
            ptr::null_mut(),
            bytes,
            0,
        )
    })
}

/// `sendfile(2)` from a file, from its current place.
pub fn sendfile(from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    // SAFETY: a null offset means the file's own.
    check_size(unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), ptr::null_mut(), bytes) })
}
