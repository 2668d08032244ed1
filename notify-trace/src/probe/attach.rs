//! Tries what this kernel can do, and attaches the programs of the plan that follows.

use std::thread;

use anyhow::{Context as _, anyhow};
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};
use notify_trace_common::limits::Emitter;

use crate::event::{Plan, PlanName};
use crate::probe::at_once;
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
        if let Preemption::Possible(why) = preemption {
            self.warnings.push(format!(
                "datagrams may be missed where programs_skipped grows: trampolines may be \
                 preempted, and others skipped meanwhile: {why}"
            ));
        }
        self.try_all(PlanName::Trampolines);
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
            Ok(done) => {
                self.open()
                    .map_err(|error| refused("open the programs' gate", error))?;
                Ok(Ok(self.attached(choice, done)))
            }
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
            self.keep_only(plan::programs(choice.name));
            self.try_all(choice.name);
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
        // It is long, and nobody waits for that; a thread that can't be had drops it, too.
        let functions = self.functions;
        let _ = thread::Builder::new().spawn(move || drop(functions));
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

    /// Attaches those programs of a plan that are not, one by one. The inner error is the refusal of a program that the
    /// plan can't do without.
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

    /// Loads and attaches all of a plan at once, up to the first that is refused.
    fn try_all(&mut self, name: PlanName) {
        at_once::try_all(&mut self.ebpf, &self.functions, name, &mut self.attached);
    }

    /// Drops what was tried, and is none of these.
    fn keep_only(&mut self, programs: &[Emitter]) {
        for program in Emitter::ALL {
            if !programs.contains(&program) {
                self.drop(program);
            }
        }
    }

    fn drop(&mut self, program: Emitter) {
        drop_program(&mut self.ebpf, program);
        self.attached.retain(|attached| *attached != program);
    }
}

/// Loads a program, unless that was done.
pub(super) fn load_program(
    program: &mut Program,
    target: &str,
    functions: &Btf,
) -> anyhow::Result<()> {
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
pub(super) fn attach_program(program: &mut Program, target: &str) -> anyhow::Result<()> {
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
