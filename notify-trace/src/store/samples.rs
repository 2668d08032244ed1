//! What studies read of a recording: rows in passes, never all at once.

use std::collections::HashMap;

use rusqlite::{Row, params};

use super::error::StoreError;
use super::reader::Reader;
use super::rows;
use crate::study::row::Flow;

/// A span of wall time, in microseconds since 1970: from the first, before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From this moment.
    pub since_us: i64,
    /// Before this one.
    pub until_us: i64,
}

impl Span {
    /// All times.
    pub const ALL: Self = Self {
        since_us: i64::MIN,
        until_us: i64::MAX,
    };
}

/// Most columns that are read in one pass.
pub const MOST_COLUMNS: usize = 3;

/// Times of one notification.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    /// Its session.
    pub session: i64,
    /// Its flow, a key of [`Reader::flows`].
    pub flow: i64,
    /// When it was, microseconds since 1970.
    pub at_us: i64,
    /// Class of the socket on which its sender was told of it, if it was passed on.
    pub told_class: Option<&'a str>,
    /// In the order of the columns.
    pub values: [Option<i64>; MOST_COLUMNS],
}

/// Notifications of a flow in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    /// Their session.
    pub session: i64,
    /// Their flow.
    pub flow: i64,
    /// When the minute began, microseconds since 1970.
    pub at_us: i64,
    /// How many.
    pub count: i64,
}

/// Who sends to whom: the same may stand in a recording many times, and is kept once.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    /// Positions in `distinct`, by the key that rows have.
    pub by_id: HashMap<i64, usize>,
    /// All different ones.
    pub distinct: Vec<Flow>,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its session.
    pub session: i64,
    /// When, and the last time of its hour, microseconds since 1970.
    pub at_us: i64,
    /// The last time.
    pub last_us: i64,
    /// What it is about.
    pub kind: String,
    /// How sure it is.
    pub certainty: String,
    /// How often.
    pub times: i64,
    /// Whom it concerns; of the notification's flow where the verdict does not say.
    pub flow: Flow,
}

impl Reader {
    /// Who sends to whom.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn flows(&self) -> Result<Flows, StoreError> {
        self.tried("read the flows", || {
            let mut flows = Flows::default();
            let mut numbers: HashMap<Flow, usize> = HashMap::new();
            let mut query = self.connection().prepare(
                "SELECT id, unit, uid, container, runtime, comm, class, manager FROM flow",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = self.next(&mut rows)? {
                let flow = flow(row, 1)?;
                let next = flows.distinct.len();
                let number = *numbers.entry(flow).or_insert_with_key(|flow| {
                    flows.distinct.push(flow.clone());
                    next
                });
                flows.by_id.insert(row.get(0)?, number);
            }
            Ok(flows)
        })
    }

    /// Notifications, at least one of these columns of which is known.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn times(
        &self,
        columns: &[&str],
        span: Span,
        take: &mut dyn FnMut(&Times<'_>),
    ) -> Result<(), StoreError> {
        debug_assert!(columns.len() <= MOST_COLUMNS, "see MOST_COLUMNS");
        let known: Vec<String> = columns
            .iter()
            .map(|column| format!("{column} IS NOT NULL"))
            .collect();
        let query = format!(
            "SELECT id, flow, at_us, told_class, {} FROM notification WHERE ({}) AND at_us >= ?1 AND \
             at_us < ?2",
            columns.join(", "),
            known.join(" OR ")
        );
        self.tried("read the notifications", || {
            let mut query = self.connection().prepare(&query)?;
            let mut rows = query.query(params![span.since_us, span.until_us])?;
            while let Some(row) = self.next(&mut rows)? {
                let mut values = [None; MOST_COLUMNS];
                for (at, value) in values.iter_mut().enumerate().take(columns.len()) {
                    *value = row.get(4 + at)?;
                }
                let id: i64 = row.get(0)?;
                take(&Times {
                    session: rows::session(id),
                    flow: row.get(1)?,
                    at_us: row.get(2)?,
                    told_class: row.get_ref(3)?.as_str_or_null()?,
                    values,
                });
            }
            Ok(())
        })
    }

    /// The rows of a query with so many columns, which are numbers or texts, until `take` has enough.
    ///
    /// # Errors
    /// If they can't be read.
    #[cfg(feature = "parquet")]
    pub fn rows(
        &self,
        query: &str,
        columns: usize,
        take: &mut dyn FnMut(&[crate::export::Cell]) -> bool,
    ) -> Result<(), StoreError> {
        use rusqlite::types::ValueRef;

        use crate::export::Cell;

        self.tried("read the rows", || {
            let mut query = self.connection().prepare(query)?;
            let mut rows = query.query([])?;
            let mut cells = vec![Cell::Absent; columns];
            while let Some(row) = self.next(&mut rows)? {
                for (at, cell) in cells.iter_mut().enumerate() {
                    *cell = match row.get_ref(at)? {
                        ValueRef::Integer(number) => Cell::Number(number),
                        ValueRef::Text(text) => {
                            Cell::Text(String::from_utf8_lossy(text).into_owned())
                        }
                        ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => Cell::Absent,
                    };
                }
                if !take(&cells) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// How many notifications there are in each minute, minute by minute.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn minutes(&self, span: Span, take: &mut dyn FnMut(Minute)) -> Result<(), StoreError> {
        self.tried("count the notifications", || {
            let mut query = self.connection().prepare(
                "SELECT id >> 40 AS session, at_us - at_us % 60000000 AS minute_us, flow, count(*) \
                 FROM notification WHERE at_us >= ?1 AND at_us < ?2 GROUP BY 1, 2, 3 ORDER BY 1, 2",
            )?;
            let mut rows = query.query(params![span.since_us, span.until_us])?;
            while let Some(row) = self.next(&mut rows)? {
                take(Minute {
                    session: row.get(0)?,
                    at_us: row.get(1)?,
                    flow: row.get(2)?,
                    count: row.get(3)?,
                });
            }
            Ok(())
        })
    }

    /// The verdicts.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn verdicts(&self, span: Span) -> Result<Vec<Verdict>, StoreError> {
        self.tried("read the verdicts", || {
            let mut query = self.connection().prepare(
                "SELECT session, at_us, last_us, kind, certainty, times, unit, uid, container, runtime, \
                 comm, coalesce(class, ''), coalesce(manager, '') FROM verdicts \
                 WHERE at_us >= ?1 AND at_us < ?2 ORDER BY at_us",
            )?;
            let mut rows = query.query(params![span.since_us, span.until_us])?;
            let mut verdicts = Vec::new();
            while let Some(row) = self.next(&mut rows)? {
                verdicts.push(Verdict {
                    session: row.get(0)?,
                    at_us: row.get(1)?,
                    last_us: row.get(2)?,
                    kind: row.get(3)?,
                    certainty: row.get(4)?,
                    times: row.get(5)?,
                    flow: flow(row, 6)?,
                });
            }
            Ok(verdicts)
        })
    }
}

fn flow(row: &Row<'_>, at: usize) -> rusqlite::Result<Flow> {
    Ok(Flow {
        owner: None,
        unit: row.get(at)?,
        user: row.get(at + 1)?,
        container: row.get(at + 2)?,
        runtime: row.get(at + 3)?,
        comm: row.get(at + 4)?,
        class: row.get(at + 5)?,
        manager: row.get(at + 6)?,
    })
}
