//! What an event's row says, column by column.

use jiff::Timestamp;

use super::layout::Part;
use super::style::Style;
use super::{facts, who};
use crate::event::{
    ConnectFailed, DeliveryState, Event, Line, Notification, PlanName, Process, ReceiverClosed,
    Unknown, Update,
};
use crate::names::Recent;
use crate::words;

/// Room for the payload, however much else there is to say.
pub(super) const PAYLOAD_COLUMNS: usize = 200;

/// Most notifications whose senders are remembered for a later row.
const PENDING: usize = 4096;

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) time: Timestamp,
    pub(super) monotonic_ns: u64,
    /// The number of the notification.
    pub(super) number: Option<u64>,
    /// What became of it: how long the delivery took, or one word.
    pub(super) fate: (String, Style),
    /// Unit or container.
    pub(super) who: (String, Style),
    /// `comm[pid]`.
    pub(super) sender: String,
    pub(super) receiver: Option<String>,
    /// The receiver is an address, which is of no use in part.
    pub(super) is_address: bool,
    /// What the sender chose, and before it why it did not arrive.
    pub(super) payload: Vec<Part>,
    pub(super) remarks: Vec<Part>,
}

/// What a row about a later fact says again of the notification.
#[derive(Clone, Debug)]
struct Pending {
    who: (String, Style),
    sender: String,
}

/// Makes rows.
#[derive(Debug)]
pub(super) struct Rows {
    /// What the plan can never know isn't repeated with each notification.
    pub(super) plan: Option<PlanName>,
    pending: Recent<u64, Pending>,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self {
            plan: None,
            pending: Recent::new(PENDING),
        }
    }

    /// The row of an event, if an eye that saw those before learns something new.
    pub(super) fn of(&mut self, event: &Event) -> Option<Row> {
        match event {
            Event::Send(notification) => Some(self.notification(notification)),
            Event::Update(update) => self.update(update),
            Event::ConnectFailed(failed) => Some(connect_failed(failed)),
            Event::ReceiverClosed(closed) => Some(receiver_closed(closed)),
            // Of use to those who conclude something of it; to the eye an exit is noise.
            Event::Session(_)
            | Event::Exit(_)
            | Event::Unit(_)
            | Event::View(_)
            | Event::Loss(_)
            | Event::Summary(_) => None,
        }
    }

    fn notification(&mut self, notification: &Notification) -> Row {
        let state = notification.delivery.state;
        let who = who::who(notification.sender.as_ref());
        let sender = sender(notification.sender.as_ref());
        let needs_id = needs_id(notification);
        if needs_id {
            let pending = Pending {
                who: who.clone(),
                sender: sender.clone(),
            };
            self.pending.insert(notification.id, pending);
        }
        let mut parts = Vec::new();
        if needs_id {
            parts.push(part(format!("#{}", notification.id), Style::Quiet));
        }
        let style = fate_style(state);
        parts.extend(facts::reason(notification).map(|reason| part(reason, style)));
        parts.extend(payload(&notification.lines));
        let latency_ns = notification.timing.delivery_ns();
        Row {
            time: notification.time,
            monotonic_ns: notification.monotonic_ns,
            number: Some(notification.id),
            fate: fate(state, latency_ns),
            who,
            sender,
            receiver: Some(receiver(notification)),
            is_address: notification.delivery.reader.is_none(),
            payload: parts,
            remarks: facts::remarks(notification, self.plan)
                .into_iter()
                .map(|remark| part(remark, Style::Odd))
                .collect(),
        }
    }

    fn update(&mut self, update: &Update) -> Option<Row> {
        let Update { id, delivery, .. } = update;
        let after = facts::between(update.timing.entry_ns, Some(update.monotonic_ns))
            .map(|ns| format!(" after {}", words::duration(ns)))
            .unwrap_or_default();
        let is_of_delivery = update.timing.dequeued_ns == Some(update.monotonic_ns);
        let number = format!("#{id}");
        let said = match delivery.state {
            DeliveryState::Delivered if is_of_delivery => format!("{number} delivered{after}"),
            DeliveryState::Delivered => {
                update.sender.as_ref()?;
                format!("{number} was sent by this one")
            }
            DeliveryState::Failed => {
                format!("{number} {}{after}", facts::error(update.result.as_ref()))
            }
            DeliveryState::Queued => format!("{number} queued{after}"),
            DeliveryState::Filtered => format!("{number} dropped by the receiver's filter{after}"),
            DeliveryState::Destroyed => format!("{number} receiver closed, unread{after}"),
            DeliveryState::Sending | DeliveryState::Unknown => return None,
        };
        let mut remarks = Vec::new();
        if is_of_delivery {
            remarks.extend(facts::blocked(&update.timing, delivery.state));
            if delivery.sender_present == Some(false) {
                remarks.push("sender gone".to_owned());
            }
        }
        let before = self.pending.get(id).cloned();
        let (who, sender) = match (&update.sender, before) {
            (Some(process), _) => (who::who(Some(process)), sender(Some(process))),
            (None, Some(before)) => (before.who, before.sender),
            (None, None) => (("?".to_owned(), Style::Odd), "?".to_owned()),
        };
        let latency_ns = update.timing.delivery_ns();
        let said_style = match delivery.state {
            DeliveryState::Delivered | DeliveryState::Queued => Style::Plain,
            _ => Style::Bad,
        };
        Some(Row {
            time: update.time,
            monotonic_ns: update.monotonic_ns,
            number: Some(*id),
            fate: fate(delivery.state, latency_ns),
            who,
            sender,
            receiver: Some(match (&delivery.reader, &update.receiver) {
                (Some(reader), _) => words::name(reader),
                (None, Some(receiver)) => words::socket(receiver),
                (None, None) => "…".to_owned(),
            }),
            is_address: false,
            payload: vec![part(said, said_style)],
            remarks: remarks
                .into_iter()
                .map(|remark| part(remark, Style::Odd))
                .collect(),
        })
    }
}

