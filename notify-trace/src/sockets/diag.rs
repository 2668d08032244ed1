//! Asks the kernel for the unix sockets of the calling thread's network namespace, as `ss` does:
//! `NETLINK_SOCK_DIAG`, sock_diag(7), net/unix/diag.c.
//!
//! Owns the messages' layout. A kernel without `unix_diag` answers `ENOENT`; what is used instead
//! is decided elsewhere.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::bound::{Bound, DiagFile, Kind, Name};

/// `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `include/uapi/linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// What the kernel's errors are (`MAX_ERRNO`, `include/linux/err.h`); [`Errno`] can't be another one.
const ERRORS: RangeInclusive<i32> = 1..=4095;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NETLINK_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// The two top bits of an attribute's type are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// `include/uapi/linux/unix_diag.h`: `UDIAG_SHOW_NAME`, `_VFS`, `_RQLEN` and `_UID` (Linux 5.3).
const SHOW: u32 = 0x1 | 0x2 | 0x10 | 0x40;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_UID: u16 = 7;
/// `struct unix_diag_msg`.
const MESSAGE: usize = 16;
const AF_UNIX: u8 = 1;
/// More than the kernel puts into one answer (`netlink_recvmsg` grows its buffers to 32 KiB).
const BUFFER: usize = 1 << 16;
/// The kernel answers at once; this only keeps an odd one from hanging us.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bound sockets of the calling thread's network namespace.
///
/// # Errors
/// If the kernel has no `unix_diag`, or refuses; the chain has the [`Errno`].
pub fn bound_sockets() -> Result<Vec<Bound>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )
    .context("cannot open a socket of NETLINK_SOCK_DIAG")?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))
        .context("cannot limit the wait for NETLINK_SOCK_DIAG")?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &request(), SendFlags::empty(), &kernel)
        .context("cannot ask NETLINK_SOCK_DIAG for unix sockets")?;
    let mut sockets = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let (_, length) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::TRUNC)
            .context("cannot read the answer of NETLINK_SOCK_DIAG")?;
        let Some(answer) = buffer.get(..length) else {
            bail!("NETLINK_SOCK_DIAG sent {length} bytes at once, more than {BUFFER}");
        };
        match parse(answer, &mut sockets) {
            Part::More => {}
            Part::End => return Ok(sockets),
            Part::Refused(Errno::NOENT) => {
                return Err(Errno::NOENT).context("the kernel has no unix_diag (CONFIG_UNIX_DIAG)");
            }
            Part::Refused(error) => {
                return Err(error).context("NETLINK_SOCK_DIAG does not list unix sockets");
            }
            Part::Nonsense => bail!("NETLINK_SOCK_DIAG sent a message that makes no sense"),
        }
    }
}

/// `struct nlmsghdr`, then `struct unix_diag_req`: all sockets in whatever state.
fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend(40_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // Sequence number, port: of the only request of this socket.
    bytes.extend([0; 8]);
    bytes.extend([AF_UNIX, 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(SHOW.to_ne_bytes());
    // The cookie of no socket.
    bytes.extend([0; 8]);
    bytes
}

/// What an answer ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// There is more to read.
    More,
    /// That was all.
    End,
    /// The request failed.
    Refused(Errno),
    /// A length or an error that can't be.
    Nonsense,
}

/// Takes the messages of one answer.
fn parse(mut answer: &[u8], sockets: &mut Vec<Bound>) -> Part {
    while !answer.is_empty() {
        let (Some(length), Some(kind)) = (u32_at(answer, 0), u16_at(answer, 4)) else {
            return Part::Nonsense;
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = answer.get(NETLINK_HEADER..length) else {
            return Part::Nonsense;
        };
        match kind {
            NLMSG_DONE => return Part::End,
            NLMSG_ERROR => {
                let code = u32_at(body, 0).map(|code| code.cast_signed().wrapping_neg());
                // 0 would acknowledge what nobody wanted acknowledged.
                return match code.filter(|code| ERRORS.contains(code)) {
                    Some(code) => Part::Refused(Errno::from_raw_os_error(code)),
                    None => Part::Nonsense,
                };
            }
            SOCK_DIAG_BY_FAMILY => sockets.extend(parse_socket(body)),
            _ => {}
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Part::More
}

/// `struct unix_diag_msg` and its attributes; nothing if the socket has no name.
fn parse_socket(body: &[u8]) -> Option<Bound> {
    let kind = *body.get(1)?;
    let inode = u32_at(body, 4)?;
    let mut attributes = body.get(MESSAGE..)?;
    let mut name = None;
    let (mut file, mut uid, mut next_datagram_bytes) = (None, None, None);
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length);
        // An attribute that is cut off ends the list: what came before it holds.
        let Some(value) = attributes.get(ATTRIBUTE_HEADER..length) else {
            break;
        };
        match kind & NLA_TYPE_MASK {
            UNIX_DIAG_NAME => name = Some(value),
            UNIX_DIAG_VFS => {
                file = u32_at(value, 0)
                    .zip(u32_at(value, 4))
                    .map(|(inode_low, device)| DiagFile {
                        device: split_device(device),
                        inode_low,
                    });
            }
            UNIX_DIAG_RQLEN => next_datagram_bytes = u32_at(value, 0),
            UNIX_DIAG_UID => uid = u32_at(value, 0),
            _ => {}
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    let bytes = match name? {
        [] => return None,
        name @ [0, ..] => name.to_vec(),
        path => path.split(|byte| *byte == 0).next()?.to_vec(),
    };
    Some(Bound {
        inode: u64::from(inode),
        kind: Kind::of(u16::from(kind)),
        name: Name {
            bytes,
            at_may_be_nul: false,
        },
        file,
        uid,
        next_datagram_bytes,
    })
}

/// The kernel's own `dev_t`: `MKDEV`, `include/linux/kdev_t.h`.
const fn split_device(device: u32) -> (u32, u32) {
    (device >> 20, device & 0xf_ffff)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*field))
}

#[cfg(test)]
#[path = "diag_tests.rs"]
mod tests;
