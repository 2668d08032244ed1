//! From nothing to programs that are attached and tested: what `trace` begins with, and what
//! `doctor` tries.

use std::thread::scope;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::probe::attached::Attached;
use crate::probe::error::{AttachError, refused};
use crate::probe::kernel_types::join;
use crate::probe::load::{self, LoadOptions};
use crate::probe::ring::Rings;
use crate::probe::self_test::{self, Findings, SenderToBe};
use crate::select::Rules;

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
}

/// Loads, attaches and tests; doesn't judge what the test found.
///
/// # Errors
/// [`AttachError`], or what the self-test needs can't be made.
pub async fn start(load: &LoadOptions, rules: &Rules, ring_bytes: u64) -> Result<Started> {
    let (loading, sender) = scope(|threads| {
        let sender = threads.spawn(|| SenderToBe::start(&load.self_test_address));
        (load::load(load, rules), join(sender))
    });
    let sender = sender.context("the self-test can't be run")?;
    let mut loading = loading?;
    let mut rings = Rings::open(loading.take_ring_maps()?, ring_bytes)
        .map_err(|error| refused(OPEN_RINGS, error))?;
    let mut attached = loading.attach(load.plan)?;
    let mut early = Vec::new();
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
    })
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
