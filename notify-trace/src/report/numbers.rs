//! From recordings to numbers: rows into groups, values into order statistics.

use std::collections::{HashMap, HashSet};

use jiff::tz::TimeZone;

use super::by::{About, By, Value};
use super::inputs::{Input, Inputs, Selection};
use super::{Causes, Line, Numbers, Report};
use crate::store::{Minute, StoreError};
use crate::study::quantile::{Summary, summarise};
use crate::study::{Source, Study};

/// Called with how many rows were read so far, in all passes.
pub type Progress<'a> = dyn FnMut(u64) + 'a;

/// Answers a study.
///
/// # Errors
/// If a recording can't be read.
pub fn report(
    inputs: &Inputs,
    study: Study,
    by: &[By],
    selection: &Selection,
    zone: &TimeZone,
    progress: &mut Progress<'_>,
) -> Result<Report, StoreError> {
    let mut groups = Groups::new(by, selection, zone);
    let lines = match study.source() {
        Source::Times(measures) => times(inputs, measures, &mut groups, progress)?,
        Source::Minutes => minutes(inputs, &mut groups, progress)?,
        Source::Verdicts => verdicts(inputs, &mut groups)?,
    };
    Ok(Report {
        study,
        by: by.to_vec(),
        lines,
        missing: inputs.missing(),
    })
}

/// All values of a measure, by their group: for those who compare them themselves.
///
/// # Errors
/// If a recording can't be read.
pub fn values(
    inputs: &Inputs,
    column: &str,
    groups: &mut Groups<'_>,
    take: &mut dyn FnMut(usize, i64),
) -> Result<(), StoreError> {
    each_time(inputs, &[column], groups, &mut |group, values| {
        if let (Some(group), Some(value)) = (group, values[0]) {
            take(group, value);
        }
    })
}

/// Reads columns of all rows; a row that isn't taken has no group.
fn each_time(
    inputs: &Inputs,
    columns: &[&str],
    groups: &mut Groups<'_>,
    take: &mut impl FnMut(Option<usize>, &[Option<i64>]),
) -> Result<(), StoreError> {
    for (number, input) in inputs.0.iter().enumerate() {
        let span = groups.selection.span;
        input.reader.times(columns, span, &mut |row| {
            let group = groups.of(
                number,
                input,
                row.session,
                row.flow,
                row.at_us,
                row.told_class,
            );
            take(group, &row.values);
        })?;
    }
    Ok(())
}

