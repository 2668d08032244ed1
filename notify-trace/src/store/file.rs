//! The file of a recording: opened or made, written in transactions, kept within its limits.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::block::Block;
use super::error::StoreError;
use super::queue::Chunk;
use super::{APPLICATION_ID, SCHEMA_VERSION, outbox, rows, signed};
use crate::study::{project, sql};

const SCHEMA: &str = include_str!("schema.sql");

/// How a line that tells of a notification begins: the type is an event's first field.
const SEND: &[u8] = br#"{"type":"send""#;

/// What a recording may be read by: its owner.
const FILE_MODE: u32 = 0o600;

/// How long another writer of the same file is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most blocks that are deleted in one transaction.
const DELETED_AT_ONCE: i64 = 256;

/// When a transaction counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// When the disk has it: not even a power loss takes it away (`synchronous=FULL`).
    #[default]
    Full,
    /// When the kernel has it: a power loss may take away the last seconds, and leaves the rest whole
    /// (`synchronous=NORMAL`).
    Normal,
}

/// What is deleted, oldest first. `None`: nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the file may have, but for what a transaction adds.
    pub size_bytes: Option<u64>,
    /// How old events may get.
    pub age: Option<Duration>,
}

/// What is known of a session when it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) host: String,
    pub(super) boot_id: Option<String>,
    pub(super) kernel: String,
    pub(super) tool_version: String,
    pub(super) began_us: i64,
    pub(super) began_ns: i64,
    /// The event, a line of JSON.
    pub(super) event: String,
}

