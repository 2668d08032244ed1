//! Which programs to attach: a pure function of what was tried on this kernel and what came back.
//!
//! There are four plans, no more. What a kernel can do is never derived from its version.

use std::fmt;
use std::iter;

use notify_trace_common::limits::Emitter;

use crate::event::PlanName;

/// What came back when something was tried: `Err` says it in words.
pub type Attempt = Result<(), String>;

/// What was tried on this kernel. `None`: not tried, because nothing depended on it any more.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Loading and attaching the programs of the plan that has nothing but trampolines, where the kernel
    /// preempts none.
    pub trampolines_alone: Option<Attempt>,
    /// Loading and attaching a kprobe.
    pub kprobe: Option<Attempt>,
    /// Loading and attaching a trampoline (fexit).
    pub trampoline: Option<Attempt>,
    /// Loading and attaching a raw tracepoint that the third plan needs.
    pub tracepoint: Option<Attempt>,
}

/// A plan that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which one.
    pub name: PlanName,
    /// Why.
    pub reason: String,
}

/// No plan can be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlan {
    /// What was tried, and what came back.
    pub tried: Vec<(&'static str, String)>,
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this kernel lets no program be attached")?;
        for (what, answer) in &self.tried {
            write!(f, "; {what}: {answer}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoPlan {}

/// The plan for a kernel on which `facts` were found; `forced` is the user's choice.
///
/// # Errors
/// If nothing that was tried worked, or what the user's choice needs did not.
pub fn choose(facts: &Facts, forced: Option<PlanName>) -> Result<Choice, NoPlan> {
    let works = |attempt: &Option<Attempt>| matches!(attempt, Some(Ok(())));
    let answer = |attempt: &Option<Attempt>| match attempt {
        Some(Ok(())) => "works".to_owned(),
        Some(Err(error)) => error.clone(),
        None => "not tried".to_owned(),
    };
    let possible = |name: PlanName| match name {
        PlanName::Trampolines => works(&facts.trampolines_alone),
        PlanName::Full => works(&facts.kprobe) && works(&facts.trampoline),
        PlanName::NoTrampolines => works(&facts.kprobe),
        PlanName::Tracepoints => works(&facts.tracepoint),
    };
    let no_plan = || NoPlan {
        tried: [
            ("trampolines alone", &facts.trampolines_alone),
            ("kprobes", &facts.kprobe),
            ("trampolines", &facts.trampoline),
            ("raw tracepoints", &facts.tracepoint),
        ]
        .into_iter()
        .filter_map(|(what, attempt)| {
            let error = attempt.as_ref()?.as_ref().err()?;
            Some((what, error.clone()))
        })
        .collect(),
    };
    if let Some(name) = forced {
        return if possible(name) {
            Ok(Choice {
                name,
                reason: "asked for with --plan".to_owned(),
            })
        } else {
            Err(no_plan())
        };
    }
    [
        PlanName::Trampolines,
        PlanName::Full,
        PlanName::NoTrampolines,
        PlanName::Tracepoints,
    ]
    .into_iter()
    .find(|name| possible(*name))
    .map(|name| Choice {
        name,
        reason: match name {
            PlanName::Trampolines => {
                "trampolines work, and this kernel preempts none: the cheapest".to_owned()
            }
            PlanName::Full => format!(
                "kprobes and trampolines work; trampolines alone: {}",
                answer(&facts.trampolines_alone)
            ),
            PlanName::NoTrampolines => format!(
                "kprobes work, trampolines do not: {}",
                answer(&facts.trampoline)
            ),
            PlanName::Tracepoints => format!(
                "kprobes, which the other plans need, do not work: {}",
                answer(&facts.kprobe)
            ),
        },
    })
    .ok_or_else(no_plan)
}

/// Programs that see a datagram join a queue.
pub const QUEUE: &[Emitter] = &[Emitter::Queue, Emitter::TrampQueue];
/// Programs that see a datagram leave a queue.
pub const DEQUEUE: &[Emitter] = &[Emitter::DequeueReturn, Emitter::TrampDequeue];
/// Programs that see a receiver closed.
pub const RELEASE: &[Emitter] = &[Emitter::Release, Emitter::TrampRelease];
/// Programs that see connect(2) fail.
pub const CONNECT: &[Emitter] = &[Emitter::ConnectReturn, Emitter::TrampConnect];

/// Whether any of these is among the programs.
#[must_use]
pub fn contain(programs: &[Emitter], any: &[Emitter]) -> bool {
    any.iter().any(|program| programs.contains(program))
}

/// The programs of a plan in the order to attach them: what ends a datagram's way before what
/// begins it, so that nothing is seen by half. With trampolines no call begins before all are there that the plan can't
/// do without, so most may change places ([`can_be_early`]).
#[must_use]
pub const fn programs(name: PlanName) -> &'static [Emitter] {
    match name {
        PlanName::Trampolines => &[
            Emitter::Exit,
            Emitter::TrampRelease,
            Emitter::TrampDequeue,
            Emitter::TrampConnect,
            Emitter::TrampSent,
            Emitter::TrampQueue,
            Emitter::TrampCopy,
            Emitter::TrampSend,
        ],
        PlanName::Full => &[
            Emitter::Exit,
            Emitter::Release,
            Emitter::DequeueReturn,
            Emitter::DequeueEntry,
            Emitter::ConnectReturn,
            Emitter::ConnectEntry,
            Emitter::SendExitTrampoline,
            Emitter::SendExitProbe,
            Emitter::CopyReturn,
            Emitter::CopyEntry,
            Emitter::Queue,
            Emitter::SendEntry,
        ],
        PlanName::NoTrampolines => &[
            Emitter::Exit,
            Emitter::Release,
            Emitter::DequeueReturn,
            Emitter::DequeueEntry,
            Emitter::ConnectReturn,
            Emitter::ConnectEntry,
            Emitter::SendExitProbe,
            Emitter::CopyReturn,
            Emitter::CopyEntry,
            Emitter::Queue,
            Emitter::SendEntry,
        ],
        PlanName::Tracepoints => &[
            Emitter::Exit,
            Emitter::TraceReceive,
            Emitter::TraceCopy,
            Emitter::TraceSend,
        ],
    }
}

/// The programs of a plan in the order to load them, on several CPUs. Of trampolines, which are attached as they come,
/// first the two of one function, of which the second takes several times as long to be attached; then those that the
/// verifier takes longest for: so all CPUs are busy until the end, and little is left to attach then. Of others from
/// both ends: those that are attached first, and the longest ones meanwhile.
#[must_use]
pub fn programs_to_load(name: PlanName) -> Vec<Emitter> {
    if name == PlanName::Trampolines {
        return vec![
            Emitter::TrampSend,
            Emitter::TrampSent,
            Emitter::TrampQueue,
            Emitter::TrampCopy,
            Emitter::TrampDequeue,
            Emitter::TrampConnect,
            Emitter::TrampRelease,
            Emitter::Exit,
        ];
    }
    let mut programs = programs(name).iter().copied();
    let mut is_front = false;
    iter::from_fn(|| {
        is_front = !is_front;
        if is_front {
            programs.next()
        } else {
            programs.next_back()
        }
    })
    .collect()
}

/// Whether a program may be attached before those that stand before it in its plan: until all are there it has nothing
/// to go by, and leaves nothing behind; or it needs no other, as that which sees connect(2) fail. What begins a call
/// waits for what ends it: a task that the kernel holds up in a trampoline without the latter would begin one for good.
#[must_use]
pub fn can_be_early(program: Emitter, is_attached: impl Fn(Emitter) -> bool) -> bool {
    match program {
        Emitter::TrampRelease
        | Emitter::TrampDequeue
        | Emitter::TrampConnect
        | Emitter::TrampSent
        | Emitter::TrampCopy
        | Emitter::TrampQueue => true,
        Emitter::TrampSend => is_attached(Emitter::TrampSent),
        _ => false,
    }
}

/// The programs of a plan in the order to detach them, so that what is still attached draws no wrong
/// conclusion: first what begins a datagram's way, then what says how it ended, last what it would
/// say that from.
#[must_use]
pub const fn programs_to_detach(name: PlanName) -> &'static [Emitter] {
    match name {
        PlanName::Trampolines => &[
            Emitter::TrampSend,
            Emitter::TrampSent,
            Emitter::TrampRelease,
            Emitter::TrampCopy,
            Emitter::TrampQueue,
            Emitter::TrampConnect,
            Emitter::TrampDequeue,
            Emitter::Exit,
        ],
        PlanName::Full | PlanName::NoTrampolines => &[
            Emitter::SendEntry,
            Emitter::SendExitTrampoline,
            Emitter::SendExitProbe,
            Emitter::Release,
            Emitter::CopyEntry,
            Emitter::CopyReturn,
            Emitter::Queue,
            Emitter::ConnectEntry,
            Emitter::ConnectReturn,
            Emitter::DequeueEntry,
            Emitter::DequeueReturn,
            Emitter::Exit,
        ],
        PlanName::Tracepoints => &[
            Emitter::TraceCopy,
            Emitter::TraceReceive,
            Emitter::TraceSend,
            Emitter::Exit,
        ],
    }
}

/// Whether a program is of the plan of trampolines alone.
#[must_use]
pub fn is_trampoline_alone(program: Emitter) -> bool {
    programs(PlanName::Trampolines).contains(&program)
        && !programs(PlanName::Full).contains(&program)
}

/// What can't be known without a program; `None`: nothing works without it.
#[must_use]
pub const fn limit_without(program: Emitter) -> Option<&'static str> {
    match program {
        Emitter::Exit => Some("exits of senders"),
        Emitter::Release => Some("closed receivers"),
        Emitter::DequeueReturn | Emitter::DequeueEntry => {
            Some("deliveries: whether a datagram was read")
        }
        Emitter::ConnectReturn | Emitter::ConnectEntry => Some("failed connects"),
        Emitter::Queue => Some(
            "deliveries, closed receivers, receivers other than by the sender's spelling, queueing \
             times, drops by a receiver's filter",
        ),
        Emitter::SendExitTrampoline => Some("some results while many senders are blocked"),
        Emitter::SendEntry
        | Emitter::CopyEntry
        | Emitter::CopyReturn
        | Emitter::SendExitProbe
        | Emitter::TraceSend
        | Emitter::TraceCopy
        | Emitter::TraceReceive
        // The other plans have the same by probes, so without one of them one of those is taken.
        | Emitter::TrampSend
        | Emitter::TrampCopy
        | Emitter::TrampQueue
        | Emitter::TrampSent
        | Emitter::TrampDequeue
        | Emitter::TrampConnect
        | Emitter::TrampRelease => None,
    }
}

