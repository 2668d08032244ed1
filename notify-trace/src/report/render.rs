//! A report as text, JSON or CSV.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};

use super::by::{By, Value};
use super::histogram::draw;
use super::table::Table;
use super::{Line, Numbers, Report};
use crate::escape::{escape_field, harmless_but};
use crate::study::sql::PER_CENTS;
use crate::study::{Source, Study};
use crate::words;

/// How text is written.
#[derive(Clone, Debug)]
pub struct Style {
    /// Cells of a line, if it has an end.
    pub columns: Option<usize>,
    /// For times of day.
    pub zone: TimeZone,
    /// Distributions are drawn, too.
    pub with_histogram: bool,
}

impl Report {
    /// For people: a table for each measure, the largest first, margins the smallest first.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        if self.lines.is_empty() {
            writeln!(
                out,
                "Nothing of this was recorded: {}.",
                absence(self.study)
            )?;
        } else if matches!(self.study.source(), Source::Verdicts) {
            self.causes(out, style)?;
        } else {
            self.tables(out, style)?;
        }
        for missing in &self.missing {
            for (number, line) in words::wrap(missing, style.columns.unwrap_or(100).max(20))
                .iter()
                .enumerate()
            {
                writeln!(out, "{}{line}", if number == 0 { "! " } else { "  " })?;
            }
        }
        Ok(())
    }

    fn tables(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let mut measures: Vec<&str> = Vec::new();
        for line in &self.lines {
            if let Numbers::Times { measure, .. } = line.numbers
                && !measures.contains(&measure)
            {
                measures.push(measure);
            }
        }
        measures.sort_by_key(|measure| place(self.study, measure));
        for (number, measure) in measures.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            writeln!(out, "{}:", title(self.study, measure))?;
            self.table(out, measure, style)?;
        }
        Ok(())
    }

    fn table(&self, out: &mut dyn Write, measure: &str, style: &Style) -> io::Result<()> {
        let is_margin = measure == "margin";
        let mut lines: Vec<(&Line, &crate::study::quantile::Summary)> = self
            .lines
            .iter()
            .filter_map(|line| match &line.numbers {
                Numbers::Times {
                    measure: of,
                    summary,
                } if *of == measure => Some((line, summary)),
                _ => None,
            })
            .collect();
        if self.by.iter().any(|by| by.is_of_time()) {
            lines.sort_by(|one, other| one.0.key.cmp(&other.0.key));
        } else if is_margin {
            lines.sort_by(|one, other| (one.1.min, &one.0.key).cmp(&(other.1.min, &other.0.key)));
        } else {
            lines.sort_by(|one, other| {
                let of = |summary: &crate::study::quantile::Summary| summary.quantiles[1];
                (of(other.1), &one.0.key).cmp(&(of(one.1), &other.0.key))
            });
        }
        let mut table = self.keyed();
        table.column("N", true);
        table.column("MIN", true);
        // The lowest are what margins are about.
        let shown: Vec<usize> = (0..PER_CENTS.len())
            .filter(|at| PER_CENTS[*at] >= 50 || is_margin)
            .collect();
        for at in &shown {
            table.column(&format!("P{}", PER_CENTS[*at]), true);
        }
        table.column("MAX", true);
        let value = |value: i64| amount(self.study, value);
        for (line, summary) in &lines {
            let mut cells = self.key(line);
            cells.push(summary.n.to_string());
            cells.push(value(summary.min));
            cells.extend(shown.iter().map(|at| value(summary.quantiles[*at])));
            cells.push(value(summary.max));
            table.rows.push(cells);
        }
        table.write(out, style.columns)?;
        if style.with_histogram {
            // One value has no distribution.
            for (line, summary) in lines.iter().filter(|(_, summary)| summary.n > 1) {
                writeln!(out, "\n{}:", self.key(line).join("  "))?;
                for bar in draw(&summary.buckets, &value) {
                    writeln!(out, "  {bar}")?;
                }
            }
        }
        Ok(())
    }

    fn causes(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let mut table = self.keyed();
        for heading in ["N", "UNITS"] {
            table.column(heading, true);
        }
        for heading in ["FIRST", "LAST"] {
            table.column(heading, false);
        }
        let mut lines: Vec<_> = self
            .lines
            .iter()
            .filter_map(|line| match &line.numbers {
                Numbers::Verdicts(causes) => Some((line, causes)),
                Numbers::Times { .. } => None,
            })
            .collect();
        lines.sort_by(|one, other| (other.1.n, &one.0.key).cmp(&(one.1.n, &other.0.key)));
        let time = |at_us: i64| {
            let at = Timestamp::from_microsecond(at_us).unwrap_or_default();
            let at = at.to_zoned(style.zone.clone());
            at.strftime("%Y-%m-%d %H:%M:%S").to_string()
        };
        for (line, causes) in lines {
            let mut cells = self.key(line);
            cells.push(causes.n.to_string());
            cells.push(causes.units.to_string());
            cells.push(time(causes.first_us));
            cells.push(time(causes.last_us));
            table.rows.push(cells);
        }
        table.write(out, style.columns)
    }

    /// A table with the columns that tell groups apart.
    fn keyed(&self) -> Table {
        let mut table = Table::default();
        for heading in headings(&self.by) {
            table.column(&heading, false);
        }
        table
    }

    fn key(&self, line: &Line) -> Vec<String> {
        cells(&self.by, &line.key)
    }

    /// One JSON document: numbers as they are, in nanoseconds.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut rows: Vec<&Line> = self.lines.iter().collect();
        rows.sort_by(|one, other| one.key.cmp(&other.key));
        let rows: Vec<Json> = rows.into_iter().map(|line| self.object(line)).collect();
        let document = json!({
            "study": self.study.name(),
            "rows": rows,
            "missing": self.missing,
        });
        crate::sink::json::write_line(&mut &mut *out, &document)
    }

    fn object(&self, line: &Line) -> Json {
        let mut object = key_object(&self.by, &line.key);
        for (name, value) in numbers(line) {
            object.insert(name, value);
        }
        Json::Object(object)
    }

    /// A row for each line, with headings (RFC 4180).
    ///
    /// # Errors
    /// If it can't be written.
    pub fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let names = self.by.iter().flat_map(|by| by.columns());
        let mut headings: Vec<String> = names.map(|name| (*name).to_owned()).collect();
        let example = self.lines.first().map(numbers).unwrap_or_default();
        headings.extend(example.into_iter().map(|(name, _)| name));
        writeln!(out, "{}", headings.join(","))?;
        let mut lines: Vec<&Line> = self.lines.iter().collect();
        lines.sort_by(|one, other| one.key.cmp(&other.key));
        for line in lines {
            let keys = line.key.iter().map(|value| csv_cell(&json!(value)));
            let values = numbers(line).into_iter().map(|(_, value)| csv_cell(&value));
            let cells: Vec<String> = keys.chain(values).collect();
            writeln!(out, "{}", cells.join(","))?;
        }
        Ok(())
    }
}