/// Which file that is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
        }
    }

    /// Whether that name is nobody's now, or another file's.
    pub(super) fn is_gone(self, path: &Path) -> bool {
        match std::fs::metadata(path) {
            Ok(named) => Self::of(&named) != self,
            // Anything else says nothing of the file.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

/// A recording that is written.
#[derive(Debug)]
pub(super) struct RecordingFile {
    path: PathBuf,
    /// Holds the lock that says that it is written.
    lock: File,
    connection: Connection,
    limits: Limits,
    session: Option<i64>,
    /// The last block, which has room: its id, once it is stored.
    open: (Option<i64>, Block),
    stored: u64,
}

impl RecordingFile {
    /// Opens a recording, or makes one.
    pub(super) fn open(
        path: &Path,
        durability: Durability,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        Self::open_locked(
            path,
            FlockOperation::NonBlockingLockShared,
            durability,
            limits,
        )
    }

    /// Opens a recording that nobody records to.
    pub(super) fn open_alone(path: &Path) -> Result<Self, StoreError> {
        let lock = FlockOperation::NonBlockingLockExclusive;
        Self::open_locked(path, lock, Durability::Full, Limits::default())
    }

    fn open_locked(
        path: &Path,
        lock: FlockOperation,
        durability: Durability,
        limits: Limits,
    ) -> Result<Self, StoreError> {
        let trouble = |source| StoreError::Io {
            path: path.to_owned(),
            source,
        };
        let file = own(path).map_err(trouble)?;
        // Where a file system knows no locks, nobody is kept out.
        if flock(&file, lock) == Err(Errno::WOULDBLOCK) {
            return Err(StoreError::Busy {
                path: path.to_owned(),
            });
        }
        let failed = |what| {
            move |source: rusqlite::Error| StoreError::Sqlite {
                path: path.to_owned(),
                what,
                source,
            }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(path, flags).map_err(failed("open what is"))?;
        connection
            .busy_timeout(PATIENCE)
            .map_err(failed("wait for other writers"))?;
        if is_empty(&connection, path)? {
            make(&mut connection).map_err(failed("make the tables"))?;
        }
        // Nobody else's eyes; what isn't ours was left as it is.
        file.set_permissions(Permissions::from_mode(FILE_MODE))
            .map_err(trouble)?;
        let synchronous = match durability {
            Durability::Full => "FULL",
            Durability::Normal => "NORMAL",
        };
        connection
            .pragma_update(None, "synchronous", synchronous)
            .map_err(failed("set the durability"))?;
        Ok(Self {
            path: path.to_owned(),
            lock: file,
            connection,
            limits,
            session: None,
            open: (None, Block::default()),
            stored: 0,
        })
    }

    /// For what isn't recording.
    pub(super) const fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Prepares for an [`Outbox`](super::Outbox) of what comes from now on.
    pub(super) fn prepare_outbox(&mut self) -> Result<(), StoreError> {
        outbox::prepare(&mut self.connection)
            .map_err(|source| self.failed("prepare what is to be sent")(source))
    }

    /// Stores all of a chunk, or nothing. How many events are stored, all in all.
    pub(super) fn store(&mut self, chunk: &Chunk) -> Result<u64, StoreError> {
        let before = (self.session, self.open.clone());
        match self.try_store(chunk) {
            Ok(()) => {
                self.stored += chunk.events;
                Ok(self.stored)
            }
            Err(source) => {
                // As it was: the file has not changed either.
                (self.session, self.open) = before;
                Err(self.failed("store events")(source))
            }
        }
    }

    fn try_store(&mut self, chunk: &Chunk) -> rusqlite::Result<()> {
        let Self {
            connection,
            session,
            open,
            ..
        } = self;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(begun) = &chunk.begins {
            *open = (None, Block::default());
            *session = Some(begin(&transaction, begun)?);
        }
        if let Some(session) = *session {
            // A row for each of the lines that tell of a notification, in their order.
            let mut numbers = chunk.rows.notifications.iter().map(|row| row.number);
            for line in chunk.lines.split_inclusive(|byte| *byte == b'\n') {
                if open.1.is_full_for(line.len()) {
                    put(&transaction, session, open)?;
                    *open = (None, Block::default());
                }
                open.1.push(line, chunk.first_us, chunk.last_us);
                let number = line.starts_with(SEND).then(|| numbers.next()).flatten();
                open.1.speaks_of(number, chunk.rows.flows_since);
            }
            if chunk.events > 0 {
                put(&transaction, session, open)?;
            }
            rows::write(&transaction, session, &chunk.rows)?;
            transaction
                .prepare_cached(
                    "UPDATE session SET stored = stored + ?2, dropped = dropped + ?3, \
                     is_complete = max(is_complete, ?4), is_concluded = max(is_concluded, ?4) \
                     WHERE id = ?1",
                )?
                .execute(params![
                    session,
                    signed(chunk.events),
                    signed(chunk.dropped),
                    chunk.is_last
                ])?;
        }
        transaction.commit()
    }

    /// Whether somebody has removed the file, or put another in its place: what is written has no name.
    pub(super) fn is_gone(&self) -> bool {
        let ours = self.lock.metadata();
        ours.is_ok_and(|ours| Identity::of(&ours).is_gone(&self.path))
    }

    /// What SQLite keeps beside the file: those that are ours.
    pub(super) fn companions(&self) -> Vec<(PathBuf, Identity)> {
        ["-wal", "-shm"]
            .into_iter()
            .filter_map(|end| {
                let mut path = self.path.clone().into_os_string();
                path.push(end);
                let about = std::fs::metadata(&path).ok()?;
                Some((path.into(), Identity::of(&about)))
            })
            .collect()
    }

    /// So many events were stored before, in another file.
    pub(super) const fn stores_from(&mut self, stored: u64) {
        self.stored = stored;
    }

    /// What comes is of a session that began in another file.
    pub(super) fn resume(&mut self, begun: &Begun) -> Result<(), StoreError> {
        let result = begin(&self.connection, begun);
        self.session = Some(result.map_err(self.failed("store events"))?);
        self.open = (None, Block::default());
        Ok(())
    }

    /// Other limits hold from now on.
    pub(super) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Deletes what is too old, and the oldest while the file is too large.
    pub(super) fn prune(&mut self, now_us: i64) -> Result<(), StoreError> {
        self.try_prune(now_us)
            .map_err(|source| self.failed("delete old events")(source))
    }

    fn try_prune(&mut self, now_us: i64) -> rusqlite::Result<()> {
        let mut is_changed = false;
        if let Some(age) = self.limits.age {
            let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            let before_us = now_us.saturating_sub(age_us);
            is_changed |= self.delete(before_us, DELETED_AT_ONCE)? > 0;
        }
        if let Some(size_bytes) = self.limits.size_bytes {
            while self.used_bytes()? > size_bytes {
                // A sixteenth at once, so that not every transaction deletes something.
                let blocks: i64 =
                    self.connection
                        .query_row("SELECT count(*) FROM block", [], |row| row.get(0))?;
                if self.delete(i64::MAX, (blocks / 16).max(1))? == 0 {
                    break;
                }
                is_changed = true;
            }
        }
        if is_changed {
            self.connection.execute_batch("PRAGMA incremental_vacuum")?;
        }
        Ok(())
    }

    /// Deletes blocks, oldest first, of before that time; never the open one.
    fn delete(&mut self, before_us: i64, most: i64) -> rusqlite::Result<usize> {
        let open = self.open.0.unwrap_or(-1);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let doomed: Vec<(i64, i64, i64)> = transaction
            .prepare_cached(
                // Always the first ones: where the clock was set back, what came before is older still.
                "SELECT id, session, events FROM block WHERE id <= (SELECT max(id) FROM block \
                 WHERE last_us < ?1 AND id <> ?2) AND id <> ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![before_us, open, most], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (id, session, events) in &doomed {
            transaction
                .prepare_cached("UPDATE session SET deleted = deleted + ?2 WHERE id = ?1")?
                .execute([session, events])?;
            transaction
                .prepare_cached("DELETE FROM block WHERE id = ?1")?
                .execute([id])?;
        }
        let mut sessions: Vec<i64> = doomed.iter().map(|(_, session, _)| *session).collect();
        sessions.dedup();
        for session in sessions {
            delete_rows(&transaction, session)?;
        }
        transaction.commit()?;
        Ok(doomed.len())
    }

    /// Bytes of the file that hold something.
    fn used_bytes(&self) -> rusqlite::Result<u64> {
        let pragma = |name: &str| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
        };
        let pages = pragma("page_count")? - pragma("freelist_count")?;
        Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or(0))
    }

    /// As if the disk had room for so many pages only.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: Option<u32>) {
        self.connection
            .pragma_update_and_check(
                None,
                "max_page_count",
                pages.unwrap_or(u32::MAX >> 1),
                |_| Ok(()),
            )
            .expect("a pragma");
    }

    fn failed(&self, what: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Sqlite {
            path: path.clone(),
            what,
            source,
        }
    }
}

