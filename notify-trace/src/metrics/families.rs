//! What the numbers are called. All names and labels stand here; `docs/agent.md` explains them.

use std::borrow::Cow;

use super::counts::{Shown, Subject, Time, Unit};
use super::histogram::{Histogram, seconds};
use super::own::Own;
use super::sending::{Counted, Sending, Signal};
use super::series::Series;
use crate::store::Condition;
use crate::study::row::SAYS;
use crate::words::serde_word;

/// `unit` of those that have no series of their own.
const OTHERS: &str = "_other";

/// Names and values of labels.
pub type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// Several series of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family<'a> {
    /// Its name; that of a counter without `_total`.
    pub name: &'static str,
    /// What it says, in a line.
    pub help: &'static str,
    /// The series.
    pub series: Values<'a>,
}

/// The series of a family.
#[derive(Clone, Debug, PartialEq)]
pub enum Values<'a> {
    /// What only grows: whole numbers.
    Counts(Vec<(Labels<'a>, u64)>),
    /// What only grows: seconds.
    Seconds(Vec<(Labels<'a>, f64)>),
    /// What goes up and down.
    Gauges(Vec<(Labels<'a>, f64)>),
    /// Counts by bucket.
    Histograms(Vec<(Labels<'a>, &'a Histogram)>),
}

/// All of them.
#[must_use]
pub(super) fn families<'a>(
    shown: &'a Shown,
    recording: Option<&Condition>,
    sending: Option<&Sending>,
    own: &Own,
) -> Vec<Family<'a>> {
    let mut all = Families(Vec::new());
    units(&shown.units, &mut all);
    receivers(shown, &mut all);
    capture(shown, &mut all);
    if let Some(recording) = recording {
        of_recording(recording, &mut all);
    }
    if let Some(sending) = sending {
        of_sending(sending, &mut all);
    }
    of_process(own, &mut all);
    all.0
}

fn of_subject(subject: Option<&Subject>) -> Labels<'_> {
    match subject {
        Some(subject) => vec![
            ("unit", Cow::from(&subject.unit)),
            ("user", Cow::from(&subject.user)),
            ("container", Cow::from(&subject.container)),
        ],
        None => vec![
            ("unit", Cow::from(OTHERS)),
            ("user", Cow::default()),
            ("container", Cow::default()),
        ],
    }
}

/// Families that are gathered.
struct Families<'a>(Vec<Family<'a>>);

impl<'a> Families<'a> {
    fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) {
        let series = Values::Counts(values.into_iter().collect());
        self.0.push(Family { name, help, series });
    }

    fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let series = Values::Gauges(values.into_iter().collect());
        self.0.push(Family { name, help, series });
    }

    fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (Labels<'a>, &'a Histogram)>,
    ) {
        let series = Values::Histograms(values.into_iter().collect());
        self.0.push(Family { name, help, series });
    }
}

/// One series without labels.
fn alone<T>(value: T) -> [(Labels<'static>, T); 1] {
    [(Labels::new(), value)]
}

/// Without labels, if it is known.
fn one(value: Option<u64>) -> Option<(Labels<'static>, f64)> {
    value.map(|value| (Labels::new(), float(value)))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floats; bytes and counts below 2^53"
)]
fn float(value: u64) -> f64 {
    value as f64
}

