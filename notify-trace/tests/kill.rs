//! Kills a process that records, at random moments: each time the recording opens, holds what was
//! reported as stored, and nothing that was not recorded.
//!
//! `cargo test --test kill`; `NT_KILLS=N` for another number of times than 200.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use notify_trace::event::Event;
use notify_trace::recording;
use notify_trace::sink::Sink as _;
use notify_trace::store::{Options, Reader, Store};

const CHILD: &str = "NT_KILL_CHILD";

fn main() -> ExitCode {
    if let Some(path) = env::var_os(CHILD) {
        record(Path::new(&path));
    }
    let kills = env::var("NT_KILLS").map_or(200, |number| number.parse().expect("a number"));
    let folder = env::temp_dir().join(format!("nt-kill-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let path = folder.join("a.ntrec");
    let mut random = u64::from(std::process::id()) | 1;
    let mut reported = Vec::new();
    let mut known = 0;
    for _ in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        reported.push(run(&path, Duration::from_micros(random % 60_000)));
        // Those that were read before are read again at the end.
        known = check(&path, &reported, known).len();
    }
    let stored: u64 = check(&path, &reported, 0).iter().sum();
    let told: u64 = reported.iter().flatten().sum();
    std::fs::remove_dir_all(&folder).expect("ours");
    println!("killed {kills} times: {told} events reported as stored, {stored} found");
    println!("test a_killed_recording_holds_what_was_reported ... ok");
    ExitCode::SUCCESS
}

/// Records until it is killed.
fn record(path: &Path) -> ! {
    let options = Options {
        acknowledge: Some(|stored| {
            println!("{stored}");
            std::io::stdout().flush().expect("a pipe");
        }),
        ..Options::default()
    };
    let mut store = Store::open(path, options).expect("it opens");
    store.event(&session()).expect("taken");
    for number in 0.. {
        store.event(&exit(number)).expect("taken");
        if number % 64 == 0 {
            sleep(Duration::from_micros(500));
        }
    }
    unreachable!("the numbers don't end");
}

/// Kills a recorder some time after it has begun; how many events it reported, if any.
fn run(path: &Path, after: Duration) -> Option<u64> {
    let mut child = Command::new(env::current_exe().expect("this program"))
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    // From anywhere in its start to behind some transactions.
    sleep(Duration::from_millis(200) * u32::from(!after.as_micros().is_multiple_of(3)) + after);
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines
        .map_while(Result::ok)
        .filter_map(|line| line.parse().ok())
        .last()
}

/// Each session holds a row of numbers from 0 on, at least as many as were reported. How many: counted
/// but for the first `known` sessions.
fn check(path: &Path, reported: &[Option<u64>], known: usize) -> Vec<u64> {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        // It was killed before there was anything.
        Err(_) if reported.iter().all(Option::is_none) => return Vec::new(),
        Err(error) => panic!("{error}"),
    };
    let mut found = Vec::new();
    for (number, session) in reader.sessions().expect("readable").iter().enumerate() {
        if number < known {
            found.push(session.stored);
            continue;
        }
        let mut count = 0;
        recording::read(&mut reader.lines(session), &mut |event| {
            match event {
                Event::Exit(exit) => {
                    assert_eq!(u64::from(exit.pid), count, "the next one");
                    count += 1;
                }
                Event::Session(_) => {}
                other => panic!("{other:?} was not recorded"),
            }
            true
        })
        .expect("a whole session");
        assert_eq!(count, session.stored, "as the session says");
        found.push(count);
    }
    // A session that was killed early left no row; those that reported something did.
    let mut sessions = found.iter();
    for told in reported.iter().flatten() {
        assert!(
            sessions.any(|count| count >= told),
            "{told} events were reported: {found:?}"
        );
    }
    found
}

fn session() -> Event {
    serde_json::from_str(
        r#"{"type":"session","format_version":1,"tool_version":"0","command_line":[],
        "time":"2026-11-24T12:00:00Z","monotonic_ns":0,"host":"h","kernel":"6.12",
        "machine":"x86_64","cpus":1,"ring_bytes":4096,
        "plan":{"name":"full","reason":"","programs":{}},"rules":[]}"#,
    )
    .expect("a session")
}

fn exit(number: u32) -> Event {
    serde_json::from_str(&format!(
        r#"{{"type":"exit","time":"2026-11-24T12:00:01Z","monotonic_ns":1,"pid":{number}}}"#
    ))
    .expect("an event")
}
