//! The whole page, and what must hold for any.

use notify_trace_common::limits::Emitter;
use proptest::prelude::*;

use super::*;
use crate::doctor::hooks::{self, Style};
use crate::doctor::{Check, FORMAT_VERSION};
use crate::event::{Plan, PlanName};

fn check(name: &'static str, status: Status, found: &str, follows: Option<&str>) -> Check {
    Check {
        name,
        status,
        found: found.to_owned(),
        source: "/proc".to_owned(),
        follows: follows.map(str::to_owned),
        advice: None,
    }
}

fn report() -> Report {
    let answers = Emitter::ALL.into_iter().map(|program| {
        let refusal = match Style::of(program) {
            Style::Fexit if program == Emitter::SendExitTrampoline => Refusal {
                answer: "it can't be loaded: Permission denied (os error 13)".to_owned(),
                errno: Some(13),
                verifier: vec![
                    "0: R1=ctx() R10=fp0".to_owned(),
                    "; let queued = unsafe { bpf_probe_read_kernel(&raw const socket.queue_length, \
                     size) };"
                        .to_owned(),
                    "R1 invalid mem access 'scalar'".to_owned(),
                ],
            },
            Style::RawTracepoint if program != Emitter::Exit => Refusal {
                answer: "it can't be attached: No such file or directory (os error 2)".to_owned(),
                errno: Some(2),
                verifier: Vec::new(),
            },
            _ => return (program, Ok(())),
        };
        (program, Err(refusal))
    });
    let hooks = hooks::judge(&Ok(answers.collect()), Some(PlanName::NoTrampolines), true);
    Report {
        format_version: FORMAT_VERSION,
        tool_version: "0.1.0".to_owned(),
        host: "web-1".to_owned(),
        kernel: "6.1.0-40-cloud-amd64".to_owned(),
        machine: "x86_64".to_owned(),
        verdict: Verdict::Limited,
        exit_code: 6,
        refusal: None,
        checks: vec![
            check(
                "kernel",
                Status::Ok,
                "Linux 6.1.0-40-cloud-amd64 x86_64",
                None,
            ),
            check(
                "unprivileged_bpf_disabled",
                Status::Info,
                "2",
                Some("whatever it says, tracing needs CAP_BPF or CAP_SYS_ADMIN"),
            ),
            check(
                "lockdown",
                Status::Unknown,
                "/sys/kernel/security/lockdown: No such file or directory (os error 2)",
                Some("securityfs is not mounted"),
            ),
            check("bpf_jit_enable", Status::Limited, "0", None),
            check("capabilities", Status::Bad, "uid 65534, \x1b[2Jnone", None),
        ],
        hooks,
        plan: Some(Plan {
            name: PlanName::NoTrampolines,
            reason: "kprobes work, trampolines do not: it can't be loaded".to_owned(),
            limits: vec!["some results while many senders are blocked".to_owned()],
            programs: std::collections::BTreeMap::new(),
        }),
        warnings: vec![
            "credentials can't be told: UNIXCB_PID is unknown on this kernel".to_owned(),
        ],
        advice: vec!["sysctl net.core.bpf_jit_enable=1".to_owned()],
    }
}

#[test]
fn the_page_at_80_columns_is_the_golden_one() {
    let text = text(&report(), COLUMNS);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctor/render/golden.txt");
        std::fs::write(path, &text).unwrap();
        return;
    }
    assert_eq!(text, include_str!("golden.txt"));
}

#[test]
fn a_host_that_cannot_trace_is_told_so_in_the_last_line() {
    let mut report = report();
    report.verdict = Verdict::NotUsable;
    report.exit_code = 3;
    report.plan = None;
    let text = text(&report, COLUMNS);
    assert!(text.contains("\nPlan: none\n"), "{text}");
    let last = text.lines().last().unwrap();
    assert_eq!(last, "NOT USABLE: trace would end with exit code 3, too");
}

proptest! {
    #[test]
    fn no_line_is_too_long_and_nothing_dangerous_comes_through(
        found in ".{0,200}",
        advice in ".{0,300}",
        columns in 60_usize..200,
    ) {
        let mut report = report();
        report.checks.push(check("hidepid", Status::Info, &found, Some(&advice)));
        report.advice.push(advice);
        let text = text(&report, columns);
        for line in text.lines() {
            prop_assert!(line.chars().count() <= columns, "{line:?}");
        }
        prop_assert!(!text.chars().any(|c| c != '\n' && crate::escape::is_dangerous(c)));
    }
}
