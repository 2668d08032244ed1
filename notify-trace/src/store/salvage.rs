//! What is left of a recording whose end is missing: a copy in the folder for temporary files that is as
//! long as it was, with nothing where the gap is. SQLite reads what does not lie there.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Opens a copy of that length, which is gone with the connection; `None` if it can't be made.
pub(super) fn open(path: &Path, whole_bytes: u64) -> Option<Connection> {
    static COPIES: AtomicU32 = AtomicU32::new(0);
    let number = COPIES.fetch_add(1, Ordering::Relaxed);
    let name = format!("notify-trace-{}-{number}.ntrec", std::process::id());
    let copy = std::env::temp_dir().join(name);
    let connection = make(path, &copy, whole_bytes);
    // It is open, or of no use.
    let _ = fs::remove_file(&copy);
    connection
}

fn make(path: &Path, copy: &Path, whole_bytes: u64) -> Option<Connection> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut from = fs::File::open(path).ok()?;
    // Nobody else's eyes, and nobody else's file.
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(copy)
        .ok()?;
    std::io::copy(&mut from, &mut to).ok()?;
    to.set_len(whole_bytes).ok()?;
    // Nothing is looked for beside it, and nothing put there.
    let uri = format!("file:{}?immutable=1", encoded(copy)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).ok()?;
    // The file is opened by the first look at it.
    connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
        .ok()?;
    Some(connection)
}

/// A path in a URI.
fn encoded(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(
        text.replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23"),
    )
}

/// Whether an error is of what lies in a gap.
pub(super) fn is_gap(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}
