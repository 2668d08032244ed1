//! What stands around the notifications: how the host is traced, what was lost, and the counts.

use jiff::Zoned;

use crate::escape::escape_field;
use crate::event::{Loss, Losses, Session, ShedFrom, Summary, ViewChange};
use crate::words::{count, plan_name};

/// What is traced and how, what that can't show, and what is not as one would wish.
pub(super) fn session(session: &Session, start: &Zoned) -> Vec<String> {
    let escape = |text: &str| escape_field(text.as_bytes()).to_string();
    let plan = plan_name(session.plan.name);
    let mut lines = vec![
        format!(
            "notify-trace {} on {}, Linux {} {}, {}",
            escape(&session.tool_version),
            escape(&session.host),
            escape(&session.kernel),
            escape(&session.machine),
            start.strftime("%Y-%m-%d %H:%M:%S %:z"),
        ),
        format!("plan {plan}: {}", escape(&session.plan.reason)),
    ];
    lines.extend(
        session
            .plan
            .limits
            .iter()
            .map(|limit| format!("can't know: {}", escape(limit))),
    );
    if !session.view.is_empty() {
        lines.push(format!("shown: {}", escape(&session.view.join(", "))));
    }
    lines.extend(
        session
            .warnings
            .iter()
            .map(|warning| format!("warning: {}", escape(warning))),
    );
    lines
}

/// What is shown from here on.
pub(super) fn view_change(change: &ViewChange) -> Vec<String> {
    let view = if change.view.is_empty() {
        "everything".to_owned()
    } else {
        escape_field(change.view.join(", ").as_bytes()).to_string()
    };
    vec![format!("shown from here on: {view}")]
}

/// The counts, and whether they are all there was.
pub(super) fn summary(summary: &Summary) -> Vec<String> {
    let fates = [
        (summary.delivered, "delivered"),
        (summary.failed, "failed"),
        (summary.filtered, "dropped by a receiver's filter"),
        (summary.destroyed, "destroyed unread"),
        (summary.open, "open"),
    ];
    let fates: Vec<_> = fates
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, fate)| format!("{number} {fate}"))
        .collect();
    let mut counts = count(summary.notifications, "notification", "notifications");
    if !fates.is_empty() {
        counts = format!("{counts}: {}", fates.join(", "));
    }
    if summary.connect_failed > 0 {
        let failed = count(summary.connect_failed, "failed connect", "failed connects");
        counts = format!("{counts}; {failed}");
    }
    if summary.left_out > 0 {
        counts = format!("{counts}; {} others left out", summary.left_out);
    }

    let records = count(summary.records_received, "record", "records");
    // Not a loss by itself: see `Losses::programs_skipped`.
    let skipped = match summary.losses.programs_skipped {
        Some(0) => String::new(),
        Some(runs) => {
            let runs = count(runs, "program run", "program runs");
            format!(" ({runs} skipped by the kernel)")
        }
        None => " (skipped program runs: not counted by this kernel)".to_owned(),
    };
    let missing = summary
        .records_attempted
        .saturating_sub(summary.records_received);
    let losses = if summary.losses.any() {
        format!("LOST: {}{skipped}", losses(&summary.losses))
    } else if missing > 0 {
        let missing = count(missing, "record", "records");
        format!("LOST: {missing} of {}{skipped}", summary.records_attempted)
    } else {
        format!("nothing lost: {records} written, as many read{skipped}")
    };
    vec![counts, losses]
}

/// What was lost, and of whom, since the last time.
pub(crate) fn loss(loss: &Loss) -> String {
    let mut text = losses(&loss.losses);
    let from: Vec<String> = loss.shed_from.iter().map(shed_from).collect();
    if !from.is_empty() {
        text = format!("{text}; left out: {}", from.join(", "));
    }
    text
}

/// Of which cgroup datagrams were left out, and how many.
fn shed_from(it: &ShedFrom) -> String {
    match &it.cgroup {
        Some(path) => format!("{} of {}", it.datagrams, escape_field(&path.0)),
        None => format!("{} of a cgroup", it.datagrams),
    }
}

/// Losses in words.
pub(crate) fn losses(losses: &Losses) -> String {
    let Losses {
        ring_full,
        no_ring,
        calls_full,
        queued_full,
        unreadable,
        returns_missed,
        undecided,
        shed,
        programs_skipped: _,
        undecodable,
        join_evicted,
    } = *losses;
    let words = [
        (
            ring_full,
            "record",
            "records",
            "for want of room in a ring (--ring-size)",
        ),
        (no_ring, "record", "records", "of a CPU without a ring"),
        (
            calls_full,
            "send call",
            "send calls",
            "not followed, too many at once",
        ),
        (
            queued_full,
            "dequeue",
            "dequeues",
            "not recognised, too many queued at once",
        ),
        (unreadable, "payload", "payloads", "that could not be read"),
        (returns_missed, "call", "calls", "whose end was not seen"),
        (
            undecided,
            "datagram",
            "datagrams",
            "left out, the sender that a filter asks for not being known yet",
        ),
        (
            shed,
            "datagram",
            "datagrams",
            "left out to stay within limits.cpu_percent",
        ),
        (
            undecodable,
            "record",
            "records",
            "not decodable, a defect of notify-trace",
        ),
        (
            join_evicted,
            "notification",
            "notifications",
            "given up, too many open at once",
        ),
    ];
    let words: Vec<_> = words
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many, why)| format!("{} {why}", count(number, one, many)))
        .collect();
    words.join("; ")
}
