//! Recordings of earlier versions stay readable: each is kept as it was made, in a guest with the container
//! engines (`cargo xtask test --kernel 13-systems`).

use std::fs;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use notify_trace::recording;
use notify_trace::report::inputs::Selection;
use notify_trace::report::numbers::report;
use notify_trace::report::{By, Inputs};
use notify_trace::store::{Reader, derive};
use notify_trace::study::Study;

/// A copy, gone at the end: SQLite puts files beside what it reads.
struct Copy(PathBuf);

impl Copy {
    fn of(version: u32, what: &str) -> Self {
        let kept = format!(
            "{}/tests/recordings/v{version}.ntrec",
            env!("CARGO_MANIFEST_DIR")
        );
        let name = format!("nt-v{version}-{what}-{}.ntrec", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::copy(kept, &path).expect("a recording");
        Self(path)
    }

    /// All studies' numbers.
    fn studies(&self) -> String {
        let inputs = Inputs::open(std::slice::from_ref(&self.0)).expect("a recording");
        let mut out = Vec::new();
        for study in Study::ALL {
            let by = [By::of(study)];
            let selection = Selection::default();
            let zone = TimeZone::UTC;
            let report = report(&inputs, study, &by, &selection, &zone, &mut |_| {});
            out.extend(format!("{}\n", study.name()).bytes());
            report.expect("readable").csv(&mut out).expect("a vector");
        }
        String::from_utf8(out).expect("text")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

#[test]
fn every_event_of_version_1_is_read() {
    let copy = Copy::of(1, "events");
    let reader = Reader::open(&copy.0).expect("a recording");
    let sessions = reader.sessions().expect("readable");
    assert_eq!(sessions.len(), 1);
    let mut events = 0;
    recording::read(&mut reader.lines(&sessions[0]), &mut |_| {
        events += 1;
        true
    })
    .expect("a whole session");
    // The session event is not among those that are counted.
    assert_eq!(events, sessions[0].stored + 1);
    assert!(sessions[0].is_complete);
}

#[test]
fn the_studies_of_version_1_keep_their_numbers() {
    let copy = Copy::of(1, "studies");
    insta::assert_snapshot!("v1_studies", copy.studies());
}

#[test]
fn rows_that_are_drawn_anew_are_those_that_were_recorded() {
    let copy = Copy::of(1, "anew");
    let before = copy.studies();
    derive(&copy.0, &mut |_, _| {}).expect("nobody records to it");
    assert_eq!(copy.studies(), before);
}