/// What a plan can't know, by design.
#[must_use]
pub const fn limits(name: PlanName) -> &'static [&'static str] {
    match name {
        PlanName::Trampolines | PlanName::Full => &[],
        PlanName::NoTrampolines => &["some results while many senders are blocked"],
        PlanName::Tracepoints => &[
            "failed, waiting and dropped datagrams: one is seen when it is received",
            "results, send times, delivery latency, blocked time",
            "the address as the sender wrote it, unless it had connected",
            "who sent, other than as the process that last sent through the same socket",
            "failed connects, closed receivers, exits of senders gone before their datagram was \
             read",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Option<Attempt> {
        Some(Err("EPERM".to_owned()))
    }

    const WORKS: Option<Attempt> = Some(Ok(()));

    fn facts(
        kprobe: Option<Attempt>,
        trampoline: Option<Attempt>,
        tracepoint: Option<Attempt>,
    ) -> Facts {
        Facts {
            trampolines_alone: None,
            kprobe,
            trampoline,
            tracepoint,
        }
    }

    #[test]
    fn the_best_plan_that_works_is_chosen() {
        for (facts, name) in [
            (facts(WORKS, WORKS, None), PlanName::Full),
            (facts(WORKS, refused(), None), PlanName::NoTrampolines),
            (facts(refused(), None, WORKS), PlanName::Tracepoints),
            (facts(refused(), WORKS, WORKS), PlanName::Tracepoints),
        ] {
            assert_eq!(choose(&facts, None).unwrap().name, name, "{facts:?}");
        }
    }

    #[test]
    fn trampolines_alone_are_taken_where_they_work() {
        let mut facts = facts(None, None, None);
        facts.trampolines_alone = WORKS;
        assert_eq!(choose(&facts, None).unwrap().name, PlanName::Trampolines);
        facts.trampolines_alone = Some(Err("they may be preempted".to_owned()));
        (facts.kprobe, facts.trampoline) = (WORKS, WORKS);
        let choice = choose(&facts, None).unwrap();
        assert_eq!(choice.name, PlanName::Full);
        assert!(choice.reason.contains("preempted"), "{}", choice.reason);
    }

    #[test]
    fn the_reason_says_what_came_back() {
        let choice = choose(&facts(WORKS, refused(), None), None).unwrap();
        assert!(choice.reason.contains("EPERM"), "{}", choice.reason);
    }

    #[test]
    fn a_forced_plan_is_taken_or_refused_with_what_came_back() {
        let forced = Some(PlanName::Tracepoints);
        assert_eq!(
            choose(&facts(WORKS, WORKS, WORKS), forced).unwrap().name,
            PlanName::Tracepoints
        );
        let error = choose(&facts(WORKS, refused(), None), Some(PlanName::Full)).unwrap_err();
        assert_eq!(error.tried, vec![("trampolines", "EPERM".to_owned())]);
    }

    #[test]
    fn without_anything_that_works_the_error_lists_all_that_was_tried() {
        let error = choose(&facts(refused(), None, refused()), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("kprobes: EPERM") && error.contains("raw tracepoints: EPERM"));
    }

    const ALL: [PlanName; 4] = [
        PlanName::Trampolines,
        PlanName::Full,
        PlanName::NoTrampolines,
        PlanName::Tracepoints,
    ];

    #[test]
    fn whatever_is_attached_is_detached() {
        for name in ALL {
            for program in programs(name) {
                assert!(programs_to_detach(name).contains(program), "{program:?}");
            }
        }
    }

    #[test]
    fn whatever_is_attached_is_loaded_once() {
        for name in ALL {
            let sorted = |programs: &[Emitter]| {
                let mut programs: Vec<u32> = programs.iter().map(|it| *it as u32).collect();
                programs.sort_unstable();
                programs
            };
            assert_eq!(sorted(&programs_to_load(name)), sorted(programs(name)));
        }
    }

    #[test]
    fn what_begins_a_datagrams_way_is_attached_last() {
        for name in [PlanName::Full, PlanName::NoTrampolines] {
            assert_eq!(programs(name).last(), Some(&Emitter::SendEntry));
        }
        assert_eq!(
            programs(PlanName::Tracepoints).last(),
            Some(&Emitter::TraceSend)
        );
        for program in [
            PlanName::Full,
            PlanName::NoTrampolines,
            PlanName::Tracepoints,
        ]
        .iter()
        .flat_map(|name| programs(*name))
        {
            assert!(!can_be_early(*program, |_| true), "{program:?}");
        }
        assert!(!can_be_early(Emitter::TrampSend, |it| it != Emitter::TrampSent));
        assert!(can_be_early(Emitter::TrampSend, |it| it == Emitter::TrampSent));
    }
}
