//! The sink that records: never waits, and says at the end whether all was stored.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};

use super::error::StoreError;
use super::file::{Begun, Durability, Limits, RecordingFile};
use super::queue::{Condition, Queue};
use super::writer::Writer;
use crate::event::Event;
use crate::privileges::{self, Role};
use crate::sink::{Sink, json};
use crate::study::Projector;
use crate::study::row::Rows;

/// Most bytes of lines that wait to be stored; some 100,000 events.
const QUEUE_BYTES: usize = 64 << 20;

/// How to record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// When something counts as stored.
    pub durability: Durability,
    /// What is deleted.
    pub limits: Limits,
    /// The file need not be there, nor its disk writable, at the beginning.
    pub waits_for_disk: bool,
    /// Called with the number of events that are stored, whenever it has grown.
    pub acknowledge: Option<fn(u64)>,
    /// What is recorded from now on will be taken by an [`Outbox`](super::Outbox).
    pub is_outbox: bool,
}

impl Options {
    /// Opens a recording, or makes one.
    pub(super) fn open(&self, path: &Path) -> Result<RecordingFile, StoreError> {
        let mut file = RecordingFile::open(path, self.durability, self.limits)?;
        if self.is_outbox {
            file.prepare_outbox()?;
        }
        Ok(file)
    }
}

/// Whether a file may be there, or writable, later: its disk is not mounted, is read-only, is full.
fn may_pass(error: &StoreError) -> bool {
    match error {
        // Somebody else's, or no file at all: no disk will change that.
        StoreError::Io { source, .. } => !matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
        ),
        StoreError::Sqlite { .. } => true,
        _ => false,
    }
}

/// Looks at a recording that is written.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Queue>);

impl Watch {
    /// How recording stands.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.0.condition()
    }

    /// Returns when more is stored than when it returned last. For one at a time.
    pub async fn more_is_stored(&self) {
        self.0.more_is_stored().await;
    }
}

/// How many events were stored, and the file.
type Written = Result<(u64, Option<RecordingFile>), StoreError>;

/// Records.
#[derive(Debug)]
pub struct Store {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<Written>>,
    /// When all is stored: others of this process may read on.
    _file: Option<RecordingFile>,
    line: Vec<u8>,
    projector: Projector,
    rows: Rows,
    stored: u64,
}

impl Store {
    /// Opens a recording, or makes one, and begins to write.
    ///
    /// # Errors
    /// If it can't be opened, is something else, or is somebody else's.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let file = match options.open(path) {
            Ok(file) => Some(file),
            Err(error) if options.waits_for_disk && may_pass(&error) => None,
            Err(error) => return Err(error.into()),
        };
        let queue = Arc::new(Queue::new(QUEUE_BYTES));
        let writer = Writer {
            path: path.to_owned(),
            options,
            queue: Arc::clone(&queue),
            file,
            begun: None,
            stored: 0,
            companions: Vec::new(),
        };
        let writer = std::thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || {
                privileges::enter(Role::Talk);
                writer.run()
            })
            .context("cannot start the thread that records")?;
        Ok(Self {
            queue,
            writer: Some(writer),
            _file: None,
            line: Vec::new(),
            projector: Projector::default(),
            rows: Rows::default(),
            stored: 0,
        })
    }

    /// What follows of there being no more events.
    fn end_session(&mut self, seen: &mut dyn FnMut(&Rows)) {
        self.projector.finish(&mut self.rows);
        seen(&self.rows);
        self.queue.add(std::mem::take(&mut self.rows));
    }

    /// Takes an event, and lets another see what the study drew from it, whether it is stored or not.
    ///
    /// # Errors
    /// If it is no JSON.
    pub fn take(&mut self, event: &Event, seen: &mut dyn FnMut(&Rows)) -> io::Result<()> {
        self.line.clear();
        json::push_line(&mut self.line, event)?;
        if let Event::Session(session) = event {
            self.end_session(seen);
            self.projector = Projector::default();
            self.queue.begin(Begun {
                host: session.host.clone(),
                boot_id: session.boot_id.clone(),
                kernel: session.kernel.clone(),
                tool_version: session.tool_version.clone(),
                began_us: session.time.as_microsecond(),
                began_ns: i64::try_from(session.monotonic_ns).unwrap_or(i64::MAX),
                event: String::from_utf8_lossy(self.line.trim_ascii_end()).into_owned(),
            });
            // What follows of it is of this session.
            self.projector.event(event, &mut self.rows);
            seen(&self.rows);
        } else {
            let is_last = matches!(event, Event::Summary(_));
            if self.queue.is_forgotten() {
                self.projector.dropped();
            }
            self.projector.event(event, &mut self.rows);
            seen(&self.rows);
            let at_us = event.time().as_microsecond();
            if !self.queue.push(&self.line, &mut self.rows, at_us, is_last) {
                self.projector.dropped();
            }
        }
        Ok(())
    }

    /// Events that are stored: known when all is.
    #[must_use]
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// Other limits hold from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.queue.set_limits(limits);
    }

    /// How recording stands.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.queue.condition()
    }

    /// The same for another thread, at any time.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.queue))
    }

    /// Bytes of memory that wait to be stored.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.queue.waiting_bytes()
    }

    /// Events that had no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped_in_all()
    }
}

impl Sink for Store {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.take(event, &mut |_| {})
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_session(&mut |_| {});
        self.queue.close();
        match self.writer.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(Ok((stored, file)))) => {
                self.stored = stored;
                self._file = file;
                Ok(())
            }
            Some(Ok(Err(error))) => Err(io::Error::other(error)),
            Some(Err(_)) => Err(io::Error::other("the thread that records ended early")),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know of it has called `finish`.
        let _ = self.finish();
    }
}
