//! Tries what this kernel can do, and attaches the programs of the plan that follows.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{available_parallelism, scope};

use anyhow::{Context as _, anyhow};
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};
use notify_trace_common::limits::Emitter;

use crate::event::{Plan, PlanName};
use crate::probe::attached::Attached;
use crate::probe::error::{AttachError, EPERM, lacks_capabilities, refused};
use crate::probe::load::Loading;
use crate::probe::plan::{self, Attempt, Choice, Facts, NoPlan};
use crate::probe::preemption::Preemption;
use crate::probe::refusal::Refusal;

impl Loading {
    /// Attaches the plan of trampolines alone, which is `forced` or worth a try, and for which the maps have room. The
    /// inner error is why it can't be carried out: another plan may be, with maps of its own.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach_trampolines(
        mut self,
        forced: Option<PlanName>,
        preemption: &Preemption,
    ) -> Result<Result<Attached, String>, AttachError> {
        match preemption {
            Preemption::Possible(why) => self.warnings.push(format!(
                "datagrams may be missed where programs_skipped grows: trampolines may be \
                 preempted, and others skipped meanwhile: {why}"
            )),
            Preemption::Never => self.try_all(plan::programs(PlanName::Trampolines)),
        }
        let facts = Facts {
            trampolines_alone: Some(self.attempt(Emitter::TrampCopy)?),
            ..Facts::default()
        };
        if forced.is_none()
            && let Some(Err(refusal)) = facts.trampolines_alone
        {
            return Ok(Err(refusal));
        }
        let choice = plan::choose(&facts, forced).map_err(no_plan)?;
        match self.attach_plan(choice.name)? {
            Ok(done) => Ok(Ok(self.attached(choice, done))),
            Err(refusal) if forced.is_none() => Ok(Err(refusal)),
            Err(refusal) => Err(cannot_do_without(refusal)),
        }
    }

    /// Tries what this kernel can do besides, chooses a plan and attaches it. If a program that the plan
    /// can't do without is refused, that is a fact too, and the next plan is tried.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(
        mut self,
        forced: Option<PlanName>,
        why_no_trampolines: Option<String>,
    ) -> Result<Attached, AttachError> {
        let mut facts = Facts {
            trampolines_alone: why_no_trampolines.map(Err),
            ..Facts::default()
        };
        self.find_facts(&mut facts, forced)?;
        loop {
            let choice = plan::choose(&facts, forced).map_err(no_plan)?;
            match self.attach_plan(choice.name)? {
                Ok(done) => return Ok(self.attached(choice, done)),
                Err(refusal) if forced.is_none() && choice.name != PlanName::Tracepoints => {
                    facts.kprobe = Some(Err(refusal));
                    facts.tracepoint = Some(self.attempt(Emitter::TraceReceive)?);
                }
                Err(refusal) => return Err(cannot_do_without(refusal)),
            }
        }
    }

    #[cfg_attr(
        not(feature = "kernel-log"),
        expect(unused_mut, reason = "the log is taken out of it")
    )]
    fn attached(
        mut self,
        choice: Choice,
        (programs, limits): (Vec<Emitter>, Vec<String>),
    ) -> Attached {
        Attached {
            #[cfg(feature = "kernel-log")]
            log: crate::probe::kernel_log::KernelLog::take(&mut self.ebpf),
            ebpf: self.ebpf,
            plan: Plan {
                name: choice.name,
                reason: choice.reason,
                limits,
                programs: programs
                    .iter()
                    .map(|program| (program.program().to_owned(), program.target().to_owned()))
                    .collect(),
            },
            programs,
            warnings: self.warnings,
            skipped: None,
        }
    }

    /// Attaches the programs of a plan, and nothing else. The inner error is the refusal of a
    /// program that the plan can't do without.
    #[expect(clippy::type_complexity, reason = "used once")]
    fn attach_plan(
        &mut self,
        name: PlanName,
    ) -> Result<Result<(Vec<Emitter>, Vec<String>), String>, AttachError> {
        let mut attached = Vec::new();
        let mut limits: Vec<String> = plan::limits(name)
            .iter()
            .map(|limit| (*limit).to_owned())
            .collect();
        // What was tried before, and is not of this plan.
        for program in Emitter::ALL {
            if !plan::programs(name).contains(&program) {
                self.drop(program);
            }
        }
        self.try_all(plan::programs(name));
        for &program in plan::programs(name) {
            match (self.attempt(program)?, plan::limit_without(program)) {
                (Ok(()), _) => attached.push(program),
                (Err(error), Some(limit)) => {
                    limits.push(format!("{limit} ({}: {error})", program.target()));
                }
                (Err(error), None) => return Ok(Err(format!("{}: {error}", program.target()))),
            }
        }
        Ok(Ok((attached, limits)))
    }

    /// Tries, for real, what the plans with probes and tracepoints differ in.
    fn find_facts(
        &mut self,
        facts: &mut Facts,
        forced: Option<PlanName>,
    ) -> Result<(), AttachError> {
        if forced != Some(PlanName::Tracepoints) {
            facts.kprobe = Some(self.attempt(Emitter::CopyEntry)?);
            if forced != Some(PlanName::NoTrampolines) && matches!(facts.kprobe, Some(Ok(()))) {
                facts.trampoline = Some(self.attempt(Emitter::SendExitTrampoline)?);
            }
        }
        if forced == Some(PlanName::Tracepoints)
            || (forced.is_none() && !matches!(facts.kprobe, Some(Ok(()))))
        {
            facts.tracepoint = Some(self.attempt(Emitter::TraceReceive)?);
        }
        Ok(())
    }

    /// Tries one program. A refusal is a fact, except where it is the verifier's: that is a defect
    /// of ours that a lesser plan must not hide.
    fn attempt(&mut self, program: Emitter) -> Result<Attempt, AttachError> {
        match self.try_program(program) {
            Ok(()) => Ok(Ok(())),
            // Its loads depend on the types of this very kernel, and another plan has none.
            Err(error) if is_verifier_refusal(&error) && !plan::is_trampoline_alone(program) => {
                Err(refused_program(program, error))
            }
            // Without the verifier's log, which has any length.
            Err(error) => Ok(Err(Refusal::of(&error).answer)),
        }
    }

    /// Loads and attaches each program on its own, whichever plan it is of, and detaches it again;
    /// what came back.
    pub fn try_each(&mut self) -> Vec<(Emitter, Result<(), Refusal>)> {
        Emitter::ALL
            .into_iter()
            .map(|program| {
                let answer = self.try_program(program);
                self.drop(program);
                (program, answer.map_err(|error| Refusal::of(&error)))
            })
            .collect()
    }

    /// Loads and attaches a program, unless that was done.
    fn try_program(&mut self, emitter: Emitter) -> anyhow::Result<()> {
        if self.attached.contains(&emitter) {
            return Ok(());
        }
        let name = emitter.program();
        let program = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no program {name}"))?;
        load_program(program, emitter.target(), &self.functions).context("it can't be loaded")?;
        attach_program(program, emitter.target()).context("it can't be attached")?;
        self.attached.push(emitter);
        Ok(())
    }

    /// Loads programs at once, for the verifier takes its time for each, and does so on as many CPUs as there are;
    /// attaches them meanwhile: in their order, but for those that may be early. Ends before the first that is refused:
    /// it is met again when it is tried by itself.
    fn try_all(&mut self, programs: &[Emitter]) {
        let mut waiting: BTreeMap<usize, &mut Program> = BTreeMap::new();
        for (name, program) in self.ebpf.programs_mut() {
            let turn = programs.iter().position(|it| it.program() == name);
            if let Some(turn) = turn.filter(|turn| !self.attached.contains(&programs[*turn])) {
                waiting.insert(turn, program);
            }
        }
        let mut turns: Vec<usize> = waiting.keys().copied().collect();
        let waiting = Mutex::new(waiting);
        let (functions, waiting) = (&self.functions, &waiting);
        let (done, loaded) = mpsc::channel();
        scope(|threads| {
            let cpus = available_parallelism().map_or(1, NonZero::get);
            for number in 0..cpus.min(turns.len()) {
                let done = done.clone();
                threads.spawn(move || {
                    while let Some((turn, program)) = take_program(waiting, number) {
                        let target = programs[turn].target();
                        let is_loaded = load_program(program, target, functions).is_ok();
                        // Who attaches may have ended with one that was refused.
                        let _ = done.send((turn, is_loaded.then_some(program)));
                    }
                });
            }
            drop(done);
            let mut early = BTreeMap::new();
            'attaching: while let Ok((turn, program)) = loaded.recv() {
                let Some(program) = program else {
                    turns.retain(|it| *it < turn);
                    lock(waiting).retain(|it, _| *it < turn);
                    continue;
                };
                early.insert(turn, program);
                let can_be_early = |turn: usize| plan::can_be_early(programs[turn]);
                while let Some(turn) =
                    next_turn(&turns, |turn| early.contains_key(&turn), can_be_early)
                    && let Some(program) = early.remove(&turn)
                {
                    turns.retain(|it| *it != turn);
                    if attach_program(program, programs[turn].target()).is_err() {
                        break 'attaching;
                    }
                    self.attached.push(programs[turn]);
                }
            }
            lock(waiting).clear();
        });
    }

    fn drop(&mut self, program: Emitter) {
        drop_program(&mut self.ebpf, program);
        self.attached.retain(|attached| *attached != program);
    }
}

