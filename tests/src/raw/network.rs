//! Sockets of other families, which a datagram of theirs comes back through: what goes by a hook of the
//! agent and is none of its business.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use libc::{c_int, sockaddr, socklen_t};

use super::{check, check_size, narrow};

/// `ETH_P_802_EX1` of `include/uapi/linux/if_ether.h`: for experiments.
const EXPERIMENTAL: u16 = 0x88b5;
/// Index of the loopback device in every network namespace (`LOOPBACK_IFINDEX`, `include/net/net_namespace.h`).
const LOOPBACK: c_int = 1;

/// A socket that sends to itself.
pub struct Echo {
    socket: OwnedFd,
    address: Address,
}

enum Address {
    Netlink(libc::sockaddr_nl),
    Packet(libc::sockaddr_ll),
}

impl Address {
    fn parts(&self) -> io::Result<(*const sockaddr, socklen_t)> {
        Ok(match self {
            Self::Netlink(it) => ((&raw const *it).cast(), narrow(size_of_val(it))?),
            Self::Packet(it) => ((&raw const *it).cast(), narrow(size_of_val(it))?),
        })
    }
}

impl Echo {
    /// Of netlink's protocol for programs (`NETLINK_USERSOCK`).
    pub fn netlink() -> io::Result<Self> {
        // SAFETY: all zeroes is a valid `sockaddr_nl`.
        let mut address: libc::sockaddr_nl = unsafe { mem::zeroed() };
        address.nl_family = 16; // AF_NETLINK, in the width of this field.
        address.nl_pid = std::process::id();
        Self::bound(
            libc::AF_NETLINK,
            libc::SOCK_RAW,
            libc::NETLINK_USERSOCK,
            Address::Netlink(address),
        )
    }

    /// Of packets on the loopback device.
    pub fn packet() -> io::Result<Self> {
        // SAFETY: all zeroes is a valid `sockaddr_ll`.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = 17; // AF_PACKET, in the width of this field.
        address.sll_protocol = EXPERIMENTAL.to_be();
        address.sll_ifindex = LOOPBACK;
        address.sll_halen = 6;
        Self::bound(
            libc::AF_PACKET,
            libc::SOCK_DGRAM,
            EXPERIMENTAL.to_be().into(),
            Address::Packet(address),
        )
    }

    fn bound(family: c_int, kind: c_int, protocol: c_int, address: Address) -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
        // SAFETY: the kernel has just given this descriptor to us.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let echo = Self { socket, address };
        let (pointer, length) = echo.address.parts()?;
        // SAFETY: the address lives through the call and is `length` bytes long.
        check(unsafe { libc::bind(echo.socket.as_raw_fd(), pointer, length) })?;
        // A packet that is lost is an error, not a bench that never ends.
        let patience = libc::timeval {
            tv_sec: 10,
            tv_usec: 0,
        };
        // SAFETY: the value lives through the call and has the size that is told.
        check(unsafe {
            libc::setsockopt(
                echo.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const patience).cast(),
                narrow(size_of_val(&patience))?,
            )
        })?;
        echo.once(b"try")?;
        Ok(echo)
    }

    /// Sends, and receives what was sent.
    pub fn once(&self, bytes: &[u8]) -> io::Result<()> {
        let (address, length) = self.address.parts()?;
        // SAFETY: both live through the call and are as long as is told.
        check_size(unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                0,
                address,
                length,
            )
        })?;
        let mut room = [0_u8; 256];
        // SAFETY: the room is valid for writing and as long as is told.
        check_size(unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
                0,
            )
        })?;
        Ok(())
    }
}
