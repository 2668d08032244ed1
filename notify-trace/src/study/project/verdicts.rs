//! Rows of verdicts: one for each hour in which it was drawn. Bounded.

use std::collections::HashMap;

use crate::correlate::outcome::{Again, Verdict};
use crate::study::row::{Repetition, Rows, VerdictRow};

/// The rows of verdicts that may be repeated.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// By the verdict's number.
    rows: HashMap<u64, VerdictRow>,
    last: u64,
}

/// Most verdicts that are remembered; more than the correlator does.
const VERDICTS: usize = 8_192;

const HOUR_US: i64 = 3_600_000_000;

impl Verdicts {
    pub(super) fn first(&mut self, it: Verdict, rows: &mut Rows) {
        if self.rows.len() >= VERDICTS {
            // What the correlator has forgotten is not repeated.
            let mut numbers: Vec<u64> = self.rows.keys().copied().collect();
            numbers.sort_unstable();
            for number in &numbers[..numbers.len() / 2] {
                self.rows.remove(number);
            }
        }
        self.last += 1;
        let row = verdict_row(self.last, it);
        self.rows.insert(row.number, row.clone());
        rows.verdicts.push(row);
    }

    pub(super) fn again(&mut self, it: &Again, rows: &mut Rows) {
        let Some(row) = self.rows.get_mut(&it.verdict) else {
            return;
        };
        let at_us = it.at.time.as_microsecond();
        if at_us.div_euclid(HOUR_US) == row.at_us.div_euclid(HOUR_US) {
            rows.repeat(Repetition {
                row: row.row,
                times: 1,
                last_us: at_us,
            });
            return;
        }
        self.last += 1;
        row.row = self.last;
        row.at_us = at_us;
        row.last_us = at_us;
        row.at_ns = it.at.monotonic_ns;
        row.notification = it.about.first().copied();
        row.what.clone_from(&it.what);
        rows.verdicts.push(row.clone());
    }
}

fn verdict_row(row: u64, it: Verdict) -> VerdictRow {
    VerdictRow {
        row,
        times: 1,
        last_us: it.at.time.as_microsecond(),
        number: it.number,
        at_us: it.at.time.as_microsecond(),
        at_ns: it.at.monotonic_ns,
        kind: it.kind,
        certainty: it.certainty,
        unit: it.subject.unit,
        user: it.subject.user,
        container: it.subject.container,
        pid: it.subject.pid,
        comm: it.subject.comm,
        notification: it.about.first().copied(),
        what: it.what,
    }
}
