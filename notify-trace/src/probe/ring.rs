//! The perf rings, one per CPU: waiting for records, reading them, and counting what is missing.
//!
//! The reader sleeps in epoll until a ring has something. Records are numbered by the kernel
//! programs per program and CPU, so a number that is missing is a record that was lost; the ring's
//! own "lost" records are the second witness. CPUs that come up get a ring, those that go lose
//! theirs after it was emptied.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use aya::maps::perf::{PerfEvent, PerfEventArrayBuffer};
use aya::maps::{MapData, PerfEventArray};
use bytes::{Bytes, BytesMut};
use notify_trace_common::limits::EMITTER_COUNT;
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Records are copied out of a ring into chunks of this size and handed on as slices of them.
const CHUNK_BYTES: usize = 256 * 1024;

/// What stands before a record in a ring: `struct perf_event_header`, and the sample's size.
const SAMPLE_HEADER_BYTES: usize = 8 + 4;

/// What was read, and what was found missing, since the rings were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Records read.
    pub records: u64,
    /// Numbers missing between records of the same program and CPU.
    pub gaps: u64,
    /// What the rings themselves report as lost.
    pub reported_lost: u64,
}

/// Follows the numbers of one CPU's records.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    last: [u64; EMITTER_COUNT],
}

impl Sequence {
    /// Takes a record's program and number; answers how many are missing before it.
    pub fn take(&mut self, emitter: u16, number: u64) -> u64 {
        let Some(last) = self.last.get_mut(usize::from(emitter)) else {
            return 0;
        };
        let missing = number.saturating_sub(*last).saturating_sub(1);
        *last = number.max(*last);
        missing
    }
}

struct Ring {
    cpu: u32,
    /// A duplicate of the buffer's descriptor, to wait for.
    ready: AsyncFd<OwnedFd>,
    buffer: PerfEventArrayBuffer<MapData>,
    sequence: Sequence,
}

/// All rings.
pub struct Rings {
    map: PerfEventArray<MapData>,
    pages: usize,
    rings: Vec<Ring>,
    /// Numbers outlive a ring: a CPU that comes back goes on counting.
    retired: Vec<(u32, Sequence)>,
    hotplug: Option<AsyncFd<OwnedFd>>,
    chunk: BytesMut,
    received: Received,
    fullest_bytes: u64,
    refused: Option<u32>,
}

