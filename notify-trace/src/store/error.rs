//! Why a recording can't be written or read, and what helps.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::SCHEMA_VERSION;
use crate::escape::escape;

/// Why a recording can't be written or read.
#[derive(Debug)]
pub enum StoreError {
    /// The file can't be opened or made.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else: it is left as it is.
    NotARecording {
        /// Which.
        path: PathBuf,
    },
    /// It was made by a newer version.
    TooNew {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// SQLite says no.
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Events could not be stored before the end.
    Unstored {
        /// How many.
        events: u64,
        /// Why not.
        source: Box<StoreError>,
    },
}

impl StoreError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, .. } => {
                write!(f, "cannot open the recording {}", shown(path))
            }
            Self::NotARecording { path } => write!(
                f,
                "{} is no recording of notify-trace, and is left as it is: choose another name",
                shown(path)
            ),
            Self::TooNew { path, version } => write!(
                f,
                "{} is a recording of version {version}, this notify-trace knows {SCHEMA_VERSION}: \
                 use a newer one",
                shown(path)
            ),
            Self::Sqlite { path, what, source } => {
                write!(f, "cannot {what} in the recording {}", shown(path))?;
                match source.sqlite_error_code() {
                    Some(rusqlite::ErrorCode::DiskFull) => write!(f, ": the disk is full"),
                    Some(
                        rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase,
                    ) => write!(
                        f,
                        ": the file is damaged (sqlite3's .recover may save more of it)"
                    ),
                    _ => Ok(()),
                }
            }
            Self::Unstored { events, .. } => write!(
                f,
                "{events} events could not be stored; what had been stored before is safe"
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Sqlite { source, .. } => Some(source),
            Self::Unstored { source, .. } => Some(source),
            Self::NotARecording { .. } | Self::TooNew { .. } => None,
        }
    }
}

fn shown(path: &std::path::Path) -> impl fmt::Display {
    escape(path.as_os_str().as_encoded_bytes()).to_string()
}
