//! A trace in the format that Chrome made and Perfetto reads ("Trace Event Format"): a process for each
//! lane, its phases as complete events, its messages as instants, its hops as flows.
//!
//! Perfetto draws flows between complete events only, so that both ends of a hop are one as well.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::model::{Lane, Mark, Section, SpanEnd, SpanKind, Timeline};

/// Threads of each lane.
const THREADS: [(u64, &str); 4] = [(1, "phases"), (2, "messages"), (3, "hops"), (4, "verdicts")];

/// The shortest slice that can be seen and clicked, in nanoseconds.
const SHORTEST: i64 = 1_000;

/// Writes the trace.
///
/// # Errors
/// If it can't be written.
pub fn write(timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let mut trace = Trace {
        timeline,
        out,
        is_first: true,
        process: 0,
        flow: 0,
    };
    trace.out.write_all(b"{\"traceEvents\":[\n")?;
    for section in &timeline.sections {
        trace.section(section)?;
    }
    let other = json!({
        "producer": "notify-trace timeline",
        "time_0": timeline.origin.to_string(),
    });
    write!(
        trace.out,
        "\n],\"displayTimeUnit\":\"ms\",\"otherData\":{other}}}\n"
    )
}

struct Trace<'a> {
    timeline: &'a Timeline,
    out: &'a mut dyn Write,
    is_first: bool,
    process: u64,
    flow: u64,
}

/// An event of the format; times are microseconds.
#[derive(Serialize)]
struct Item<'a> {
    name: &'a str,
    ph: &'a str,
    pid: u64,
    tid: u64,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'a str>,
    /// Of an instant: which thread it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// Of the end of a flow: it ends in the slice around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

impl<'a> Item<'a> {
    fn new(name: &'a str, ph: &'a str, pid: u64, tid: u64, at: i64) -> Self {
        Self {
            name,
            ph,
            pid,
            tid,
            ts: microseconds(at),
            dur: None,
            cat: None,
            s: None,
            id: None,
            bp: None,
            args: Map::new(),
        }
    }

    fn arg(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.args.insert(name.to_owned(), value.into());
        self
    }
}

