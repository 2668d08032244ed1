//! Recordings as Parquet files, for engines that read many hosts' at once.
//!
//! ```text
//! notifications, verdicts (views) ──▶ rows ──▶ partition (date, host) ──▶ file (temporary, then its name)
//! ```
//!
//! A dataset is a folder of files by date and host. Columns are those of the views, so the studies' SQL
//! (`docs/studies.md`) runs on it as it is.

mod file;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::file::{Finished, ParquetFile};
pub use self::table::{Cell, TABLES, Table};
use crate::escape;
use crate::store::{Reader, SessionRow};

/// What came of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files that were written.
    pub files: u64,
    /// Files that were left, for they have more rows than the recording has now.
    pub kept: u64,
    /// Rows of the recording.
    pub rows: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Exported {
    fn take(&mut self, finished: Finished) {
        match finished {
            Finished::Written { bytes } => {
                self.files += 1;
                self.bytes += bytes;
            }
            Finished::Kept => self.kept += 1,
        }
    }
}

/// Writes a recording's rows into a folder; `progress` is called with how many are written.
///
/// Files have names of their own for each session and date: what was exported before is replaced unless it
/// has more rows, and what others exported stays.
///
/// # Errors
/// If the recording can't be read, or a file can't be written. Files that are there are whole.
pub fn export(reader: &Reader, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<Exported> {
    let sessions: HashMap<i64, SessionRow> = reader
        .sessions()?
        .into_iter()
        .map(|session| (session.id, session))
        .collect();
    let mut all = Exported::default();
    for table in &TABLES {
        let mut files = Files::new(to, table, &sessions);
        let mut failed = None;
        reader.rows(table.query, table.columns.len(), &mut |cells| {
            failed = files.push(cells, &mut all).err();
            all.rows += 1;
            progress(all.rows);
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        files.finish(&mut all)?;
    }
    Ok(all)
}

/// Rows come in the order of their numbers, which is nearly that of time: so much behind midnight no row of
/// the day before comes any more, as a rule.
const LATE_US: i64 = 3_600_000_000;

/// The files of a table that are being written: one as a rule, two about midnight.
struct Files<'a> {
    to: &'a Path,
    table: &'a Table,
    sessions: &'a HashMap<i64, SessionRow>,
    /// By session and day.
    open: BTreeMap<(i64, i64), ParquetFile>,
    /// How many files a session and a day had already.
    done: HashMap<(i64, i64), u32>,
}

impl<'a> Files<'a> {
    fn new(to: &'a Path, table: &'a Table, sessions: &'a HashMap<i64, SessionRow>) -> Self {
        Self {
            to,
            table,
            sessions,
            open: BTreeMap::new(),
            done: HashMap::new(),
        }
    }

    fn push(&mut self, cells: &[Cell], all: &mut Exported) -> Result<()> {
        let (Some(session), Some(at_us)) = (cells[0].number(), self.table.at_us(cells)) else {
            return Ok(());
        };
        let place = (session, at_us.div_euclid(DAY_US));
        if let Some(file) = self.open.get_mut(&place) {
            return file.push(cells);
        }
        let over: Vec<(i64, i64)> = self
            .open
            .keys()
            .filter(|(other, day)| *other != session || (day + 1) * DAY_US + LATE_US < at_us)
            .copied()
            .collect();
        for place in over {
            self.close(place, all)?;
        }
        let row = self
            .sessions
            .get(&session)
            .with_context(|| format!("there is no session {session}"))?;
        let part = self.done.entry(place).or_default();
        *part += 1;
        let path = path(self.to, self.table, row, at_us, *part);
        let mut file = ParquetFile::create(&path, self.table)?;
        file.push(cells)?;
        self.open.insert(place, file);
        Ok(())
    }

    fn close(&mut self, place: (i64, i64), all: &mut Exported) -> Result<()> {
        if let Some(file) = self.open.remove(&place) {
            all.take(file.finish()?);
        }
        Ok(())
    }

    fn finish(mut self, all: &mut Exported) -> Result<()> {
        while let Some((_, file)) = self.open.pop_first() {
            all.take(file.finish()?);
        }
        Ok(())
    }
}

const DAY_US: i64 = 86_400_000_000;

/// Where rows of a session and a day belong: `notifications/date=2026-11-25/host=web/BOOT-BEGAN.parquet`.
fn path(to: &Path, table: &Table, session: &SessionRow, at_us: i64, part: u32) -> PathBuf {
    let at = Timestamp::from_microsecond(at_us).unwrap_or_default();
    let date = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
    let boot = session.boot_id.as_deref().unwrap_or("unknown");
    to.join(table.name)
        .join(format!("date={date}"))
        .join(format!("host={}", encoded(&session.host)))
        .join(match part {
            1 => format!(
                "{}-{}.parquet",
                encoded(boot),
                session.began.as_microsecond()
            ),
            // What came so late that the first was closed.
            _ => format!(
                "{}-{}-{part}.parquet",
                encoded(boot),
                session.began.as_microsecond()
            ),
        })
}

/// A value in the name of a folder, as Hive has it: what isn't a letter, a digit, `-`, `_` or an inner
/// dot is `%XX`.
fn encoded(text: &str) -> String {
    let is_plain = |at: usize, byte: u8| {
        byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || (byte == b'.' && at > 0)
    };
    text.bytes()
        .enumerate()
        .map(|(at, byte)| {
            if is_plain(at, byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Makes the folder, so that a wrong path is noticed before the work begins.
///
/// # Errors
/// If it can't be made.
pub fn make_folder(to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make the folder {}", escape::path(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        assert_eq!(encoded("web-1.example"), "web-1.example");
        assert_eq!(encoded("../x"), "%2E.%2Fx");
        assert_eq!(encoded("ä b"), "%C3%A4%20b");
    }
}
