//! The rules, by facts that are made up.

use super::*;
use crate::correlate::samples::{S, Sample, unit_state};

fn key(name: &str) -> UnitKey {
    UnitKey {
        user: None,
        name: name.to_owned(),
    }
}

fn judge(it: &Notification, unit: &str, states: &[UnitState]) -> Answer {
    let states: Vec<&UnitState> = states.iter().collect();
    acceptance(&Told {
        notification: it,
        unit: Some(&key(unit)),
        states: &states,
        waiting: &["app.service"],
        exited_ns: Some(S),
    })
}

fn kind(answer: &Answer) -> Option<Kind> {
    match answer {
        Answer::Refused(found) => Some(found.kind),
        _ => None,
    }
}

#[test]
fn the_main_process_is_heard() {
    let it = Sample::new("READY=1").build();
    let states = [unit_state("app.service", 2 * S)];
    assert_eq!(judge(&it, "app.service", &states), Answer::Accepted);
}

#[test]
fn another_process_is_heard_by_the_rule() {
    let it = Sample::new("READY=1")
        .from("helper", 101, "app.service")
        .build();
    let with = |access: &str| UnitState {
        notify_access: Some(access.to_owned()),
        ..unit_state("app.service", 2 * S)
    };
    let answer = |access| judge(&it, "app.service", &[with(access)]);
    assert_eq!(answer("all"), Answer::Accepted);
    assert_eq!(kind(&answer("main")), Some(Kind::AccessRefused));
    assert_eq!(kind(&answer("exec")), Some(Kind::AccessRefused));
    assert_eq!(kind(&answer("none")), Some(Kind::AccessRefused));
    let control = UnitState {
        control_pid: Some(101),
        ..with("exec")
    };
    assert_eq!(judge(&it, "app.service", &[control]), Answer::Accepted);
}

#[test]
fn who_was_the_main_process_before_was_heard() {
    let it = Sample::new("STOPPING=1").build();
    let before = unit_state("app.service", S);
    let after = UnitState {
        main_pid: Some(150),
        ..unit_state("app.service", 3 * S)
    };
    assert_eq!(
        judge(&it, "app.service", &[before, after]),
        Answer::Accepted
    );
}

#[test]
fn a_main_process_that_was_started_since_says_nothing_of_the_one_before() {
    let it = Sample::new("STOPPING=1")
        .from("app", 90, "app.service")
        .build();
    let restarted = UnitState {
        main_start_ns: Some(2 * S),
        ..unit_state("app.service", 3 * S)
    };
    assert_eq!(judge(&it, "app.service", &[restarted]), Answer::Unknown);
}

#[test]
fn without_facts_nothing_is_concluded() {
    let it = Sample::new("READY=1").build();
    assert_eq!(judge(&it, "app.service", &[]), Answer::Unknown);
    let gone = UnitState {
        main_pid: None,
        ..unit_state("app.service", 3 * S)
    };
    assert_eq!(judge(&it, "app.service", &[gone]), Answer::Unknown);
}

#[test]
fn a_sender_that_is_gone_has_no_unit() {
    let it = Sample::new("READY=1")
        .from("helper", 101, "app.service")
        .gone()
        .build();
    let Answer::Refused(found) = judge(&it, "app.service", &[]) else {
        panic!("it is dropped");
    };
    assert_eq!(found.kind, Kind::SenderGone);
    assert_eq!(found.certainty, Certainty::Certain);
    assert!(found.what.contains("it was of app.service"));
    assert_eq!(found.evidence.len(), 1);
}

#[test]
fn a_sender_that_goes_right_after_the_dequeue_is_found_out_by_what_the_manager_says_since() {
    let it = Sample::new("READY=1")
        .from("helper", 101, "app.service")
        .build();
    let up = UnitState {
        notify_access: Some("all".to_owned()),
        ..unit_state("app.service", 3 * S)
    };
    let starting = UnitState {
        active_state: "activating".to_owned(),
        sub_state: "start".to_owned(),
        asked_ns: Some(2 * S),
        inactive_exit_ns: Some(S / 2),
        main_start_ns: Some(S / 2),
        ..up.clone()
    };
    let refused = UnitState {
        notify_access: Some("main".to_owned()),
        ..starting.clone()
    };
    let exited_ns = Some(S + S / 2);
    let judge = |state: &UnitState, exited_ns: Option<u64>| {
        acceptance(&Told {
            notification: &it,
            unit: Some(&key("app.service")),
            states: &[state],
            waiting: &[],
            exited_ns,
        })
    };
    let Answer::Refused(found) = judge(&starting, exited_ns) else {
        panic!("the unit would be up");
    };
    assert_eq!(found.kind, Kind::SenderGone);
    assert_eq!(found.certainty, Certainty::Inferred);
    assert_eq!(found.evidence.len(), 2);
    assert_eq!(judge(&up, exited_ns), Answer::Accepted);
    assert_eq!(judge(&starting, None), Answer::Accepted);
    let was_there = Some(2 * S + 1);
    assert_eq!(judge(&starting, was_there), Answer::Accepted);
    // That nobody listens to it is reason enough.
    let answer = judge(&refused, exited_ns);
    assert_eq!(kind(&answer), Some(Kind::AccessRefused));
}

#[test]
fn a_containers_scope_takes_nothing() {
    let it = Sample::new("READY=1")
        .from("payload", 101, "docker-1.scope")
        .build();
    let Answer::Refused(found) = judge(&it, "docker-1.scope", &[]) else {
        panic!("nobody acts on it");
    };
    assert_eq!(found.kind, Kind::NotFromAService);
    assert!(found.evidence[0].contains("app.service"));
}

#[test]
fn an_exit_that_nobody_asked_for_is_an_accident() {
    let it = Sample::new("EXIT_STATUS=0")
        .from("systemctl", 101, "app.service")
        .build();
    let answer = judge(&it, "app.service", &[unit_state("app.service", 2 * S)]);
    assert_eq!(kind(&answer), Some(Kind::AccidentalSender));
}

#[test]
fn a_unit_that_keeps_no_descriptors() {
    let mut sample = Sample::new("FDSTORE=1");
    sample.0.fds = Some(1);
    let it = sample.build();
    let state = unit_state("app.service", 2 * S);
    let full = UnitState {
        fd_store_max: Some(2),
        fd_store_count: Some(2),
        ..state.clone()
    };
    let with = |states: &[&UnitState]| {
        fd_store(&Told {
            notification: &it,
            unit: Some(&key("app.service")),
            states,
            waiting: &[],
            exited_ns: None,
        })
    };
    assert_eq!(
        with(&[&state]).map(|it| it.certainty),
        Some(Certainty::Certain)
    );
    assert_eq!(with(&[&full]), None);
    assert_eq!(
        with(&[&full, &full]).map(|it| it.certainty),
        Some(Certainty::Inferred)
    );
}

#[test]
fn credentials_of_another_unit() {
    let it = Sample::new("READY=1")
        .from("helper", 101, "other.service")
        .claiming(100)
        .build();
    let (own, other) = (key("other.service"), key("app.service"));
    assert!(on_behalf(&it, Some(&own), Some(&other)).is_some());
    assert!(on_behalf(&it, Some(&other), Some(&other)).is_none());
}