/// Headings of the columns that tell groups apart, as [`cells`] fills them.
pub(crate) fn headings(by: &[By]) -> Vec<String> {
    by.iter()
        .flat_map(|by| match by {
            // In one: unit (user 1000).
            By::Unit => vec!["UNIT".to_owned()],
            By::Cause => vec!["CAUSE".to_owned(), "CERTAINTY".to_owned()],
            by => vec![by.name().to_uppercase()],
        })
        .collect()
}

/// The columns that tell a group apart, by their names.
pub(crate) fn key_object(by: &[By], key: &[Value]) -> Map<String, Json> {
    let names = by.iter().flat_map(|by| by.columns());
    names
        .zip(key)
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect()
}

/// The numbers of a line with their names, as the views have them.
fn numbers(line: &Line) -> Vec<(String, Json)> {
    match &line.numbers {
        Numbers::Times { measure, summary } => {
            let mut all = vec![
                ("measure".to_owned(), json!(measure)),
                ("n".to_owned(), json!(summary.n)),
                ("min".to_owned(), json!(summary.min)),
            ];
            for (per_cent, value) in PER_CENTS.iter().zip(summary.quantiles) {
                all.push((format!("p{per_cent}"), json!(value)));
            }
            all.push(("max".to_owned(), json!(summary.max)));
            all
        }
        Numbers::Verdicts(causes) => vec![
            ("n".to_owned(), json!(causes.n)),
            ("units".to_owned(), json!(causes.units)),
            ("first_us".to_owned(), json!(causes.first_us)),
            ("last_us".to_owned(), json!(causes.last_us)),
        ],
    }
}

