//! Reports of recordings, against the views that the recordings have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use rusqlite::Connection;

use super::inputs::Selection;
use super::numbers::report;
use super::*;
use crate::correlate::samples::{MS, S, Sample, session, summary, unit_state};
use crate::event::{Event, Exit};
use crate::sink::Sink as _;
use crate::store::{Options, Store, derive};
use crate::study::sql::PER_CENTS;

fn send(sample: Sample) -> Event {
    Event::Send(Box::new(sample.build()))
}

/// Starts, reloads, pings, statuses, stops and a hop of some units, with times that differ.
fn events(units: u64) -> Vec<Event> {
    let mut events = vec![session()];
    let mut id = 0;
    let mut next = || {
        id += 1;
        id
    };
    for number in 0..units {
        let unit = format!("u{number}.service");
        let pid = u32::try_from(1_000 + number).expect("few");
        let of = |payload: &str, id: u64, at_ns: u64| {
            Sample::new(payload)
                .id(id)
                .at(at_ns)
                .from("app", pid, &unit)
        };
        let begin = S + number * 7 * MS;
        let mut state = unit_state(&unit, begin);
        state.main_pid = Some(pid);
        state.inactive_exit_ns = Some(begin);
        state.main_start_ns = Some(begin + MS);
        state.watchdog_usec = Some(10_000_000);
        events.push(Event::Unit(Box::new(state.clone())));
        events.push(send(of(
            "EXTEND_TIMEOUT_USEC=9000000",
            next(),
            begin + 2 * MS,
        )));
        events.push(send(of(
            "READY=1\nSTATUS=a",
            next(),
            begin + (number * number % 97) * MS + 5 * MS,
        )));
        for ping in 1..40_u64 {
            let jitter = ping * number * 31 % 1_000;
            events.push(send(of(
                "WATCHDOG=1\nSTATUS=b",
                next(),
                begin + ping * S + jitter * MS,
            )));
        }
        events.push(send(of(
            "RELOADING=1\nMONOTONIC_USEC=1",
            next(),
            begin + 60 * S,
        )));
        events.push(send(of("READY=1", next(), begin + 60 * S + number * MS)));
        events.push(send(of("STOPPING=1", next(), begin + 70 * S)));
        let told = Sample::new("READY=1\nX=1")
            .id(next())
            .at(begin + 71 * S)
            .from("inner", 300, "box.service")
            .to("runc", 700, ("runc", 200));
        events.push(send(told));
        events.push(send(
            Sample::new("READY=1\nX=1")
                .id(next())
                .at(begin + 71 * S + number * MS + MS)
                .from("runc", 200, "box.service"),
        ));
        events.push(Event::Exit(Exit {
            time: "2026-11-24T12:02:00Z".parse().expect("a time"),
            monotonic_ns: begin + 90 * S,
            pid,
            start_boottime_ns: None,
        }));
        let late = Sample::new("READY=1").id(next()).at(begin + 91 * S);
        events.push(send(late.from("helper", 77, &unit).gone()));
    }
    events.push(summary("12:10:00", 600 * S));
    events
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nt-report-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    fn record(&self, name: &str, events: &[Event]) -> PathBuf {
        let path = self.0.join(name);
        let mut store = Store::open(&path, Options::default()).expect("a recording");
        for event in events {
            store.event(event).expect("it never fails");
        }
        store.finish().expect("all is stored");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn asked(paths: &[PathBuf], study: Study, by: &[By]) -> Report {
    let inputs = Inputs::open(paths).expect("recordings");
    let selection = Selection::default();
    report(&inputs, study, by, &selection, &TimeZone::UTC, &mut |_| {}).expect("readable")
}

type Numbered = BTreeMap<(Vec<Value>, String), Vec<i64>>;

fn by_report(report: &Report) -> Numbered {
    let of = |line: &Line| match &line.numbers {
        Numbers::Times { measure, summary } => {
            let mut numbers = vec![summary.n.cast_signed(), summary.min];
            numbers.extend(summary.quantiles);
            numbers.push(summary.max);
            ((line.key.clone(), (*measure).to_owned()), numbers)
        }
        Numbers::Verdicts(it) => {
            let numbers = [
                it.n.cast_signed(),
                it.units.cast_signed(),
                it.first_us,
                it.last_us,
            ];
            ((line.key.clone(), String::new()), numbers.to_vec())
        }
    };
    report.lines.iter().map(of).collect()
}

/// The same by the recording's own view.
fn by_view(path: &Path, study: Study) -> Numbered {
    let connection = Connection::open(path).expect("SQLite");
    let keys = study.key_columns();
    let (measure, numbers) = match study {
        Study::Failed => ("''", "n, units, first_us, last_us".to_owned()),
        _ => {
            let quantiles: Vec<String> = PER_CENTS.iter().map(|it| format!("p{it}")).collect();
            ("measure", format!("n, min, {}, max", quantiles.join(", ")))
        }
    };
    let query = format!(
        "SELECT {}, {measure}, {numbers} FROM {}",
        keys.join(", "),
        study.name()
    );
    let mut query = connection.prepare(&query).expect("a view");
    let columns = query.column_count();
    query
        .query_map([], |row| {
            let key = (0..keys.len())
                .map(|at| {
                    Ok(match row.get_ref(at)? {
                        rusqlite::types::ValueRef::Null => Value::Absent,
                        rusqlite::types::ValueRef::Integer(number) => Value::Number(number),
                        other => Value::Text(other.as_str().expect("text").to_owned()),
                    })
                })
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let numbers = (keys.len() + 1..columns).map(|at| row.get(at));
            let numbers = numbers.collect::<rusqlite::Result<Vec<i64>>>()?;
            Ok(((key, row.get(keys.len())?), numbers))
        })
        .expect("rows")
        .collect::<rusqlite::Result<_>>()
        .expect("numbers")
}

#[test]
fn a_report_and_the_views_say_the_same_of_every_study() {
    let folder = Folder::new("views");
    let path = folder.record("a.ntrec", &events(60));
    for study in Study::ALL {
        let by = By::of(study);
        assert_eq!(by.columns(), study.key_columns(), "{study:?}");
        let ours = by_report(&asked(std::slice::from_ref(&path), study, &[by]));
        assert_eq!(ours, by_view(&path, study), "{study:?}");
        let is_empty = matches!(study, Study::Blocked);
        assert_eq!(ours.is_empty(), is_empty, "{study:?}");
    }
}

#[test]
fn rows_that_are_made_anew_are_the_same() {
    let folder = Folder::new("anew");
    let path = folder.record("a.ntrec", &events(20));
    let dump = |path: &Path| -> Vec<String> {
        let connection = Connection::open(path).expect("SQLite");
        ["notification", "flow", "verdict"]
            .into_iter()
            .flat_map(|table| {
                let mut query = connection
                    .prepare(&format!("SELECT * FROM {table} ORDER BY id"))
                    .expect("a table");
                let columns = query.column_count();
                query
                    .query_map([], |row| {
                        let cells = (0..columns).map(|at| format!("{:?}", row.get_ref(at)));
                        Ok(cells.collect::<Vec<_>>().join(" "))
                    })
                    .expect("rows")
                    .collect::<rusqlite::Result<Vec<_>>>()
                    .expect("readable")
            })
            .collect()
    };
    let before = dump(&path);
    assert!(before.len() > 900, "{}", before.len());
    Connection::open(&path)
        .expect("SQLite")
        .execute_batch("DELETE FROM notification; DELETE FROM verdict; DELETE FROM flow")
        .expect("tables");
    assert_eq!(
        derive(&path, &mut |_, _| {}).expect("a recording").sessions,
        1
    );
    let after = dump(&path);
    assert_eq!(after.len(), before.len());
    for (one, other) in after.iter().zip(&before) {
        assert_eq!(one, other);
    }
}

#[test]
fn a_recording_that_is_written_is_not_made_anew() {
    let folder = Folder::new("busy");
    let path = folder.record("a.ntrec", &events(1));
    let store = Store::open(&path, Options::default()).expect("a recording");
    let error = derive(&path, &mut |_, _| {}).expect_err("in use");
    assert!(error.to_string().contains("in use"), "{error}");
    drop(store);
    derive(&path, &mut |_, _| {}).expect("free again");
}

#[test]
fn several_recordings_are_one_study() {
    let folder = Folder::new("several");
    let all = events(3);
    let paths = [
        folder.record("a.ntrec", &all),
        folder.record("b.ntrec", &all),
    ];
    let one = by_report(&asked(&paths[..1], Study::Watchdog, &[By::Unit]));
    let both = by_report(&asked(&paths, Study::Watchdog, &[By::Unit]));
    assert_eq!(one.len(), both.len());
    for (key, numbers) in &both {
        let of_one = &one[key];
        assert_eq!(numbers[0], 2 * of_one[0], "{key:?}");
        assert_eq!(numbers[1..], of_one[1..], "{key:?}");
    }
    let by_host = asked(&paths, Study::Startup, &[By::Host, By::Hour]);
    assert_eq!(by_host.lines.len(), 2, "{by_host:?}");
}

#[test]
fn what_is_missing_is_said() {
    let folder = Folder::new("missing");
    let mut all = events(1);
    all.pop();
    let path = folder.record("a.ntrec", &all);
    let report = asked(&[path], Study::Startup, &[By::Unit]);
    assert_eq!(report.missing.len(), 1, "{:?}", report.missing);
    assert!(
        report.missing[0].contains("no summary"),
        "{:?}",
        report.missing
    );
}

#[test]
fn every_form_has_the_same_numbers() {
    let folder = Folder::new("forms");
    let path = folder.record("a.ntrec", &events(2));
    let report = asked(&[path], Study::Startup, &[By::Unit]);
    let mut text = Vec::new();
    let style = render::Style {
        columns: Some(80),
        zone: TimeZone::UTC,
        with_histogram: true,
    };
    report.text(&mut text, &style).expect("a vector");
    insta::assert_snapshot!("startup_text", String::from_utf8(text).expect("text"));
    let mut csv = Vec::new();
    report.csv(&mut csv).expect("a vector");
    insta::assert_snapshot!("startup_csv", String::from_utf8(csv).expect("text"));
    let mut json = Vec::new();
    report.json(&mut json).expect("a vector");
    insta::assert_snapshot!("startup_json", String::from_utf8(json).expect("text"));
}