fn times(
    inputs: &Inputs,
    measures: &[(&'static str, &str)],
    groups: &mut Groups<'_>,
    progress: &mut Progress<'_>,
) -> Result<Vec<Line>, StoreError> {
    let columns: Vec<&str> = measures.iter().map(|(_, column)| *column).collect();
    let names: Vec<&'static str> = measures.iter().map(|(name, _)| *name).collect();
    let mut rows = 0;
    let summaries = summarise(&mut |take| {
        each_time(inputs, &columns, groups, &mut |group, values| {
            rows += 1;
            progress(rows);
            let Some(group) = group else { return };
            for (at, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    take(group * measures.len() + at, *value);
                }
            }
        })
    })?;
    Ok(lines(summaries, groups, &names))
}

/// Lines of the summaries of all measures of the first group, the second one and so on.
fn lines(
    summaries: Vec<Option<Summary>>,
    groups: &Groups<'_>,
    measures: &[&'static str],
) -> Vec<Line> {
    let of = |(at, summary): (usize, Option<_>)| {
        Some(Line {
            key: groups.keys[at / measures.len()].clone(),
            numbers: Numbers::Times {
                measure: measures[at % measures.len()],
                summary: summary?,
            },
        })
    };
    summaries.into_iter().enumerate().filter_map(of).collect()
}

/// Counts of all flows of a group in the same minute of the same session belong together.
fn minutes(
    inputs: &Inputs,
    groups: &mut Groups<'_>,
    progress: &mut Progress<'_>,
) -> Result<Vec<Line>, StoreError> {
    let mut rows = 0;
    let summaries = summarise(&mut |take| {
        for (number, input) in inputs.0.iter().enumerate() {
            let mut counts: HashMap<usize, i64> = HashMap::new();
            let mut minute = None;
            let span = groups.selection.span;
            input.reader.minutes(span, &mut |row: Minute| {
                rows += 1;
                progress(rows);
                if minute.replace((row.session, row.at_us)) != Some((row.session, row.at_us)) {
                    counts.drain().for_each(|(group, count)| take(group, count));
                }
                let group = groups.of(number, input, row.session, row.flow, row.at_us, None);
                if let Some(group) = group {
                    *counts.entry(group).or_default() += row.count;
                }
            })?;
            counts.drain().for_each(|(group, count)| take(group, count));
        }
        Ok::<(), StoreError>(())
    })?;
    Ok(lines(summaries, groups, &["per_minute"]))
}

fn verdicts(inputs: &Inputs, groups: &mut Groups<'_>) -> Result<Vec<Line>, StoreError> {
    let mut causes: Vec<(Causes, HashSet<String>)> = Vec::new();
    for input in &inputs.0 {
        for verdict in input.reader.verdicts(groups.selection.span)? {
            let Some(session) = input.sessions.get(&verdict.session) else {
                continue;
            };
            if !groups.selection.takes(session, &verdict.flow) {
                continue;
            }
            let group = groups.named(&About {
                session,
                flow: &verdict.flow,
                at_us: verdict.at_us,
                told_class: None,
                cause: Some((&verdict.kind, &verdict.certainty)),
            });
            if group >= causes.len() {
                causes.resize_with(group + 1, Default::default);
            }
            let (cause, units) = &mut causes[group];
            if cause.n == 0 {
                (cause.first_us, cause.last_us) = (verdict.at_us, verdict.last_us);
            }
            cause.n += u64::try_from(verdict.times).unwrap_or(0);
            cause.first_us = cause.first_us.min(verdict.at_us);
            cause.last_us = cause.last_us.max(verdict.last_us);
            units.extend(verdict.flow.unit);
        }
    }
    let of = |(group, (mut causes, units)): (usize, (Causes, HashSet<String>))| {
        causes.units = u64::try_from(units.len()).unwrap_or(u64::MAX);
        Line {
            key: groups.keys[group].clone(),
            numbers: Numbers::Verdicts(causes),
        }
    };
    Ok(causes.into_iter().enumerate().map(of).collect())
}

/// Numbers for groups, in the order in which they are met.
#[derive(Debug)]
pub struct Groups<'a> {
    by: &'a [By],
    selection: &'a Selection,
    zone: &'a TimeZone,
    is_of_time: bool,
    is_of_proxy: bool,
    /// Columns of each group.
    pub keys: Vec<Vec<Value>>,
    numbers: HashMap<Vec<Value>, usize>,
    /// What was found before, by input, session, flow and time; `None`: it is not taken.
    found: HashMap<(usize, i64, Option<usize>, i64), Option<usize>>,
}

impl<'a> Groups<'a> {
    /// None yet.
    #[must_use]
    pub fn new(by: &'a [By], selection: &'a Selection, zone: &'a TimeZone) -> Self {
        Self {
            by,
            selection,
            zone,
            is_of_time: by.iter().any(|by| by.is_of_time()),
            is_of_proxy: by.contains(&By::Proxy),
            keys: Vec::new(),
            numbers: HashMap::new(),
            found: HashMap::new(),
        }
    }

    /// The group of a row; `None`: it is not taken.
    fn of(
        &mut self,
        number: usize,
        input: &Input,
        session: i64,
        flow: i64,
        at_us: i64,
        told_class: Option<&str>,
    ) -> Option<usize> {
        let slot = By::slot(at_us, self.is_of_time);
        let flow = input.flows.by_id.get(&flow).copied();
        let place = (number, session, flow, slot);
        if !self.is_of_proxy
            && let Some(group) = self.found.get(&place)
        {
            return *group;
        }
        let row = input.sessions.get(&session)?;
        let unknown = crate::study::row::Flow::default();
        // Rows of a flow that is gone are still rows.
        let flow = flow.map_or(&unknown, |at| &input.flows.distinct[at]);
        let group = self.selection.takes(row, flow).then(|| {
            self.named(&About {
                session: row,
                flow,
                at_us,
                told_class,
                cause: None,
            })
        });
        if !self.is_of_proxy {
            self.found.insert(place, group);
        }
        group
    }

    fn named(&mut self, about: &About<'_>) -> usize {
        let mut key = Vec::new();
        for by in self.by {
            by.values(about, self.zone, &mut key);
        }
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = self.keys.len();
        self.keys.push(key.clone());
        self.numbers.insert(key, number);
        number
    }
}
