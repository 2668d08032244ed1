//! A datagram, and what became of it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Address, Blob, Credentials, Process};

/// A datagram and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Notification {
    /// Number of the datagram in this output; an `update` refers to it.
    pub id: u64,
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The earliest moment known of it: the send call's entry, else its dequeue.
    pub monotonic_ns: u64,
    /// The process that sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Process>,
    /// Inode number of the socket it was sent from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_inode: Option<u64>,
    /// Where the sender wanted it to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
    /// The socket that it arrived at or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Receiver>,
    /// Kind of notify socket, by the rule that selected it, such as `systemd` or `runc`.
    pub class: Arc<str>,
    /// Bytes of the datagram.
    pub length_bytes: u32,
    /// The payload, at most its first 4096 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Blob>,
    /// The payload is longer than what is shown.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub truncated: bool,
    /// The payload's lines in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// What a receiver that follows the protocol will object to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<Defect>,
    /// File descriptors passed with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fds: Option<u32>,
    /// Credentials that the sender attached itself (`SCM_CREDENTIALS`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Credentials>,
    /// What the send call returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<SendResult>,
    /// What became of it.
    pub delivery: Delivery,
    /// The failed attempt (its `id`) that this one repeats: libsystemd sends again without
    /// credentials when the kernel refuses the claimed ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<u64>,
    /// When what happened.
    pub timing: Timing,
    /// Facts that this output can't give for this datagram, and why they are absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<Unknown>,
}

impl Notification {
    /// A copy that can be kept: what was said lies in memory of its own, not in the piece that was read
    /// from a ring at once.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            payload: self.payload.as_ref().map(Blob::detached),
            lines: self.lines.iter().map(Line::detached).collect(),
            ..self.clone()
        }
    }
}

/// A later fact about a `send`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Update {
    /// The `send` that it completes.
    pub id: u64,
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When the new fact came about.
    pub monotonic_ns: u64,
    /// The sender, if it became known only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Process>,
    /// The receiver, if it became known only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Receiver>,
    /// The result, if it became known only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<SendResult>,
    /// What is known of the delivery now.
    pub delivery: Delivery,
    /// All times known now.
    pub timing: Timing,
}

/// Where a datagram was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Destination {
    /// The address as the sender wrote it; the peer's if the socket was connected.
    pub address: Address,
    /// The sender had connected its socket and gave no address.
    pub connected: bool,
}

/// A receiving socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receiver {
    /// Its inode number, as in `/proc/net/unix`.
    pub inode: u64,
    /// Its address, as the process that bound it wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Datagrams that waited in its queue when this one was about to be queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_length: Option<u32>,
}

/// What the send call returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SendResult {
    /// The number of bytes accepted.
    SentBytes(u32),
    /// It failed.
    Failed(Errno),
}

/// An error number and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Errno {
    /// The number, positive.
    pub errno: i32,
    /// Its name, such as `ECONNREFUSED`, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What became of a datagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Delivery {
    /// The short answer.
    pub state: DeliveryState,
    /// The process that took it out of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader: Option<Process>,
    /// Bytes that the receiver got, where they are fewer than were sent (its filter trims).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trimmed_to_bytes: Option<u32>,
    /// The credentials that the receiver is told: by these systemd finds the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Whether the process of those credentials was still there at the dequeue, be it as a zombie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_present: Option<bool>,
    /// Datagrams left in the queue after it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_in_queue: Option<u32>,
}

/// The short answer to what became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The receiver took it out of its queue.
    Delivered,
    /// The send call failed.
    Failed,
    /// Nothing is known of it yet: the sender may wait for room in the queue.
    Sending,
    /// It is in the receiver's queue, or was when this was written.
    Queued,
    /// The send call succeeded, but the receiver's socket filter had dropped the datagram.
    Filtered,
    /// The receiver was closed with the datagram in its queue.
    Destroyed,
    /// It was sent or queued, but what came of it can't be known any more.
    Unknown,
}

/// When what happened to a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Timing {
    /// The send call was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_ns: Option<u64>,
    /// It was put into the receiver's queue: the last try, if the sender had to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_ns: Option<u64>,
    /// The send call returned. The receiver may have read the datagram before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned_ns: Option<u64>,
    /// The receiver took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dequeued_ns: Option<u64>,
    /// How often the sender tried to queue it, where it had to wait for room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_tries: Option<u32>,
}

