//! Whole recordings, hostile ones too, to what is drawn and to the three outputs.

use jiff::tz::TimeZone;

use super::collect::Collector;
use super::model::{Lane, MarkKind, MarkState, SpanEnd, SpanKind, Timeline};
use super::{html, perfetto, svg};
use crate::correlate::samples::{MS, S, Sample, unit_state};
use crate::event::{Event, UnitState};
use crate::replay::replay;
use crate::sink::{Json, Sink as _};
use crate::view::ViewOptions;
use crate::view::redact::Redact;

/// What can break out of markup, of a script, of a terminal or of a line.
const HOSTILE: [&str; 8] = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "]]><!-- {{script}} {{data}} -->",
    "\" onload=\"alert(1)",
    "' ' \\\" \\",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{202e}drowssap\u{2066}",
    "a\u{2028}b\u{2029}c\u{0}d",
];

fn session(host: &str, time: &str) -> Event {
    let line = format!(
        r#"{{"type":"session","format_version":1,"tool_version":"0","command_line":[],
        "time":"{time}","monotonic_ns":0,"host":"{host}","kernel":"6.12",
        "machine":"x86_64","cpus":1,"ring_bytes":4096,
        "plan":{{"name":"full","reason":"","programs":{{}}}},"rules":[]}}"#
    );
    serde_json::from_str(&line).expect("a session")
}

fn send(sample: Sample) -> Event {
    // Wall time goes with the monotonic clock.
    let mut it = sample.build();
    let by = jiff::SignedDuration::from_nanos(it.monotonic_ns.cast_signed());
    it.time = it.time.checked_add(by).expect("a time");
    Event::Send(Box::new(it))
}

fn collect(collector: &mut Collector, events: &[Event], options: &ViewOptions) {
    let mut lines = Vec::new();
    let mut json = Json::new(&mut lines);
    for event in events {
        json.event(event).expect("a vector takes all");
    }
    drop(json);
    replay(&mut lines.as_slice(), options, true, collector).expect("a recording");
}

fn timeline_of(events: Vec<Event>) -> Timeline {
    with(&ViewOptions::default(), events)
}

fn with(options: &ViewOptions, events: Vec<Event>) -> Timeline {
    let mut all = vec![session("host", "2026-11-24T12:00:00Z")];
    all.extend(events);
    let mut collector = Collector::default();
    collect(&mut collector, &all, options);
    collector.finish(&TimeZone::UTC)
}

fn lane<'a>(timeline: &'a Timeline, name: &str) -> &'a Lane {
    let mut lanes = timeline.sections.iter().flat_map(|it| &it.lanes);
    lanes.find(|lane| lane.name == name).expect("the lane")
}

fn state(at_ns: u64, change: impl FnOnce(&mut UnitState)) -> Event {
    let mut state = unit_state("app.service", at_ns);
    state.inactive_exit_ns = Some(S);
    change(&mut state);
    Event::Unit(Box::new(state))
}

fn starting(at_ns: u64) -> Event {
    state(at_ns, |it| {
        it.active_state = "activating".to_owned();
        it.sub_state = "start".to_owned();
    })
}

type Write = fn(&Timeline, &mut dyn std::io::Write) -> std::io::Result<()>;

fn written(timeline: &Timeline, write: Write) -> String {
    let mut out = Vec::new();
    write(timeline, &mut out).expect("a vector takes all");
    String::from_utf8(out).expect("it is text")
}

#[test]
fn a_start_is_a_bar_from_its_beginning_to_ready() {
    let timeline = timeline_of(vec![
        starting(S + MS),
        send(Sample::new("READY=1").at(3 * S)),
        state(4 * S, |it| it.active_enter_ns = Some(3 * S)),
    ]);
    let lane = lane(&timeline, "app.service");
    let [span] = &lane.spans[..] else {
        panic!("{:?}", lane.spans);
    };
    assert_eq!((span.kind, span.end), (SpanKind::Start, SpanEnd::Done));
    assert_eq!(span.to - span.from, 2_000_100_000);
    assert_eq!(lane.marks[0].kind, MarkKind::Ready);
    assert_eq!(lane.marks[0].took, Some(90_000));
}

#[test]
fn a_message_that_was_refused_has_failed_and_names_its_verdict() {
    let timeline = timeline_of(vec![
        starting(S + MS),
        send(
            Sample::new("READY=1")
                .at(2 * S)
                .from("helper", 101, "app.service")
                .gone(),
        ),
        state(31 * S, |it| {
            it.active_state = "failed".to_owned();
            it.result = Some("timeout".to_owned());
        }),
    ]);
    let lane = lane(&timeline, "app.service");
    assert_eq!(lane.marks[0].state, MarkState::Failed);
    assert_eq!(lane.marks[0].verdicts, [1]);
    assert_eq!(lane.spans[0].end, SpanEnd::Failed);
    let kinds: Vec<&str> = timeline.sections[0]
        .verdicts
        .iter()
        .map(|it| &*it.kind)
        .collect();
    assert_eq!(kinds, ["sender_gone", "never_ready"]);
}

