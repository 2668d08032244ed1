//! The stages from decode to sink as one thing that takes bytes, and what is counted on the way.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use notify_trace_common::limits::Counters;
use tokio::time::Instant;
use zerocopy::FromBytes;

use super::losses::LossWatch;
use super::output::Output;
use super::own::Own;
use super::shed::Shed;
use super::{ORDER_SLACK_NS, Settings};
use crate::decode::{Record, decode};
use crate::enrich::Enrich;
use crate::enrich::clock::{self, WallClock};
use crate::event::{Blob, Event, Loss, Losses, PlanName, ShedFrom, Summary, ViewChange};
use crate::explain::{Explain, Shown};
use crate::join::{Context as JoinContext, Join, JoinConfig, Rooms};
use crate::manager::Managers;
use crate::order::Order;
use crate::probe::attached::Attached;
use crate::probe::load::SELF_TEST_RULE;
use crate::probe::plan;
use crate::probe::ring::Rings;
use crate::select::Rules;
use crate::sink::file::Fresh;
use crate::sink::{Reading, Sink};

/// How long a notification may be open before it is passed on as pending.
const PENDING_AFTER_NS: u64 = 250_000_000;

/// Most notifications that are open at once.
const MAX_OPEN: usize = 65_536;

/// How old the offset of the wall clock may be: a clock that is set is noticed after this time.
const CLOCK_AGE_NS: u64 = 100_000_000;

/// How often time passes for what is concluded from silence, while nothing else happens.
const SILENCE: Duration = Duration::from_secs(1);

/// Records that are passed on before the rings are read again: what is read costs little and can wait,
/// a ring that is full can't.
const RELEASED_AT_ONCE: usize = 64;

/// When so many records wait for their turn, or such that take so much memory, the rings are left to fill, and
/// what they can't hold is counted.
const MAX_WAITING: usize = 131_072;
const MAX_WAITING_BYTES: u64 = 32 * 1024 * 1024;

/// The stages from decode to sink, and what is counted on the way.
pub(super) struct Stages<'a> {
    rules: &'a Rules,
    /// Bytes of records, which take less room than what they are decoded to: a storm waits here.
    order: Order<Bytes>,
    /// How many bytes those are.
    waiting_bytes: u64,
    join: Join,
    rooms: Rooms,
    enrich: Enrich,
    explain: Explain,
    records: Option<BufWriter<Fresh>>,
    clock: WallClock,
    clock_taken_ns: u64,
    output: Output<'a>,
    undecodable: u64,
    loss_watch: LossWatch,
    own: Option<Own>,
    shed: Option<Shed>,
}

impl<'a> Stages<'a> {
    /// Nothing has come yet.
    pub(super) fn new(
        settings: &'a Settings,
        records: Option<Fresh>,
        loaded: &Attached,
        sink: &'a mut dyn Sink,
    ) -> Self {
        let is_by_receiver = loaded.plan.name == PlanName::Tracepoints;
        let mut explain = Explain::new(settings.view.clone(), settings.explain);
        if settings.service.is_some() {
            explain = explain.for_changes();
        }
        Self {
            rules: &settings.rules,
            order: Order::new(),
            waiting_bytes: 0,
            join: Join::new(JoinConfig {
                pending_after_ns: PENDING_AFTER_NS,
                max_open: MAX_OPEN,
                sees_results: !is_by_receiver,
                sees_queue: plan::contain(&loaded.programs, plan::QUEUE),
            }),
            rooms: Rooms::default(),
            enrich: Enrich::new(Path::new("/proc")),
            explain,
            records: records.map(BufWriter::new),
            clock: WallClock::now(),
            clock_taken_ns: clock::now(),
            output: Output::new(sink, settings.count),
            undecodable: 0,
            loss_watch: LossWatch::default(),
            own: settings.service.is_some().then(Own::default),
            shed: settings
                .service
                .and_then(|service| service.cpu_percent)
                .map(Shed::new),
        }
    }

    /// Takes the bytes of one record.
    pub(super) fn take(&mut self, bytes: Bytes) {
        match decode(&bytes) {
            Ok(record) if is_self_test(&record) => {}
            Ok(record) => {
                if let Some(shed) = &mut self.shed
                    && shed.leaves_out(&record)
                {
                    return;
                }
                self.save(&bytes);
                // Before it has its turn: what it names may vanish meanwhile.
                self.enrich.look(&record);
                self.waiting_bytes += bytes.len() as u64;
                self.order.push(record.header().time_ns, bytes);
            }
            Err(_) => self.undecodable += 1,
        }
    }

    /// Keeps a record as it was read. Its header says how long it is, so no frame is needed.
    fn save(&mut self, bytes: &Bytes) {
        let Some(records) = &mut self.records else {
            return;
        };
        let length = <u32 as FromBytes>::read_from_prefix(bytes).map_or(0, |(size, _)| size);
        let length = usize::try_from(length).unwrap_or(0).min(bytes.len());
        if let Err(error) = records.write_all(&bytes[..length]) {
            self.output.fail(error);
        }
    }

