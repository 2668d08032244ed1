//! What surrounds the datagrams: who read them in which order, ends of receivers and of senders,
//! failed connects.

use super::{
    Pair, Part, Problems,
    datagram::{check_process, name},
    is_between,
    pairing::shown,
};
use crate::{
    plan::Plan,
    shown::{Datagram, Exit, Text},
    truth::{Fate, Process, Receipt, Receiver, Truth},
};

/// The receiver's own record is the witness: the same datagrams, in the same order, with the same
/// bytes, descriptors and credentials.
pub fn check_reading(
    receiver: &Receiver,
    pairs: &[Pair<'_>],
    truth: &Truth,
    plan: Plan,
    problems: &mut Problems,
) {
    let is_here = |inode: Option<u64>| inode == Some(receiver.inode);
    if !pairs
        .iter()
        .any(|(index, _)| is_here(truth.sends[*index].receiver))
    {
        // Pairing has told of those that are missing.
        return;
    }
    let mut read: Vec<&Datagram> = pairs
        .iter()
        .filter(|(index, datagram)| {
            is_here(truth.sends[*index].receiver) && datagram.delivery.state == "delivered"
        })
        .map(|(_, datagram)| *datagram)
        .collect();
    read.sort_by_key(|datagram| datagram.timing.dequeued_ns);
    if read.len() != receiver.receipts.len() {
        problems.add(format!(
            "{} datagrams are shown as read from socket {}, it read {}",
            read.len(),
            receiver.inode,
            receiver.receipts.len()
        ));
        return;
    }
    for (index, (datagram, receipt)) in read.into_iter().zip(&receiver.receipts).enumerate() {
        let mut found = Problems::default();
        check_receipt(receipt, datagram, &mut found);
        if !found.0.is_empty() {
            let about = format!("{} read of socket {}", index + 1, receiver.inode);
            problems.extend(&format!("{about} ({})", shown(datagram)), found);
            if !plan.sees_senders() || problems.0.len() > 20 {
                return;
            }
        }
    }
}

fn check_receipt(receipt: &Receipt, datagram: &Datagram, problems: &mut Problems) {
    let left = datagram
        .delivery
        .trimmed_to_bytes
        .unwrap_or(datagram.length_bytes);
    problems.unless_equal("bytes read", left, receipt.length);
    if let Some(payload) = &datagram.payload {
        let mut payload = payload.bytes();
        payload.truncate(receipt.payload.0.len());
        if payload != receipt.payload.0 {
            problems.add("the receiver got another payload");
        }
    }
    let told = datagram
        .delivery
        .credentials
        .map(|it| (it.pid, it.uid, it.gid));
    let was_told = receipt.credentials.map(|it| (it.pid, it.uid, it.gid));
    problems.unless_equal("credentials that the receiver is told", told, was_told);
    if let Some(fds) = datagram.fds {
        problems.unless_equal("descriptors received", fds, receipt.fds);
    }
    match datagram.timing.dequeued_ns {
        Some(time) if is_between(time, receipt.before_ns, receipt.after_ns) => {}
        other => problems.add(format!(
            "dequeued at {other:?}, not between {} and {}",
            receipt.before_ns, receipt.after_ns
        )),
    }
}

/// A receiver that anything was queued at is closed once, with what it never read.
pub fn check_end(
    receiver: &Receiver,
    truth: &Truth,
    part: &Part<'_>,
    plan: Plan,
    problems: &mut Problems,
) {
    let ends: Vec<_> = part
        .closed
        .iter()
        .filter(|it| it.receiver.inode == receiver.inode)
        .collect();
    let sends = || {
        truth
            .sends
            .iter()
            .filter(|send| send.receiver == Some(receiver.inode))
    };
    // One that only senders' spelling selects isn't a notify socket when it is closed.
    let was_reached = sends().any(|send| {
        send.result.is_ok() && send.fate != Fate::Filtered && !send.is_selected_by_destination_only
    });
    let unread = sends().filter(|send| send.fate == Fate::Destroyed).count();
    let what = |what: &str| format!("{what} of socket {}", receiver.inode);
    if !plan.sees_senders() || receiver.is_end_hidden {
        return problems.unless_equal(&what("ends shown"), ends.len(), 0);
    }
    if was_reached || ends.len() > 1 {
        problems.unless_equal(&what("ends shown"), ends.len(), 1);
    }
    for end in ends {
        let closer = end.closer.pid;
        problems.unless_equal(&what("closer"), closer, receiver.pid);
        let left = end.receiver.queue_length.map(|left| left as usize);
        problems.unless_equal(&what("datagrams unread at the end"), left, Some(unread));
        let address = end.receiver.address.as_ref().map(Text::address);
        problems.unless_equal(&what("address"), address, Some(receiver.address.0.clone()));
    }
}

/// Every failed connect once.
pub fn check_connects(truth: &Truth, part: &Part<'_>, plan: Plan, problems: &mut Problems) {
    let expected = if plan.sees_senders() {
        truth.connects.len()
    } else {
        0
    };
    problems.unless_equal("failed connects", part.connects.len(), expected);
    if part.connects.len() != truth.connects.len() {
        return;
    }
    for (was, shown) in truth.connects.iter().zip(&part.connects) {
        let mut found = Problems::default();
        check_process(
            "connector",
            &truth.processes[was.process],
            &shown.sender,
            &mut found,
        );
        found.unless_equal("socket", shown.socket_inode, Some(was.socket_inode));
        found.unless_equal("address", shown.address.address(), was.address.0.clone());
        found.unless_equal("errno", shown.error.errno, was.errno);
        found.unless_equal("errno's name", shown.error.name.as_deref(), name(was.errno));
        let time = shown.monotonic_ns;
        let is_then = (was.before_ns..=was.after_ns).contains(&time);
        found.unless_equal("it happened when it did", is_then, true);
        problems.extend("connect", found);
    }
}

/// Every process that sent is seen to exit once. (All have exited when this is looked at.)
///
/// Where a program may be preempted, the kernel skips it for others on that CPU meanwhile, and an exit
/// happens only once: what the agent counts as skipped explains as many that are missing.
pub fn check_exits(truth: &Truth, part: &Part<'_>, plan: Plan, problems: &mut Problems) {
    let mut excuses = part.skipped_runs;
    for process in &truth.processes {
        let index = |index: usize| &truth.processes[index];
        let is_own = |at: usize| {
            let other = index(at);
            (other.pid, other.start_ticks) == (process.pid, process.start_ticks)
        };
        let last = truth
            .sends
            .iter()
            .filter(|send| send.is_copied && is_own(send.process) && plan.shows(send))
            .map(|send| send.before_ns)
            .max();
        let exits: Vec<_> = part
            .exits
            .iter()
            .filter(|exit| exit.pid == process.pid && !is_anothers(exit, process, truth))
            .collect();
        let what = format!("exits of process {}", process.pid);
        let is_due = last.is_some() && plan.sees_senders();
        if exits.is_empty() && is_due && excuses > 0 {
            excuses -= 1;
            problems.note(format!("{what}: none; the kernel skipped program runs"));
        } else if exits.len() > 1 || is_due {
            problems.unless_equal(&what, exits.len(), 1);
        }
        for exit in exits {
            let ticks = exit.start_boottime_ns.map(|ns| ns / 10_000_000);
            problems.unless_equal("start in the exit", ticks, Some(process.start_ticks));
            if last.is_some_and(|last| exit.monotonic_ns < last) {
                problems.add(format!("{what}: before it sent"));
            }
        }
    }
}

/// Whether it is the exit of another process that had the same pid.
fn is_anothers(exit: &Exit, process: &Process, truth: &Truth) -> bool {
    let ticks = exit.start_boottime_ns.map(|ns| ns / 10_000_000);
    truth.processes.iter().any(|other| {
        other.pid == process.pid
            && other.start_ticks != process.start_ticks
            && ticks == Some(other.start_ticks)
    })
}
