//! How many records userspace takes each second: prepared bytes through decode, order, join, enrich,
//! view and a sink, in the order in which the pipeline wires them.
//!
//! All have their turns in each round, so that whatever slows the machine slows all of them.
//! `cargo bench -p notify-trace --bench records` prints a table; with `--json` it is the lines
//! that `cargo xtask bench` reads. `--rounds N`, `--datagrams N`.

mod prepared;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::time::Instant;

use jiff::tz::TimeZone;
use notify_trace::select::Rules;
use notify_trace::sink::text::Options;
use notify_trace::sink::{Json, Sink, Text};

use self::prepared::{Batch, Nowhere, Result, Stages, batches};

/// What is done: what a line of output calls it, how many units send, and where the events go.
struct Place {
    name: &'static str,
    units: usize,
    make: fn() -> Box<dyn Sink>,
}

const PLACES: [Place; 5] = [
    Place {
        name: "records to nowhere",
        units: FEW,
        make: || Box::new(Nowhere),
    },
    Place {
        name: "records of 1,000 units",
        units: 1_000,
        make: || Box::new(Nowhere),
    },
    Place {
        name: "records of 100,000 units",
        units: 100_000,
        make: || Box::new(Nowhere),
    },
    Place {
        name: "records as text",
        units: FEW,
        make: || Box::new(Text::new(io::sink(), Options::for_file(TimeZone::UTC))),
    },
    Place {
        name: "records as JSON",
        units: FEW,
        make: || Box::new(Json::new(io::sink())),
    },
];

/// Units of the rows that don't say how many.
const FEW: usize = 10;
/// Of so many units memory is looked at.
const WEIGHED: usize = 10_000;

struct Settings {
    rounds: usize,
    datagrams: usize,
    is_json: bool,
}

fn main() -> Result<()> {
    let settings = settings(std::env::args().skip(1))?;
    let rules = Rules::new(&[], &[], false).map_err(|error| error.to_string())?;
    let say = |what: &str, round: usize, unit: &str, value: f64| {
        if settings.is_json {
            println!(r#"{{"what":"{what}","under":"agent","round":{round},"{unit}":{value}}}"#);
        }
    };
    let weight_bytes = weigh(&rules)?;
    say(
        "memory for 10,000 units",
        1,
        "anonymous_bytes",
        weight_bytes,
    );
    // Each unit sends more than once.
    let datagrams = |place: &Place| settings.datagrams.max(2 * place.units);
    let mut prepared = BTreeMap::new();
    for place in &PLACES {
        if let Entry::Vacant(entry) = prepared.entry(place.units) {
            entry.insert(batches(datagrams(place), place.units)?);
        }
    }
    // Once to warm up.
    run(&prepared[&FEW], &rules, &mut Nowhere)?;
    let mut all_ns: Vec<Vec<f64>> = vec![Vec::new(); PLACES.len()];
    for round in 1..=settings.rounds {
        for (place, ns) in PLACES.iter().zip(&mut all_ns) {
            let ns_per_record = run(&prepared[&place.units], &rules, (place.make)().as_mut())?;
            ns.push(ns_per_record);
            say(place.name, round, "ns_per_record", ns_per_record);
            say(place.name, round, "records_per_s", 1e9 / ns_per_record);
        }
    }
    if !settings.is_json {
        println!("{:.1} MiB for {WEIGHED} units", weight_bytes / 1_048_576.0);
        for (place, ns) in PLACES.iter().zip(all_ns) {
            println!("{}", summary(place.name, ns));
        }
    }
    Ok(())
}

/// How much more memory is in use when all stages know so many units. Before anything else, so that no
/// memory is there to be used again.
fn weigh(rules: &Rules) -> Result<f64> {
    let batches = batches(WEIGHED, WEIGHED)?;
    let mut stages = Stages::new(rules);
    let before = anonymous_bytes()?;
    for batch in &batches {
        stages.take(batch, &mut Nowhere)?;
    }
    let after = anonymous_bytes()?;
    Ok(after - before)
}

/// `RssAnon` of this process (proc_pid_status(5)).
fn anonymous_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no RssAnon")?.parse::<f64>()? * 1024.0)
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
        "{name:<24}  {median:>6.0} ns/record ({min:.0} – {max:.0})  {:>6.2} million records/s",
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
    let datagrams: usize = batches.iter().map(|batch| batch.datagrams).sum();
    let events = stages.events;
    if events != datagrams {
        return Err(format!("{datagrams} datagrams became {events} events").into());
    }
    Ok(elapsed_ns / records as f64)
}
