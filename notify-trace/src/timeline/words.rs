//! Which sign a message gets, how it went, and in which lane it stands. Pure.

use super::model::{MarkKind, MarkState};
use crate::correlate::outcome::{Kind, Subject};
use crate::escape::escape_field;
use crate::event::{Delivery, DeliveryState, Line, Notification, Process, UnitState};
use crate::sink::text::outcome as texts;
use crate::unit::{UnitKey, is_to_manager};
use crate::{who, words};

/// The lane of a process that told somebody something: the unit that a manager counts it for, else the
/// container, else whatever is known.
pub(super) fn lane_of(sender: Option<&Process>, class: &str) -> String {
    let Some(sender) = sender else {
        return "sender not known".to_owned();
    };
    let Some(is_of) = sender.attribution.as_deref() else {
        return without_unit(&sender.comm.0);
    };
    if is_to_manager(class)
        && let Some(key) = UnitKey::of(is_of, class).filter(UnitKey::is_service)
    {
        return lane_of_key(&key);
    }
    match who::who(is_of) {
        Some(who) => who.strip_prefix('~').unwrap_or(&who).to_owned(),
        None => without_unit(&sender.comm.0),
    }
}

/// The lane of a unit.
pub(super) fn lane_of_key(key: &UnitKey) -> String {
    let subject = Subject {
        unit: Some(key.name.clone()),
        user: key.user,
        ..Subject::default()
    };
    lane_of_subject(&subject)
}

/// The lane of whom a conclusion is about.
pub(super) fn lane_of_subject(subject: &Subject) -> String {
    match (&subject.container, &subject.unit, &subject.comm) {
        (None, None, Some(comm)) => format!("{comm} (no unit)"),
        (None, None, None) => "no unit".to_owned(),
        _ => texts::subject(subject).unwrap_or_default(),
    }
}

fn without_unit(comm: &[u8]) -> String {
    format!("{} (no unit)", escape_field(comm))
}

/// What a message is above all.
pub(super) fn kind_of(lines: &[Line]) -> MarkKind {
    let has = |wanted: &str| {
        let mut keys = lines.iter().filter_map(Line::key);
        keys.any(|key| key.0 == wanted.as_bytes())
    };
    let by_key = [
        ("STOPPING", MarkKind::Stopping),
        ("READY", MarkKind::Ready),
        ("RELOADING", MarkKind::Reloading),
        ("WATCHDOG", MarkKind::Watchdog),
        ("STATUS", MarkKind::Status),
    ];
    let found = by_key.into_iter().find(|(key, _)| has(key));
    found.map_or(MarkKind::Other, |(_, kind)| kind)
}

/// Whether it is a watchdog's ping and nothing else.
pub(super) fn is_ping(it: &Notification) -> bool {
    kind_of(&it.lines) == MarkKind::Watchdog
        && it.lines.len() == 1
        && it.defects.is_empty()
        && it.delivery.state == DeliveryState::Delivered
}

/// How the delivery went.
pub(super) const fn state_of(delivery: &Delivery) -> MarkState {
    match delivery.state {
        DeliveryState::Delivered => MarkState::Ok,
        DeliveryState::Sending | DeliveryState::Queued | DeliveryState::Unknown => MarkState::Open,
        DeliveryState::Failed | DeliveryState::Filtered | DeliveryState::Destroyed => {
            MarkState::Failed
        }
    }
}

/// Whether a verdict says that something was lost, or only that something is odd.
pub(super) const fn is_loss(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::WatchdogThin
            | Kind::AccidentalSender
            | Kind::OnBehalf
            | Kind::StatusNotUtf8
            | Kind::FdsDropped
            | Kind::Flood
    )
}

/// What a manager said of a unit, in a sentence.
pub(super) fn unit_state(state: &UnitState) -> String {
    let text = |text: &str| escape_field(text.as_bytes()).to_string();
    let mut parts = vec![format!(
        "{} ({})",
        text(&state.active_state),
        text(&state.sub_state)
    )];
    let named = [
        ("result", &state.result),
        ("Type", &state.service_type),
        ("NotifyAccess", &state.notify_access),
    ];
    for (name, value) in named {
        parts.extend(value.as_deref().map(|it| format!("{name}={}", text(it))));
    }
    parts.extend(state.main_pid.map(|pid| format!("main process {pid}")));
    let spans = [
        ("TimeoutStartSec", state.timeout_start_usec),
        ("WatchdogSec", state.watchdog_usec),
    ];
    for (name, usec) in spans {
        let span = usec.map(|usec| words::duration(usec.saturating_mul(1_000)));
        parts.extend(span.map(|it| format!("{name}={it}")));
    }
    let restarts = state.restarts.filter(|restarts| *restarts > 0);
    parts.extend(restarts.map(|it| words::count(it.into(), "restart", "restarts")));
    format!("its manager, asked last: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{Sample, process};

    #[test]
    fn a_message_counts_for_what_changes_most() {
        for (payload, kind) in [
            ("STATUS=up\nREADY=1", MarkKind::Ready),
            ("RELOADING=1\nMONOTONIC_USEC=1", MarkKind::Reloading),
            ("READY=1\nSTOPPING=1", MarkKind::Stopping),
            ("STATUS=a\nX_A=1", MarkKind::Status),
            ("MAINPID=7", MarkKind::Other),
            ("", MarkKind::Other),
        ] {
            assert_eq!(kind_of(&Sample::new(payload).build().lines), kind);
        }
    }

    #[test]
    fn only_a_bare_ping_that_arrived_is_one_among_many() {
        assert!(is_ping(&Sample::new("WATCHDOG=1").build()));
        assert!(!is_ping(&Sample::new("WATCHDOG=1\nSTATUS=x").build()));
        assert!(!is_ping(
            &Sample::new("WATCHDOG=1")
                .failed(111, "ECONNREFUSED")
                .build()
        ));
    }

    #[test]
    fn a_sender_stands_in_the_lane_of_its_unit_or_is_named_without() {
        let app = process("app", 7, "app.service");
        assert_eq!(lane_of(Some(&app), "systemd"), "app.service");
        assert_eq!(lane_of(Some(&app), "runc"), "app.service");
        let mut bare = app;
        bare.attribution = None;
        assert_eq!(lane_of(Some(&bare), "systemd"), "app (no unit)");
        assert_eq!(lane_of(None, "systemd"), "sender not known");
    }
}
