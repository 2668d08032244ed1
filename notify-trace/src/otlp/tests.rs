use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::*;
use crate::correlate::samples::session;
use crate::event::Event;
use crate::sink::Sink as _;
use crate::store::tests::{Folder, sends};
use crate::store::{Limits, Options, Store};

#[test]
fn a_receiver_is_named_by_an_address() {
    let target = |text: &str| Target::parse(text).expect("valid").expect("somewhere");
    assert_eq!(Target::parse("off"), Ok(None));
    let plain = target("http://127.0.0.1:4318");
    assert_eq!(
        (&*plain.host, plain.port, &*plain.prefix),
        ("127.0.0.1", 4318, "")
    );
    let own = target("http://[::1]/otlp/");
    assert_eq!((&*own.host, own.port, &*own.prefix), ("::1", 80, "/otlp"));
    assert_eq!(own.authority, "[::1]");
    for wrong in [
        "",
        "localhost",
        "localhost:4318",
        "ftp://x",
        "http://a:b@x",
        "http://x?y=z",
        "http:///",
    ] {
        assert!(Target::parse(wrong).is_err(), "{wrong}");
    }
    assert_eq!(Target::parse("https://x").is_ok(), cfg!(feature = "tls"));
}

/// What a request is answered with: a status and a body, or nothing.
type Reply = Option<(u16, &'static str)>;

/// A receiver that answers what a test says.
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<LogRecord>>>,
}

impl Receiver {
    /// `replies` are given in turn, then everything is taken; whether a request of these log records can
    /// be taken is asked first.
    fn new(
        replies: impl IntoIterator<Item = Reply>,
        can_take: impl Fn(&[LogRecord]) -> Result<(), u16> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let got = Arc::new(Mutex::new(Vec::new()));
        let took = Arc::clone(&got);
        let mut replies: VecDeque<Reply> = replies.into_iter().collect();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                while let Some((path, body)) = request(&mut reader) {
                    let reply = replies.pop_front();
                    let reply = reply.unwrap_or(Some((200, "")));
                    // Nothing: it hangs up.
                    let Some((mut status, body_back)) = reply else {
                        break;
                    };
                    if path == "/v1/logs" && status == 200 && body_back.is_empty() {
                        let request = ExportLogsServiceRequest::decode(&*body).expect("a message");
                        let records = request.resource_logs.into_iter();
                        let records = records.flat_map(|it| it.scope_logs);
                        let records: Vec<LogRecord> =
                            records.flat_map(|it| it.log_records).collect();
                        match can_take(&records) {
                            Ok(()) => took.lock().expect("whole").extend(records),
                            Err(refusal) => status = refusal,
                        }
                    }
                    let _ = write!(
                        reader.get_mut(),
                        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n",
                        body_back.len()
                    );
                    let _ = reader.get_mut().write_all(body_back.as_bytes());
                }
            }
        });
        Self { address, got }
    }

    /// Numbers of the notifications that it took, in order.
    fn numbers(&self) -> Vec<u64> {
        let got = self.got.lock().expect("whole");
        let notifications = got.iter().filter(|it| it.event_name == log::NOTIFY);
        notifications.map(number).collect()
    }
}

/// Where nobody listens any more.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

fn number(record: &LogRecord) -> u64 {
    let found = record.attributes.iter().find(|it| it.key == "notify.id");
    let value = found.and_then(|it| it.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::IntValue(number)) => number.cast_unsigned(),
        other => panic!("{other:?}"),
    }
}

/// The path and the body of a request.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(text) = header.strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// An agent that records and sends.
struct Sender {
    folder: Folder,
    store: Store,
    exporter: Exporter,
    state: SendingState,
}

impl Sender {
    fn new(name: &str, address: SocketAddr) -> Self {
        Self::in_folder(Folder::new(name), address)
    }

    fn in_folder(folder: Folder, address: SocketAddr) -> Self {
        Self::with(folder, address, true)
    }

