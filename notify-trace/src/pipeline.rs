//! Wires the stages: rings, decode, order, join, enrich, explain, sink. Tasks, shutdown, deadlines and
//! the counting of losses live only here: `stages` is what a record passes, `output` where it ends, `command` the
//! command that is traced.

mod command;
mod losses;
mod output;
mod own;
mod shed;
mod stages;

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use self::command::Running;
use self::stages::Stages;
use crate::enrich::clock::{self, WallClock};
use crate::event::{Event, FORMAT_VERSION, Losses, Session, UnitState};
use crate::manager::{self, Managers};
use crate::probe::attached::Attached;
use crate::probe::load::LoadOptions;
use crate::probe::plan;
use crate::probe::ring::Rings;
use crate::probe::start::{Started, start};
use crate::select::Rules;
use crate::sink::Sink;
use crate::sink::file::Fresh;
use crate::view::ViewOptions;

/// A record is taken at the end of the kernel program that writes it; one that is older than a
/// drain of all rings by this much can't be overtaken any more, except by a program that was
/// preempted for longer, whose record then comes late but is not lost.
const ORDER_SLACK_NS: u64 = 1_000_000;
const SLACK: Duration = Duration::from_nanos(ORDER_SLACK_NS);

/// How long the output may be held back while there is always more to write.
const FLUSH_NS: u64 = 10_000_000;

const SIGTERM: i32 = rustix::process::Signal::TERM.as_raw();

/// How often the rings are read after everything is detached, a millisecond apart, while records
/// are missing that were written.
const LAST_DRAINS: usize = 100;

/// What is different for a service: what it sends itself is left out (it would see itself for ever), what is
/// shown may change, and it ends with an error when a CPU comes up that can't be given a ring, for whoever
/// starts it again gets one.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsService {
    /// What it may cost, in percent of one CPU; `None`: what it costs. Above it, those who send most are
    /// left out.
    pub cpu_percent: Option<u32>,
}

/// What to trace, and until when.
#[derive(Debug)]
pub struct Settings {
    /// What to load and attach.
    pub load: LoadOptions,
    /// Which sockets.
    pub rules: Rules,
    /// Also those that running processes were given (`NOTIFY_SOCKET`), wherever they are.
    pub looks_into_environments: bool,
    /// What is shown.
    pub view: ViewOptions,
    /// As a service that runs for good.
    pub service: Option<AsService>,
    /// With conclusions between the events.
    pub explain: bool,
    /// With what the service managers say of the units that send.
    pub asks_managers: bool,
    /// Takes every record as it was read, one after the other.
    pub records: Option<Fresh>,
    /// Bytes of each CPU's ring; `None`: by the number of CPUs.
    pub ring_bytes: Option<u64>,
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

/// What somebody outside wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To end; the signal's number.
    End(i32),
    /// That settings are read anew.
    Reload,
}

/// Requests from outside.
pub type Requests = tokio::sync::mpsc::UnboundedReceiver<Request>;

