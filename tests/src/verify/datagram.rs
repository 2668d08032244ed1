//! One datagram's facts against the call that it is.

use serde_json::{Value, json};

use super::{Pair, Problems, is_between};
use crate::{
    plan::Plan,
    play::SLICE,
    shown::{self, Datagram, Outcome},
    truth::{Fate, PAYLOAD_MAX, Process, Send, Truth},
};

/// Every unknown that the format knows.
const UNKNOWNS: [&str; 10] = [
    "sender",
    "sender_at_this_send",
    "destination",
    "result",
    "send_times",
    "payload",
    "payload_never_copied",
    "claimed",
    "fds",
    "receiver_address",
];

/// Everything that is known of it.
///
/// Where the kernel skipped runs of programs and the agent counted them, a result may be unknown that
/// the plan would know: that it is one of as many missed returns, the summary's own check tells.
pub fn check(
    truth: &Truth,
    send: &Send,
    datagram: &Datagram,
    plan: Plan,
    skipped_runs: u64,
) -> Problems {
    let mut problems = Problems::default();
    for unknown in &datagram.unknown {
        if !UNKNOWNS.contains(&unknown.as_str()) {
            problems.add(format!("{unknown:?} is no known unknown"));
        } else if plan.may_not_know(unknown, send) {
            // Nobody could know it.
        } else if unknown == "result" && skipped_runs > 0 {
            problems.note("its result is not known; the kernel skipped program runs");
        } else {
            problems.add(format!("the {} plan must know {unknown}", plan.name()));
        }
    }
    check_sender(
        &truth.processes[send.process],
        send,
        datagram,
        &mut problems,
    );
    check_addresses(truth, send, datagram, plan, &mut problems);
    check_payload(send, datagram, plan, &mut problems);
    check_result(send, datagram, &mut problems);
    check_delivery(truth, send, datagram, plan, &mut problems);
    check_timing(send, datagram, plan, &mut problems);
    problems
}

/// An absent fact must be named as unknown.
fn absent(fact: &str, datagram: &Datagram, problems: &mut Problems) {
    if !datagram.says_unknown(fact) {
        problems.add(format!("{fact} is absent and not named as unknown"));
    }
}

fn check_sender(process: &Process, send: &Send, datagram: &Datagram, problems: &mut Problems) {
    let Some(shown) = &datagram.sender else {
        return absent("sender", datagram, problems);
    };
    if datagram.says_unknown("sender_at_this_send") && send.is_contended {
        return;
    }
    check_process("sender", process, shown, problems);
    if let Some(tid) = send.tid {
        problems.unless_equal("sender's tid", shown.tid, tid);
    }
    problems.unless_equal("sender's comm", shown.comm.bytes(), send.comm.0.clone());
    problems.unless_equal(
        "io_uring_worker",
        shown.io_uring_worker,
        send.io_uring_worker,
    );
}

/// What the facts of a process have in common, whatever it did.
pub fn check_process(
    who: &str,
    process: &Process,
    shown: &shown::Process,
    problems: &mut Problems,
) {
    problems.unless_equal(&format!("{who}'s pid"), shown.pid, process.pid);
    let ids = (shown.uid, shown.gid);
    problems.unless_equal(
        &format!("{who}'s uid and gid"),
        ids,
        (process.uid, process.gid),
    );
    let parent = Some(process.parent_pid);
    problems.unless_equal(&format!("{who}'s parent"), shown.parent_pid, parent);
    let in_namespace = (shown.namespace_pid, shown.pid_namespace);
    let was_in_namespace = (Some(process.namespace_pid), Some(process.pid_namespace));
    problems.unless_equal(
        &format!("{who}'s namespace"),
        in_namespace,
        was_in_namespace,
    );
    let ticks = shown.start_boottime_ns.map(|ns| ns / 10_000_000);
    problems.unless_equal(&format!("{who}'s start"), ticks, Some(process.start_ticks));
    if let Some(was) = &process.cgroup {
        let cgroup = shown.cgroup.as_ref();
        let path = cgroup
            .and_then(|cgroup| cgroup.path.as_ref())
            .map(shown::Text::bytes);
        let shown = (cgroup.map(|cgroup| cgroup.id), path);
        let was = (Some(was.id), Some(shown_path(&was.path).into_bytes()));
        problems.unless_equal(&format!("{who}'s cgroup"), shown, was);
    }
    check_attribution(who, process, shown, problems);
}

/// Levels that are walked of a cgroup's path, and bytes of its names that a record takes, each with its NUL.
const WALKED: usize = 24;
const TAKEN_BYTES: usize = 4095;

