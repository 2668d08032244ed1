//! The perf rings, one per CPU: waiting for records, reading them, and counting what is missing.
//!
//! A ring that wakes its reader for each record costs the sender an interrupt for each. So these wake
//! nobody before they are half full; a reader that is about to sleep says so in the variable `ASLEEP`, and
//! the first program that writes a record afterwards rings a bell, once. Records are numbered by the
//! kernel programs per program and CPU, so a number that is missing is a record that was lost; the ring's
//! own "lost" records are the second witness. CPUs that come up get a ring, those that go lose
//! theirs after it was emptied.

mod buffers;
mod hotplug;

use std::future::poll_fn;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData, RingBuf};
use bytes::{Buf as _, Bytes, BytesMut};
use notify_trace_common::limits::EMITTER_COUNT;
use perf_event::Sampler;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use self::buffers::Buffers;
use self::buffers::Wanted;
use self::hotplug::CpuEvent;

/// Records are copied out of a ring into chunks of this size and handed on as slices of them.
const CHUNK_BYTES: usize = 256 * 1024;

/// What stands before each entry of a ring: `struct perf_event_header`.
const HEADER_BYTES: usize = 8;

/// Types of entries, of `enum perf_event_type` (perf_event_open(2)).
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;

/// How long to wait before sleeping for good. A program that is writing a record while the reader says that
/// it will sleep may not see that: neither side's write need be visible to the other at once. It is long
/// before this has passed.
const NAP: Duration = Duration::from_millis(1);

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
    buffer: AsyncFd<Sampler>,
    sequence: Sequence,
}

/// The maps by which programs find the rings, and their reader.
pub struct Maps {
    /// `EVENTS`, by CPU: the descriptors of the rings.
    pub events: Array<MapData, i32>,
    /// `ASLEEP`: whether the reader sleeps.
    pub asleep: Array<MapData, u32>,
    /// `BELL`: what wakes it.
    pub bell: RingBuf<MapData>,
}

/// All rings.
pub struct Rings {
    map: Array<MapData, i32>,
    asleep: Array<MapData, u32>,
    bell: AsyncFd<RingBuf<MapData>>,
    /// Nothing was found in the rings after everyone could know that we sleep.
    is_asleep: bool,
    each: Wanted,
    warning: Option<String>,
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
    /// Has programs write to these buffers. CPUs that came or went since they were opened are followed when they
    /// are first read.
    ///
    /// # Errors
    /// If one can't be used.
    pub fn new(maps: Maps, buffers: Buffers) -> Result<Self> {
        let mut rings = Self {
            map: maps.events,
            asleep: maps.asleep,
            bell: watch(maps.bell).context("cannot wait for the bell")?,
            is_asleep: false,
            each: buffers.each,
            warning: buffers.warning,
            rings: Vec::new(),
            retired: Vec::new(),
            hotplug: buffers.hotplug.and_then(|socket| watch(socket).ok()),
            chunk: BytesMut::with_capacity(CHUNK_BYTES),
            received: Received::default(),
            fullest_bytes: 0,
            refused: None,
        };
        for (cpu, sampler) in buffers.samplers {
            rings.add(cpu, sampler)?;
        }
        Ok(rings)
    }

    /// What there is to say about the rings.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// How many CPUs are read.
    #[must_use]
    pub fn cpus(&self) -> usize {
        self.rings.len()
    }

    /// Bytes of each ring.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        self.each.bytes
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

    /// Gives a CPU that has come up a ring, if it has none.
    fn open(&mut self, cpu: u32) -> Result<()> {
        if self.rings.iter().any(|ring| ring.cpu == cpu) {
            return Ok(());
        }
        let (_, sampler) = self.each.fit(|bytes| buffers::sampler(cpu, bytes))?;
        self.add(cpu, sampler)
    }

