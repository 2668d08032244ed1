use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::file::{Begun, Durability, Limits, RecordingFile};
use super::queue::Chunk;
use super::*;
use crate::correlate::samples::{S, Sample, session};
use crate::event::Event;
use crate::recording;
use crate::sink::Sink as _;

/// A folder of its own, gone at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nt-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("a.ntrec")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn sends(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Event> {
    numbers.map(|id| {
        let it = Sample::new("WATCHDOG=1\nSTATUS=as ever").id(id).at(id * S);
        Event::Send(Box::new(it.build()))
    })
}

fn record(path: &Path, events: impl IntoIterator<Item = Event>) -> u64 {
    let mut store = Store::open(path, Options::default()).expect("a recording");
    for event in events {
        store.event(&event).expect("it never fails");
    }
    store.finish().expect("all is stored");
    assert_eq!(store.dropped(), 0);
    store.stored()
}

fn read(reader: &Reader, session: &SessionRow) -> Vec<Event> {
    let mut events = Vec::new();
    recording::read(&mut reader.lines(session), &mut |event| {
        events.push(event);
        true
    })
    .expect("a whole session");
    events
}

/// Lines as a chunk of a session.
fn chunk(begins: bool, lines: u64) -> Chunk {
    let line = format!("{{\"x\":\"{}\"}}\n", "y".repeat(1_000));
    Chunk {
        begins: begins.then(|| Box::new(Begun::default())),
        lines: line
            .repeat(usize::try_from(lines).expect("few"))
            .into_bytes(),
        events: lines,
        ..Chunk::default()
    }
}

#[test]
fn what_is_recorded_is_read_again() {
    let folder = Folder::new("again");
    let first: Vec<Event> = [session()].into_iter().chain(sends(0..3_000)).collect();
    let second: Vec<Event> = [session()].into_iter().chain(sends(0..5)).collect();
    assert_eq!(record(&folder.file(), first.clone()), 3_000);
    assert_eq!(record(&folder.file(), second.clone()), 5);
    assert!(is_store(&folder.file()).expect("readable"));
    let reader = Reader::open(&folder.file()).expect("a recording");
    let sessions = reader.sessions().expect("readable");
    assert_eq!(sessions.len(), 2);
    assert_eq!((sessions[0].stored, sessions[0].dropped), (3_000, 0));
    assert_eq!(read(&reader, &sessions[0]), first);
    assert_eq!(read(&reader, &sessions[1]), second);
}

#[test]
fn a_recording_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new("mode");
    std::fs::write(folder.file(), "").expect("writable");
    record(&folder.file(), [session()]);
    let mode = std::fs::metadata(folder.file())
        .expect("there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn what_is_no_recording_is_left_as_it_is() {
    let folder = Folder::new("foreign");
    let text = "2026-11-25 something else\n".repeat(100);
    std::fs::write(folder.file(), &text).expect("writable");
    let error = Store::open(&folder.file(), Options::default()).expect_err("not ours");
    assert!(error.to_string().contains("left as it is"), "{error}");
    assert_eq!(std::fs::read_to_string(folder.file()).expect("there"), text);

    std::fs::remove_file(folder.file()).expect("ours");
    let other = Connection::open(folder.file()).expect("SQLite");
    other.execute_batch("CREATE TABLE t (x)").expect("a table");
    let error = Store::open(&folder.file(), Options::default()).expect_err("not ours");
    assert!(error.to_string().contains("left as it is"), "{error}");
    assert!(Reader::open(&folder.file()).is_err());
}

#[test]
fn a_newer_recording_is_not_touched() {
    let folder = Folder::new("newer");
    record(&folder.file(), [session()]);
    let newer = Connection::open(folder.file()).expect("SQLite");
    newer
        .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
        .expect("writable");
    for error in [
        Store::open(&folder.file(), Options::default()).expect_err("newer"),
        Reader::open(&folder.file()).expect_err("newer").into(),
    ] {
        assert!(error.to_string().contains("use a newer one"), "{error}");
    }
}

