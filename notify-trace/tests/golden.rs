//! Records as kernel programs wrote them on a real host, through every stage to what a user sees.
//! `tests/records/README.md` says where they are from.

use std::path::Path;

use bytes::Bytes;
use jiff::tz::TimeZone;
use notify_trace::decode::{Record, decode};
use notify_trace::enrich::Enrich;
use notify_trace::enrich::clock::WallClock;
use notify_trace::event::Event;
use notify_trace::join::{Context, Join, JoinConfig, Rooms};
use notify_trace::order::Order;
use notify_trace::select::Rules;
use notify_trace::sink::text::{Columns, Options};
use notify_trace::sink::{Json, Sink, Text};
use notify_trace::view::filter::Filter;
use notify_trace::view::redact::Redact;
use notify_trace::view::{View, ViewOptions};

const BOOT: &[u8] = include_bytes!("records/boot.bin");

/// 2026-11-24T15:00:00Z, minus what the clock of the records shows at their beginning.
const REALTIME_MINUS_MONOTONIC_NS: i64 = 1_795_532_400_000_000_000;

/// Each record begins with its length.
fn records(mut bytes: &'static [u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((length, _)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).expect("a small number");
        let (record, rest) = bytes.split_at(length);
        records.push(decode(&Bytes::from_static(record)).expect("a record"));
        bytes = rest;
    }
    records
}

/// What follows of the records for those who look at them through `options`.
fn events(options: &ViewOptions) -> Vec<Event> {
    let rules = Rules::new(&[], &[], false).expect("the defaults are valid");
    let context = Context {
        clock: WallClock {
            realtime_minus_monotonic_ns: REALTIME_MINUS_MONOTONIC_NS,
        },
        rules: &rules,
        rooms: &Rooms::default(),
    };
    // Nobody of then is in this host's /proc.
    let mut enrich = Enrich::new(Path::new("/nonexistent"));
    let mut order: Order<Record> = Order::new();
    for record in records(BOOT) {
        enrich.look(&record);
        order.push(record.header().time_ns, record);
    }
    let mut join = Join::new(JoinConfig {
        pending_after_ns: 250_000_000,
        max_open: 1024,
        sees_results: true,
        sees_queue: true,
    });
    let mut view = View::new(options.clone());
    let mut events = Vec::new();
    let mut out = |mut event: Event| {
        enrich.complete(&mut event);
        view.show(event, &mut |event| events.push(event));
    };
    order.flush(|record| join.push(record, &context, &mut out));
    join.finish(&context, &mut out);
    events
}

fn text(events: &[Event], options: Options) -> String {
    let mut out = Vec::new();
    let mut sink = Text::new(&mut out, options);
    for event in events {
        sink.event(event).expect("a vector takes all");
    }
    String::from_utf8(out).expect("text is UTF-8")
}

fn at(columns: Columns) -> Options {
    Options {
        columns,
        ..Options::for_file(TimeZone::UTC)
    }
}

#[test]
fn a_boot_as_text() {
    let events = events(&ViewOptions::default());
    for cells in [80, 120, 200] {
        let text = text(&events, at(Columns::Fixed(cells)));
        insta::assert_snapshot!(format!("boot_{cells}"), text);
    }
    insta::assert_snapshot!("boot_file", text(&events, at(Columns::Unbounded)));
}

#[test]
fn a_boot_as_json() {
    let mut out = Vec::new();
    let mut sink = Json::new(&mut out);
    for event in events(&ViewOptions::default()) {
        sink.event(&event).expect("a vector takes all");
    }
    insta::assert_snapshot!("boot_json", String::from_utf8(out).expect("JSON is UTF-8"));
}

#[test]
fn one_service_of_a_boot_in_every_detail() {
    let options = ViewOptions {
        filter: Filter {
            units: vec!["demo-*.service".to_owned()],
            ..Filter::default()
        },
        redact: Redact::Keys(vec!["STATUS".to_owned()]),
    };
    let verbose = Options {
        is_verbose: true,
        ..at(Columns::Fixed(100))
    };
    insta::assert_snapshot!("boot_service", text(&events(&options), verbose));
}
