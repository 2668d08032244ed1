//! Events to rows: what each says, and what follows of it.
//!
//! Runs the same correlator as `explain`, over what is recorded and nothing else, and lets time pass by
//! the events alone: made while recording or made anew from a recording, the rows are the same.

mod flows;
#[cfg(test)]
mod tests;
mod verdicts;

use self::flows::Flows;
use self::verdicts::Verdicts;
use super::row::{Change, Fate, MEASURES, Row, Rows, SAYS};
use crate::correlate::Correlator;
use crate::correlate::outcome::{Measure, Outcome};
use crate::event::{Blob, Delivery, Event, Notification, SendResult, Timing, Update};
use crate::names::Recent;

/// Version of what is drawn from events: rows that an older one made can be made anew.
pub const VERSION: i64 = 1;

/// After so many notifications all flows are told anew, so that those of deleted ones can be deleted.
const FLOWS_ANEW: u64 = 65_536;

/// Makes rows of a session's events.
#[derive(Debug)]
pub struct Projector {
    correlator: Correlator,
    flows: Flows,
    /// Classes of notifications whose sender is not known yet.
    open: Recent<u64, String>,
    notifications: u64,
    version: Option<String>,
    verdicts: Verdicts,
    is_finished: bool,
}

/// Most notifications that are kept for what becomes known later.
const OPEN: usize = 65_536;

impl Default for Projector {
    fn default() -> Self {
        Self {
            correlator: Correlator::new(),
            flows: Flows::default(),
            open: Recent::new(OPEN),
            notifications: 0,
            version: None,
            verdicts: Verdicts::default(),
            is_finished: false,
        }
    }
}

impl Projector {
    /// Takes an event; adds to the rows.
    pub fn event(&mut self, event: &Event, rows: &mut Rows) {
        rows.flows_since = rows.flows_since.or(Some(self.flows.since));
        match event {
            Event::Send(it) => {
                self.notifications += 1;
                if self.notifications.is_multiple_of(FLOWS_ANEW) {
                    self.flows.forget();
                }
                let row = self.row(it, rows);
                rows.notifications.push(row);
                if it.sender.is_none() {
                    self.open.insert(it.id, it.class.to_string());
                }
            }
            Event::Update(it) => {
                let change = self.change(it, rows);
                rows.change(change);
            }
            Event::Unit(state) if state.user.is_none() && state.manager_version.is_some() => {
                if self.version != state.manager_version {
                    self.version.clone_from(&state.manager_version);
                    rows.manager_version.clone_from(&state.manager_version);
                }
            }
            Event::Session(_)
            | Event::ConnectFailed(_)
            | Event::ReceiverClosed(_)
            | Event::Exit(_)
            | Event::Unit(_)
            | Event::View(_)
            | Event::Loss(_)
            | Event::Summary(_) => {}
        }
        if matches!(event, Event::Summary(_)) {
            self.finish(rows);
        }
        self.correlator.event(event, &mut |outcome| {
            take(outcome, &mut self.verdicts, rows)
        });
    }

    /// What was added to the rows last is not kept: what it says of senders has to be said again.
    pub fn dropped(&mut self) {
        // Not the numbers: rows that are kept may have them.
        self.flows.tell_again();
        self.version = None;
    }

    /// No event will come any more: what follows of that.
    pub fn finish(&mut self, rows: &mut Rows) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        self.correlator
            .finish(&mut |outcome| take(outcome, &mut self.verdicts, rows));
    }

    fn row(&mut self, it: &Notification, rows: &mut Rows) -> Row {
        Row {
            number: it.id,
            flow: self.flows.number(&it.class, it.sender.as_ref(), rows),
            pid: it.sender.as_ref().map(|sender| sender.pid),
            at_us: it.time.as_microsecond(),
            at_ns: it.monotonic_ns,
            length_bytes: it.length_bytes,
            says: says(it),
            fate: fate(it.result.as_ref(), &it.delivery, &it.timing),
            measures: [None; MEASURES.len()],
            told: None,
        }
    }

    fn change(&mut self, update: &Update, rows: &mut Rows) -> Change {
        let sender = update.sender.as_ref().and_then(|sender| {
            let class = self.open.remove(&update.id)?;
            Some((self.flows.number(&class, Some(sender), rows), sender.pid))
        });
        Change::Fate {
            number: update.id,
            fate: fate(update.result.as_ref(), &update.delivery, &update.timing),
            sender,
        }
    }
}

fn fate(result: Option<&SendResult>, delivery: &Delivery, timing: &Timing) -> Fate {
    Fate {
        state: delivery.state,
        errno: match result {
            Some(SendResult::Failed(error)) => Some(error.errno),
            Some(SendResult::SentBytes(_)) | None => None,
        },
        delivery_ns: timing.delivery_ns(),
        blocked_ns: timing.blocked_ns(),
    }
}

fn says(it: &Notification) -> u32 {
    let bit = |key: &Blob| SAYS.iter().find(|(name, _)| name.as_bytes() == key.0);
    it.lines
        .iter()
        .filter_map(|line| bit(line.key()?))
        .fold(0, |bits, (_, bit)| bits | bit)
}

fn take(outcome: Outcome, verdicts: &mut Verdicts, rows: &mut Rows) {
    match outcome {
        Outcome::Measure(Measure {
            notification,
            name,
            value_ns,
            told,
        }) => {
            let column = MEASURES.iter().position(|it| *it == name);
            if let Some(column) = column {
                rows.change(Change::Measure {
                    number: notification,
                    column,
                    value_ns,
                    told,
                });
            }
        }
        Outcome::Verdict(verdict) => verdicts.first(*verdict, rows),
        Outcome::Again(again) => verdicts.again(&again, rows),
        // Each of them was counted.
        Outcome::Repeats(_) | Outcome::Relay(_) | Outcome::Phase(_) => {}
    }
}