    fn add(&mut self, cpu: u32, sampler: Sampler) -> Result<()> {
        self.map
            .set(cpu, sampler.as_raw_fd(), 0)
            .with_context(|| format!("cannot use the ring of CPU {cpu}"))?;
        let buffer =
            watch(sampler).with_context(|| format!("cannot wait for the ring of CPU {cpu}"))?;
        let sequence = self
            .retired
            .iter()
            .position(|(retired, _)| *retired == cpu)
            .map(|at| self.retired.swap_remove(at).1)
            .unwrap_or_default();
        self.rings.push(Ring {
            cpu,
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
        if !self.is_asleep {
            self.asleep
                .set(0, 1, 0)
                .context("cannot tell the programs that they have to wake us")?;
            tokio::time::sleep(NAP).await;
            if self
                .rings
                .iter_mut()
                .any(|ring| holds_something(&mut ring.buffer))
            {
                return Ok(());
            }
            self.is_asleep = true;
        }
        let Self {
            rings,
            bell,
            hotplug,
            ..
        } = self;
        poll_fn(|context| {
            // Every descriptor is asked, so that each is registered with the waker.
            let mut is_ready = take_readiness(bell, context).context("cannot wait for the bell")?;
            for ring in rings.iter() {
                is_ready |=
                    take_readiness(&ring.buffer, context).context("cannot wait for a ring")?;
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
        while self.bell.get_mut().next().is_some() {
            self.is_asleep = false;
        }
        self.fullest_bytes = 0;
        for ring in &mut self.rings {
            let bytes = drain_ring(
                ring,
                self.each.bytes,
                &mut self.chunk,
                &mut self.received,
                &mut give,
            );
            self.fullest_bytes = self.fullest_bytes.max(bytes);
        }
        if self.fullest_bytes > 0 {
            // Whoever wrote that may not have been able to ring.
            self.is_asleep = false;
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
                Ok((length, _)) => match hotplug::parse(&message[..length.min(message.len())]) {
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
                if self
                    .open(cpu)
                    .is_err_and(|error| buffers::is_denied(&error))
                {
                    self.refused = Some(cpu);
                }
            }
        }
    }

    /// Empties and closes rings; their CPUs' numbers are kept.
    fn retire(&mut self, is_gone: impl Fn(&Ring) -> bool, give: &mut impl FnMut(Bytes)) {
        while let Some(at) = self.rings.iter().position(&is_gone) {
            let mut ring = self.rings.swap_remove(at);
            drain_ring(
                &mut ring,
                self.each.bytes,
                &mut self.chunk,
                &mut self.received,
                give,
            );
            self.retired.push((ring.cpu, ring.sequence));
        }
    }
}

/// Whether there may be something to read. The readiness is cleared before anything is read, so
/// that nothing that comes meanwhile is missed, and asked for again, so that the waker is
/// registered. Asked twice, not until it is gone: a descriptor whose other end is closed (the ring
/// of a CPU that went) stays ready for ever.
fn take_readiness(fd: &AsyncFd<impl AsRawFd>, context: &mut Context<'_>) -> io::Result<bool> {
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

fn holds_something(buffer: &mut AsyncFd<Sampler>) -> bool {
    // What isn't dropped stays in the ring.
    buffer.get_mut().next_record().map(mem::forget).is_some()
}

/// Reads what a ring holds, at most as much as it can hold; how many bytes that was.
fn drain_ring(
    ring: &mut Ring,
    ring_bytes: u64,
    chunk: &mut BytesMut,
    received: &mut Received,
    give: &mut impl FnMut(Bytes),
) -> u64 {
    let mut bytes = 0;
    let sampler = ring.buffer.get_mut();
    while bytes < ring_bytes {
        let Some(entry) = sampler.next_record() else {
            break;
        };
        bytes += (HEADER_BYTES + entry.len()) as u64;
        chunk.reserve(entry.len());
        for part in entry.data() {
            chunk.extend_from_slice(part);
        }
        let kind = entry.ty();
        drop(entry);
        let mut entry = chunk.split();
        match kind {
            PERF_RECORD_SAMPLE => {
                // The size of what follows, which is padded.
                let Some(size) = entry.try_get_u32_ne().ok() else {
                    continue;
                };
                entry.truncate(usize::try_from(size).unwrap_or(usize::MAX));
                let record = entry.freeze();
                if let Some((emitter, number)) = emitter_and_number(&record) {
                    received.gaps += ring.sequence.take(emitter, number);
                }
                received.records += 1;
                give(record);
            }
            PERF_RECORD_LOST => {
                // The event's id, then how many.
                let count = entry.try_get_u64_ne().and_then(|_| entry.try_get_u64_ne());
                received.reported_lost += count.unwrap_or(0);
            }
            _ => {}
        }
    }
    if chunk.capacity() == 0 {
        *chunk = BytesMut::with_capacity(CHUNK_BYTES);
    }
    bytes
}

/// The fields of a record's header that number it.
fn emitter_and_number(record: &[u8]) -> Option<(u16, u64)> {
    use notify_trace_common::record::Header;
    let (header, _) = <Header as zerocopy::FromBytes>::read_from_prefix(record).ok()?;
    Some((header.emitter, header.seq))
}

/// What has one descriptor, open as long as itself.
trait Descriptor: AsRawFd {}
impl Descriptor for OwnedFd {}
impl Descriptor for Sampler {}
impl Descriptor for RingBuf<MapData> {}

/// Registers a descriptor with the event loop.
fn watch<T: Descriptor>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a `Descriptor` is open and answers with the same descriptor until it is dropped, and
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
}
