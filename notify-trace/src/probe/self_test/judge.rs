//! What came back of the self-test, held against what is true: pure, but for the user's id.

use bytes::Bytes;
use notify_trace_common::limits::Emitter;
use notify_trace_common::record as wire;

use super::PAYLOAD;
use crate::decode::record::{Record, decode};
use crate::event::PlanName;
use crate::probe::load::SELF_TEST_RULE;
use crate::probe::plan;

/// What came out of it.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Without these, nothing shown could be trusted.
    pub fatal: Vec<String>,
    /// With these, something is not shown.
    pub warnings: Vec<String>,
    /// How many of all these say that a record did not come, and not what is wrong with one that did.
    pub missing: usize,
}

/// What of the self-test was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    sends: Vec<(wire::Send, Bytes)>,
    outcomes: Vec<wire::Outcome>,
    dequeues: Vec<wire::Dequeue>,
    receivers: Vec<wire::Receiver>,
    closed: Vec<wire::ReceiverClosed>,
    connects: Vec<wire::ConnectFailed>,
    exits: Vec<wire::Exit>,
    late: Vec<wire::LateSender>,
}

/// What this process knows of itself.
pub(super) struct Truth {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) child: u32,
    pub(super) receiver_inode: u64,
    pub(super) start_ticks: Option<u64>,
    pub(super) cgroup: Option<u64>,
}

impl Seen {
    /// Takes a record if it is the self-test's own.
    pub(super) fn take(&mut self, bytes: &Bytes, pid: u32, child: u32) -> bool {
        let Ok(record) = decode(bytes) else {
            return false;
        };
        match record {
            Record::Send { send, payload } if send.rule == SELF_TEST_RULE => {
                self.sends.push((send, payload));
            }
            Record::Outcome(outcome) if outcome.rule == SELF_TEST_RULE => {
                self.outcomes.push(outcome);
            }
            Record::Dequeue(dequeue) if dequeue.rule == SELF_TEST_RULE => {
                self.dequeues.push(dequeue);
            }
            Record::Receiver(receiver) if receiver.rule == SELF_TEST_RULE => {
                self.receivers.push(receiver);
            }
            Record::ReceiverClosed(closed) if closed.rule == SELF_TEST_RULE => {
                self.closed.push(closed);
            }
            Record::ConnectFailed(failed) if failed.rule == SELF_TEST_RULE => {
                self.connects.push(failed);
            }
            Record::Exit(exit) if exit.tgid == child && child != 0 => self.exits.push(exit),
            Record::LateSender(late) if [pid, child].contains(&late.sender.tgid) => {
                self.late.push(late);
            }
            _ => return false,
        }
        true
    }

    /// Holds what was seen against what is true, by what these programs of a plan can see.
    pub(super) fn judge(&self, programs: &[Emitter], plan: PlanName, truth: &Truth) -> Findings {
        let is_attached = |any: &[Emitter]| plan::contain(programs, any);
        let mut findings = Findings::default();
        let sees_queue = is_attached(plan::QUEUE);
        let is_by_receiver = plan == PlanName::Tracepoints;
        // Two are read; the third is left unread, which this plan can't see.
        let expected = if is_by_receiver { 2 } else { 3 };
        let sent = self.sends.len();
        if sent != expected {
            findings
                .fatal
                .push(format!("{sent} of {expected} datagrams came back"));
            findings.missing += usize::from(sent < expected);
        }
        for (send, payload) in &self.sends {
            self.judge_send(send, payload, truth, &mut findings);
        }
        let mut expect = |is_expected: bool, seen: usize, wanted: usize, what: &str| {
            if is_expected && seen != wanted {
                findings
                    .warnings
                    .push(format!("self-test: {seen} of {wanted} {what} came back"));
                findings.missing += usize::from(seen < wanted);
            }
        };
        expect(!is_by_receiver, self.outcomes.len(), 3, "results");
        expect(
            (is_attached(plan::DEQUEUE) && sees_queue) || is_by_receiver,
            self.dequeues.len(),
            2,
            "deliveries",
        );
        expect(
            is_attached(plan::RELEASE) && sees_queue,
            self.closed.len(),
            1,
            "closed receivers",
        );
        // In the other plan only senders that outlive the delivery are followed.
        expect(
            is_attached(&[Emitter::Exit]) && !is_by_receiver,
            self.exits.len(),
            1,
            "exits",
        );
        expect(
            sees_queue || is_by_receiver,
            self.receivers.len(),
            1,
            "receivers",
        );
        expect(
            is_attached(plan::CONNECT),
            self.connects.len(),
            1,
            "failed connects",
        );
        for dequeue in &self.dequeues {
            findings.expect(dequeue.reader.tgid == truth.pid, "reader");
            if dequeue.flags & wire::DEQUEUE_CREDENTIALS != 0
                && ![truth.pid, truth.child].contains(&dequeue.told_pid)
            {
                findings
                    .warnings
                    .push("self-test: wrong credentials came back".to_owned());
            }
        }
        for closed in &self.closed {
            findings.expect(closed.queue_len == 1, "queue length");
        }
        findings
    }