    /// Whether there is room for what the rings hold.
    pub(super) fn has_room(&self) -> bool {
        self.order.len() < MAX_WAITING && self.waiting_bytes < MAX_WAITING_BYTES
    }

    /// Passes on what is older than `before_ns`, and what is due; whether there is more of it.
    pub(super) fn release(&mut self, before_ns: u64, managers: Option<&mut Managers>) -> bool {
        if before_ns.saturating_sub(self.clock_taken_ns) > CLOCK_AGE_NS {
            self.clock = WallClock::now();
            self.clock_taken_ns = before_ns;
        }
        if let Some(shed) = &mut self.shed {
            // By the clock: nothing may have been read for a while.
            shed.step(clock::now(), clock::used_by_thread_ns);
        }
        let mut has_more = false;
        let mut released_bytes = 0;
        self.feed(managers, |order, join, context, out| {
            has_more = order.release(before_ns, RELEASED_AT_ONCE, |bytes| {
                released_bytes += bytes.len() as u64;
                pass_on(bytes, join, context, out);
            });
            // What a record would tell that still waits is not missing yet.
            let before_ns = order.oldest_ns().map_or(before_ns, |ns| ns.min(before_ns));
            join.expire(before_ns, context, out);
        });
        self.waiting_bytes -= released_bytes;
        if !has_more {
            // Something may be concluded from silence.
            self.show(|explain, out| explain.advance(before_ns, out));
        }
        has_more
    }

    /// Passes on everything: no record will come any more.
    pub(super) fn finish(&mut self) {
        self.clock = WallClock::now();
        self.feed(None, |order, join, context, out| {
            order.flush(|bytes| pass_on(bytes, join, context, out));
            join.finish(context, out);
        });
    }