/// Loads a program, unless that was done.
fn load_program(program: &mut Program, target: &str, functions: &Btf) -> anyhow::Result<()> {
    if program.fd().is_ok() {
        return Ok(());
    }
    match program {
        Program::KProbe(program) => program.load()?,
        Program::FEntry(program) => program.load(target, functions)?,
        Program::FExit(program) => program.load(target, functions)?,
        Program::RawTracePoint(program) => program.load()?,
        other => return Err(unexpected(other)),
    }
    Ok(())
}

/// Attaches a program; one that can't be is unloaded.
fn attach_program(program: &mut Program, target: &str) -> anyhow::Result<()> {
    let attached = match program {
        Program::KProbe(program) => program.attach(target, 0).map(drop),
        Program::FEntry(program) => program.attach().map(drop),
        Program::FExit(program) => program.attach().map(drop),
        Program::RawTracePoint(program) => program.attach(target).map(drop),
        other => return Err(unexpected(other)),
    };
    if attached.is_err() {
        unload_program(program);
    }
    Ok(attached?)
}

/// What is attached next of what has its turn still to come (`turns`): the first one, or, where that is not
/// loaded yet, one that need not wait for it.
fn next_turn(
    turns: &[usize],
    is_loaded: impl Fn(usize) -> bool,
    can_be_early: impl Fn(usize) -> bool,
) -> Option<usize> {
    let (first, others) = turns.split_first()?;
    if is_loaded(*first) {
        return Some(*first);
    }
    others
        .iter()
        .copied()
        .find(|turn| is_loaded(*turn) && can_be_early(*turn))
}

