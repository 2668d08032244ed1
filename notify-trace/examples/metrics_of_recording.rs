//! The metrics of a recording, as an agent would have them that saw its events now: once, in pieces, so that
//! whoever reads them sees them grow.
//!
//! ```text
//! cargo run -p notify-trace --example metrics_of_recording -- FILE 127.0.0.1:0
//! ```
//!
//! Prints where it listens; ends with its standard input. `cargo xtask test` lets Prometheus read it.

use std::error::Error;
use std::io::{self, Read as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use notify_trace::event::Event;
use notify_trace::metrics::{Listen, Metrics, SendingState};
use notify_trace::recording;
use notify_trace::sink::Reading;
use notify_trace::store::{Options, Reader, Store};

/// Events are given in so many pieces.
const PIECES: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, listen] = &arguments[..] else {
        return Err("usage: metrics_of_recording FILE ADDRESS".into());
    };
    let reader = Reader::open(Path::new(file))?;
    let mut events: Vec<Event> = Vec::new();
    for session in reader.sessions()? {
        recording::read(&mut reader.lines(&session), &mut |event| {
            events.push(event);
            true
        })?;
    }
    let again = std::env::temp_dir().join(format!("nt-metrics-{}.ntrec", std::process::id()));
    let mut store = Store::open(&again, Options::default())?;
    let sending = Some(SendingState::default());
    let metrics = Metrics::with_sending(500, Some(store.watch()), sending);
    let listen = Listen::of(listen, false)?.ok_or("it must listen")?;
    let server = metrics.serve(&listen)?;
    match &server.address {
        Listen::Address(address) => println!("{address}"),
        Listen::Unix(path) => println!("{}", path.display()),
    }
    thread::spawn(move || {
        let mut records = 0;
        for piece in events.chunks(events.len().div_ceil(PIECES).max(1)) {
            for event in piece {
                let _ = store.take(event, &mut |rows| metrics.take(event, rows));
            }
            records += piece.len() as u64;
            metrics.reading(Reading {
                records,
                fullest_bytes: 4_096,
                ring_bytes: 1 << 20,
            });
            thread::sleep(Duration::from_millis(500));
        }
        // The store stays open.
        thread::park();
    });
    let result = io::stdin().read_to_end(&mut Vec::new());
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", again.display()));
    }
    result?;
    Ok(())
}
