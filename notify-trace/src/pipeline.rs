//! Wires the stages: rings, decode, order, join, sink. Tasks, shutdown, deadlines and the counting
//! of losses live only here.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use notify_trace_common::limits::Emitter;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::decode::{Record, decode};
use crate::enrich::clock::{self, WallClock};
use crate::event::{Event, FORMAT_VERSION, Loss, Losses, PlanName, Session, Summary};
use crate::join::{Context as JoinContext, Join, JoinConfig};
use crate::order::Order;
use crate::probe::error::AttachError;
use crate::probe::load::{self, LoadOptions, Loaded, SELF_TEST_RULE};
use crate::probe::plan;
use crate::probe::ring::Rings;
use crate::probe::self_test;
use crate::select::Rules;
use crate::sink::Sink;
use crate::tally::Tally;

/// A record is taken at the end of the kernel program that writes it; one that is older than a
/// drain of all rings by this much can't be overtaken any more, except by a program that was
/// preempted for longer, whose record then comes late but is not lost.
const ORDER_SLACK_NS: u64 = 1_000_000;

/// How long a notification may be open before it is passed on as pending.
const PENDING_AFTER_NS: u64 = 250_000_000;

/// Most notifications that are open at once.
const MAX_OPEN: usize = 65_536;

const SIGTERM: i32 = rustix::process::Signal::TERM.as_raw();

/// How often the rings are read after everything is detached, a millisecond apart, while records
/// are missing that were written.
const LAST_DRAINS: usize = 100;

/// How old the offset of the wall clock may be: a clock that is set is noticed after this time.
const CLOCK_AGE_NS: u64 = 100_000_000;

/// Losses that leave no gap in the rings are looked for when something was read, at most this often.
const LOSS_CHECK_NS: u64 = 1_000_000_000;

