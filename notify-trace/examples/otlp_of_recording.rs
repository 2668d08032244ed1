//! Sends a recording to a receiver of OTLP, as an agent that recorded the same would.
//!
//! ```text
//! cargo run -p notify-trace --example otlp_of_recording -- FILE http://127.0.0.1:4318 [CERTIFICATES]
//! ```
//!
//! CERTIFICATES is a folder with `ca.pem`, `agent.pem` and `agent.key`. Prints what became of it; fails if
//! nothing can be sent for five seconds. `cargo xtask test` lets a Collector receive it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use notify_trace::config::Compression;
use notify_trace::event::Event;
use notify_trace::metrics::{Metrics, SendingState};
use notify_trace::otlp::{Exporter, Settings, Source, Target, TlsFiles};
use notify_trace::recording;
use notify_trace::sink::Sink as _;
use notify_trace::store::{Options, Reader, Store};

/// How long it may get nowhere.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (file, target, certificates) = match &arguments[..] {
        [file, target] => (file, target, None),
        [file, target, certificates] => (file, target, Some(PathBuf::from(certificates))),
        _ => return Err("usage: otlp_of_recording FILE ADDRESS [CERTIFICATES]".into()),
    };
    let again = std::env::temp_dir().join(format!("nt-otlp-{}.ntrec", std::process::id()));
    let options = Options {
        is_outbox: true,
        ..Options::default()
    };
    let mut store = Store::open(&again, options)?;
    let state = SendingState::default();
    let metrics = Metrics::with_sending(500, Some(store.watch()), Some(state.clone()));
    let settings = Settings {
        target: Target::parse(target)?.ok_or("it must go somewhere")?,
        logs: true,
        spans: true,
        metrics: true,
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(10),
        compression: Compression::Gzip,
        headers_file: None,
        tls: TlsFiles {
            authorities: certificates.as_ref().map(|it| it.join("ca.pem")),
            certificate: certificates.as_ref().map(|it| it.join("agent.pem")),
            key: certificates.as_ref().map(|it| it.join("agent.key")),
        },
    };
    let source = Source {
        path: again.clone(),
        watch: store.watch(),
    };
    let mut exporter = Exporter::start(settings, Some(source), metrics.clone(), state.clone())?;
    let reader = Reader::open(Path::new(file))?;
    let mut events = 0;
    for session in reader.sessions()? {
        let mut failed = None;
        recording::read(&mut reader.lines(&session), &mut |event| {
            match &event {
                Event::Session(session) => exporter.begin(session),
                _ => events += 1,
            }
            failed = store
                .take(&event, &mut |rows| metrics.take(&event, rows))
                .err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    store.finish()?;
    let mut seen = (0, Instant::now());
    let result = loop {
        let sending = state.get();
        if sending.taken_events == events {
            break Ok(());
        }
        if sending.taken_events > seen.0 {
            seen = (sending.taken_events, Instant::now());
        }
        if let Some(trouble) = sending.trouble
            && seen.1.elapsed() > PATIENCE
        {
            break Err(trouble);
        }
        thread::sleep(Duration::from_millis(50));
    };
    exporter.finish();
    let sending = state.get();
    println!("events {events}");
    println!("taken {}", sending.taken_events);
    for (name, counted) in ["logs", "spans", "metrics"].iter().zip(sending.signals) {
        println!("{name} {} refused {}", counted.sent, counted.refused);
    }
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", again.display()));
    }
    result.map_err(Into::into)
}
