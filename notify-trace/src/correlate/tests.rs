//! Events in, outcomes out.

use std::collections::BTreeSet;

use super::outcome::{Certainty, PhaseName};
use super::samples::{MS, S, Sample, unit_state};
use super::*;
use crate::event::Exit;

fn outcomes(events: impl IntoIterator<Item = Event>) -> Vec<Outcome> {
    let mut correlator = Correlator::new();
    let mut all = Vec::new();
    for event in events {
        correlator.event(&event, &mut |it| all.push(it));
    }
    correlator.finish(&mut |it| all.push(it));
    all
}

fn send(sample: Sample) -> Event {
    Event::Send(Box::new(sample.build()))
}

fn unit(state: UnitState) -> Event {
    Event::Unit(Box::new(state))
}

fn verdicts(all: &[Outcome]) -> Vec<(Kind, Certainty)> {
    all.iter()
        .filter_map(|it| match it {
            Outcome::Verdict(verdict) => Some((verdict.kind, verdict.certainty)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_healthy_start_is_a_phase_and_no_verdict() {
    let state = UnitState {
        inactive_exit_ns: Some(S / 2),
        active_enter_ns: Some(S + MS),
        ..unit_state("app.service", 2 * S)
    };
    let all = outcomes([send(Sample::new("READY=1\nSTATUS=up")), unit(state)]);
    assert_eq!(verdicts(&all), []);
    let Outcome::Phase(start) = &all[0] else {
        panic!("{all:?}");
    };
    assert_eq!(start.phase, PhaseName::Start);
    assert_eq!(start.took_ns, Some(S / 2 + 100_000));
}

#[test]
fn what_is_refused_waits_for_the_managers_word() {
    let refused = send(Sample::new("READY=1").from("helper", 101, "app.service"));
    // Without a word from the manager nothing is concluded.
    assert_eq!(verdicts(&outcomes([refused.clone()])), []);
    let before = unit(unit_state("app.service", S / 2));
    let after = unit(unit_state("app.service", 2 * S));
    let expected = [(Kind::AccessRefused, Certainty::Inferred)];
    assert_eq!(
        verdicts(&outcomes([before.clone(), refused.clone(), after])),
        expected
    );
    // It may have become the main process meanwhile.
    let main = unit(UnitState {
        main_pid: Some(101),
        ..unit_state("app.service", 2 * S)
    });
    assert_eq!(verdicts(&outcomes([before, refused, main])), []);
}

#[test]
fn a_refused_ready_is_the_reason_for_a_start_that_fails() {
    let starting = UnitState {
        active_state: "failed".to_owned(),
        sub_state: "failed".to_owned(),
        result: Some("timeout".to_owned()),
        inactive_exit_ns: Some(S / 2),
        ..unit_state("app.service", 5 * S)
    };
    let all = outcomes([
        send(
            Sample::new("READY=1")
                .from("helper", 101, "app.service")
                .id(7),
        ),
        unit(unit_state("app.service", 2 * S)),
        unit(starting),
    ]);
    assert_eq!(
        verdicts(&all),
        [
            (Kind::AccessRefused, Certainty::Inferred),
            (Kind::NeverReady, Certainty::Certain),
        ]
    );
    let Some(Outcome::Verdict(last)) = all
        .iter()
        .rev()
        .find(|it| matches!(it, Outcome::Verdict(_)))
    else {
        panic!("{all:?}");
    };
    assert!(last.evidence[0].contains("#7"), "{:?}", last.evidence);
}

#[test]
fn a_start_that_goes_on_has_not_taken_any_time() {
    let state = |at_ns: u64, active: &str, sub: &str| {
        unit(UnitState {
            active_state: active.to_owned(),
            sub_state: sub.to_owned(),
            notify_access: Some("all".to_owned()),
            inactive_exit_ns: Some(S / 2),
            main_start_ns: Some(S / 2),
            asked_ns: Some(at_ns - MS),
            ..unit_state("app.service", at_ns)
        })
    };
    let helper = |id: u64, at_ns: u64| {
        send(
            Sample::new("READY=1")
                .id(id)
                .at(at_ns)
                .from("helper", 101, "app.service"),
        )
    };
    let exit = Event::Exit(Exit {
        time: "2026-11-24T12:00:00Z".parse().expect("a time"),
        monotonic_ns: S + MS,
        pid: 101,
        start_boottime_ns: Some(101),
    });
    let all = outcomes([
        state(S - MS, "activating", "start"),
        helper(1, S),
        exit,
        // Late, as a manager answers who is busy.
        state(S + 1_600 * MS, "activating", "start"),
        // Nobody saw this one exit.
        helper(2, 3 * S),
        state(3 * S + 10 * MS, "activating", "start"),
        send(Sample::new("READY=1").id(3).at(4 * S)),
        state(4 * S + 10 * MS, "active", "running"),
    ]);
    assert_eq!(verdicts(&all), [(Kind::SenderGone, Certainty::Inferred)]);
    let starts: Vec<_> = all
        .iter()
        .filter_map(|it| match it {
            Outcome::Phase(phase) => Some((phase.about.clone(), phase.took_ns)),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [(vec![3], Some(3 * S + S / 2 + 100_000))]);
}

#[test]
fn a_second_try_without_credentials_is_no_loss() {
    let first = Sample::new("READY=1").claiming(50).failed(1, "EPERM").id(1);
    let mut second = Sample::new("READY=1").id(2).at(S + MS);
    second.0.retry_of = Some(1);
    assert_eq!(verdicts(&outcomes([send(first.clone()), send(second)])), []);
    assert_eq!(
        verdicts(&outcomes([send(first)])),
        [(Kind::SendFailed, Certainty::Certain)]
    );
}

#[test]
fn the_same_again_is_counted() {
    let lost = |id: u64| {
        send(
            Sample::new("STATUS=x")
                .id(id)
                .at(id * S)
                .from("helper", 101, "app.service")
                .gone(),
        )
    };
    let all = outcomes((1..=5).map(lost));
    assert_eq!(verdicts(&all), [(Kind::SenderGone, Certainty::Certain)]);
    let repeats: Vec<_> = all
        .iter()
        .filter_map(|it| match it {
            Outcome::Repeats(repeats) => Some((repeats.verdict, repeats.times)),
            _ => None,
        })
        .collect();
    assert_eq!(repeats, [(1, 4)]);
}

#[test]
fn a_reload_and_a_stop_are_phases() {
    let notify_reload = UnitState {
        service_type: Some("notify-reload".to_owned()),
        ..unit_state("app.service", S / 2)
    };
    let exit = Exit {
        time: "2026-11-24T12:00:00Z".parse().expect("a time"),
        monotonic_ns: 120 * S,
        pid: 100,
        start_boottime_ns: Some(100),
    };
    let all = outcomes([
        unit(notify_reload),
        send(Sample::new("READY=1").id(1)),
        send(
            Sample::new("RELOADING=1\nMONOTONIC_USEC=99999000")
                .id(2)
                .at(100 * S),
        ),
        send(Sample::new("READY=1").id(3).at(101 * S)),
        send(Sample::new("STOPPING=1").id(4).at(119 * S)),
        Event::Exit(exit),
    ]);
    assert_eq!(verdicts(&all), []);
    let phases: Vec<_> = all
        .iter()
        .filter_map(|it| match it {
            Outcome::Phase(phase) => Some((phase.phase, phase.took_ns)),
            _ => None,
        })
        .collect();
    assert_eq!(
        phases,
        [
            (PhaseName::Start, None),
            (PhaseName::Reload, Some(S)),
            (PhaseName::Stop, Some(S - 100_000)),
        ]
    );
}

#[test]
fn a_watchdog_that_is_silent_is_told_once() {
    let state = |at_ns: u64| {
        unit(UnitState {
            watchdog_usec: Some(2_000_000),
            ..unit_state("app.service", at_ns)
        })
    };
    let ping = |id: u64, at_ns: u64| send(Sample::new("WATCHDOG=1").id(id).at(at_ns));
    let healthy = [
        send(Sample::new("READY=1")),
        state(S + MS),
        ping(2, 2 * S),
        ping(3, 3 * S),
        state(3 * S + MS),
    ];
    assert_eq!(verdicts(&outcomes(healthy.clone())), []);
    let mut late: Vec<Event> = healthy.into();
    late.push(state(9 * S));
    late.push(state(10 * S));
    assert_eq!(
        verdicts(&outcomes(late)),
        [(Kind::WatchdogLate, Certainty::Inferred)]
    );
}

#[test]
fn moments_move_on_both_clocks() {
    let moment = Moment {
        time: "2026-11-24T12:00:00Z".parse().expect("a time"),
        monotonic_ns: 10 * S,
    };
    let expect = |to_ns: u64, time: &str| {
        let moved = moment.moved_to(to_ns);
        assert_eq!(moved.time, time.parse().expect("a time"));
        assert_eq!(moved.monotonic_ns, to_ns);
    };
    expect(12 * S, "2026-11-24T12:00:02Z");
    expect(9 * S, "2026-11-24T11:59:59Z");
}

#[test]
fn a_units_name_is_what_systemctl_takes() {
    const NAME: &str = r"web@dev-a\x2db.service";
    let all = outcomes([
        unit(unit_state(NAME, S / 2)),
        send(Sample::new("READY=1").from("helper", 101, NAME)),
        unit(unit_state(NAME, 2 * S)),
    ]);
    let [Outcome::Verdict(refused)] = &all[..] else {
        panic!("{all:?}");
    };
    assert!(
        refused.what.contains(&format!(" {NAME} ")),
        "{}",
        refused.what
    );
}

#[test]
fn no_unit_of_a_forged_recording_reaches_a_terminal_as_it_is() {
    const HOSTILE: &str = "\x1b[2J\nok  \u{202e}.service";
    let state = |service_type: &str, at_ns: u64| UnitState {
        service_type: Some(service_type.to_owned()),
        watchdog_usec: Some(2_000_000),
        ..unit_state(HOSTILE, at_ns)
    };
    let failed = UnitState {
        active_state: "failed".to_owned(),
        sub_state: "failed".to_owned(),
        result: Some("timeout".to_owned()),
        inactive_exit_ns: Some(S / 2),
        ..unit_state(HOSTILE, 30 * S)
    };
    let sent = |payload: &str, pid: u32, id: u64, at_ns: u64| {
        Sample::new(payload)
            .from("a", pid, HOSTILE)
            .id(id)
            .at(at_ns)
    };
    let mut with_fd = sent("FDSTORE=1", 100, 5, 5 * S);
    with_fd.0.fds = Some(1);
    let mut all = outcomes([
        unit(state("notify", S / 2)),
        send(sent("READY=1", 101, 1, S)),
        send(sent("STATUS=", 102, 2, S).gone()),
        unit(state("notify", 2 * S)),
        send(sent("READY=1", 100, 3, 3 * S)),
        send(sent("WATCHDOG=trigger", 100, 4, 4 * S)),
        send(with_fd),
        unit(state("notify-reload", 6 * S)),
        send(sent("RELOADING=1", 100, 6, 7 * S)),
        send(sent("RELOADING=1\nMONOTONIC_USEC=1", 100, 7, 8 * S)),
        send(sent("MAINPID=7", 100, 8, 9 * S)),
        unit(state("notify-reload", 10 * S)),
        send(sent("READY=1", 100, 9, 11 * S)),
        send(sent("WATCHDOG=1", 100, 10, 12 * S)),
        send(sent("WATCHDOG=1", 100, 11, 20 * S)),
        unit(state("notify", 29 * S)),
    ]);
    all.extend(outcomes([
        send(sent("READY=1", 101, 1, S)),
        unit(state("notify", 2 * S)),
        unit(failed),
    ]));
    let kinds: BTreeSet<Kind> = verdicts(&all).into_iter().map(|it| it.0).collect();
    for kind in [
        Kind::AccessRefused,
        Kind::SenderGone,
        Kind::WatchdogTriggered,
        Kind::FdStoreRefused,
        Kind::ReloadWithoutTimestamp,
        Kind::ReloadTimestampOld,
        Kind::MainPidRefused,
        Kind::WatchdogLate,
        Kind::NeverReady,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} of {kinds:?}");
    }
    for outcome in &all {
        let Outcome::Verdict(it) = outcome else {
            continue;
        };
        for text in it.evidence.iter().chain([&it.what]) {
            assert!(
                !text.contains(['\x1b', '\n', '\u{202e}']),
                "{:?}: {text:?}",
                it.kind
            );
        }
    }
}
