//! One look into each distinct network namespace.
//!
//! A thread of its own enters the namespace, asks [`diag`] there and ends; no other thread ever
//! leaves ours. Where entering or `unix_diag` is refused, the table that `/proc` shows of a process
//! in the namespace has to do: it lacks files, users and queues.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::bound::Bound;
use super::processes::{Process, file, network_namespace};
use super::{Source, diag, table};
use crate::probe::queue_lengths::{QueueLengths, Walk};

/// Processes that are tried before a namespace counts as gone: they may end meanwhile.
const TRIES: usize = 4;

/// What a look into a namespace gave.
#[derive(Debug)]
pub struct Look {
    /// Its inode number.
    pub inode: u64,
    /// Ids of the processes in it.
    pub pids: Vec<u32>,
    /// Whether we are in it.
    pub is_own: bool,
    /// Its sockets, and where they are listed; nothing if they can't be read at all.
    pub listed: Option<(Source, Vec<Bound>)>,
    /// Datagrams in the queues of its sockets, by inode number; why not, if they could not be
    /// counted though the namespace was entered.
    pub queue_lengths: Result<HashMap<u64, u32>, String>,
    /// Why it could not be entered.
    pub refusal: Option<String>,
    /// Why `unix_diag` does not list its sockets, though it was entered.
    pub no_diag: Option<String>,
}

/// Looks into the namespaces of all processes, each once; into queues only if these are given.
#[must_use]
pub fn look_into_all(
    proc: &Path,
    processes: &[Process],
    mut queues: Option<&mut QueueLengths>,
) -> Vec<Look> {
    let own = std::fs::metadata("/proc/thread-self/ns/net")
        .ok()
        .map(|link| link.ino());
    let mut members: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for process in processes {
        if let Some(namespace) = process.network_namespace {
            members.entry(namespace).or_default().push(process.pid);
        }
    }
    let mut looks: Vec<_> = members
        .into_iter()
        .map(|(inode, pids)| {
            let walk = queues.as_mut().map(|queues| queues.walk());
            look_into(proc, inode, pids, own == Some(inode), walk)
        })
        .collect();
    looks.sort_by_key(|look| !look.is_own);
    looks
}

fn look_into(
    proc: &Path,
    inode: u64,
    pids: Vec<u32>,
    is_own: bool,
    walk: Option<Result<Walk>>,
) -> Look {
    let mut look = Look {
        inode,
        is_own,
        listed: None,
        queue_lengths: Ok(HashMap::new()),
        refusal: None,
        no_diag: None,
        pids,
    };
    match ask(proc, &look, walk) {
        Ok((sockets, queue_lengths)) => {
            match sockets {
                Ok(sockets) => look.listed = Some((Source::Diag, sockets)),
                Err(error) => look.no_diag = Some(format!("{error:#}")),
            }
            look.queue_lengths = queue_lengths.map_err(|error| format!("{error:#}"));
        }
        Err(error) => look.refusal = Some(format!("{error:#}")),
    }
    if look.listed.is_none() {
        look.listed = look
            .pids
            .iter()
            .take(TRIES)
            .find_map(|pid| read_table(proc, *pid, inode).ok())
            .map(|sockets| (Source::Table, sockets));
    }
    look
}

/// What a thread in a namespace found out.
type Answers = (Result<Vec<Bound>>, Result<HashMap<u64, u32>>);

/// Asks in a thread of its own; an error says why the namespace could not be entered.
fn ask(proc: &Path, look: &Look, walk: Option<Result<Walk>>) -> Result<Answers> {
    let link = if look.is_own {
        None
    } else {
        Some(open_link(proc, look)?)
    };
    let thread = std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            if let Some(link) = link {
                move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("setns(2) is refused (it takes CAP_SYS_ADMIN)")?;
            }
            let lengths = match walk {
                Some(walk) => walk.and_then(Walk::read),
                None => Ok(HashMap::new()),
            };
            Ok((diag::bound_sockets(), lengths))
        })
        .context("cannot start a thread to enter it")?;
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("the thread that entered it panicked")))
}

/// Opens the link of a process that is still in the namespace.
fn open_link(proc: &Path, look: &Look) -> Result<File> {
    let mut trouble = anyhow!("no process is in it any more");
    for pid in look.pids.iter().take(TRIES) {
        let path = file(proc, *pid, "ns/net");
        match File::open(&path) {
            // The process may have moved on, or its number have another one now.
            Ok(link) if link.metadata().is_ok_and(|it| it.ino() == look.inode) => return Ok(link),
            Ok(_) => {}
            Err(error) if super::processes::is_gone(&error) => {}
            Err(error) => {
                trouble =
                    anyhow::Error::new(error).context(format!("cannot open {}", path.display()));
            }
        }
    }
    Err(trouble)
}

fn read_table(proc: &Path, pid: u32, inode: u64) -> Result<Vec<Bound>> {
    let table = std::fs::read(file(proc, pid, "net/unix"))?;
    if network_namespace(proc, pid)? != inode {
        bail!("process {pid} is in another namespace now");
    }
    Ok(table::parse(&table).collect())
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    #[test]
    fn our_own_namespace_is_looked_into_without_privileges() {
        let name = format!("notify-trace-namespaces-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _socket = UnixDatagram::bind_addr(&address).unwrap();
        let proc = Path::new("/proc");
        let pid = std::process::id();
        let inode = network_namespace(proc, pid).unwrap();
        let processes = [Process {
            pid,
            network_namespace: Some(inode),
            ..Process::default()
        }];
        let looks = look_into_all(proc, &processes, None);
        assert_eq!(looks.len(), 1);
        assert!(looks[0].is_own && looks[0].refusal.is_none());
        let (_, sockets) = looks[0].listed.as_ref().unwrap();
        let name = [b"\0", name.as_bytes()].concat();
        assert!(sockets.iter().any(|bound| bound.name.is(&name)));
        // The table says the same.
        let table = read_table(proc, pid, inode).unwrap();
        assert!(table.iter().any(|bound| bound.name.is(&name)));
    }

    #[test]
    fn a_namespace_that_is_gone_says_so() {
        let look = look_into(Path::new("/nowhere"), 7, vec![1], false, None);
        assert!(look.listed.is_none());
        assert!(look.refusal.unwrap().contains("no process"));
    }
}
