//! Why a recording can't be written or read, and what helps.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::SCHEMA_VERSION;
use crate::escape;
use crate::recording::Trouble;

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
    /// Its end is missing.
    CutOff {
        /// Which.
        path: PathBuf,
        /// So many bytes are there.
        bytes: u64,
        /// So many there were.
        whole_bytes: u64,
    },
    /// Somebody records to it, or makes its rows anew.
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// Events of a session can't be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Which session.
        session: i64,
        /// Why not.
        source: Trouble,
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
    /// All that is known of it, in a line.
    #[must_use]
    pub fn words(&self) -> String {
        use std::error::Error as _;

        match self.source() {
            Some(source) => format!("{self} ({source})"),
            None => self.to_string(),
        }
    }

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
                write!(f, "cannot open the recording {}", escape::path(path))
            }
            Self::NotARecording { path } => write!(
                f,
                "{} is no recording of notify-trace, and is left as it is: choose another name",
                escape::path(path)
            ),
            Self::TooNew { path, version } => write!(
                f,
                "{} is a recording of version {version}, this notify-trace knows {SCHEMA_VERSION}: \
                 use a newer one",
                escape::path(path)
            ),
            Self::Sqlite { path, what, source } => {
                write!(f, "cannot {what} in the recording {}", escape::path(path))?;
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
            Self::CutOff {
                path,
                bytes,
                whole_bytes,
            } => {
                write!(
                    f,
                    "the recording {} is cut off: {bytes} of {whole_bytes} bytes are there, and nothing of it \
                     can be read, or what is left only by show, explain and report",
                    escape::path(path)
                )
            }
            Self::Busy { path } => write!(
                f,
                "the recording {} is in use by another notify-trace, which records to it or makes its rows \
                 anew: wait for its end",
                escape::path(path)
            ),
            Self::Unreadable { path, session, .. } => write!(
                f,
                "cannot read the events of session {session} in the recording {}",
                escape::path(path)
            ),
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
            Self::Unreadable { source, .. } => Some(source),
            Self::NotARecording { .. }
            | Self::TooNew { .. }
            | Self::CutOff { .. }
            | Self::Busy { .. } => None,
        }
    }
}