#[test]
fn a_hop_leads_from_the_container_to_the_unit_above_it() {
    let told = Sample::new("READY=1\nSTATUS=up")
        .id(1)
        .at(2 * S)
        .from("app", 300, "box.scope")
        .to("runc", 900, ("runc", 200));
    let sent = Sample::new("READY=1")
        .id(2)
        .at(2 * S + 5 * MS)
        .from("runc", 200, "box.service");
    let timeline = timeline_of(vec![send(told), send(sent)]);
    let section = &timeline.sections[0];
    let [hop] = &section.hops[..] else {
        panic!("{:?}", section.hops);
    };
    assert_eq!((hop.told, hop.sent), (1, 2));
    assert_eq!(section.lanes[hop.from].name, "box.scope");
    assert_eq!(section.lanes[hop.to].name, "box.service");
    assert_eq!(section.lanes[hop.from].parent, Some(hop.to));
    assert!(hop.text.contains("dropped STATUS"), "{}", hop.text);
    let trace = written(&timeline, perfetto::write);
    assert_eq!(trace.matches(r#""ph":"s""#).count(), 1);
    assert_eq!(trace.matches(r#""ph":"f""#).count(), 1);
}

#[test]
fn pings_are_times_alone_until_one_is_late() {
    let mut events = vec![
        state(S, |it| it.watchdog_usec = Some(2_000_000)),
        send(Sample::new("READY=1").id(1).at(2 * S)),
    ];
    for (id, second) in [(2, 3), (3, 4), (4, 5), (5, 9)] {
        events.push(send(Sample::new("WATCHDOG=1").id(id).at(second * S)));
    }
    let timeline = timeline_of(events);
    let lane = lane(&timeline, "app.service");
    assert_eq!(lane.pings.len() + lane.marks.len(), 5);
    let late: Vec<_> = lane
        .marks
        .iter()
        .filter(|it| it.kind == MarkKind::Watchdog)
        .collect();
    assert!(late.iter().all(|it| it.state == MarkState::Warning));
    assert!(!timeline.sections[0].verdicts.is_empty());
}

#[test]
fn what_is_withheld_is_in_no_output() {
    let options = ViewOptions {
        redact: Redact::Keys(vec!["STATUS".to_owned()]),
        ..ViewOptions::default()
    };
    let timeline = with(
        &options,
        vec![send(Sample::new("READY=1\nSTATUS=secret words"))],
    );
    for write in [html::write as Write, svg::write, perfetto::write] {
        let text = written(&timeline, write);
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("withheld"));
    }
}

#[test]
fn sessions_stand_below_each_other_on_one_axis() {
    let mut collector = Collector::default();
    for (host, time) in [
        ("later", "2026-11-24T13:00:00Z"),
        ("earlier", "2026-11-24T12:00:00Z"),
    ] {
        let events = [session(host, time), send(Sample::new("READY=1"))];
        collect(&mut collector, &events, &ViewOptions::default());
    }
    let timeline = collector.finish(&TimeZone::UTC);
    let began: Vec<(&str, i64)> = timeline
        .sections
        .iter()
        .map(|it| (&*it.host, it.began))
        .collect();
    assert_eq!(began, [("earlier", 0), ("later", 3_600_000_000_000)]);
    assert_eq!(timeline.origin.to_string(), "2026-11-24T12:00:00Z");
}

#[test]
fn a_clock_that_is_set_moves_nothing_and_is_told() {
    let mut event = send(Sample::new("READY=1").at(2 * S));
    if let Event::Send(it) = &mut event {
        it.time = "2026-11-24T15:00:02Z".parse().expect("a time");
    }
    let timeline = timeline_of(vec![event]);
    let lane = lane(&timeline, "app.service");
    assert_eq!(lane.marks[0].at, 2_000_000_000);
    assert!(lane.marks[0].clock.is_some());
    assert!(timeline.sections[0].notes[0].contains("180 min"));
}

#[test]
fn no_payload_becomes_markup_or_script() {
    let events = HOSTILE
        .into_iter()
        .zip(1..)
        .map(|(payload, id)| {
            send(
                Sample::new(&format!("STATUS={payload}\nX_{payload}=1"))
                    .id(id)
                    .at(id * S)
                    .from(payload, 100, &format!("{payload}.service")),
            )
        })
        .collect();
    let timeline = timeline_of(events);

    let page = written(&timeline, html::write);
    let empty = written(&timeline_of(Vec::new()), html::write);
    for tag in ["<script", "</script", "<img", "<!--"] {
        let (with, without) = (page.matches(tag).count(), empty.matches(tag).count());
        assert_eq!(with, without, "{tag}");
    }

    let picture = written(&timeline, svg::write);
    for tag in ["<script", "<img", "<!", " onload=\""] {
        assert!(!picture.contains(tag), "{tag}");
    }

    let trace = written(&timeline, perfetto::write);
    serde_json::from_str::<serde_json::Value>(&trace).expect("JSON");
    for text in [&page, &picture, &trace] {
        let is_bare = |c: char| c != '\n' && crate::escape::is_dangerous(c);
        assert_eq!(text.chars().find(|c| is_bare(*c)), None);
    }
}

#[test]
fn the_pages_data_is_the_model() {
    let timeline = timeline_of(vec![send(Sample::new("STATUS=<b>&\u{2028}"))]);
    let page = written(&timeline, html::write);
    let (_, data) = page
        .split_once(r#"<script type="application/json" id="data">"#)
        .expect("it has data");
    let (data, _) = data.split_once("</script>").expect("it ends");
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data, serde_json::to_value(&timeline).expect("JSON"));
}

#[test]
fn the_page_loads_nothing_and_makes_no_markup_of_data() {
    let page = written(&timeline_of(Vec::new()), html::write);
    for word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "http://",
        "https://",
        "url(",
        "@import",
        " src=",
        "href=",
        "unsafe-",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
}

#[test]
fn nothing_recorded_is_drawn_as_nothing() {
    let timeline = Collector::default().finish(&TimeZone::UTC);
    for write in [html::write as Write, svg::write, perfetto::write] {
        assert!(!written(&timeline, write).is_empty());
    }
}
