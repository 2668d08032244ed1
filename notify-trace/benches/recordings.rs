//! What recordings cost: events taken each second, bytes of each. `cargo xtask bench --recordings` asks
//! studies of them.
//!
//! ```text
//! prepared events ──▶ Store (FULL | NORMAL) ──▶ FULL.ntrec, NORMAL.ntrec
//! ```
//!
//! `cargo bench -p notify-trace --bench recordings -- --events 1000000 [--units 200] [--keep FOLDER]`;
//! `--lines FILE` writes the same events as JSON Lines, for other tools.

use std::error::Error;
use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use notify_trace::decode::message;
use notify_trace::event::{
    Address, Attribution, Blob, Credentials, Delivery, DeliveryState, Event, Notification, Process,
    Receiver, SendResult, Timing, Unit, UnitState,
};
use notify_trace::sink::{Json, Sink};
use notify_trace::store::{Durability, Options, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const S: u64 = 1_000_000_000;

/// What to measure.
struct Settings {
    events: u64,
    units: u64,
    keep: Option<PathBuf>,
    lines: Option<PathBuf>,
}

fn settings() -> Result<Settings> {
    let mut settings = Settings {
        events: 200_000,
        units: 200,
        keep: None,
        lines: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match &*name {
            "--events" => settings.events = value()?.parse()?,
            "--units" => settings.units = value()?.parse()?,
            "--keep" => settings.keep = Some(value()?.into()),
            "--lines" => settings.lines = Some(value()?.into()),
            // What cargo passes.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    Ok(settings)
}

fn main() -> Result<()> {
    let settings = settings()?;
    let source = Source::new(settings.units);
    let folder = match &settings.keep {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("nt-recordings-{}", std::process::id())),
    };
    fs::create_dir_all(&folder)?;
    if let Some(path) = &settings.lines {
        let mut json = Json::new(BufWriter::new(fs::File::create(path)?));
        for number in 0..settings.events {
            json.event(&source.event(number))?;
        }
        json.flush()?;
    }
    // The source alone, so that what it costs is known.
    let began = Instant::now();
    for number in 0..settings.events {
        std::hint::black_box(source.event(number));
    }
    say(
        "source alone",
        per_second(settings.events, began.elapsed()),
        "events/s",
    );
    for (name, durability) in [("FULL", Durability::Full), ("NORMAL", Durability::Normal)] {
        let path = folder.join(format!("{name}.ntrec"));
        let _ = fs::remove_file(&path);
        let (took, stored, dropped) = record(&source, settings.events, &path, durability)?;
        if stored != settings.events + 1 || dropped > 0 {
            return Err(
                format!("{stored} of {} stored, {dropped} dropped", settings.events).into(),
            );
        }
        say(
            &format!("record, {name}"),
            per_second(settings.events, took),
            "events/s",
        );
        let bytes = fs::metadata(&path)?.len();
        say(
            "bytes of an event, store",
            ratio(bytes, settings.events),
            "B",
        );
    }
    if let Some(path) = &settings.lines {
        let bytes = fs::metadata(path)?.len();
        say(
            "bytes of an event, JSON Lines",
            ratio(bytes, settings.events),
            "B",
        );
    }
    if settings.keep.is_none() {
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

fn record(
    source: &Source,
    events: u64,
    path: &Path,
    durability: Durability,
) -> Result<(Duration, u64, u64)> {
    let options = Options {
        durability,
        ..Options::default()
    };
    let mut store = Store::open(path, options)?;
    store.event(&session())?;
    let began = Instant::now();
    for number in 0..events {
        store.event(&source.event(number))?;
        // A source that is faster than the disk would be dropped from: it waits instead, and what the
        // disk takes is measured.
        if number % 1_024 == 0 {
            while store.waiting_bytes() > 32 << 20 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    // So that the recording is whole.
    store.event(&summary())?;
    store.finish()?;
    Ok((began.elapsed(), store.stored(), store.dropped()))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per_second(events: u64, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

/// A line for `cargo xtask bench`.
fn say(what: &str, value: f64, unit: &str) {
    println!("{what}\t{value:.1}\t{unit}");
}

fn summary() -> Event {
    serde_json::from_str(
        r#"{"type":"summary","time":"2026-12-31T12:00:00Z","monotonic_ns":9000000000000000,
        "notifications":0,"delivered":0,"failed":0,"open":0,"connect_failed":0,
        "records_attempted":0,"records_received":0,"losses":{}}"#,
    )
    .expect("a summary")
}

fn session() -> Event {
    serde_json::from_str(
        r#"{"type":"session","format_version":1,"tool_version":"0","command_line":[],
        "time":"2026-11-24T12:00:00Z","monotonic_ns":0,"boottime_ahead_ns":0,"host":"bench",
        "kernel":"6.12","machine":"x86_64","cpus":2,"ring_bytes":1048576,
        "plan":{"name":"full","reason":"","programs":{}},"rules":[]}"#,
    )
    .expect("a session")
}

/// Services that ping their watchdogs, say what they do, and start again now and then.
struct Source {
    began: Timestamp,
    units: Vec<Process>,
    manager: Process,
}

impl Source {
    fn new(units: u64) -> Self {
        let unit = |number: u64| {
            let pid = u32::try_from(1_000 + number).unwrap_or(u32::MAX);
            process(
                &format!("app{number}"),
                pid,
                &format!("app-{number}.service"),
            )
        };
        Self {
            began: "2026-11-24T12:00:00Z".parse().expect("a time"),
            units: (0..units).map(unit).collect(),
            manager: process("systemd", 1, "init.scope"),
        }
    }

    /// The event of that number.
    fn event(&self, number: u64) -> Event {
        let count = u64::try_from(self.units.len()).unwrap_or(1);
        let (unit, turn) = (number % count, number / count);
        let sender = &self.units[usize::try_from(unit).unwrap_or(0)];
        // Each speaks every 5 s, a little earlier or later.
        let noise = mixed(number) % 200_000_000;
        let at_ns = turn * 5 * S + unit * 5 * S / count + noise + S;
        match turn % 1_000 {
            0 => Event::Unit(Box::new(self.state(sender, at_ns))),
            1 => self.send(
                number,
                sender,
                at_ns,
                b"READY=1\nSTATUS=Accepting connections",
            ),
            500 => self.send(number, sender, at_ns, b"RELOADING=1\nMONOTONIC_USEC=1"),
            501 => self.send(number, sender, at_ns, b"READY=1"),
            turn if turn % 10 == 2 => {
                let status = format!("WATCHDOG=1\nSTATUS=Processing requests, {turn} so far");
                self.send(number, sender, at_ns, status.as_bytes())
            }
            _ => self.send(number, sender, at_ns, b"WATCHDOG=1"),
        }
    }

    fn time(&self, at_ns: u64) -> Timestamp {
        let since = SignedDuration::from_nanos(i64::try_from(at_ns).unwrap_or(i64::MAX));
        self.began.checked_add(since).unwrap_or(self.began)
    }

    fn state(&self, sender: &Process, at_ns: u64) -> UnitState {
        UnitState {
            time: self.time(at_ns),
            monotonic_ns: at_ns,
            manager_version: Some("257".to_owned()),
            unit: unit_of(sender),
            active_state: "activating".to_owned(),
            sub_state: "start".to_owned(),
            service_type: Some("notify".to_owned()),
            notify_access: Some("main".to_owned()),
            main_pid: Some(sender.pid),
            inactive_exit_ns: Some(at_ns),
            main_start_ns: Some(at_ns + 1_000_000),
            watchdog_usec: Some(30_000_000),
            ..UnitState::default()
        }
    }

    fn send(&self, number: u64, sender: &Process, at_ns: u64, payload: &[u8]) -> Event {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let parsed = message::parse(payload, length, None);
        let queued_ns = at_ns + 4_000;
        Event::Send(Box::new(Notification {
            id: number + 1,
            time: self.time(at_ns),
            monotonic_ns: at_ns,
            sender: Some(sender.clone()),
            socket_inode: Some(u64::from(sender.pid)),
            destination: None,
            receiver: Some(Receiver {
                inode: 500,
                address: Some(Address(b"/run/systemd/notify"[..].into())),
                queue_length: Some(0),
            }),
            class: "systemd".into(),
            length_bytes: length,
            payload: Some(Blob::from(payload)),
            truncated: false,
            lines: parsed.lines,
            defects: parsed.defects,
            fds: Some(0),
            claimed: None,
            result: Some(SendResult::SentBytes(length)),
            delivery: Delivery {
                state: DeliveryState::Delivered,
                reader: Some(self.manager.clone()),
                trimmed_to_bytes: None,
                credentials: Some(Credentials {
                    pid: sender.pid,
                    uid: 0,
                    gid: 0,
                }),
                sender_present: Some(true),
                left_in_queue: Some(0),
            },
            retry_of: None,
            timing: Timing {
                entry_ns: Some(at_ns),
                queued_ns: Some(queued_ns),
                returned_ns: Some(at_ns + 6_000),
                dequeued_ns: Some(queued_ns + 10_000 + mixed(number ^ 77) % 300_000),
                queue_tries: None,
            },
            unknown: Vec::new(),
        }))
    }
}

/// A number that looks random (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn unit_of(process: &Process) -> String {
    let attribution = process.attribution.as_deref();
    let unit = attribution.and_then(|it| it.unit.as_ref());
    unit.map(|unit| unit.name.clone()).unwrap_or_default()
}

fn process(comm: &str, pid: u32, unit: &str) -> Process {
    Process {
        pid,
        tid: pid,
        comm: Blob::from(comm),
        uid: 0,
        gid: 0,
        parent_pid: Some(1),
        namespace_pid: None,
        pid_namespace: None,
        start_boottime_ns: Some(u64::from(pid)),
        cgroup: None,
        io_uring_worker: false,
        attribution: Some(Arc::new(Attribution {
            unit: Some(Unit {
                name: unit.to_owned(),
                template: None,
                instance: None,
            }),
            slice: Some("system.slice".to_owned()),
            ..Attribution::default()
        })),
        later: None,
    }
}
