//! A host that never was: its clock, its processes, and what is recorded of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use notify_trace::decode::message;
use notify_trace::event::{
    Address, Attribution, Blob, Container, Credentials, Delivery, DeliveryState, Destination,
    Errno, Event, Exit, FORMAT_VERSION, Losses, Notification, Plan, PlanName, Process, Receiver,
    Runtime, SendResult, Session, SocketRule, Summary, Timing, Unit, UnitState,
};

/// A second.
pub const S: u64 = 1_000_000_000;
/// A millisecond.
pub const MS: u64 = 1_000_000;
/// A microsecond.
pub const US: u64 = 1_000;

/// When recording begins, on the monotonic clock.
pub const BEGAN_NS: u64 = 2 * S;

/// The manager's socket.
const MANAGER: (u64, &str) = (500, "/run/systemd/notify");

/// What is recorded so far.
pub struct Host {
    events: Vec<(u64, Event)>,
    random: u64,
    pid: u32,
}

impl Host {
    pub fn new() -> Self {
        Self {
            events: Vec::new(),
            random: 0x2545_f491_4f6c_dd1d,
            pid: 400,
        }
    }

    /// A number below `most`: the same ones in each run (xorshift).
    pub fn random(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most.max(1)
    }

    /// A number of a process that isn't in use.
    pub fn pid(&mut self) -> u32 {
        self.pid += 1 + u32::try_from(self.random(4)).unwrap_or(0);
        self.pid
    }

    pub fn add(&mut self, at_ns: u64, event: Event) {
        self.events.push((at_ns, event));
    }

    /// A datagram.
    pub fn send(&mut self, message: Message<'_>) {
        let waited_ns = 30 * US + self.random(400) * US;
        let at_ns = message.at_ns;
        self.add(at_ns, Event::Send(Box::new(message.build(waited_ns))));
    }

    pub fn unit(&mut self, state: UnitState) {
        self.add(state.monotonic_ns, Event::Unit(Box::new(state)));
    }

    pub fn exit(&mut self, process: &Process, at_ns: u64) {
        self.add(
            at_ns,
            Event::Exit(Exit {
                time: time(at_ns),
                monotonic_ns: at_ns,
                pid: process.pid,
                start_boottime_ns: process.start_boottime_ns,
            }),
        );
    }

    /// All of it, in order, with numbers.
    pub fn into_events(mut self) -> Vec<Event> {
        self.events.sort_by_key(|(at_ns, _)| *at_ns);
        let ended_ns = self.events.last().map_or(BEGAN_NS, |(at_ns, _)| *at_ns) + S;
        let mut summary = summary(ended_ns);
        let mut events = vec![session()];
        for (_, mut event) in self.events {
            if let Event::Send(it) = &mut event {
                summary.notifications += 1;
                it.id = summary.notifications;
                match it.delivery.state {
                    DeliveryState::Delivered => summary.delivered += 1,
                    _ => summary.failed += 1,
                }
            }
            events.push(event);
        }
        events.push(Event::Summary(Box::new(summary)));
        events
    }
}

/// A datagram that is sent.
pub struct Message<'a> {
    pub at_ns: u64,
    pub sender: &'a Process,
    pub payload: &'a str,
    /// The kind of its receiver, the receiver's inode number and address, and who reads there.
    pub to: (&'a str, u64, &'a str, Process),
    /// Why it could not be sent.
    pub error: Option<(i32, &'a str)>,
    /// The sender was gone when it was read.
    pub is_gone: bool,
}

impl<'a> Message<'a> {
    /// To the system's manager.
    pub fn new(at_ns: u64, sender: &'a Process, payload: &'a str) -> Self {
        let manager = process("systemd", 1, "init.scope", 0);
        Self {
            at_ns,
            sender,
            payload,
            to: ("systemd", MANAGER.0, MANAGER.1, manager),
            error: None,
            is_gone: false,
        }
    }