/// What is shown of a cgroup's path: all of it, or its lower end if it is too deep or too long.
pub(super) fn shown_path(path: &str) -> String {
    let mut start = path.len();
    let mut levels = 0;
    // Each name stands behind a slash, and has a NUL in the record.
    for (at, _) in path.rmatch_indices('/') {
        if levels == WALKED || path.len() - at > TAKEN_BYTES {
            break;
        }
        (start, levels) = (at, levels + 1);
    }
    // That nothing is above is seen one level further.
    if start == 0 && levels < WALKED {
        path.to_owned()
    } else {
        format!("…{}", &path[start..])
    }
}

/// Where the process belongs, and what `/proc` said of it.
fn check_attribution(
    who: &str,
    process: &Process,
    shown: &shown::Process,
    problems: &mut Problems,
) {
    let expected = process.attribution.clone().or_else(|| {
        let path = &process.cgroup.as_ref()?.path;
        if shown_path(path) != *path {
            // Whose it is stands at the upper end.
            return Some(Value::Null);
        }
        let mut parts = path.strip_prefix('/')?.split('/');
        let (slice, unit) = (parts.next()?, parts.next()?);
        (slice == SLICE).then(|| json!({"unit": {"name": unit}, "slice": slice}))
    });
    if let Some(expected) = expected {
        let said = shown.attribution.clone().unwrap_or_default();
        problems.unless_equal(&format!("{who}'s attribution"), said, expected);
    }
    match &shown.later {
        Some(_) if process.is_gone => problems.add(format!("{who} was gone, and was looked up")),
        Some(later) => {
            let executable = later.executable.as_ref().map(shown::Text::bytes);
            // A zombie's can't be read any more.
            if executable.is_some() {
                let was = Some(process.executable.0.clone());
                problems.unless_equal(&format!("{who}'s executable"), executable, was);
            }
            if !later.command_line.is_empty() {
                let words: Vec<_> = later.command_line.iter().map(shown::Text::bytes).collect();
                let were: Vec<_> = process.command_line.iter().map(|it| it.0.clone()).collect();
                problems.unless_equal(&format!("{who}'s command line"), words, were);
            }
        }
        None => {}
    }
}

fn check_addresses(
    truth: &Truth,
    send: &Send,
    datagram: &Datagram,
    plan: Plan,
    problems: &mut Problems,
) {
    match &datagram.destination {
        Some(shown) => {
            let address = shown.address.address();
            problems.unless_equal("destination", address, send.destination.address.0.clone());
            problems.unless_equal("connected", shown.connected, send.destination.is_connected);
        }
        None => absent("destination", datagram, problems),
    }
    let inode = datagram.receiver.as_ref().map(|receiver| receiver.inode);
    // The filter comes before the hook that knows the receiver, but on some kernels behind it.
    let may_be_missing = send.fate == Fate::Filtered && inode.is_none();
    if (plan.sees_senders() || send.receiver.is_some()) && !may_be_missing {
        problems.unless_equal("receiver's inode", inode, send.receiver);
    }
    let known = truth
        .receivers
        .iter()
        .find(|receiver| Some(receiver.inode) == send.receiver);
    if let (Some(shown), Some(receiver)) = (&datagram.receiver, known) {
        let address = shown.address.as_ref().map(shown::Text::address);
        problems.unless_equal(
            "receiver's address",
            address,
            Some(receiver.address.0.clone()),
        );
    }
}

fn check_payload(send: &Send, datagram: &Datagram, plan: Plan, problems: &mut Problems) {
    let length = plan.length_seen(send);
    problems.unless_equal("length", datagram.length_bytes, length);
    if !send.is_copied {
        problems.unless_equal("payload is absent", datagram.payload.is_none(), true);
        absent("payload_never_copied", datagram, problems);
    } else if let Some(shown) = &datagram.payload {
        // The bytes themselves are what the pair was found by, or the receiver's to compare.
        let shown = shown.bytes().len();
        problems.unless_equal("payload bytes", shown, (length as usize).min(PAYLOAD_MAX));
        problems.unless_equal(
            "truncated",
            datagram.truncated,
            length as usize > PAYLOAD_MAX,
        );
    } else {
        absent("payload", datagram, problems);
    }
    match datagram.fds {
        Some(fds) if send.is_copied => problems.unless_equal("fds", fds, send.fds),
        Some(_) => {}
        None => absent("fds", datagram, problems),
    }
    let claimed = datagram.claimed.map(|it| (it.pid, it.uid, it.gid));
    let was_claimed = send.claimed.map(|it| (it.pid, it.uid, it.gid));
    if !datagram.says_unknown("claimed") {
        problems.unless_equal("claimed credentials", claimed, was_claimed);
    } else if claimed.is_some() {
        problems.add("claimed credentials are both shown and unknown");
    }
}

