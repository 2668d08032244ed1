//! Records made by hand, and a place to push them.

use bytes::Bytes;
use notify_trace_common::address::{ADDRESS_MAX, Address};
use notify_trace_common::record::{
    Cgroup, ConnectFailed, DEQUEUE_CREDENTIALS, DEQUEUE_SENDER_PRESENT, Dequeue, Exit, Header,
    LateSender, Outcome, Receiver, ReceiverClosed, Send, Task,
};
use zerocopy::FromZeros;

use crate::decode::Record;
use crate::enrich::clock::WallClock;
use crate::event::{DeliveryState, Event, Notification, Update};
use crate::join::{Context, Counters, Join, JoinConfig, Rooms};
use crate::select::Rules;

pub(super) const US: u64 = 1_000;
pub(super) const MS: u64 = 1_000_000;

/// The receiver of all datagrams, unless a test says otherwise.
pub(super) const MANAGER: u64 = 500;
pub(super) const MANAGER_ADDRESS: &[u8] = b"/run/systemd/notify";

pub(super) const FULL: JoinConfig = JoinConfig {
    pending_after_ns: 250 * MS,
    max_open: 1000,
    sees_results: true,
    sees_queue: true,
};

pub(super) const TRACEPOINTS: JoinConfig = JoinConfig {
    sees_results: false,
    sees_queue: false,
    ..FULL
};

pub(super) fn address(bytes: &[u8]) -> Address {
    let mut address = Address::EMPTY;
    address.bytes[..bytes.len()].copy_from_slice(bytes);
    address.len = u32::try_from(bytes.len().min(ADDRESS_MAX)).expect("short");
    address
}

pub(super) fn task(tgid: u32, comm: &str) -> Task {
    let mut task = Task {
        tgid,
        tid: tgid,
        ..Task::new_zeroed()
    };
    task.comm[..comm.len()].copy_from_slice(comm.as_bytes());
    task
}

fn header(id: u64, time_ns: u64) -> Header {
    Header {
        id,
        time_ns,
        ..Header::new_zeroed()
    }
}

/// `READY=1` to the manager, entered 10 µs before it is read at `time_ns`.
pub(super) fn send(id: u64, time_ns: u64) -> Send {
    Send {
        header: header(id, time_ns),
        sender: task(42, "service"),
        entry_ns: time_ns.saturating_sub(10 * US),
        receiver_inode: MANAGER,
        len: 7,
        captured: 7,
        rule: 1,
        address: address(MANAGER_ADDRESS),
        ..Send::new_zeroed()
    }
}

/// The send call returned; the datagram had been queued 10 µs before.
pub(super) fn outcome(id: u64, time_ns: u64, ret: i32) -> Outcome {
    Outcome {
        header: header(id, time_ns),
        receiver_inode: MANAGER,
        queued_ns: if ret < 0 { 0 } else { time_ns - 10 * US },
        queue_len: 3,
        queue_tries: u32::from(ret >= 0),
        ret,
        rule: 1,
        ..Outcome::new_zeroed()
    }
}

pub(super) fn dequeue(id: u64, time_ns: u64) -> Dequeue {
    Dequeue {
        header: header(id, time_ns),
        reader: task(1, "systemd"),
        receiver_inode: MANAGER,
        len: 7,
        queue_len: 2,
        told_pid: 42,
        told_uid: 1000,
        told_gid: 1000,
        flags: DEQUEUE_CREDENTIALS | DEQUEUE_SENDER_PRESENT,
        rule: 1,
        ..Dequeue::new_zeroed()
    }
}

pub(super) fn late_sender(id: u64, time_ns: u64) -> LateSender {
    LateSender {
        header: header(id, time_ns),
        sender: task(42, "service"),
        ret: 7,
        ..LateSender::new_zeroed()
    }
}

pub(super) fn closed(inode: u64, time_ns: u64) -> ReceiverClosed {
    ReceiverClosed {
        header: header(0, time_ns),
        closer: task(1, "systemd"),
        inode,
        queue_len: 2,
        rule: 1,
    }
}

