//! The records of one datagram become one notification.
//!
//! The rule, the same for all outputs: a notification is passed on when its result and its dequeue
//! are known or can't come any more, else as pending when it has been open for a while; what comes
//! later is an [`Update`](crate::event::Update) that carries the same id.
//!
//! This module owns the flow and the counting. `datagram` holds what is known of one datagram and
//! the decisions that follow from it, `table` all open ones with their deadlines, `retry` the
//! attempts that the kernel refused, `classes` what the rules say of addresses; `tell` says what is
//! told under which number, `build` makes events of facts. All of it is pure: time is the time of the
//! records, or what the caller of [`Join::expire`] says.

mod build;
mod classes;
mod datagram;
mod retry;
mod rooms;
mod table;
mod tell;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::decode::Record;
use crate::enrich::clock::WallClock;
use crate::event::Event;
use crate::names::{Names, ReceiverName, Recent};
use crate::select::Rules;

pub use rooms::Rooms;

use classes::Classes;
use datagram::{Datagram, Due, Fact};
use retry::Refusals;
use table::Table;

/// How many datagrams that are done with, and closed receivers, are remembered, so that a
/// straggler is recognised as one.
const REMEMBERED: usize = 65_536;

/// How many processes that exited are remembered: a second record of one comes within moments of the first.
const EXITED: usize = 4_096;

/// How the join works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinConfig {
    /// How long a notification may be open before it is passed on as pending, how long a record
    /// waits for the `Send` that it belongs to, and how long a settled notification waits for
    /// facts that come late.
    pub pending_after_ns: u64,
    /// Most datagrams that are open at once; the oldest is evicted.
    pub max_open: usize,
    /// The plan has `Outcome` records.
    pub sees_results: bool,
    /// The plan sees that a datagram is queued.
    pub sees_queue: bool,
}

/// What the join needs of the world.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Turns times of records into wall time.
    pub clock: WallClock,
    /// Which datagrams are wanted, and what kind they are of.
    pub rules: &'a Rules,
    /// Where notifications find room.
    pub rooms: &'a Rooms,
}

/// What the join has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Notifications passed on.
    pub notifications: u64,
    /// Of these: delivered.
    pub delivered: u64,
    /// Of these: failed.
    pub failed: u64,
    /// Of these: dropped by the receiver's socket filter.
    pub filtered: u64,
    /// Of these: destroyed unread with their receiver.
    pub destroyed: u64,
    /// Of these: none of all that so far.
    pub open: u64,
    /// Failed connects passed on.
    pub connect_failed: u64,
    /// Notifications evicted before all was known of them.
    pub join_evicted: u64,
    /// Datagrams of which only later records came: the `Send` was lost.
    pub orphans: u64,
}

/// Joins records. Feed it in the order of time, as far as possible.
#[derive(Debug)]
pub struct Join {
    config: JoinConfig,
    table: Table,
    names: Names,
    classes: Classes,
    refusals: Refusals,
    /// Ids of datagrams that nothing more is wanted of.
    done: Recent<u64, ()>,
    /// Closed receivers by inode number.
    closed: Recent<u64, Closed>,
    /// Processes that exited, by id and start.
    exited: Recent<(u32, u64), ()>,
    counters: Counters,
    /// How many datagrams have got a number.
    numbered: u64,
    /// The latest time heard of.
    now_ns: u64,
}

/// A receiver that was closed.
#[derive(Debug)]
struct Closed {
    time_ns: u64,
    /// How many datagrams were left in its queue, less those known to be among them.
    left: u32,
}

/// What becomes of a datagram in the table.
enum Fate {
    /// It stays, and something is due then.
    Keep(Option<u64>),
    /// Nothing more is wanted of it.
    Done,
}

impl Join {
    /// Nothing is open.
    #[must_use]
    pub fn new(config: JoinConfig) -> Self {
        Self {
            config,
            table: Table::default(),
            names: Names::new(),
            classes: Classes::new(),
            refusals: Refusals::new(),
            done: Recent::new(REMEMBERED),
            closed: Recent::new(REMEMBERED),
            exited: Recent::new(EXITED),
            counters: Counters::default(),
            numbered: 0,
            now_ns: 0,
        }
    }

    /// Takes one record; gives the events that follow from it and from its time.
    pub fn push(&mut self, record: &Record, ctx: &Context<'_>, out: &mut impl FnMut(Event)) {
        self.expire(record.header().time_ns, ctx, out);
        let id = record.header().id;
        match record {
            Record::Send { send, payload } => self.learn(id, Fact::Send(send, payload), ctx, out),
            Record::Outcome(outcome) => self.learn(id, Fact::Outcome(outcome), ctx, out),
            Record::Dequeue(dequeue) => self.learn(id, Fact::Dequeue(dequeue), ctx, out),
            Record::LateSender(late) => self.learn(id, Fact::LateSender(late), ctx, out),
            Record::ReceiverClosed(closed) => self.receiver_closed(closed, ctx, out),
            Record::ConnectFailed(failed) => self.connect_failed(failed, ctx, out),
            Record::Exit(exit) => self.exit(exit, ctx, out),
            Record::Cgroup { cgroup, path } => {
                self.names.learn_cgroup(cgroup.cgroup_id, path.clone());
            }
            Record::Receiver(receiver) if receiver.inode == 0 => {}
            Record::Receiver(receiver) => {
                let name = ReceiverName {
                    address: self.names.share(receiver.address.as_bytes()),
                    rule: receiver.rule,
                };
                self.names.learn_receiver(receiver.inode, name);
            }
        }
    }

