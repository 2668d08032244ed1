//! Names of containers and pods, from what the runtimes themselves keep on disk.
//!
//! Only files are read, no daemon is asked. They are looked at in a thread of their own and waited
//! for only shortly: the file system that a user keeps containers on may hang, the trace may not.
//! `state` knows the files.

mod file;
mod state;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use crate::enrich::cgroup::is_id;
use crate::enrich::host_root;
use crate::enrich::users::Users;
use crate::event::{Attribution, Container, Runtime};
use crate::names::Recent;
use crate::privileges::{self, Role};

/// How long a name is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long a name is believed, and how long it is believed that there is none.
const RENAMED_AFTER_NS: u64 = 10_000_000_000;
const NAMED_AFTER_NS: u64 = 1_000_000_000;

/// Most containers whose names are remembered.
const CAPACITY: usize = 4_096;

/// Whose name is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    id: String,
    runtime: Option<Runtime>,
    /// The user who runs it, if not root.
    user: Option<u32>,
}

/// What a runtime calls a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Labels {
    runtime: Option<Runtime>,
    name: Option<String>,
    pod: Option<String>,
    namespace: Option<String>,
}

/// Finds names and remembers them.
#[derive(Debug)]
pub struct Names {
    known: Recent<u64, Known>,
    worker: Option<Worker>,
    root: PathBuf,
}

/// What was found, and when.
#[derive(Debug)]
struct Known {
    request: Request,
    labels: Labels,
    at_ns: u64,
}

impl Known {
    /// A container may be renamed, and one without a name may get one any moment.
    const fn is_fresh(&self, now_ns: u64) -> bool {
        let lasts_ns = if self.labels.name.is_some() {
            RENAMED_AFTER_NS
        } else {
            NAMED_AFTER_NS
        };
        now_ns.saturating_sub(self.at_ns) < lasts_ns
    }
}

#[derive(Debug)]
struct Worker {
    requests: Sender<Request>,
    answers: Receiver<(Request, Labels)>,
    /// It has not answered the last request.
    is_busy: bool,
}

impl Names {
    /// For the host whose processes `proc` shows.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        Self {
            known: Recent::new(CAPACITY),
            worker: None,
            root: host_root(proc),
        }
    }

    /// Adds the names that can be found. What was found before `now_ns` may be out of date.
    pub fn name(&mut self, attribution: &mut Attribution, now_ns: u64) {
        let user = attribution.user;
        let mut pod = attribution.pod.as_mut();
        let mut next = attribution.container.as_mut();
        while let Some(container) = next {
            if let Some(labels) = self.labels(container, user, now_ns) {
                container.runtime = container.runtime.or(labels.runtime);
                container.name = labels.name;
                // The pod is that of the innermost container which knows of one.
                if labels.pod.is_some()
                    && let Some(pod) = pod.take()
                {
                    pod.name = labels.pod;
                    pod.namespace = labels.namespace;
                }
            }
            next = container.outer.as_deref_mut();
        }
    }

    fn labels(&mut self, container: &Container, user: Option<u32>, now_ns: u64) -> Option<Labels> {
        // Only engines keep names, and only ids of their own making may become part of a path.
        if !is_id(&container.id) {
            return None;
        }
        let request = Request {
            id: container.id.clone(),
            runtime: container.runtime,
            user: user.filter(|uid| *uid != 0),
        };
        let key = hash(&request);
        if let Some(known) = self.known.get(&key)
            && known.request == request
            && known.is_fresh(now_ns)
        {
            return Some(known.labels.clone());
        }
        self.ask(&request, now_ns);
        let known = self.known.get(&key)?;
        (known.request == request).then(|| known.labels.clone())
    }

    /// Asks, unless the worker is still busy, and keeps whatever has been answered.
    fn ask(&mut self, request: &Request, now_ns: u64) {
        let root = &self.root;
        let worker = self.worker.get_or_insert_with(|| Worker::start(root));
        if worker.is_busy {
            // It may have come to an end meanwhile.
            let Ok(late) = worker.answers.try_recv() else {
                return;
            };
            worker.is_busy = false;
            Self::keep(&mut self.known, late, now_ns);
        }
        if worker.requests.send(request.clone()).is_err() {
            return;
        }
        match worker.answers.recv_timeout(PATIENCE) {
            Ok(answer) => Self::keep(&mut self.known, answer, now_ns),
            Err(_) => worker.is_busy = true,
        }
    }

    fn keep(known: &mut Recent<u64, Known>, (request, labels): (Request, Labels), at_ns: u64) {
        let found = Known {
            labels,
            at_ns,
            request,
        };
        known.insert(hash(&found.request), found);
    }
}

impl Worker {
    fn start(root: &Path) -> Self {
        let (requests, wanted) = mpsc::channel::<Request>();
        let (found, answers) = mpsc::channel();
        let root = root.to_owned();
        let thread = std::thread::Builder::new().name("names".to_owned());
        // Without the thread no request is taken, and names stay unknown.
        let _ = thread.spawn(move || {
            privileges::enter(Role::Look);
            let users = Users::of(&root);
            for request in wanted {
                let labels = state::find(&root, &users, &request);
                if found.send((request, labels)).is_err() {
                    return;
                }
            }
        });
        Self {
            requests,
            answers,
            is_busy: false,
        }
    }
}

fn hash(request: &Request) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}