    fn judge_send(
        &self,
        send: &wire::Send,
        payload: &Bytes,
        truth: &Truth,
        findings: &mut Findings,
    ) {
        if payload[..] != *PAYLOAD || usize::try_from(send.len) != Ok(PAYLOAD.len()) {
            findings
                .fatal
                .push("a payload came back changed".to_owned());
        }
        let mut sender = send.sender;
        if send.flags & wire::SEND_SENDER_UNKNOWN != 0 {
            let Some(late) = self
                .late
                .iter()
                .find(|late| late.header.id == send.header.id)
            else {
                return;
            };
            sender = late.sender;
        }
        if ![truth.pid, truth.child].contains(&sender.tgid) {
            findings
                .fatal
                .push("a datagram came back with a wrong sender".to_owned());
            return;
        }
        let mut expect = |is_right, what| findings.expect(is_right, what);
        if sender.tgid == truth.pid {
            expect([0, truth.parent].contains(&sender.parent_tgid), "parent");
            if let (Some(ticks), true) = (truth.start_ticks, sender.start_boottime_ns != 0) {
                // The kernel shows ticks of 1/100 s, rounded down.
                let shown = sender.start_boottime_ns / 10_000_000;
                expect(shown.abs_diff(ticks) <= 1, "start time");
            }
            if let Some(cgroup) = truth.cgroup {
                expect(sender.cgroup_id == cgroup, "cgroup");
            }
            expect(
                send.fds == 1 || send.flags & wire::SEND_FDS_UNKNOWN != 0,
                "number of file descriptors",
            );
        } else {
            expect([0, truth.pid].contains(&sender.parent_tgid), "parent");
        }
        expect(sender.uid == rustix::process::getuid().as_raw(), "user");
        expect(
            [0, truth.receiver_inode].contains(&send.receiver_inode),
            "receiver",
        );
    }
}

impl Findings {
    /// Warns of what came and is not right.
    fn expect(&mut self, is_right: bool, what: &str) {
        if !is_right {
            self.warnings
                .push(format!("self-test: a wrong {what} came back"));
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.fatal.is_empty() && self.warnings.is_empty()
    }

    /// Whether records are missing, and nothing is wrong with those that came.
    pub(super) fn are_only_missing(&self) -> bool {
        self.missing > 0 && self.missing == self.fatal.len() + self.warnings.len()
    }

    /// Says that what is missing need not be due to the hooks.
    pub(super) fn with_doubt(mut self, attempts: u32) -> Self {
        let doubt = format!(
            "the kernel went on skipping program runs over {attempts} attempts, so a hook that seems silent may work"
        );
        if self.fatal.is_empty() {
            self.warnings.push(format!("self-test: {doubt}"));
        } else {
            self.fatal.push(doubt);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;

    #[test]
    fn a_doubt_stands_where_it_is_read() {
        let with = |fatal: &[&str]| {
            let findings = Findings {
                fatal: fatal.iter().map(ToString::to_string).collect(),
                warnings: vec!["self-test: 0 of 1 exits came back".to_owned()],
                missing: fatal.len() + 1,
            };
            let findings = findings.with_doubt(3);
            (findings.fatal.len(), findings.warnings.len())
        };
        assert_eq!(with(&[]), (0, 2));
        assert_eq!(with(&["0 of 3 datagrams came back"]), (2, 1));
    }

    /// What is found where so many of three datagrams were seen, of which this process sent each, as it says.
    fn found(seen: usize, sender: u32, payload: &'static [u8]) -> Findings {
        let truth = Truth {
            pid: 7,
            parent: 1,
            child: 8,
            receiver_inode: 50,
            start_ticks: None,
            cgroup: None,
        };
        let send = wire::Send {
            sender: wire::Task {
                tgid: sender,
                uid: rustix::process::getuid().as_raw(),
                ..wire::Task::new_zeroed()
            },
            len: 24,
            fds: 1,
            ..wire::Send::new_zeroed()
        };
        let seen = Seen {
            sends: vec![(send, Bytes::from_static(payload)); seen],
            outcomes: vec![wire::Outcome::new_zeroed(); 3],
            ..Seen::default()
        };
        seen.judge(&[], PlanName::Full, &truth)
    }

    #[test]
    fn what_came_and_is_wrong_is_told_from_what_did_not_come() {
        assert!(found(3, 7, PAYLOAD).is_complete());
        assert!(!found(3, 7, PAYLOAD).are_only_missing());
        assert!(found(2, 7, PAYLOAD).are_only_missing());
        assert!(found(0, 7, PAYLOAD).are_only_missing());
        assert!(!found(2, 9, PAYLOAD).are_only_missing(), "a wrong sender");
        assert!(!found(2, 7, b"another").are_only_missing(), "changed");
        assert!(!found(4, 7, PAYLOAD).are_only_missing(), "one too many");
    }
}
