//! What must be right about an agent's output as a whole.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    plan::Plan,
    shown::{Outcome, Shown},
    truth::Truth,
    verify::{Part, Problems},
};

fn sys(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The first line describes this machine and a plan that could not be better.
pub fn session(shown: &Shown, asked: &str) -> Problems {
    let mut problems = Problems::default();
    let Some(session) = &shown.session else {
        problems.add("there is none");
        return problems;
    };
    problems.unless_equal("format_version", session.format_version, 1);
    problems.unless_equal(
        "kernel",
        session.kernel.clone(),
        sys("/proc/sys/kernel/osrelease"),
    );
    problems.unless_equal(
        "host",
        session.host.clone(),
        sys("/proc/sys/kernel/hostname"),
    );
    problems.unless_equal("machine", session.machine.as_str(), std::env::consts::ARCH);
    let boot_id = session.boot_id.clone();
    problems.unless_equal(
        "boot_id",
        boot_id,
        Some(sys("/proc/sys/kernel/random/boot_id")),
    );
    let online = count_cpus(&sys("/sys/devices/system/cpu/online"));
    problems.unless_equal("cpus", Some(session.cpus), online);
    problems.unless_equal(
        "ring_bytes is a power of two",
        session.ring_bytes.count_ones(),
        1,
    );
    problems.unless_equal("there are rules", session.rules.is_empty(), false);
    problems.unless_equal(
        "there are programs",
        session.plan.programs.is_empty(),
        false,
    );
    problems.unless_equal("there is a reason", session.plan.reason.is_empty(), false);
    let is_full = [Plan::Full, Plan::Trampolines].map(Plan::name);
    problems.unless_equal(
        "only plans that know everything have no limits",
        is_full.contains(&session.plan.name.as_str()),
        session.plan.limits.is_empty(),
    );
    let has_kprobes = Path::new("/sys/bus/event_source/devices/kprobe").exists();
    let best = if has_kprobes && is_preempted() {
        Plan::Full
    } else if has_kprobes {
        Plan::Trampolines
    } else {
        Plan::Tracepoints
    };
    let expected = if asked == "auto" { best.name() } else { asked };
    problems.unless_equal("plan", session.plan.name.as_str(), expected);
    for warning in &session.warnings {
        problems.note(format!("the agent warns: {warning}"));
    }
    problems
}

/// Whether this kernel interrupts its own code, as it says where it has a choice; a kernel without one says
/// it in its version.
fn is_preempted() -> bool {
    match fs::read_to_string("/sys/kernel/debug/sched/preempt") {
        Ok(models) => !models.contains("(none)") && !models.contains("(voluntary)"),
        Err(_) => {
            fs::read_to_string("/proc/version").is_ok_and(|version| version.contains("PREEMPT"))
        }
    }
}

/// How many CPUs a list such as `0-3,5` names.
fn count_cpus(list: &str) -> Option<u32> {
    let mut count = 0;
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        count += last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? + 1;
    }
    Some(count)
}

/// The last line counts the lines before it.
pub fn summary(shown: &Shown, plan: Plan) -> Problems {
    let mut problems = Problems::default();
    let Some(summary) = &shown.summary else {
        problems.add("there is none");
        return problems;
    };
    let count = |is_it: &dyn Fn(&&crate::shown::Datagram) -> bool| {
        shown.datagrams.iter().filter(is_it).count() as u64
    };
    problems.unless_equal("notifications", summary.notifications, count(&|_| true));
    let delivered = count(&|it| it.delivery.state == "delivered");
    problems.unless_equal("delivered", summary.delivered, delivered);
    let failed = count(&|it| matches!(it.result, Some(Outcome::Failed(_))));
    problems.unless_equal("failed", summary.failed, failed);
    if !plan.sees_senders() {
        problems.unless_equal("failed in this plan", summary.failed, 0);
    }
    let connects = shown.connects.len() as u64;
    problems.unless_equal("connect_failed", summary.connect_failed, connects);
    let lost = summary.losses.ring_full + summary.losses.no_ring;
    let missing = summary
        .records_attempted
        .checked_sub(summary.records_received);
    problems.unless_equal("records attempted less received", missing, Some(lost));
    if plan.sees_senders() {
        // A result is unknown because nobody saw the return, or because the record of it was lost.
        let unknown = count(&|it| it.says_unknown("result"));
        let counted = summary.losses.returns_missed + lost;
        if unknown > counted {
            problems.add(format!(
                "{unknown} results are unknown, {counted} missed returns and lost records are counted"
            ));
        }
    }
    let in_events: u64 = shown
        .losses
        .iter()
        .map(crate::shown::Losses::of_records)
        .sum();
    let in_all = summary.losses.of_records();
    problems.unless_equal("losses told along the way", in_events, in_all);
    problems
}

/// Nothing was lost. What the agent cost may explain why something was.
pub fn losses(shown: &Shown, cost: &str) -> Problems {
    let mut problems = Problems::default();
    let lost = shown.summary.as_ref().map(|summary| &summary.losses);
    if let Some(losses) = lost.filter(|losses| losses.of_records() > 0) {
        problems.add(format!("{losses:?}; {cost}"));
    }
    let skipped = shown.skipped_runs();
    if skipped > 0 {
        problems.note(format!("the kernel skipped {skipped} program runs"));
    }
    problems
}

/// Every line belongs to a case.
pub fn rest(shown: &Shown, truths: &[(&Truth, &str)]) -> Problems {
    let mut problems = Problems::default();
    let mut parts = Part::default();
    for (truth, dir) in truths {
        let Part {
            datagrams,
            connects,
            closed,
            exits,
            skipped_runs: _,
        } = Part::of(truth, dir, shown);
        parts.datagrams.extend(datagrams);
        parts.connects.extend(connects);
        parts.closed.extend(closed);
        parts.exits.extend(exits);
    }
    let known: BTreeSet<u64> = parts.datagrams.iter().map(|datagram| datagram.id).collect();
    for datagram in &shown.datagrams {
        if !known.contains(&datagram.id) {
            problems.add(format!("{datagram:?}"));
        }
    }
    problems.unless_equal(
        "failed connects",
        shown.connects.len(),
        parts.connects.len(),
    );
    problems.unless_equal("ends of receivers", shown.closed.len(), parts.closed.len());
    problems.unless_equal("exits", shown.exits.len(), parts.exits.len());
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_counted() {
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(count_cpus("0-3,5,7-8"), Some(7));
        assert_eq!(count_cpus(""), None);
    }
}
