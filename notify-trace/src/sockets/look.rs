//! The look itself: reads what there is, and puts the report together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::bound::Kind;
use super::files::{self, NoFile};
use super::matching::{self, Aim, BoundFile, Candidate, Reason, Value};
use super::namespaces::{self, Look};
use super::{
    FORMAT_VERSION, NetworkNamespace, Owner, Process, Report, Skipped, Socket, Unresolved,
    Watchdog, processes, tree,
};
use crate::enrich::cgroup;
use crate::enrich::runtime::Names;
use crate::event::{Address, Blob};
use crate::probe::pid_namespace::is_hosts;
use crate::probe::queue_lengths::QueueLengths;
use crate::select::{ENVIRONMENT, Rules};

/// Looks at the host. With `rules_only`, sockets and values of `NOTIFY_SOCKET` that no rule selects
/// are left out.
///
/// # Errors
/// If there is no `/proc`.
pub fn look(proc: &Path, rules: &Rules, rules_only: bool) -> Result<Report> {
    let time = Timestamp::now();
    let (all, unreadable) = processes::all(proc)
        .with_context(|| format!("cannot list {}; is it mounted?", proc.display()))?;
    let mut queues = QueueLengths::load();
    let looks = namespaces::look_into_all(proc, &all, queues.as_mut().ok());
    let mut warnings: Vec<String> = pid_namespace_warning(proc).into_iter().collect();
    let has_hosts_cgroups = cgroup::are_hosts(proc);
    if !has_hosts_cgroups {
        warnings.push(cgroup::FOREIGN_NAMESPACE.to_owned());
    }
    if let Err(error) = &queues {
        warnings.push(format!("queue lengths can't be told: {error:#}"));
    }
    warnings.extend(looks.iter().filter_map(|look| {
        let error = look.queue_lengths.as_ref().err()?;
        let inode = look.inode;
        Some(format!(
            "queue lengths in network namespace {inode} can't be told: {error}"
        ))
    }));
    let is_all = unreadable.network_namespaces == 0 && looks.iter().all(|it| it.listed.is_some());
    let scene = Scene::new(proc, &all, &looks);
    let aims = scene.aims(proc, rules, rules_only, is_all);
    let mut report = Report {
        format_version: FORMAT_VERSION,
        time,
        rules: rules.describe().collect(),
        sockets: scene.sockets(rules, rules_only, &aims),
        unresolved: scene.unresolved(&aims),
        without_socket: if rules_only {
            Vec::new()
        } else {
            scene.without_socket()
        },
        network_namespaces: looks.iter().map(namespace).collect(),
        skipped: looks.iter().filter_map(skipped).collect(),
        unreadable,
        warnings,
    };
    let mut names = Names::new(proc);
    for attribution in report.attributions() {
        match attribution {
            Some(known) if has_hosts_cgroups => names.name(known, 0),
            _ => *attribution = None,
        }
    }
    Ok(report)
}

fn namespace(look: &Look) -> NetworkNamespace {
    NetworkNamespace {
        inode: look.inode,
        is_own: look.is_own,
        processes: u32::try_from(look.pids.len()).unwrap_or(u32::MAX),
        source: look.listed.as_ref().map(|(source, _)| *source),
        no_diag: look.no_diag.clone(),
    }
}

fn skipped(look: &Look) -> Option<Skipped> {
    Some(Skipped {
        network_namespace: look.inode,
        pid: *look.pids.first()?,
        reason: look.refusal.clone()?,
    })
}

fn pid_namespace_warning(proc: &Path) -> Option<String> {
    let is_hosts = is_hosts(&proc.join("self/ns/pid")).ok()?;
    (!is_hosts).then(|| {
        "this is not the host's pid namespace: processes outside of it, and what they have, are \
         not seen"
            .to_owned()
    })
}

/// What was read, with what is looked up in it.
struct Scene<'a> {
    processes: &'a [processes::Process],
    by_pid: HashMap<u32, &'a processes::Process>,
    parents: HashMap<u32, u32>,
    owners: HashMap<u64, Vec<&'a processes::Process>>,
    candidates: Vec<Candidate>,
    /// Datagrams in their queues, by inode number.
    queue_lengths: HashMap<u64, u32>,
    /// Network namespaces whose sockets are known.
    listed: HashSet<u64>,
}

