//! `compare`: two sets of recordings.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use super::exit::Exit;
use super::output::columns_of_output;
use super::report::{Form, print};
use super::selection::SelectionArgs;
use crate::escape;
use crate::report::compare::{Comparison, FEWEST, Line, Question, Shown, compare};
use crate::report::render::{amount, cells, csv_cell, headings, key_object};
use crate::report::table::Table;
use crate::report::{By, Inputs};
use crate::study::{Source, Study};
use crate::words;

/// For `--help`.
pub const EXAMPLES: &str = "\
Examples:
  notify-trace compare before.ntrec after.ntrec
      which units start slower, or faster, than before
  notify-trace compare boots-6.12/ boots-7/ --measure process --fail-if-slower 10%
      all recordings of two folders; exit code 8 if a unit starts slower by a tenth or more
  notify-trace compare a.ntrec,b.ntrec c.ntrec --study reload -o json
      reloads, several files on a side, for a program";

/// Cells of a line that has room for intervals.
const WIDE: usize = 100;

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The first side: a recording, several with commas between, or a folder of *.ntrec
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,

    /// The second side
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,

    /// Which times
    #[arg(long, value_enum, default_value_t = Study::Startup)]
    pub study: Study,

    /// Which of the study's measures, as its table names them; by default the first
    #[arg(long, value_name = "NAME")]
    pub measure: Option<String>,

    /// What the groups are; by default what the study is about
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',', value_enum)]
    pub by: Vec<By>,

    /// How sure all that is said to differ must be, together
    #[arg(long, value_name = "PER CENT", value_parser = parse_confidence, default_value = "95%")]
    pub confidence: f64,

    /// End with exit code 8 if a group is slower for sure, and its median by so much or more
    #[arg(long, value_name = "PER CENT", value_parser = parse_per_cent)]
    pub fail_if_slower: Option<f64>,

    /// How to print
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    pub output: Form,

    /// Which rows.
    #[command(flatten)]
    pub selection: SelectionArgs,
}

fn parse_per_cent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim();
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err("it must be a number of per cents, such as 10%".to_owned()),
    }
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    let confidence = parse_per_cent(text)? / 100.0;
    if (0.5..1.0).contains(&confidence) {
        Ok(confidence)
    } else {
        Err("it must be between 50% and 100%".to_owned())
    }
}

/// Runs the verb.
///
/// # Errors
/// If a recording can't be read, or the study has no times.
pub fn run(args: &CompareArgs) -> Result<Exit> {
    let Source::Times(measures) = args.study.source() else {
        bail!(
            "the study {} has no times to compare; use report for both sides",
            args.study.name()
        );
    };
    let names: Vec<&str> = measures.iter().map(|(name, _)| *name).collect();
    let (measure, column) = match &args.measure {
        None => measures[0],
        Some(typed) => *measures
            .iter()
            .find(|(name, _)| name == typed)
            .with_context(|| {
                format!(
                    "--measure {typed}: the study {} has {}",
                    args.study.name(),
                    names.join(", ")
                )
            })?,
    };
    let by = By::chosen(&args.by, args.study);
    let (before, after) = (side(&args.before)?, side(&args.after)?);
    let question = Question {
        column,
        by: &by,
        confidence: args.confidence,
    };
    let selection = args.selection.selection();
    let result = compare(&before, &after, question, &selection, &TimeZone::system())?;
    let is_margin = measure == "margin";
    print(|out| match args.output {
        Form::Text => text(out, &result, args, measure, &by),
        Form::Json => json_document(out, &result, args, measure, &by),
        Form::Csv => csv(out, &result, &by),
    })?;
    for missing in before.missing().into_iter().chain(after.missing()) {
        eprintln!("notify-trace: {missing}");
    }
    let is_slower = |line: &&Line| {
        let wanted = if is_margin {
            Shown::Smaller
        } else {
            Shown::Larger
        };
        let by = line.per_cent().map_or(f64::INFINITY, f64::abs);
        line.shown() == wanted && args.fail_if_slower.is_some_and(|limit| by >= limit)
    };
    Ok(match result.lines.iter().filter(is_slower).count() {
        0 => Exit::Success,
        _ => Exit::Slower,
    })
}

