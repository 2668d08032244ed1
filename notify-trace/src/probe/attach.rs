//! Tries what this kernel can do, and attaches the programs of the plan that follows.

use anyhow::{Context as _, anyhow};
use aya::Ebpf;
use aya::programs::{FEntry, FExit, Program, ProgramError, RawTracePoint};
use notify_trace_common::limits::Emitter;

use crate::event::{Plan, PlanName};
use crate::probe::attached::Attached;
use crate::probe::error::{AttachError, EPERM, lacks_capabilities, refused};
use crate::probe::load::Loading;
use crate::probe::plan::{self, Attempt, Facts, NoPlan};
use crate::probe::preemption::{Preemption, Sources, preemption};
use crate::probe::refusal::Refusal;

impl Loading {
    /// Tries what this kernel can do, chooses a plan and attaches it. If a program that the plan
    /// can't do without is refused, that is a fact too, and the next plan is tried.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(mut self, forced: Option<PlanName>) -> Result<Attached, AttachError> {
        let mut facts = self.find_facts(forced)?;
        loop {
            let choice = plan::choose(&facts, forced).map_err(no_plan)?;
            let (attached, limits) = match self.attach_plan(choice.name)? {
                Ok(attached) => attached,
                Err(refusal) if forced.is_none() && choice.name == PlanName::Trampolines => {
                    facts.trampolines_alone = Some(Err(refusal));
                    self.find_facts_of_probes(&mut facts, forced)?;
                    continue;
                }
                Err(refusal) if forced.is_none() && choice.name != PlanName::Tracepoints => {
                    facts.kprobe = Some(Err(refusal));
                    facts.tracepoint = Some(self.attempt(Emitter::TraceReceive)?);
                    continue;
                }
                Err(refusal) => {
                    return Err(no_plan(NoPlan {
                        tried: vec![("a program that the plan can't do without", refusal)],
                    }));
                }
            };
            return Ok(Attached {
                #[cfg(feature = "kernel-log")]
                log: crate::probe::kernel_log::KernelLog::take(&mut self.ebpf),
                ebpf: self.ebpf,
                plan: Plan {
                    name: choice.name,
                    reason: choice.reason,
                    limits,
                    programs: attached
                        .iter()
                        .map(|program| (program.program().to_owned(), program.target().to_owned()))
                        .collect(),
                },
                programs: attached,
                warnings: self.warnings,
                skipped: None,
            });
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
                drop_program(&mut self.ebpf, program);
            }
        }
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

    /// Tries, for real, what the plans differ in.
    fn find_facts(&mut self, forced: Option<PlanName>) -> Result<Facts, AttachError> {
        let mut facts = Facts::default();
        if forced.is_none_or(|plan| plan == PlanName::Trampolines) {
            facts.trampolines_alone = Some(match preemption(&Sources::of_host()) {
                Preemption::Possible(why) if forced.is_none() => Err(format!(
                    "they may be preempted, and others skipped meanwhile: {why}"
                )),
                Preemption::Possible(why) => {
                    self.warnings.push(format!(
                        "datagrams may be missed where programs_skipped grows: trampolines may be \
                         preempted, and others skipped meanwhile: {why}"
                    ));
                    self.attempt(Emitter::TrampCopy)?
                }
                Preemption::Never => self.attempt(Emitter::TrampCopy)?,
            });
            if forced.is_some() || matches!(facts.trampolines_alone, Some(Ok(()))) {
                return Ok(facts);
            }
        }
        self.find_facts_of_probes(&mut facts, forced)?;
        Ok(facts)
    }

    /// The same for the plans with probes and tracepoints.
    fn find_facts_of_probes(
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
                drop_program(&mut self.ebpf, program);
                (program, answer.map_err(|error| Refusal::of(&error)))
            })
            .collect()
    }

    /// Loads and attaches a program, unless that was done.
    fn try_program(&mut self, emitter: Emitter) -> anyhow::Result<()> {
        let name = emitter.program();
        let target = emitter.target();
        let program = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no program {name}"))?;
        let is_loaded = program.fd().is_ok();
        if is_loaded {
            return Ok(());
        }
        match program {
            Program::KProbe(program) => {
                load_program(program.load())?;
                attach_program(program.attach(target, 0).map(drop)).inspect_err(|_| {
                    let _ = program.unload();
                })
            }
            Program::FEntry(program) => {
                load_program(FEntry::load(program, target, &self.btf))?;
                attach_program(program.attach().map(drop)).inspect_err(|_| {
                    let _ = program.unload();
                })
            }
            Program::FExit(program) => {
                load_program(FExit::load(program, target, &self.btf))?;
                attach_program(program.attach().map(drop)).inspect_err(|_| {
                    let _ = program.unload();
                })
            }
            Program::RawTracePoint(program) => {
                load_program(RawTracePoint::load(program))?;
                attach_program(program.attach(target).map(drop)).inspect_err(|_| {
                    let _ = program.unload();
                })
            }
            other => Err(anyhow!(
                "program {name} has the unexpected type {:?}",
                other.prog_type()
            )),
        }
    }
}

/// Detaches and unloads a program.
pub(super) fn drop_program(ebpf: &mut Ebpf, emitter: Emitter) {
    if let Some(program) = ebpf.program_mut(emitter.program()) {
        // Not loaded: nothing to drop.
        let _ = match program {
            Program::KProbe(program) => program.unload(),
            Program::FEntry(program) => program.unload(),
            Program::FExit(program) => program.unload(),
            Program::RawTracePoint(program) => program.unload(),
            _ => Ok(()),
        };
    }
}

fn load_program(result: Result<(), ProgramError>) -> anyhow::Result<()> {
    result.context("it can't be loaded")
}

fn attach_program(result: Result<(), ProgramError>) -> anyhow::Result<()> {
    result.context("it can't be attached")
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
