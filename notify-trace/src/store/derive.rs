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

/// Makes the rows of all sessions anew; `progress` is called with how many events were taken of how
/// many. How many sessions there are.
///
/// # Errors
/// If the file is being recorded to, can't be read or can't be written. What was done before is done.
pub fn derive(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<usize, StoreError> {
    let reader = Reader::open(path)?;
    let sessions = reader.sessions()?;
    let mut file = RecordingFile::open_alone(path)?;
    let failed = |source| StoreError::Sqlite {
        path: path.to_owned(),
        what: "write the rows of",
        source,
    };
    let of = sessions.iter().map(|it| it.stored - it.deleted).sum();
    let mut taken = 0;
    for session in &sessions {
        let transaction = file
            .connection_mut()
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        rows::delete_all(&transaction, session.id).map_err(failed)?;
        let written = write(&reader, session, &transaction, &mut || {
            taken += 1;
            progress(taken, of);
        });
        match written.map_err(failed)? {
            Ok(()) => transaction.commit().map_err(failed)?,
            Err(source) => {
                return Err(StoreError::Unreadable {
                    path: path.to_owned(),
                    session: session.id,
                    source,
                });
            }
        }
    }
    Ok(sessions.len())
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
        "UPDATE session SET derived_by = ?2 WHERE id = ?1",
        [session.id, project::VERSION],
    )?;
    // Flows have other numbers now, if older events were deleted.
    transaction.execute(
        "UPDATE block SET first_flow = ?2 WHERE session = ?1 AND first_flow IS NOT NULL",
        [session.id, rows::id(session.id, 0)],
    )?;
    Ok(Ok(()))
}