    /// Gives what is due when it is `now_ns`.
    pub fn expire(&mut self, now_ns: u64, ctx: &Context<'_>, out: &mut impl FnMut(Event)) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some((id, datagram)) = self.table.take_due(self.now_ns) {
            let fate = self.overdue(&datagram);
            match fate {
                Some(fate) => self.settle(id, datagram, fate),
                None => self.pass_on(id, datagram, false, ctx, out),
            }
        }
    }

    /// When [`Self::expire`] has something to do next.
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.table.next_deadline_ns()
    }

    /// Passes on what is open, the oldest first: no record will come any more.
    pub fn finish(&mut self, ctx: &Context<'_>, out: &mut impl FnMut(Event)) {
        while let Some((id, datagram)) = self.table.take_oldest() {
            if datagram.send.is_none() {
                self.counters.orphans += 1;
            } else if datagram.told.is_none() && datagram.class.is_some() {
                self.tell(&datagram, false, ctx, out);
            }
            self.settle(id, datagram, Fate::Done);
        }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let counters = self.counters;
        let settled = counters.delivered + counters.failed + counters.filtered + counters.destroyed;
        Counters {
            open: counters.notifications.saturating_sub(settled),
            ..counters
        }
    }

    /// A fact about the datagram `id`.
    fn learn(&mut self, id: u64, fact: Fact<'_>, ctx: &Context<'_>, out: &mut impl FnMut(Event)) {
        if self.done.get(&id).is_some() {
            return;
        }
        let time_ns = fact.time_ns();
        let mut datagram = self.table.take(id);
        let is_new = datagram.learn(fact);
        self.look_again(id, datagram, is_new.then_some(time_ns), ctx, out);
        while self.table.len() > self.config.max_open {
            self.evict(ctx, out);
        }
    }

    /// Draws the conclusions, after a fact that came about at `new_fact_ns`.
    fn look_again(
        &mut self,
        id: u64,
        mut datagram: Box<Datagram>,
        new_fact_ns: Option<u64>,
        ctx: &Context<'_>,
        out: &mut impl FnMut(Event),
    ) {
        if datagram.send.is_none() {
            let deadline = datagram.deadline_ns.unwrap_or(self.later());
            return self.settle(id, datagram, Fate::Keep(Some(deadline)));
        }
        let mut new_fact_ns = new_fact_ns;
        if let Some(closed) = self.closed.get_mut(&datagram.receiver_inode())
            && datagram.close(closed.time_ns, &mut closed.left, &self.config)
        {
            new_fact_ns = Some(closed.time_ns);
        }
        if datagram.told.is_some() {
            if let Some(time_ns) = new_fact_ns {
                self.tell_more(&mut datagram, time_ns, ctx, out);
            }
            let fate = self.fate_when_told(&datagram);
            return self.settle(id, datagram, fate);
        }
        if !self.classify(&mut datagram, ctx) {
            let fate = if self.is_unwanted_for_good(&datagram) {
                Fate::Done
            } else {
                Fate::Keep(None)
            };
            return self.settle(id, datagram, fate);
        }
        self.number(&mut datagram);
        match datagram.due(&self.config, self.now_ns) {
            Due::At(time_ns) if time_ns > self.now_ns => {
                self.settle(id, datagram, Fate::Keep(Some(time_ns)));
            }
            Due::At(_) | Due::Now => self.pass_on(id, datagram, false, ctx, out),
        }
    }

    /// Tells of the datagram for the first time; `last_chance` if it can't stay open.
    fn pass_on(
        &mut self,
        id: u64,
        mut datagram: Box<Datagram>,
        last_chance: bool,
        ctx: &Context<'_>,
        out: &mut impl FnMut(Event),
    ) {
        let told = self.tell(&datagram, last_chance, ctx, out);
        datagram.told = Some(told);
        datagram.payload = Bytes::new();
        let fate = if last_chance {
            Fate::Done
        } else {
            self.fate_when_told(&datagram)
        };
        self.settle(id, datagram, fate);
    }

    /// What becomes of a datagram that has been told of.
    fn fate_when_told(&self, datagram: &Datagram) -> Fate {
        let state = datagram.state(&self.config);
        if datagram::is_pending(state) {
            Fate::Keep(None)
        } else if datagram.may_hear_more(&self.config) {
            Fate::Keep(Some(self.later()))
        } else {
            Fate::Done
        }
    }

    /// What becomes of a datagram whose deadline has come; `None`: it is passed on.
    fn overdue(&mut self, datagram: &Datagram) -> Option<Fate> {
        if datagram.send.is_none() {
            self.counters.orphans += 1;
            Some(Fate::Done)
        } else if datagram.told.is_some() {
            Some(Fate::Done)
        } else {
            None
        }
    }

    fn settle(&mut self, id: u64, datagram: Box<Datagram>, fate: Fate) {
        match fate {
            Fate::Keep(deadline_ns) => self.table.put(id, datagram, deadline_ns),
            Fate::Done => {
                self.done.insert(id, ());
                self.table.let_go(id, datagram);
            }
        }
    }

    /// Makes room: the oldest goes.
    fn evict(&mut self, ctx: &Context<'_>, out: &mut impl FnMut(Event)) {
        let Some((id, datagram)) = self.table.take_oldest() else {
            return;
        };
        if datagram.send.is_none() {
            self.counters.orphans += 1;
        } else if datagram.class.is_some() && datagram::is_pending(datagram.state(&self.config)) {
            self.counters.join_evicted += 1;
        }
        if datagram.told.is_none() && datagram.class.is_some() {
            self.pass_on(id, datagram, true, ctx, out);
        } else {
            self.settle(id, datagram, Fate::Done);
        }
    }

    const fn later(&self) -> u64 {
        self.now_ns.saturating_add(self.config.pending_after_ns)
    }
}
