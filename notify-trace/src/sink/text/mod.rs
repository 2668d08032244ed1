//! Text for people: a row of columns for each notification, and one for each later fact about it; or,
//! with [`Options::is_verbose`], a paragraph with every fact.
//!
//! Parts of a message are separated by two spaces or a new line. All that comes from outside goes
//! through [`escape_field`](crate::escape::escape_field), which leaves no two spaces together, only
//! assignments contain a `=` outside of quotes, and a part that goes on in a new line is marked: no
//! sender can write what looks like our own words. `row` and `facts` decide what is said,
//! `layout` where it stands, `verbose` writes the paragraphs, `frame` what stands around them, `style`
//! the colours.

pub(crate) mod facts;
pub(crate) mod frame;
mod layout;
pub(crate) mod outcome;
mod row;
mod style;
#[cfg(test)]
mod tests;
pub(crate) mod verbose;
mod who;

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;

use self::layout::{FATE, GAP, Layout, wrap};
use self::row::{Row, Rows};
use self::style::Style;
use super::Sink;
use crate::correlate::outcome::Outcome;
use crate::event::Event;
use crate::words;

/// No line is longer, in characters, where the terminal sets no bound.
pub const COLUMNS: usize = 2000;

/// Most lines of a message on a terminal: what is longer is cut, and shown whole by `-v`.
const MESSAGE_LINES: usize = 6;

/// Which times are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// The time of day, in the time zone of [`Options::zone`].
    #[default]
    Absolute,
    /// The time of day in UTC.
    Utc,
    /// Since tracing began.
    Relative,
    /// Since the row above.
    Delta,
}

/// How wide a line may be.
#[derive(Clone, Copy, Debug)]
pub enum Columns {
    /// As wide as it has to be: for files and pipes.
    Unbounded,
    /// So many cells.
    Fixed(usize),
    /// What the terminal has at the moment; asked for each row.
    Asked(fn() -> Option<usize>),
}

impl Columns {
    pub(in crate::sink) fn now(self) -> Option<usize> {
        match self {
            Self::Unbounded => None,
            Self::Fixed(cells) => Some(cells),
            Self::Asked(ask) => ask(),
        }
    }
}

/// How text is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time zone.
    pub zone: TimeZone,
    /// Which times.
    pub times: Times,
    /// How wide a line may be.
    pub columns: Columns,
    /// With colours.
    pub is_coloured: bool,
    /// Every fact of each event.
    pub is_verbose: bool,
}

impl Options {
    /// For a file: no bound, no colours.
    #[must_use]
    pub const fn for_file(zone: TimeZone) -> Self {
        Self {
            zone,
            times: Times::Absolute,
            columns: Columns::Unbounded,
            is_coloured: false,
            is_verbose: false,
        }
    }
}

/// Writes text.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    options: Options,
    /// The day of the last row: a new one gets a line of its own.
    day: Option<Date>,
    /// When tracing began, and when the last row was, `CLOCK_MONOTONIC`.
    began_ns: Option<u64>,
    last_ns: Option<u64>,
    rows: Rows,
}

impl<W: Write> Text<W> {
    /// Writes to `out`.
    #[must_use]
    pub fn new(out: W, options: Options) -> Self {
        Self {
            out,
            options,
            day: None,
            began_ns: None,
            last_ns: None,
            rows: Rows::new(),
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.options.columns.now())
    }

    /// The time as it is shown, after a line for a new day where there is one.
    fn time(&mut self, time: Timestamp, monotonic_ns: u64, layout: &Layout) -> io::Result<String> {
        let since_ns = match self.options.times {
            Times::Absolute | Times::Utc => {
                let zone = self.zone();
                return self.clock(time, &zone, layout);
            }
            Times::Relative => self.began_ns,
            Times::Delta => self.last_ns.or(self.began_ns),
        };
        self.last_ns = Some(monotonic_ns);
        let ns = monotonic_ns.saturating_sub(since_ns.unwrap_or(monotonic_ns));
        let digits = if layout.has_microseconds { 6 } else { 3 };
        let fraction = ns % 1_000_000_000 / 10_u64.pow(9 - digits);
        let text = format!(
            "+{}.{fraction:0width$}",
            ns / 1_000_000_000,
            width = digits as usize
        );
        Ok(format!("{text:>width$}", width = layout.time()))
    }

    fn zone(&self) -> TimeZone {
        match self.options.times {
            Times::Utc => TimeZone::UTC,
            _ => self.options.zone.clone(),
        }
    }