#[test]
fn a_recording_that_is_removed_is_made_anew() {
    let folder = Folder::new("removed");
    let path = folder.file();
    let mut store = Store::open(&path, Options::default()).expect("a recording");
    let wait_for = |store: &Store, stored: u64| {
        let begun = std::time::Instant::now();
        while store.condition().stored < stored && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(store.condition().stored, stored);
    };
    store.event(&session()).expect("it never fails");
    sends(1..11).for_each(|event| store.event(&event).expect("it never fails"));
    wait_for(&store, 10);
    std::fs::remove_file(&path).expect("it is there");
    sends(11..13).for_each(|event| store.event(&event).expect("it never fails"));
    wait_for(&store, 12);
    sends(13..16).for_each(|event| store.event(&event).expect("it never fails"));
    store.finish().expect("all is stored");
    assert_eq!((store.stored(), store.dropped()), (15, 0));
    let reader = Reader::open(&path).expect("a recording");
    let sessions = reader.sessions().expect("its sessions");
    assert_eq!(sessions.len(), 1);
    // The session itself, and what came after.
    assert_eq!(read(&reader, &sessions[0]).len(), 6);
    // What came when it was noticed has no rows; what came later has.
    let connection = Connection::open(&path).expect("SQLite");
    let rows: i64 = connection
        .query_row("SELECT count(*) FROM notifications", [], |row| row.get(0))
        .expect("a view");
    assert!((3..=5).contains(&rows), "{rows}");
}

#[test]
fn a_full_disk_takes_nothing_away_and_the_recording_goes_on() {
    let folder = Folder::new("full");
    let mut file =
        RecordingFile::open(&folder.file(), Durability::Full, Limits::default()).expect("new");
    assert_eq!(file.store(&chunk(true, 10)).expect("room"), 10);
    file.limit_pages(Some(12));
    // Incompressible, so that it has no room.
    let mut large = chunk(false, 200);
    let mut state = 1_u64;
    for byte in &mut large.lines {
        if *byte == b'y' {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = b'a' + u8::try_from((state >> 40) % 26).expect("a letter");
        }
    }
    for _ in 0..3 {
        assert!(file.store(&large).expect_err("no room").is_full());
    }
    file.limit_pages(None);
    assert_eq!(file.store(&large).expect("room"), 210);
    let reader = Reader::open(&folder.file()).expect("whole");
    let sessions = reader.sessions().expect("whole");
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].stored, 210);
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut reader.lines(&sessions[0]), &mut text).expect("whole");
    let expected = [b"\n".as_slice(), &chunk(false, 10).lines, &large.lines].concat();
    assert!(text == expected, "other lines than were stored");
}

