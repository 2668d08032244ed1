//! What of a recording was passed on, to whom it is sent: the recording itself is the outbox.
//!
//! A position for each session stands beside the events: how many of them were taken. What a limit
//! deletes before it was taken is counted.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, TransactionBehavior};

use super::block::decompressed;
use super::error::StoreError;
use super::file::{Identity, is_empty};
use super::signed;
use crate::event::{Event, Session};

/// How long the one who records is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the table of positions; what was recorded before that is no one's to send.
///
/// Not part of the schema's version: whoever doesn't know the table doesn't miss it.
const TABLE: &str = "CREATE TABLE outbox (
    -- Events of this session that were taken: sent, or refused for good.
    session INTEGER PRIMARY KEY,
    taken INTEGER NOT NULL
) STRICT;
INSERT INTO outbox (session, taken) SELECT id, stored FROM session;";

/// Prepares a recording for being an outbox.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !is_prepared(&transaction)? {
        transaction.execute_batch(TABLE)?;
    }
    transaction.commit()
}

fn is_prepared(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'outbox'",
            [],
            |_| Ok(()),
        )
        .optional()
        .map(|found| found.is_some())
}

/// Events of one session, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The session.
    pub session: i64,
    /// How many events of it come before.
    pub first: u64,
    /// The events, as JSON Lines.
    pub lines: Vec<u8>,
    /// How many they are.
    pub events: u64,
    /// Events before the first that were deleted before they were taken.
    pub skipped: u64,
    /// Events that come next and can't be read; only if there are none else.
    pub damaged: u64,
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Events that are stored and were not taken.
    pub waiting: u64,
    /// Those of them that are not of the session that was asked for.
    pub waiting_of_others: u64,
    /// What a limit deleted before it was taken; it counts as taken now.
    pub expired: Vec<Expired>,
}

/// Events that were deleted before they were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Of this session.
    pub session: i64,
    /// It is the one that was asked for.
    pub is_ours: bool,
    /// The first of them, counted from 0.
    pub first: u64,
    /// The first behind them.
    pub behind: u64,
}

/// Where a session stands.
#[derive(Clone, Debug)]
struct Stand {
    session: i64,
    stored: u64,
    deleted: u64,
    taken: u64,
    boot_id: Option<String>,
    began_ns: i64,
}

impl Stand {
    fn is(&self, session: &Session) -> bool {
        self.boot_id == session.boot_id && self.began_ns == signed(session.monotonic_ns)
    }
}

/// A recording, read to be passed on.
#[derive(Debug)]
pub struct Outbox {
    path: PathBuf,
    file: Identity,
    connection: Connection,
    /// Positions that could not be written yet.
    unwritten: HashMap<i64, u64>,
    /// Where it was read last.
    near: Option<Near>,
}

/// A block, and how many events of its session come before it.
#[derive(Clone, Copy, Debug)]
struct Near {
    session: i64,
    block: i64,
    before: u64,
}

