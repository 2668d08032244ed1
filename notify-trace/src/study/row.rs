//! The rows of a recording that studies read: plain values.

use crate::correlate::outcome::{Certainty, Kind, MeasureName, Told};
use crate::event::DeliveryState;

/// All times of a notification that conclusions give, in the order of their columns.
pub const MEASURES: [MeasureName; 11] = [
    MeasureName::Startup,
    MeasureName::StartupProcess,
    MeasureName::Reload,
    MeasureName::Stop,
    MeasureName::Watchdog,
    MeasureName::WatchdogJitter,
    MeasureName::WatchdogMargin,
    MeasureName::Extend,
    MeasureName::ExtendMargin,
    MeasureName::Status,
    MeasureName::Hop,
];

/// What a message says, a bit each: assignments to well-known keys (`sd_notify(3)`).
pub const SAYS: [(&str, u32); 11] = [
    ("READY", 1),
    ("RELOADING", 1 << 1),
    ("STOPPING", 1 << 2),
    ("WATCHDOG", 1 << 3),
    ("STATUS", 1 << 4),
    ("EXTEND_TIMEOUT_USEC", 1 << 5),
    ("MAINPID", 1 << 6),
    ("FDSTORE", 1 << 7),
    ("BARRIER", 1 << 8),
    ("ERRNO", 1 << 9),
    ("EXIT_STATUS", 1 << 10),
];

/// Who sends to whom, without the process ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The sender's unit: the one that the manager who is told would find.
    pub unit: Option<String>,
    /// The user whose manager that unit is of.
    pub user: Option<u32>,
    /// The user in whose slice the sender is: who could make units and cgroups like this. Not stored.
    pub owner: Option<u32>,
    /// The sender's container, in the words of `who`.
    pub container: Option<String>,
    /// Who runs that container.
    pub runtime: Option<String>,
    /// The sender's name, escaped.
    pub comm: Option<String>,
    /// Kind of the notify socket.
    pub class: String,
    /// Who reads there: the class, and the user whose manager it is.
    pub manager: String,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number in the session.
    pub number: u64,
    /// Number of its [`Flow`] in the session.
    pub flow: u64,
    /// The sender.
    pub pid: Option<u32>,
    /// Wall time, microseconds since 1970.
    pub at_us: i64,
    /// `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Bytes of the datagram.
    pub length_bytes: u32,
    /// Bits of [`SAYS`].
    pub says: u32,
    /// What became of it.
    pub fate: Fate,
    /// Times by [`MEASURES`].
    pub measures: [Option<i64>; MEASURES.len()],
    /// What its sender had been told before it passed this on.
    pub told: Option<Told>,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// The short answer.
    pub state: DeliveryState,
    /// Why the send call failed.
    pub errno: Option<i32>,
    /// From the queue to the receiver.
    pub delivery_ns: Option<u64>,
    /// How long the sender waited for room in the queue.
    pub blocked_ns: Option<u64>,
}

/// What becomes known of a row later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What became of it; who it was, if that is known now.
    Fate {
        /// The row.
        number: u64,
        /// What became of it.
        fate: Fate,
        /// Its flow and its sender, if they became known only now.
        sender: Option<(u64, u32)>,
    },
    /// A time.
    Measure {
        /// The row.
        number: u64,
        /// Position in [`MEASURES`].
        column: usize,
        /// Nanoseconds.
        value_ns: i64,
        /// For hops: what its sender was told.
        told: Option<Told>,
    },
}

impl Change {
    /// The row.
    #[must_use]
    pub const fn number(&self) -> u64 {
        match self {
            Self::Fate { number, .. } | Self::Measure { number, .. } => *number,
        }
    }

    /// Changes the row.
    pub fn apply(self, row: &mut Row) {
        match self {
            Self::Fate { fate, sender, .. } => {
                row.fate = fate;
                if let Some((flow, pid)) = sender {
                    row.flow = flow;
                    row.pid = Some(pid);
                }
            }
            Self::Measure {
                column,
                value_ns,
                told,
                ..
            } => {
                row.measures[column] = Some(value_ns);
                row.told = told.or(row.told.take());
            }
        }
    }
}

/// A verdict, and its repetitions in the same hour; those of another hour are another row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictRow {
    /// Number of the row in the session.
    pub row: u64,
    /// Its number in the session, as `explain` has it.
    pub number: u64,
    /// How often, the first included.
    pub times: u64,
    /// The last time, microseconds since 1970.
    pub last_us: i64,
    /// Wall time, microseconds since 1970.
    pub at_us: i64,
    /// `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// What it is about.
    pub kind: Kind,
    /// How sure it is.
    pub certainty: Certainty,
    /// The unit.
    pub unit: Option<String>,
    /// The user whose manager that is.
    pub user: Option<u32>,
    /// The container.
    pub container: Option<String>,
    /// The process.
    pub pid: Option<u32>,
    /// Its name, escaped.
    pub comm: Option<String>,
    /// The first notification that it is about.
    pub notification: Option<u64>,
    /// What happened, a sentence.
    pub what: String,
}

