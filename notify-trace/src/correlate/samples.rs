//! Events for the tests of this folder.

use std::sync::Arc;

use crate::decode::message;
use crate::event::{
    Address, Attribution, Blob, Credentials, Delivery, DeliveryState, Errno, Event, Notification,
    Process, Receiver, SendResult, Timing, Unit, UnitState,
};

/// A second.
pub(crate) const S: u64 = 1_000_000_000;
/// A millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// A notification to be changed, then built: as a rule it is delivered to the system's manager by
/// process 100 of app.service.
#[derive(Clone, Debug)]
pub(crate) struct Sample(pub(crate) Notification);

impl Sample {
    pub(crate) fn new(payload: &str) -> Self {
        let length = u32::try_from(payload.len()).expect("short");
        let parsed = message::parse(payload.as_bytes(), length, None);
        let mut it = Self(Notification {
            id: 1,
            time: "2026-11-24T12:00:00Z".parse().expect("a time"),
            monotonic_ns: 0,
            sender: Some(process("app", 100, "app.service")),
            socket_inode: Some(9),
            destination: None,
            receiver: Some(Receiver {
                inode: 500,
                address: Some(Address::from(&b"/run/systemd/notify"[..])),
                queue_length: Some(0),
            }),
            class: "systemd".into(),
            length_bytes: length,
            payload: Some(payload.into()),
            truncated: false,
            lines: parsed.lines,
            defects: parsed.defects,
            fds: Some(0),
            claimed: None,
            result: Some(SendResult::SentBytes(length)),
            delivery: Delivery {
                state: DeliveryState::Delivered,
                reader: Some(process("systemd", 1, "init.scope")),
                trimmed_to_bytes: None,
                credentials: Some(Credentials {
                    pid: 100,
                    uid: 0,
                    gid: 0,
                }),
                sender_present: Some(true),
                left_in_queue: Some(0),
            },
            retry_of: None,
            timing: Timing::default(),
            unknown: Vec::new(),
        });
        it.set_time(S);
        it
    }

    fn set_time(&mut self, at_ns: u64) {
        self.0.monotonic_ns = at_ns;
        self.0.timing = Timing {
            entry_ns: Some(at_ns),
            queued_ns: Some(at_ns + 10_000),
            returned_ns: Some(at_ns + 20_000),
            dequeued_ns: Some(at_ns + 100_000),
            queue_tries: None,
        };
    }

    pub(crate) fn at(mut self, at_ns: u64) -> Self {
        self.set_time(at_ns);
        self
    }

    pub(crate) fn id(mut self, id: u64) -> Self {
        self.0.id = id;
        self
    }

    pub(crate) fn from(mut self, comm: &str, pid: u32, unit: &str) -> Self {
        self.0.sender = Some(process(comm, pid, unit));
        self.0.delivery.credentials = Some(Credentials {
            pid,
            uid: 0,
            gid: 0,
        });
        self
    }

    /// To the socket of a proxy.
    pub(crate) fn to(mut self, class: &str, inode: u64, reader: (&str, u32)) -> Self {
        self.0.class = class.into();
        self.0.receiver = Some(Receiver {
            inode,
            address: None,
            queue_length: None,
        });
        self.0.delivery.reader = Some(process(reader.0, reader.1, "proxy.service"));
        self
    }

    pub(crate) fn gone(mut self) -> Self {
        self.0.delivery.sender_present = Some(false);
        self
    }

    pub(crate) fn claiming(mut self, pid: u32) -> Self {
        let claimed = Some(Credentials {
            pid,
            uid: 0,
            gid: 0,
        });
        self.0.claimed = claimed;
        self.0.delivery.credentials = claimed;
        self
    }

    pub(crate) fn failed(mut self, errno: i32, name: &str) -> Self {
        self.0.result = Some(SendResult::Failed(Errno {
            errno,
            name: Some(name.to_owned()),
        }));
        self.0.delivery.state = DeliveryState::Failed;
        self.0.delivery.reader = None;
        self.0.timing.dequeued_ns = None;
        self
    }

    pub(crate) fn build(self) -> Notification {
        self.0
    }
}

/// The beginning of a recording.
pub(crate) fn session() -> Event {
    serde_json::from_str(
        r#"{"type":"session","format_version":1,"tool_version":"0","command_line":[],
        "time":"2026-11-24T12:00:00Z","monotonic_ns":0,"host":"h","kernel":"6.12",
        "machine":"x86_64","cpus":1,"ring_bytes":4096,
        "plan":{"name":"full","reason":"","programs":{}},"rules":[]}"#,
    )
    .expect("a session")
}

/// Its end, at a moment of that day.
pub(crate) fn summary(time: &str, monotonic_ns: u64) -> Event {
    serde_json::from_str(&format!(
        r#"{{"type":"summary","time":"2026-11-24T{time}Z","monotonic_ns":{monotonic_ns},
        "notifications":2,"delivered":2,"failed":0,"open":0,"connect_failed":0,
        "records_attempted":6,"records_received":6,"losses":{{}}}}"#
    ))
    .expect("a summary")
}

/// A process of a unit of the system's manager.
pub(crate) fn process(comm: &str, pid: u32, unit: &str) -> Process {
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
            ..Attribution::default()
        })),
        later: None,
    }
}

/// A `Type=notify` service that is up, with process 100 as its main process.
pub(crate) fn unit_state(unit: &str, at_ns: u64) -> UnitState {
    UnitState {
        time: "2026-11-24T12:00:00Z".parse().expect("a time"),
        monotonic_ns: at_ns,
        unit: unit.to_owned(),
        active_state: "active".to_owned(),
        sub_state: "running".to_owned(),
        service_type: Some("notify".to_owned()),
        notify_access: Some("main".to_owned()),
        main_pid: Some(100),
        fd_store_max: Some(0),
        fd_store_count: Some(0),
        timeout_start_usec: Some(90_000_000),
        ..UnitState::default()
    }
}
