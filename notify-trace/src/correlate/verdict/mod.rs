//! Rules: from plain facts to a finding. Pure; one file for each kind of trouble.
//!
//! A rule says nothing where it does not know. Each names the receiver's own rule behind it, with
//! the versions it was read in.

pub(super) mod delivery;
pub(super) mod main_pid;
pub(super) mod manager;
pub(super) mod protocol;
pub(super) mod ready;
pub(super) mod reload;
pub(super) mod swallowed;
pub(crate) mod watchdog;

use super::outcome::{Certainty, Kind};

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) certainty: Certainty,
    pub(super) what: String,
    pub(super) evidence: Vec<String>,
    pub(super) rule: Option<&'static str>,
    pub(super) remedy: Option<&'static str>,
}

impl Finding {
    pub(super) fn new(kind: Kind, certainty: Certainty, what: impl Into<String>) -> Self {
        Self {
            kind,
            certainty,
            what: what.into(),
            evidence: Vec::new(),
            rule: None,
            remedy: None,
        }
    }

    pub(super) fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    pub(super) const fn by(mut self, rule: &'static str) -> Self {
        self.rule = Some(rule);
        self
    }

    pub(super) const fn helps(mut self, remedy: &'static str) -> Self {
        self.remedy = Some(remedy);
        self
    }
}
