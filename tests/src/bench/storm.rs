//! Storms: many senders at once, as when a host starts or all of its services are reloaded. Whoever watches
//! has to compete with them for CPUs, so what of it is shown tells how much a peer can put off.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::Barrier,
};

use anyhow::{Context as _, Result};

use super::workload::at_once;
use crate::raw::process::monotonic_ns;

/// So many datagrams of all senders together, as fast as they can.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u32);

/// All, from small to large.
pub const SIZES: [Size; 4] = [Size(1_000), Size(2_000), Size(4_000), Size(8_000)];
/// How often each is raised, one after the other is worked off.
pub const TIMES: u32 = 5;

/// Threads that send, each from a socket of its own to one of its own.
const SENDERS: u32 = 50;

impl Size {
    /// The size as the name of a row has it.
    pub fn name(self) -> String {
        format!("storm of {}", self.0)
    }

    /// What a line about one of its datagrams has in it; no part of another one's.
    pub fn mark(self) -> String {
        format!("bench storm {}", self.0)
    }
}

/// The sockets.
pub struct Crowd(Vec<(UnixDatagram, PathBuf, UnixDatagram)>);

impl Crowd {
    /// Binds notify sockets below this folder.
    pub fn new(root: &Path) -> Result<Self> {
        let sockets = (0..SENDERS).map(|number| {
            let folder = root.join(format!("storm-{number}"));
            let path = folder.join("notify.sock");
            let bound = fs::create_dir_all(&folder)
                .and_then(|()| UnixDatagram::bind(&path))
                .with_context(|| format!("could not bind {}", path.display()))?;
            let sender = UnixDatagram::unbound().context("no socket to send from")?;
            Ok((sender, path, bound))
        });
        sockets.collect::<Result<_>>().map(Self)
    }

    /// Raises one storm; datagrams a second while it raged.
    pub fn rage(&self, size: Size) -> io::Result<f64> {
        let payload = format!("STATUS={}", size.mark());
        let each = size.0 / SENDERS;
        let begin = Barrier::new(self.0.len());
        let spans = at_once(self.0.iter(), |(sender, path, receiver)| {
            begin.wait();
            let start_ns = monotonic_ns();
            for _ in 0..each {
                sender.send_to(payload.as_bytes(), path)?;
                receiver.recv(&mut [0; 64])?;
            }
            Ok((start_ns, monotonic_ns()))
        })?;
        let start_ns = spans.iter().map(|(start_ns, _)| *start_ns).min();
        let end_ns = spans.iter().map(|(_, end_ns)| *end_ns).max();
        let span_ns = end_ns.unwrap_or(0) - start_ns.unwrap_or(0);
        Ok(f64::from(each * SENDERS) * 1e9 / span_ns.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_is_a_part_of_another() {
        for (at, size) in SIZES.iter().enumerate() {
            let mut others = SIZES.iter().enumerate().filter(|(other, _)| *other != at);
            assert!(others.all(|(_, other)| !other.mark().contains(&size.mark())));
        }
    }

    #[test]
    fn all_of_a_size_are_sent() {
        assert!(SIZES.iter().all(|size| size.0 % SENDERS == 0));
    }

    #[test]
    fn a_storm_has_a_rate() {
        let root = std::env::temp_dir().join(format!("bench-storm.{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        let crowd = Crowd::new(&root).unwrap();
        assert!(crowd.rage(Size(SENDERS)).unwrap() > 0.0);
        fs::remove_dir_all(&root).unwrap();
    }
}
