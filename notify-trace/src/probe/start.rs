//! From nothing to programs that are attached and tested: what `trace` begins with, and what
//! `doctor` tries.

use std::path::Path;
use std::thread::scope;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::event::PlanName;
use crate::probe::attached::Attached;
use crate::probe::error::{AttachError, refused};
use crate::probe::kernel_types::{Types, join};
use crate::probe::load::{self, LoadOptions, Room, Tried};
use crate::probe::preemption::{Preemption, Sources, preemption};
use crate::probe::ring::{Buffers, Rings};
use crate::probe::self_test::{self, Findings, SenderToBe};
use crate::probe::small_pages::SmallPages;
use crate::select::Rules;
use crate::sockets::environment::{self, Unselected};

/// What is tried when the rings are opened, as [`AttachError`] names it.
pub const OPEN_RINGS: &str = "open the rings";

/// Everything is attached, and the self-test has run.
pub struct Started {
    /// The programs.
    pub attached: Attached,
    /// Their rings.
    pub rings: Rings,
    /// Records of others that came meanwhile, in the order of reading.
    pub early: Vec<Bytes>,
    /// What the self-test found.
    pub findings: Findings,
    /// What was noticed of the rules.
    pub warnings: Vec<String>,
}

/// Loads, attaches and tests; doesn't judge what the test found. The rules also get the
/// sockets that running processes were given, if they are to be looked for.
///
/// # Errors
/// [`AttachError`], or what the self-test needs can't be made.
pub async fn start(
    load: &LoadOptions,
    rules: &mut Rules,
    looks_into_environments: bool,
    ring_bytes: Option<u64>,
) -> Result<Started> {
    let small_pages = SmallPages::begin();
    let open_rings = || Buffers::open(ring_bytes);
    let read_types = || Types::read(load.btf.as_deref());
    // What can be had meanwhile, while the kernel's types are read.
    let (types, (tried, buffers), unselected, sender) = scope(|threads| {
        let tried = threads.spawn(|| {
            let tried = Tried::now();
            // Where both may share one limit of memory, maps come first: without them there is nothing to trace.
            let rings = (!tried.may_count_maps_as_locked()).then(open_rings);
            (tried, rings)
        });
        let sender = threads.spawn(|| SenderToBe::start(&load.self_test_address));
        let unselected = threads.spawn(|| match looks_into_environments {
            true => environment::unselected(rules, Path::new("/proc")),
            false => Unselected::default(),
        });
        (read_types(), join(tried), join(unselected), join(sender))
    });
    let warnings = unselected.add_to(rules);
    let sender = sender.context("the self-test can't be run")?;
    let load_for = |types: Types, room, buffers: Option<Result<Buffers>>| {
        let mut loading = load::load(load, rules, &types, tried, room)?;
        let maps = loading.take_ring_maps()?;
        let rings = buffers
            .unwrap_or_else(open_rings)
            .and_then(|buffers| Rings::new(maps, buffers));
        anyhow::Ok((loading, rings.map_err(|error| refused(OPEN_RINGS, error))?))
    };
    let preemption = preemption(&Sources::of_host());
    let first = first_room(load.plan, &preemption);
    let (loading, rings) = load_for(types?, first, buffers)?;
    drop(small_pages);
    let (mut attached, mut rings) = match first {
        Room::Trampolines => match loading.attach_trampolines(load.plan, &preemption)? {
            Ok(attached) => (attached, rings),
            Err(refusal) => {
                // What was written so far is of connects before anything was ready.
                drop(rings);
                let (loading, rings) = read_types()
                    .map_err(anyhow::Error::from)
                    .and_then(|types| load_for(types, Room::Others, None))
                    .with_context(|| format!("trampolines alone don't work ({refusal})"))?;
                (loading.attach(load.plan, Some(refusal))?, rings)
            }
        },
        Room::Others => {
            let why_not = why_no_trampolines(load.plan, preemption);
            (loading.attach(load.plan, why_not)?, rings)
        }
    };
    let mut early = Vec::new();
    // CPUs may have come up meanwhile, and the test may run on one.
    rings.drain(|bytes| early.push(bytes));
    let findings = self_test::run(&mut attached, &mut rings, load, sender, |bytes| {
        early.push(bytes)
    })
    .await
    .context("the self-test can't be run")?;
    Ok(Started {
        attached,
        rings,
        early,
        findings,
        warnings,
    })
}

/// What is loaded first: what is asked for, else trampolines unless they may be preempted.
fn first_room(forced: Option<PlanName>, preemption: &Preemption) -> Room {
    match (forced, preemption) {
        (Some(PlanName::Trampolines), _) | (None, Preemption::Never) => Room::Trampolines,
        (Some(_), _) | (None, Preemption::Possible(_)) => Room::Others,
    }
}

/// Why trampolines alone were not tried; `None`: another plan is asked for.
fn why_no_trampolines(forced: Option<PlanName>, preemption: Preemption) -> Option<String> {
    match (forced, preemption) {
        (None, Preemption::Possible(why)) => Some(format!(
            "they may be preempted, and others skipped meanwhile: {why}"
        )),
        _ => None,
    }
}

impl Started {
    /// Insists on a self-test without which nothing shown could be trusted.
    ///
    /// # Errors
    /// [`AttachError::SelfTest`].
    pub fn trusted(self) -> Result<Self, AttachError> {
        if self.findings.fatal.is_empty() {
            Ok(self)
        } else {
            Err(AttachError::SelfTest {
                findings: self.findings.fatal,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trampolines_come_first_where_nothing_preempts_them_or_they_are_asked_for() {
        let possible = || Preemption::Possible("it is built with PREEMPT_RT".to_owned());
        for (forced, preemption, room) in [
            (None, Preemption::Never, Room::Trampolines),
            (None, possible(), Room::Others),
            (Some(PlanName::Trampolines), possible(), Room::Trampolines),
            (Some(PlanName::Full), Preemption::Never, Room::Others),
        ] {
            assert_eq!(first_room(forced, &preemption), room, "{forced:?}");
        }
        let why = why_no_trampolines(None, possible());
        assert!(why.is_some_and(|why| why.contains("PREEMPT_RT")));
        assert_eq!(why_no_trampolines(Some(PlanName::Full), possible()), None);
    }
}