/// What to trace, and until when.
#[derive(Debug)]
pub struct Settings {
    /// What to load and attach.
    pub load: LoadOptions,
    /// Which sockets.
    pub rules: Rules,
    /// Bytes of each CPU's ring.
    pub ring_bytes: u64,
    /// Until this time has passed.
    pub duration: Option<Duration>,
    /// Until this many notifications were passed on.
    pub count: Option<u64>,
    /// Until this command has ended; empty: none.
    pub command: Vec<OsString>,
    /// And then for this time.
    pub settle: Duration,
    /// The tool's own command line, for the session event.
    pub command_line: Vec<String>,
    /// What was noticed before, for the session event.
    pub warnings: Vec<String>,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Report {
    /// What was lost.
    pub losses: Losses,
    /// How the command ended.
    pub command: Option<ExitStatus>,
}

/// A request to end, from outside: the signal's number.
pub type Stop = tokio::sync::mpsc::UnboundedReceiver<i32>;

/// Traces until told to stop. The first event is the session, when everything is attached; the last
/// is the summary.
///
/// # Errors
/// [`AttachError`] if tracing can't begin; whatever the sink says, except that a closed pipe is an
/// end like any other.
pub async fn run(settings: Settings, sink: &mut dyn Sink, mut stop: Stop) -> Result<Report> {
    let mut loading = load::load(&settings.load, &settings.rules)?;
    let mut rings = Rings::open(loading.take_events()?, settings.ring_bytes)
        .map_err(|error| load::refused_anyhow("open the rings", error))?;
    let mut loaded = loading.attach(settings.load.plan)?;
    let mut early = Vec::new();
    let findings = self_test::run(&mut loaded, &mut rings, &settings.load, |bytes| {
        early.push(bytes)
    })
    .await
    .context("the self-test can't be run")?;
    if !findings.fatal.is_empty() {
        return Err(AttachError::SelfTest {
            findings: findings.fatal,
        }
        .into());
    }
    let mut stages = Stages::new(&settings, &loaded, sink);
    let mut warnings = settings.warnings.clone();
    warnings.extend(loaded.warnings.iter().cloned());
    warnings.extend(findings.warnings);
    stages.emit(&Event::Session(Box::new(session(
        &settings, &loaded, &rings, warnings,
    ))));
    stages.flush();
    for bytes in early {
        stages.take(&bytes);
    }

    let mut report = Report::default();
    let mut command = Running::start(&settings.command)?;
    let mut end = settings
        .duration
        .and_then(|duration| Instant::now().checked_add(duration));
    let mut is_busy = false;
    loop {
        let wake = earliest(end, stages.deadline());
        tokio::select! {
            biased;
            signal = stop.recv() => {
                if command.is_running() {
                    command.forward(signal.unwrap_or(SIGTERM));
                } else {
                    break;
                }
            }
            status = command.wait() => {
                report.command = Some(status.context("cannot wait for the command")?);
                end = earliest(end, Instant::now().checked_add(settings.settle));
            }
            () = tokio::task::yield_now(), if is_busy => {}
            ready = rings.readable(), if !is_busy => ready?,
            () = sleep_until(wake), if !is_busy => {}
        }
        let drained_ns = clock::now();
        let records = rings.received().records;
        rings.drain(|bytes| stages.take(&bytes));
        stages.release(drained_ns.saturating_sub(ORDER_SLACK_NS));
        stages.show_losses(&loaded, &rings);
        loaded.print_kernel_log();
        stages.flush();
        if stages.is_ended() && !command.is_running() {
            break;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        // Whatever has come can't be passed on before the slack is over, so there is no use in
        // being woken for each record meanwhile. The thread sleeps, not the task: a task would be
        // woken by the event loop, which every record wakes.
        is_busy = rings.received().records != records || stages.is_holding();
        if is_busy {
            std::thread::sleep(Duration::from_nanos(ORDER_SLACK_NS));
        }
    }

    // The rings are read meanwhile, because detaching takes its time.
    for &program in plan::programs_to_detach(loaded.plan.name) {
        loaded.detach(program);
        rings.drain(|bytes| stages.take(&bytes));
    }
    // A program may still be at its last record on another CPU.
    for _ in 0..LAST_DRAINS {
        let losses = stages.losses(&loaded);
        let expected = Stages::attempts(&loaded) - losses.ring_full - losses.no_ring;
        if rings.received().records >= expected {
            break;
        }
        std::thread::sleep(Duration::from_nanos(ORDER_SLACK_NS));
        rings.drain(|bytes| stages.take(&bytes));
    }
    stages.finish();
    report.losses = stages.losses(&loaded);
    let summary = stages.summary(&loaded, &rings, report.losses.clone());
    stages.emit(&Event::Summary(Box::new(summary)));
    stages.flush();
    if command.is_running() {
        // The time is over, but the command's exit code is still wanted.
        report.command = Some(
            command
                .wait()
                .await
                .context("cannot wait for the command")?,
        );
    }
    stages.into_result().map(|()| report)
}

/// The traced command.
struct Running(Option<Child>);

impl Running {
    fn start(command: &[OsString]) -> Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(Self(None));
        };
        let child = Command::new(program)
            .args(arguments)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot run {}",
                    crate::escape::escape(program.as_encoded_bytes())
                )
            })?;
        Ok(Self(Some(child)))
    }

    const fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for its end; for ever, if there is none.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.0 else {
            return std::future::pending().await;
        };
        let status = child.wait().await;
        self.0 = None;
        status
    }

    /// Passes a signal on. The terminal itself has given SIGINT to the command already.
    fn forward(&self, signal: i32) {
        let pid = self
            .0
            .as_ref()
            .and_then(Child::id)
            .and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
            && signal != rustix::process::Signal::INT.as_raw()
            && let Some(signal) = rustix::process::Signal::from_named_raw(signal)
        {
            // Gone meanwhile: then its end is what comes next.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The stages from decode to sink, and what is counted on the way.
struct Stages<'a> {
    rules: &'a Rules,
    count: Option<u64>,
    order: Order<Record>,
    join: Join,
    clock: WallClock,
    clock_taken_ns: u64,
    sink: &'a mut dyn Sink,
    failed: Option<io::Error>,
    tally: Tally,
    undecodable: u64,
    shown: Losses,
    checked_ns: u64,
    gaps_seen: u64,
}

impl<'a> Stages<'a> {
    fn new(settings: &'a Settings, loaded: &Loaded, sink: &'a mut dyn Sink) -> Self {
        let is_by_receiver = loaded.plan.name == PlanName::Tracepoints;
        Self {
            rules: &settings.rules,
            count: settings.count,
            order: Order::new(),
            join: Join::new(JoinConfig {
                pending_after_ns: PENDING_AFTER_NS,
                max_open: MAX_OPEN,
                sees_results: !is_by_receiver,
                sees_queue: loaded.programs.contains(&Emitter::Queue),
            }),
            clock: WallClock::now(),
            clock_taken_ns: clock::now(),
            sink,
            failed: None,
            tally: Tally::default(),
            undecodable: 0,
            shown: Losses::default(),
            checked_ns: 0,
            gaps_seen: 0,
        }
    }

    /// Takes the bytes of one record.
    fn take(&mut self, bytes: &Bytes) {
        match decode(bytes) {
            Ok(record) if is_self_test(&record) => {}
            Ok(record) => self.order.push(record.header().time_ns, record),
            Err(_) => self.undecodable += 1,
        }
    }

    /// Passes on what is older than `before_ns`, and what is due.
    fn release(&mut self, before_ns: u64) {
        if before_ns.saturating_sub(self.clock_taken_ns) > CLOCK_AGE_NS {
            self.clock = WallClock::now();
            self.clock_taken_ns = before_ns;
        }
        let Self {
            rules,
            count,
            order,
            join,
            clock,
            sink,
            failed,
            tally,
            ..
        } = self;
        let context = JoinContext {
            clock: *clock,
            rules,
        };
        let mut out = |event: Event| write(*sink, failed, tally, *count, &event);
        order.release(before_ns, |record| join.push(record, &context, &mut out));
        join.expire(before_ns, &context, &mut out);
    }

    /// Passes on everything: no record will come any more.
    fn finish(&mut self) {
        self.clock = WallClock::now();
        let Self {
            rules,
            count,
            order,
            join,
            clock,
            sink,
            failed,
            tally,
            ..
        } = self;
        let context = JoinContext {
            clock: *clock,
            rules,
        };
        let mut out = |event: Event| write(*sink, failed, tally, *count, &event);
        order.flush(|record| join.push(record, &context, &mut out));
        join.finish(&context, &mut out);
    }

    /// When the join has something to pass on though no record comes.
    fn deadline(&self) -> Option<Instant> {
        let now_ns = clock::now();
        let in_order = (!self.order.is_empty()).then(|| now_ns + 2 * ORDER_SLACK_NS);
        let in_join = self
            .join
            .next_deadline_ns()
            .map(|at_ns| at_ns + ORDER_SLACK_NS);
        let at_ns = match (in_order, in_join) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
        // A millisecond more, because timers are that coarse and may fire early.
        let wait_ns = at_ns.saturating_sub(now_ns) + ORDER_SLACK_NS;
        Some(Instant::now() + Duration::from_nanos(wait_ns))
    }

    /// Whether records wait for their turn.
    fn is_holding(&self) -> bool {
        !self.order.is_empty()
    }

    fn emit(&mut self, event: &Event) {
        write(self.sink, &mut self.failed, &mut self.tally, None, event);
    }

    fn flush(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.sink.flush()
        {
            self.failed = Some(error);
        }
    }

    /// Whether nothing more is to be written.
    fn is_ended(&self) -> bool {
        self.failed.is_some()
            || self
                .count
                .is_some_and(|count| self.tally.notifications >= count)
    }

    /// All losses so far.
    fn losses(&self, loaded: &Loaded) -> Losses {
        let mut losses = Losses {
            programs_skipped: loaded.programs_skipped(),
            undecodable: self.undecodable,
            join_evicted: self.join.counters().join_evicted,
            ..Losses::default()
        };
        for counters in loaded.counters().iter().flatten() {
            losses.ring_full += counters.ring_full;
            losses.no_ring += counters.ring_error;
            losses.calls_full += counters.calls_full;
            losses.queued_full += counters.queued_full;
            losses.unreadable += counters.unreadable;
            losses.returns_missed += counters.returns_missed;
            losses.undecided += counters.undecided;
        }
        losses
    }

    /// Records that the kernel programs tried to write.
    fn attempts(loaded: &Loaded) -> u64 {
        loaded
            .counters()
            .iter()
            .flatten()
            .map(|counters| counters.attempts)
            .sum()
    }

    /// Shows what was lost since the last time, in the stream.
    fn show_losses(&mut self, loaded: &Loaded, rings: &Rings) {
        let received = rings.received();
        let gaps = received.gaps + received.reported_lost;
        let now_ns = clock::now();
        if gaps == self.gaps_seen && now_ns.saturating_sub(self.checked_ns) < LOSS_CHECK_NS {
            return;
        }
        self.gaps_seen = gaps;
        self.checked_ns = now_ns;
        let losses = self.losses(loaded);
        let since = difference(&losses, &self.shown);
        if since.any() {
            let time = self.clock.at(now_ns);
            self.emit(&Event::Loss(Loss {
                time,
                losses: since,
            }));
            self.shown = losses;
        }
    }

    fn summary(&self, loaded: &Loaded, rings: &Rings, losses: Losses) -> Summary {
        let tally = &self.tally;
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
            records_attempted: Self::attempts(loaded),
            records_received: rings.received().records,
            losses,
        }
    }

    /// What the sink said: a closed pipe is nothing to complain about.
    fn into_result(self) -> Result<()> {
        match self.failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("cannot write the output")
            }
            _ => Ok(()),
        }
    }
}