fn units<'a>(series: &'a Series<Subject, Unit>, families: &mut Families<'a>) {
    let all = series.all();
    let each = |value: fn(&Unit) -> u64| {
        all.iter()
            .map(move |(subject, unit)| (of_subject(*subject), value(unit)))
    };
    families.counter(
        "notify_trace_notifications",
        "Notifications sent",
        each(|unit| unit.notifications),
    );
    families.counter(
        "notify_trace_undelivered",
        "Notifications that never reached their receiver, by what became of them",
        all.iter().flat_map(|(subject, unit)| {
            let fates = [
                ("failed", unit.failed),
                ("filtered", unit.filtered),
                ("destroyed", unit.destroyed),
            ];
            with(*subject, "state", fates)
        }),
    );
    families.counter(
        "notify_trace_messages",
        "Assignments to well-known keys in notifications sent, by key",
        all.iter().flat_map(|(subject, unit)| {
            let keys = SAYS.iter().zip(unit.messages);
            with(*subject, "key", keys.map(|((key, _), count)| (*key, count)))
        }),
    );
    families.counter(
        "notify_trace_verdicts",
        "Why notifications did not do what their senders wanted, by cause",
        all.iter().flat_map(|(subject, unit)| {
            unit.verdicts.iter().map(|((kind, certainty), times)| {
                let mut labels = of_subject(*subject);
                labels.push(("kind", Cow::from(serde_word(kind))));
                labels.push(("certainty", Cow::from(serde_word(certainty))));
                (labels, *times)
            })
        }),
    );
    for time in Time::ALL {
        let (name, help) = named(time);
        families.histogram(
            name,
            help,
            all.iter()
                .filter_map(|(subject, unit)| Some((of_subject(*subject), unit.times.get(&time)?))),
        );
    }
    families.gauge(
        "notify_trace_watchdog_last_margin_seconds",
        "What the last ping left of the time that the manager allows",
        all.iter().filter_map(|(subject, unit)| {
            let margin_ns = unit.last_margin_ns?;
            Some((of_subject(*subject), seconds(margin_ns.into())))
        }),
    );
    families.gauge(
        "notify_trace_last_ready_timestamp_seconds",
        "When READY=1 was said last",
        all.iter().filter_map(|(subject, unit)| {
            let ready_us = unit.last_ready_us?;
            let seconds = seconds(i128::from(ready_us) * 1_000);
            Some((of_subject(*subject), seconds))
        }),
    );
}

/// What was counted by a label besides, without what is 0.
fn with<'a>(
    subject: Option<&'a Subject>,
    label: &'static str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) -> impl Iterator<Item = (Labels<'a>, u64)> {
    counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(move |(value, count)| {
            let mut labels = of_subject(subject);
            labels.push((label, Cow::from(value)));
            (labels, count)
        })
}

const fn named(time: Time) -> (&'static str, &'static str) {
    match time {
        Time::Startup => (
            "notify_trace_startup_seconds",
            "From the unit's activation to READY=1",
        ),
        Time::StartupProcess => (
            "notify_trace_startup_process_seconds",
            "From the start of the main process to READY=1",
        ),
        Time::Reload => ("notify_trace_reload_seconds", "From RELOADING=1 to READY=1"),
        Time::Stop => (
            "notify_trace_stop_seconds",
            "From STOPPING=1 to the exit of the process that said so",
        ),
        Time::Blocked => (
            "notify_trace_blocked_seconds",
            "How long senders waited for room in the receiver's queue, where they had to",
        ),
        Time::WatchdogMargin => (
            "notify_trace_watchdog_margin_seconds",
            "What each ping left of the time that the manager allows; below 0 it was late",
        ),
    }
}

fn receivers<'a>(shown: &'a Shown, families: &mut Families<'a>) {
    let delivery = shown.delivery.all();
    families.histogram(
        "notify_trace_delivery_seconds",
        "From the receiver's queue to the receiver",
        delivery.iter().map(|(manager, waits)| {
            let manager = manager.map_or(OTHERS, |manager| manager.as_str());
            (vec![("manager", Cow::from(manager))], &waits.0)
        }),
    );
    let hops = shown.hops.all();
    families.histogram(
        "notify_trace_hop_seconds",
        "How long proxies took to pass on what they were told, by the kind of socket",
        hops.iter().map(|(class, waits)| {
            let class = class.map_or(OTHERS, |class| class.as_str());
            (vec![("class", Cow::from(class))], &waits.0)
        }),
    );
    families.counter(
        "notify_trace_connect_failed",
        "Calls of connect(2) to a notify socket that failed: nothing was sent",
        alone(shown.connect_failed),
    );
}