/// Traces until told to stop. The first event is the session, when everything is attached; the last
/// is the summary.
///
/// # Errors
/// [`AttachError`](crate::probe::error::AttachError) if tracing can't begin; whatever the sink says, except that a closed pipe is an
/// end like any other.
pub async fn run(
    mut settings: Settings,
    sink: &mut dyn Sink,
    mut requests: Requests,
) -> Result<Report> {
    let Started {
        attached: mut loaded,
        mut rings,
        early,
        findings,
        warnings,
    } = start(
        &settings.load,
        &mut settings.rules,
        settings.looks_into_environments,
        settings.ring_bytes,
    )
    .await?
    .trusted()?;
    let records = settings.records.take();
    let mut stages = Stages::new(&settings, records, &loaded, sink);
    let mut warnings = [warnings, settings.warnings.clone()].concat();
    warnings.extend(loaded.warnings.iter().cloned());
    warnings.extend(findings.warnings);
    warnings.extend(rings.warning().map(str::to_owned));
    if settings.asks_managers {
        warnings.extend(manager::trouble());
    }
    stages.emit(Event::Session(Box::new(session(
        &settings, &loaded, &rings, warnings,
    ))));
    stages.flush();
    for bytes in early {
        stages.take(bytes);
    }

    let mut managers = settings
        .asks_managers
        .then(Managers::start)
        .transpose()
        .context("cannot start the thread that asks the service managers")?;
    let mut report = Report::default();
    let mut command = Running::start(&settings.command)?;
    let mut end = settings
        .duration
        .and_then(|duration| Instant::now().checked_add(duration));
    let mut is_busy = false;
    let mut has_more = false;
    let mut read_ns = 0;
    let mut flushed_ns = 0;
    loop {
        let enough = stages.sink_ends_at().filter(|_| !command.is_running());
        let wake = [end, enough, stages.deadline(), stages.sink_wakes_at()]
            .into_iter()
            .flatten()
            .min();
        tokio::select! {
            biased;
            request = requests.recv() => match request {
                Some(Request::Reload) => stages.reload(),
                _ if !command.is_running() => break,
                _ => command.forward(signal_of(request)),
            },
            status = command.wait() => {
                report.command = Some(status.context("cannot wait for the command")?);
                end = earliest(end, Instant::now().checked_add(settings.settle));
            }
            // An answer is of now, and conclusions from it are about what was said before.
            state = answer(&mut managers), if !has_more => stages.emit(Event::Unit(Box::new(state))),
            () = tokio::task::yield_now(), if is_busy => {}
            ready = rings.readable(), if !is_busy => ready?,
            () = sleep_until(wake), if !is_busy => {}
        }
        let records = rings.received().records;
        // Without more to pass on, only what is read next lets time go on.
        if stages.has_room() || !has_more {
            read_ns = clock::now();
            rings.drain(|bytes| stages.take(bytes));
        }
        has_more = stages.release(read_ns.saturating_sub(ORDER_SLACK_NS), managers.as_mut());
        stages.show_losses(&loaded, &rings)?;
        loaded.print_kernel_log();
        stages.tell_reading(&rings);
        if !has_more || clock::now().saturating_sub(flushed_ns) > FLUSH_NS {
            stages.flush();
            flushed_ns = clock::now();
        }
        if stages.is_ended() && !command.is_running() {
            break;
        }
        if settings.service.is_some() && rings.refused().is_some() {
            break;
        }
        let enough = stages.sink_ends_at().filter(|_| !command.is_running());
        if earliest(end, enough).is_some_and(|end| Instant::now() >= end) {
            break;
        }
        // Whatever has come can't be passed on before the slack is over, so there is no use in
        // being woken meanwhile. The thread sleeps, not the task: a task would be woken by a ring that
        // is half full.
        is_busy = has_more || rings.received().records != records || stages.is_holding();
        if is_busy && !has_more {
            let pause_ms = stages.pause_ms().map(Duration::from_millis);
            std::thread::sleep(pause_ms.unwrap_or(SLACK));
        }
    }

    stages.stopping();
    // The rings are read meanwhile, because detaching takes its time.
    for &program in plan::programs_to_detach(loaded.plan.name) {
        loaded.detach(program);
        rings.drain(|bytes| stages.take(bytes));
    }
    // A program may still be at its last record on another CPU.
    let mut counted = loaded.counters()?;
    for _ in 0..LAST_DRAINS {
        let lost = counted.ring_full + counted.ring_error;
        if rings.received().records + lost >= counted.attempts {
            break;
        }
        std::thread::sleep(SLACK);
        rings.drain(|bytes| stages.take(bytes));
        counted = loaded.counters()?;
    }
    match loaded.abandoned_calls() {
        Ok(calls) => counted.returns_missed += calls,
        Err(error) => eprintln!("notify-trace: calls without an end can't be counted: {error:#}"),
    }
    stages.finish();
    report.losses = stages.losses(&counted, loaded.programs_skipped());
    // So that the losses in the stream add up to those of the summary.
    stages.show_new_losses(report.losses.clone());
    let received = rings.received().records;
    let summary = stages.summary(counted.attempts, received, report.losses.clone());
    stages.emit(Event::Summary(Box::new(summary)));
    stages.flush();
    // The time may be over, but the command's exit code is still wanted.
    while command.is_running() {
        tokio::select! {
            request = requests.recv() => command.forward(signal_of(request)),
            status = command.wait() => {
                report.command = Some(status.context("cannot wait for the command")?);
            }
        }
    }
    stages.close();
    stages.into_result()?;
    match rings.refused() {
        Some(cpu) if settings.service.is_some() => bail!(
            "CPU {cpu} has come up, and the kernel refuses it a ring now that capabilities are given \
             up: start again"
        ),
        _ => Ok(report),
    }
}

/// What a service manager says, if any is asked.
async fn answer(managers: &mut Option<Managers>) -> UnitState {
    match managers {
        Some(managers) => managers.answer().await,
        None => std::future::pending().await,
    }
}

/// The signal by which a command is asked to end.
const fn signal_of(request: Option<Request>) -> i32 {
    match request {
        Some(Request::End(signal)) => signal,
        Some(Request::Reload) | None => SIGTERM,
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

fn session(
    settings: &Settings,
    loaded: &Attached,
    rings: &Rings,
    warnings: Vec<String>,
) -> Session {
    let name = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let monotonic_ns = clock::now();
    Session {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        command_line: settings.command_line.clone(),
        time: WallClock::now().at(monotonic_ns),
        monotonic_ns,
        boottime_ahead_ns: Some(clock::boottime_ahead_ns()),
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
        view: settings.view.describe(),
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert_eq!(earliest(Some(now), Some(later)), Some(now));
        assert_eq!(earliest(None, Some(later)), Some(later));
        assert_eq!(earliest(None, None), None);
    }
}