impl Outbox {
    /// Opens a recording that somebody records to, and has prepared.
    ///
    /// # Errors
    /// If it is not there yet, or can't be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Sqlite {
            path: path.to_owned(),
            what: "read what is",
            source,
        };
        let about = std::fs::metadata(path).map_err(|source| StoreError::Io {
            path: path.to_owned(),
            source,
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        // A position that a power loss takes away is one from which some is sent again.
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(failed)?;
        if is_empty(&connection, path)? || !is_prepared(&connection).map_err(failed)? {
            return Err(StoreError::NotARecording {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file: Identity::of(&about),
            connection,
            unwritten: HashMap::new(),
            near: None,
        })
    }

    /// Whether somebody has removed the file, or put another in its place.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.file.is_gone(&self.path)
    }

    /// How much waits, of a session and of all. What expired is told once.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn backlog(&mut self, ours: Option<&Session>) -> Result<Backlog, StoreError> {
        let mut backlog = Backlog::default();
        for stand in self.stands()? {
            let is_ours = ours.is_some_and(|ours| stand.is(ours));
            let Stand {
                session,
                stored,
                deleted,
                taken,
                ..
            } = stand;
            if deleted > taken {
                backlog.expired.push(Expired {
                    session,
                    is_ours,
                    first: taken,
                    behind: deleted,
                });
                // If it can't be noted it holds for this run.
                let _ = self.take(session, deleted);
            }
            let waiting = stored.saturating_sub(taken.max(deleted));
            backlog.waiting += waiting;
            backlog.waiting_of_others += if is_ours { 0 } else { waiting };
        }
        Ok(backlog)
    }

    /// The next events that were not taken, about so many bytes of them, at least one; `None`: there are
    /// none.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn next(&mut self, bytes: usize) -> Result<Option<Page>, StoreError> {
        let stand = self
            .stands()?
            .into_iter()
            .find(|it| it.taken.max(it.deleted) < it.stored);
        let Some(Stand { session, taken, .. }) = stand else {
            return Ok(None);
        };
        self.page(session, taken, bytes, u64::MAX).map(Some)
    }

    /// The events that come right before one, about so many bytes of them.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn before(&mut self, session: i64, event: u64, bytes: usize) -> Result<Page, StoreError> {
        let blocks = self.tried("read what was sent", |connection| {
            let mut before = deleted(connection, session)?;
            let mut blocks = VecDeque::new();
            let mut query = connection
                .prepare("SELECT bytes, events FROM block WHERE session = ?1 ORDER BY id")?;
            let mut rows = query.query([session])?;
            while let Some(row) = rows.next()? {
                if before >= event {
                    break;
                }
                blocks.push_back((before, number(row, 0)?));
                before += number(row, 1)?;
            }
            Ok(blocks)
        })?;
        // As many whole blocks as there is room for.
        let mut room = bytes as u64;
        let first = blocks.iter().rev().take_while(|(_, length)| {
            let fits = *length <= room;
            room = room.saturating_sub(*length);
            fits
        });
        let Some((first, _)) = first.last().copied() else {
            return Ok(Page::default());
        };
        let mut page = self.page(session, first, usize::MAX, event)?;
        // The last block goes on behind it.
        let wanted = usize::try_from(event.saturating_sub(page.first)).unwrap_or(usize::MAX);
        let lines = page.lines.split_inclusive(|byte| *byte == b'\n');
        let length = lines.take(wanted).map(<[u8]>::len).sum();
        page.lines.truncate(length);
        page.events = page.events.min(wanted as u64);
        Ok(page)
    }

    /// Events of a session from one on, to below another, about so many bytes of them.
    fn page(
        &mut self,
        session: i64,
        from: u64,
        bytes: usize,
        below: u64,
    ) -> Result<Page, StoreError> {
        let near = self.near;
        let (page, near) = self.tried("read what waits", |connection| {
            // One look: blocks must not go between two questions.
            let look = connection.unchecked_transaction()?;
            let near = near.filter(|near| near.session == session && near.before <= from);
            let mut near = match near {
                Some(near) if exists(&look, near.block)? => near,
                _ => Near {
                    session,
                    block: 0,
                    before: deleted(&look, session)?,
                },
            };
            let mut page = Page {
                session,
                first: from.max(near.before),
                skipped: near.before.saturating_sub(from),
                ..Page::default()
            };
            let mut at = near.block;
            let mut before = near.before;
            while page.lines.len() < bytes && page.first + page.events < below {
                let Some(block) = block(&look, session, at)? else {
                    break;
                };
                near = Near {
                    session,
                    block: block.id,
                    before,
                };
                let next = page.first + page.events;
                let behind = before + block.events;
                if next < behind {
                    match block.lines(&look) {
                        Ok(lines) => add(&mut page, &lines, next - before, bytes),
                        // What comes before it goes first.
                        Err(error) if is_damage(&error) => {
                            if page.events == 0 {
                                page.damaged = behind - next;
                            }
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
                (at, before) = (block.id + 1, behind);
            }
            Ok((page, near))
        })?;
        self.near = Some(near);
        Ok(page)
    }

    /// The session's event.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn session(&self, session: i64) -> Result<Session, StoreError> {
        let event: String = self.tried("read the sessions", |connection| {
            let mut query = connection.prepare_cached("SELECT event FROM session WHERE id = ?1")?;
            query.query_row([session], |row| row.get(0))
        })?;
        match serde_json::from_str(&event) {
            Ok(Event::Session(session)) => Ok(*session),
            _ => Err(StoreError::NotARecording {
                path: self.path.clone(),
            }),
        }
    }

    /// So many events of a session were taken: they are not given again, not even after a restart.
    ///
    /// # Errors
    /// If that can't be written. It holds for this run all the same, and is written with the next one.
    pub fn take(&mut self, session: i64, taken: u64) -> Result<(), StoreError> {
        self.unwritten.insert(session, taken);
        let unwritten: Vec<(i64, u64)> = self.unwritten.iter().map(|it| (*it.0, *it.1)).collect();
        self.tried("note what was sent", |connection| {
            let look = connection.unchecked_transaction()?;
            for (session, taken) in &unwritten {
                look.prepare_cached(
                    "INSERT OR REPLACE INTO outbox (session, taken) VALUES (?1, ?2)",
                )?
                .execute([*session, signed(*taken)])?;
            }
            look.commit()
        })?;
        self.unwritten.clear();
        Ok(())
    }

    /// Where each session stands, the oldest first.
    fn stands(&self) -> Result<Vec<Stand>, StoreError> {
        let mut stands: Vec<Stand> = self.tried("read the sessions", |connection| {
            connection
                .prepare_cached(
                    "SELECT id, stored, deleted, coalesce(taken, 0), boot_id, began_ns FROM session LEFT JOIN outbox ON outbox.session = session.id ORDER BY id",
                )?
                .query_map([], |row| {
                    Ok(Stand {
                        session: row.get(0)?,
                        stored: number(row, 1)?,
                        deleted: number(row, 2)?,
                        taken: number(row, 3)?,
                        boot_id: row.get(4)?,
                        began_ns: row.get(5)?,
                    })
                })?
                .collect()
        })?;
        for stand in &mut stands {
            if let Some(taken) = self.unwritten.get(&stand.session) {
                stand.taken = *taken;
            }
        }
        Ok(stands)
    }

    fn tried<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.connection).map_err(|source| StoreError::Sqlite {
            path: self.path.clone(),
            what,
            source,
        })
    }
}

