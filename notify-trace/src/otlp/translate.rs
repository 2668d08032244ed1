//! Recorded lines as what is sent: each event with its log record, and what follows of it.
//!
//! Runs the same correlator as `explain`, over the events as they are taken out of the recording.

use std::collections::VecDeque;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::log;
use super::span::Spans;
use super::value::Attributes;
use crate::correlate::Correlator;
use crate::correlate::outcome::Outcome;
use crate::event::{Event, Session};
use crate::store::Page;

/// An event that was taken out of the recording, and what it becomes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Item {
    /// How many events of the session are taken, this one included.
    pub(super) taken: u64,
    /// Log records: its own, and verdicts that followed of it.
    pub(super) logs: Vec<LogRecord>,
    /// Spans that ended with it.
    pub(super) spans: Vec<Span>,
}

/// Of which kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    pub(super) logs: bool,
    pub(super) spans: bool,
}

/// One session, on its way out.
#[derive(Debug)]
pub(super) struct Translator {
    kinds: Kinds,
    correlator: Correlator,
    spans: Spans,
    /// How many events of it were translated.
    translated: u64,
    /// The correlator has seen it from its beginning.
    is_whole: bool,
}

impl Translator {
    pub(super) fn new(session: &Session, kinds: Kinds) -> Self {
        let mut correlator = Correlator::new();
        // What follows of a beginning is nothing.
        correlator.event(&Event::Session(Box::new(session.clone())), &mut |_| {});
        Self {
            kinds,
            correlator,
            spans: Spans::new(session),
            translated: 0,
            is_whole: true,
        }
    }

    /// Events that were sent before: what came of them was sent, too.
    pub(super) fn prime(&mut self, page: &Page) {
        for line in page.lines.split_inclusive(|byte| *byte == b'\n') {
            if let Ok(event) = serde_json::from_slice::<Event>(line) {
                self.spans.event(&event);
                self.correlator.event(&event, &mut |_| {});
            }
        }
        self.is_whole = page.first == 0 && page.events > 0;
        self.translated = page.first + page.events;
    }

    /// What becomes of each event of a page.
    pub(super) fn page(&mut self, page: &Page) -> VecDeque<Item> {
        self.is_whole &= page.first == self.translated;
        self.translated = page.first;
        let lines = page.lines.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| self.line(line)).collect()
    }

    fn line(&mut self, line: &[u8]) -> Item {
        self.translated += 1;
        let mut item = Item {
            taken: self.translated,
            ..Item::default()
        };
        // What a newer version wrote is for a newer version.
        let Ok(event) = serde_json::from_slice::<Event>(line) else {
            return item;
        };
        if self.kinds.logs {
            item.logs.extend(log::of_event(&event));
        }
        self.spans.event(&event);
        let Self {
            kinds,
            correlator,
            spans,
            translated: _,
            is_whole,
        } = self;
        let mut add = |outcome| add(outcome, *kinds, *is_whole, spans, &mut item);
        correlator.event(&event, &mut add);
        if matches!(event, Event::Summary(_)) {
            // No event will come any more: what follows of that.
            correlator.finish(&mut add);
        }
        item
    }
}

fn add(outcome: Outcome, kinds: Kinds, is_whole: bool, spans: &mut Spans, item: &mut Item) {
    match outcome {
        Outcome::Verdict(verdict) if kinds.logs => {
            item.logs.push(log::of_verdict(&verdict, is_whole));
        }
        Outcome::Measure(measure) if kinds.spans => item.spans.extend(spans.measured(&measure)),
        // Repetitions are counted by the metrics.
        _ => {}
    }
}

/// Who says all this: this run of the agent on this host.
pub(super) fn resource(session: &Session) -> Resource {
    let mut all = Attributes::default();
    let boot_id = session.boot_id.as_deref().unwrap_or_default();
    all.text("service.name", "notify-trace");
    all.text("service.version", &session.tool_version);
    let instance = format!("{boot_id}/{}", session.monotonic_ns);
    all.text("service.instance.id", instance);
    all.text("host.name", &session.host);
    all.text("host.arch", arch(&session.machine));
    all.text("os.type", "linux");
    all.text("os.version", &session.kernel);
    all.maybe_text("notify_trace.boot_id", session.boot_id.clone());
    let plan = crate::words::plan_name(session.plan.name);
    all.text("notify_trace.plan", plan);
    Resource {
        attributes: all.0,
        ..Resource::default()
    }
}

/// As the semantic conventions call it.
fn arch(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What made it.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "notify-trace".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, session, summary};
    use crate::sink::json;

    fn page(first: u64, events: &[Event]) -> Page {
        let mut page = Page {
            session: 1,
            first,
            events: events.len() as u64,
            ..Page::default()
        };
        for event in events {
            json::push_line(&mut page.lines, event).expect("JSON");
        }
        page
    }

    fn translator() -> Translator {
        let Event::Session(session) = session() else {
            panic!("a session")
        };
        let kinds = Kinds {
            logs: true,
            spans: true,
        };
        Translator::new(&session, kinds)
    }

    fn send(id: u64, payload: &str) -> Event {
        Event::Send(Box::new(Sample::new(payload).id(id).at(id * S).build()))
    }

    #[test]
    fn each_event_is_an_item_and_each_reload_a_span() {
        // Conclusions wait for what the manager may still say.
        let events = [
            send(1, "READY=1"),
            send(2, "RELOADING=1\nMONOTONIC_USEC=2000000"),
            send(3, "READY=1"),
            send(60, "STATUS=later"),
        ];
        let mut translator = translator();
        let items = translator.page(&page(0, &events));
        let taken: Vec<u64> = items.iter().map(|it| it.taken).collect();
        assert_eq!(taken, [1, 2, 3, 4]);
        assert!(items.iter().all(|it| it.logs[0].event_name == log::NOTIFY));
        let spans: Vec<&Span> = items.iter().flat_map(|it| &it.spans).collect();
        assert_eq!(spans.len(), 1, "{spans:?}");
        assert_eq!(spans[0].name, "reload app.service");
        // Begun in one run, ended in the next: the beginning is known all the same.
        let mut next = self::translator();
        next.prime(&page(0, &events[..2]));
        let items = next.page(&page(2, &events[2..]));
        assert_eq!((items[0].taken, items[1].spans.len()), (3, 1));
        assert_eq!(items[1].spans[0].span_id, spans[0].span_id);
    }

    #[test]
    fn a_verdict_is_a_log_record_behind_what_it_is_about() {
        let failed = Sample::new("READY=1").failed(111, "ECONNREFUSED").build();
        let mut translator = translator();
        let items = translator.page(&page(0, &[Event::Send(Box::new(failed))]));
        let names: Vec<&str> = items[0].logs.iter().map(|it| &*it.event_name).collect();
        assert_eq!(names, [log::NOTIFY, "systemd.notify.verdict"]);
    }

    #[test]
    fn what_is_no_event_of_this_version_is_taken_and_says_nothing() {
        let mut page = page(5, &[summary("12:00:01", S)]);
        page.lines
            .extend_from_slice(b"{\"type\":\"of_the_future\"}\n");
        page.events += 1;
        let items = translator().page(&page);
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].logs[0].event_name, "notify_trace.summary");
        assert_eq!(items[1].taken, 7);
        assert!(items[1].logs.is_empty());
    }
}
