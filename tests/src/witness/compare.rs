//! Two accounts of one service manager's notifications: its own lines, and the agent's dequeues.
//!
//! Every line must have exactly one dequeue, with the same process and the same fields, the last one
//! before it; every dequeue its line.

use std::fmt;

use super::{
    fields::{has_embedded_nul, is_barrier, is_unsplittable, logged},
    journal::{Line, Said, Why},
};

/// systemd reads so many bytes of a datagram.
const READ_BYTES: u32 = 4096;
/// Times of lines are in whole microseconds, and the distance of the two clocks, too.
const ROUNDED_NS: u64 = 4_000;
/// So much may a time of the kernel's log, which has a clock of its own, lie before the dequeue's.
const EARLIER_NS: u64 = 200_000_000;
/// So much may it lie behind: the manager looks up units first, and may have to wait for a CPU.
const LATER_NS: u64 = 5_000_000_000;

/// A datagram that a manager took, as the agent tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dequeue {
    /// When, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The process of the credentials that the manager was told.
    pub pid: u32,
    /// Its payload, as far as the agent keeps it.
    pub payload: Vec<u8>,
    /// Its length.
    pub length_bytes: u32,
    /// The sender's entry was seen, and its call succeeded.
    pub was_sent: bool,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Lines of messages with their dequeue.
    pub messages: usize,
    /// Lines of barriers with their dequeue.
    pub barriers: usize,
    /// Lines of refusals with their dequeue.
    pub refusals: usize,
    /// Lines of these that came through the kernel's log.
    pub by_kernel: usize,
    /// Lines that the agent has no dequeue for.
    pub missing: Vec<String>,
    /// Dequeues that the manager has no line for.
    pub extra: Vec<String>,
    /// Lines without a dequeue from before the agent was there.
    pub before: usize,
    /// Dequeues without the send that they are of.
    pub unsent: Vec<String>,
}

impl Outcome {
    /// Lines that have their dequeue.
    pub fn matched(&self) -> usize {
        self.messages + self.barriers + self.refusals
    }

    /// Both accounts are the same.
    pub fn is_the_same(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.unsent.is_empty()
    }

    /// All that differs, a line each.
    pub fn differences(&self) -> impl Iterator<Item = String> {
        [
            ("missing in the trace", &self.missing),
            ("extra in the trace", &self.extra),
            ("without its send", &self.unsent),
        ]
        .into_iter()
        .flat_map(|(what, list)| list.iter().map(move |one| format!("{what}: {one}")))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "matched {}, missing {}, extra {} (messages {}, barriers {}, refusals {}; {} through the \
             kernel's log; {} from before the agent)",
            self.matched(),
            self.missing.len(),
            self.extra.len(),
            self.messages,
            self.barriers,
            self.refusals,
            self.by_kernel,
            self.before
        )
    }
}

/// Compares the lines with the dequeues, both of one manager; the agent was there from `since_ns` on.
pub fn compare(lines: &[Line], dequeues: &[Dequeue], since_ns: u64) -> Outcome {
    let mut lines: Vec<&Line> = lines.iter().collect();
    lines.sort_by_key(|line| line.at_ns);
    let mut dequeues: Vec<&Dequeue> = dequeues.iter().collect();
    dequeues.sort_by_key(|dequeue| dequeue.at_ns);

    let mut dequeue_of: Vec<Option<usize>> = vec![None; lines.len()];
    let mut is_taken = vec![false; dequeues.len()];
    // A manager takes one datagram, writes its line, takes the next: a line is of the last dequeue
    // before it.
    for (line, found) in lines.iter().zip(&mut dequeue_of) {
        let before = dequeues.partition_point(|it| it.at_ns <= line.at_ns + ROUNDED_NS);
        *found = before
            .checked_sub(1)
            .filter(|index| !line.by_kernel && !is_taken[*index])
            .filter(|index| is_of(&line.said, dequeues[*index]));
        if let Some(index) = *found {
            is_taken[index] = true;
        }
    }
    // By the kernel's clock only the neighbourhood is certain. What says most chooses first: a
    // refusal would take any datagram of its process.
    for round in [says_fields, says_process, says_reason] {
        for (line, found) in lines.iter().zip(&mut dequeue_of) {
            if !line.by_kernel || !round(&line.said) {
                continue;
            }
            let first = dequeues.partition_point(|it| it.at_ns + LATER_NS < line.at_ns);
            *found = (first..dequeues.len())
                .take_while(|index| dequeues[*index].at_ns <= line.at_ns + EARLIER_NS)
                .find(|index| !is_taken[*index] && is_of(&line.said, dequeues[*index]));
            if let Some(index) = *found {
                is_taken[index] = true;
            }
        }
    }

    let mut outcome = Outcome::default();
    for (line, found) in lines.iter().zip(&dequeue_of) {
        let Some(index) = *found else {
            if line.at_ns < since_ns {
                outcome.before += 1;
            } else {
                outcome.missing.push(told(line));
            }
            continue;
        };
        match &line.said {
            Said::Message { .. } => outcome.messages += 1,
            Said::Barrier { .. } => outcome.barriers += 1,
            Said::Refused { .. } | Said::Nameless(_) => outcome.refusals += 1,
        }
        outcome.by_kernel += usize::from(line.by_kernel);
        if !dequeues[index].was_sent {
            outcome.unsent.push(shown(dequeues[index]));
        }
    }
    outcome.extra = dequeues
        .iter()
        .zip(&is_taken)
        .filter(|(_, is_taken)| !**is_taken)
        .map(|(dequeue, _)| shown(dequeue))
        .collect();
    outcome
}

