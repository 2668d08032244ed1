//! What is timed: one thread sends and receives, in batches, by `CLOCK_MONOTONIC`.
//!
//! Knows nothing of peers. Sockets are made once and used in all rounds. The time of a round is that
//! of its fastest batch: whoever else runs, in the guest or on the host, only ever makes one slower.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            net::{UnixDatagram, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::raw::{process::monotonic_ns, socket};

/// The end of every measured datagram; a peer's output is searched for it.
pub const MARK: &str = "bench captured";
/// The end of a datagram that only asks whether a peer sees it.
pub const NUDGE: &str = "bench nudge";

/// What is sent: an assignment, whose name and value a peer may show apart.
const MEASURED: &[u8] = b"STATUS=bench captured";
const NUDGING: &[u8] = b"STATUS=bench nudge";

/// Batches in each round.
const BATCHES: u32 = 50;
/// A batch of datagrams that peers show is this much smaller, and followed by a rest in which they
/// show them: a peer that loses half of them would only do half of the work.
const CAPTURED_IS_LESS: u32 = 5;
const REST: Duration = Duration::from_millis(40);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A datagram to a unix socket that no rule selects.
    Unrelated,
    /// A datagram to a notify socket.
    Captured,
    /// A write to a unix stream.
    Stream,
    /// A UDP datagram over the loopback device.
    Udp,
}

impl Workload {
    /// All, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Unrelated, Self::Stream, Self::Udp, Self::Captured];

    /// What a line of output calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unrelated => "unrelated datagram",
            Self::Captured => "captured datagram",
            Self::Stream => "stream write",
            Self::Udp => "UDP datagram",
        }
    }
}

/// How long a round took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// Of the fastest batch, send and receive together.
    pub ns_per_operation: f64,
    /// How many were done, also those outside of the measurement.
    pub operations: u32,
}

/// All sockets.
pub struct Scene {
    sender: OwnedFd,
    unrelated: (PathBuf, UnixDatagram),
    captured: (PathBuf, UnixDatagram),
    stream: (UnixStream, UnixStream),
    udp: io::Result<UdpSocket>,
}

impl Scene {
    /// Binds sockets in this folder.
    pub fn new(root: &Path) -> Result<Self> {
        let bind = |name: &str| {
            let path = root.join(name);
            let socket = UnixDatagram::bind(&path)
                .with_context(|| format!("could not bind {}", path.display()))?;
            anyhow::Ok((path, socket))
        };
        Ok(Self {
            sender: socket::socket(socket::Kind::Datagram).context("no socket to send from")?,
            unrelated: bind("unrelated.sock")?,
            captured: bind("notify.sock")?,
            stream: UnixStream::pair().context("no stream")?,
            udp: udp(),
        })
    }

    /// Why not all workloads are possible here, if so.
    pub fn left_out(&self) -> Option<String> {
        let error = self.udp.as_ref().err()?;
        Some(format!("{}: {error}", Workload::Udp.name()))
    }

    /// Whether a workload is possible here.
    pub fn can(&self, workload: Workload) -> bool {
        workload != Workload::Udp || self.udp.is_ok()
    }

    /// Sends a datagram that isn't counted to the notify socket.
    pub fn nudge(&self) -> Result<()> {
        self.datagram(&self.captured, NUDGING)
            .context("could not nudge")
    }

    /// Does a workload about so often in batches, and one batch more to warm up.
    pub fn run(&self, workload: Workload, operations: u32) -> Result<Spent> {
        let is_captured = workload == Workload::Captured;
        let less = if is_captured { CAPTURED_IS_LESS } else { 1 };
        let in_batch = (operations / BATCHES / less).max(1);
        let mut done = 0;
        let mut batch = || {
            let start_ns = monotonic_ns();
            for _ in 0..in_batch {
                self.once(workload)?;
            }
            let spent_ns = monotonic_ns() - start_ns;
            done += in_batch;
            if is_captured {
                std::thread::sleep(REST);
            }
            io::Result::Ok(spent_ns)
        };
        batch()
            .and_then(|_| {
                (0..BATCHES)
                    .map(|_| batch())
                    .collect::<io::Result<Vec<_>>>()
            })
            .map(|batches_ns| Spent {
                ns_per_operation: fastest(&batches_ns) / f64::from(in_batch),
                operations: done,
            })
            .with_context(|| workload.name().to_owned())
    }

    fn once(&self, workload: Workload) -> io::Result<()> {
        match workload {
            Workload::Unrelated => self.datagram(&self.unrelated, MEASURED),
            Workload::Captured => self.datagram(&self.captured, MEASURED),
            Workload::Stream => {
                let (mut from, mut to) = (&self.stream.0, &self.stream.1);
                from.write_all(MEASURED)?;
                to.read_exact(&mut [0; MEASURED.len()])
            }
            Workload::Udp => {
                let Ok(socket) = &self.udp else {
                    return Err(io::ErrorKind::Unsupported.into());
                };
                socket.send(MEASURED)?;
                socket.recv(&mut [0; 64])?;
                Ok(())
            }
        }
    }

    fn datagram(&self, to: &(PathBuf, UnixDatagram), payload: &[u8]) -> io::Result<()> {
        let (path, receiver) = to;
        socket::send_to(self.sender.as_fd(), payload, path.as_os_str().as_bytes(), 0)?;
        receiver.recv(&mut [0; 64])?;
        Ok(())
    }
}

/// A socket that is connected to itself; fails where the loopback device is down.
fn udp() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(socket.local_addr()?)?;
    // A datagram that the network loses is an error, not a bench that never ends.
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.send(b"try")?;
    socket.recv(&mut [0; 64])?;
    Ok(socket)
}

fn fastest(batches_ns: &[u64]) -> f64 {
    batches_ns.iter().min().map_or(0.0, |ns| *ns as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_ends_with_what_is_searched_for() {
        assert!(MEASURED.ends_with(MARK.as_bytes()));
        assert!(NUDGING.ends_with(NUDGE.as_bytes()));
    }

    #[test]
    fn slow_batches_do_not_count() {
        assert_eq!(fastest(&[10, 1_000_000, 12, 11, 9]), 9.0);
    }

    #[test]
    fn every_workload_takes_time_and_says_how_often_it_was_done() {
        let root = std::env::temp_dir().join(format!("bench-workload.{}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        let scene = Scene::new(&root).unwrap();
        for workload in Workload::ALL.into_iter().filter(|it| scene.can(*it)) {
            let spent = scene.run(workload, 100).unwrap();
            assert!(spent.ns_per_operation > 0.0, "{workload:?}");
            let each = if workload == Workload::Captured { 1 } else { 2 };
            assert_eq!(spent.operations, 51 * each, "{workload:?}");
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
