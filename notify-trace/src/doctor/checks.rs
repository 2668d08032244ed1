//! Judges what was read and what came of the attempt to trace. Pure, except for [`read_btf`].
//!
//! Only what was tried, or what the attempt surely fails at, is bad; what a file merely suggests is
//! not.

use std::collections::BTreeSet;
use std::path::Path;

use notify_trace_common::fields::{FIELDS, Feature};

use crate::doctor::advice::{Finding, advice};
use crate::doctor::host::Host;
use crate::doctor::{Check, Status, privileges, surroundings};
use crate::event::Plan;
use crate::probe::btf;
use crate::probe::load::what_is_lost;
use crate::probe::offsets;
use crate::probe::refusal::Refusal;
use crate::probe::self_test::Findings;
use crate::words::plan_name;

/// What came of the attempt to trace.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why `trace` would not begin.
    pub refusal: Option<Refusal>,
    /// The refusal is that of the rings' memory.
    pub is_ring_refusal: bool,
    /// The rings are smaller than they would be, for the same reason.
    pub are_rings_smaller: bool,
    /// Something was refused with "operation not permitted".
    pub is_permission: bool,
    /// The plan, if one was attached.
    pub plan: Option<Plan>,
    /// What the self-test found, if it was run.
    pub findings: Option<Findings>,
}

/// What is known of the kernel's type information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Btf {
    /// The file.
    pub path: String,
    /// Its length in bytes, and the fields missing with what is lost; or why it can't be used.
    pub content: Result<(usize, Vec<(Feature, String)>), String>,
}

impl Check {
    pub(super) fn new(
        name: &'static str,
        status: Status,
        found: impl Into<String>,
        source: impl Into<String>,
    ) -> Self {
        Self {
            name,
            status,
            found: found.into(),
            source: source.into(),
            follows: None,
            advice: None,
        }
    }

    pub(super) fn follows(mut self, follows: impl Into<String>) -> Self {
        self.follows = Some(follows.into());
        self
    }

    pub(super) fn advise(mut self, finding: &Finding) -> Self {
        self.advice = Some(advice(finding).to_owned());
        self
    }
}

/// All checks, in the order to show them.
#[must_use]
pub fn all(host: &Host, btf: &Btf, outcome: &Outcome) -> Vec<Check> {
    let mut checks = vec![kernel(host), btf_check(btf), pid_namespace(host)];
    checks.extend(privileges::all(host, outcome));
    checks.extend(surroundings::all(host));
    checks.push(plan(outcome));
    checks.push(self_test(outcome));
    checks
}

/// Reads the type information as `trace` does.
#[must_use]
pub fn read_btf(path: &Path) -> Btf {
    let content = std::fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| {
            let btf = btf::Btf::parse(&bytes).map_err(|error| error.to_string())?;
            let offsets = offsets::resolve(&btf);
            let missing = offsets
                .missing()
                .map(|(field, missing)| (field.feature, missing.to_string()))
                .collect();
            Ok((bytes.len(), missing))
        });
    Btf {
        path: path.display().to_string(),
        content,
    }
}

fn kernel(host: &Host) -> Check {
    let found = format!("Linux {} {}", host.release, host.machine);
    let check = |status| Check::new("kernel", status, &*found, "uname");
    if host.machine == "x86_64" {
        check(Status::Ok)
    } else {
        check(Status::Info).follows("notify-trace was tried on x86_64 only")
    }
}

fn btf_check(btf: &Btf) -> Check {
    let check = |status, found: String| Check::new("btf", status, found, &*btf.path);
    let (bytes, missing) = match &btf.content {
        Ok(content) => content,
        Err(error) => {
            return check(Status::Bad, format!("{}: {error}", btf.path))
                .follows("nothing works without the offsets of kernel structures")
                .advise(&Finding::NoBtf);
        }
    };
    if missing.is_empty() {
        let fields = FIELDS.len();
        return check(
            Status::Ok,
            format!("{}, {bytes} bytes, all {fields} fields found", btf.path),
        );
    }
    let reasons: Vec<&str> = missing.iter().map(|(_, reason)| reason.as_str()).collect();
    let lost: BTreeSet<&str> = missing
        .iter()
        .map(|(feature, _)| what_is_lost(*feature))
        .collect();
    let lost: Vec<&str> = lost.into_iter().collect();
    let is_fatal = missing
        .iter()
        .any(|(feature, _)| *feature == Feature::Capture);
    let found = format!("{}: {}", btf.path, reasons.join("; "));
    if is_fatal {
        check(Status::Bad, found)
            .follows("sockets can't be selected or payloads not be read")
            .advise(&Finding::UnusableBtf)
    } else {
        check(Status::Limited, found).follows(format!("can't be told: {}", lost.join("; ")))
    }
}