    /// Lets `step` move records from the order to the join, and events from there to the sink.
    fn feed(
        &mut self,
        mut managers: Option<&mut Managers>,
        step: impl FnOnce(&mut Order<Bytes>, &mut Join, &JoinContext<'_>, &mut &mut dyn FnMut(Event)),
    ) {
        let Self {
            rules,
            order,
            join,
            enrich,
            explain,
            clock,
            output,
            own,
            rooms,
            ..
        } = self;
        let context = JoinContext {
            clock: *clock,
            rules,
            rooms,
        };
        let mut out = |mut event: Event| {
            if own.as_mut().is_some_and(|own| own.is_of(&event)) {
                return;
            }
            enrich.complete(&mut event);
            if let Some(managers) = &mut managers {
                managers.look(&event);
            }
            explain.take(event, &mut |shown| {
                output.write(&shown);
                if let Shown::Event(event) = shown {
                    rooms.give(event);
                }
            });
        };
        let mut out: &mut dyn FnMut(Event) = &mut out;
        step(order, join, &context, &mut out);
    }

    /// When the join has something to pass on though no record comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let Some(at_ns) = self.join.next_deadline_ns() else {
            return self.explain.is_waiting().then(|| Instant::now() + SILENCE);
        };
        let at_ns = at_ns + ORDER_SLACK_NS;
        // A millisecond more, because timers are that coarse and may fire early.
        let wait_ns = at_ns.saturating_sub(clock::now()) + ORDER_SLACK_NS;
        Some(Instant::now() + Duration::from_nanos(wait_ns))
    }

    /// Whether records wait for their turn.
    pub(super) fn is_holding(&self) -> bool {
        !self.order.is_empty()
    }

    /// Writes an event of the pipeline's own.
    pub(super) fn emit(&mut self, event: Event) {
        self.show(|explain, out| explain.take(event, out));
    }

    /// Writes what is shown in `step`.
    fn show(&mut self, step: impl FnOnce(&mut Explain, &mut dyn FnMut(Shown))) {
        let Self {
            explain, output, ..
        } = self;
        step(explain, &mut |shown| output.write_own(&shown));
    }

    /// Lets go of what the sink has buffered.
    pub(super) fn flush(&mut self) {
        let records = &mut self.records;
        self.output
            .flush(|| records.as_mut().map_or(Ok(()), BufWriter::flush));
    }

    /// Waits until everything is where it should be.
    pub(super) fn close(&mut self) {
        self.output.close();
    }

    /// How long to wait before the rings are read again, if that is longer than usual.
    pub(super) fn pause_ms(&self) -> Option<u64> {
        self.shed.as_ref()?.pause_ms()
    }

    /// Cgroups that were left out since the last time, those that sent most first.
    fn shed_from(&mut self) -> Vec<ShedFrom> {
        let most = self.shed.as_mut().map(Shed::take_most).unwrap_or_default();
        most.into_iter()
            .map(|(cgroup, datagrams)| ShedFrom {
                cgroup: self.enrich.path_of(cgroup).map(Blob::from),
                datagrams,
            })
            .collect()
    }

    /// When the sink wants to be woken.
    pub(super) fn sink_wakes_at(&self) -> Option<Instant> {
        self.output.ask().wakes_at()
    }

    /// Tells the sink how reading stands, and wakes it if it is time.
    pub(super) fn tell_reading(&mut self, rings: &Rings) {
        let sink = self.output.sink();
        sink.reading(Reading {
            records: rings.received().records,
            fullest_bytes: rings.fullest_bytes(),
            ring_bytes: rings.ring_bytes(),
        });
        if sink.wakes_at().is_some_and(|at| at <= Instant::now()) {
            sink.wake();
        }
    }

    /// Tells the sink that no more is captured.
    pub(super) fn stopping(&mut self) {
        self.output.sink().stopping();
    }

    /// Has the settings of the sink read anew. What was not passed on yet is shown by the new ones.
    pub(super) fn reload(&mut self) {
        let Some(options) = self.output.sink().reload() else {
            return;
        };
        let view = options.describe();
        self.explain.change_view(options);
        let monotonic_ns = clock::now();
        self.emit(Event::View(Box::new(ViewChange {
            time: self.clock.at(monotonic_ns),
            monotonic_ns,
            view,
        })));
    }

    /// When the sink wants no more, if it says so.
    pub(super) fn sink_ends_at(&self) -> Option<Instant> {
        self.output.ask().ends_at()
    }

    /// Whether nothing more is to be written.
    pub(super) fn is_ended(&self) -> bool {
        self.output.is_ended()
    }

    /// All losses so far, by the kernel programs' own counters.
    pub(super) fn losses(&self, counted: &Counters, programs_skipped: Option<u64>) -> Losses {
        let mut losses = Losses {
            ring_full: counted.ring_full,
            no_ring: counted.ring_error,
            calls_full: counted.calls_full,
            queued_full: counted.queued_full,
            unreadable: counted.unreadable,
            returns_missed: counted.returns_missed,
            undecided: counted.undecided,
            shed: self.shed.as_ref().map_or(0, Shed::count),
            programs_skipped,
            undecodable: self.undecodable,
            join_evicted: self.join.counters().join_evicted,
        };
        self.explain.count_losses(&mut losses);
        losses
    }

    /// Shows what was lost since the last time, in the stream. Gaps in what was read are looked into
    /// soon, what leaves no gap now and then.
    ///
    /// # Errors
    /// If the counters can't be read.
    pub(super) fn show_losses(&mut self, loaded: &Attached, rings: &Rings) -> Result<()> {
        let received = rings.received();
        let gaps = received.gaps + received.reported_lost;
        if self.loss_watch.is_due(gaps, clock::now()) {
            let losses = self.losses(&loaded.counters()?, loaded.programs_skipped());
            self.show_new_losses(losses);
        }
        Ok(())
    }

    /// Shows of all losses what is new.
    pub(super) fn show_new_losses(&mut self, losses: Losses) {
        if let Some(losses) = self.loss_watch.take_new(losses) {
            let time = self.clock.at(clock::now());
            let shed_from = self.shed_from();
            self.emit(Event::Loss(Loss {
                time,
                losses,
                shed_from,
            }));
        }
    }

    /// The last event.
    pub(super) fn summary(&self, attempted: u64, received: u64, losses: Losses) -> Summary {
        let tally = self.output.tally();
        let monotonic_ns = clock::now();
        Summary {
            time: self.clock.at(monotonic_ns),
            monotonic_ns,
            notifications: tally.notifications,
            delivered: tally.delivered,
            failed: tally.failed,
            filtered: tally.filtered,
            destroyed: tally.destroyed,
            open: tally.open(),
            connect_failed: tally.connect_failed,
            left_out: self.explain.left_out(),
            records_attempted: attempted,
            records_received: received,
            losses,
        }
    }

    /// What the sink said: a closed pipe is nothing to complain about.
    pub(super) fn into_result(self) -> Result<()> {
        self.output.into_result()
    }
}

/// Gives a record to the join, decoded. That it can be was seen, and what can't was counted, when it came.
fn pass_on(
    bytes: &Bytes,
    join: &mut Join,
    context: &JoinContext<'_>,
    out: &mut &mut dyn FnMut(Event),
) {
    if let Ok(record) = decode(bytes) {
        join.push(&record, context, out);
    }
}

/// Whether a record is a straggler of the self-test.
const fn is_self_test(record: &Record) -> bool {
    let rule = match record {
        Record::Send { send, .. } => send.rule,
        Record::Outcome(outcome) => outcome.rule,
        Record::Dequeue(dequeue) => dequeue.rule,
        Record::ConnectFailed(failed) => failed.rule,
        Record::ReceiverClosed(closed) => closed.rule,
        Record::Receiver(receiver) => receiver.rule,
        Record::Exit(_) | Record::Cgroup { .. } | Record::LateSender(_) => 0,
    };
    rule == SELF_TEST_RULE
}