    fn with(folder: Folder, address: SocketAddr, logs: bool) -> Self {
        let options = Options {
            is_outbox: true,
            ..Options::default()
        };
        let mut store = Store::open(&folder.file(), options).expect("a recording");
        let settings = Settings {
            target: Target::parse(&format!("http://{address}"))
                .expect("valid")
                .expect("somewhere"),
            logs,
            spans: true,
            metrics: false,
            interval: Duration::from_secs(3600),
            timeout: Duration::from_secs(5),
            compression: Compression::None,
            headers_file: None,
            tls: TlsFiles::default(),
        };
        let source = Source {
            path: folder.file(),
            watch: store.watch(),
        };
        let metrics = Metrics::new(1, None);
        let state = SendingState::default();
        let exporter =
            Exporter::start(settings, Some(source), metrics, state.clone()).expect("it can");
        let Event::Session(mut begun) = session() else {
            panic!("a session")
        };
        // Another one each time.
        static RUNS: AtomicU64 = AtomicU64::new(1);
        begun.monotonic_ns = RUNS.fetch_add(1, Ordering::Relaxed);
        exporter.begin(&begun);
        store.event(&Event::Session(begun)).expect("it never fails");
        Self {
            folder,
            store,
            exporter,
            state,
        }
    }

    fn send(&mut self, numbers: std::ops::Range<u64>) {
        for event in sends(numbers) {
            self.store.event(&event).expect("it never fails");
        }
    }

