//! Makes events of facts: what is known gets its public name, what isn't is listed as unknown.

use std::sync::Arc;

use notify_trace_common::record::{
    self as wire, DEQUEUE_CREDENTIALS, DEQUEUE_SENDER_GONE, DEQUEUE_SENDER_PRESENT, Dequeue,
    SEND_CLAIM_UNKNOWN, SEND_CLAIMED, SEND_CONNECTED, SEND_FDS_UNKNOWN, SEND_NOT_COPIED,
    SEND_SENDER_BY_SOCKET, SEND_UNREADABLE, Send, TASK_IO_WORKER, Task,
};

use super::datagram::{Datagram, Told};
use crate::decode::{errno, message};
use crate::enrich::clock::WallClock;
use crate::event::{
    Address, Blob, Cgroup, ConnectFailed, Credentials, Delivery, DeliveryState, Destination, Errno,
    Exit, Line, Notification, Process, Receiver, ReceiverClosed, SendResult, Timing, Unknown,
    Update,
};
use crate::names::Names;

/// What events are made with.
pub(super) struct Build<'a> {
    pub(super) names: &'a mut Names,
    pub(super) clock: WallClock,
}

impl Build<'_> {
    /// What is known of a datagram; nothing if its `Send` or its number is missing. Its lines are put into
    /// the room of others.
    pub(super) fn notification(
        &mut self,
        datagram: &Datagram,
        state: DeliveryState,
        lines: Vec<Line>,
    ) -> (Option<Notification>, Told) {
        let (receiver, receiver_is_named) = self.receiver(datagram);
        let told = Told {
            state,
            sender: datagram.sender().is_some(),
            result: datagram.ret().is_some(),
            receiver: receiver.clone(),
        };
        let (Some(send), Some(id)) = (&datagram.send, datagram.number) else {
            return (None, told);
        };
        let payload = (send.flags & (SEND_NOT_COPIED | SEND_UNREADABLE) == 0)
            .then(|| Blob(datagram.payload.clone()));
        let fds = (send.flags & SEND_FDS_UNKNOWN == 0).then_some(send.fds);
        let message = payload
            .as_ref()
            .map(|payload| message::parse_into(lines, &payload.0, send.len, fds))
            .unwrap_or_default();
        let monotonic_ns = match send.entry_ns {
            0 => send.header.time_ns,
            entry_ns => entry_ns,
        };
        let notification = Notification {
            id,
            time: self.clock.at(monotonic_ns),
            monotonic_ns,
            sender: datagram.sender().map(|task| self.process(task)),
            socket_inode: nonzero(send.socket_inode),
            destination: self.destination(send),
            receiver,
            class: datagram.class.clone().unwrap_or_else(|| "".into()),
            length_bytes: send.len,
            truncated: payload.is_some() && send.captured < send.len,
            payload,
            lines: message.lines,
            defects: message.defects,
            fds,
            claimed: (send.flags & SEND_CLAIMED != 0).then_some(Credentials {
                pid: send.claimed_pid,
                uid: send.claimed_uid,
                gid: send.claimed_gid,
            }),
            result: datagram.ret().map(result),
            delivery: self.delivery(datagram, state),
            retry_of: datagram.retry_of,
            timing: timing(datagram),
            unknown: unknown(datagram, send, state, receiver_is_named),
        };
        (Some(notification), told)
    }

    /// What is known of a datagram that was told of before, after a fact that came about at
    /// `time_ns`.
    pub(super) fn update(
        &mut self,
        datagram: &Datagram,
        state: DeliveryState,
        time_ns: u64,
    ) -> Option<(Update, Told)> {
        let before = datagram.told.as_ref()?;
        let (receiver, _) = self.receiver(datagram);
        let told = Told {
            state,
            sender: datagram.sender().is_some(),
            result: datagram.ret().is_some(),
            receiver: receiver.clone(),
        };
        let update = Update {
            id: datagram.number?,
            time: self.clock.at(time_ns),
            monotonic_ns: time_ns,
            sender: datagram
                .sender()
                .filter(|_| !before.sender)
                .map(|task| self.process(task)),
            receiver: receiver.filter(|receiver| before.receiver.as_ref() != Some(receiver)),
            result: datagram.ret().filter(|_| !before.result).map(result),
            delivery: self.delivery(datagram, state),
            timing: timing(datagram),
        };
        Some((update, told))
    }

    pub(super) fn connect_failed(
        &mut self,
        failed: &wire::ConnectFailed,
        class: Arc<str>,
    ) -> ConnectFailed {
        ConnectFailed {
            time: self.clock.at(failed.header.time_ns),
            monotonic_ns: failed.header.time_ns,
            sender: self.process(&failed.sender),
            socket_inode: nonzero(failed.socket_inode),
            address: Address(self.names.share(failed.address.as_bytes())),
            class,
            error: errno_of(failed.ret),
        }
    }

    pub(super) fn receiver_closed(
        &mut self,
        closed: &wire::ReceiverClosed,
        class: Arc<str>,
    ) -> ReceiverClosed {
        let (address, _) = self.address_of(closed.inode);
        ReceiverClosed {
            time: self.clock.at(closed.header.time_ns),
            monotonic_ns: closed.header.time_ns,
            closer: self.process(&closed.closer),
            receiver: Receiver {
                inode: closed.inode,
                address,
                queue_length: known_length(closed.queue_len),
            },
            class,
        }
    }

    fn process(&mut self, task: &Task) -> Process {
        let comm = task
            .comm
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        let cgroup = nonzero(task.cgroup_id).map(|id| Cgroup {
            id,
            path: self.names.cgroup(id).cloned().map(Blob),
        });
        Process {
            pid: task.tgid,
            tid: task.tid,
            comm: Blob(self.names.share(comm)),
            uid: task.uid,
            gid: task.gid,
            parent_pid: nonzero(task.parent_tgid),
            namespace_pid: nonzero(task.pid_in_namespace),
            pid_namespace: nonzero(task.pid_namespace),
            start_boottime_ns: nonzero(task.start_boottime_ns),
            cgroup,
            io_uring_worker: task.flags & TASK_IO_WORKER != 0,
            // Where it belongs is `enrich`'s to say.
            attribution: None,
            later: None,
        }
    }

    fn destination(&mut self, send: &Send) -> Option<Destination> {
        has_destination(send).then(|| Destination {
            address: Address(self.names.share(send.address.as_bytes())),
            connected: send.flags & SEND_CONNECTED != 0,
        })
    }

    /// The receiver, and whether its name is known, be it that it has none.
    fn receiver(&mut self, datagram: &Datagram) -> (Option<Receiver>, bool) {
        let Some(inode) = nonzero(datagram.receiver_inode()) else {
            return (None, true);
        };
        let (address, is_named) = self.address_of(inode);
        let receiver = Receiver {
            inode,
            address,
            queue_length: datagram
                .outcome
                .filter(|outcome| outcome.queued_ns != 0)
                .and_then(|outcome| known_length(outcome.queue_len)),
        };
        (Some(receiver), is_named)
    }

    fn address_of(&mut self, inode: u64) -> (Option<Address>, bool) {
        match self.names.receiver(inode) {
            None => (None, false),
            Some(name) if name.address.is_empty() => (None, true),
            Some(name) => (Some(Address(name.address.clone())), true),
        }
    }

    fn delivery(&mut self, datagram: &Datagram, state: DeliveryState) -> Delivery {
        let nothing = Delivery {
            state,
            reader: None,
            trimmed_to_bytes: None,
            credentials: None,
            sender_present: None,
            left_in_queue: None,
        };
        let Some(dequeue) = &datagram.dequeue else {
            return nothing;
        };
        let sent = datagram.send.map_or(0, |send| send.len);
        Delivery {
            reader: Some(self.process(&dequeue.reader)),
            trimmed_to_bytes: (dequeue.len < sent).then_some(dequeue.len),
            credentials: (dequeue.flags & DEQUEUE_CREDENTIALS != 0).then_some(Credentials {
                pid: dequeue.told_pid,
                uid: dequeue.told_uid,
                gid: dequeue.told_gid,
            }),
            sender_present: sender_present(dequeue),
            left_in_queue: known_length(dequeue.queue_len),
            ..nothing
        }
    }
}

