//! Recordings, read back, while they are written too: the lines of a session, one block after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::block::decompressed;
use super::error::StoreError;
use super::file::is_empty;
use super::salvage;
use crate::escape;

/// How each SQLite file begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Whether the file is one of SQLite's.
///
/// # Errors
/// If it can't be read.
pub fn is_store(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut begin = [0; MAGIC.len()];
    match file.read_exact(&mut begin) {
        Ok(()) => Ok(begin == *MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A session of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its number in this recording.
    pub id: i64,
    /// The traced host.
    pub host: String,
    /// Its boot.
    pub boot_id: Option<String>,
    /// Its kernel.
    pub kernel: String,
    /// Version of its service manager, where that was asked.
    pub manager_version: Option<String>,
    /// Version of what drew its rows from its events.
    pub derived_by: i64,
    /// Also what follows of there being no more events.
    pub is_concluded: bool,
    /// When it began.
    pub began: Timestamp,
    /// Events that were stored, but for the session event.
    pub stored: u64,
    /// Those of them that a limit has deleted since.
    pub deleted: u64,
    /// Events that could not be stored in time.
    pub dropped: u64,
    /// It has its summary.
    pub is_complete: bool,
    /// The session event.
    event: String,
}

/// A recording.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    /// Its end is missing: how many bytes are there, and how many there were.
    gap: Option<(u64, u64)>,
}

impl Reader {
    /// Opens a recording.
    ///
    /// # Errors
    /// If it can't be read, is something else, or is of a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|source| StoreError::Sqlite {
                path: path.to_owned(),
                what: "read what is",
                source,
            })?;
        let (connection, gap) = match is_empty(&connection, path) {
            Ok(false) => (connection, None),
            Ok(true) => {
                return Err(StoreError::NotARecording {
                    path: path.to_owned(),
                });
            }
            Err(StoreError::CutOff {
                path,
                bytes,
                whole_bytes,
            }) => {
                let salvaged = salvage::open(&path, whole_bytes)
                    .filter(|connection| matches!(is_empty(connection, &path), Ok(false)))
                    .ok_or(StoreError::CutOff {
                        path,
                        bytes,
                        whole_bytes,
                    })?;
                (salvaged, Some((bytes, whole_bytes)))
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            connection,
            gap,
        })
    }

    /// What is missing of the file itself, a sentence.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let (bytes, whole_bytes) = self.gap?;
        Some(format!(
            "{}: the file is cut off: {bytes} of {whole_bytes} bytes are there; what stood behind the first gap \
             is missing",
            escape::path(&self.path)
        ))
    }

    /// The next row; of a file that is cut off, what can't be read is its end.
    pub(super) fn next<'r>(
        &self,
        rows: &'r mut rusqlite::Rows<'_>,
    ) -> rusqlite::Result<Option<&'r rusqlite::Row<'r>>> {
        match rows.next() {
            Err(error) if self.gap.is_some() && salvage::is_gap(&error) => Ok(None),
            row => row,
        }
    }

    /// From now on it is read as it is now, whatever is recorded or deleted meanwhile.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn snapshot(&self) -> Result<(), StoreError> {
        self.tried("read what is", || {
            self.connection.execute_batch("BEGIN")?;
            // The first look decides which moment it is.
            self.connection
                .query_row("SELECT count(*) FROM session", [], |_| Ok(()))
        })
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What SQLite says, with what was tried.
    pub(super) fn tried<T>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work().map_err(|source| StoreError::Sqlite {
            path: self.path.clone(),
            what,
            source,
        })
    }

    /// The sessions, the oldest first.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        self.tried("read the sessions", || {
            self.connection
                .prepare(
                    "SELECT id, stored, deleted, dropped, is_complete, event, host, began_us, boot_id, \
                     kernel, manager_version, derived_by, is_concluded FROM session ORDER BY id",
                )?
                .query_map([], |row| {
                    let count = |column| {
                        row.get::<_, i64>(column)
                            .map(|count| u64::try_from(count).unwrap_or(0))
                    };
                    Ok(SessionRow {
                        id: row.get(0)?,
                        stored: count(1)?,
                        deleted: count(2)?,
                        dropped: count(3)?,
                        is_complete: row.get(4)?,
                        event: row.get(5)?,
                        host: row.get(6)?,
                        began: Timestamp::from_microsecond(row.get(7)?).unwrap_or_default(),
                        boot_id: row.get(8)?,
                        kernel: row.get(9)?,
                        manager_version: row.get(10)?,
                        derived_by: row.get(11)?,
                        is_concluded: row.get(12)?,
                    })
                })?
                .collect()
        })
    }

    /// The events of a session, as JSON Lines.
    #[must_use]
    pub fn lines<'a>(&'a self, session: &SessionRow) -> impl BufRead + use<'a> {
        let mut first = session.event.clone().into_bytes();
        first.push(b'\n');
        BufReader::new(Lines {
            connection: &self.connection,
            is_cut_off: self.gap.is_some(),
            session: session.id,
            block: 0,
            lines: first,
            at: 0,
        })
    }
}

/// The lines of a session.
struct Lines<'a> {
    connection: &'a Connection,
    /// What can't be read is the end.
    is_cut_off: bool,
    session: i64,
    /// The block that was read last.
    block: i64,
    lines: Vec<u8>,
    at: usize,
}

impl Lines<'_> {
    /// The next block, if there is one.
    fn next(&mut self) -> io::Result<bool> {
        let row: rusqlite::Result<Option<(i64, i64, Vec<u8>)>> = self
            .connection
            .prepare_cached(
                "SELECT id, bytes, data FROM block WHERE session = ?1 AND id > ?2 \
                 ORDER BY id LIMIT 1",
            )
            .and_then(|mut query| {
                query
                    .query_row([self.session, self.block], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()
            });
        let row = match row {
            Err(error) if self.is_cut_off && salvage::is_gap(&error) => None,
            row => row.map_err(|error| damaged(self.block, error))?,
        };
        let Some((id, bytes, data)) = row else {
            return Ok(false);
        };
        let bytes = usize::try_from(bytes).unwrap_or(0);
        self.lines = match decompressed(&data, bytes) {
            Err(_) if self.is_cut_off => return Ok(false),
            lines => lines.map_err(|error| damaged(id, error))?,
        };
        self.at = 0;
        self.block = id;
        Ok(true)
    }
}

fn damaged(block: i64, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    let error: Box<dyn std::error::Error + Send + Sync> = error.into();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "the file is damaged behind block {block}: {error}; what was read before is whole \
             (sqlite3's .recover may save more)"
        ),
    )
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.lines.len() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.lines.len() - self.at);
        buffer[..length].copy_from_slice(&self.lines[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
