//! The rows of a recording, made anew from its events: of sessions that were cut off before the last
//! conclusions were drawn, or that an older version drew.

use std::path::Path;

use rusqlite::{Transaction, TransactionBehavior};

use super::error::StoreError;
use super::file::RecordingFile;
use super::reader::Reader;
use super::{SessionRow, rows};
use crate::recording::{self, Trouble};
use crate::study::row::Rows;
use crate::study::{Projector, project};

/// Rows are written whenever there are so many bytes of them.
const AT_ONCE_BYTES: usize = 1 << 20;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// Sessions whose rows were made anew.
    pub sessions: usize,
    /// Sessions that were left as they are: their first events are deleted, and what was drawn while those
    /// were there is worth more.
    pub left: usize,
}

/// Makes the rows of all sessions anew; `progress` is called with how many events were taken of how
/// many.
///
/// # Errors
/// If the file is being recorded to, can't be read or can't be written. Sessions that can be read are done
/// all the same.
pub fn derive(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Derived, StoreError> {
    // What is no recording is not made one.
    drop(Reader::open(path)?);
    let mut file = RecordingFile::open_alone(path)?;
    let reader = Reader::open(path)?;
    let sessions = reader.sessions()?;
    let (whole, cut): (Vec<_>, Vec<_>) = sessions.iter().partition(|it| it.deleted == 0);
    let of = whole.iter().map(|it| it.stored).sum();
    let mut taken = 0;
    let mut derived = Derived {
        sessions: 0,
        left: cut.len(),
    };
    let mut first_error = None;
    for session in whole {
        let mut step = || {
            taken += 1;
            progress(taken, of);
        };
        match one(path, &reader, session, &mut file, &mut step) {
            Ok(()) => derived.sessions += 1,
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    first_error.map_or(Ok(derived), Err)
}

fn one(
    path: &Path,
    reader: &Reader,
    session: &SessionRow,
    file: &mut RecordingFile,
    step: &mut dyn FnMut(),
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Sqlite {
        path: path.to_owned(),
        what: "write the rows of",
        source,
    };
    let transaction = file
        .connection_mut()
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    rows::delete_all(&transaction, session.id).map_err(failed)?;
    match write(reader, session, &transaction, step).map_err(failed)? {
        Ok(()) => transaction.commit().map_err(failed),
        Err(source) => Err(StoreError::Unreadable {
            path: path.to_owned(),
            session: session.id,
            source,
        }),
    }
}

fn write(
    reader: &Reader,
    session: &SessionRow,
    transaction: &Transaction<'_>,
    step: &mut dyn FnMut(),
) -> rusqlite::Result<Result<(), Trouble>> {
    let mut projector = Projector::default();
    let mut rows = Rows::default();
    let mut failed = None;
    let mut input = reader.lines(session);
    let result = recording::read(&mut input, &mut |event| {
        projector.event(&event, &mut rows);
        step();
        if rows.bytes() > AT_ONCE_BYTES {
            failed = rows::write(transaction, session.id, &rows).err();
            rows = Rows::default();
        }
        failed.is_none()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if let Err(trouble) = result {
        return Ok(Err(trouble));
    }
    projector.finish(&mut rows);
    rows::write(transaction, session.id, &rows)?;
    transaction.execute(
        "UPDATE session SET derived_by = ?2, is_concluded = 1 WHERE id = ?1",
        [session.id, project::VERSION],
    )?;
    // Flows may have other numbers now.
    transaction.execute(
        "UPDATE block SET first_flow = ?2 WHERE session = ?1 AND first_flow IS NOT NULL",
        [session.id, rows::id(session.id, 0)],
    )?;
    Ok(Ok(()))
}