/// A queue length, unless the kernel side could not read it.
fn known_length(length: u32) -> Option<u32> {
    (length != wire::QUEUE_LEN_UNKNOWN).then_some(length)
}

pub(super) fn exit(exit: &wire::Exit, clock: WallClock) -> Exit {
    Exit {
        time: clock.at(exit.header.time_ns),
        monotonic_ns: exit.header.time_ns,
        pid: exit.tgid,
        start_boottime_ns: nonzero(exit.start_boottime_ns),
    }
}

fn sender_present(dequeue: &Dequeue) -> Option<bool> {
    if dequeue.flags & DEQUEUE_SENDER_PRESENT != 0 {
        Some(true)
    } else if dequeue.flags & DEQUEUE_SENDER_GONE != 0 {
        Some(false)
    } else {
        None
    }
}

/// Whether it is known where it was sent to.
fn has_destination(send: &Send) -> bool {
    send.flags & SEND_CONNECTED != 0 || !send.address.as_bytes().is_empty()
}

fn timing(datagram: &Datagram) -> Timing {
    let (send, outcome, dequeue) = (datagram.send, datagram.outcome, datagram.dequeue);
    Timing {
        entry_ns: send.and_then(|send| nonzero(send.entry_ns)),
        queued_ns: outcome
            .and_then(|outcome| nonzero(outcome.queued_ns))
            .or(dequeue.and_then(|dequeue| nonzero(dequeue.queued_ns))),
        returned_ns: outcome
            .map(|outcome| outcome.header.time_ns)
            .or(datagram.late.map(|late| late.header.time_ns)),
        dequeued_ns: dequeue.map(|dequeue| dequeue.header.time_ns),
        queue_tries: outcome
            .map(|outcome| outcome.queue_tries)
            .filter(|tries| *tries > 1),
    }
}

