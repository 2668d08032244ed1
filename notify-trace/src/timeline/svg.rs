//! A static picture: the same lanes as the page, whole, with what went wrong in words below.

use std::io::{self, Write};

use super::axis;
use super::embed::xml;
use super::model::{
    Hop, Lane, Mark, MarkKind, MarkState, Section, SpanEnd, SpanKind, Timeline, VerdictRow,
};
use crate::words;

mod signs;

/// Width of the picture.
const WIDTH: i64 = 1600;
/// Where lanes begin, and end.
const LEFT: i64 = 320;
const RIGHT: i64 = WIDTH - 40;
/// Height of a lane.
const ROW: i64 = 20;
/// Height of what stands above everything, and above the lanes of a session.
const TOP: i64 = 96;
const HEADING: i64 = 58;
/// Most characters of a name, and of a sentence.
const NAME: usize = 34;
const SENTENCE: usize = 220;
/// Height of a line of text.
const LINE: i64 = 18;

/// Writes the picture.
///
/// # Errors
/// If it can't be written.
pub fn write(timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let heights: Vec<i64> = timeline.sections.iter().map(height).collect();
    let height = TOP + heights.iter().sum::<i64>() + 16;
    write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="notify-trace timeline">
<style>{}</style>
<rect class="page" width="{WIDTH}" height="{height}"/>
<text class="title" x="24" y="38">notify-trace timeline</text>
<text class="quiet" x="24" y="60">from {} on, times at UTC{}</text>
"#,
        signs::STYLE,
        xml(&timeline.origin.strftime("%Y-%m-%d").to_string()),
        offset(timeline.zone_seconds),
    )?;
    signs::legend(out, LEFT, 56)?;
    let mut picture = Picture {
        timeline,
        scale: Scale::of(timeline),
        out,
    };
    let mut top = TOP;
    for (section, height) in timeline.sections.iter().zip(heights) {
        picture.section(section, top)?;
        top += height;
    }
    writeln!(picture.out, "</svg>")
}

/// `+01:00`.
fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn height(section: &Section) -> i64 {
    let rows = count(section.lanes.len()) * ROW;
    let words = count(section.notes.len()) + count(section.verdicts.len()) * 2;
    HEADING + rows + 28 + words * LINE + 24
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Times to places.
#[derive(Clone, Copy, Debug)]
struct Scale {
    length: i64,
}

impl Scale {
    /// A little is left at the end, for what happens last.
    fn of(timeline: &Timeline) -> Self {
        let end = timeline.end.max(1_000_000);
        Self {
            length: end.saturating_add(end / 100),
        }
    }

    /// In tenths of a unit, so that it is exact enough and the same everywhere.
    fn place(self, at: i64) -> f64 {
        let tenths = i128::from((RIGHT - LEFT) * 10) * i128::from(at) / i128::from(self.length);
        let tenths = i32::try_from(tenths).unwrap_or(i32::MAX);
        let left = i32::try_from(LEFT).unwrap_or(0);
        f64::from(left) + f64::from(tenths) / 10.0
    }
}

struct Picture<'a> {
    timeline: &'a Timeline,
    scale: Scale,
    out: &'a mut dyn Write,
}

