//! CPUs that come and go, as the kernel tells (`lib/kobject_uevent.c`).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// What a kernel tells of its CPUs.
pub(super) enum CpuEvent {
    /// One has come up.
    Online,
    /// This one has gone.
    Offline(u32),
}

/// A kernel uevent: `action@devpath`, then NUL-separated assignments.
pub(super) fn parse(message: &[u8]) -> Option<CpuEvent> {
    let first = message.split(|byte| *byte == 0).next()?;
    let (action, path) = std::str::from_utf8(first).ok()?.split_once('@')?;
    let cpu = path.strip_prefix("/devices/system/cpu/cpu")?.parse().ok()?;
    match action {
        "online" => Some(CpuEvent::Online),
        "offline" => Some(CpuEvent::Offline(cpu)),
        _ => None,
    }
}

/// Kernel uevents. Where they can't be had, new CPUs' records are counted as lost.
pub(super) fn socket() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::KOBJECT_UEVENT),
    )?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 1))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_that_come_and_go_are_recognised() {
        let online = b"online@/devices/system/cpu/cpu3\0ACTION=online\0";
        assert!(matches!(parse(online), Some(CpuEvent::Online)));
        let offline = b"offline@/devices/system/cpu/cpu12\0";
        assert!(matches!(parse(offline), Some(CpuEvent::Offline(12))));
        assert!(parse(b"add@/devices/pci0000:00\0").is_none());
        assert!(parse(b"\xff\xff").is_none());
    }
}