#[test]
fn limits_delete_the_oldest_and_count_them() {
    let folder = Folder::new("limits");
    let limits = Limits {
        size_bytes: Some(100 << 10),
        age: Some(Duration::from_secs(10)),
    };
    let mut file = RecordingFile::open(&folder.file(), Durability::Full, limits).expect("new");
    let mut begins = true;
    for second in 0..40_i64 {
        let mut chunk = chunk(begins, 300);
        (chunk.first_us, chunk.last_us) = (second * 1_000_000, second * 1_000_000);
        begins = false;
        file.store(&chunk).expect("room");
        file.prune(second * 1_000_000).expect("room");
    }
    drop(file);
    let reader = Reader::open(&folder.file()).expect("whole");
    let session = reader.sessions().expect("whole").remove(0);
    assert_eq!(session.stored, 12_000);
    assert!(session.deleted > 6_000, "{session:?}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader.lines(&session), &mut text).expect("whole");
    let lines = u64::try_from(text.lines().count() - 1).expect("few");
    assert_eq!(lines, session.stored - session.deleted);
    assert!(std::fs::metadata(folder.file()).expect("there").len() <= 200 << 10);
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_invented() {
    let folder = Folder::new("damaged");
    let events: Vec<Event> = [session()].into_iter().chain(sends(0..20_000)).collect();
    record(&folder.file(), events.clone());
    let whole = std::fs::read(folder.file()).expect("there");
    let cut = folder.0.join("cut.ntrec");
    let mut most = 0;
    for part in 1..16 {
        std::fs::write(&cut, &whole[..whole.len() * part / 16]).expect("room");
        let reader = match Reader::open(&cut) {
            Ok(reader) => reader,
            Err(StoreError::CutOff { whole_bytes, .. }) => {
                assert_eq!(whole_bytes, whole.len() as u64);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let missing = reader.missing().expect("its end is missing");
        assert!(missing.contains(&whole.len().to_string()), "{missing}");
        let Ok(sessions) = reader.sessions() else {
            continue;
        };
        for session in sessions {
            let mut read = Vec::new();
            let result = recording::read(&mut reader.lines(&session), &mut |event| {
                read.push(event);
                true
            });
            assert_eq!(read, events[..read.len()], "a prefix");
            // What is left is read; that there is no summary says that it is not all.
            assert!(
                matches!(result, Ok(left_out) if left_out.is_open),
                "{part} of 16"
            );
            assert!(read.len() < events.len(), "{part} of 16");
            most = most.max(read.len());
        }
    }
    assert!(
        most > events.len() / 2,
        "{most} of {} are left",
        events.len()
    );
}

#[test]
fn rows_of_deleted_events_go_and_those_that_stay_have_their_flows() {
    let folder = Folder::new("rows");
    let options = Options {
        limits: Limits {
            size_bytes: Some(600 << 10),
            age: None,
        },
        ..Options::default()
    };
    let mut store = Store::open(&folder.file(), options).expect("a recording");
    store.event(&session()).expect("taken");
    for event in sends(0..12_000) {
        store.event(&event).expect("taken");
    }
    store.finish().expect("all is stored");
    let reader = Reader::open(&folder.file()).expect("a recording");
    let row = &reader.sessions().expect("readable")[0];
    assert!(row.deleted > 0 && row.deleted < row.stored, "{row:?}");
    let connection = Connection::open(folder.file()).expect("SQLite");
    let number = |query: &str| -> i64 {
        connection
            .query_row(query, [], |row| row.get(0))
            .expect("a number")
    };
    let left = i64::try_from(row.stored - row.deleted).expect("few");
    // A block may speak of a number that a deleted one spoke of first.
    let rows = number("SELECT count(*) FROM notification");
    assert!(
        (left..=left + 2).contains(&rows),
        "{rows} rows of {left} events"
    );
    assert_eq!(
        number("SELECT count(*) FROM notification WHERE flow NOT IN (SELECT id FROM flow)"),
        0
    );
    // Its first events are gone: nothing better can be drawn.
    drop(reader);
    let derived = derive(&folder.file(), &mut |_, _| {}).expect("nobody records to it");
    assert_eq!((derived.sessions, derived.left), (0, 1));
    assert_eq!(number("SELECT count(*) FROM notification"), rows);
}

#[test]
fn what_is_old_goes_from_the_beginning_even_if_the_clock_was_ahead_then() {
    let folder = Folder::new("ahead");
    let limits = Limits {
        age: Some(Duration::from_secs(10)),
        ..Limits::default()
    };
    let mut file =
        RecordingFile::open(&folder.file(), Durability::Normal, limits).expect("a recording");
    let at = |us: i64| Chunk {
        first_us: us,
        last_us: us,
        ..chunk(us == 5_000_000_000, 300)
    };
    // Each is more than a block; the first ones are of a future that did not come.
    for us in [5_000_000_000, 1_000_000, 2_000_000, 30_000_000] {
        file.store(&at(us)).expect("a disk");
    }
    file.prune(31_000_000).expect("a disk");
    let reader = Reader::open(&folder.file()).expect("a recording");
    let session = &reader.sessions().expect("readable")[0];
    let left: Vec<String> = std::io::BufRead::lines(reader.lines(session))
        .map(|line| line.expect("readable"))
        .collect();
    assert!(session.deleted >= 600, "{}", session.deleted);
    // The session's own line, and what is left, none of it missing in between.
    assert_eq!(left.len() as u64, 1 + session.stored - session.deleted);
}
