//! Judges what came of each hook, tried on its own. Pure; trying them is `probe::attach`'s.

use notify_trace_common::limits::Emitter;
use serde::Serialize;

use crate::doctor::Status;
use crate::doctor::advice::{Finding, advice};
use crate::event::PlanName;
use crate::probe::plan;
use crate::probe::refusal::Refusal;

/// What came of each hook; or why none could be tried.
pub type Answers = Result<Vec<(Emitter, Result<(), Refusal>)>, Refusal>;

/// A hook, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// The program, as `bpftool prog` names it.
    pub program: &'static str,
    /// How it is attached.
    pub style: Style,
    /// The kernel function or tracepoint.
    pub target: &'static str,
    /// What that means.
    pub status: Status,
    /// Whether it could be loaded and attached; absent: it could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<bool>,
    /// The kernel's answer, if it was refused or could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// What can't be told without it, if it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<&'static str>,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// At the beginning of a function.
    Kprobe,
    /// At the end of a function, by a return probe.
    Kretprobe,
    /// At the beginning of a function, by a trampoline.
    Fentry,
    /// At the end of a function, by a trampoline.
    Fexit,
    /// At a tracepoint, with its raw arguments.
    RawTracepoint,
}

impl Style {
    /// The standard term.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::RawTracepoint => "raw tracepoint",
        }
    }

    /// Of a program.
    #[must_use]
    pub const fn of(program: Emitter) -> Self {
        match program {
            Emitter::SendEntry
            | Emitter::CopyEntry
            | Emitter::Queue
            | Emitter::DequeueEntry
            | Emitter::ConnectEntry
            | Emitter::Release => Self::Kprobe,
            Emitter::CopyReturn
            | Emitter::SendExitProbe
            | Emitter::DequeueReturn
            | Emitter::ConnectReturn => Self::Kretprobe,
            Emitter::TrampSend | Emitter::TrampQueue | Emitter::TrampRelease => Self::Fentry,
            Emitter::SendExitTrampoline
            | Emitter::TrampCopy
            | Emitter::TrampSent
            | Emitter::TrampDequeue
            | Emitter::TrampConnect => Self::Fexit,
            Emitter::Exit | Emitter::TraceSend | Emitter::TraceCopy | Emitter::TraceReceive => {
                Self::RawTracepoint
            }
        }
    }
}

/// Judges each hook, given the plan in force and whether no capability is missing.
#[must_use]
pub fn judge(answers: &Answers, plan: Option<PlanName>, is_privileged: bool) -> Vec<Hook> {
    let basis = plan.or_else(|| possible(answers));
    Emitter::ALL
        .into_iter()
        .map(|program| hook(program, answers, basis, is_privileged))
        .collect()
}

/// The best plan whose indispensable programs were all attached.
fn possible(answers: &Answers) -> Option<PlanName> {
    let answers = answers.as_ref().ok()?;
    let works = |program: &Emitter| {
        answers
            .iter()
            .any(|(it, answer)| it == program && answer.is_ok())
    };
    [PlanName::NoTrampolines, PlanName::Tracepoints]
        .into_iter()
        .find(|name| {
            plan::programs(*name)
                .iter()
                .all(|program| plan::limit_without(*program).is_some() || works(program))
        })
}

fn hook(program: Emitter, answers: &Answers, basis: Option<PlanName>, is_privileged: bool) -> Hook {
    let mut hook = Hook {
        program: program.program(),
        style: Style::of(program),
        target: program.target(),
        status: Status::Unknown,
        attached: None,
        refusal: None,
        follows: None,
        advice: None,
    };
    let answer = match answers {
        Err(refusal) => Err(refusal),
        Ok(answers) => match answers.iter().find(|(it, _)| *it == program) {
            None => return hook,
            Some((_, answer)) => {
                hook.attached = Some(answer.is_ok());
                answer.as_ref()
            }
        },
    };
    let Err(refusal) = answer else {
        hook.status = Status::Ok;
        return hook;
    };
    hook.refusal = Some(refusal.clone());
    if hook.attached.is_none() {
        return hook;
    }
    let is_of_best = plan::programs(PlanName::Full).contains(&program);
    let is_of_cheapest = plan::is_trampoline_alone(program);
    hook.status = match basis {
        // Without them it costs more, but nothing is missing.
        Some(PlanName::Full | PlanName::NoTrampolines) if is_of_cheapest => Status::Info,
        Some(PlanName::Tracepoints) if is_of_cheapest => Status::Limited,
        None => Status::Bad,
        Some(_) if is_of_best => Status::Limited,
        Some(PlanName::Tracepoints) => Status::Bad,
        Some(_) => Status::Info,
    };
    hook.follows = Some(match plan::limit_without(program) {
        Some(limit) => limit,
        None if is_of_best => "the plans full and no-trampolines",
        None if is_of_cheapest => "the plan trampolines",
        None => "the plan tracepoints",
    });
    if is_privileged && hook.status != Status::Info {
        hook.advice = Some(advice(&finding(hook.style, refusal)).to_owned());
    }
    hook
}