/// Whether a file is still empty; else it is a recording that this version knows.
///
/// # Errors
/// If it is something else, is of a newer version, or can't be read.
pub(super) fn is_empty(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let path = path.to_owned();
    match version(connection) {
        Ok(None) => Ok(true),
        Ok(Some(SCHEMA_VERSION)) => Ok(false),
        Ok(Some(version)) if version > SCHEMA_VERSION => Err(StoreError::TooNew { path, version }),
        Ok(Some(_)) => Err(StoreError::NotARecording { path }),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(StoreError::NotARecording { path })
        }
        Err(source) => Err(match cut_off(&path) {
            Some((bytes, whole_bytes)) => StoreError::CutOff {
                path,
                bytes,
                whole_bytes,
            },
            None => StoreError::Sqlite {
                path,
                what: "read what is",
                source,
            },
        }),
    }
}

/// How many bytes a file has, and how many it had, if its end is missing: its header says how many pages
/// of which size there are (the file format of SQLite, 1.3).
fn cut_off(path: &Path) -> Option<(u64, u64)> {
    let mut header = [0; 32];
    let mut file = File::open(path).ok()?;
    file.read_exact(&mut header).ok()?;
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    let bytes = file.metadata().ok()?.len();
    let whole_bytes = page_bytes * u64::from(pages);
    (bytes < whole_bytes).then_some((bytes, whole_bytes))
}

/// The version of a recording; `None`: the file is empty.
///
/// # Errors
/// If it can't be read; [`rusqlite::ErrorCode::NotADatabase`] if it is something else.
fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    let (application, version): (i64, i64) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == APPLICATION_ID {
        Ok(Some(version))
    } else if application == 0 && tables == 0 {
        Ok(None)
    } else {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        Err(rusqlite::Error::SqliteFailure(code, None))
    }
}

/// Makes the tables of an empty file.
fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    // Before the first table: so that what is deleted makes the file smaller.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another one may have been quicker.
    if version(&transaction)?.is_none() {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute_batch(&sql::statements())?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

/// Deletes the rows that are drawn from deleted blocks. Verdicts stay: they are few, and worth the more
/// the less is left.
fn delete_rows(transaction: &Transaction<'_>, session: i64) -> rusqlite::Result<()> {
    let left: (Option<i64>, Option<i64>) = transaction
        .prepare_cached(
            "SELECT min(first_notification), min(first_flow) FROM block WHERE session = ?1",
        )?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Nothing is left that speaks of any notification; flows may still be given to new ones.
    let below = left.0.unwrap_or(rows::id(session + 1, 0));
    let flows_below = left.1.unwrap_or(rows::id(session, 0));
    rows::delete(transaction, session, below, flows_below)
}

fn begin(transaction: &Connection, begun: &Begun) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO session (host, boot_id, kernel, tool_version, began_us, began_ns, event, \
             derived_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .insert(params![
            begun.host,
            begun.boot_id,
            begun.kernel,
            begun.tool_version,
            begun.began_us,
            begun.began_ns,
            begun.event,
            project::VERSION
        ])
}

/// Writes a block, or what it has become.
fn put(
    transaction: &Transaction<'_>,
    session: i64,
    (id, block): &mut (Option<i64>, Block),
) -> rusqlite::Result<()> {
    let data = block
        .compressed()
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let values = params![
        *id,
        session,
        signed(block.events),
        block.first_us,
        block.last_us,
        block
            .first_notification
            .map(|number| rows::id(session, number)),
        block.first_flow.map(|number| rows::id(session, number)),
        i64::try_from(block.lines.len()).unwrap_or(i64::MAX),
        data
    ];
    let written = transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO block (id, session, events, first_us, last_us, \
             first_notification, first_flow, bytes, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert(values)?;
    *id = Some(written);
    Ok(())
}

/// Makes the file, if there is none; it has to be ours.
fn own(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    if about.uid() != rustix::process::geteuid().as_raw() {
        let why = "it belongs to another user, who could read what is written to it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(file)
}