fn capture<'a>(shown: &'a Shown, families: &mut Families<'a>) {
    let info = &shown.info;
    families.gauge(
        "notify_trace_info",
        "What runs here, and by which plan it traces",
        [(
            vec![
                ("version", Cow::from(&info.version)),
                ("plan", Cow::from(&info.plan)),
                ("kernel", Cow::from(&info.kernel)),
            ],
            1.0,
        )],
    );
    families.counter(
        "notify_trace_records",
        "Records read from the kernel programs",
        alone(shown.records),
    );
    families.counter(
        "notify_trace_lost",
        "What was lost, by cause (docs/events.md)",
        shown
            .losses
            .by_cause()
            .map(|(cause, count)| (vec![("cause", Cow::from(cause))], count)),
    );
    families.gauge(
        "notify_trace_ring_bytes",
        "Size of each CPU's ring",
        one(Some(shown.ring_bytes)),
    );
    families.gauge(
        "notify_trace_ring_fullest_bytes",
        "Most that one ring held when it was read, in the last minute or two",
        one(shown.fullest_bytes.iter().copied().max()),
    );
    families.gauge(
        "notify_trace_units",
        "Units and containers that have series of their own",
        one(u64::try_from(shown.units.len()).ok()),
    );
    families.gauge(
        "notify_trace_units_limit",
        "Most that may have (metrics.units)",
        one(u64::try_from(shown.units.limit()).ok()),
    );
    families.counter(
        "notify_trace_units_put_out",
        "Units whose series went to unit=\\\"_other\\\", to make room",
        alone(shown.units.made_room()),
    );
}

fn of_recording(recording: &Condition, families: &mut Families<'_>) {
    families.counter(
        "notify_trace_recorded_events",
        "Events that are stored",
        alone(recording.stored),
    );
    families.counter(
        "notify_trace_recording_dropped_events",
        "Events that had no room in memory while the disk did not take them",
        alone(recording.dropped),
    );
    families.gauge(
        "notify_trace_recording_waiting_bytes",
        "Memory of what waits to be stored",
        one(Some(recording.waiting_bytes)),
    );
    families.gauge(
        "notify_trace_recording_stuck",
        "1: the disk does not take what waits",
        one(Some(u64::from(recording.trouble.is_some()))),
    );
}

fn of_sending(sending: &Sending, families: &mut Families<'_>) {
    let Sending {
        signals,
        taken_events,
        expired_events,
        removed_events,
        damaged_events,
        waiting_events,
        trouble,
        metrics_trouble,
        is_settled: _,
    } = sending;
    let each = |count: fn(&Counted) -> u64| {
        let counts = Signal::ALL.iter().zip(signals);
        counts.map(move |(signal, counted)| {
            let labels = vec![("signal", Cow::from(signal.name()))];
            (labels, count(counted))
        })
    };
    families.counter(
        "notify_trace_otlp_sent",
        "Log records, spans and data points that the receiver of OTLP took",
        each(|it| it.sent),
    );
    families.counter(
        "notify_trace_otlp_refused",
        "Those that it will never take: they are lost to it, not to the recording",
        each(|it| it.refused),
    );
    families.counter(
        "notify_trace_otlp_taken_events",
        "Events of the recording that are done: what becomes of them was taken, or refused",
        alone(*taken_events),
    );
    families.counter(
        "notify_trace_otlp_lost_events",
        "Events that were gone from the recording before they could be sent, or can't be read",
        [
            ("expired", *expired_events),
            ("removed", *removed_events),
            ("damaged", *damaged_events),
        ]
        .map(|(cause, count)| (vec![("cause", Cow::from(cause))], count)),
    );
    families.gauge(
        "notify_trace_otlp_waiting_events",
        "Events that wait in the recording to be sent",
        one(Some(*waiting_events)),
    );
    families.gauge(
        "notify_trace_otlp_stuck",
        "1: something can't be sent",
        one(Some(u64::from(
            trouble.is_some() || metrics_trouble.is_some(),
        ))),
    );
}

fn of_process(own: &Own, families: &mut Families<'_>) {
    families.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the agent",
        one(own.resident_bytes),
    );
    let cpu_ns = own.cpu_ns.into_iter();
    families.0.push(Family {
        name: "process_cpu_seconds",
        help: "Time on CPUs of the agent, in user space and in the kernel",
        series: Values::Seconds(
            cpu_ns
                .map(|cpu_ns| (Labels::new(), seconds(cpu_ns.into())))
                .collect(),
        ),
    });
    families.gauge(
        "process_open_fds",
        "Open file descriptors of the agent",
        one(own.open_fds),
    );
    families.gauge("process_threads", "Threads of the agent", one(own.threads));
}