/// Writes an event unless writing has failed before, or enough notifications were written: then
/// only the fates of those still matter.
fn write(
    sink: &mut dyn Sink,
    failed: &mut Option<io::Error>,
    tally: &mut Tally,
    count: Option<u64>,
    event: &Event,
) {
    let is_enough = count.is_some_and(|count| tally.notifications >= count);
    let is_wanted = match event {
        Event::Update(update) => !is_enough || tally.is_open(update.id),
        _ => !is_enough,
    };
    if failed.is_some() || !is_wanted {
        return;
    }
    tally.take(event);
    if let Err(error) = sink.event(event) {
        *failed = Some(error);
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

/// What was lost since `before`.
fn difference(now: &Losses, before: &Losses) -> Losses {
    Losses {
        ring_full: now.ring_full.saturating_sub(before.ring_full),
        no_ring: now.no_ring.saturating_sub(before.no_ring),
        calls_full: now.calls_full.saturating_sub(before.calls_full),
        queued_full: now.queued_full.saturating_sub(before.queued_full),
        unreadable: now.unreadable.saturating_sub(before.unreadable),
        returns_missed: now.returns_missed.saturating_sub(before.returns_missed),
        undecided: now.undecided.saturating_sub(before.undecided),
        programs_skipped: now
            .programs_skipped
            .map(|skipped| skipped.saturating_sub(before.programs_skipped.unwrap_or(0))),
        undecodable: now.undecodable.saturating_sub(before.undecodable),
        join_evicted: now.join_evicted.saturating_sub(before.join_evicted),
    }
}

fn session(settings: &Settings, loaded: &Loaded, rings: &Rings, warnings: Vec<String>) -> Session {
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let monotonic_ns = clock::now();
    Session {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        command_line: settings.command_line.clone(),
        time: WallClock::now().at(monotonic_ns),
        monotonic_ns,
        host: text(name.nodename()),
        kernel: text(name.release()),
        machine: text(name.machine()),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .map(|id| id.trim().to_owned()),
        cpus: u32::try_from(rings.cpus()).unwrap_or(u32::MAX),
        ring_bytes: rings.ring_bytes(),
        plan: loaded.plan.clone(),
        rules: settings.rules.describe().collect(),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_shown_as_what_came_since_the_last_one() {
        let before = Losses {
            ring_full: 3,
            programs_skipped: None,
            ..Losses::default()
        };
        let now = Losses {
            ring_full: 5,
            programs_skipped: Some(2),
            ..Losses::default()
        };
        let since = difference(&now, &before);
        assert_eq!((since.ring_full, since.programs_skipped), (2, Some(2)));
        assert!(!difference(&now, &now).any());
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert_eq!(earliest(Some(now), Some(later)), Some(now));
        assert_eq!(earliest(None, Some(later)), Some(later));
        assert_eq!(earliest(None, None), None);
    }
}
