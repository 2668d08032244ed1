//! What rows events make.

use super::*;
use crate::correlate::samples::{MS, S, Sample, unit_state};
use crate::event::Exit;
use crate::study::row::VerdictRow;

fn rows(events: impl IntoIterator<Item = Event>) -> Rows {
    let mut projector = Projector::default();
    let mut rows = Rows::default();
    for event in events {
        projector.event(&event, &mut rows);
    }
    projector.finish(&mut rows);
    rows
}

fn send(sample: Sample) -> Event {
    Event::Send(Box::new(sample.build()))
}

fn value(rows: &Rows, number: u64, name: &str) -> Option<i64> {
    let column = MEASURES
        .iter()
        .position(|it| crate::words::serde_word(it) == name)
        .expect("a measure");
    let row = rows.notifications.iter().find(|row| row.number == number);
    row.expect("a row").measures[column]
}

#[test]
fn a_start_counts_from_the_manager_and_from_the_process() {
    let mut state = unit_state("app.service", 500 * MS);
    state.inactive_exit_ns = Some(400 * MS);
    state.main_start_ns = Some(450 * MS);
    let rows = rows([
        Event::Unit(Box::new(state)),
        send(Sample::new("READY=1").at(S)),
        send(Sample::new("WATCHDOG=1").id(2).at(2 * S)),
    ]);
    let dequeued = 1_000_100_000;
    assert_eq!(value(&rows, 1, "startup"), Some(dequeued - 400_000_000));
    assert_eq!(
        value(&rows, 1, "startup_process"),
        Some(dequeued - 450_000_000)
    );
    assert_eq!(rows.flows.len(), 1, "{:?}", rows.flows);
    assert_eq!(rows.flows[0].1.unit.as_deref(), Some("app.service"));
    assert_eq!(rows.notifications[0].says, 1);
    assert_eq!(rows.notifications[0].fate.delivery_ns, Some(90_000));
}

#[test]
fn pings_have_intervals_margins_and_jitter() {
    let mut state = unit_state("app.service", 500 * MS);
    state.watchdog_usec = Some(10_000_000);
    let rows = rows([
        Event::Unit(Box::new(state)),
        send(Sample::new("READY=1").at(S)),
        send(Sample::new("WATCHDOG=1").id(2).at(3 * S)),
        send(Sample::new("WATCHDOG=1").id(3).at(8 * S)),
        send(Sample::new("WATCHDOG=1").id(4).at(20 * S)),
    ]);
    let second = S.cast_signed();
    let of = |number| {
        ["watchdog", "watchdog_jitter", "watchdog_margin"]
            .map(|name| value(&rows, number, name).map(|ns| ns / second))
    };
    assert_eq!(of(2), [None, None, Some(8)]);
    assert_eq!(of(3), [Some(5), None, Some(5)]);
    assert_eq!(of(4), [Some(12), Some(7), Some(-2)]);
}

#[test]
fn a_stop_is_a_time_of_the_message_that_announced_it() {
    let exit = Exit {
        time: "2026-11-24T12:00:00Z".parse().expect("a time"),
        monotonic_ns: 3 * S,
        pid: 100,
        start_boottime_ns: None,
    };
    let rows = rows([
        send(Sample::new("READY=1").at(S)),
        send(Sample::new("STOPPING=1").id(2).at(2 * S)),
        Event::Unit(Box::new(unit_state("app.service", 2_500 * MS))),
        Event::Exit(exit),
    ]);
    assert_eq!(value(&rows, 2, "stop"), Some(999_900_000));
}

#[test]
fn extensions_and_statuses_last_until_the_next() {
    let rows = rows([
        send(Sample::new("EXTEND_TIMEOUT_USEC=5000000\nSTATUS=a").at(S)),
        send(Sample::new("READY=1\nSTATUS=b").id(2).at(3 * S)),
    ]);
    assert_eq!(value(&rows, 1, "extend"), Some(5_000_000_000));
    assert_eq!(value(&rows, 1, "extend_margin"), Some(3_000_000_000));
    assert_eq!(value(&rows, 1, "status"), Some(2_000_000_000));
    assert_eq!(value(&rows, 2, "status"), None);
}

#[test]
fn a_hop_is_a_time_of_what_was_passed_on() {
    let told = Sample::new("READY=1\nX=1")
        .at(S)
        .from("app", 300, "box.service")
        .to("runc", 700, ("runc", 200));
    let sent = Sample::new("READY=1\nX=1")
        .id(2)
        .at(S + 5 * MS)
        .from("runc", 200, "box.service");
    let rows = rows([send(told), send(sent)]);
    assert_eq!(value(&rows, 2, "hop"), Some(4_900_000));
    let told = rows.notifications[1].told.as_ref().expect("a hop");
    assert_eq!((told.notification, &*told.class), (1, "runc"));
}