/// A verdict was repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Which row.
    pub row: u64,
    /// How often.
    pub times: u64,
    /// The last time, microseconds since 1970.
    pub last_us: i64,
}

/// What one or several events add to the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// New flows, by their number.
    pub flows: Vec<(u64, Flow)>,
    /// Notifications, these and later ones, have flows of this number or higher ones.
    pub flows_since: Option<u64>,
    /// New notifications.
    pub notifications: Vec<Row>,
    /// What became known of earlier ones.
    pub changes: Vec<Change>,
    /// New verdicts.
    pub verdicts: Vec<VerdictRow>,
    /// Repetitions of verdicts whose row was written before.
    pub repeats: Vec<Repetition>,
    /// Version of the system's manager.
    pub manager_version: Option<String>,
}

/// How far back a row is looked for among those that wait to be stored: what becomes known at once
/// is about the last ones.
const NEAR: usize = 32;

impl Rows {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            flows,
            flows_since: _,
            notifications,
            changes,
            verdicts,
            repeats,
            manager_version,
        } = self;
        flows.is_empty()
            && notifications.is_empty()
            && changes.is_empty()
            && verdicts.is_empty()
            && repeats.is_empty()
            && manager_version.is_none()
    }

    /// Adds a change: to its row, if that is near, else to the changes.
    pub fn change(&mut self, change: Change) {
        let near = self.notifications.iter_mut().rev().take(NEAR);
        match near.into_iter().find(|row| row.number == change.number()) {
            // What is known of it since is newer than what waits.
            Some(row) => change.apply(row),
            None => self.changes.push(change),
        }
    }

    /// Adds a repetition: to its verdict's row, or to an earlier repetition, if that waits too.
    pub fn repeat(&mut self, it: Repetition) {
        if let Some(row) = self.verdicts.iter_mut().rev().find(|row| row.row == it.row) {
            row.times += it.times;
            row.last_us = it.last_us;
        } else if let Some(earlier) = self
            .repeats
            .iter_mut()
            .find(|earlier| earlier.row == it.row)
        {
            earlier.times += it.times;
            earlier.last_us = it.last_us;
        } else {
            self.repeats.push(it);
        }
    }

    /// Adds what came later.
    pub fn append(&mut self, later: &mut Self) {
        self.flows.append(&mut later.flows);
        self.flows_since = self.flows_since.or(later.flows_since.take());
        for change in later.changes.drain(..) {
            self.change(change);
        }
        self.notifications.append(&mut later.notifications);
        self.verdicts.append(&mut later.verdicts);
        for repetition in later.repeats.drain(..) {
            self.repeat(repetition);
        }
        if let Some(version) = later.manager_version.take() {
            self.manager_version = Some(version);
        }
    }

    /// Memory of it, about, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // Names of flows and sentences of verdicts are as long as that, as a rule.
        const TEXT: usize = 256;
        self.notifications.len() * size_of::<Row>()
            + self.changes.len() * size_of::<Change>()
            + self.flows.len() * (size_of::<Flow>() + TEXT)
            + self.verdicts.len() * (size_of::<VerdictRow>() + TEXT)
            + self.repeats.len() * size_of::<Repetition>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64) -> Row {
        Row {
            number,
            flow: 1,
            pid: None,
            at_us: 0,
            at_ns: 0,
            length_bytes: 0,
            says: 0,
            fate: Fate {
                state: DeliveryState::Queued,
                errno: None,
                delivery_ns: None,
                blocked_ns: None,
            },
            measures: [None; MEASURES.len()],
            told: None,
        }
    }

    fn measure(number: u64, value_ns: i64) -> Change {
        Change::Measure {
            number,
            column: 2,
            value_ns,
            told: None,
        }
    }

    #[test]
    fn what_is_known_at_once_is_part_of_the_row() {
        let mut rows = Rows {
            notifications: vec![row(1), row(2)],
            ..Rows::default()
        };
        let mut later = Rows {
            changes: vec![measure(1, 5), measure(9, 7)],
            ..Rows::default()
        };
        rows.append(&mut later);
        assert_eq!(rows.notifications[0].measures[2], Some(5));
        assert_eq!(rows.changes, [measure(9, 7)]);
    }

    #[test]
    fn what_became_of_it_replaces_what_was_known() {
        let mut it = row(1);
        let fate = Fate {
            state: DeliveryState::Delivered,
            delivery_ns: Some(3),
            ..it.fate
        };
        Change::Fate {
            number: 1,
            fate,
            sender: Some((4, 100)),
        }
        .apply(&mut it);
        assert_eq!((it.fate, it.flow, it.pid), (fate, 4, Some(100)));
    }
}
