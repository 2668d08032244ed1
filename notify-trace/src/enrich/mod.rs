//! Facts about the host that records don't carry: who a cgroup is, what `/proc` says of a process,
//! what time it is.
//!
//! What vanishes is looked at as soon as a record is read ([`Enrich::look`]); what is known is put
//! into an event when that is made ([`Enrich::complete`]). Owns the bounded memory of both.

pub mod cgroup;
pub mod clock;
pub mod procfs;
pub mod runtime;
pub mod users;

#[cfg(test)]
mod tests;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify_trace_common::record::Task;

use crate::decode::Record;
use crate::enrich::runtime::Names;
use crate::event::{Attribution, Event, Later, Process};
use crate::names::Recent;

/// Most cgroups that are remembered.
const CGROUPS: usize = 16_384;

/// Most processes that are remembered.
const PROCESSES: usize = 2_048;

/// How old what `/proc` said may get: a process may execute another program, or be moved.
const LOOK_AGAIN_NS: u64 = 1_000_000_000;

/// A process, told from others that had its pid before.
type Identity = (u32, u64);

/// What is known of a cgroup.
#[derive(Debug)]
struct Known {
    path: Vec<u8>,
    attribution: Option<Arc<Attribution>>,
    at_ns: u64,
}

impl Known {
    /// Whether the path says anything, so that no other hierarchy has to be asked at each record.
    const fn says(&self) -> bool {
        self.attribution.is_some()
    }

    /// Whether the name of its container may be another by now.
    fn is_stale(&self, now_ns: u64) -> bool {
        let attribution = self.attribution.as_deref();
        attribution.is_some_and(|it| it.container.is_some())
            && now_ns.saturating_sub(self.at_ns) >= LOOK_AGAIN_NS
    }
}

/// What is known of a process.
#[derive(Debug)]
struct Looked {
    at_ns: u64,
    /// That of its main thread, once that was seen.
    comm: [u8; 16],
    facts: Option<procfs::Facts>,
    /// What follows of it for the cgroup that it was seen in last.
    later: Option<(Option<Vec<u8>>, Told)>,
}

impl Looked {
    /// Where only v1 hierarchies say where a process is, no record tells that it was moved.
    fn follow_moves(&mut self, read: impl FnOnce() -> Option<Vec<u8>>) {
        let Some(facts) = &mut self.facts else { return };
        if cgroup::has_v1(&facts.cgroups)
            && let Some(cgroups) = read()
            && cgroups != facts.cgroups
        {
            facts.cgroups = cgroups;
            self.later = None;
        }
    }
}

/// What an event says of a process besides its record.
#[derive(Clone, Debug, Default)]
struct Told {
    later: Option<Arc<Later>>,
    /// The same without the program.
    line: Option<Arc<Later>>,
    attribution: Option<Arc<Attribution>>,
}

/// Adds to events what records don't carry.
#[derive(Debug)]
pub struct Enrich {
    proc: PathBuf,
    cgroups: Recent<u64, Known>,
    processes: Recent<Identity, Looked>,
    names: Names,
    /// What `/proc/PID/cgroup` says is not of another cgroup namespace's root.
    has_hosts_cgroups: bool,
    /// The latest time of a record.
    now_ns: u64,
}

