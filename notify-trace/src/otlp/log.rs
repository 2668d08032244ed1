//! Events and verdicts as log records. `docs/otlp.md` explains each attribute.

use jiff::Timestamp;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use super::value::Attributes;
use crate::correlate::outcome::{Moment, Subject, Verdict};
use crate::event::{
    Attribution, ConnectFailed, Container, Delivery, DeliveryState, Errno, Event, Loss, Losses,
    Notification, Process, Receiver, ReceiverClosed, SendResult, Summary, Timing, Update,
    ViewChange,
};
use crate::who;
use crate::words::serde_word;

/// Most keys of a message that are named.
const KEYS: usize = 64;

/// What the log record of each notification is called.
pub(super) const NOTIFY: &str = "systemd.notify";

/// The log record of an event, if it has one: processes' ends and units' states are told by spans and
/// verdicts, sessions by the resource.
pub(super) fn of_event(event: &Event) -> Option<LogRecord> {
    match event {
        Event::Send(it) => Some(notification(it)),
        Event::Update(it) => Some(update(it)),
        Event::ConnectFailed(it) => Some(connect_failed(it)),
        Event::ReceiverClosed(it) => Some(receiver_closed(it)),
        Event::View(it) => Some(view(it)),
        Event::Loss(it) => Some(loss(it)),
        Event::Summary(it) => Some(summary(it)),
        Event::Session(_) | Event::Exit(_) | Event::Unit(_) => None,
    }
}