/// The recordings of a side.
fn side(path: &Path) -> Result<Inputs> {
    let files = if path.is_dir() {
        let shown = escape::path(path).to_string();
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .with_context(|| format!("cannot look into {shown}"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .with_context(|| format!("cannot look into {shown}"))?;
        files.retain(|file| file.extension().is_some_and(|it| it == "ntrec"));
        files.sort();
        ensure!(!files.is_empty(), "there is no *.ntrec in {shown}");
        files
    } else if path.exists() {
        vec![path.to_owned()]
    } else {
        let text = path.to_string_lossy();
        text.split(',').map(PathBuf::from).collect()
    };
    Inputs::open(&files)
}

fn text(
    out: &mut dyn Write,
    result: &Comparison,
    args: &CompareArgs,
    measure: &str,
    by: &[By],
) -> io::Result<()> {
    let study = args.study;
    if result.lines.is_empty() {
        writeln!(out, "Nothing of this is on both sides.")?;
    } else {
        let mut table = Table::default();
        for heading in headings(by) {
            table.column(&heading, false);
        }
        // On a narrow terminal the interval is what can be done without: the last column says what of it.
        let has_interval = columns_of_output().is_none_or(|columns| columns >= WIDE);
        for heading in ["N", "BEFORE", "N", "AFTER", "CHANGE"] {
            table.column(heading, true);
        }
        if has_interval {
            table.column("INTERVAL", true);
        }
        table.column("", false);
        for line in &result.lines {
            let mut row = cells(by, &line.key);
            row.push(line.n_before.to_string());
            row.push(amount(study, line.before));
            row.push(line.n_after.to_string());
            row.push(amount(study, line.after));
            row.push(signed(study, line.change()));
            if has_interval {
                row.push(line.interval.map_or_else(String::new, |it| {
                    format!("{} … {}", signed(study, it.low), signed(study, it.high))
                }));
            }
            row.push(conclusion(line, measure));
            table.rows.push(row);
        }
        table.write(out, columns_of_output())?;
        writeln!(out)?;
        let note = format!(
            "Medians; intervals of their difference by the bootstrap. What is said to differ does so by a rank \
             test, too, all of it together with {} % confidence.",
            args.confidence * 100.0
        );
        for line in words::wrap(&note, columns_of_output().unwrap_or(100).max(20)) {
            writeln!(out, "{line}")?;
        }
    }
    for (name, only) in [
        ("Only before", &result.only_before),
        ("Only after", &result.only_after),
    ] {
        if !only.is_empty() {
            let list: Vec<String> = only
                .iter()
                .map(|(key, n)| format!("{} ({n})", cells(by, key).join(" ")))
                .collect();
            for line in words::wrap(
                &format!("{name}: {}", list.join(", ")),
                columns_of_output().unwrap_or(100).max(20),
            ) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(())
}

fn signed(study: Study, value: i64) -> String {
    let sign = if value > 0 { "+" } else { "" };
    if value == 0 {
        "0".to_owned()
    } else {
        format!("{sign}{}", amount(study, value))
    }
}

/// In words.
fn conclusion(line: &Line, measure: &str) -> String {
    let is_margin = measure == "margin";
    let by = line
        .per_cent()
        .map(|it| format!(" by {:.1} %", it.abs()))
        .unwrap_or_default();
    match line.shown() {
        Shown::Larger if is_margin => format!("more to spare{by}"),
        Shown::Smaller if is_margin => format!("less to spare{by}"),
        Shown::Larger => format!("slower{by}"),
        Shown::Smaller => format!("faster{by}"),
        Shown::Nothing => "no difference shown".to_owned(),
        Shown::TooFew => format!("too few to tell: {FEWEST} on each side, more among many units"),
    }
}

fn fields(line: &Line) -> Vec<(&'static str, Json)> {
    vec![
        ("n_before", json!(line.n_before)),
        ("before", json!(line.before)),
        ("n_after", json!(line.n_after)),
        ("after", json!(line.after)),
        ("change", json!(line.change())),
        ("low", json!(line.interval.map(|it| it.low))),
        ("high", json!(line.interval.map(|it| it.high))),
        ("shown", json!(line.shown())),
    ]
}

fn json_document(
    out: &mut dyn Write,
    result: &Comparison,
    args: &CompareArgs,
    measure: &str,
    by: &[By],
) -> io::Result<()> {
    let row = |line: &Line| {
        let mut object = key_object(by, &line.key);
        for (name, value) in fields(line) {
            object.insert(name.to_owned(), value);
        }
        Json::Object(object)
    };
    let only = |list: &[(Vec<crate::report::Value>, usize)]| {
        let of = |(key, n): &(Vec<crate::report::Value>, usize)| {
            let mut object = key_object(by, key);
            object.insert("n".to_owned(), json!(n));
            Json::Object(object)
        };
        Json::Array(list.iter().map(of).collect())
    };
    let document = json!({
        "study": args.study.name(),
        "measure": measure,
        "confidence": args.confidence,
        "rows": result.lines.iter().map(row).collect::<Vec<_>>(),
        "only_before": only(&result.only_before),
        "only_after": only(&result.only_after),
    });
    crate::sink::json::write_line(&mut &mut *out, &document)
}

fn csv(out: &mut dyn Write, result: &Comparison, by: &[By]) -> io::Result<()> {
    let keys = by.iter().flat_map(|by| by.columns()).copied();
    let names = [
        "n_before", "before", "n_after", "after", "change", "low", "high", "shown",
    ];
    let headings: Vec<&str> = keys.chain(names).collect();
    writeln!(out, "{}", headings.join(","))?;
    for line in &result.lines {
        let keys = line.key.iter().map(|value| csv_cell(&json!(value)));
        let values = fields(line).into_iter().map(|(_, value)| csv_cell(&value));
        let cells: Vec<String> = keys.chain(values).collect();
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}
