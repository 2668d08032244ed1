//! What is timed: one thread sends and receives, in batches, by `CLOCK_MONOTONIC`.
//!
//! Knows nothing of peers. Sockets are made once and used in all rounds. The time of a round is that
//! of its fastest batch: whoever else runs, in the guest or on the host, only ever makes one slower.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
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

use crate::raw::{
    network::Echo,
    process::{self, monotonic_ns},
    socket,
};

/// The end of every measured datagram; a peer's output is searched for it.
pub const MARK: &str = "bench captured";
/// The same of those sent without a rest.
pub const FLOOD_MARK: &str = "bench flood";
/// The end of a datagram that only asks whether a peer sees it.
pub const NUDGE: &str = "bench nudge";

/// What is sent: an assignment, whose name and value a peer may show apart.
const MEASURED: &[u8] = b"STATUS=bench captured";
/// What goes elsewhere, of the same length.
const UNRELATED: &[u8] = b"STATUS=bench anything";
const FLOODING: &[u8] = b"STATUS=bench flood";
const NUDGING: &[u8] = b"STATUS=bench nudge";

/// Batches in each round.
const BATCHES: u32 = 50;
/// A batch of datagrams that peers show is followed by a rest in which they show them: a peer that
/// loses half of them would only do half of the work.
const REST: Duration = Duration::from_millis(40);

/// The largest crowd of senders.
const CROWD: usize = 64;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A datagram to a unix socket that no rule selects.
    Unrelated,
    /// The same over a connected socket.
    UnrelatedConnected,
    /// The same from so many threads at once, each with sockets of its own.
    UnrelatedFrom(usize),
    /// A datagram to a notify socket.
    Captured,
    /// The same without any rest.
    Flood,
    /// A write to a unix stream.
    Stream,
    /// A UDP datagram over the loopback device.
    Udp,
    /// A write to a TCP connection over the loopback device.
    Tcp,
    /// A netlink message to oneself.
    Netlink,
    /// A packet over the loopback device.
    Packet,
    /// A process that is started and ends.
    Fork,
}

impl Workload {
    /// All, in the order in which they run: those that peers show are last.
    pub const ALL: [Self; 13] = [
        Self::Unrelated,
        Self::UnrelatedConnected,
        Self::UnrelatedFrom(4),
        Self::UnrelatedFrom(16),
        Self::UnrelatedFrom(CROWD),
        Self::Stream,
        Self::Udp,
        Self::Tcp,
        Self::Netlink,
        Self::Packet,
        Self::Fork,
        Self::Captured,
        Self::Flood,
    ];

