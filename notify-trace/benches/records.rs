//! How many records userspace takes each second: prepared bytes through decode, order, join, enrich,
//! view and a sink, in the order in which the pipeline wires them.
//!
//! ```text
//! prepared bytes ──▶ decode ──▶ order ──▶ join ──▶ enrich ──▶ view ──▶ nowhere | text | json
//! ```
//!
//! No kernel and no clock takes part, and no process is found in `/proc`: enrich is warm after its
//! first record. The sinks have their turns in each round, so that whatever
//! slows the machine slows all of them. `cargo bench -p notify-trace --bench records` prints a table;
//! with `--json` it is the lines that `cargo xtask bench` reads. `--rounds N`, `--datagrams N`.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use jiff::tz::TimeZone;
use notify_trace::decode::{Record, decode};
use notify_trace::enrich::Enrich;
use notify_trace::enrich::clock::WallClock;
use notify_trace::event::Event;
use notify_trace::join::{Context, Join, JoinConfig};
use notify_trace::order::Order;
use notify_trace::select::Rules;
use notify_trace::sink::text::Options;
use notify_trace::sink::{Json, Sink, Text};
use notify_trace::view::{View, ViewOptions};
use notify_trace_common::address::Address;
use notify_trace_common::record::{
    Cgroup, DEQUEUE_CREDENTIALS, DEQUEUE_SENDER_PRESENT, Dequeue, Header, Kind, Outcome, Receiver,
    Send, Task,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

const US: u64 = 1_000;
const RECEIVER: u64 = 500;
const CGROUP: u64 = 7_000;
/// What services say, most of the time.
const PAYLOADS: [&[u8]; 3] = [
    b"WATCHDOG=1",
    b"STATUS=Processing requests, 1234 so far, 17 of them just now",
    b"READY=1\nSTATUS=Accepting connections\nMAINPID=4242",
];
/// How many datagrams one drain of the rings brings.
const DRAIN: usize = 64;
const RECORDS_OF_A_DATAGRAM: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Counts, and writes nothing.
#[derive(Default)]
struct Nowhere;

impl Sink for Nowhere {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        std::hint::black_box(event);
        Ok(())
    }
}

/// Where the events go: what a line of output calls it, and how to make it.
struct Place {
    name: &'static str,
    make: fn() -> Box<dyn Sink>,
}

const PLACES: [Place; 3] = [
    Place {
        name: "records to nowhere",
        make: || Box::new(Nowhere),
    },
    Place {
        name: "records as text",
        make: || Box::new(Text::new(io::sink(), Options::for_file(TimeZone::UTC))),
    },
    Place {
        name: "records as JSON",
        make: || Box::new(Json::new(io::sink())),
    },
];

struct Settings {
    rounds: usize,
    datagrams: usize,
    is_json: bool,
}

fn main() -> Result<()> {
    let settings = settings(std::env::args().skip(1))?;
    let batches = batches(settings.datagrams)?;
    let rules = Rules::new(&[], &[], false).map_err(|error| error.to_string())?;
    // Once to warm up.
    run(&batches, &rules, &mut Nowhere)?;
    let mut all_ns: Vec<Vec<f64>> = vec![Vec::new(); PLACES.len()];
    for round in 1..=settings.rounds {
        for (place, ns) in PLACES.iter().zip(&mut all_ns) {
            let ns_per_record = run(&batches, &rules, (place.make)().as_mut())?;
            ns.push(ns_per_record);
            if settings.is_json {
                for (unit, value) in [
                    ("ns_per_record", ns_per_record),
                    ("records_per_s", 1e9 / ns_per_record),
                ] {
                    let name = place.name;
                    println!(
                        r#"{{"what":"{name}","under":"agent","round":{round},"{unit}":{value}}}"#
                    );
                }
            }
        }
    }
    if !settings.is_json {
        for (place, ns) in PLACES.iter().zip(all_ns) {
            println!("{}", summary(place.name, ns));
        }
    }
    Ok(())
}

fn settings(arguments: impl Iterator<Item = String>) -> Result<Settings> {
    let mut settings = Settings {
        rounds: 9,
        datagrams: 20_000,
        is_json: false,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize> {
            let value = arguments
                .next()
                .ok_or(format!("{argument} needs a value"))?;
            Ok(value.parse()?)
        };
        match argument.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--json" => settings.is_json = true,
            "--rounds" => settings.rounds = number()?.max(1),
            "--datagrams" => settings.datagrams = number()?.max(1),
            other => return Err(format!("what is {other}?").into()),
        }
    }
    Ok(settings)
}

fn summary(name: &str, mut ns: Vec<f64>) -> String {
    ns.sort_by(f64::total_cmp);
    let (min, median, max) = (ns[0], ns[ns.len() / 2], ns[ns.len() - 1]);
    format!(
        "{name:<18}  {median:>6.0} ns/record ({min:.0} – {max:.0})  {:>6.2} million records/s",
        1e3 / median
    )
}

/// What one drain of the rings brings, and the time before which all of it is.
struct Batch {
    before_ns: u64,
    records: Vec<Bytes>,
}

