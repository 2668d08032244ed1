//! Prepared records of notifications, and the stages that take them, in the order in which the pipeline
//! wires them:
//!
//! ```text
//! prepared bytes ──▶ decode ──▶ order ──▶ join ──▶ enrich ──▶ view ──▶ a sink
//! ```
//!
//! No kernel and no clock takes part, and no process is found in `/proc`: enrich is warm after its
//! first record.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use notify_trace::decode::decode;
use notify_trace::enrich::Enrich;
use notify_trace::enrich::clock::WallClock;
use notify_trace::event::Event;
use notify_trace::join::{Context, Join, JoinConfig, Rooms};
use notify_trace::order::Order;
use notify_trace::select::Rules;
use notify_trace::sink::Sink;
use notify_trace::view::{View, ViewOptions};
use notify_trace_common::address::Address;
use notify_trace_common::record::{
    Cgroup, DEQUEUE_CREDENTIALS, DEQUEUE_SENDER_PRESENT, Dequeue, Header, Kind, Outcome, Receiver,
    Send, Task,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

const US: u64 = 1_000;
const RECEIVER: u64 = 500;
/// Of the first unit; the next ones follow.
const CGROUP: u64 = 7_000;
const FIRST_PID: u32 = 42;
/// What services say, most of the time.
const PAYLOADS: [&[u8]; 3] = [
    b"WATCHDOG=1",
    b"STATUS=Processing requests, 1234 so far, 17 of them just now",
    b"READY=1\nSTATUS=Accepting connections\nMAINPID=4242",
];
/// How many datagrams one drain of the rings brings.
const DRAIN: usize = 64;

/// What may go wrong: nothing that a bench or a test could mend.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Counts, and writes nothing.
#[derive(Default)]
pub struct Nowhere;

impl Sink for Nowhere {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        std::hint::black_box(event);
        Ok(())
    }
}

/// What one drain of the rings brings, and the time before which all of it is.
pub struct Batch {
    before_ns: u64,
    /// Datagrams that its records are of.
    pub datagrams: usize,
    records: Vec<Bytes>,
}

/// All stages, and what they remember.
pub struct Stages<'a> {
    rules: &'a Rules,
    rooms: Rooms,
    order: Order<Bytes>,
    join: Join,
    enrich: RefCell<Enrich>,
    view: View,
    /// Events that came out.
    pub events: usize,
}

impl<'a> Stages<'a> {
    /// Nothing has come yet.
    pub fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            rooms: Rooms::default(),
            order: Order::new(),
            join: Join::new(JoinConfig {
                pending_after_ns: 250_000 * US,
                max_open: 65_536,
                sees_results: true,
                sees_queue: true,
            }),
            enrich: RefCell::new(Enrich::new(Path::new("/nonexistent"))),
            view: View::new(ViewOptions::default()),
            events: 0,
        }
    }

    /// What one drain brings; how many records that was.
    pub fn take(&mut self, batch: &Batch, sink: &mut dyn Sink) -> Result<usize> {
        let Self {
            rules,
            rooms,
            order,
            join,
            enrich,
            view,
            events,
        } = self;
        let context = Context {
            clock: WallClock {
                realtime_minus_monotonic_ns: 1_800_000_000_000_000_000,
            },
            rules,
            rooms,
        };
        let mut failed = None;
        let mut out = |mut event: Event| {
            enrich.borrow_mut().complete(&mut event);
            view.show(event, &mut |event| {
                *events += 1;
                if let Err(error) = sink.event(&event) {
                    failed = Some(error);
                }
                rooms.give(event);
            });
        };
        for bytes in &batch.records {
            let record = decode(bytes)?;
            enrich.borrow_mut().look(&record);
            order.push(record.header().time_ns, bytes.clone());
        }
        order.release(batch.before_ns, usize::MAX, |bytes| {
            // Decoded before.
            let record = decode(bytes).expect("a record");
            join.push(&record, &context, &mut out);
        });
        join.expire(batch.before_ns, &context, &mut out);
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(batch.records.len()),
        }
    }
}