fn check_result(send: &Send, datagram: &Datagram, problems: &mut Problems) {
    match &datagram.result {
        Some(Outcome::SentBytes(bytes)) => {
            problems.unless_equal("result", Ok(*bytes), send.result);
        }
        Some(Outcome::Failed(error)) => {
            problems.unless_equal("result", Err(error.errno), send.result);
            problems.unless_equal("errno's name", error.name.as_deref(), name(error.errno));
        }
        None => absent("result", datagram, problems),
    }
}

/// Names of the errors that occur here.
pub fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EAGAIN => "EAGAIN",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EMSGSIZE => "EMSGSIZE",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EPROTOTYPE => "EPROTOTYPE",
        _ => return None,
    })
}

fn check_delivery(
    truth: &Truth,
    send: &Send,
    datagram: &Datagram,
    plan: Plan,
    problems: &mut Problems,
) {
    let delivery = &datagram.delivery;
    let state = match send.fate {
        Fate::Delivered | Fate::Trimmed(_) => "delivered",
        Fate::Failed => "failed",
        Fate::Filtered => "filtered",
        Fate::Destroyed => "destroyed",
    };
    let is_open = datagram.result.is_none() && state != "delivered";
    if !(is_open && matches!(delivery.state.as_str(), "unknown" | "sending")) {
        problems.unless_equal("state", delivery.state.as_str(), state);
    }
    let trimmed = match send.fate {
        Fate::Trimmed(left) if plan.sees_senders() => Some(left),
        _ => None,
    };
    problems.unless_equal("trimmed_to_bytes", delivery.trimmed_to_bytes, trimmed);
    if state != "delivered" {
        problems.unless_equal("there is no reader", delivery.reader.is_none(), true);
        return;
    }
    let receiver = truth
        .receivers
        .iter()
        .find(|receiver| Some(receiver.inode) == send.receiver);
    if let Some(receiver) = receiver {
        let reader = delivery
            .reader
            .as_ref()
            .map(|reader| (reader.pid, reader.tid));
        problems.unless_equal("reader", reader, Some((receiver.pid, receiver.pid)));
        let present = send.sender_present.filter(|_| receiver.is_told);
        if present.is_some() || !receiver.is_told {
            problems.unless_equal("sender_present", delivery.sender_present, present);
        }
    }
}

fn check_timing(send: &Send, datagram: &Datagram, plan: Plan, problems: &mut Problems) {
    let timing = &datagram.timing;
    let mut within = |what: &str, time: Option<u64>, from: u64, to: u64| {
        if let Some(time) = time
            && !is_between(time, from, to)
        {
            problems.add(format!("{what} at {time}, not between {from} and {to}"));
        }
    };
    let (before, after) = (send.before_ns, send.after_ns);
    within("entered", timing.entry_ns, before, after);
    within("returned", timing.returned_ns, before, after);
    let entered = timing.entry_ns.unwrap_or(before);
    within(
        "queued",
        timing.queued_ns,
        entered,
        timing.returned_ns.unwrap_or(after),
    );
    let queued = timing.queued_ns.unwrap_or(entered);
    within("dequeued", timing.dequeued_ns, queued, u64::MAX);
    let earliest = timing.entry_ns.or(timing.dequeued_ns).unwrap_or(0);
    if plan.sees_senders() || timing.entry_ns.is_some() {
        problems.unless_equal("monotonic_ns", datagram.monotonic_ns, earliest);
    }
    if timing.entry_ns.is_none() {
        absent("send_times", datagram, problems);
    }
    if !plan.sees_senders() {
        return;
    }
    let is_queued = match send.fate {
        Fate::Delivered | Fate::Trimmed(_) | Fate::Destroyed => Some(true),
        Fate::Filtered => Some(false),
        Fate::Failed => None,
    };
    if let Some(is_queued) = is_queued {
        problems.unless_equal("queued_ns is known", timing.queued_ns.is_some(), is_queued);
    }
    let has_result = datagram.result.is_some();
    problems.unless_equal(
        "returned_ns is known",
        timing.returned_ns.is_some(),
        has_result,
    );
    if send.is_blocked && has_result {
        let waited = timing.queue_tries.is_some_and(|tries| tries > 1);
        problems.unless_equal("it had to wait", waited, true);
    }
}

/// A repetition names the attempt before it, and nothing else names one.
pub fn check_repetitions(truth: &Truth, pairs: &[Pair<'_>], problems: &mut Problems) {
    let mut before = None;
    for (index, datagram) in pairs {
        let expected = before.filter(|_| truth.sends[*index].is_repetition);
        problems.unless_equal(
            &format!("retry_of of datagram {}", datagram.id),
            datagram.retry_of,
            expected,
        );
        before = Some(datagram.id);
    }
}
