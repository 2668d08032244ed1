//! What an agent leaves out so that it costs no more than it may: those who send most, first.
//!
//! Time on CPUs is saved up for some seconds, so a burst (a boot, an update) costs what it costs. When
//! that is used up, each cgroup may send so many datagrams a second, fewer and fewer until it is
//! enough; who sends less than [`MIN_PER_SECOND`] is never left out. Pure: the caller says what time it is
//! and what was used.

use std::cmp::Reverse;
use std::collections::HashMap;

use notify_trace_common::record::Task;

use crate::decode::Record;
use crate::names::Recent;

/// So many datagrams a second are never left out.
const MIN_PER_SECOND: u64 = 20;

/// So many seconds' worth of time is saved up.
const SAVED_SECONDS: u64 = 30;

/// How often it is decided.
const STEP_NS: u64 = 1_000_000_000;

/// Most cgroups that are counted each on their own in a second; the others of a user share one count.
const CGROUPS: usize = 4_096;

/// Marks the count of a user, among those of cgroups.
const OF_A_USER: u64 = 1 << 63;

/// Most datagrams that were left out and of which records may still come.
const OPEN: usize = 65_536;

/// Most cgroups that are named as left out.
const NAMED: usize = 8;

/// How long is waited before the rings are read again, when nothing else helps: what has no room in
/// them is counted by the kernel programs.
const PAUSE_MS: u64 = 50;

/// Decides what is left out.
#[derive(Debug)]
pub(super) struct Shed {
    percent: u64,
    /// Time on CPUs that may be used before anything is left out.
    saved_ns: i64,
    last: Option<Moment>,
    /// Datagrams that a cgroup may send in a second.
    allowed: Option<u64>,
    /// What each has sent in this second.
    sent: HashMap<u64, u64>,
    left_out: Recent<u64, ()>,
    /// Processes whose last datagram was left out.
    unheard: Recent<u32, ()>,
    /// Datagrams that were left out, all in all.
    count: u64,
    /// Of which cgroups, since they were told last.
    of: HashMap<u64, u64>,
}

/// When, and how much time was used until then.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at_ns: u64,
    cpu_ns: u64,
}

impl Shed {
    /// With so many percent of one CPU to use.
    pub(super) fn new(percent: u32) -> Self {
        let percent = u64::from(percent);
        Self {
            percent,
            saved_ns: most_saved_ns(percent),
            last: None,
            allowed: None,
            sent: HashMap::new(),
            left_out: Recent::new(OPEN),
            unheard: Recent::new(OPEN),
            count: 0,
            of: HashMap::new(),
        }
    }

    /// Whether a record is of a datagram that is left out.
    pub(super) fn leaves_out(&mut self, record: &Record) -> bool {
        let id = record.header().id;
        match record {
            Record::Send { send, .. } => {
                let is_over = self.is_over(&send.sender);
                if is_over {
                    self.left_out.insert(id, ());
                    self.unheard.insert(send.sender.tgid, ());
                } else if !self.unheard.is_empty() {
                    self.unheard.remove(&send.sender.tgid);
                }
                is_over
            }
            Record::ConnectFailed(failed) => self.is_over(&failed.sender),
            Record::ReceiverClosed(closed) => self.is_over(&closed.closer),
            // Of a process of which nothing was taken.
            Record::Exit(exit) => {
                !self.unheard.is_empty() && self.unheard.remove(&exit.tgid).is_some()
            }
            Record::Outcome(_) | Record::Dequeue(_) | Record::LateSender(_) => {
                !self.left_out.is_empty() && self.left_out.get(&id).is_some()
            }
            Record::Cgroup { .. } | Record::Receiver(_) => false,
        }
    }

    /// Counts one of this sender's cgroup, which may be one too many.
    fn is_over(&mut self, sender: &Task) -> bool {
        self.is_over_of(sender.cgroup_id, sender.uid)
    }

    /// Who has no cgroup, or one too many of them, is counted with others of the same user only.
    fn is_over_of(&mut self, cgroup: u64, uid: u32) -> bool {
        let is_own = cgroup != 0 && (self.sent.len() < CGROUPS || self.sent.contains_key(&cgroup));
        let cgroup = if is_own {
            cgroup
        } else {
            OF_A_USER | u64::from(uid)
        };
        let sent = self.sent.entry(cgroup).or_default();
        *sent += 1;
        let is_over = self.allowed.is_some_and(|allowed| *sent > allowed);
        if is_over {
            self.count += 1;
            *self.of.entry(cgroup).or_default() += 1;
        }
        is_over
    }

