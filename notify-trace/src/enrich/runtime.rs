//! Names of containers and pods, from what the runtimes themselves keep on disk.
//!
//! Only files are read, no daemon is asked. They are looked at in a thread of their own and waited
//! for only shortly: the file system that a user keeps containers on may hang, the trace may not.
//! `state` knows the files.

mod state;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use crate::enrich::cgroup::is_id;
use crate::enrich::host_root;
use crate::enrich::users::Users;
use crate::event::{Attribution, Container, Runtime};
use crate::names::Recent;

/// How long a name is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

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
    known: Recent<u64, (Request, Labels)>,
    worker: Option<Worker>,
    root: PathBuf,
}

#[derive(Debug)]
struct Worker {
    requests: Sender<Request>,
    answers: Receiver<(Request, Labels)>,
    /// What it is still busy with.
    open: Option<Request>,
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

    /// Adds the names that can be found.
    pub fn name(&mut self, attribution: &mut Attribution) {
        let user = attribution.user;
        let mut pod = attribution.pod.as_mut();
        let mut next = attribution.container.as_mut();
        while let Some(container) = next {
            if let Some(labels) = self.labels(container, user) {
                container.runtime = container.runtime.or(labels.runtime);
                container.name = labels.name;
                // The pod is the innermost container's.
                if let Some(pod) = pod.take() {
                    pod.name = labels.pod;
                    pod.namespace = labels.namespace;
                }
            }
            next = container.outer.as_deref_mut();
        }
    }

    fn labels(&mut self, container: &Container, user: Option<u32>) -> Option<Labels> {
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
        if let Some((of, labels)) = self.known.get(&key)
            && *of == request
        {
            return Some(labels.clone());
        }
        let found = self.ask(&request)?;
        if found != Labels::default() {
            self.known.insert(key, (request, found.clone()));
        }
        Some(found)
    }

    fn ask(&mut self, request: &Request) -> Option<Labels> {
        let root = &self.root;
        let worker = self.worker.get_or_insert_with(|| Worker::start(root));
        if worker.open.is_some() {
            // It may have come to an end meanwhile; a late answer is as good.
            let (of, labels) = worker.answers.try_recv().ok()?;
            worker.open = None;
            if of == *request {
                return Some(labels);
            }
        }
        worker.requests.send(request.clone()).ok()?;
        worker.open = Some(request.clone());
        let (_, labels) = worker.answers.recv_timeout(PATIENCE).ok()?;
        worker.open = None;
        Some(labels)
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
            open: None,
        }
    }
}

fn hash(request: &Request) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}

/// A regular file's bytes, if there are not too many; whoever owns it can't make the reader wait.
fn read(path: &Path, most_bytes: u64) -> Option<Vec<u8>> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags).ok()?)
        .open(path)
        .ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || about.len() > most_bytes {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
