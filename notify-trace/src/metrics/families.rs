//! What the numbers are called. All names and labels stand here; `docs/agent.md` explains them.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::counts::{Shown, Subject, Time, Unit};
use super::histogram::{Histogram, seconds};
use super::own::Own;
use super::series::Series;
use crate::store::Condition;
use crate::study::row::SAYS;
use crate::words::serde_word;

/// `unit` of those that have no series of their own.
const OTHERS: &str = "_other";

/// As Prometheus reads it (text format 0.0.4).
pub(super) fn text(
    shown: Shown,
    recording: Option<Condition>,
    own: Own,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All {
        shown,
        recording,
        own,
    }));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct All {
    shown: Shown,
    recording: Option<Condition>,
    own: Own,
}

type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

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

/// Writes families.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (impl EncodeLabelSet, u64)>,
    ) -> fmt::Result {
        let mut family = (self.0).encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (impl EncodeLabelSet, f64)>,
    ) -> fmt::Result {
        let mut family = (self.0).encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histogram<'h>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (impl EncodeLabelSet, &'h Histogram)>,
    ) -> fmt::Result {
        let mut family = (self.0).encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, value) in values {
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(
                value.sum(),
                value.count(),
                &value.buckets(),
                None,
            )?;
        }
        Ok(())
    }
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

impl Collector for All {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        units(&self.shown.units, &mut families)?;
        receivers(&self.shown, &mut families)?;
        capture(&self.shown, &mut families)?;
        recording(self.recording.as_ref(), &mut families)?;
        own(&self.own, &mut families)
    }
}

fn units(series: &Series<Subject, Unit>, families: &mut Families<'_>) -> fmt::Result {
    let all = series.all();
    let each = |value: fn(&Unit) -> u64| {
        all.iter()
            .map(move |(subject, unit)| (of_subject(*subject), value(unit)))
    };
    families.counter(
        "notify_trace_notifications",
        "Notifications sent",
        each(|unit| unit.notifications),
    )?;
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
    )?;
    families.counter(
        "notify_trace_messages",
        "Assignments to well-known keys in notifications sent, by key",
        all.iter().flat_map(|(subject, unit)| {
            let keys = SAYS.iter().zip(unit.messages);
            with(*subject, "key", keys.map(|((key, _), count)| (*key, count)))
        }),
    )?;
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
    )?;
    for time in Time::ALL {
        let (name, help) = named(time);
        families.histogram(
            name,
            help,
            all.iter()
                .filter_map(|(subject, unit)| Some((of_subject(*subject), unit.times.get(&time)?))),
        )?;
    }
    families.gauge(
        "notify_trace_watchdog_last_margin_seconds",
        "What the last ping left of the time that the manager allows",
        all.iter().filter_map(|(subject, unit)| {
            let margin_ns = unit.last_margin_ns?;
            Some((of_subject(*subject), seconds(margin_ns.into())))
        }),
    )?;
    families.gauge(
        "notify_trace_last_ready_timestamp_seconds",
        "When READY=1 was said last",
        all.iter().filter_map(|(subject, unit)| {
            let ready_us = unit.last_ready_us?;
            let seconds = seconds(i128::from(ready_us) * 1_000);
            Some((of_subject(*subject), seconds))
        }),
    )
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

fn receivers(shown: &Shown, families: &mut Families<'_>) -> fmt::Result {
    let delivery = shown.delivery.all();
    families.histogram(
        "notify_trace_delivery_seconds",
        "From the receiver's queue to the receiver",
        delivery.iter().map(|(manager, waits)| {
            let manager = manager.map_or(OTHERS, |manager| manager.as_str());
            (vec![("manager", manager)], &waits.0)
        }),
    )?;
    let hops = shown.hops.all();
    families.histogram(
        "notify_trace_hop_seconds",
        "How long proxies took to pass on what they were told, by the kind of socket",
        hops.iter().map(|(class, waits)| {
            let class = class.map_or(OTHERS, |class| class.as_str());
            (vec![("class", class)], &waits.0)
        }),
    )?;
    families.counter(
        "notify_trace_connect_failed",
        "Calls of connect(2) to a notify socket that failed: nothing was sent",
        [(Labels::new(), shown.connect_failed)],
    )
}

fn capture(shown: &Shown, families: &mut Families<'_>) -> fmt::Result {
    let info = &shown.info;
    families.gauge(
        "notify_trace_info",
        "What runs here, and by which plan it traces",
        [(
            vec![
                ("version", info.version.as_str()),
                ("plan", info.plan.as_str()),
                ("kernel", info.kernel.as_str()),
            ],
            1.0,
        )],
    )?;
    families.counter(
        "notify_trace_records",
        "Records read from the kernel programs",
        [(Labels::new(), shown.records)],
    )?;
    families.counter(
        "notify_trace_lost",
        "What was lost, by cause (docs/events.md)",
        shown
            .losses
            .by_cause()
            .map(|(cause, count)| (vec![("cause", cause)], count)),
    )?;
    families.gauge(
        "notify_trace_ring_bytes",
        "Size of each CPU's ring",
        one(Some(shown.ring_bytes)),
    )?;
    families.gauge(
        "notify_trace_ring_fullest_bytes",
        "Most that one ring held when it was read, in the last minute or two",
        one(shown.fullest_bytes.iter().copied().max()),
    )?;
    families.gauge(
        "notify_trace_units",
        "Units and containers that have series of their own",
        one(u64::try_from(shown.units.len()).ok()),
    )?;
    families.gauge(
        "notify_trace_units_limit",
        "Most that may have (metrics.units)",
        one(u64::try_from(shown.units.limit()).ok()),
    )?;
    families.counter(
        "notify_trace_units_put_out",
        "Units whose series went to unit=\\\"_other\\\", to make room",
        [(Labels::new(), shown.units.made_room())],
    )
}

fn recording(recording: Option<&Condition>, families: &mut Families<'_>) -> fmt::Result {
    let Some(recording) = recording else {
        return Ok(());
    };
    families.counter(
        "notify_trace_recorded_events",
        "Events that are stored",
        [(Labels::new(), recording.stored)],
    )?;
    families.counter(
        "notify_trace_recording_dropped_events",
        "Events that had no room in memory while the disk did not take them",
        [(Labels::new(), recording.dropped)],
    )?;
    families.gauge(
        "notify_trace_recording_waiting_bytes",
        "Memory of what waits to be stored",
        one(Some(recording.waiting_bytes)),
    )?;
    families.gauge(
        "notify_trace_recording_stuck",
        "1: the disk does not take what waits",
        one(Some(u64::from(recording.trouble.is_some()))),
    )
}

fn own(own: &Own, families: &mut Families<'_>) -> fmt::Result {
    families.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the agent",
        one(own.resident_bytes),
    )?;
    let mut cpu = families.0.encode_descriptor(
        "process_cpu_seconds",
        "Time on CPUs of the agent, in user space and in the kernel",
        None,
        MetricType::Counter,
    )?;
    if let Some(cpu_ns) = own.cpu_ns {
        cpu.encode_counter::<NoLabelSet, _, u64>(&seconds(cpu_ns.into()), None)?;
    }
    families.gauge(
        "process_open_fds",
        "Open file descriptors of the agent",
        one(own.open_fds),
    )?;
    families.gauge("process_threads", "Threads of the agent", one(own.threads))
}