    /// Decides, once a second, how much each may send in the next one.
    pub(super) fn step(&mut self, at_ns: u64, used: impl FnOnce() -> u64) {
        let Some(last) = self.last else {
            self.last = Some(Moment {
                at_ns,
                cpu_ns: used(),
            });
            return;
        };
        let passed_ns = at_ns.saturating_sub(last.at_ns);
        if passed_ns < STEP_NS {
            return;
        }
        let cpu_ns = used();
        let used_ns = cpu_ns.saturating_sub(last.cpu_ns);
        self.last = Some(Moment { at_ns, cpu_ns });
        let may_ns = passed_ns.saturating_mul(self.percent) / 100;
        let saved_ns = self.saved_ns + signed(may_ns) - signed(used_ns);
        // No debts are made: what was used in spite of all is not held against those who send later.
        self.saved_ns = saved_ns.clamp(0, most_saved_ns(self.percent));
        let most = self.sent.values().copied().max().unwrap_or(0);
        self.sent.clear();
        self.allowed = next(self.allowed, most, self.saved_ns, used_ns > may_ns);
    }

    /// How long to wait before the rings are read again: all that helps when those who are left out
    /// cost too much.
    pub(super) fn pause_ms(&self) -> Option<u64> {
        (self.saved_ns == 0 && self.allowed == Some(MIN_PER_SECOND)).then_some(PAUSE_MS)
    }

    /// Datagrams that were left out, all in all.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Of which cgroups most, since this was asked last, and how many.
    pub(super) fn take_most(&mut self) -> Vec<(u64, u64)> {
        let mut all: Vec<(u64, u64)> = std::mem::take(&mut self.of).into_iter().collect();
        all.sort_unstable_by_key(|(cgroup, count)| (Reverse(*count), *cgroup));
        all.truncate(NAMED);
        all
    }
}

/// What each may send, after a second in which one sent `most`.
fn next(allowed: Option<u64>, most: u64, saved_ns: i64, is_too_much: bool) -> Option<u64> {
    match allowed {
        None if saved_ns > 0 => None,
        None => Some((most / 2).max(MIN_PER_SECOND)),
        Some(allowed) if is_too_much && saved_ns == 0 => Some((allowed / 2).max(MIN_PER_SECOND)),
        Some(allowed) if is_too_much => Some(allowed),
        // Nobody would be left out.
        Some(allowed) if most < allowed => None,
        Some(allowed) => Some(allowed + (allowed / 4).max(1)),
    }
}

fn most_saved_ns(percent: u64) -> i64 {
    signed(percent.saturating_mul(SAVED_SECONDS * STEP_NS) / 100)
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = STEP_NS;

    /// So many seconds, each with so many datagrams of these cgroups and such a use; how many of each were
    /// taken in the last.
    fn seconds(shed: &mut Shed, from: u64, count: u64, rates: &[u64], percent: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        for second in from..from + count {
            taken = rates
                .iter()
                .enumerate()
                .map(|(cgroup, rate)| {
                    let taken = (0..*rate).filter(|_| !shed.is_over_of(cgroup as u64 + 1, 0));
                    taken.count() as u64
                })
                .collect();
            shed.step((second + 1) * S, || (second + 1) * S * percent / 100);
        }
        taken
    }

    fn begun(percent: u32) -> Shed {
        let mut shed = Shed::new(percent);
        shed.step(0, || 0);
        shed
    }

    #[test]
    fn a_burst_costs_what_it_costs() {
        let mut shed = begun(25);
        // 25 % for 30 s are saved up: 10 s of 90 % are within that.
        assert_eq!(seconds(&mut shed, 0, 10, &[5_000], 90), [5_000]);
        assert_eq!(shed.count(), 0);
    }

    #[test]
    fn a_flood_is_left_out_and_the_quiet_are_not() {
        let mut shed = begun(25);
        let taken = seconds(&mut shed, 0, 60, &[50_000, 10, 1], 100);
        assert_eq!(taken, [MIN_PER_SECOND, 10, 1]);
        assert!(shed.count() > 1_000_000);
        let of: Vec<u64> = shed.take_most().iter().map(|(cgroup, _)| *cgroup).collect();
        assert_eq!(of, [1]);
        assert_eq!(shed.pause_ms(), Some(PAUSE_MS));
    }

    #[test]
    fn when_it_is_over_all_are_heard_again() {
        let mut shed = begun(25);
        seconds(&mut shed, 0, 60, &[50_000], 100);
        let taken = seconds(&mut shed, 60, 60, &[100], 1);
        assert_eq!((taken, shed.allowed), (vec![100], None));
    }

    #[test]
    fn many_cgroups_are_bounded() {
        let mut shed = begun(25);
        for cgroup in 1..=10_000 {
            shed.is_over_of(cgroup, 1000);
        }
        assert!(shed.sent.len() <= CGROUPS + 1);
        // Whose cgroups they are pays for it, nobody else.
        shed.allowed = Some(MIN_PER_SECOND);
        assert!(shed.is_over_of(20_000, 1000));
        assert!(!shed.is_over_of(0, 33));
    }
}
