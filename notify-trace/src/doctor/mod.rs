//! What this kernel lets these privileges do: tried, not guessed; and what would help.
//!
//! ```text
//! host ──texts──▶ checks ─┐
//! probe ──answers──▶ hooks ├──▶ report ──▶ render
//! advice ─────────────────┘
//! ```
//!
//! Owns the report's types (docs/doctor.md explains every field) and the verdict. `host` reads
//! files, `checks` (with `privileges` and `surroundings`) and `hooks` judge what was read and tried,
//! `advice` says what to change, `render` makes text; all but `host` and [`examine`] are pure. Loading and attaching are `probe`'s.

pub mod advice;
pub mod checks;
pub mod hooks;
pub mod host;
mod privileges;
pub mod render;
mod surroundings;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use self::checks::{Btf, Outcome};
use self::hooks::Hook;
use self::host::Host;
use crate::event::Plan;
use crate::probe::error::AttachError;
use crate::probe::kernel_types::{self, Types};
use crate::probe::load::{self, LoadOptions, Room, Tried};
use crate::probe::refusal::Refusal;
use crate::probe::start::{OPEN_RINGS, start};
use crate::probe::{pid_namespace, self_test};
use crate::select::Rules;
use crate::sockets::environment;

/// Version of the JSON document. Within one, fields and values are only added.
pub const FORMAT_VERSION: u32 = 1;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of notify-trace.
    pub tool_version: String,
    /// Name of the host.
    pub host: String,
    /// Release of the kernel (`uname -r`).
    pub kernel: String,
    /// Architecture (`uname -m`).
    pub machine: String,
    /// The answer in one word.
    pub verdict: Verdict,
    /// What the program ends with.
    pub exit_code: u8,
    /// Why `trace` would not begin: its error, causes included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// What was attached, one by one.
    pub hooks: Vec<Hook>,
    /// The plan that `trace` chooses here, as its session has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// What can't be told for other reasons than the plan, as the session of `trace` has it.
    pub warnings: Vec<String>,
    /// What to change, the most important first.
    pub advice: Vec<String>,
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything can be traced.
    Usable,
    /// `trace` works, and something can't be told.
    Limited,
    /// `trace` doesn't begin.
    NotUsable,
}

/// What one thing means for tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Worth knowing; costs nothing.
    Info,
    /// Something can't be told because of it.
    Limited,
    /// Nothing can be traced because of it.
    Bad,
    /// It could not be found out.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, which stays the same in all versions.
    pub name: &'static str,
    /// What it means.
    pub status: Status,
    /// What was found, or why it could not be.
    pub found: String,
    /// The file that was read, or what was tried.
    pub source: String,
    /// What follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Nothing that is bad can be made up for; what is unknown takes nothing away.
#[must_use]
pub fn verdict(statuses: impl IntoIterator<Item = Status>) -> Verdict {
    statuses
        .into_iter()
        .fold(Verdict::Usable, |verdict, status| match (verdict, status) {
            (Verdict::NotUsable, _) | (_, Status::Bad) => Verdict::NotUsable,
            (Verdict::Limited, _) | (_, Status::Limited) => Verdict::Limited,
            _ => Verdict::Usable,
        })
}

/// Looks at everything and tries everything, and leaves nothing attached. The second value is what
/// `trace` would end with, if it would not begin.
///
/// # Errors
/// If the default rules are none, which is a defect. Whatever the kernel refuses is in the report.
pub async fn examine(btf: Option<PathBuf>) -> Result<(Report, Option<anyhow::Error>)> {
    let host = Host::read();
    let mut rules = Rules::new(&[], &[], false)?;
    let mut warnings = environment::unselected(&rules, Path::new("/proc")).add_to(&mut rules);
    let path = btf
        .clone()
        .unwrap_or_else(|| PathBuf::from(kernel_types::KERNEL_BTF));
    let options = LoadOptions {
        btf,
        self_test_address: self_test::address(),
        ..LoadOptions::default()
    };
    let btf = checks::read_btf(&path);

    // As `trace` loads trampolines; to be tried, programs of other plans need no room in their maps.
    let loading = Types::read(options.btf.as_deref())
        .and_then(|types| load::load(&options, &rules, &types, Tried::now(), Room::Trampolines));
    let answers = match loading {
        Ok(mut loading) => Ok(loading.try_each()),
        Err(error) => Err(Refusal::of(&error.into())),
    };
    let mut outcome = Outcome::default();
    let refusal = match pid_namespace::require_host_pids(Path::new(pid_namespace::PID_NAMESPACE)) {
        Err(error) => Some(error),
        Ok(()) => match start(&options, &mut rules, false, None).await {
            Err(error) => Some(error),
            Ok(started) => {
                outcome.plan = Some(started.attached.plan.clone());
                warnings.extend(started.attached.warnings.iter().cloned());
                warnings.extend(started.findings.warnings.iter().cloned());
                outcome.are_rings_smaller = started.rings.warning().is_some();
                outcome.findings = Some(started.findings.clone());
                started.trusted().err().map(Into::into)
            }
        },
    };
    outcome.refusal = refusal.as_ref().map(Refusal::of);
    // EACCES is perf_event_paranoid's answer to those who lack a capability.
    outcome.is_ring_refusal =
        refusal.as_ref().is_some_and(is_of_rings) && outcome.refusal.as_ref().is_some_and(is_eperm);
    outcome.is_permission = refused_with_eperm(&answers, outcome.refusal.as_ref());
    Ok((report(&host, &btf, &answers, &outcome, warnings), refusal))
}