#[test]
fn repetitions_are_counted_by_the_hour() {
    let hour = 3_600 * S;
    let lost = |id: u64, at_ns: u64| {
        let mut it = Sample::new("READY=1").id(id).at(at_ns).gone().build();
        it.time = it
            .time
            .checked_add(jiff::SignedDuration::from_nanos(at_ns.cast_signed()))
            .expect("a time");
        Event::Send(Box::new(it))
    };
    let rows = rows([lost(1, S), lost(2, 2 * S), lost(3, hour), lost(4, hour + S)]);
    let of = |row: &VerdictRow| (row.number, row.times, row.last_us - row.at_us);
    let all: Vec<_> = rows.verdicts.iter().map(of).collect();
    assert_eq!(all, [(1, 2, 1_000_000), (1, 2, 1_000_000)]);
}

#[test]
fn what_was_not_kept_is_said_again() {
    let mut projector = Projector::default();
    let mut lost = Rows::default();
    projector.event(&send(Sample::new("READY=1")), &mut lost);
    assert_eq!(lost.flows.len(), 1);
    projector.dropped();
    let mut kept = Rows::default();
    projector.event(&send(Sample::new("WATCHDOG=1").id(2)), &mut kept);
    assert_eq!(kept.flows.len(), 1);
    assert_eq!(kept.notifications[0].flow, kept.flows[0].0);
}

#[test]
fn numbers_that_no_clock_reaches_are_no_limits() {
    let most = u64::MAX;
    let rows = rows([
        send(Sample::new(&format!("EXTEND_TIMEOUT_USEC={most}\nWATCHDOG_USEC={most}")).at(S)),
        send(Sample::new("READY=1").id(2).at(2 * S)),
        send(Sample::new("WATCHDOG=1").id(3).at(3 * S)),
    ]);
    assert!(rows.verdicts.is_empty(), "{:?}", rows.verdicts);
    for name in ["extend", "extend_margin"] {
        assert_eq!(value(&rows, 1, name), None, "{name}");
    }
    assert_eq!(value(&rows, 3, "watchdog_margin"), None);
}

#[test]
fn a_start_after_an_open_reload_is_a_start() {
    let state = |began_ns: u64, at_ns: u64| {
        let mut state = unit_state("app.service", at_ns);
        state.inactive_exit_ns = Some(began_ns);
        Event::Unit(Box::new(state))
    };
    let rows = rows([
        state(100 * MS, 200 * MS),
        send(Sample::new("READY=1").at(S)),
        send(Sample::new("RELOADING=1").id(2).at(2 * S)),
        // It crashed, and was started again.
        state(60 * S, 60 * S + MS),
        send(Sample::new("READY=1").id(3).at(61 * S)),
    ]);
    assert_eq!(value(&rows, 3, "reload"), None);
    assert_eq!(value(&rows, 3, "startup"), Some(1_000_100_000));
}

#[test]
fn a_service_that_was_up_before_anybody_looked_does_not_start() {
    let mut state = unit_state("app.service", 500 * S);
    state.inactive_exit_ns = Some(S);
    state.active_enter_ns = Some(2 * S);
    let rows = rows([
        Event::Unit(Box::new(state)),
        send(Sample::new("READY=1").at(600 * S)),
    ]);
    assert_eq!(value(&rows, 1, "startup"), None);
}

#[test]
fn verdicts_are_rows() {
    let rows = rows([send(Sample::new("READY=1").gone())]);
    assert_eq!(rows.verdicts.len(), 1, "{:?}", rows.verdicts);
    assert_eq!(rows.verdicts[0].notification, Some(1));
}

#[test]
fn a_start_is_timed_when_the_manager_answers_late() {
    let mut state = unit_state("app.service", 20 * S);
    state.asked_ns = Some(19 * S);
    state.inactive_exit_ns = Some(400 * MS);
    state.active_enter_ns = Some(S + MS);
    let other = Sample::new("READY=1")
        .id(9)
        .at(18 * S)
        .from("b", 7, "b.service");
    let rows = rows([
        send(Sample::new("READY=1").at(S)),
        send(other),
        Event::Unit(Box::new(state)),
    ]);
    assert_eq!(
        value(&rows, 1, "startup"),
        Some(1_000_100_000 - 400_000_000)
    );
}
