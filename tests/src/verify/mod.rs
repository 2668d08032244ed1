//! Compares what the agent showed of a case with what happened.
//!
//! The rule is the same for all plans: every datagram that the plan can see is shown exactly once,
//! what is shown is right, and what is absent is named as unknown and is something that the plan
//! can't know. [`Plan`] says what that is.

mod around;
mod datagram;
mod pairing;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    plan::Plan,
    shown::{ConnectFailed, Datagram, Exit, ReceiverClosed, Shown},
    truth::Truth,
};

/// What was shown of one case.
#[derive(Clone, Debug, Default)]
pub struct Part<'a> {
    /// Datagrams, their updates applied.
    pub datagrams: Vec<&'a Datagram>,
    /// Failed connects.
    pub connects: Vec<&'a ConnectFailed>,
    /// Receivers' ends.
    pub closed: Vec<&'a ReceiverClosed>,
    /// Senders' ends.
    pub exits: Vec<&'a Exit>,
    /// Program runs that the kernel skipped, by the agent's own count, of all cases together.
    pub skipped_runs: u64,
}

/// By how much times of the two clocks may differ, see [`allow_a_steered_clock`].
static STEERED_NS: AtomicU64 = AtomicU64::new(0);

/// Kernel programs tell the time by `ktime_get_mono_fast_ns`, which goes wrong by some microseconds
/// when the clock is steered (kernel/time/timekeeping.c). Nobody steers a guest's clock; this
/// machine's may be.
pub fn allow_a_steered_clock() {
    STEERED_NS.store(20_000, Ordering::Relaxed);
}

/// Whether a kernel program's time lies between two of `clock_gettime`.
fn is_between(time_ns: u64, from_ns: u64, to_ns: u64) -> bool {
    let apart_ns = STEERED_NS.load(Ordering::Relaxed);
    (from_ns.saturating_sub(apart_ns)..=to_ns.saturating_add(apart_ns)).contains(&time_ns)
}

/// A datagram that was shown, with the call that it is.
pub type Pair<'a> = (usize, &'a Datagram);

/// What is wrong, each a sentence; and what is worth knowing though nothing is wrong.
#[derive(Clone, Debug, Default)]
pub struct Problems(pub Vec<String>, pub Vec<String>);

impl Problems {
    /// One more.
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// Something worth knowing.
    pub fn note(&mut self, note: impl Into<String>) {
        self.1.push(note.into());
    }

    /// One more, unless the two are equal.
    pub fn unless_equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, shown: T, truth: T) {
        if shown != truth {
            self.add(format!("{what}: shown {shown:?}, was {truth:?}"));
        }
    }

    /// All of another list, each with what they are about.
    fn extend(&mut self, about: &str, others: Self) {
        self.0.extend(
            others
                .0
                .into_iter()
                .map(|problem| format!("{about}: {problem}")),
        );
        self.1
            .extend(others.1.into_iter().map(|note| format!("{about}: {note}")));
    }
}

impl<'a> Part<'a> {
    /// Whatever speaks of a process, a socket or an address of the case.
    pub fn of(truth: &Truth, dir: &str, shown: &'a Shown) -> Self {
        let is_own_pid = |pid: u32| truth.pids.contains(&pid);
        let is_own_socket = |inode: u64| {
            truth
                .receivers
                .iter()
                .any(|receiver| receiver.inode == inode)
        };
        let own_dir = [dir.as_bytes(), b"/"].concat();
        let is_own_address = |address: &[u8]| {
            let path = address.strip_prefix(b"\0").unwrap_or(address);
            path.starts_with(&own_dir)
        };
        Self {
            datagrams: shown
                .datagrams
                .iter()
                .filter(|datagram| {
                    let sender = datagram.sender.as_ref();
                    let receiver = datagram.receiver.as_ref();
                    let destination = datagram.destination.as_ref();
                    sender.is_some_and(|sender| is_own_pid(sender.pid))
                        || receiver.is_some_and(|receiver| is_own_socket(receiver.inode))
                        || destination.is_some_and(|it| is_own_address(&it.address.address()))
                })
                .collect(),
            connects: shown
                .connects
                .iter()
                .filter(|it| is_own_pid(it.sender.pid) || is_own_address(&it.address.address()))
                .collect(),
            closed: shown
                .closed
                .iter()
                .filter(|it| is_own_pid(it.closer.pid) || is_own_socket(it.receiver.inode))
                .collect(),
            exits: shown
                .exits
                .iter()
                .filter(|exit| is_own_pid(exit.pid))
                .collect(),
            skipped_runs: shown.skipped_runs(),
        }
    }
}

/// Compares; the pairs are for checks of the case's own.
pub fn verify<'a>(truth: &Truth, part: &Part<'a>, plan: Plan) -> (Vec<Pair<'a>>, Problems) {
    let mut problems = Problems::default();
    let pairs = pairing::pair(truth, &part.datagrams, plan, &mut problems);
    for (index, datagram) in &pairs {
        let checked = datagram::check(
            truth,
            &truth.sends[*index],
            datagram,
            plan,
            part.skipped_runs,
        );
        problems.extend(&format!("datagram {}", datagram.id), checked);
    }
    datagram::check_repetitions(truth, &pairs, &mut problems);
    for receiver in &truth.receivers {
        around::check_reading(receiver, &pairs, truth, plan, &mut problems);
        around::check_end(receiver, truth, part, plan, &mut problems);
    }
    around::check_connects(truth, part, plan, &mut problems);
    around::check_exits(truth, part, plan, &mut problems);
    (pairs, problems)
}
