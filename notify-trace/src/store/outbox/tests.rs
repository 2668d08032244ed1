use jiff::Timestamp;

use super::*;
use crate::correlate::samples::session;
use crate::sink::Sink as _;
use crate::store::tests::{Folder, sends};
use crate::store::{Limits, Options, Store};

fn options() -> Options {
    Options {
        is_outbox: true,
        ..Options::default()
    }
}

fn record(path: &Path, numbers: std::ops::Range<u64>) {
    let mut store = Store::open(path, options()).expect("a recording");
    for event in [session()].into_iter().chain(sends(numbers)) {
        store.event(&event).expect("it never fails");
    }
    store.finish().expect("all is stored");
}

fn numbers(page: &Page) -> Vec<u64> {
    let lines = page.lines.split_inclusive(|byte| *byte == b'\n');
    let numbers: Vec<u64> = lines
        .map(|line| match serde_json::from_slice(line) {
            Ok(Event::Send(it)) => it.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers.len() as u64, page.events);
    numbers
}

/// Takes all that waits.
fn take(outbox: &mut Outbox, bytes: usize) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(page) = outbox.next(bytes).expect("readable") {
        all.extend(numbers(&page));
        outbox
            .take(page.session, page.first + page.events)
            .expect("writable");
    }
    all
}

#[test]
fn each_event_is_taken_once_however_large_the_pages_and_blocks() {
    for bytes in [1, 1_000, 300_000, usize::MAX] {
        let folder = Folder::new(&format!("outbox-{bytes}"));
        let wanted = 0..if bytes == 1 { 50 } else { 3_000 };
        record(&folder.file(), wanted.clone());
        let mut outbox = Outbox::open(&folder.file()).expect("an outbox");
        let backlog = outbox.backlog(None).expect("readable");
        assert_eq!(backlog.waiting, wanted.end);
        assert_eq!(backlog.waiting_of_others, wanted.end);
        assert_eq!(backlog.expired, []);
        assert_eq!(take(&mut outbox, bytes), Vec::from_iter(wanted));
        // Sessions follow one another, in other processes, too.
        record(&folder.file(), 0..7);
        drop(outbox);
        let mut outbox = Outbox::open(&folder.file()).expect("an outbox");
        assert_eq!(take(&mut outbox, bytes), Vec::from_iter(0..7));
        assert_eq!(outbox.backlog(None).expect("readable"), Backlog::default());
    }
}

#[test]
fn a_block_that_grows_is_read_on() {
    let folder = Folder::new("outbox-grows");
    let mut store = Store::open(&folder.file(), options()).expect("a recording");
    store.event(&session()).expect("it never fails");
    let mut outbox = None;
    for round in 0..5 {
        for event in sends(round * 3..round * 3 + 3) {
            store.event(&event).expect("it never fails");
        }
        while store.condition().stored < round * 3 + 3 {
            std::thread::yield_now();
        }
        let outbox = outbox.get_or_insert_with(|| Outbox::open(&folder.file()).expect("an outbox"));
        assert_eq!(
            take(outbox, usize::MAX),
            Vec::from_iter(round * 3..round * 3 + 3)
        );
    }
}

#[test]
fn what_was_recorded_before_is_not_sent() {
    let folder = Folder::new("outbox-before");
    let mut store = Store::open(&folder.file(), Options::default()).expect("a recording");
    for event in [session()].into_iter().chain(sends(0..10)) {
        store.event(&event).expect("it never fails");
    }
    store.finish().expect("all is stored");
    assert!(Outbox::open(&folder.file()).is_err(), "nobody prepared it");
    record(&folder.file(), 20..25);
    let mut outbox = Outbox::open(&folder.file()).expect("an outbox");
    assert_eq!(take(&mut outbox, usize::MAX), Vec::from_iter(20..25));
}

#[test]
fn what_was_deleted_before_it_was_taken_is_counted() {
    let folder = Folder::new("outbox-expired");
    record(&folder.file(), 0..3_000);
    let mut outbox = Outbox::open(&folder.file()).expect("an outbox");
    let page = outbox.next(1_000).expect("readable").expect("some");
    outbox.take(page.session, page.events).expect("writable");
    let mut file = Options {
        limits: Limits {
            age: Some(Duration::ZERO),
            ..Limits::default()
        },
        ..options()
    }
    .open(&folder.file())
    .expect("a recording");
    // All blocks are deleted in turn, as none is written.
    file.prune(Timestamp::now().as_microsecond())
        .expect("writable");
    let ours = outbox.session(1).expect("a session");
    let backlog = outbox.backlog(Some(&ours)).expect("readable");
    assert_eq!(backlog.waiting, 0);
    let expired = Expired {
        session: 1,
        is_ours: true,
        first: page.events,
        behind: 3_000,
    };
    assert_eq!(backlog.expired, [expired]);
    assert_eq!(outbox.backlog(None).expect("readable"), Backlog::default());
    assert_eq!(outbox.next(1_000).expect("readable"), None);
}

#[test]
fn what_came_before_is_given_in_whole_blocks() {
    let folder = Folder::new("outbox-behind");
    record(&folder.file(), 0..3_000);
    let mut outbox = Outbox::open(&folder.file()).expect("an outbox");
    let page = outbox.before(1, 2_000, 300 << 10).expect("readable");
    let before = numbers(&page);
    assert_eq!(before.last(), Some(&1_999));
    assert_eq!(page.first, before[0]);
    assert!(page.lines.len() <= 300 << 10 && before.len() > 100);
    assert_eq!(outbox.before(1, 0, 1 << 20).expect("readable").events, 0);
}

#[test]
fn a_removed_file_is_noticed() {
    let folder = Folder::new("outbox-gone");
    record(&folder.file(), 0..1);
    let outbox = Outbox::open(&folder.file()).expect("an outbox");
    assert!(!outbox.is_gone());
    std::fs::remove_file(folder.file()).expect("it was there");
    assert!(outbox.is_gone());
}

#[test]
fn a_damaged_block_is_stepped_over_and_counted() {
    let folder = Folder::new("outbox-damaged");
    record(&folder.file(), 0..3_000);
    let connection = Connection::open(folder.file()).expect("a recording");
    let damaged: u64 = connection
        .query_row(
            "UPDATE block SET data = x'0102' WHERE id = 2 RETURNING events",
            [],
            |row| number(row, 0),
        )
        .expect("a second block");
    let mut outbox = Outbox::open(&folder.file()).expect("an outbox");
    let (mut all, mut lost) = (Vec::new(), 0);
    while let Some(page) = outbox.next(300_000).expect("readable") {
        all.extend(numbers(&page));
        lost += page.damaged;
        assert!(page.damaged == 0 || page.events == 0);
        let taken = page.first + page.events + page.damaged;
        outbox.take(page.session, taken).expect("writable");
    }
    assert_eq!((lost, all.len() as u64), (damaged, 3_000 - damaged));
    assert!(all.is_sorted() && all.last() == Some(&2_999));
}