impl Trace<'_> {
    fn section(&mut self, section: &Section) -> io::Result<()> {
        let first = self.process + 1;
        for lane in &section.lanes {
            self.process += 1;
            self.lane(section, lane, self.process)?;
        }
        let process = |lane: usize| first + u64::try_from(lane).unwrap_or(0);
        for verdict in &section.verdicts {
            let mut item = Item::new(&verdict.kind, "i", process(verdict.lane), 4, verdict.at)
                .arg("what", verdict.what.clone())
                .arg("certainty", verdict.certainty.clone())
                .arg("seen", verdict.evidence.join("\n"));
            item.s = Some("t");
            item = match verdict.rule {
                Some(rule) => item.arg("rule", rule),
                None => item,
            };
            item = match verdict.remedy {
                Some(remedy) => item.arg("helps", remedy),
                None => item,
            };
            if verdict.repeats > 0 {
                item = item.arg("times more", verdict.repeats);
            }
            self.write(&item)?;
        }
        self.hops(section, process)
    }

    fn lane(&mut self, section: &Section, lane: &Lane, process: u64) -> io::Result<()> {
        let name = if self.timeline.sections.len() > 1 {
            format!("{} on {}", lane.name, section.host)
        } else {
            lane.name.clone()
        };
        self.write(&Item::new("process_name", "M", process, 0, 0).arg("name", name))?;
        let order = Item::new("process_sort_index", "M", process, 0, 0);
        self.write(&order.arg("sort_index", process))?;
        for (thread, name) in THREADS {
            self.write(&Item::new("thread_name", "M", process, thread, 0).arg("name", name))?;
        }
        for span in &lane.spans {
            let name = match (span.kind, span.end) {
                (SpanKind::Start, SpanEnd::Failed) => "start FAILED",
                (SpanKind::Start, _) => "start",
                (SpanKind::Reload, _) => "reload",
                (SpanKind::Stop, _) => "stop",
            };
            let mut item = Item::new(name, "X", process, 1, span.from).arg("what", &*span.text);
            item.dur = Some(microseconds((span.to - span.from).max(SHORTEST)));
            self.write(&item)?;
        }
        for mark in &lane.marks {
            self.mark(mark, process)?;
        }
        for at in &lane.pings {
            let mut item = Item::new("WATCHDOG=1", "i", process, 2, *at);
            item.s = Some("t");
            self.write(&item)?;
        }
        let left_out = lane.pings_left_out + lane.marks_left_out;
        if left_out > 0 {
            let name = format!("{left_out} more messages are not in this trace");
            let mut item = Item::new(&name, "i", process, 2, lane.first);
            item.s = Some("t");
            self.write(&item)?;
        }
        Ok(())
    }

    fn mark(&mut self, mark: &Mark, process: u64) -> io::Result<()> {
        let name = title(mark);
        let mut item = Item::new(&name, "i", process, 2, mark.at);
        item.s = Some("t");
        item = match mark.id {
            Some(id) => item.arg("number", id),
            None => item,
        };
        item = item.arg("message", mark.lines.join("\n"));
        item = match &mark.fate {
            Some(fate) => item.arg("fate", &**fate),
            None => item,
        };
        for fact in mark.facts.iter().map(|at| &self.timeline.facts[*at]) {
            item = item.arg(&fact.name, &*fact.text);
            for (name, text) in &fact.more {
                item = item.arg(&format!("{}: {name}", fact.name), &**text);
            }
        }
        self.write(&item)
    }

    fn hops(&mut self, section: &Section, process: impl Fn(usize) -> u64) -> io::Result<()> {
        // A message that is passed on may have been passed on to its sender: one slice for both.
        let mut slices: HashMap<(usize, u64), i64> = HashMap::new();
        for hop in &section.hops {
            let ends = [
                (hop.from, hop.told, hop.from_at),
                (hop.to, hop.sent, hop.to_at),
            ];
            for (lane, id, at) in ends {
                slices
                    .entry((lane, id))
                    .and_modify(|end| *end = (*end).max(at))
                    .or_insert(at);
            }
        }
        let mut sorted: Vec<_> = slices.into_iter().collect();
        sorted.sort_unstable();
        let mut begins = HashMap::new();
        for ((lane, id), end) in sorted {
            let marks = &section.lanes[lane].marks;
            let mark = marks.iter().find(|mark| mark.id == Some(id));
            let from = mark.map_or(end, |mark| mark.at);
            let took = mark.and_then(|mark| mark.took).unwrap_or(0);
            let took = i64::try_from(took).unwrap_or(0).max(end - from);
            let name = mark.map_or_else(|| format!("#{id}"), title);
            let mut item = Item::new(&name, "X", process(lane), 3, from).arg("number", id);
            item.dur = Some(microseconds(took.max(SHORTEST)));
            self.write(&item)?;
            begins.insert((lane, id), from);
        }
        for hop in &section.hops {
            self.flow += 1;
            let ends = [
                ("s", hop.from, hop.told, None),
                ("f", hop.to, hop.sent, Some("e")),
            ];
            for (phase, lane, id, bp) in ends {
                let at = begins.get(&(lane, id)).copied().unwrap_or(hop.from_at);
                let mut item =
                    Item::new("hop", phase, process(lane), 3, at).arg("by", hop.text.clone());
                item.cat = Some("hop");
                item.id = Some(self.flow);
                item.bp = bp;
                self.write(&item)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, item: &Item<'_>) -> io::Result<()> {
        if !self.is_first {
            self.out.write_all(b",\n")?;
        }
        self.is_first = false;
        let line = serde_json::to_string(item).map_err(io::Error::other)?;
        self.out.write_all(line.as_bytes())
    }
}

/// A message in a few words; what went wrong first.
fn title(mark: &Mark) -> String {
    use super::model::MarkState;
    let lines = mark.lines.join("  ");
    let lines = crate::words::cut(lines, 80);
    match (mark.state, lines.is_empty()) {
        (MarkState::Failed, false) => format!("FAILED {lines}"),
        (MarkState::Failed, true) => "FAILED".to_owned(),
        (_, false) => lines,
        (_, true) => "(no text)".to_owned(),
    }
}

/// Nanoseconds as microseconds; a double has the nanoseconds of a hundred days.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn microseconds(ns: i64) -> f64 {
    ns as f64 / 1_000.0
}
