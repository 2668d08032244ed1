//! What is said of a notification besides its payload.

use crate::event::{Defect, DeliveryState, Notification, PlanName, SendResult, Timing, Unknown};
use crate::words;

/// A sender that waits no longer isn't said to have been blocked.
const BLOCKED_NS: u64 = 1_000_000;

/// What the tracepoint plan never knows: the session's header says so once.
const NEVER_IN_TRACEPOINTS: [Unknown; 5] = [
    Unknown::SenderAtThisSend,
    Unknown::Destination,
    Unknown::Result,
    Unknown::SendTimes,
    Unknown::Claimed,
];

/// Why it did not arrive, or not yet: what stands before its payload.
pub(crate) fn reason(notification: &Notification) -> Option<String> {
    match notification.delivery.state {
        DeliveryState::Delivered => None,
        DeliveryState::Failed => Some(error(notification.result.as_ref())),
        DeliveryState::Sending => Some("not queued yet".to_owned()),
        DeliveryState::Queued => {
            let waiting = notification
                .receiver
                .as_ref()
                .and_then(|receiver| receiver.queue_length)
                .filter(|length| *length > 0);
            Some(match waiting {
                Some(length) => format!("in the queue behind {length}"),
                None => "in the queue".to_owned(),
            })
        }
        DeliveryState::Filtered => Some("by the receiver's filter".to_owned()),
        DeliveryState::Destroyed => Some("receiver closed, unread".to_owned()),
        DeliveryState::Unknown => Some("what became of it is not known".to_owned()),
    }
}

/// `ECONNREFUSED`.
pub(crate) fn error(result: Option<&SendResult>) -> String {
    match result {
        Some(SendResult::Failed(error)) => words::errno(error),
        _ => "error not known".to_owned(),
    }
}

/// All that isn't as usual.
pub(crate) fn remarks(notification: &Notification, plan: Option<PlanName>) -> Vec<String> {
    let delivery = &notification.delivery;
    let mut remarks = Vec::new();
    if notification.truncated {
        remarks.push(format!(
            "(first 4096 of {} bytes)",
            notification.length_bytes
        ));
    }
    if let Some(fds @ 1..) = notification.fds {
        remarks.push(format!("+{}", words::count(fds.into(), "fd", "fds")));
    }
    remarks.extend(blocked(&notification.timing, delivery.state));
    if let Some(bytes) = delivery.trimmed_to_bytes {
        remarks.push(format!("trimmed to {bytes} bytes"));
    }
    if delivery.sender_present == Some(false) {
        remarks.push("sender gone".to_owned());
    }
    if let Some(claimed) = notification.claimed {
        let is_own = notification.sender.as_ref().is_some_and(|sender| {
            (sender.pid, sender.uid, sender.gid) == (claimed.pid, claimed.uid, claimed.gid)
        });
        if !is_own {
            remarks.push(format!("claims {}", words::credentials(claimed)));
        }
    }
    if let Some(first) = notification.retry_of {
        remarks.push(format!("retry of #{first}"));
    }
    remarks.extend(list(
        "defect",
        notification
            .defects
            .iter()
            .map(|defect: &Defect| words::defect(*defect)),
    ));
    let is_news = |unknown: &&Unknown| {
        plan != Some(PlanName::Tracepoints) || !NEVER_IN_TRACEPOINTS.contains(unknown)
    };
    // That it was withheld is to be seen in the lines themselves.
    let is_news = |unknown: &&Unknown| is_news(unknown) && **unknown != Unknown::PayloadRedacted;
    let unknown = notification.unknown.iter().filter(is_news);
    remarks.extend(list(
        "unknown",
        unknown.map(|unknown| words::unknown(*unknown)),
    ));
    remarks
}

/// `[unknown: result, fds]`, if there is anything.
fn list(what: &str, items: impl Iterator<Item = &'static str>) -> Option<String> {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| format!("[{what}: {}]", items.join(", ")))
}

/// How long the sender waited for room in the queue, if that was long.
pub(super) fn blocked(timing: &Timing, state: DeliveryState) -> Option<String> {
    let until_ns = match state {
        DeliveryState::Failed => timing.returned_ns,
        _ => timing.queue_tries.and(timing.queued_ns),
    };
    let ns = between(timing.entry_ns, until_ns)?;
    (ns > BLOCKED_NS).then(|| format!("blocked {}", words::duration(ns)))
}

pub(super) fn between(begin_ns: Option<u64>, end_ns: Option<u64>) -> Option<u64> {
    Some(end_ns?.saturating_sub(begin_ns?))
}