fn says_fields(said: &Said) -> bool {
    matches!(said, Said::Message { .. } | Said::Barrier { .. })
}

fn says_process(said: &Said) -> bool {
    matches!(said, Said::Refused { .. })
}

fn says_reason(said: &Said) -> bool {
    matches!(said, Said::Nameless(_))
}

/// Whether a line can be about a datagram, times aside.
fn is_of(said: &Said, dequeue: &Dequeue) -> bool {
    let is_too_long = dequeue.length_bytes > READ_BYTES;
    let has_nul = has_embedded_nul(&dequeue.payload);
    let is_broken = is_too_long || has_nul || is_unsplittable(&dequeue.payload);
    match said {
        Said::Message { pid, text, is_cut } => {
            let is_same = logged(&dequeue.payload).is_some_and(|fields| {
                if *is_cut {
                    fields.starts_with(text)
                } else {
                    fields == *text
                }
            });
            *pid == dequeue.pid && is_same && !is_broken && !is_barrier(&dequeue.payload)
        }
        Said::Barrier { pid } => *pid == dequeue.pid && !is_broken && is_barrier(&dequeue.payload),
        Said::Refused { pid } => *pid == dequeue.pid && !is_broken && !is_barrier(&dequeue.payload),
        Said::Nameless(Why::TooLong) => is_too_long,
        Said::Nameless(Why::EmbeddedNul) => !is_too_long && has_nul,
        Said::Nameless(Why::Unsplittable) => {
            !is_too_long && !has_nul && is_unsplittable(&dequeue.payload)
        }
        // Looked at before all else but the length.
        Said::Nameless(Why::SenderDied) => !is_too_long,
        Said::Nameless(Why::OtherUnit) => !is_broken && !is_barrier(&dequeue.payload),
    }
}

fn told(line: &Line) -> String {
    let said = match &line.said {
        Said::Message { pid, text, .. } => {
            format!("a message of {pid}: {}", text.escape_ascii())
        }
        other => format!("{other:?}"),
    };
    format!("{:.6} s {said}", seconds(line.at_ns))
}

fn shown(dequeue: &Dequeue) -> String {
    let payload = dequeue.payload.escape_ascii();
    format!(
        "{:.6} s {} bytes of {}: {payload}",
        seconds(dequeue.at_ns),
        dequeue.length_bytes,
        dequeue.pid
    )
}

