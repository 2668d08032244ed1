use super::grammar::parse;
use super::heard::Heard;
use super::judge::{Failure, Standing, judge};
use super::tell;
use crate::correlate::Correlator;
use crate::correlate::samples::{MS, S, Sample, unit_state};
use crate::event::Event;

/// What is heard of these, from second 0 on, by somebody who listens to all.
fn heard(events: impl IntoIterator<Item = Event>) -> Heard {
    heard_for("unit=*", events)
}

fn heard_for(text: &str, events: impl IntoIterator<Item = Event>) -> Heard {
    let mut heard = Heard::of(vec![parse(text).expect("valid")]);
    heard.began_ns = Some(0);
    let mut correlator = Correlator::new();
    for event in events {
        heard.event(&event);
        correlator.event(&event, &mut |outcome| {
            heard.outcome(&outcome);
        });
    }
    correlator.finish(&mut |outcome| {
        heard.outcome(&outcome);
    });
    heard
}

fn send(sample: Sample) -> Event {
    Event::Send(Box::new(sample.build()))
}

fn said(payload: &str, id: u64, at_ns: u64) -> Event {
    send(Sample::new(payload).id(id).at(at_ns))
}

fn of(text: &str, heard: &Heard, is_end: bool) -> Standing {
    judge(&parse(text).expect("valid"), heard, is_end)
}

fn is_met(text: &str, heard: &Heard) -> bool {
    matches!(of(text, heard, true), Standing::Met { .. })
}

#[test]
fn what_comes_in_time_is_met_and_what_comes_late_is_not() {
    let heard = heard([said("READY=1\nSTATUS=up and running", 1, 3 * S)]);
    assert!(is_met("unit=app READY=1 within 5s", &heard));
    assert!(is_met("unit=app STATUS='up*'", &heard));
    assert!(!is_met("unit=other READY=1", &heard));
    let Standing::Failed(Failure::Missing { late_ns, .. }) =
        of("unit=app READY=1 within 1s", &heard, true)
    else {
        panic!("it came after 3 s");
    };
    assert_eq!(late_ns, Some(3 * S + 100_000));
}

#[test]
fn what_may_still_come_is_open_until_its_time_is_over() {
    let early = heard([said("STATUS=a", 1, S)]);
    assert_eq!(
        of("unit=app READY=1 within 5s", &early, false),
        Standing::Open {
            until_ns: Some(5 * S)
        }
    );
    let late = heard([said("STATUS=a", 1, 6 * S)]);
    assert!(matches!(
        of("unit=app READY=1 within 5s", &late, false),
        Standing::Failed(_)
    ));
}

#[test]
fn orders_are_kept() {
    let heard = heard([
        said("READY=1", 1, S),
        said("RELOADING=1", 2, 2 * S),
        said("READY=1", 3, 2 * S + 300 * MS),
    ]);
    assert!(is_met(
        "unit=app RELOADING=1 then unit=app READY=1 within 500ms",
        &heard
    ));
    assert!(!is_met(
        "unit=app RELOADING=1 then unit=app READY=1 within 100ms",
        &heard
    ));
    assert!(!is_met("unit=app READY=1 then unit=app STOPPING=1", &heard));
}

#[test]
fn counts_and_what_must_not_come() {
    let heard = heard((0..4).map(|n| said("WATCHDOG=1", n + 1, (n + 1) * S)));
    assert!(is_met("WATCHDOG=1 4 times", &heard));
    assert!(!is_met("WATCHDOG=1 3 times", &heard));
    assert!(is_met("WATCHDOG=1 at least 2 within 2100ms", &heard));
    assert!(is_met("WATCHDOG=1 at most 4", &heard));
    assert!(!is_met("WATCHDOG=1 at most 3", &heard));
    assert!(is_met("never unit=app ERRNO=", &heard));
    assert_eq!(
        of("never WATCHDOG=1", &heard, false),
        Standing::Failed(Failure::Came(1))
    );
}

#[test]
fn what_the_manager_refuses_does_not_count_and_is_explained() {
    let state = unit_state("app.service", 2 * S);
    let refused = send(
        Sample::new("READY=1")
            .at(S)
            .from("helper", 101, "app.service"),
    );
    let heard = heard([refused, Event::Unit(Box::new(state))]);
    let expectation = parse("unit=app READY=1 within 5s").expect("valid");
    let standing = judge(&expectation, &heard, true);
    assert!(matches!(standing, Standing::Failed(_)), "{standing:?}");
    let mut out = Vec::new();
    tell::text(&mut out, &[(&expectation, standing)], &heard).expect("a vector");
    insta::assert_snapshot!("refused", String::from_utf8(out).expect("text"));
}

#[test]
fn nobody_who_spoke_is_told_with_those_who_did() {
    let heard = heard_for("unit=nginx READY=1", [said("READY=1", 1, S)]);
    assert!(heard.messages.is_empty(), "they are of others");
    let expectation = parse("unit=nginx READY=1 within 5s").expect("valid");
    let standing = judge(&expectation, &heard, true);
    let mut out = Vec::new();
    tell::text(&mut out, &[(&expectation, standing)], &heard).expect("a vector");
    let text = String::from_utf8(out).expect("text");
    assert!(
        text.contains("nothing at all was sent by nginx.service"),
        "{text}"
    );
    assert!(
        text.contains("others that sent something: app.service"),
        "{text}"
    );
}

#[test]
fn a_second_refused_message_does_not_count_either() {
    let refused = |payload: &str, id: u64| {
        send(
            Sample::new(payload)
                .id(id)
                .at(id * S)
                .from("helper", 101, "app.service"),
        )
    };
    let heard = heard([
        refused("STATUS=x", 1),
        refused("READY=1", 2),
        Event::Unit(Box::new(unit_state("app.service", 3 * S))),
    ]);
    assert!(
        heard.messages.iter().all(|it| it.refused.is_some()),
        "{heard:?}"
    );
    assert!(!is_met("unit=app READY=1", &heard));
}

#[test]
fn what_was_lost_may_have_been_what_must_not_come() {
    let loss = serde_json::from_str(
        r#"{"type":"loss","time":"2026-11-24T12:00:00Z","losses":{"ring_full":3}}"#,
    );
    let heard = heard([said("READY=1", 1, S), loss.expect("a loss")]);
    assert!(is_met("unit=app READY=1", &heard));
    assert_eq!(
        of("never unit=app ERRNO=", &heard, true),
        Standing::Failed(Failure::Lost)
    );
    assert_eq!(
        of("unit=app READY=1 once", &heard, true),
        Standing::Failed(Failure::Lost)
    );
}

#[test]
fn names_of_a_recording_reach_no_terminal_unescaped() {
    let evil = "\u{1b}[2J\u{202e}evil.service";
    let heard = heard_for(
        "unit=x READY=1",
        [send(Sample::new("READY=1").from("app", 100, evil))],
    );
    let expectation = parse("unit=x READY=1").expect("valid");
    let standing = judge(&expectation, &heard, true);
    let mut out = Vec::new();
    tell::text(&mut out, &[(&expectation, standing)], &heard).expect("a vector");
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("evil.service"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}