/// What the output can't say. A result that may still come isn't unknown.
fn unknown(
    datagram: &Datagram,
    send: &Send,
    state: DeliveryState,
    receiver_is_named: bool,
) -> Vec<Unknown> {
    let has = |flag: u32| send.flags & flag != 0;
    let result_is_awaited = state == DeliveryState::Sending;
    [
        (datagram.sender().is_none(), Unknown::Sender),
        (has(SEND_SENDER_BY_SOCKET), Unknown::SenderAtThisSend),
        (!has_destination(send), Unknown::Destination),
        (
            datagram.ret().is_none() && !result_is_awaited,
            Unknown::Result,
        ),
        (send.entry_ns == 0, Unknown::SendTimes),
        (has(SEND_UNREADABLE), Unknown::Payload),
        (has(SEND_NOT_COPIED), Unknown::PayloadNeverCopied),
        (has(SEND_CLAIM_UNKNOWN), Unknown::Claimed),
        (has(SEND_FDS_UNKNOWN), Unknown::Fds),
        (!receiver_is_named, Unknown::ReceiverAddress),
    ]
    .into_iter()
    .filter_map(|(is_unknown, unknown)| is_unknown.then_some(unknown))
    .collect()
}

fn result(ret: i32) -> SendResult {
    match u32::try_from(ret) {
        Ok(bytes) => SendResult::SentBytes(bytes),
        Err(_) => SendResult::Failed(errno_of(ret)),
    }
}

/// The error of a negative return value.
fn errno_of(ret: i32) -> Errno {
    let errno = ret.checked_neg().unwrap_or(i32::MAX);
    Errno {
        errno,
        name: errno::name(errno).map(str::to_owned),
    }
}

/// A number whose 0 means that it is unknown.
fn nonzero<T: Default + PartialEq>(number: T) -> Option<T> {
    (number != T::default()).then_some(number)
}