/// A block, without its lines.
struct Block {
    id: i64,
    events: u64,
    bytes: usize,
}

impl Block {
    fn lines(&self, look: &Connection) -> rusqlite::Result<Vec<u8>> {
        let data: Vec<u8> = look
            .prepare_cached("SELECT data FROM block WHERE id = ?1")?
            .query_row([self.id], |row| row.get(0))?;
        decompressed(&data, self.bytes)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

/// The first block of a session from that one on.
fn block(look: &Connection, session: i64, from: i64) -> rusqlite::Result<Option<Block>> {
    look.prepare_cached(
        "SELECT id, events, bytes FROM block WHERE session = ?1 AND id >= ?2 ORDER BY id LIMIT 1",
    )?
    .query_row([session, from], |row| {
        Ok(Block {
            id: row.get(0)?,
            events: number(row, 1)?,
            bytes: usize::try_from(number(row, 2)?).unwrap_or(usize::MAX),
        })
    })
    .optional()
}

/// Whether this block can't be read, but others may.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
        || error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
}

fn exists(look: &Connection, block: i64) -> rusqlite::Result<bool> {
    look.prepare_cached("SELECT 1 FROM block WHERE id = ?1")?
        .exists([block])
}

/// Events of a session that are deleted: the first ones.
fn deleted(look: &Connection, session: i64) -> rusqlite::Result<u64> {
    look.prepare_cached("SELECT deleted FROM session WHERE id = ?1")?
        .query_row([session], |row| number(row, 0))
}

/// A number that is never negative.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column)
        .map(|number| u64::try_from(number).unwrap_or(0))
}

/// Adds lines to a page until it has about so many bytes.
fn add(page: &mut Page, lines: &[u8], skipped: u64, bytes: usize) {
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    for line in lines.split_inclusive(|byte| *byte == b'\n').skip(skipped) {
        page.lines.extend_from_slice(line);
        page.events += 1;
        if page.lines.len() >= bytes {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