    fn until(&self, what: &str, is_so: impl Fn(&crate::metrics::Sending) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.state.get()) {
            assert!(
                begun.elapsed().as_secs() < 60,
                "{what}: {:?}",
                self.state.get()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(mut self) -> Folder {
        self.store.finish().expect("all is stored");
        self.exporter.finish();
        self.folder
    }
}

#[test]
fn all_is_sent_once_over_failures_of_each_kind() {
    let busy = || Some((503, ""));
    // The last one is somebody else, to whom all is well.
    let page = Some((200, "<html>"));
    let receiver = Receiver::new([busy(), None, busy(), page], |_| Ok(()));
    let mut sender = Sender::new("otlp-failures", receiver.address);
    sender.send(0..2_000);
    sender.until("all", |state| state.taken_events == 2_000);
    assert!(receiver.numbers().into_iter().eq(0..2_000));
    let state = sender.state.get();
    assert_eq!((state.waiting_events, &state.trouble), (0, &None));
    assert_eq!(state.signals[0].refused, 0);
    // What comes last is sent at the end.
    sender.send(2_000..2_010);
    let folder = sender.end();
    assert!(receiver.numbers().into_iter().eq(0..2_010));
    // The next run goes on where this one ended.
    let mut next = Sender::in_folder(folder, receiver.address);
    next.send(5_000..5_003);
    next.until("all of the next", |state| state.taken_events >= 3);
    assert_eq!(receiver.numbers().len(), 2_013);
    drop(next.end());
}

#[test]
fn one_that_is_refused_holds_up_no_other() {
    let receiver = Receiver::new([], |records| {
        let is_poisoned = records.iter().any(|it| number(it) == 777);
        if is_poisoned { Err(400) } else { Ok(()) }
    });
    let mut sender = Sender::new("otlp-poison", receiver.address);
    sender.send(0..1_000);
    sender.until("all", |state| state.taken_events == 1_000);
    let numbers = receiver.numbers();
    assert_eq!(numbers.len(), 999);
    assert!(!numbers.contains(&777));
    assert!(numbers.is_sorted());
    assert_eq!(sender.state.get().signals[0].refused, 1);
    drop(sender.end());
}

#[test]
fn who_wants_less_at_once_gets_less() {
    let receiver = Receiver::new(
        [],
        |records| if records.len() > 3 { Err(413) } else { Ok(()) },
    );
    let mut sender = Sender::new("otlp-large", receiver.address);
    sender.send(0..100);
    sender.until("all", |state| state.taken_events == 100);
    assert_eq!(receiver.numbers(), Vec::from_iter(0..100));
    assert_eq!(sender.state.get().signals[0].refused, 0);
    drop(sender.end());
}

#[test]
fn who_takes_nothing_at_all_gets_nothing_dropped() {
    let receiver = Receiver::new([], |_| Err(400));
    let mut sender = Sender::new("otlp-wrong", receiver.address);
    sender.send(0..10);
    sender.until("trouble", |state| state.trouble.is_some());
    let state = sender.state.get();
    assert_eq!((state.taken_events, state.waiting_events), (0, 10));
    assert_eq!(state.signals[0].refused, 0);
    drop(sender.end());
}

#[test]
fn what_expires_in_an_outage_is_counted_and_the_rest_arrives() {
    let address = nobody();
    let mut sender = Sender::new("otlp-outage", address);
    sender.send(0..3_000);
    sender.until("trouble", |state| state.waiting_events == 3_000);
    sender.store.set_limits(Limits {
        age: Some(Duration::ZERO),
        ..Limits::default()
    });
    sender.until("deletion", |state| state.expired_events > 0);
    sender.store.set_limits(Limits::default());
    sender.send(3_000..3_100);
    sender.until("what is left", |state| {
        state.waiting_events + state.expired_events == 3_100
    });
    let expired = sender.state.get().expired_events;
    let folder = sender.end();
    let receiver = Receiver::new([], |_| Ok(()));
    let next = Sender::in_folder(folder, receiver.address);
    next.until("the rest", |state| state.taken_events == 3_100 - expired);
    assert!(receiver.numbers().into_iter().eq(expired..3_100));
    drop(next.end());
}

#[test]
fn what_was_in_a_removed_recording_is_counted() {
    let receiver = Receiver::new([], |_| Ok(()));
    let mut sender = Sender::new("otlp-removed", receiver.address);
    sender.send(0..100);
    sender.until("the first", |state| state.taken_events == 100);
    std::fs::remove_file(sender.folder.file()).expect("it was there");
    sender.send(100..200);
    sender.until("all", |state| {
        state.taken_events + state.removed_events == 200
    });
    assert_eq!(
        sender.state.get().removed_events,
        0,
        "all of it was sent before"
    );
    assert_eq!(receiver.numbers(), Vec::from_iter(0..200));
    drop(sender.end());
}

#[test]
fn what_waited_in_a_removed_recording_is_lost_and_counted() {
    let address = nobody();
    // What an earlier run left waits, too.
    let mut earlier = Sender::new("otlp-removed-waiting", address);
    earlier.send(0..30);
    earlier.until("trouble", |state| state.trouble.is_some());
    let folder = earlier.end();
    let mut sender = Sender::in_folder(folder, address);
    sender.send(0..100);
    sender.until("trouble", |state| state.waiting_events == 130);
    std::fs::remove_file(sender.folder.file()).expect("it was there");
    sender.send(100..110);
    sender.until("the loss", |state| {
        (state.removed_events, state.waiting_events) == (130, 10)
    });
    let folder = sender.end();
    let receiver = Receiver::new([], |_| Ok(()));
    let next = Sender::in_folder(folder, receiver.address);
    next.until("the rest", |state| state.taken_events == 10);
    assert_eq!(receiver.numbers(), Vec::from_iter(100..110));
    drop(next.end());
}

#[test]
fn without_log_records_all_is_taken_and_the_end_comes() {
    let receiver = Receiver::new([], |_| Ok(()));
    let folder = Folder::new("otlp-spans");
    let mut sender = Sender::with(folder, receiver.address, false);
    sender.send(0..5_000);
    drop(sender.end());
    assert!(receiver.numbers().is_empty());
}

#[test]
fn who_took_something_and_then_refuses_all_gets_little_dropped() {
    // As one that wants TLS now.
    let taken = AtomicBool::new(false);
    let receiver = Receiver::new([], move |_| {
        if taken.swap(true, Ordering::Relaxed) {
            Err(400)
        } else {
            Ok(())
        }
    });
    let mut sender = Sender::new("otlp-turned", receiver.address);
    sender.send(0..10);
    sender.until("the first", |state| state.taken_events == 10);
    sender.send(10..60);
    sender.until("trouble", |state| state.trouble.is_some());
    let state = sender.state.get();
    assert_eq!((state.signals[0].refused, state.waiting_events), (1, 49));
    drop(sender.end());
}
