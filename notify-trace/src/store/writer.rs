//! The thread that stores: takes chunks from the queue, tries again when the disk doesn't take them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::StoreError;
use super::file::{Begun, Identity, RecordingFile};
use super::queue::{Chunk, Queue, Work};
use super::sink::Options;
use crate::escape;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// How long the last events are tried to be stored, when the trace has ended.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// How often what is too old, or too much, is looked for.
const PRUNE: Duration = Duration::from_secs(10);

/// The same while nothing comes, at most.
const PRUNE_IDLE: Duration = Duration::from_secs(3_600);

/// How long a disk that is not there yet is waited for in silence.
const GRACE: Duration = Duration::from_secs(20);

/// Says that the thread is gone, when it is.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.died();
    }
}

/// Stores.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    pub(super) queue: Arc<Queue>,
    /// `None`: it is opened when it can be.
    pub(super) file: Option<RecordingFile>,
    /// The session of what comes.
    pub(super) begun: Option<Begun>,
    /// Events that are stored, in this file and in those before.
    pub(super) stored: u64,
    /// What SQLite keeps beside the file.
    pub(super) companions: Vec<(PathBuf, Identity)>,
}

impl Writer {
    /// Until the queue is closed and all is stored. How many events were, and the file: as long as this
    /// process has another connection to it, it must not be closed, for the locks of both would go.
    pub(super) fn run(mut self) -> Result<(u64, Option<RecordingFile>), StoreError> {
        let queue = Arc::clone(&self.queue);
        // Whatever ends it, a panic too: nobody is to believe that events are stored.
        let _end = End(&queue);
        let mut pruned = Instant::now();
        loop {
            // What gets too old does so while nothing comes, too.
            let idle = self
                .options
                .limits
                .age
                .map(|age| age.clamp(PRUNE, PRUNE_IDLE));
            match self.queue.take(idle) {
                Work::Store(chunk) => {
                    self.insist(&chunk)?;
                    self.queue.done(self.stored);
                    if let Some(acknowledge) = self.options.acknowledge
                        && chunk.events > 0
                    {
                        acknowledge(self.stored);
                    }
                    if pruned.elapsed() >= PRUNE || self.queue.is_closed() {
                        pruned = Instant::now();
                        self.tend();
                    }
                }
                Work::Tend => {
                    pruned = Instant::now();
                    self.tend();
                }
                Work::Nothing => {
                    let file = self.file.filter(|_| self.options.is_outbox);
                    return Ok((self.stored, file));
                }
            }
        }
    }

    /// Takes limits that hold from now on, and deletes what is beyond them.
    fn tend(&mut self) {
        if let Some(limits) = self.queue.new_limits() {
            self.options.limits = limits;
            if let Some(file) = &mut self.file {
                file.set_limits(limits);
            }
        }
        if let Some(file) = &mut self.file
            && let Err(error) = file.prune(Timestamp::now().as_microsecond())
        {
            // What is new is stored all the same; it is tried again.
            complain(&error, "");
        }
    }

    /// Tries until it is stored, or the end has come.
    fn insist(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        let begun = Instant::now();
        let mut is_told = false;
        let mut tended = Instant::now();
        let mut closed: Option<Instant> = None;
        loop {
            let error = match self.store(chunk) {
                Ok(()) => {
                    if is_told {
                        eprintln!("notify-trace: the recording goes on: what waited is stored");
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            self.queue.troubled(error.words());
            if self.queue.is_closed() {
                let since = closed.get_or_insert_with(Instant::now);
                if since.elapsed() > LAST_TRIES {
                    return Err(StoreError::Unstored {
                        events: chunk.events + self.queue.waiting(),
                        source: Box::new(error),
                    });
                }
                std::thread::sleep(PAUSE);
            } else {
                // Before the disk can be written that is no trouble, but what was asked for; for a while.
                let is_awaited = self.file.is_none() && self.options.waits_for_disk;
                if !is_told && (!is_awaited || begun.elapsed() >= GRACE) {
                    is_told = true;
                    complain(&error, "; events wait in memory until it can be done");
                }
                // Deleting something may be what helps.
                if tended.elapsed() >= PRUNE {
                    tended = Instant::now();
                    self.tend();
                }
                self.queue.pause(PAUSE);
            }
        }
    }

    fn store(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        if let Some(begun) = &chunk.begins {
            self.begun = Some((**begun).clone());
        }
        if self.file.as_ref().is_some_and(RecordingFile::is_gone) {
            eprintln!(
                "notify-trace: {} was removed while it was written: it is made anew, and what it held \
                 is gone",
                escape::path(&self.path)
            );
            self.file = None;
            // A new file must not take what is left of the old one for its own.
            for (path, identity) in self.companions.drain(..) {
                if !identity.is_gone(&path) {
                    let _ = std::fs::remove_file(&path);
                }
            }
            // Rows that come must not refer to those that are gone.
            self.queue.forget(self.stored);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut file = self.options.open(&self.path)?;
                file.stores_from(self.stored);
                if let (Some(begun), None) = (&self.begun, &chunk.begins) {
                    file.resume(begun)?;
                }
                self.file.insert(file)
            }
        };
        self.stored = file.store(chunk)?;
        if self.companions.is_empty() {
            self.companions = file.companions();
        }
        Ok(())
    }
}

fn complain(error: &StoreError, then: &str) {
    eprintln!("notify-trace: {}{then}", error.words());
}
