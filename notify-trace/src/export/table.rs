//! What is exported: two views, column by column.

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Not known.
    Absent,
    /// A number.
    Number(i64),
    /// A word.
    Text(String),
}

impl Cell {
    /// The number, if it is one.
    #[must_use]
    pub const fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Absent | Self::Text(_) => None,
        }
    }
}

/// Types of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `INT64`.
    Number,
    /// `BYTE_ARRAY (STRING)`.
    Text,
    /// `INT64 (TIMESTAMP(MICROS, UTC))`: engines have no agreed type for nanoseconds.
    Time,
}

/// A view that is exported.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name: of the view, and of the dataset's folder.
    pub name: &'static str,
    /// Reads it: the columns in order.
    pub query: &'static str,
    /// Its columns. The host stands in the folder's name alone.
    pub columns: &'static [(&'static str, Kind)],
    /// Which column is the time.
    at: usize,
}

impl Table {
    /// When a row was, microseconds since 1970.
    #[must_use]
    pub fn at_us(&self, cells: &[Cell]) -> Option<i64> {
        cells.get(self.at)?.number()
    }
}

use Kind::{Number, Text, Time};

/// All.
pub const TABLES: [Table; 2] = [
    Table {
        name: "notifications",
        query: "SELECT session, number, began_us, boot_id, kernel, manager_version, unit, uid, container, runtime, comm, \
                class, manager, pid, at_us, at_us, at_ns, state, errno, length_bytes, says, delivery_ns, \
                blocked_ns, startup_ns, startup_process_ns, reload_ns, stop_ns, watchdog_ns, \
                watchdog_jitter_ns, watchdog_margin_ns, extend_ns, extend_margin_ns, status_ns, hop_ns, \
                told, told_class FROM notifications ORDER BY id",
        columns: &[
            ("session", Number),
            ("number", Number),
            ("began_us", Number),
            ("boot_id", Text),
            ("kernel", Text),
            ("manager_version", Text),
            ("unit", Text),
            ("uid", Number),
            ("container", Text),
            ("runtime", Text),
            ("comm", Text),
            ("class", Text),
            ("manager", Text),
            ("pid", Number),
            ("at", Time),
            ("at_us", Number),
            ("at_ns", Number),
            ("state", Text),
            ("errno", Number),
            ("length_bytes", Number),
            ("says", Number),
            ("delivery_ns", Number),
            ("blocked_ns", Number),
            ("startup_ns", Number),
            ("startup_process_ns", Number),
            ("reload_ns", Number),
            ("stop_ns", Number),
            ("watchdog_ns", Number),
            ("watchdog_jitter_ns", Number),
            ("watchdog_margin_ns", Number),
            ("extend_ns", Number),
            ("extend_margin_ns", Number),
            ("status_ns", Number),
            ("hop_ns", Number),
            ("told", Number),
            ("told_class", Text),
        ],
        at: 15,
    },
    Table {
        name: "verdicts",
        query: "SELECT session, verdict, began_us, boot_id, kernel, manager_version, unit, uid, container, runtime, comm, \
                class, manager, pid, at_us, at_us, last_us, at_ns, number, kind, certainty, what, times FROM \
                verdicts ORDER BY id",
        columns: &[
            ("session", Number),
            ("verdict", Number),
            ("began_us", Number),
            ("boot_id", Text),
            ("kernel", Text),
            ("manager_version", Text),
            ("unit", Text),
            ("uid", Number),
            ("container", Text),
            ("runtime", Text),
            ("comm", Text),
            ("class", Text),
            ("manager", Text),
            ("pid", Number),
            ("at", Time),
            ("at_us", Number),
            ("last_us", Number),
            ("at_ns", Number),
            ("number", Number),
            ("kind", Text),
            ("certainty", Text),
            ("what", Text),
            ("times", Number),
        ],
        at: 15,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_their_columns() {
        for table in TABLES {
            let list = table.query.split_once("SELECT ").expect("a query").1;
            let list = list.split_once(" FROM ").expect("a view").0;
            let names: Vec<&str> = list.split(", ").map(str::trim).collect();
            let expected = table.columns.iter().map(|(name, kind)| match kind {
                Time => "at_us",
                _ => *name,
            });
            assert_eq!(names, expected.collect::<Vec<_>>());
            assert_eq!(table.columns[table.at].0, "at_us");
        }
    }
}