impl Timing {
    /// From the queue to the receiver, or from the call where the queueing isn't known.
    #[must_use]
    pub fn delivery_ns(&self) -> Option<u64> {
        between(self.queued_ns.or(self.entry_ns), self.dequeued_ns)
    }

    /// How long the sender waited for room in the queue, where it had to: until its datagram was
    /// queued, or until it gave up.
    #[must_use]
    pub fn blocked_ns(&self) -> Option<u64> {
        self.queue_tries?;
        between(self.entry_ns, self.queued_ns.or(self.returned_ns))
    }
}

fn between(begin_ns: Option<u64>, end_ns: Option<u64>) -> Option<u64> {
    Some(end_ns?.saturating_sub(begin_ns?))
}

/// One line of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Line {
    /// `KEY=VALUE`.
    Assignment {
        /// What stands before the first `=`.
        key: Blob,
        /// What stands after it.
        value: Blob,
    },
    /// A line without `=`, or with nothing before it: receivers ignore it.
    Other {
        /// The line.
        text: Blob,
    },
    /// A line whose value is withheld (`--redact`, `--keys-only`).
    Redacted {
        /// What stands before the first `=`; absent if that is withheld too.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<Blob>,
        /// Bytes that are withheld.
        redacted_bytes: u64,
    },
}

impl Line {
    /// The same in memory of its own.
    #[must_use]
    pub fn detached(&self) -> Self {
        match self {
            Self::Assignment { key, value } => Self::Assignment {
                key: key.detached(),
                value: value.detached(),
            },
            Self::Other { text } => Self::Other {
                text: text.detached(),
            },
            Self::Redacted {
                key,
                redacted_bytes,
            } => Self::Redacted {
                key: key.as_ref().map(Blob::detached),
                redacted_bytes: *redacted_bytes,
            },
        }
    }

    /// What stands before the first `=`, where that is known.
    #[must_use]
    pub const fn key(&self) -> Option<&Blob> {
        match self {
            Self::Assignment { key, .. } | Self::Redacted { key: Some(key), .. } => Some(key),
            Self::Other { .. } | Self::Redacted { key: None, .. } => None,
        }
    }
}

/// What a receiver that follows the protocol will object to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// Longer than 4096 bytes: systemd drops it whole.
    TooLong,
    /// A NUL byte before the end: systemd drops it whole. One trailing NUL is tolerated.
    EmbeddedNul,
    /// No byte at all.
    Empty,
    /// No line is an assignment.
    NoAssignment,
    /// A value that must be UTF-8 (`STATUS=`) is not: systemd ignores the assignment.
    StatusNotUtf8,
    /// `BARRIER=1` together with other assignments, or with other than one file descriptor:
    /// systemd ignores the datagram.
    MalformedBarrier,
}

/// Why a fact is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// Who sent it: this plan sees datagrams at the receiver.
    Sender,
    /// The sender is the task that sent through the same socket before: this plan can't see the
    /// send itself.
    SenderAtThisSend,
    /// The address as the sender wrote it.
    Destination,
    /// What the send call returned: its return was missed or this plan can't see it.
    Result,
    /// When it was sent.
    SendTimes,
    /// The payload: kernel memory that held it could not be read.
    Payload,
    /// The payload: the call failed before the kernel copied any byte, so nothing was sent.
    PayloadNeverCopied,
    /// The payload: it was withheld (`--redact`, `--keys-only`).
    PayloadRedacted,
    /// Whether credentials were claimed.
    Claimed,
    /// How many file descriptors were passed.
    Fds,
    /// The receiving socket's name: the record that carries it was lost.
    ReceiverAddress,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;

    #[test]
    fn what_is_detached_says_the_same_and_shares_no_bytes() {
        let it = Sample::new("READY=1\nnothing\nSTATUS=well").build();
        let kept = it.detached();
        assert_eq!(kept, it);
        let of = |it: &Notification| {
            let lines = it.lines.iter().map(|line| match line {
                Line::Assignment { value: text, .. } | Line::Other { text } => text.0.as_ptr(),
                Line::Redacted { .. } => unreachable!("nothing is withheld"),
            });
            let payload = it.payload.iter().map(|payload| payload.0.as_ptr());
            payload.chain(lines).collect::<Vec<_>>()
        };
        assert_eq!(of(&it).len(), 4);
        assert!(of(&it).iter().all(|place| !of(&kept).contains(place)));
    }
}