impl Picture<'_> {
    fn section(&mut self, section: &Section, top: i64) -> io::Result<()> {
        let lanes = top + HEADING;
        let bottom = lanes + count(section.lanes.len()) * ROW;
        let host = words::cut(&section.host, 60);
        writeln!(
            self.out,
            r#"<text class="heading" x="24" y="{}">{}</text><text class="quiet" x="24" y="{}">Linux {}{}</text>"#,
            top + 22,
            xml(&host),
            top + 40,
            xml(&words::cut(&section.kernel, 36)),
            xml(&section.boot.as_deref().map_or_else(String::new, |boot| {
                format!(", boot {}", words::cut(boot, 9))
            })),
        )?;
        self.axis(lanes, bottom)?;
        for (number, lane) in (0..).zip(&section.lanes) {
            let y = lanes + number * ROW;
            if number % 2 == 0 {
                writeln!(
                    self.out,
                    r#"<rect class="band" x="24" y="{y}" width="{}" height="{ROW}"/>"#,
                    RIGHT - 24
                )?;
            }
            self.lane(section, lane, y)?;
        }
        for hop in &section.hops {
            self.hop(hop, lanes)?;
        }
        for verdict in &section.verdicts {
            self.flag(verdict, lanes + count(verdict.lane) * ROW)?;
        }
        self.words(section, bottom + 28)
    }

    fn axis(&mut self, top: i64, bottom: i64) -> io::Result<()> {
        let step = axis::step(self.scale.length, 14);
        let (origin, zone) = (self.timeline.origin, self.timeline.zone_seconds);
        for at in axis::ticks(origin, zone, self.scale.length, step) {
            let x = self.scale.place(at);
            writeln!(
                self.out,
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{}" y2="{bottom}"/><text class="tick" x="{x:.1}" y="{}">{}</text>"#,
                top - 6,
                top - 12,
                axis::label(origin, zone, at, step)
            )?;
        }
        Ok(())
    }

    fn lane(&mut self, section: &Section, lane: &Lane, y: i64) -> io::Result<()> {
        let middle = y + ROW / 2;
        let indent = if lane.parent.is_some() { 40 } else { 24 };
        writeln!(
            self.out,
            r#"<text class="name" x="{indent}" y="{}">{}<title>{}</title></text>"#,
            middle + 4,
            xml(&words::cut(&lane.name, NAME)),
            xml(&[vec![lane.name.clone()], lane.notes.clone()]
                .concat()
                .join("\n"))
        )?;
        if let Some((class, text)) = ready(section, lane) {
            writeln!(
                self.out,
                r#"<text class="took {class}" x="{}" y="{}">{}</text>"#,
                LEFT - 12,
                middle + 4,
                xml(&text)
            )?;
        }
        for span in &lane.spans {
            let (from, to) = (self.scale.place(span.from), self.scale.place(span.to));
            let class = match (span.kind, span.end) {
                (SpanKind::Start, SpanEnd::Failed) => "start failed",
                (SpanKind::Start | SpanKind::Reload, SpanEnd::Open) => "open",
                (SpanKind::Start, _) if span.to - span.from >= section.slow_ns => "start slow",
                (SpanKind::Start, _) => "start",
                (SpanKind::Reload, _) => "reload",
                (SpanKind::Stop, _) => "stop",
            };
            writeln!(
                self.out,
                r#"<rect class="{class}" x="{from:.1}" y="{}" width="{:.1}" height="10" rx="2"><title>{}</title></rect>"#,
                middle - 5,
                (to - from).max(1.5),
                xml(&format!("{}: {}", lane.name, span.text))
            )?;
        }
        for at in &lane.pings {
            let x = self.scale.place(*at);
            writeln!(
                self.out,
                r#"<line class="ping" x1="{x:.1}" x2="{x:.1}" y1="{}" y2="{}"/>"#,
                middle - 3,
                middle + 3
            )?;
        }
        self.marks(lane, middle)?;
        let left_out = lane.pings_left_out + lane.marks_left_out;
        if left_out > 0 {
            writeln!(
                self.out,
                r#"<text class="more" x="{}" y="{}">+{left_out} not drawn</text>"#,
                RIGHT - 4,
                middle + 4
            )?;
        }
        Ok(())
    }

    /// Signs that matter most come last, on top; a lesser one that would hide behind them is left out: here
    /// nobody can zoom in.
    fn marks(&mut self, lane: &Lane, middle: i64) -> io::Result<()> {
        let mut placed: Vec<f64> = Vec::new();
        let mut drawn: Vec<(f64, &Mark)> = Vec::new();
        for wanted in [Rank::Failed, Rank::Major, Rank::Minor] {
            for mark in lane.marks.iter().filter(|mark| rank(mark) == wanted) {
                let x = self.scale.place(mark.at);
                let is_hidden = wanted == Rank::Minor && is_near(&placed, x);
                if !is_hidden {
                    placed.push(x);
                    drawn.push((x, mark));
                }
            }
            placed.sort_by(f64::total_cmp);
        }
        for (x, mark) in drawn.into_iter().rev() {
            let (origin, zone) = (self.timeline.origin, self.timeline.zone_seconds);
            let when = axis::label(origin, zone, mark.at, 1);
            let mut title = format!("{when}  {}", mark.lines.join("  "));
            if let Some(fate) = &mark.fate {
                title = format!("{title}  {fate}");
            }
            signs::mark(self.out, x, middle, mark, &title)?;
        }
        Ok(())
    }

    fn hop(&mut self, hop: &Hop, lanes: i64) -> io::Result<()> {
        let (from, to) = (self.scale.place(hop.from_at), self.scale.place(hop.to_at));
        let middle = |lane: usize| lanes + count(lane) * ROW + ROW / 2;
        let (begin, end) = (middle(hop.from), middle(hop.to));
        let side = if end < begin { 6 } else { -6 };
        writeln!(
            self.out,
            r#"<path class="hop" d="M{from:.1} {} C{from:.1} {} {to:.1} {} {to:.1} {}" marker-end="url(#arrow)"><title>{}</title></path>"#,
            begin - side,
            begin - side * 2,
            end + side * 2,
            end + side,
            xml(&format!("#{} to #{}: {}", hop.told, hop.sent, hop.text))
        )
    }

    /// What went wrong; a triangle, where no message stands for it.
    fn flag(&mut self, verdict: &VerdictRow, y: i64) -> io::Result<()> {
        let x = self.scale.place(verdict.at);
        let class = if verdict.is_loss { "bad" } else { "odd" };
        if verdict.about.is_empty() {
            writeln!(
                self.out,
                r#"<path class="{class}" d="M{x:.1} {} l6 10 h-12 z"/>"#,
                y + 4
            )?;
        }
        writeln!(
            self.out,
            r#"<text class="flag {class}" x="{:.1}" y="{}">✗{}<title>{}</title></text>"#,
            x + 8.0,
            y + 9,
            verdict.number,
            xml(&verdict.what)
        )
    }

    fn words(&mut self, section: &Section, top: i64) -> io::Result<()> {
        let mut y = top;
        for note in &section.notes {
            let note = words::cut(note, SENTENCE);
            writeln!(
                self.out,
                r#"<text class="quiet" x="24" y="{y}">{}</text>"#,
                xml(&note)
            )?;
            y += LINE;
        }
        for verdict in &section.verdicts {
            let (origin, zone) = (self.timeline.origin, self.timeline.zone_seconds);
            let when = axis::label(origin, zone, verdict.at, 1_000_000);
            let class = if verdict.is_loss { "bad" } else { "odd" };
            let again = match verdict.repeats {
                0 => String::new(),
                times => format!(" ({} more)", words::count(times, "time", "times")),
            };
            let lane = section
                .lanes
                .get(verdict.lane)
                .map_or("", |lane| &lane.name);
            writeln!(
                self.out,
                r#"<text class="name" x="24" y="{y}"><tspan class="{class}">✗{} {}</tspan> <tspan class="quiet">{when}, {}</tspan> {}</text>"#,
                verdict.number,
                xml(&verdict.kind),
                xml(&verdict.certainty),
                xml(&words::cut(format!("{lane}{again}"), 100)),
            )?;
            let helps = verdict
                .remedy
                .map_or_else(String::new, |it| format!("; helps: {it}"));
            writeln!(
                self.out,
                r#"<text class="quiet" x="48" y="{}">{}</text>"#,
                y + LINE - 2,
                xml(&words::cut(format!("{}{helps}", verdict.what), SENTENCE))
            )?;
            y += LINE * 2;
        }
        Ok(())
    }
}

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    Failed,
    Major,
    Minor,
}

