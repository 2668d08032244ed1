//! A notification's line, those of its updates, and those of what is no datagram.

use super::{COLUMNS, words};
use crate::escape::escape_field;
use crate::event::{
    ConnectFailed, Defect, DeliveryState, Line, Notification, PlanName, Receiver, ReceiverClosed,
    SendResult, Timing, Unknown, Update,
};

/// A sender that waits no longer isn't said to have been blocked.
const BLOCKED_NS: u64 = 1_000_000;

/// Room for the payload, however much else there is to say.
const PAYLOAD_COLUMNS: usize = 200;

/// `HH:MM:SS.ffffff  ` stands before the parts.
const CLOCK_COLUMNS: usize = 17;

/// What the tracepoint plan never knows: the session's header says so once.
const NEVER_IN_TRACEPOINTS: [Unknown; 5] = [
    Unknown::SenderAtThisSend,
    Unknown::Destination,
    Unknown::Result,
    Unknown::SendTimes,
    Unknown::Claimed,
];

pub(super) fn parts(notification: &Notification, plan: Option<PlanName>) -> Vec<String> {
    let mut before = Vec::new();
    if needs_id(notification) {
        before.push(format!("#{}", notification.id));
    }
    before.extend(words::sender(notification.sender.as_ref()));
    before.push(target(notification));

    let mut after = Vec::new();
    if notification.truncated {
        after.push(format!(
            "(first 4096 of {} bytes)",
            notification.length_bytes
        ));
    }
    if let Some(fds @ 1..) = notification.fds {
        after.push(format!("+{}", words::count(fds.into(), "fd", "fds")));
    }
    after.push(fate(notification));
    after.extend(remarks(notification, plan));

    let around: usize = before
        .iter()
        .chain(&after)
        .map(|part| part.chars().count() + 2)
        .sum();
    let room = COLUMNS
        .saturating_sub(CLOCK_COLUMNS + around)
        .max(PAYLOAD_COLUMNS);
    let payload = payload(&notification.lines);
    let payload = (!payload.is_empty()).then(|| words::cut(payload, room));
    before.into_iter().chain(payload).chain(after).collect()
}

/// Whether a later line may refer to this one.
fn needs_id(notification: &Notification) -> bool {
    let may_be_retried = notification.unknown.contains(&Unknown::PayloadNeverCopied);
    match notification.delivery.state {
        DeliveryState::Delivered => notification.unknown.contains(&Unknown::Sender),
        DeliveryState::Failed => may_be_retried,
        DeliveryState::Destroyed => false,
        DeliveryState::Sending
        | DeliveryState::Queued
        | DeliveryState::Filtered
        | DeliveryState::Unknown => true,
    }
}

/// `→ /run/notify/notify.sock (bound as /proc/self/fd/9/notify/notify.sock)`.
fn target(notification: &Notification) -> String {
    let wanted = notification.destination.as_ref().map(|to| &to.address);
    let bound = notification
        .receiver
        .as_ref()
        .and_then(|to| to.address.as_ref());
    match (wanted, bound) {
        (Some(wanted), Some(bound)) if wanted != bound => format!(
            "→ {} (bound as {})",
            words::address(wanted),
            words::address(bound)
        ),
        (Some(address), _) | (None, Some(address)) => format!("→ {}", words::address(address)),
        (None, None) => format!("→ {}", socket(notification.receiver.as_ref())),
    }
}

fn socket(receiver: Option<&Receiver>) -> String {
    receiver.map_or_else(|| "?".to_owned(), |to| format!("socket:[{}]", to.inode))
}

/// Assignments as they are; other lines in quotes.
fn payload(lines: &[Line]) -> String {
    let lines = lines.iter().filter_map(|line| match line {
        Line::Assignment { key, value } => Some(format!(
            "{}={}",
            escape_field(&key.0),
            escape_field(&value.0)
        )),
        Line::Other { text } if text.0.is_empty() => None,
        Line::Other { text } => Some(format!("\"{}\"", escape_field(&text.0))),
    });
    lines.collect::<Vec<_>>().join("  ")
}

/// What became of it.
fn fate(notification: &Notification) -> String {
    let timing = &notification.timing;
    match notification.delivery.state {
        DeliveryState::Delivered => {
            let begin = timing.queued_ns.or(timing.entry_ns);
            let mut words = "delivered".to_owned();
            if let Some(ns) = between(begin, timing.dequeued_ns) {
                words = format!("{words} {}", words::duration(ns));
            }
            if let Some(reader) = &notification.delivery.reader {
                words = format!("{words} {}", words::name(reader));
            }
            words
        }
        DeliveryState::Failed => failed(notification.result.as_ref()),
        DeliveryState::Sending => "pending (sending)".to_owned(),
        DeliveryState::Queued => format!(
            "pending (queued{})",
            waiting(notification.receiver.as_ref())
        ),
        DeliveryState::Filtered => "DROPPED by the receiver's filter".to_owned(),
        DeliveryState::Destroyed => "DESTROYED unread".to_owned(),
        DeliveryState::Unknown => "fate unknown".to_owned(),
    }
}