fn part(text: String, style: Style) -> Part {
    Part { text, style }
}

fn sender(process: Option<&Process>) -> String {
    process.map_or_else(|| "?".to_owned(), words::name)
}

/// Whether a later row may refer to this one.
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

/// The process that took it, else the socket that it was to go to.
fn receiver(notification: &Notification) -> String {
    match &notification.delivery.reader {
        Some(reader) => words::name(reader),
        None => words::target(notification),
    }
}

/// How long the delivery took, or one word.
fn fate(state: DeliveryState, latency_ns: Option<u64>) -> (String, Style) {
    let word = match (state, latency_ns) {
        (DeliveryState::Delivered, Some(ns)) => words::duration(ns),
        (DeliveryState::Delivered, None) => "delivered".to_owned(),
        (DeliveryState::Failed, _) => "FAILED".to_owned(),
        (DeliveryState::Sending | DeliveryState::Queued, _) => "pending".to_owned(),
        (DeliveryState::Filtered, _) => "DROPPED".to_owned(),
        (DeliveryState::Destroyed, _) => "DESTROYED".to_owned(),
        (DeliveryState::Unknown, _) => "unknown".to_owned(),
    };
    (word, fate_style(state))
}

const fn fate_style(state: DeliveryState) -> Style {
    match state {
        DeliveryState::Delivered => Style::Good,
        DeliveryState::Failed | DeliveryState::Filtered | DeliveryState::Destroyed => Style::Bad,
        DeliveryState::Sending | DeliveryState::Queued | DeliveryState::Unknown => Style::Odd,
    }
}

/// Assignments as they are; other lines in quotes.
pub(super) fn payload(lines: &[Line]) -> Vec<Part> {
    lines
        .iter()
        .filter_map(words::line)
        .map(|text| part(text, Style::Plain))
        .collect()
}

fn connect_failed(failed: &ConnectFailed) -> Row {
    Row {
        time: failed.time,
        monotonic_ns: failed.monotonic_ns,
        number: None,
        fate: ("FAILED".to_owned(), Style::Bad),
        who: who::who(Some(&failed.sender)),
        sender: words::name(&failed.sender),
        receiver: Some(words::address(&failed.address)),
        is_address: true,
        payload: vec![part(
            format!("connect {}", words::errno(&failed.error)),
            Style::Bad,
        )],
        remarks: Vec::new(),
    }
}

fn receiver_closed(closed: &ReceiverClosed) -> Row {
    let mut remarks = Vec::new();
    if let Some(destroyed @ 1..) = closed.receiver.queue_length {
        let datagrams = words::count(destroyed.into(), "datagram", "datagrams");
        remarks.push(part(format!("{datagrams} DESTROYED unread"), Style::Bad));
    }
    Row {
        time: closed.time,
        monotonic_ns: closed.monotonic_ns,
        number: None,
        fate: ("closed".to_owned(), Style::Quiet),
        who: who::who(Some(&closed.closer)),
        sender: words::name(&closed.closer),
        receiver: None,
        is_address: false,
        payload: vec![part(
            format!("closed {}", words::socket(&closed.receiver)),
            Style::Plain,
        )],
        remarks,
    }
}
