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

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::file::ParquetFile;
pub use self::table::{Cell, TABLES, Table};
use crate::escape;
use crate::store::{Reader, SessionRow};

/// What came of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files that were written.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Writes a recording's rows into a folder; `progress` is called with how many are written.
///
/// Files have names of their own for each session and date: what was exported before is replaced, and
/// what others exported stays.
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
        let mut open: HashMap<(i64, i64), ParquetFile> = HashMap::new();
        let mut failed = None;
        reader.rows(table.query, table.columns.len(), &mut |cells| {
            let (Some(session), Some(at_us)) = (cells[0].number(), table.at_us(cells)) else {
                return true;
            };
            let place = (session, at_us.div_euclid(DAY_US));
            let result = match open.get_mut(&place) {
                Some(file) => file.push(cells),
                None => sessions
                    .get(&session)
                    .with_context(|| format!("there is no session {session}"))
                    .and_then(|row| ParquetFile::create(&path(to, table, row, at_us), table))
                    .and_then(|mut file| {
                        file.push(cells)?;
                        open.insert(place, file);
                        Ok(())
                    }),
            };
            all.rows += 1;
            progress(all.rows);
            failed = result.err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for file in open.into_values() {
            all.bytes += file.finish()?;
            all.files += 1;
        }
    }
    Ok(all)
}

const DAY_US: i64 = 86_400_000_000;

/// Where rows of a session and a day belong: `notifications/date=2026-11-25/host=web/BOOT-BEGAN.parquet`.
fn path(to: &Path, table: &Table, session: &SessionRow, at_us: i64) -> PathBuf {
    let at = Timestamp::from_microsecond(at_us).unwrap_or_default();
    let date = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
    let boot = session.boot_id.as_deref().unwrap_or("unknown");
    to.join(table.name)
        .join(format!("date={date}"))
        .join(format!("host={}", encoded(&session.host)))
        .join(format!(
            "{}-{}.parquet",
            encoded(boot),
            session.began.as_microsecond()
        ))
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
