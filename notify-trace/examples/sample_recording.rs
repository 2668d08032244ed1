//! A made-up recording, the same for the same arguments: many units that start, reload, ping their
//! watchdogs, fail in the usual ways, and containers whose READY=1 passes through runc.
//!
//! ```text
//! cargo run -p notify-trace --example sample_recording -- --units 50 > x.jsonl
//! ```
//!
//! `docs/timeline.md` draws it; nothing in it was ever sent.

#[path = "sample_recording/actors.rs"]
mod actors;
#[path = "sample_recording/host.rs"]
mod host;
#[path = "sample_recording/names.rs"]
mod names;

use std::error::Error;
use std::io::{self, BufWriter, Write as _};

use notify_trace::sink::{Json, Sink as _};

use host::Host;

fn main() -> Result<(), Box<dyn Error>> {
    let units = units(&std::env::args().skip(1).collect::<Vec<_>>())?;
    let mut host = Host::new();
    for number in 0..units {
        actors::play(&mut host, number, units);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut json = Json::new(&mut out);
    for event in host.into_events() {
        json.event(&event)?;
    }
    json.finish()?;
    drop(json);
    out.flush()?;
    Ok(())
}

fn units(arguments: &[String]) -> Result<u32, Box<dyn Error>> {
    match arguments {
        [] => Ok(50),
        [name, number] if name == "--units" => Ok(number.parse()?),
        _ => Err("usage: sample_recording [--units N]".into()),
    }
}