#[expect(clippy::cast_precision_loss, reason = "to be read by people")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn dequeue(at: u64, pid: u32, payload: &[u8]) -> Dequeue {
        Dequeue {
            at_ns: at * SECOND,
            pid,
            payload: payload.to_vec(),
            length_bytes: u32::try_from(payload.len()).unwrap(),
            was_sent: true,
        }
    }

    fn line(at: u64, said: Said) -> Line {
        Line {
            at_ns: at * SECOND + 1000,
            by_kernel: false,
            said,
        }
    }

    fn message(at: u64, pid: u32, text: &str) -> Line {
        let text = text.as_bytes().to_vec();
        line(
            at,
            Said::Message {
                pid,
                text,
                is_cut: false,
            },
        )
    }

    fn numbers(outcome: &Outcome) -> (usize, usize, usize) {
        (
            outcome.matched(),
            outcome.missing.len(),
            outcome.extra.len(),
        )
    }

    #[test]
    fn each_line_takes_one_dequeue_of_its_process_with_its_fields() {
        let lines = [
            message(1, 7, "READY=1, STATUS=a"),
            line(2, Said::Barrier { pid: 7 }),
            message(3, 8, "READY=1"),
        ];
        let dequeues = [
            dequeue(1, 7, b"READY=1\nSTATUS=a"),
            dequeue(2, 7, b"BARRIER=1"),
            dequeue(3, 8, b"READY=1"),
        ];
        let outcome = compare(&lines, &dequeues, 0);
        assert_eq!(numbers(&outcome), (3, 0, 0));
        assert!(outcome.is_the_same());
        assert_eq!((outcome.messages, outcome.barriers), (2, 1));
    }

    #[test]
    fn another_process_or_other_fields_are_not_the_same() {
        let lines = [message(1, 7, "READY=1")];
        for other in [dequeue(1, 8, b"READY=1"), dequeue(1, 7, b"READY=0")] {
            let outcome = compare(&lines, &[other], 0);
            assert_eq!(numbers(&outcome), (0, 1, 1));
            assert!(!outcome.is_the_same());
        }
    }

    #[test]
    fn a_dequeue_counts_once() {
        let twice = [message(1, 7, "READY=1"), message(1, 7, "READY=1")];
        let once = [dequeue(1, 7, b"READY=1")];
        assert_eq!(numbers(&compare(&twice, &once, 0)), (1, 1, 0));
        let both = [once[0].clone(), once[0].clone()];
        assert_eq!(numbers(&compare(&twice[..1], &both, 0)), (1, 0, 1));
    }

    #[test]
    fn a_line_is_of_the_last_dequeue_before_it() {
        let line = [message(9, 7, "READY=1")];
        let early = dequeue(1, 7, b"READY=1");
        assert_eq!(
            numbers(&compare(&line, slice::from_ref(&early), 0)),
            (1, 0, 0)
        );
        let both = [early, dequeue(8, 7, b"STATUS=x")];
        assert_eq!(numbers(&compare(&line, &both, 0)), (0, 1, 2));
        let late = [dequeue(10, 7, b"READY=1")];
        assert_eq!(numbers(&compare(&line, &late, 0)), (0, 1, 1));
    }

    #[test]
    fn another_order_is_not_the_same() {
        let lines = [message(1, 7, "A=1"), message(2, 7, "B=2")];
        let dequeues = [dequeue(1, 7, b"B=2"), dequeue(2, 7, b"A=1")];
        assert_eq!(numbers(&compare(&lines, &dequeues, 0)), (0, 2, 2));
    }

    fn by_kernel(line: Line, at_ns: u64) -> Line {
        Line {
            at_ns,
            by_kernel: true,
            ..line
        }
    }

    #[test]
    fn a_line_by_the_kernels_clock_is_of_a_dequeue_nearby() {
        let ready = || message(0, 7, "READY=1");
        let dequeues = [dequeue(2, 7, b"READY=1"), dequeue(2, 8, b"STATUS=x")];
        for (at_ns, is_near) in [
            (2 * SECOND - 1000, true),
            (2 * SECOND + 1000, true),
            (SECOND, false),
            (90 * SECOND, false),
        ] {
            let outcome = compare(&[by_kernel(ready(), at_ns)], &dequeues, 0);
            assert_eq!(outcome.matched() == 1, is_near, "{at_ns}");
            assert_eq!(outcome.by_kernel, outcome.matched());
        }
    }

    #[test]
    fn a_refusal_by_the_kernels_clock_takes_what_lines_with_fields_leave() {
        let refused = line(1, Said::Refused { pid: 7 });
        let lines = [
            by_kernel(refused, SECOND),
            by_kernel(message(1, 7, "READY=1"), SECOND + 1),
        ];
        let dequeues = [dequeue(1, 7, b"READY=1"), dequeue(1, 7, b"STATUS=x")];
        let outcome = compare(&lines, &dequeues, 0);
        assert_eq!(numbers(&outcome), (2, 0, 0));
        assert_eq!(outcome.refusals, 1);
    }

    #[test]
    fn a_refusal_that_names_nobody_is_of_what_its_reason_fits() {
        let long = Dequeue {
            length_bytes: 5000,
            ..dequeue(1, 7, b"STATUS=x")
        };
        let nul = dequeue(2, 7, b"A=1\0B=2");
        let dequeues = [long, nul, dequeue(3, 9, b"READY=1")];
        let lines = [
            line(1, Said::Nameless(Why::TooLong)),
            line(2, Said::Nameless(Why::EmbeddedNul)),
            line(3, Said::Nameless(Why::SenderDied)),
        ];
        assert!(compare(&lines, &dequeues, 0).is_the_same());
        let wrong = [line(1, Said::Nameless(Why::EmbeddedNul))];
        assert_eq!(numbers(&compare(&wrong, &dequeues[..1], 0)), (0, 1, 1));
    }

    #[test]
    fn a_cut_line_has_the_beginning_of_the_fields() {
        let cut = line(
            1,
            Said::Message {
                pid: 7,
                text: b"STATUS=xx".to_vec(),
                is_cut: true,
            },
        );
        let outcome = compare(&[cut], &[dequeue(1, 7, b"STATUS=xxxx")], 0);
        assert_eq!(numbers(&outcome), (1, 0, 0));
    }

    #[test]
    fn a_dequeue_without_its_send_is_told() {
        let unsent = Dequeue {
            was_sent: false,
            ..dequeue(1, 7, b"A=1")
        };
        let outcome = compare(&[message(1, 7, "A=1")], &[unsent], 0);
        assert!(!outcome.is_the_same());
    }

    #[test]
    fn what_was_before_the_agent_is_counted_apart() {
        let lines = [message(1, 7, "READY=1"), message(9, 7, "READY=1")];
        let outcome = compare(&lines, &[dequeue(9, 7, b"READY=1")], 5 * SECOND);
        assert_eq!(numbers(&outcome), (1, 0, 0));
        assert_eq!(outcome.before, 1);
    }
}