fn finding(style: Style, refusal: &Refusal) -> Finding {
    if refusal.errno == Some(rustix::io::Errno::PERM.raw_os_error()) {
        return Finding::NotPermitted;
    }
    // What a lockdown to confidentiality makes the verifier say (`bpf_tracing_func_proto`,
    // kernel/trace/bpf_trace.c): older kernels the first, newer ones the second.
    let is_locked = refusal.verifier.iter().any(|line| {
        line.contains("unknown func bpf_probe_read")
            || line.contains("cannot use helper bpf_probe_read")
    });
    if is_locked {
        return Finding::Confidentiality;
    }
    // The verifier has something to say of a program that the kernel knows no function for, too.
    if !refusal.verifier.is_empty() && !matches!(style, Style::Fentry | Style::Fexit) {
        return Finding::Verifier;
    }
    let is_dead = refusal.errno == Some(rustix::io::Errno::NODEV.raw_os_error());
    match style {
        Style::Kprobe | Style::Kretprobe | Style::Fentry | Style::Fexit if is_dead => {
            Finding::FtraceDead
        }
        Style::Kprobe | Style::Kretprobe => Finding::Kprobe,
        Style::Fentry | Style::Fexit => Finding::Trampoline,
        Style::RawTracepoint => Finding::Tracepoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(errno: i32) -> Refusal {
        Refusal {
            answer: format!("os error {errno}"),
            errno: Some(errno),
            verifier: Vec::new(),
        }
    }

    fn answers(refused: &[Style]) -> Answers {
        Ok(Emitter::ALL
            .into_iter()
            .map(|program| {
                let is_refused = refused.contains(&Style::of(program));
                (program, if is_refused { Err(refusal(2)) } else { Ok(()) })
            })
            .collect())
    }

    fn status_of(hooks: &[Hook], program: Emitter) -> Status {
        hooks
            .iter()
            .find(|hook| hook.program == program.program())
            .unwrap()
            .status
    }

    #[test]
    fn with_everything_attached_everything_is_ok() {
        let hooks = judge(&answers(&[]), Some(PlanName::Full), true);
        assert_eq!(hooks.len(), Emitter::ALL.len());
        assert!(hooks.iter().all(|hook| hook.status == Status::Ok));
    }

    #[test]
    fn a_hook_that_only_a_lesser_plan_needs_is_no_loss() {
        let mut answers = answers(&[]).unwrap();
        for (program, answer) in &mut answers {
            if matches!(program, Emitter::TraceSend | Emitter::TraceReceive) {
                *answer = Err(refusal(2));
            }
        }
        let hooks = judge(&Ok(answers), Some(PlanName::Full), true);
        assert_eq!(status_of(&hooks, Emitter::TraceSend), Status::Info);
        assert!(hooks.iter().all(|hook| hook.advice.is_none()));
    }

    #[test]
    fn without_trampolines_something_is_lost_and_the_options_are_named() {
        let answers = answers(&[Style::Fexit]);
        let hooks = judge(&answers, Some(PlanName::NoTrampolines), true);
        let hook = hooks
            .iter()
            .find(|hook| hook.style == Style::Fexit)
            .unwrap();
        assert_eq!(hook.status, Status::Limited);
        assert!(hook.advice.as_ref().unwrap().contains("DIRECT_CALLS"));
    }

    #[test]
    fn with_nothing_attached_every_hook_is_bad() {
        let all = [
            Style::Kprobe,
            Style::Kretprobe,
            Style::Fentry,
            Style::Fexit,
            Style::RawTracepoint,
        ];
        let hooks = judge(&answers(&all), None, true);
        assert!(hooks.iter().all(|hook| hook.status == Status::Bad));
    }

    #[test]
    fn without_trampolines_and_probes_tracepoints_still_work() {
        let refused = [Style::Kprobe, Style::Kretprobe, Style::Fentry, Style::Fexit];
        let hooks = judge(&answers(&refused), Some(PlanName::Tracepoints), true);
        assert!(hooks.iter().all(|hook| hook.status != Status::Bad));
        assert_eq!(status_of(&hooks, Emitter::TrampSend), Status::Limited);
    }

    #[test]
    fn where_another_cause_prevents_the_plan_its_hooks_still_count() {
        let hooks = judge(&answers(&[Style::Fexit]), None, true);
        assert_eq!(status_of(&hooks, Emitter::SendEntry), Status::Ok);
        assert_eq!(
            status_of(&hooks, Emitter::SendExitTrampoline),
            Status::Limited
        );
    }

    #[test]
    fn what_could_not_be_tried_is_unknown_with_the_reason() {
        let hooks = judge(&Err(refusal(1)), None, false);
        for hook in &hooks {
            assert_eq!((hook.status, hook.attached), (Status::Unknown, None));
            assert_eq!(hook.refusal.as_ref().unwrap().errno, Some(1));
        }
    }

    #[test]
    fn where_ftrace_has_shut_itself_down_only_a_reboot_helps() {
        assert_eq!(finding(Style::Kprobe, &refusal(19)), Finding::FtraceDead);
        assert_eq!(
            finding(Style::RawTracepoint, &refusal(19)),
            Finding::Tracepoint
        );
    }

    #[test]
    fn a_refusal_of_the_verifier_is_a_defect_of_ours_unless_the_kernel_is_locked_down() {
        let mut refused = refusal(13);
        refused.verifier = vec!["R1 invalid mem access 'scalar'".to_owned()];
        assert_eq!(finding(Style::Kprobe, &refused), Finding::Verifier);
        refused.verifier = vec!["unknown func bpf_probe_read#4".to_owned()];
        assert_eq!(finding(Style::Kprobe, &refused), Finding::Confidentiality);
    }
}