fn pid_namespace(host: &Host) -> Check {
    let source = "/proc/self/ns/pid";
    match &host.pid_namespace {
        Ok(()) => Check::new("pid_namespace", Status::Ok, "the host's", source),
        Err(error) => {
            Check::new("pid_namespace", Status::Bad, error, source).advise(&Finding::PidNamespace)
        }
    }
}

fn plan(outcome: &Outcome) -> Check {
    let source = "load, attach";
    match (&outcome.plan, &outcome.refusal) {
        (Some(plan), _) => {
            let status = if plan.limits.is_empty() {
                Status::Ok
            } else {
                Status::Limited
            };
            Check::new("plan", status, plan_name(plan.name), source)
        }
        (None, Some(refusal)) => Check::new(
            "plan",
            Status::Bad,
            format!("none: {}", refusal.answer),
            source,
        ),
        (None, None) => Check::new("plan", Status::Unknown, "not tried", source),
    }
}

fn self_test(outcome: &Outcome) -> Check {
    let source = "datagrams to a socket of its own";
    let check = |status, found: String| Check::new("self_test", status, found, source);
    match &outcome.findings {
        None if outcome.plan.is_some() => check(
            Status::Bad,
            match &outcome.refusal {
                Some(refusal) => refusal.answer.clone(),
                None => "it could not be run".to_owned(),
            },
        ),
        None => check(Status::Unknown, "not run: no plan is attached".to_owned()),
        Some(findings) if !findings.fatal.is_empty() => {
            check(Status::Bad, findings.fatal.join("; "))
                .follows("what would be shown could not be trusted")
        }
        Some(findings) if !findings.warnings.is_empty() => {
            check(Status::Limited, findings.warnings.join("; "))
        }
        Some(_) => check(
            Status::Ok,
            "all that was sent came back through the hooks, and unchanged".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn btf(content: Result<(usize, Vec<(Feature, String)>), String>) -> Check {
        btf_check(&Btf {
            path: "/x".to_owned(),
            content,
        })
    }

    #[test]
    fn only_fields_that_nothing_works_without_are_bad() {
        let missing = |feature| Ok((9, vec![(feature, "X is unknown".to_owned())]));
        assert_eq!(btf(Ok((9, Vec::new()))).status, Status::Ok);
        let limited = btf(missing(Feature::Credentials));
        assert_eq!(limited.status, Status::Limited);
        assert_eq!(
            limited.follows.as_deref(),
            Some("can't be told: credentials")
        );
        assert_eq!(btf(missing(Feature::Capture)).status, Status::Bad);
    }

    #[test]
    fn a_kernel_without_type_information_is_told_what_to_build() {
        let check = btf(Err("No such file or directory".to_owned()));
        assert_eq!(check.status, Status::Bad);
        assert!(check.advice.unwrap().contains("CONFIG_DEBUG_INFO_BTF"));
        let none = read_btf(Path::new("/no/such/file"));
        assert!(none.content.unwrap_err().contains("No such file"));
        assert!(read_btf(Path::new("/proc/self/status")).content.is_err());
    }

    #[test]
    fn a_self_test_that_failed_is_bad_and_one_that_was_not_run_is_unknown() {
        let mut outcome = Outcome::default();
        assert_eq!(self_test(&outcome).status, Status::Unknown);
        outcome.findings = Some(Findings::default());
        assert_eq!(self_test(&outcome).status, Status::Ok);
        outcome.findings = Some(Findings {
            fatal: vec!["0 of 3 datagrams came back".to_owned()],
            missing: 1,
            ..Findings::default()
        });
        assert_eq!(self_test(&outcome).status, Status::Bad);
    }

    #[test]
    fn without_a_plan_the_kernels_answer_is_shown() {
        let outcome = Outcome {
            refusal: Some(Refusal::of(&anyhow::anyhow!("EPERM"))),
            ..Outcome::default()
        };
        let check = plan(&outcome);
        assert_eq!((check.status, &*check.found), (Status::Bad, "none: EPERM"));
    }
}