/// What a process's `NOTIFY_SOCKET` turned out to be: the index of a candidate, or why none.
type Aims = BTreeMap<u32, Result<usize, Reason>>;

impl<'a> Scene<'a> {
    fn new(proc: &Path, processes: &'a [processes::Process], looks: &[Look]) -> Self {
        let mut owners: HashMap<u64, Vec<&processes::Process>> = HashMap::new();
        for process in processes {
            for inode in &process.sockets {
                owners.entry(*inode).or_default().push(process);
            }
        }
        let mut candidates = Vec::new();
        for look in looks {
            for bound in look.listed.iter().flat_map(|(_, sockets)| sockets) {
                let owners = owners.get(&bound.inode).map_or(&[][..], Vec::as_slice);
                candidates.push(Candidate {
                    namespace: look.inode,
                    file: if bound.name.is_abstract() {
                        BoundFile::Unknown
                    } else {
                        file_of_bound(proc, owners, &bound.name.bytes)
                    },
                    bound: bound.clone(),
                });
            }
        }
        Self {
            processes,
            by_pid: processes.iter().map(|it| (it.pid, it)).collect(),
            parents: processes.iter().map(|it| (it.pid, it.parent_pid)).collect(),
            owners,
            candidates,
            queue_lengths: looks
                .iter()
                .flat_map(|look| look.queue_lengths.iter().flatten())
                .map(|(inode, length)| (*inode, *length))
                .collect(),
            listed: looks
                .iter()
                .filter(|look| look.listed.is_some())
                .map(|look| look.inode)
                .collect(),
        }
    }

    /// What each process's `NOTIFY_SOCKET` is.
    fn aims(&self, proc: &Path, rules: &Rules, rules_only: bool, is_all: bool) -> Aims {
        let mut aims = Aims::new();
        for process in self.processes {
            let Some(bytes) = &process.environment.notify_socket else {
                continue;
            };
            let found = matching::find(&self.aim(proc, process, bytes), &self.candidates, is_all);
            let is_selected = match found {
                Ok(index) => rules.selects(&self.candidates[index].bound.name.bytes),
                Err(_) => match matching::value(bytes) {
                    Value::Abstract(address) => rules.selects(&address),
                    _ => rules.selects(bytes),
                },
            };
            if is_selected || !rules_only {
                aims.insert(process.pid, found);
            }
        }
        aims
    }

    fn aim(&self, proc: &Path, process: &processes::Process, bytes: &[u8]) -> Aim {
        match matching::value(bytes) {
            Value::Abstract(address) => Aim::Abstract {
                namespace: process
                    .network_namespace
                    .filter(|namespace| self.listed.contains(namespace)),
                address,
            },
            Value::Path(path) => Aim::File(files::of_path(proc, process.pid, path)),
            Value::Vsock => Aim::Vsock,
            Value::Malformed => Aim::Malformed,
        }
    }

    fn sockets(&self, rules: &Rules, rules_only: bool, aims: &Aims) -> Vec<Socket> {
        let mut users: HashMap<usize, Vec<u32>> = HashMap::new();
        for (pid, found) in aims {
            if let Ok(index) = found {
                users.entry(*index).or_default().push(*pid);
            }
        }
        let mut sockets = Vec::new();
        for (index, candidate) in self.candidates.iter().enumerate() {
            let bound = &candidate.bound;
            let rule = rules.rule_of(&bound.name.bytes);
            let users = users.remove(&index).unwrap_or_default();
            let is_used = !users.is_empty() && !rules_only;
            if bound.kind != Kind::Datagram || (rule.is_none() && !is_used) {
                continue;
            }
            let owners = self.owners.get(&bound.inode);
            sockets.push(Socket {
                address: bound.name.address(),
                class: match &rule {
                    Some(rule) => rule.class.clone(),
                    None => ENVIRONMENT.to_owned(),
                },
                rule: rule.map(|rule| rule.matches),
                inode: bound.inode,
                network_namespace: candidate.namespace,
                uid: bound.uid,
                queue_length: self.queue_lengths.get(&bound.inode).copied(),
                next_datagram_bytes: bound.next_datagram_bytes,
                owners: owners
                    .into_iter()
                    .flatten()
                    .map(|process| owner(process))
                    .collect(),
                processes: self.forest(&users),
            });
        }
        sockets.sort_by(|a, b| order(a).cmp(&order(b)));
        sockets
    }