fn rank(mark: &Mark) -> Rank {
    match (mark.state, mark.kind) {
        (MarkState::Failed, _) => Rank::Failed,
        (MarkState::Ok, MarkKind::Ready | MarkKind::Reloading | MarkKind::Stopping)
        | (MarkState::Open | MarkState::Warning, _) => Rank::Major,
        (MarkState::Ok, _) => Rank::Minor,
    }
}

/// Whether there is a place within a sign's width; places are sorted but for those of the same rank.
fn is_near(placed: &[f64], x: f64) -> bool {
    const SIGN: f64 = 7.0;
    // The last are of the same rank and in order, so that the very last is the nearest of them.
    let last = placed.last().is_some_and(|last| (last - x).abs() < SIGN);
    let at = placed.partition_point(|place| *place < x - SIGN);
    last || placed.get(at).is_some_and(|place| *place < x + SIGN)
}

/// How long a lane's first start took, and whether that is as it should be.
fn ready(section: &Section, lane: &Lane) -> Option<(&'static str, String)> {
    let start = lane.spans.iter().find(|it| it.kind == SpanKind::Start)?;
    let took = start.to - start.from;
    let text = words::duration(u64::try_from(took).unwrap_or(0));
    Some(match start.end {
        SpanEnd::Failed => ("bad", "never".to_owned()),
        SpanEnd::Open => ("bad", format!("> {text}")),
        SpanEnd::Done if took >= section.slow_ns => ("odd", text),
        SpanEnd::Done => ("", text),
    })
}