    /// What a line of output calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unrelated => "unrelated datagram",
            Self::UnrelatedConnected => "unrelated, connected",
            Self::UnrelatedFrom(4) => "unrelated, 4 senders",
            Self::UnrelatedFrom(16) => "unrelated, 16 senders",
            Self::UnrelatedFrom(_) => "unrelated, 64 senders",
            Self::Captured => "captured datagram",
            Self::Flood => "flood of captured",
            Self::Stream => "stream write",
            Self::Udp => "UDP datagram",
            Self::Tcp => "TCP write",
            Self::Netlink => "netlink message",
            Self::Packet => "AF_PACKET packet",
            Self::Fork => "fork and exit",
        }
    }

    /// By how much fewer operations tell as much: they take longer, or peers have to show each.
    const fn less(self) -> u32 {
        match self {
            Self::Captured => 5,
            Self::Fork => 20,
            Self::UnrelatedFrom(CROWD) => 1,
            Self::UnrelatedFrom(_) => 2,
            _ => 1,
        }
    }

    /// Whether this is done for peers that do little.
    pub const fn is_of_few(self) -> bool {
        matches!(self, Self::Unrelated | Self::Captured)
    }

    /// What peers that show datagrams show of this; `None`: nothing.
    pub const fn mark(self) -> Option<&'static str> {
        match self {
            Self::Captured => Some(MARK),
            Self::Flood => Some(FLOOD_MARK),
            _ => None,
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
    connected: UnixDatagram,
    /// As many as the largest crowd has senders.
    crowd: Vec<(UnixDatagram, (PathBuf, UnixDatagram))>,
    captured: (PathBuf, UnixDatagram),
    stream: (UnixStream, UnixStream),
    udp: io::Result<UdpSocket>,
    tcp: io::Result<(TcpStream, TcpStream)>,
    netlink: io::Result<Echo>,
    packet: io::Result<Echo>,
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
        let unrelated = bind("unrelated.sock")?;
        let connected = UnixDatagram::unbound().context("no socket to connect")?;
        connected
            .connect(&unrelated.0)
            .context("could not connect")?;
        let crowd = (0..CROWD)
            .map(|number| {
                let sender = UnixDatagram::unbound().context("no socket to send from")?;
                Ok((sender, bind(&format!("unrelated-{number}.sock"))?))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            sender: socket::socket(socket::Kind::Datagram).context("no socket to send from")?,
            unrelated,
            connected,
            crowd,
            captured: bind("notify.sock")?,
            stream: UnixStream::pair().context("no stream")?,
            udp: udp(),
            tcp: tcp(),
            netlink: Echo::netlink(),
            packet: Echo::packet(),
        })
    }

    fn obstacle(&self, workload: Workload) -> Option<&io::Error> {
        match workload {
            Workload::Udp => self.udp.as_ref().err(),
            Workload::Tcp => self.tcp.as_ref().err(),
            Workload::Netlink => self.netlink.as_ref().err(),
            Workload::Packet => self.packet.as_ref().err(),
            _ => None,
        }
    }

    /// Why not all workloads are possible here, if so.
    pub fn left_out(&self) -> Option<String> {
        let why = Workload::ALL.into_iter().filter_map(|workload| {
            let error = self.obstacle(workload)?;
            Some(format!("{}: {error}", workload.name()))
        });
        let why: Vec<_> = why.collect();
        (!why.is_empty()).then(|| why.join("; "))
    }

    /// Whether a workload is possible here.
    pub fn can(&self, workload: Workload) -> bool {
        self.obstacle(workload).is_none()
    }

    /// Sends a datagram that isn't counted to the notify socket.
    pub fn nudge(&self) -> Result<()> {
        self.send_captured(NUDGING).context("could not nudge")
    }

    /// Sends one datagram to the notify socket, and reads it.
    pub fn send_captured(&self, payload: &[u8]) -> io::Result<()> {
        self.datagram(&self.captured, payload)
    }

    /// Does a workload about so often in batches, and one batch more to warm up.
    pub fn run(&self, workload: Workload, operations: u32) -> Result<Spent> {
        let in_batch = (operations / BATCHES / workload.less()).max(1);
        let mut done = 0;
        let mut batch = || {
            let start_ns = monotonic_ns();
            if let Workload::UnrelatedFrom(senders) = workload {
                self.crowd(senders, in_batch)?;
            } else {
                for _ in 0..in_batch {
                    self.once(workload)?;
                }
            }
            let spent_ns = monotonic_ns() - start_ns;
            done += in_batch;
            if workload == Workload::Captured {
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

    /// Sends one datagram that is captured; when the call had returned.
    pub fn send_one(&self) -> Result<u64> {
        let (path, receiver) = &self.captured;
        socket::send_to(
            self.sender.as_fd(),
            MEASURED,
            path.as_os_str().as_bytes(),
            0,
        )?;
        let returned_ns = monotonic_ns();
        receiver.recv(&mut [0; 64])?;
        Ok(returned_ns)
    }

    /// So many operations, shared by so many threads.
    fn crowd(&self, senders: usize, operations: u32) -> io::Result<()> {
        let each = operations / u32::try_from(senders).map_err(io::Error::other)?;
        let crowd = self.crowd.iter().take(senders);
        at_once(crowd, |(sender, (path, receiver))| {
            for _ in 0..each.max(1) {
                sender.send_to(UNRELATED, path)?;
                receiver.recv(&mut [0; 64])?;
            }
            Ok(())
        })
        .map(drop)
    }

    fn once(&self, workload: Workload) -> io::Result<()> {
        match workload {
            Workload::Unrelated | Workload::UnrelatedFrom(_) => {
                self.datagram(&self.unrelated, UNRELATED)
            }
            Workload::UnrelatedConnected => {
                self.connected.send(UNRELATED)?;
                self.unrelated.1.recv(&mut [0; 64])?;
                Ok(())
            }
            Workload::Captured => self.send_captured(MEASURED),
            Workload::Flood => self.send_captured(FLOODING),
            Workload::Stream => through(&self.stream.0, &self.stream.1),
            Workload::Udp => {
                let socket = made(&self.udp)?;
                socket.send(UNRELATED)?;
                socket.recv(&mut [0; 64])?;
                Ok(())
            }
            Workload::Tcp => {
                let (from, to) = made(&self.tcp)?;
                through(from, to)
            }
            Workload::Netlink => made(&self.netlink)?.once(UNRELATED),
            Workload::Packet => made(&self.packet)?.once(UNRELATED),
            Workload::Fork => process::wait(process::fork(|| 0)?).map(drop),
        }
    }

    fn datagram(&self, to: &(PathBuf, UnixDatagram), payload: &[u8]) -> io::Result<()> {
        let (path, receiver) = to;
        socket::send_to(self.sender.as_fd(), payload, path.as_os_str().as_bytes(), 0)?;
        receiver.recv(&mut [0; 64])?;
        Ok(())
    }
}

/// Does the same with each of them at once, in a thread of its own.
pub fn at_once<T: Send, R: Send>(
    them: impl Iterator<Item = T>,
    work: impl Fn(T) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = them.map(|it| scope.spawn(move || work(it))).collect();
        let ended = threads.into_iter().map(|thread| {
            thread
                .join()
                .map_err(|_| io::Error::other("a sender panicked"))?
        });
        ended.collect()
    })
}

/// What could be made.
fn made<T>(place: &io::Result<T>) -> io::Result<&T> {
    place.as_ref().map_err(|error| error.kind().into())
}

/// Writes, and reads what was written.
fn through(mut from: impl io::Write, mut to: impl io::Read) -> io::Result<()> {
    from.write_all(UNRELATED)?;
    to.read_exact(&mut [0; UNRELATED.len()])
}

/// Both ends of a connection to oneself.
fn tcp() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let from = TcpStream::connect(listener.local_addr()?)?;
    let (to, _) = listener.accept()?;
    from.set_nodelay(true)?;
    to.set_read_timeout(Some(Duration::from_secs(10)))?;
    through(&from, &to)?;
    Ok((from, to))
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
        assert!(FLOODING.ends_with(FLOOD_MARK.as_bytes()));
        assert!(NUDGING.ends_with(NUDGE.as_bytes()));
        assert_eq!(UNRELATED.len(), MEASURED.len());
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
        let can = |it: &Workload| scene.can(*it) && *it != Workload::Fork;
        for workload in Workload::ALL.into_iter().filter(can) {
            let spent = scene.run(workload, 100).unwrap();
            assert!(spent.ns_per_operation > 0.0, "{workload:?}");
            let each = (2 / workload.less()).max(1);
            assert_eq!(spent.operations, 51 * each, "{workload:?}");
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