    fn unresolved(&self, aims: &Aims) -> Vec<Unresolved> {
        let mut groups: BTreeMap<(Reason, Blob, Option<u64>), Vec<u32>> = BTreeMap::new();
        for (pid, found) in aims {
            let process = self.by_pid.get(pid);
            if let (Err(reason), Some(process)) = (found, process) {
                let value = process.environment.notify_socket.clone();
                let value = value.unwrap_or_default();
                let namespace = process
                    .network_namespace
                    .filter(|_| value.starts_with(b"@"));
                let group = (*reason, Blob(value.into()), namespace);
                groups.entry(group).or_default().push(*pid);
            }
        }
        groups
            .into_iter()
            .map(
                |((reason, notify_socket, network_namespace), pids)| Unresolved {
                    notify_socket,
                    reason,
                    network_namespace,
                    processes: self.forest(&pids),
                },
            )
            .collect()
    }

    fn without_socket(&self) -> Vec<Process> {
        let pids: Vec<_> = self
            .processes
            .iter()
            .filter(|process| {
                process.environment.notify_socket.is_none()
                    && process.environment.watchdog_usec.is_some()
            })
            .map(|process| process.pid)
            .collect();
        self.forest(&pids)
    }

    fn forest(&self, pids: &[u32]) -> Vec<Process> {
        tree::forest(pids, &self.parents)
            .into_iter()
            .filter_map(|(pid, depth)| Some(place(self.by_pid.get(&pid)?, depth)))
            .collect()
    }
}

/// Sockets in the order of the output: by name, the number deciding between equals.
fn order(socket: &Socket) -> (&[u8], u64, u64) {
    let Address(bytes) = &socket.address;
    (bytes, socket.network_namespace, socket.inode)
}

/// The file at the path of a socket, to the first of its owners that can tell.
fn file_of_bound(proc: &Path, owners: &[&processes::Process], path: &[u8]) -> BoundFile {
    let found = owners
        .iter()
        .map(|owner| files::of_path(proc, owner.pid, path))
        .find(|found| *found != Err(NoFile::Unknown));
    match found {
        Some(Ok(file)) => BoundFile::Is(file),
        // The working directory may be another one by now.
        Some(Err(NoFile::Absent)) if path.starts_with(b"/") => BoundFile::Removed,
        _ => BoundFile::Unknown,
    }
}

fn owner(process: &processes::Process) -> Owner {
    Owner {
        pid: process.pid,
        comm: process.comm.clone(),
        attribution: process.attribution.clone(),
    }
}

fn place(process: &processes::Process, depth: u32) -> Process {
    Process {
        pid: process.pid,
        parent_pid: process.parent_pid,
        depth,
        comm: process.comm.clone(),
        attribution: process.attribution.clone(),
        network_namespace: process.network_namespace,
        notify_socket: process.environment.notify_socket.as_deref().map(Blob::from),
        watchdog: watchdog(process),
    }
}

fn watchdog(process: &processes::Process) -> Option<Watchdog> {
    let written = process.environment.watchdog_usec.as_ref()?;
    let usec = number(written);
    let pid = process.environment.watchdog_pid.as_deref();
    let meant = pid.and_then(number);
    Some(Watchdog {
        usec,
        malformed: usec.is_none().then(|| Blob::from(&written[..])),
        pid: meant,
        applies: match (pid, meant) {
            (None, _) => Some(true),
            (Some(_), None) => None,
            (Some(_), Some(meant)) => process.namespace_pid.map(|own| own == meant),
        },
    })
}

fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