impl Rings {
    /// Opens a ring of `bytes` (rounded up to a power of two of pages) for each CPU that is online.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn open(map: PerfEventArray<MapData>, bytes: u64) -> Result<Self> {
        let page = u64::try_from(rustix::param::page_size())?;
        let pages = usize::try_from(bytes.div_ceil(page).next_power_of_two())?;
        let mut rings = Self {
            map,
            pages,
            rings: Vec::new(),
            retired: Vec::new(),
            hotplug: None,
            chunk: BytesMut::with_capacity(CHUNK_BYTES),
            received: Received::default(),
            fullest_bytes: 0,
            refused: None,
        };
        // First listen, then look: a CPU that comes up in between is met twice, not missed.
        rings.hotplug = hotplug_socket().ok();
        let online = aya::util::online_cpus()
            .map_err(|(what, error)| anyhow::Error::new(error).context(what))?;
        for cpu in online {
            rings.add(cpu)?;
        }
        Ok(rings)
    }

    /// How many CPUs are read.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.rings.len()
    }

    /// Bytes of each ring.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        u64::try_from(self.pages * rustix::param::page_size()).unwrap_or(u64::MAX)
    }

    /// What was read so far.
    #[must_use]
    pub const fn received(&self) -> Received {
        self.received
    }

    /// Most bytes that one ring held when all were read last: records and their headers.
    #[must_use]
    pub const fn fullest_bytes(&self) -> u64 {
        self.fullest_bytes
    }

    /// A CPU that has come up, and that the kernel refuses a ring for want of a capability.
    #[must_use]
    pub const fn refused(&self) -> Option<u32> {
        self.refused
    }

    fn add(&mut self, cpu: u32) -> Result<()> {
        if self.rings.iter().any(|ring| ring.cpu == cpu) {
            return Ok(());
        }
        let buffer = self
            .map
            .open(cpu, Some(self.pages))
            .with_context(|| format!("cannot open the ring of CPU {cpu}"))?;
        let ready = buffer
            .as_fd()
            .try_clone_to_owned()
            .and_then(watch)
            .with_context(|| format!("cannot wait for the ring of CPU {cpu}"))?;
        let sequence = self
            .retired
            .iter()
            .position(|(retired, _)| *retired == cpu)
            .map(|at| self.retired.swap_remove(at).1)
            .unwrap_or_default();
        self.rings.push(Ring {
            cpu,
            ready,
            buffer,
            sequence,
        });
        Ok(())
    }

    /// Waits until a ring has something to read or a CPU has come or gone.
    ///
    /// # Errors
    /// If the rings can't be waited for.
    pub async fn readable(&mut self) -> Result<()> {
        let rings = &mut self.rings;
        let hotplug = &mut self.hotplug;
        poll_fn(|context| {
            let mut is_ready = false;
            // Every descriptor is asked, so that each is registered with the waker.
            for ring in rings.iter_mut() {
                is_ready |=
                    take_readiness(&ring.ready, context).context("cannot wait for a ring")?;
            }
            if let Some(socket) = hotplug {
                is_ready |=
                    take_readiness(socket, context).context("cannot wait for CPU events")?;
            }
            if is_ready {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Reads all that the rings hold, ring by ring, and gives each record away with its number in
    /// order per ring. Afterwards, CPUs that have come or gone are followed.
    pub fn drain(&mut self, mut give: impl FnMut(Bytes)) {
        self.fullest_bytes = 0;
        for ring in &mut self.rings {
            let bytes = drain_ring(ring, &mut self.chunk, &mut self.received, &mut give);
            self.fullest_bytes = self.fullest_bytes.max(bytes);
        }
        self.follow_hotplug(&mut give);
    }

    /// Gives each CPU that has come a ring, and takes it from those that have gone. A ring that the
    /// kernel refuses is not a reason to end: what has nowhere to go is counted.
    fn follow_hotplug(&mut self, give: &mut impl FnMut(Bytes)) {
        let mut message = [0_u8; 8192];
        let mut has_changed = false;
        while let Some(socket) = &self.hotplug {
            match rustix::net::recv(socket.get_ref(), &mut message, RecvFlags::DONTWAIT) {
                Ok((length, _)) => match parse_uevent(&message[..length.min(message.len())]) {
                    Some(CpuEvent::Offline(cpu)) => {
                        // It may be back already, but its ring is dead.
                        self.retire(|ring| ring.cpu == cpu, give);
                        has_changed = true;
                    }
                    Some(CpuEvent::Online) => has_changed = true,
                    None => {}
                },
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                // Events were lost (ENOBUFS): look for oneself.
                Err(_) => {
                    has_changed = true;
                    break;
                }
            }
        }
        if has_changed && let Ok(online) = aya::util::online_cpus() {
            self.retire(|ring| !online.contains(&ring.cpu), give);
            for cpu in online {
                if self.add(cpu).is_err_and(|error| is_denied(&error)) {
                    self.refused = Some(cpu);
                }
            }
        }
    }

    /// Empties and closes rings; their CPUs' numbers are kept.
    fn retire(&mut self, is_gone: impl Fn(&Ring) -> bool, give: &mut impl FnMut(Bytes)) {
        while let Some(at) = self.rings.iter().position(&is_gone) {
            let mut ring = self.rings.swap_remove(at);
            drain_ring(&mut ring, &mut self.chunk, &mut self.received, give);
            self.retired.push((ring.cpu, ring.sequence));
        }
    }
}

/// Whether there may be something to read. The readiness is cleared before anything is read, so
/// that nothing that comes meanwhile is missed, and asked for again, so that the waker is
/// registered. Asked twice, not until it is gone: a descriptor whose other end is closed (the ring
/// of a CPU that went) stays ready for ever.
fn take_readiness(fd: &AsyncFd<OwnedFd>, context: &mut Context<'_>) -> io::Result<bool> {
    let mut is_ready = false;
    for _ in 0..2 {
        let Poll::Ready(guard) = fd.poll_read_ready(context) else {
            break;
        };
        guard?.clear_ready();
        is_ready = true;
    }
    Ok(is_ready)
}

/// Reads all that a ring holds; how many bytes that was.
fn drain_ring(
    ring: &mut Ring,
    chunk: &mut BytesMut,
    received: &mut Received,
    give: &mut impl FnMut(Bytes),
) -> u64 {
    let mut bytes = 0;
    let Ring {
        buffer, sequence, ..
    } = ring;
    buffer.for_each(|event| match event {
        PerfEvent::Sample { head, tail } => {
            bytes += (head.len() + tail.len() + SAMPLE_HEADER_BYTES) as u64;
            chunk.reserve(head.len() + tail.len());
            chunk.extend_from_slice(head);
            chunk.extend_from_slice(tail);
            let record = chunk.split().freeze();
            if let Some((emitter, number)) = emitter_and_number(&record) {
                received.gaps += sequence.take(emitter, number);
            }
            received.records += 1;
            give(record);
        }
        PerfEvent::Lost { count } => received.reported_lost += count,
    });
    if chunk.capacity() == 0 {
        *chunk = BytesMut::with_capacity(CHUNK_BYTES);
    }
    bytes
}

fn is_denied(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        kind == Some(io::ErrorKind::PermissionDenied)
    })
}

/// The fields of a record's header that number it.
fn emitter_and_number(record: &[u8]) -> Option<(u16, u64)> {
    use notify_trace_common::record::Header;
    let (header, _) = <Header as zerocopy::FromBytes>::read_from_prefix(record).ok()?;
    Some((header.emitter, header.seq))
}

enum CpuEvent {
    Online,
    Offline(u32),
}

/// A kernel uevent: `action@devpath`, then NUL-separated assignments
/// (`lib/kobject_uevent.c`).
fn parse_uevent(message: &[u8]) -> Option<CpuEvent> {
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
fn hotplug_socket() -> Result<AsyncFd<OwnedFd>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::KOBJECT_UEVENT),
    )?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 1))?;
    Ok(watch(socket)?)
}

/// Registers a descriptor with the event loop.
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and answers with the same descriptor until it is dropped, and
    // the `AsyncFd` owns it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(registered?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_numbers_are_counted_per_program() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(2, 1), 0);
        assert_eq!(sequence.take(3, 1), 0);
        assert_eq!(sequence.take(2, 5), 3);
        assert_eq!(sequence.take(2, 6), 0);
        assert_eq!(sequence.take(99, 7), 0);
    }

    #[test]
    fn numbers_missing_before_the_first_record_count_too() {
        assert_eq!(Sequence::default().take(0, 4), 3);
    }

    #[test]
    fn cpus_that_come_and_go_are_recognised() {
        let online = b"online@/devices/system/cpu/cpu3\0ACTION=online\0";
        assert!(matches!(parse_uevent(online), Some(CpuEvent::Online)));
        let offline = b"offline@/devices/system/cpu/cpu12\0";
        assert!(matches!(parse_uevent(offline), Some(CpuEvent::Offline(12))));
        assert!(parse_uevent(b"add@/devices/pci0000:00\0").is_none());
        assert!(parse_uevent(b"\xff\xff").is_none());
    }
}