/// Whether it was the rings that were refused.
fn is_of_rings(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(AttachError::NotPermitted { what, .. } | AttachError::Refused { what, .. })
            if what == OPEN_RINGS
    )
}

/// Whether anything at all was refused with "operation not permitted".
fn refused_with_eperm(answers: &hooks::Answers, refusal: Option<&Refusal>) -> bool {
    let of_hooks: Vec<&Refusal> = match answers {
        Ok(answers) => answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err())
            .collect(),
        Err(refusal) => vec![refusal],
    };
    of_hooks.into_iter().chain(refusal).any(is_eperm)
}

fn is_eperm(refusal: &Refusal) -> bool {
    refusal.errno == Some(rustix::io::Errno::PERM.raw_os_error())
}

/// Judges what was read and tried. The exit code is the caller's.
fn report(
    host: &Host,
    btf: &Btf,
    answers: &hooks::Answers,
    outcome: &Outcome,
    warnings: Vec<String>,
) -> Report {
    let checks = checks::all(host, btf, outcome);
    let is_privileged = host.lacks_no_capability();
    let hooks = hooks::judge(
        answers,
        outcome.plan.as_ref().map(|plan| plan.name),
        is_privileged,
    );
    let statuses = checks.iter().map(|check| check.status);
    let verdict = verdict(statuses.chain(hooks.iter().map(|hook| hook.status)));
    let mut by_weight: Vec<(Status, &String)> = checks
        .iter()
        .filter_map(|check| Some((check.status, check.advice.as_ref()?)))
        .chain(
            hooks
                .iter()
                .filter_map(|hook| Some((hook.status, hook.advice.as_ref()?))),
        )
        .collect();
    by_weight.sort_by_key(|(status, _)| match status {
        Status::Bad => 0,
        Status::Limited => 1,
        Status::Ok | Status::Info | Status::Unknown => 2,
    });
    let mut advice: Vec<String> = Vec::new();
    for (_, sentence) in by_weight {
        if !advice.contains(sentence) {
            advice.push(sentence.clone());
        }
    }
    Report {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host.name.clone(),
        kernel: host.release.clone(),
        machine: host.machine.clone(),
        verdict,
        exit_code: 0,
        refusal: outcome.refusal.as_ref().map(|it| it.answer.clone()),
        checks,
        hooks,
        plan: outcome.plan.clone(),
        warnings,
        advice,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use notify_trace_common::limits::Emitter;

    use super::*;

    #[test]
    fn the_worst_status_decides() {
        use Status::{Bad, Info, Limited, Ok, Unknown};
        assert_eq!(verdict([Ok, Info, Unknown]), Verdict::Usable);
        assert_eq!(verdict([Ok, Limited, Info]), Verdict::Limited);
        assert_eq!(verdict([Bad, Limited, Ok]), Verdict::NotUsable);
        assert_eq!(verdict([Limited, Unknown, Bad, Ok]), Verdict::NotUsable);
        assert_eq!(verdict([]), Verdict::Usable);
    }

    /// All names of fields in a document.
    fn fields(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(object) => {
                for (name, value) in object {
                    found.push(name.clone());
                    fields(value, found);
                }
            }
            serde_json::Value::Array(values) => {
                for value in values {
                    fields(value, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_field_and_every_check_is_documented() {
        let mut host = Host::read();
        host.status = Ok("CapEff:\t0\n".to_owned());
        let refusal = Refusal {
            answer: "no".to_owned(),
            errno: Some(1),
            verifier: vec!["R1".to_owned()],
        };
        let answers = hooks::Answers::Ok(
            Emitter::ALL
                .into_iter()
                .map(|program| (program, Err(refusal.clone())))
                .collect(),
        );
        let outcome = Outcome {
            refusal: Some(refusal),
            ..Outcome::default()
        };
        let btf = checks::read_btf(Path::new("/no/such/file"));
        let report = report(&host, &btf, &answers, &outcome, Vec::new());
        assert_eq!(report.verdict, Verdict::NotUsable);
        let mut names: Vec<String> = report
            .checks
            .iter()
            .map(|check| check.name.to_owned())
            .collect();
        fields(&serde_json::to_value(&report).unwrap(), &mut names);
        let documentation = include_str!("../../../docs/doctor.md");
        for name in names {
            assert!(documentation.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn advice_is_given_once_and_that_on_what_is_bad_first() {
        let host = Host::read();
        let btf = Btf {
            path: "/x".to_owned(),
            content: Err("gone".to_owned()),
        };
        let refusal = Refusal::of(&anyhow::anyhow!("no"));
        let outcome = Outcome::default();
        let report = report(&host, &btf, &Err(refusal), &outcome, Vec::new());
        assert!(report.advice[0].contains("BTF") || report.advice[0].contains("as root"));
        let once: BTreeSet<&String> = report.advice.iter().collect();
        assert_eq!(once.len(), report.advice.len());
    }
}
