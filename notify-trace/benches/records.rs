//! How many records userspace takes each second: prepared bytes through decode, order, join, enrich,
//! view and a sink, in the order in which the pipeline wires them.
//!
//! The sinks have their turns in each round, so that whatever
//! slows the machine slows all of them. `cargo bench -p notify-trace --bench records` prints a table;
//! with `--json` it is the lines that `cargo xtask bench` reads. `--rounds N`, `--datagrams N`.

mod prepared;

use std::io;
use std::time::Instant;

use jiff::tz::TimeZone;
use notify_trace::select::Rules;
use notify_trace::sink::text::Options;
use notify_trace::sink::{Json, Sink, Text};

use self::prepared::{Batch, Nowhere, RECORDS_OF_A_DATAGRAM, Result, Stages, batches};

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

/// All batches through all stages; nanoseconds for each record.
fn run(batches: &[Batch], rules: &Rules, sink: &mut dyn Sink) -> Result<f64> {
    let mut stages = Stages::new(rules);
    let mut records = 0;
    let start = Instant::now();
    for batch in batches {
        records += stages.take(batch, sink)?;
    }
    let elapsed_ns = start.elapsed().as_nanos() as f64;
    // A bench that shows half of what it was given would be twice as fast.
    let (datagrams, events) = (records / RECORDS_OF_A_DATAGRAM, stages.events);
    if events != datagrams {
        return Err(format!("{datagrams} datagrams became {events} events").into());
    }
    Ok(elapsed_ns / records as f64)
}
