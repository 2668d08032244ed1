//! What the join says: which datagrams, under which number, and in which events.

use notify_trace_common::record::{ConnectFailed, Exit, ReceiverClosed};

use super::build::{self, Build};
use super::datagram::{self, Datagram, Told};
use super::{Closed, Context, Counters, Join};
use crate::event::{DeliveryState, Event};

impl Join {
    /// Looks for the rule that wants the datagram; whether there is one. What the kernel side knew
    /// last counts most, because the receiver's name is more to the point than the sender's
    /// spelling of it.
    pub(super) fn classify(&mut self, datagram: &mut Datagram, ctx: &Context<'_>) -> bool {
        let Some(send) = &datagram.send else {
            return false;
        };
        let receiver = self.names.receiver(datagram.receiver_inode());
        let address = receiver.map(|receiver| &*receiver.address);
        let rules = [
            datagram.dequeue.map(|dequeue| dequeue.rule),
            datagram.outcome.map(|outcome| outcome.rule),
            receiver.map(|receiver| receiver.rule),
            Some(send.rule),
        ];
        let destination = Some(send.address.as_bytes()).filter(|address| !address.is_empty());
        let class = self.classes.of(ctx.rules, destination, address, rules);
        if class.is_some() {
            datagram.class = class;
        }
        datagram.class.is_some()
    }

    /// Whether nothing that may still come can make a rule want it.
    pub(super) fn is_unwanted_for_good(&mut self, datagram: &Datagram) -> bool {
        !datagram::is_pending(datagram.state(&self.config))
            || self.names.receiver(datagram.receiver_inode()).is_some()
    }

    /// Gives the datagram its number, and finds or remembers the attempt that it repeats.
    pub(super) fn number(&mut self, datagram: &mut Datagram) {
        let Some(send) = &datagram.send else { return };
        let number = *datagram.number.get_or_insert_with(|| {
            self.numbered += 1;
            self.numbered
        });
        if datagram.retry_of.is_none() {
            datagram.retry_of = self.refusals.repeated_by(send, number);
        }
        if let Some(outcome) = &datagram.outcome {
            self.refusals.remember(send, outcome, number);
        }
    }

    /// Tells of a datagram for the first time; `last_chance` if it can't stay open.
    pub(super) fn tell(
        &mut self,
        datagram: &Datagram,
        last_chance: bool,
        ctx: &Context<'_>,
        out: &mut impl FnMut(Event),
    ) -> Told {
        let mut state = datagram.state(&self.config);
        if last_chance && datagram::is_pending(state) {
            state = DeliveryState::Unknown;
        }
        self.counters.notifications += 1;
        self.count(None, state);
        let mut room = ctx.rooms.take();
        let lines = room.as_mut().map(|room| std::mem::take(&mut room.lines));
        let (notification, told) =
            self.build(ctx)
                .notification(datagram, state, lines.unwrap_or_default());
        if let Some(notification) = notification {
            out(Event::Send(match room {
                Some(mut room) => {
                    *room = notification;
                    room
                }
                None => Box::new(notification),
            }));
        }
        told
    }

    /// Tells of a fact that came about at `time_ns`, after the first telling.
    pub(super) fn tell_more(
        &mut self,
        datagram: &mut Datagram,
        time_ns: u64,
        ctx: &Context<'_>,
        out: &mut impl FnMut(Event),
    ) {
        let state = datagram.state(&self.config);
        let Some((update, told)) = self.build(ctx).update(datagram, state, time_ns) else {
            return;
        };
        self.count(datagram.told.as_ref().map(|told| told.state), state);
        datagram.told = Some(told);
        out(Event::Update(Box::new(update)));
    }

    fn build(&mut self, ctx: &Context<'_>) -> Build<'_> {
        Build {
            names: &mut self.names,
            clock: ctx.clock,
        }
    }

    /// Counts a state, and takes back the one it was before.
    fn count(&mut self, before: Option<DeliveryState>, now: DeliveryState) {
        if let Some(counter) = before.and_then(|state| self.counters.of(state)) {
            *counter -= 1;
        }
        if let Some(counter) = self.counters.of(now) {
            *counter += 1;
        }
    }

    /// A process exited. Its last two threads may both find that no other lives on; where a datagram of it is received
    /// between their looks (plan of tracepoints), each of them says so.
    pub(super) fn exit(&mut self, exit: &Exit, ctx: &Context<'_>, out: &mut impl FnMut(Event)) {
        if exit.start_boottime_ns != 0 {
            let process = (exit.tgid, exit.start_boottime_ns);
            if self.exited.get(&process).is_some() {
                return;
            }
            self.exited.insert(process, ());
        }
        out(Event::Exit(build::exit(exit, ctx.clock)));
    }

    /// What waited in the socket's queue is destroyed with it, and told of first.
    pub(super) fn receiver_closed(
        &mut self,
        closed: &ReceiverClosed,
        ctx: &Context<'_>,
        out: &mut impl FnMut(Event),
    ) {
        let time_ns = closed.header.time_ns;
        let ids = self.table.sent_to(closed.inode);
        // A length that could not be read leaves it open how many: then all that are not known to
        // have been read.
        let mut left = closed.queue_len;
        let mut told_of = Vec::new();
        // A queue is emptied from its front, so what is left in it came last.
        for id in ids.into_iter().rev() {
            let mut datagram = self.table.take(id);
            if datagram.close(time_ns, &mut left, &self.config) {
                told_of.push(id);
            }
            let deadline_ns = datagram.deadline_ns;
            self.table.put(id, datagram, deadline_ns);
        }
        // A socket whose number is unknown is nobody's receiver.
        if closed.inode != 0 {
            self.closed.insert(closed.inode, Closed { time_ns, left });
        }
        for id in told_of.into_iter().rev() {
            let datagram = self.table.take(id);
            self.look_again(id, datagram, Some(time_ns), ctx, out);
        }
        let name = self.names.receiver(closed.inode);
        let address = name.map(|name| &*name.address);
        let rules = [Some(closed.rule), name.map(|name| name.rule)];
        if let Some(class) = self.classes.of(ctx.rules, None, address, rules) {
            let event = self.build(ctx).receiver_closed(closed, class);
            out(Event::ReceiverClosed(Box::new(event)));
        }
    }

    /// There is no datagram: this is told at once.
    pub(super) fn connect_failed(
        &mut self,
        failed: &ConnectFailed,
        ctx: &Context<'_>,
        out: &mut impl FnMut(Event),
    ) {
        let address = failed.address.as_bytes();
        let rules = [Some(failed.rule)];
        if let Some(class) = self.classes.of(ctx.rules, Some(address), None, rules) {
            self.counters.connect_failed += 1;
            let event = self.build(ctx).connect_failed(failed, class);
            out(Event::ConnectFailed(Box::new(event)));
        }
    }
}

impl Counters {
    /// The counter of a state, if it has one.
    const fn of(&mut self, state: DeliveryState) -> Option<&mut u64> {
        match state {
            DeliveryState::Delivered => Some(&mut self.delivered),
            DeliveryState::Failed => Some(&mut self.failed),
            DeliveryState::Filtered => Some(&mut self.filtered),
            DeliveryState::Destroyed => Some(&mut self.destroyed),
            DeliveryState::Sending | DeliveryState::Queued | DeliveryState::Unknown => None,
        }
    }
}
