//! aya's loader, made without the kernel's types.
//!
//! `EbpfLoader::new` reads and parses all of them before it can be told that nobody wants them. That is a
//! quarter of what a start takes, and leaves megabytes in small pieces that the allocator does not always give
//! back. It goes without where it can't open the file, so it is made while nothing can be opened: at the very
//! beginning, when there is no other thread that would want to.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use aya::EbpfLoader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static PREPARED: Mutex<Vec<EbpfLoader<'static>>> = Mutex::new(Vec::new());

/// How many are prepared: the second one is for when what the first one loads can't be attached.
const LOADERS: usize = 2;

/// Makes loaders for the first who take one. Does nothing in a process that has other threads.
///
/// # Errors
/// If the limit of open files (`getrlimit(2)`) can't be put back, which no kernel refuses.
pub fn prepare() -> anyhow::Result<()> {
    if !is_alone(Path::new("/proc/self/task")) {
        return Ok(());
    }
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, none).is_err() {
        return Ok(());
    }
    let loaders = (0..LOADERS).map(|_| EbpfLoader::new()).collect();
    setrlimit(Resource::Nofile, limit).context("cannot put back the limit of open files")?;
    *PREPARED.lock().unwrap_or_else(PoisonError::into_inner) = loaders;
    Ok(())
}

/// A loader that was prepared; if there is none, another one, which takes its time.
pub(super) fn take() -> EbpfLoader<'static> {
    let prepared = PREPARED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop();
    let mut loader = prepared.unwrap_or_default();
    loader.btf(None);
    loader
}

/// Whether that folder of threads (`proc_pid_task(5)`) has but one.
fn is_alone(threads: &Path) -> bool {
    std::fs::read_dir(threads).is_ok_and(|threads| threads.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_other_threads_or_without_proc_nothing_is_limited() {
        // The test's own thread, and the one that waits for it.
        assert!(!is_alone(Path::new("/proc/self/task")));
        assert!(!is_alone(Path::new("/proc/self/absent")));
        let before = getrlimit(Resource::Nofile);
        prepare().expect("it does nothing");
        assert_eq!(getrlimit(Resource::Nofile), before);
        assert!(PREPARED.lock().expect("nobody panicked").is_empty());
    }
}