/// Nanoseconds since 1970.
pub(super) fn unix_ns(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn record(name: &str, time: Timestamp, severity: SeverityNumber, all: Attributes) -> LogRecord {
    let time_ns = unix_ns(time);
    let text = match severity {
        SeverityNumber::Error => "ERROR",
        SeverityNumber::Warn => "WARN",
        _ => "INFO",
    };
    LogRecord {
        time_unix_nano: time_ns,
        observed_time_unix_nano: time_ns,
        severity_number: severity.into(),
        severity_text: text.to_owned(),
        attributes: all.0,
        event_name: name.to_owned(),
        ..LogRecord::default()
    }
}

fn notification(it: &Notification) -> LogRecord {
    let Notification {
        id,
        time,
        monotonic_ns,
        sender,
        socket_inode,
        destination,
        receiver,
        class,
        length_bytes,
        payload,
        truncated,
        lines,
        defects,
        fds,
        claimed,
        result,
        delivery,
        retry_of,
        timing,
        unknown,
    } = it;
    let mut all = Attributes::default();
    all.number("notify.id", *id);
    all.number("notify.monotonic_ns", *monotonic_ns);
    all.text("notify.class", &**class);
    if let Some(destination) = destination {
        all.address("notify.socket", &destination.address);
    }
    all.number("notify.length_bytes", *length_bytes);
    if let Some(payload) = payload {
        all.blob("notify.payload", payload);
    }
    all.flag("notify.truncated", *truncated);
    let keys = lines.iter().filter_map(|line| line.key());
    let keys = keys.map(|key| String::from_utf8_lossy(&key.0).into_owned());
    all.words("notify.keys", keys.take(KEYS));
    all.words("notify.defects", defects.iter().map(serde_word));
    all.maybe_number("notify.fds", *fds);
    all.maybe_number("notify.claimed.pid", claimed.map(|it| it.pid));
    all.maybe_number("notify.retry_of", *retry_of);
    all.maybe_number("notify.sender.socket_inode", *socket_inode);
    all.words("notify.unknown", unknown.iter().map(serde_word));
    if let Some(sender) = sender {
        process(&mut all, sender);
    }
    fate(
        &mut all,
        receiver.as_ref(),
        result.as_ref(),
        delivery,
        timing,
    );
    record(NOTIFY, *time, severity(delivery.state), all)
}

fn update(it: &Update) -> LogRecord {
    let Update {
        id,
        time,
        monotonic_ns,
        sender,
        receiver,
        result,
        delivery,
        timing,
    } = it;
    let mut all = Attributes::default();
    all.number("notify.id", *id);
    all.number("notify.monotonic_ns", *monotonic_ns);
    if let Some(sender) = sender {
        process(&mut all, sender);
    }
    fate(
        &mut all,
        receiver.as_ref(),
        result.as_ref(),
        delivery,
        timing,
    );
    let severity = severity(delivery.state);
    record("systemd.notify.update", *time, severity, all)
}

/// What never reached whom it was sent to is worth a look.
const fn severity(state: DeliveryState) -> SeverityNumber {
    match state {
        DeliveryState::Failed | DeliveryState::Filtered | DeliveryState::Destroyed => {
            SeverityNumber::Warn
        }
        DeliveryState::Delivered
        | DeliveryState::Sending
        | DeliveryState::Queued
        | DeliveryState::Unknown => SeverityNumber::Info,
    }
}

fn fate(
    all: &mut Attributes,
    receiver: Option<&Receiver>,
    result: Option<&SendResult>,
    delivery: &Delivery,
    timing: &Timing,
) {
    all.text("notify.state", serde_word(&delivery.state));
    if let Some(SendResult::Failed(error)) = result {
        failure(all, error);
    }
    if let Some(it) = receiver {
        socket(all, it);
    }
    if let Some(reader) = &delivery.reader {
        all.number("notify.reader.pid", reader.pid);
        all.blob("notify.reader.comm", &reader.comm);
    }
    all.maybe_number("notify.trimmed_to_bytes", delivery.trimmed_to_bytes);
    all.maybe_number(
        "notify.credentials.pid",
        delivery.credentials.map(|it| it.pid),
    );
    all.maybe_number("notify.delivery_ns", timing.delivery_ns());
    all.maybe_number("notify.blocked_ns", timing.blocked_ns());
}

fn failure(all: &mut Attributes, error: &Errno) {
    all.number("notify.errno", error.errno);
    all.maybe_text("error.type", error.name.clone());
}

fn socket(all: &mut Attributes, it: &Receiver) {
    let Receiver {
        inode,
        address,
        queue_length,
    } = it;
    all.number("notify.receiver.inode", *inode);
    if let Some(address) = address {
        all.address("notify.receiver.address", address);
    }
    all.maybe_number("notify.receiver.queue_length", *queue_length);
}

fn connect_failed(it: &ConnectFailed) -> LogRecord {
    let ConnectFailed {
        time,
        monotonic_ns,
        sender,
        socket_inode,
        address,
        class,
        error,
    } = it;
    let mut all = Attributes::default();
    all.number("notify.monotonic_ns", *monotonic_ns);
    all.text("notify.class", &**class);
    all.address("notify.socket", address);
    all.maybe_number("notify.sender.socket_inode", *socket_inode);
    failure(&mut all, error);
    process(&mut all, sender);
    let name = "systemd.notify.connect_failed";
    record(name, *time, SeverityNumber::Warn, all)
}

fn receiver_closed(it: &ReceiverClosed) -> LogRecord {
    let ReceiverClosed {
        time,
        monotonic_ns,
        closer,
        receiver,
        class,
    } = it;
    let mut all = Attributes::default();
    all.number("notify.monotonic_ns", *monotonic_ns);
    all.text("notify.class", &**class);
    socket(&mut all, receiver);
    process(&mut all, closer);
    let name = "systemd.notify.receiver_closed";
    record(name, *time, SeverityNumber::Info, all)
}

fn view(it: &ViewChange) -> LogRecord {
    let mut all = Attributes::default();
    all.words("notify_trace.view", it.view.iter().cloned());
    record("notify_trace.view", it.time, SeverityNumber::Info, all)
}

fn loss(it: &Loss) -> LogRecord {
    let mut all = Attributes::default();
    losses(&mut all, &it.losses);
    record("notify_trace.loss", it.time, SeverityNumber::Error, all)
}

fn losses(all: &mut Attributes, losses: &Losses) {
    for (cause, count) in losses.by_cause() {
        if count > 0 {
            all.number(&format!("notify_trace.lost.{cause}"), count);
        }
    }
}

fn summary(it: &Summary) -> LogRecord {
    let mut all = Attributes::default();
    all.number("notify_trace.notifications", it.notifications);
    all.number("notify_trace.records.attempted", it.records_attempted);
    all.number("notify_trace.records.received", it.records_received);
    losses(&mut all, &it.losses);
    record("notify_trace.summary", it.time, SeverityNumber::Info, all)
}

/// Why a notification did not do what its sender wanted.
///
/// Its number is the one that `explain` gives it only if the session was seen from its beginning.
pub(super) fn of_verdict(it: &Verdict, is_whole: bool) -> LogRecord {
    let Verdict {
        number,
        at,
        kind,
        certainty,
        subject,
        about,
        what,
        evidence,
        rule,
        remedy,
    } = it;
    let mut all = Attributes::default();
    all.maybe_number("notify.verdict.number", is_whole.then_some(*number));
    all.text("notify.verdict.kind", serde_word(kind));
    all.text("notify.verdict.certainty", serde_word(certainty));
    all.text("notify.verdict.what", what);
    all.words("notify.verdict.evidence", evidence.iter().cloned());
    all.maybe_text("notify.verdict.rule", *rule);
    all.maybe_text("notify.verdict.remedy", *remedy);
    all.maybe_number("notify.id", about.first().copied());
    let Moment { time, monotonic_ns } = *at;
    all.number("notify.monotonic_ns", monotonic_ns);
    of_subject(&mut all, subject);
    let name = "systemd.notify.verdict";
    record(name, time, SeverityNumber::Warn, all)
}

/// Whom a conclusion concerns.
pub(super) fn of_subject(all: &mut Attributes, subject: &Subject) {
    let Subject {
        unit,
        user,
        container,
        pid,
        comm,
    } = subject;
    all.maybe_text("systemd.unit", unit.clone());
    all.maybe_number("systemd.manager.user_id", *user);
    all.maybe_text("notify.container", container.clone());
    all.maybe_number("process.pid", *pid);
    all.maybe_text("process.comm", comm.clone());
}

/// A process, by the semantic conventions where they have a name for what is known.
fn process(all: &mut Attributes, it: &Process) {
    all.number("process.pid", it.pid);
    all.blob("process.comm", &it.comm);
    all.number("process.real_user.id", it.uid);
    all.maybe_number("process.parent_pid", it.parent_pid);
    all.maybe_number("process.vpid", it.namespace_pid);
    if let Some(path) = it.cgroup.as_ref().and_then(|it| it.path.as_ref()) {
        all.blob("process.linux.cgroup", path);
    }
    if let Some(path) = it.later.as_ref().and_then(|it| it.executable.as_ref()) {
        all.blob("process.executable.path", path);
    }
    if let Some(is_of) = &it.attribution {
        attribution(all, is_of);
    }
}

fn attribution(all: &mut Attributes, is_of: &Attribution) {
    let Attribution {
        unit,
        slice,
        user,
        user_unit,
        user_slice: _,
        session,
        machine,
        container,
        pod,
        is_later,
    } = is_of;
    all.maybe_text("systemd.unit", unit.as_ref().map(|it| it.name.clone()));
    all.maybe_text("systemd.slice", slice.clone());
    all.maybe_number("systemd.user_id", *user);
    let user_unit = user_unit.as_ref().map(|it| it.name.clone());
    all.maybe_text("systemd.user_unit", user_unit);
    all.maybe_text("systemd.session", session.clone());
    all.maybe_text("systemd.machine", machine.clone());
    if let Some(Container {
        id,
        runtime,
        name,
        is_monitor,
        ..
    }) = container
    {
        all.text("container.id", id);
        all.maybe_text("container.name", name.clone());
        all.maybe_text("container.runtime.name", runtime.map(who::runtime));
        all.flag("notify.container.is_monitor", *is_monitor);
    }
    if let Some(pod) = pod {
        all.text("k8s.pod.uid", &pod.uid);
        all.maybe_text("k8s.pod.name", pod.name.clone());
        all.maybe_text("k8s.namespace.name", pod.namespace.clone());
    }
    all.flag("notify.attribution.is_later", *is_later);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::correlate::samples::Sample;

    fn value<'a>(record: &'a LogRecord, key: &str) -> Option<&'a Value> {
        let found = record.attributes.iter().find(|it| it.key == key)?;
        found.value.as_ref()?.value.as_ref()
    }

    #[test]
    fn a_notification_says_who_what_and_what_became_of_it() {
        let it = Sample::new("READY=1\nSTATUS=up").id(7).build();
        let record = of_event(&Event::Send(Box::new(it.clone()))).expect("a record");
        assert_eq!(record.event_name, NOTIFY);
        assert_eq!(record.time_unix_nano, unix_ns(it.time));
        assert_eq!(record.severity_text, "INFO");
        assert!(record.body.is_none());
        let text = |text: &str| Some(Value::StringValue(text.to_owned()));
        assert_eq!(value(&record, "notify.id"), Some(&Value::IntValue(7)));
        assert_eq!(value(&record, "systemd.unit").cloned(), text("app.service"));
        assert_eq!(value(&record, "notify.state").cloned(), text("delivered"));
        let payload = value(&record, "notify.payload").cloned();
        assert_eq!(payload, text("READY=1\nSTATUS=up"));
        assert_eq!(value(&record, "notify.retry_of"), None);
    }

    #[test]
    fn what_is_no_text_stays_bytes() {
        let mut it = Sample::new("READY=1").build();
        it.payload = Some(crate::event::Blob::from(&[0xff, 0, b'"'][..]));
        let record = of_event(&Event::Send(Box::new(it))).expect("a record");
        let payload = value(&record, "notify.payload").cloned();
        assert_eq!(payload, Some(Value::BytesValue(vec![0xff, 0, b'"'])));
    }

    #[test]
    fn what_failed_is_a_warning_with_its_reason() {
        let it = Sample::new("READY=1").failed(111, "ECONNREFUSED").build();
        let record = of_event(&Event::Send(Box::new(it))).expect("a record");
        assert_eq!(record.severity_text, "WARN");
        assert_eq!(value(&record, "notify.errno"), Some(&Value::IntValue(111)));
        let reason = Value::StringValue("ECONNREFUSED".to_owned());
        assert_eq!(value(&record, "error.type"), Some(&reason));
    }
}