pub(super) fn connect_failed(time_ns: u64, to: &[u8]) -> ConnectFailed {
    ConnectFailed {
        header: header(0, time_ns),
        sender: task(42, "service"),
        ret: -111,
        rule: 1,
        address: address(to),
        ..ConnectFailed::new_zeroed()
    }
}

pub(super) fn exit(time_ns: u64, tgid: u32) -> Exit {
    Exit {
        header: header(0, time_ns),
        tgid,
        ..Exit::new_zeroed()
    }
}

pub(super) fn receiver(time_ns: u64, inode: u64, name: &[u8]) -> Receiver {
    Receiver {
        header: header(0, time_ns),
        inode,
        rule: 1,
        address: address(name),
        ..Receiver::new_zeroed()
    }
}

pub(super) fn cgroup(time_ns: u64, id: u64, path: &[u8]) -> Record {
    Record::Cgroup {
        cgroup: Cgroup {
            header: header(0, time_ns),
            cgroup_id: id,
            ..Cgroup::new_zeroed()
        },
        path: Bytes::copy_from_slice(path),
    }
}

macro_rules! records {
    ($($name:ident),+) => {$(
        impl From<$name> for Record {
            fn from(record: $name) -> Self {
                Self::$name(record)
            }
        }
    )+};
}
records!(
    Outcome,
    Dequeue,
    LateSender,
    ReceiverClosed,
    ConnectFailed,
    Exit,
    Receiver
);

impl From<Send> for Record {
    fn from(send: Send) -> Self {
        let payload = Bytes::from_static(b"READY=1");
        Self::Send {
            payload: payload.slice(..usize::try_from(send.captured).expect("small")),
            send,
        }
    }
}

/// A join, and what came out of it.
pub(super) struct Scene {
    pub(super) join: Join,
    pub(super) events: Vec<Event>,
    pub(super) rules: Rules,
}

impl Scene {
    /// The manager's name is known.
    pub(super) fn new(config: JoinConfig) -> Self {
        let mut scene = Self::nameless(config);
        scene.push(receiver(0, MANAGER, MANAGER_ADDRESS));
        scene
    }

    /// No name is known.
    pub(super) fn nameless(config: JoinConfig) -> Self {
        Self {
            join: Join::new(config),
            events: Vec::new(),
            rules: Rules::new(&[], &[], false).expect("the default rules are well-formed"),
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Join, &Context<'_>, &mut dyn FnMut(Event))) {
        let ctx = Context {
            clock: WallClock {
                realtime_minus_monotonic_ns: 1_000_000_000_000_000_000,
            },
            rules: &self.rules,
            rooms: &Rooms::default(),
        };
        act(&mut self.join, &ctx, &mut |event| self.events.push(event));
    }

    pub(super) fn push(&mut self, record: impl Into<Record>) {
        let record = record.into();
        self.act(|join, ctx, mut out| join.push(&record, ctx, &mut out));
    }

    pub(super) fn expire(&mut self, now_ns: u64) {
        self.act(|join, ctx, mut out| join.expire(now_ns, ctx, &mut out));
    }

    pub(super) fn finish(&mut self) {
        self.act(|join, ctx, mut out| join.finish(ctx, &mut out));
    }

    pub(super) fn counters(&self) -> Counters {
        self.join.counters()
    }

    /// What came out since the last call.
    pub(super) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The one event that came out since the last call: a notification.
    #[track_caller]
    pub(super) fn take_send(&mut self) -> Notification {
        match self.take().as_slice() {
            [Event::Send(notification)] => (**notification).clone(),
            other => panic!("not one send: {other:#?}"),
        }
    }

    /// The one event that came out since the last call: an update.
    #[track_caller]
    pub(super) fn take_update(&mut self) -> Update {
        match self.take().as_slice() {
            [Event::Update(update)] => (**update).clone(),
            other => panic!("not one update: {other:#?}"),
        }
    }

    /// What came out since the last call, in short.
    pub(super) fn take_states(&mut self) -> Vec<(&'static str, u64, DeliveryState)> {
        self.take()
            .iter()
            .filter_map(|event| match event {
                Event::Send(send) => Some(("send", send.id, send.delivery.state)),
                Event::Update(update) => Some(("update", update.id, update.delivery.state)),
                _ => None,
            })
            .collect()
    }
}