/// All batches through all stages; nanoseconds for each record.
fn run(batches: &[Batch], rules: &Rules, sink: &mut dyn Sink) -> Result<f64> {
    let context = Context {
        clock: WallClock {
            realtime_minus_monotonic_ns: 1_800_000_000_000_000_000,
        },
        rules,
    };
    let mut order: Order<Record> = Order::new();
    let mut join = Join::new(JoinConfig {
        pending_after_ns: 250_000 * US,
        max_open: 65_536,
        sees_results: true,
        sees_queue: true,
    });
    let enrich = RefCell::new(Enrich::new(Path::new("/nonexistent")));
    let mut view = View::new(ViewOptions::default());
    let (mut events, mut records) = (0_usize, 0_usize);
    let mut failed = None;
    let mut out = |mut event: Event| {
        enrich.borrow_mut().complete(&mut event);
        view.show(event, &mut |event| {
            events += 1;
            if let Err(error) = sink.event(&event) {
                failed = Some(error);
            }
        });
    };
    let start = Instant::now();
    for batch in batches {
        records += batch.records.len();
        for bytes in &batch.records {
            let record = decode(bytes)?;
            enrich.borrow_mut().look(&record);
            order.push(record.header().time_ns, record);
        }
        order.release(batch.before_ns, usize::MAX, |record| {
            join.push(record, &context, &mut out);
        });
        join.expire(batch.before_ns, &context, &mut out);
    }
    join.finish(&context, &mut out);
    let elapsed_ns = start.elapsed().as_nanos() as f64;
    if let Some(error) = failed {
        return Err(error.into());
    }
    // A bench that shows half of what it was given would be twice as fast.
    let datagrams = records / RECORDS_OF_A_DATAGRAM;
    if events != datagrams {
        return Err(format!("{datagrams} datagrams became {events} events").into());
    }
    Ok(elapsed_ns / records as f64)
}

/// Names first, as the kernel side tells them, and then datagrams that are sent, return and are read.
fn batches(datagrams: usize) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    let mut records = vec![cgroup(US)?, receiver(US)?];
    let mut now_ns = 1_000 * US;
    for number in 1..=datagrams {
        let id = u64::try_from(number)?;
        let payload = PAYLOADS[number % PAYLOADS.len()];
        records.push(send(id, now_ns, payload)?);
        records.push(outcome(id, now_ns + 10 * US, payload)?);
        records.push(dequeue(id, now_ns + 50 * US, payload)?);
        now_ns += 100 * US;
        if number % DRAIN == 0 || number == datagrams {
            batches.push(Batch {
                before_ns: now_ns,
                records: std::mem::take(&mut records),
            });
        }
    }
    Ok(batches)
}

/// A record's bytes: its fixed part, and what follows.
fn bytes(fixed: &(impl IntoBytes + Immutable), tail: &[u8]) -> Bytes {
    Bytes::from([fixed.as_bytes(), tail].concat())
}

fn header(kind: Kind, id: u64, time_ns: u64, bytes: usize) -> Result<Header> {
    Ok(Header {
        size: u32::try_from(bytes)?,
        kind: kind as u16,
        emitter: 0,
        seq: id,
        time_ns,
        id,
    })
}

fn task(tgid: u32, comm: &str) -> Task {
    let mut task = Task {
        start_boottime_ns: 5_000 * US,
        cgroup_id: CGROUP,
        tgid,
        tid: tgid,
        parent_tgid: 1,
        ..Task::ZERO
    };
    task.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    task
}

fn address() -> Result<Address> {
    const NAME: &[u8] = b"/run/systemd/notify";
    let mut address = Address::EMPTY;
    address.bytes[..NAME.len()].copy_from_slice(NAME);
    address.len = u32::try_from(NAME.len())?;
    Ok(address)
}

fn cgroup(time_ns: u64) -> Result<Bytes> {
    const NAMES: &[u8] = b"demo-database.service\0system.slice\0";
    let size = size_of::<Cgroup>() + NAMES.len();
    let cgroup = Cgroup {
        header: header(Kind::Cgroup, 0, time_ns, size)?,
        cgroup_id: CGROUP,
        len: u32::try_from(NAMES.len())?,
        depth: 2,
        ..Cgroup::new_zeroed()
    };
    Ok(bytes(&cgroup, NAMES))
}

fn receiver(time_ns: u64) -> Result<Bytes> {
    let receiver = Receiver {
        header: header(Kind::Receiver, 0, time_ns, size_of::<Receiver>())?,
        inode: RECEIVER,
        rule: 1,
        address: address()?,
        ..Receiver::new_zeroed()
    };
    Ok(bytes(&receiver, &[]))
}

fn send(id: u64, time_ns: u64, payload: &[u8]) -> Result<Bytes> {
    let len = u32::try_from(payload.len())?;
    let send = Send {
        header: header(Kind::Send, id, time_ns, size_of::<Send>() + payload.len())?,
        sender: task(42, "database"),
        entry_ns: time_ns - 5 * US,
        socket_inode: 400,
        receiver_inode: RECEIVER,
        len,
        captured: len,
        rule: 1,
        address: address()?,
        ..Send::new_zeroed()
    };
    Ok(bytes(&send, payload))
}

fn outcome(id: u64, time_ns: u64, payload: &[u8]) -> Result<Bytes> {
    let outcome = Outcome {
        header: header(Kind::Outcome, id, time_ns, size_of::<Outcome>())?,
        receiver_inode: RECEIVER,
        queued_ns: time_ns - 2 * US,
        queue_tries: 1,
        ret: i32::try_from(payload.len())?,
        rule: 1,
        ..Outcome::new_zeroed()
    };
    Ok(bytes(&outcome, &[]))
}

fn dequeue(id: u64, time_ns: u64, payload: &[u8]) -> Result<Bytes> {
    let dequeue = Dequeue {
        header: header(Kind::Dequeue, id, time_ns, size_of::<Dequeue>())?,
        reader: task(1, "systemd"),
        receiver_inode: RECEIVER,
        queued_ns: time_ns - 42 * US,
        len: u32::try_from(payload.len())?,
        told_pid: 42,
        flags: DEQUEUE_CREDENTIALS | DEQUEUE_SENDER_PRESENT,
        rule: 1,
        ..Dequeue::new_zeroed()
    };
    Ok(bytes(&dequeue, &[]))
}