/// What thread `number` loads next, with its turn. The first one takes them from the front, so that attaching can
/// begin; the others from the back, where those are that the verifier takes longest for.
fn take_program<'a>(
    waiting: &Mutex<BTreeMap<usize, &'a mut Program>>,
    number: usize,
) -> Option<(usize, &'a mut Program)> {
    let mut waiting = lock(waiting);
    if number == 0 {
        waiting.pop_first()
    } else {
        waiting.pop_last()
    }
}

/// No thread leaves a list half changed.
fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unexpected(program: &Program) -> anyhow::Error {
    anyhow!("a program of the unexpected type {:?}", program.prog_type())
}

/// Detaches and unloads a program.
pub(super) fn drop_program(ebpf: &mut Ebpf, emitter: Emitter) {
    if let Some(program) = ebpf.program_mut(emitter.program()) {
        unload_program(program);
    }
}

fn unload_program(program: &mut Program) {
    // Not loaded: nothing to drop.
    let _ = match program {
        Program::KProbe(program) => program.unload(),
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        _ => Ok(()),
    };
}

/// Whether the verifier had something to say.
fn is_verifier_refusal(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<ProgramError>(),
            Some(ProgramError::LoadError { verifier_log, io_error })
                if !verifier_log.to_string().trim().is_empty()
                    && io_error.raw_os_error() != Some(EPERM)
        )
    })
}

/// No plan works. Where capabilities are missing (maps need one, programs another), that is why.
fn no_plan(no_plan: NoPlan) -> AttachError {
    let missing = lacks_capabilities();
    if missing.is_empty() {
        AttachError::NoPlan(no_plan)
    } else {
        AttachError::NotPermitted {
            what: "attach a program".to_owned(),
            missing,
            source: no_plan.into(),
        }
    }
}

fn cannot_do_without(refusal: String) -> AttachError {
    no_plan(NoPlan {
        tried: vec![("a program that the plan can't do without", refusal)],
    })
}

fn refused_program(program: Emitter, error: anyhow::Error) -> AttachError {
    refused(
        &format!(
            "attach program {} to {}",
            program.program(),
            program.target()
        ),
        error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_need_not_wait_is_attached_when_it_is_loaded() {
        let next = |turns: &[usize], loaded: &[usize]| {
            next_turn(turns, |turn| loaded.contains(&turn), |turn| turn % 2 == 1)
        };
        assert_eq!(next(&[0, 1, 2, 3], &[0, 1]), Some(0));
        assert_eq!(next(&[0, 1, 2, 3], &[2, 3]), Some(3));
        assert_eq!(next(&[0, 1, 2], &[2]), None, "it has to wait");
        assert_eq!(next(&[2], &[2]), Some(2), "all before it are attached");
        assert_eq!(next(&[], &[]), None);
    }
}
