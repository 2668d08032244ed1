//! How an expectation stands. Pure.

use std::time::Duration;

use super::grammar::{Expectation, Step, Who};
use super::heard::{Heard, Message};
use crate::event::Line;
use crate::glob;

/// How an expectation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is met, whatever comes.
    Met {
        /// Since when, after the beginning; `None`: at the end, for nothing had to come.
        after_ns: Option<u64>,
    },
    /// It can't be met any more.
    Failed(Failure),
    /// That depends on what comes, until this moment if it has an end.
    Open {
        /// `CLOCK_MONOTONIC`.
        until_ns: Option<u64>,
    },
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Too few came in time.
    Missing {
        /// Which step, counted from 0.
        step: usize,
        /// How many came.
        found: usize,
        /// How many were wanted.
        wanted: usize,
        /// One that came too late: how long after they began to be waited for.
        late_ns: Option<u64>,
    },
    /// More came than were allowed.
    TooMany {
        /// Which step.
        step: usize,
        /// How many came.
        found: usize,
        /// How many were allowed.
        allowed: usize,
    },
    /// What must not come did: number of the message.
    Came(u64),
    /// Nothing came that should not, but something was lost, which may have been that.
    Lost,
}

/// How it stands with what was heard so far; `is_end`: nothing will come any more.
#[must_use]
pub fn judge(expectation: &Expectation, heard: &Heard, is_end: bool) -> Standing {
    let began_ns = heard.began_ns.unwrap_or(0);
    let is_over = |until_ns: Option<u64>| is_end || until_ns.is_some_and(|it| heard.now_ns > it);
    let mut since_ns = began_ns;
    let mut is_first = true;
    for (number, step) in expectation.steps.iter().enumerate() {
        let until_ns = step
            .within
            .map(|within| since_ns.saturating_add(ns(within)));
        let mut times: Vec<(u64, u64)> = heard
            .messages
            .iter()
            .filter(|it| is_meant(step, it))
            // What must not be sent must not even be refused; what must, has to count.
            .filter(|it| expectation.is_never || it.counts())
            .map(|it| (it.at_ns, it.id))
            .filter(|(at_ns, _)| is_first || *at_ns > since_ns)
            .collect();
        times.sort_unstable();
        let in_time = times.partition_point(|(at_ns, _)| until_ns.is_none_or(|it| *at_ns <= it));
        if expectation.is_never {
            return match times.first().filter(|_| in_time > 0) {
                Some((_, id)) => Standing::Failed(Failure::Came(*id)),
                None if is_over(until_ns) && heard.has_losses => Standing::Failed(Failure::Lost),
                None if is_over(until_ns) => Standing::Met { after_ns: None },
                None => Standing::Open { until_ns },
            };
        }
        if let Some(allowed) = step.most.filter(|most| in_time > *most) {
            return Standing::Failed(Failure::TooMany {
                step: number,
                found: in_time,
                allowed,
            });
        }
        if in_time < step.least {
            if !is_over(until_ns) {
                return Standing::Open { until_ns };
            }
            return Standing::Failed(Failure::Missing {
                step: number,
                found: in_time,
                wanted: step.least,
                late_ns: times.get(in_time).map(|(at_ns, _)| at_ns - since_ns),
            });
        }
        // One more would be too many.
        if step.most.is_some() && !is_over(until_ns) {
            return Standing::Open { until_ns };
        }
        if step.most.is_some() && heard.has_losses {
            return Standing::Failed(Failure::Lost);
        }
        if let Some((at_ns, _)) = step.least.checked_sub(1).and_then(|at| times.get(at)) {
            since_ns = *at_ns;
            is_first = false;
        }
    }
    Standing::Met {
        after_ns: (!is_first).then(|| since_ns.saturating_sub(began_ns)),
    }
}

/// Whether a message is of a step's kind.
#[must_use]
pub fn is_meant(step: &Step, it: &Message) -> bool {
    is_from(step, it)
        && step.assignments.iter().all(|(key, value)| {
            it.lines.iter().any(|line| match line {
                Line::Assignment {
                    key: its,
                    value: said,
                } => is_like(key, &its.0) && is_like(value, &said.0),
                // A withheld value is none that is known.
                Line::Redacted { key: Some(its), .. } => is_like(key, &its.0) && value == "**",
                Line::Redacted { key: None, .. } | Line::Other { .. } => false,
            })
        })
}

/// Whether a message is from a step's senders, whatever it says.
#[must_use]
pub fn is_from(step: &Step, it: &Message) -> bool {
    step.senders.iter().all(|(who, wanted)| {
        let text = |text: Option<&String>| {
            text.is_some_and(|text| {
                let short = text.split_once(':').map_or(&**text, |(_, short)| short);
                is_like(wanted, text.as_bytes()) || is_like(wanted, short.as_bytes())
            })
        };
        match who {
            Who::Unit => text(it.subject.unit.as_ref()),
            Who::Container => text(it.subject.container.as_ref()),
            Who::Comm => text(it.subject.comm.as_ref()),
            Who::Class => is_like(wanted, it.class.as_bytes()),
            Who::User => it
                .subject
                .user
                .is_some_and(|uid| *wanted == uid.to_string()),
        }
    })
}

fn is_like(wanted: &str, text: &[u8]) -> bool {
    glob::matches(wanted.as_bytes(), text)
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