impl Enrich {
    /// For the host whose processes `proc` shows.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            cgroups: Recent::new(CGROUPS),
            processes: Recent::new(PROCESSES),
            names: Names::new(proc),
            has_hosts_cgroups: cgroup::are_hosts(proc),
            now_ns: 0,
        }
    }

    /// A cgroup's path, if it was told.
    #[must_use]
    pub fn path_of(&self, cgroup: u64) -> Option<&[u8]> {
        self.cgroups.peek(&cgroup).map(|known| &*known.path)
    }

    /// Looks at the processes that a record names, while they are there.
    pub fn look(&mut self, record: &Record) {
        match record {
            Record::Send { send, .. } => self.look_at(&send.sender, send.header.time_ns, true),
            Record::LateSender(late) => self.look_at(&late.sender, late.header.time_ns, true),
            Record::Dequeue(dequeue) => {
                self.look_at(&dequeue.reader, dequeue.header.time_ns, false);
            }
            Record::ConnectFailed(failed) => {
                self.look_at(&failed.sender, failed.header.time_ns, true);
            }
            Record::ReceiverClosed(closed) => {
                self.look_at(&closed.closer, closed.header.time_ns, false);
            }
            Record::Cgroup { cgroup, path } => {
                self.attribute(cgroup.cgroup_id, path);
            }
            Record::Outcome(_) | Record::Exit(_) | Record::Receiver(_) => {}
        }
    }

    fn look_at(&mut self, task: &Task, time_ns: u64, is_sender: bool) {
        self.now_ns = self.now_ns.max(time_ns);
        // Without its start a process can't be told from the next one with its pid.
        if task.tgid == 0 || task.start_boottime_ns == 0 {
            return;
        }
        let identity = (task.tgid, task.start_boottime_ns);
        let known = self.processes.get_mut(&identity);
        // A process that executes another program gets its name. Other threads choose their own.
        let is_renamed = |known: &Looked| task.tid == task.tgid && known.comm != task.comm;
        let (proc, start_ns) = (&self.proc, task.start_boottime_ns);
        let known = match known {
            Some(known)
                if !is_renamed(known) && time_ns.saturating_sub(known.at_ns) < LOOK_AGAIN_NS =>
            {
                if is_sender && !self.cgroups.get(&task.cgroup_id).is_some_and(Known::says) {
                    known.follow_moves(|| procfs::cgroups(proc, task.tgid, start_ns));
                }
                return;
            }
            other => other,
        };
        let facts = procfs::read(proc, task.tgid, start_ns);
        if let (Some(known), None) = (known, &facts) {
            // It is gone; what it was stays known.
            known.at_ns = time_ns;
            known.comm = task.comm;
            return;
        }
        let looked = Looked {
            at_ns: time_ns,
            comm: task.comm,
            facts,
            later: None,
        };
        self.processes.insert(identity, looked);
    }

    /// Adds what is known to an event.
    pub fn complete(&mut self, event: &mut Event) {
        match event {
            Event::Send(notification) => {
                self.complete_one(notification.sender.as_mut(), true);
                self.complete_one(notification.delivery.reader.as_mut(), false);
            }
            Event::Update(update) => {
                self.complete_one(update.sender.as_mut(), true);
                self.complete_one(update.delivery.reader.as_mut(), false);
            }
            Event::ConnectFailed(failed) => self.complete_one(Some(&mut failed.sender), true),
            Event::ReceiverClosed(closed) => self.complete_one(Some(&mut closed.closer), false),
            Event::Session(_)
            | Event::Exit(_)
            | Event::Unit(_)
            | Event::View(_)
            | Event::Loss(_)
            | Event::Summary(_) => {}
        }
    }

    /// Receivers are few and stay: what programs they are isn't repeated with each event.
    fn complete_one(&mut self, process: Option<&mut Process>, is_sender: bool) {
        if let Some(process) = process {
            let told = self.tell(process);
            process.attribution = told.attribution;
            process.later = if is_sender { told.later } else { told.line };
        }
    }

    fn tell(&mut self, process: &Process) -> Told {
        let cgroup = process.cgroup.as_ref();
        let path = cgroup.and_then(|cgroup| Some((cgroup.id, &*cgroup.path.as_ref()?.0)));
        let by_path = path.and_then(|(id, path)| self.attribute(id, path));
        let Some(looked) = process
            .start_boottime_ns
            .and_then(|start_ns| self.processes.get_mut(&(process.pid, start_ns)))
        else {
            return Told {
                attribution: by_path,
                ..Told::default()
            };
        };
        let path = path.map(|(_, path)| path);
        if let Some((of, told)) = &looked.later
            && of.as_deref() == path
        {
            return told.clone();
        }
        let Some(facts) = &looked.facts else {
            return Told {
                attribution: by_path,
                ..Told::default()
            };
        };
        let by_line = if self.has_hosts_cgroups {
            cgroup::later(&facts.cgroups, path)
        } else {
            None
        };
        let (line, attribution) = match by_line {
            Some((line, attribution)) => {
                let mut attribution = Attribution {
                    is_later: true,
                    ..attribution
                };
                self.names.name(&mut attribution, self.now_ns);
                (Some(line), Some(Arc::new(attribution)))
            }
            None => (None, by_path),
        };
        let line = Later {
            cgroup: line,
            ..Later::default()
        };
        let later = Later {
            executable: facts.executable.clone(),
            command_line: facts.command_line.clone(),
            ..line.clone()
        };
        let known = |later: Later| (later != Later::default()).then(|| Arc::new(later));
        let told = Told {
            later: known(later),
            line: known(line),
            attribution,
        };
        looked.later = Some((path.map(<[u8]>::to_vec), told.clone()));
        told
    }

    /// What a cgroup's path says; looked up once, unless the id gets another path.
    fn attribute(&mut self, id: u64, path: &[u8]) -> Option<Arc<Attribution>> {
        if let Some(known) = self.cgroups.get(&id)
            && known.path == path
            && !known.is_stale(self.now_ns)
        {
            return known.attribution.clone();
        }
        let attribution = cgroup::attribute(path).map(|mut attribution| {
            self.names.name(&mut attribution, self.now_ns);
            Arc::new(attribution)
        });
        let known = Known {
            path: path.to_vec(),
            attribution: attribution.clone(),
            at_ns: self.now_ns,
        };
        self.cgroups.insert(id, known);
        attribution
    }
}

/// Where the host's files are: in a container that sees the host's processes, below process 1's root.
#[must_use]
pub fn host_root(proc: &Path) -> PathBuf {
    let namespace = |of: &str| {
        std::fs::metadata(proc.join(of).join("ns/mnt"))
            .map(|it| it.ino())
            .ok()
    };
    match (namespace("self"), namespace("1")) {
        (Some(own), Some(first)) if own != first => proc.join("1/root"),
        _ => PathBuf::from("/"),
    }
}