    fn clock(&mut self, time: Timestamp, zone: &TimeZone, layout: &Layout) -> io::Result<String> {
        let local = time.to_zoned(zone.clone());
        if self.day.is_some_and(|day| day != local.date()) {
            self.comment(&local.date().to_string())?;
        }
        self.day = Some(local.date());
        let format = if layout.has_microseconds {
            "%H:%M:%S%.6f"
        } else {
            "%H:%M:%S%.3f"
        };
        Ok(local.strftime(format).to_string())
    }

    /// A line of our own that is no row.
    fn comment(&mut self, text: &str) -> io::Result<()> {
        let cells = self.layout().width.map(|width| width.saturating_sub(2));
        let text = words::cut(text, COLUMNS);
        let part = layout::Part {
            text,
            style: Style::Quiet,
        };
        for part in wrap(vec![part], cells).into_iter().flatten() {
            // These are our own words, so nobody can make a line of them look like another.
            let text = match part.text.strip_prefix(layout::CONTINUED) {
                Some(rest) => format!("#   {rest}"),
                None => format!("# {}", part.text),
            };
            let line = part.style.paint(&text, self.options.is_coloured);
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    fn comments(&mut self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        lines.into_iter().try_for_each(|line| self.comment(&line))
    }

    /// The names of the columns.
    fn titles(&mut self) -> io::Result<()> {
        let layout = self.layout();
        let time = format!("{:<width$}", "# TIME", width = layout.time());
        let who = layout.column("UNIT OR CONTAINER", layout.who);
        let sender = layout.column("SENDER", layout.sender);
        let receiver = layout.column("RECEIVER", layout.receiver);
        let fate = format!("{:>FATE$}", "DELIVERED");
        let mut line = [time, fate, who, format!("{sender} → {receiver}")].join(GAP);
        if !layout.is_two_lines {
            line.push_str(GAP);
            line.push_str("MESSAGE");
        }
        let line = Style::Quiet.paint(line.trim_end(), self.options.is_coloured);
        writeln!(self.out, "{line}")
    }

    fn row(&mut self, row: Row) -> io::Result<()> {
        let layout = self.layout();
        let time = self.time(row.time, row.monotonic_ns, &layout)?;
        let is_coloured = self.options.is_coloured;
        let paint = |style: Style, text: &str| style.paint(text, is_coloured);
        let fate = paint(row.fate.1, &format!("{:>FATE$}", row.fate.0));
        let who = paint(row.who.1, &layout.column(&row.who.0, layout.who));
        let sender = layout.name_column(&row.sender, layout.sender);
        let (arrow, receiver) = match &row.receiver {
            Some(receiver) if row.is_address => ("→", layout.column(receiver, layout.receiver)),
            Some(receiver) => ("→", layout.name_column(receiver, layout.receiver)),
            None => (" ", layout.column("", layout.receiver)),
        };
        let head = [time, fate, who, format!("{sender} {arrow} {receiver}")].join(GAP);

        let (payload, mut remarks) = (row.payload, row.remarks);
        if let Some(address) = &row.receiver
            && row.is_address
            && layout.width.is_some()
            && address.width() > layout.receiver
        {
            let text = format!("to {address}");
            remarks.insert(
                0,
                layout::Part {
                    text,
                    style: Style::Odd,
                },
            );
        }
        let mut lines = match layout.message() {
            Some(cells) => {
                let mut lines = wrap(payload, Some(cells));
                if lines.len() > MESSAGE_LINES {
                    lines.truncate(MESSAGE_LINES);
                    let left = layout::Part {
                        text: "… (-v shows all of it)".to_owned(),
                        style: Style::Quiet,
                    };
                    lines.push(vec![left]);
                }
                // Remarks go on in the last line if there is room.
                let last = lines.pop().unwrap_or_default();
                lines.extend(wrap(last.into_iter().chain(remarks).collect(), Some(cells)));
                lines
            }
            None => wrap(bounded(payload, &head, &remarks), None),
        };
        let first = if layout.is_two_lines || lines.is_empty() {
            None
        } else {
            Some(lines.remove(0))
        };
        let join = |parts: Vec<layout::Part>| {
            parts
                .iter()
                .map(|part| paint(part.style, &part.text))
                .collect::<Vec<_>>()
                .join(GAP)
        };
        match first {
            Some(first) => writeln!(self.out, "{head}{GAP}{}", join(first))?,
            None => writeln!(self.out, "{}", head.trim_end())?,
        }
        let indent = " ".repeat(layout.message_at());
        for line in lines {
            writeln!(self.out, "{indent}{}", join(line))?;
        }
        Ok(())
    }

    /// Parts on as many lines as they need, the first behind `lead`, the others as far to the right.
    fn block(&mut self, lead: &str, parts: Vec<layout::Part>, indent: usize) -> io::Result<()> {
        let cells = self
            .layout()
            .width
            .map(|width| width.saturating_sub(indent).max(20));
        let is_coloured = self.options.is_coloured;
        let mut lead = lead.to_owned();
        for line in wrap(parts, cells) {
            let text: Vec<String> = line
                .iter()
                .map(|part| part.style.paint(&part.text, is_coloured))
                .collect();
            writeln!(self.out, "{lead}{GAP}{}", text.join(GAP))?;
            lead = " ".repeat(indent - GAP.len());
        }
        Ok(())
    }

    fn paragraph(&mut self, event: &Event, row: &Row) -> io::Result<()> {
        let layout = Layout {
            has_microseconds: true,
            ..self.layout()
        };
        let time = self.time(row.time, row.monotonic_ns, &layout)?;
        let is_coloured = self.options.is_coloured;
        let paint = |style: Style, text: &str| style.paint(text, is_coloured);
        let mut title = vec![
            time,
            paint(row.fate.1, &row.fate.0),
            paint(row.who.1, &row.who.0),
        ];
        title.extend(row.number.map(|number| format!("#{number}")));
        writeln!(self.out, "{}", title.join(GAP))?;
        let cells = layout
            .width
            .map(|width| width.saturating_sub(verbose::INDENT));
        for (name, lines) in verbose::facts(event) {
            let mut name = format!("  {name:<width$}", width = verbose::INDENT - 4);
            for text in lines {
                let part = layout::Part {
                    text,
                    style: Style::Plain,
                };
                for line in wrap(vec![part], cells) {
                    let text: Vec<String> = line.into_iter().map(|part| part.text).collect();
                    writeln!(self.out, "{name}{GAP}{}", text.join(GAP))?;
                    name = " ".repeat(verbose::INDENT - 2);
                }
            }
        }
        writeln!(self.out)
    }
}

/// The payload cut so that the whole line, remarks and all, has at most [`COLUMNS`] characters.
fn bounded(payload: Vec<layout::Part>, head: &str, remarks: &[layout::Part]) -> Vec<layout::Part> {
    let around: usize = remarks
        .iter()
        .map(|part| part.text.chars().count() + GAP.len())
        .sum();
    let room = COLUMNS
        .saturating_sub(head.chars().count() + GAP.len() + around)
        .max(row::PAYLOAD_COLUMNS);
    let texts: Vec<&str> = payload.iter().map(|part| &*part.text).collect();
    let text = texts.join(GAP);
    let mut parts = Vec::new();
    if !text.is_empty() {
        parts.push(layout::Part {
            text: words::cut(text, room),
            style: Style::Plain,
        });
    }
    parts.extend(remarks.iter().cloned());
    parts
}

impl<W: Write> Sink for Text<W> {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Session(session) => {
                self.rows.plan = Some(session.plan.name);
                self.began_ns = Some(session.monotonic_ns);
                let start = session.time.to_zoned(self.zone());
                self.day = Some(start.date());
                self.comments(frame::session(session, &start))?;
                if self.options.is_verbose {
                    return Ok(());
                }
                self.titles()
            }
            Event::View(change) => self.comments(frame::view_change(change)),
            Event::Loss(loss) => {
                let lost = frame::loss(loss);
                self.comment(&format!("LOST since the last such line: {lost}"))
            }
            Event::Summary(summary) => self.comments(frame::summary(summary)),
            _ => match self.rows.of(event) {
                Some(row) if self.options.is_verbose => self.paragraph(event, &row),
                Some(row) => self.row(row),
                None => Ok(()),
            },
        }
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        let layout = self.layout();
        let (at, title, lines) = match outcome {
            Outcome::Verdict(verdict) => (
                verdict.at,
                outcome::verdict_title(verdict),
                outcome::verdict_lines(verdict),
            ),
            Outcome::Relay(relay) => (relay.at, outcome::relay(relay), Vec::new()),
            Outcome::Phase(phase) => (phase.at, outcome::phase(phase), Vec::new()),
            Outcome::Repeats(repeats) => (repeats.at, outcome::repeats(*repeats), Vec::new()),
            Outcome::Again(_) | Outcome::Measure(_) => return Ok(()),
        };
        let time = self.time(at.time, at.monotonic_ns, &layout)?;
        let indent = layout.time() + GAP.len();
        self.block(&time, title, indent)?;
        let lead = " ".repeat(layout.time());
        lines
            .into_iter()
            .try_for_each(|part| self.block(&lead, vec![part], indent))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