    fn build(self, waited_ns: u64) -> Notification {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let parsed = message::parse(self.payload.as_bytes(), length, Some(0));
        let (class, inode, address, reader) = self.to;
        let address = Address::from_spelling(address);
        let queued_ns = self.at_ns + 6 * US;
        let is_sent = self.error.is_none();
        let credentials = Credentials {
            pid: self.sender.pid,
            uid: self.sender.uid,
            gid: self.sender.gid,
        };
        Notification {
            id: 0,
            time: time(self.at_ns),
            monotonic_ns: self.at_ns,
            sender: Some(self.sender.clone()),
            socket_inode: Some(20_000 + u64::from(self.sender.pid)),
            destination: Some(Destination {
                address: address.clone(),
                connected: false,
            }),
            receiver: is_sent.then_some(Receiver {
                inode,
                address: Some(address),
                queue_length: Some(0),
            }),
            class: class.into(),
            length_bytes: length,
            payload: Some(Blob::from(self.payload)),
            truncated: false,
            lines: parsed.lines,
            defects: parsed.defects,
            fds: Some(0),
            claimed: None,
            result: Some(match self.error {
                None => SendResult::SentBytes(length),
                Some((errno, name)) => SendResult::Failed(Errno {
                    errno,
                    name: Some(name.to_owned()),
                }),
            }),
            delivery: Delivery {
                state: if is_sent {
                    DeliveryState::Delivered
                } else {
                    DeliveryState::Failed
                },
                reader: is_sent.then_some(reader),
                trimmed_to_bytes: None,
                credentials: is_sent.then_some(credentials),
                sender_present: is_sent.then_some(!self.is_gone),
                left_in_queue: is_sent.then_some(0),
            },
            retry_of: None,
            timing: Timing {
                entry_ns: Some(self.at_ns),
                queued_ns: is_sent.then_some(queued_ns),
                returned_ns: Some(queued_ns + 3 * US),
                dequeued_ns: is_sent.then_some(queued_ns + waited_ns),
                queue_tries: None,
            },
            unknown: Vec::new(),
        }
    }
}

/// A process of a unit of the system's manager.
pub fn process(comm: &str, pid: u32, unit: &str, started_ns: u64) -> Process {
    Process {
        pid,
        tid: pid,
        comm: Blob(comm.bytes().take(15).collect()),
        uid: 0,
        gid: 0,
        parent_pid: Some(1),
        namespace_pid: None,
        pid_namespace: None,
        start_boottime_ns: Some(started_ns),
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

/// The same in a container of runc.
pub fn in_container(mut process: Process, id: &str) -> Process {
    process.namespace_pid = Some(1);
    process.pid_namespace = Some(4_026_532_500);
    process.attribution = process.attribution.map(|is_of| {
        Arc::new(Attribution {
            container: Some(Container {
                id: id.to_owned(),
                runtime: Some(Runtime::Runc),
                name: None,
                is_monitor: false,
                unit: None,
                outer: None,
            }),
            ..(*is_of).clone()
        })
    });
    process
}

/// Wall time of a moment.
pub fn time(at_ns: u64) -> Timestamp {
    let began = Timestamp::from_second(1_795_489_200).unwrap_or(Timestamp::UNIX_EPOCH);
    let since = SignedDuration::from_nanos(at_ns.saturating_sub(BEGAN_NS).cast_signed());
    began.checked_add(since).unwrap_or(began)
}

fn session() -> Event {
    Event::Session(Box::new(Session {
        format_version: FORMAT_VERSION,
        tool_version: "sample".to_owned(),
        command_line: vec!["notify-trace".to_owned(), "record".to_owned()],
        time: time(BEGAN_NS),
        monotonic_ns: BEGAN_NS,
        host: "sample".to_owned(),
        kernel: "6.12.48".to_owned(),
        machine: "x86_64".to_owned(),
        boot_id: Some("0f9a6c1e-4d3b-4a55-9d2e-5a3c1b7e8f00".to_owned()),
        boottime_ahead_ns: Some(0),
        cpus: 8,
        ring_bytes: 65_536,
        plan: Plan {
            name: PlanName::Full,
            reason: "made up".to_owned(),
            limits: Vec::new(),
            programs: BTreeMap::new(),
        },
        rules: vec![SocketRule {
            class: "systemd".to_owned(),
            matches: MANAGER.1.to_owned(),
        }],
        view: Vec::new(),
        warnings: Vec::new(),
    }))
}

fn summary(at_ns: u64) -> Summary {
    Summary {
        time: time(at_ns),
        monotonic_ns: at_ns,
        notifications: 0,
        delivered: 0,
        failed: 0,
        filtered: 0,
        destroyed: 0,
        open: 0,
        connect_failed: 0,
        left_out: 0,
        records_attempted: 0,
        records_received: 0,
        losses: Losses::default(),
    }
}