/// The cells that tell a group apart: a unit and its user in one.
#[must_use]
pub fn cells(by: &[By], key: &[Value]) -> Vec<String> {
    let mut values = key.iter();
    let mut cells = Vec::new();
    for by in by {
        let mut some = values.by_ref().take(by.columns().len()).map(word);
        if *by == By::Unit {
            let unit = some.next().flatten();
            let uid = some.next().flatten();
            let unit = unit.unwrap_or_else(|| "(unknown)".to_owned());
            cells.push(match uid {
                Some(uid) => format!("{unit} (user {uid})"),
                None => unit,
            });
        } else {
            cells.extend(some.map(|it| it.unwrap_or_else(|| "-".to_owned())));
        }
    }
    cells
}

/// A cell of CSV (RFC 4180); what isn't known is empty.
#[must_use]
pub fn csv_cell(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => quoted(text),
        value => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    // Names may be of a recording of anybody; CSV is looked at on terminals, too.
    let text = harmless_but(text, |it| matches!(it, '\n' | '\r'));
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::Absent => None,
        Value::Number(number) => Some(number.to_string()),
        Value::Text(text) => Some(escape_field(text.as_bytes()).to_string()),
    }
}

/// A value in words: a time, or a number.
#[must_use]
pub fn amount(study: Study, value: i64) -> String {
    if matches!(study.source(), Source::Minutes) {
        return value.to_string();
    }
    let words = short(value.unsigned_abs());
    if value < 0 {
        format!("-{words}")
    } else {
        words
    }
}

/// A time in few cells: `1.4 ms`, `59.9 s`, `1m59s`, `2h03m`, `3d04h`.
fn short(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    match seconds {
        0..60 => words::duration(ns),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn place(study: Study, measure: &str) -> usize {
    match study.source() {
        Source::Times(measures) => measures.iter().position(|(name, _)| *name == measure),
        Source::Minutes | Source::Verdicts => None,
    }
    .unwrap_or(0)
}

/// What a table shows.
fn title(study: Study, measure: &str) -> &'static str {
    match (study, measure) {
        (Study::Startup, "activation") => {
            "From the start of the unit, as its manager says, to READY=1"
        }
        (Study::Startup, _) => "From the start of the main process to READY=1",
        (Study::Reload, _) => "From RELOADING=1 to READY=1",
        (Study::Stop, _) => "From STOPPING=1 to the exit of the process that said so",
        (Study::Watchdog, "interval") => "From one WATCHDOG=1 to the next",
        (Study::Watchdog, "jitter") => "How much an interval differs from the one before",
        (Study::Watchdog, _) => "What was left of WatchdogSec= when WATCHDOG=1 was taken",
        (Study::Delivery, _) => "From the queue to the receiver",
        (Study::Blocked, _) => "How long senders waited for room in the queue",
        (Study::Relay, _) => "From what a proxy was told to what it sent because of it",
        (Study::Extend, "asked") => "What EXTEND_TIMEOUT_USEC= asked for",
        (Study::Extend, _) => "What was left of it when the next message came",
        (Study::Status, _) => "How long a STATUS= lasted",
        (Study::Rate, _) => "Notifications in a minute that had any",
        (Study::Failed, _) => "Verdicts",
    }
}

/// Why there may be nothing.
fn absence(study: Study) -> &'static str {
    match study {
        Study::Startup => {
            "no READY=1 of a start that began after the recording did, or that a manager was asked about"
        }
        Study::Reload => "no RELOADING=1 that READY=1 followed",
        Study::Stop => "no STOPPING=1 whose sender exited meanwhile",
        Study::Watchdog => "no two WATCHDOG=1 of a unit",
        Study::Delivery => "no notification was taken, or the plan does not see when it was queued",
        Study::Blocked => "no sender had to wait",
        Study::Relay => "no notification was passed on by a proxy",
        Study::Extend => "no EXTEND_TIMEOUT_USEC=",
        Study::Status => "no STATUS= that another one followed",
        Study::Rate => "no notification",
        Study::Failed => "no verdict",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_few_cells() {
        const S: i64 = 1_000_000_000;
        let of = |value| amount(Study::Startup, value);
        assert_eq!(of(1_400_000), "1.4 ms");
        assert_eq!(of(119 * S), "1m59s");
        assert_eq!(of(-7_380 * S), "-2h03m");
        assert_eq!(of(4 * 86_400 * S), "4d00h");
        assert_eq!(amount(Study::Rate, 12), "12");
    }

    #[test]
    fn csv_quotes_what_has_to_be_quoted_and_no_name_acts_on_a_terminal() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted(r"dev-disk\x2d1.device"), r"dev-disk\x2d1.device");
        assert_eq!(quoted("\u{1b}[2J\u{202e}"), "\\u{1b}[2J\\u{202e}");
    }
}