fn failed(result: Option<&SendResult>) -> String {
    match result {
        Some(SendResult::Failed(error)) => format!("FAILED {}", words::errno(error)),
        _ => "FAILED".to_owned(),
    }
}

/// `, 12 waiting`.
fn waiting(receiver: Option<&Receiver>) -> String {
    match receiver.and_then(|receiver| receiver.queue_length) {
        None | Some(0) => String::new(),
        Some(length) => format!(", {length} waiting"),
    }
}

/// All that isn't as usual.
fn remarks(notification: &Notification, plan: Option<PlanName>) -> Vec<String> {
    let delivery = &notification.delivery;
    let mut remarks = Vec::new();
    if let Some(blocked) = blocked(&notification.timing, delivery.state) {
        remarks.push(blocked);
    }
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
fn blocked(timing: &Timing, state: DeliveryState) -> Option<String> {
    let until_ns = match state {
        DeliveryState::Failed => timing.returned_ns,
        _ => timing.queue_tries.and(timing.queued_ns),
    };
    let ns = between(timing.entry_ns, until_ns)?;
    (ns > BLOCKED_NS).then(|| format!("blocked {}", words::duration(ns)))
}

fn between(begin_ns: Option<u64>, end_ns: Option<u64>) -> Option<u64> {
    Some(end_ns?.saturating_sub(begin_ns?))
}

/// `#12 delivered after 3.2 s systemd[1]`; nothing if an eye that saw the notification learns
/// nothing new.
pub(super) fn update(update: &Update) -> Option<Vec<String>> {
    let Update { id, delivery, .. } = update;
    let after = match between(update.timing.entry_ns, Some(update.monotonic_ns)) {
        Some(ns) => format!(" after {}", words::duration(ns)),
        None => String::new(),
    };
    let is_of_delivery = update.timing.dequeued_ns == Some(update.monotonic_ns);
    let mut parts = match delivery.state {
        DeliveryState::Delivered if is_of_delivery => {
            let reader = delivery
                .reader
                .as_ref()
                .map(|reader| format!(" {}", words::name(reader)));
            vec![format!(
                "#{id} delivered{after}{}",
                reader.unwrap_or_default()
            )]
        }
        DeliveryState::Delivered => {
            let sender = update.sender.as_ref()?;
            let mut parts = words::sender(Some(sender));
            parts[0] = format!("#{id} was sent by {}", parts[0]);
            parts
        }
        DeliveryState::Failed => vec![format!("#{id} {}{after}", failed(update.result.as_ref()))],
        DeliveryState::Queued => {
            vec![format!(
                "#{id} queued{after}{}",
                waiting(update.receiver.as_ref())
            )]
        }
        DeliveryState::Filtered => {
            vec![format!("#{id} DROPPED by the receiver's filter{after}")]
        }
        DeliveryState::Destroyed => vec![format!("#{id} DESTROYED unread{after}")],
        DeliveryState::Sending | DeliveryState::Unknown => return None,
    };
    if is_of_delivery {
        parts.extend(blocked(&update.timing, delivery.state));
        if delivery.sender_present == Some(false) {
            parts.push("sender gone".to_owned());
        }
    }
    Some(parts)
}

pub(super) fn connect_failed(failed: &ConnectFailed) -> Vec<String> {
    let mut parts = words::sender(Some(&failed.sender));
    parts.push(format!("→ {}", words::address(&failed.address)));
    parts.push(format!("connect FAILED {}", words::errno(&failed.error)));
    parts
}

pub(super) fn receiver_closed(closed: &ReceiverClosed) -> Vec<String> {
    let mut parts = words::sender(Some(&closed.closer));
    let receiver = &closed.receiver;
    parts.push(format!(
        "closed {}",
        match &receiver.address {
            Some(address) => words::address(address),
            None => socket(Some(receiver)),
        }
    ));
    if let Some(destroyed @ 1..) = receiver.queue_length {
        let datagrams = words::count(destroyed.into(), "datagram", "datagrams");
        parts.push(format!("{datagrams} DESTROYED unread"));
    }
    parts
}