/// Names first, as the kernel side tells them, and then datagrams that so many units send in turns, whose
/// calls return and that are read. All are parts of larger pieces of memory, as the reader of the rings makes
/// them.
pub fn batches(datagrams: usize, units: usize) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    let mut records = vec![receiver(US)?];
    let mut now_ns = 1_000 * US;
    let mut sent = 0;
    for number in 1..=datagrams {
        let id = u64::try_from(number)?;
        let payload = PAYLOADS[number % PAYLOADS.len()];
        let unit = u32::try_from(number % units)?;
        if number <= units {
            records.push(cgroup(unit, now_ns)?);
        }
        records.push(send(id, unit, now_ns, payload)?);
        records.push(outcome(id, now_ns + 10 * US, payload)?);
        records.push(dequeue(id, now_ns + 50 * US, payload)?);
        now_ns += 100 * US;
        if number % DRAIN == 0 || number == datagrams {
            let mut chunk = BytesMut::with_capacity(records.iter().map(Vec::len).sum());
            let parts = records.drain(..).map(|record| {
                chunk.extend_from_slice(&record);
                chunk.split().freeze()
            });
            batches.push(Batch {
                before_ns: now_ns,
                datagrams: number - sent,
                records: parts.collect(),
            });
            sent = number;
        }
    }
    Ok(batches)
}

/// A record's bytes: its fixed part, and what follows.
fn bytes(fixed: &(impl IntoBytes + Immutable), tail: &[u8]) -> Vec<u8> {
    [fixed.as_bytes(), tail].concat()
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

fn task(tgid: u32, cgroup: u64, comm: &str) -> Task {
    let mut task = Task {
        start_boottime_ns: 5_000 * US,
        cgroup_id: cgroup,
        tgid,
        tid: tgid,
        parent_tgid: 1,
        ..Task::ZERO
    };
    task.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    task
}

/// Of a socket that only the last of the rules by default selects.
fn address() -> Result<Address> {
    const NAME: &[u8] = b"/srv/app/notify.sock";
    let mut address = Address::EMPTY;
    address.bytes[..NAME.len()].copy_from_slice(NAME);
    address.len = u32::try_from(NAME.len())?;
    Ok(address)
}

fn cgroup(unit: u32, time_ns: u64) -> Result<Vec<u8>> {
    let names = format!("demo-database-{unit}.service\0system.slice\0");
    let size = size_of::<Cgroup>() + names.len();
    let cgroup = Cgroup {
        header: header(Kind::Cgroup, 0, time_ns, size)?,
        cgroup_id: CGROUP + u64::from(unit),
        len: u32::try_from(names.len())?,
        depth: 2,
        ..Cgroup::new_zeroed()
    };
    Ok(bytes(&cgroup, names.as_bytes()))
}

fn receiver(time_ns: u64) -> Result<Vec<u8>> {
    let receiver = Receiver {
        header: header(Kind::Receiver, 0, time_ns, size_of::<Receiver>())?,
        inode: RECEIVER,
        rule: 1,
        address: address()?,
        ..Receiver::new_zeroed()
    };
    Ok(bytes(&receiver, &[]))
}

fn send(id: u64, unit: u32, time_ns: u64, payload: &[u8]) -> Result<Vec<u8>> {
    let len = u32::try_from(payload.len())?;
    let send = Send {
        header: header(Kind::Send, id, time_ns, size_of::<Send>() + payload.len())?,
        sender: task(FIRST_PID + unit, CGROUP + u64::from(unit), "database"),
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

fn outcome(id: u64, time_ns: u64, payload: &[u8]) -> Result<Vec<u8>> {
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

fn dequeue(id: u64, time_ns: u64, payload: &[u8]) -> Result<Vec<u8>> {
    let dequeue = Dequeue {
        header: header(Kind::Dequeue, id, time_ns, size_of::<Dequeue>())?,
        reader: task(1, CGROUP, "systemd"),
        receiver_inode: RECEIVER,
        queued_ns: time_ns - 42 * US,
        len: u32::try_from(payload.len())?,
        told_pid: FIRST_PID,
        flags: DEQUEUE_CREDENTIALS | DEQUEUE_SENDER_PRESENT,
        rule: 1,
        ..Dequeue::new_zeroed()
    };
    Ok(bytes(&dequeue, &[]))
}
