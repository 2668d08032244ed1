use super::*;
use crate::correlate::outcome::{Certainty, Kind, Moment};
use crate::correlate::samples::{S, Sample, process, unit_state};
use crate::event::{Container, Delivery, Loss, Losses, Runtime, Timing};
use crate::top::condition::Condition;

fn send(state: &mut State, sample: Sample) {
    state.event(&Event::Send(Box::new(sample.build())));
}

fn row(state: &State, label: &str) -> Arc<Row> {
    state
        .rows
        .get(label)
        .cloned()
        .unwrap_or_else(|| panic!("no {label} in {:?}", state.rows.keys()))
}

fn queued(id: u64, at_ns: u64) -> Sample {
    let mut sample = Sample::new("READY=1").id(id).at(at_ns);
    sample.0.delivery.state = DeliveryState::Queued;
    sample.0.delivery.reader = None;
    sample.0.timing.dequeued_ns = None;
    sample
}

fn update(id: u64, state: DeliveryState, at_ns: u64) -> Update {
    Update {
        id,
        time: "2026-11-24T12:00:00Z".parse().expect("a time"),
        monotonic_ns: at_ns,
        sender: None,
        receiver: None,
        result: None,
        delivery: Delivery {
            state,
            reader: Some(process("systemd", 1, "init.scope")),
            trimmed_to_bytes: None,
            credentials: None,
            sender_present: Some(true),
            left_in_queue: None,
        },
        timing: Timing {
            queued_ns: Some(S),
            dequeued_ns: Some(at_ns),
            ..Timing::default()
        },
    }
}

fn verdict(number: u64, unit: Option<&str>, about: &[u64]) -> Outcome {
    Outcome::Verdict(Box::new(Verdict {
        number,
        at: Moment::default(),
        kind: Kind::SenderGone,
        certainty: Certainty::Certain,
        subject: Subject {
            unit: unit.map(str::to_owned),
            ..Subject::default()
        },
        about: about.to_vec(),
        what: "it was gone".to_owned(),
        evidence: vec!["nobody".to_owned()],
        rule: None,
        remedy: Some("a barrier"),
    }))
}

#[test]
fn messages_become_rows_by_their_units() {
    let mut state = State::default();
    send(&mut state, Sample::new("READY=1").id(1).at(S));
    send(
        &mut state,
        Sample::new("WATCHDOG=1")
            .id(2)
            .at(2 * S)
            .from("b", 7, "b.service"),
    );
    send(&mut state, Sample::new("STATUS=up").id(3).at(3 * S));
    let app = row(&state, "app.service");
    assert_eq!((app.messages, app.latencies.last()), (2, Some(90_000)));
    assert_eq!(app.condition(3 * S), Condition::Ready);
    assert_eq!(row(&state, "b.service").messages, 1);
    let picture = state.picture(None);
    assert_eq!((picture.rows.len(), picture.totals.notifications), (2, 3));
    assert_eq!(picture.now_ns, 3 * S + 100_000);
}

#[test]
fn a_pending_message_counts_when_it_arrives() {
    let mut state = State::default();
    send(&mut state, queued(1, S));
    let app = row(&state, "app.service");
    assert_eq!((app.pending, app.condition(S)), (1, Condition::Sending));
    state.event(&Event::Update(Box::new(update(
        1,
        DeliveryState::Delivered,
        4 * S,
    ))));
    let app = row(&state, "app.service");
    assert_eq!((app.pending, app.condition(4 * S)), (0, Condition::Ready));
    assert_eq!(app.latencies.last(), Some(3 * S));
    let Some(Entry::Message(message)) = app.last.as_deref() else {
        panic!("no message");
    };
    assert_eq!(
        (message.line().as_str(), message.receiver.as_str()),
        ("READY=1", "systemd[1]")
    );
}

#[test]
fn a_message_that_never_arrives_has_failed() {
    let mut state = State::default();
    send(&mut state, queued(1, S));
    state.event(&Event::Update(Box::new(update(
        1,
        DeliveryState::Destroyed,
        2 * S,
    ))));
    send(
        &mut state,
        Sample::new("READY=1").id(2).failed(111, "ECONNREFUSED"),
    );
    let app = row(&state, "app.service");
    assert_eq!((app.failed, app.pending), (2, 0));
    assert_eq!(state.totals.failed, 2);
    assert_eq!(app.condition(2 * S), Condition::Sending);
}

#[test]
fn an_attempt_that_was_repeated_has_not_failed() {
    let mut state = State::default();
    send(&mut state, Sample::new("READY=1").id(1).failed(1, "EPERM"));
    let mut again = Sample::new("READY=1").id(2);
    again.0.retry_of = Some(1);
    send(&mut state, again);
    assert_eq!(
        (row(&state, "app.service").failed, state.totals.failed),
        (0, 0)
    );
}

#[test]
fn a_sender_that_becomes_known_later_gets_its_message() {
    let mut state = State::default();
    let mut sample = Sample::new("READY=1").id(1).at(S);
    sample.0.sender = None;
    send(&mut state, sample);
    assert_eq!(row(&state, NOBODY).messages, 1);
    let mut later = update(1, DeliveryState::Delivered, 2 * S);
    later.sender = Some(process("late", 9, "late.service"));
    state.event(&Event::Update(Box::new(later)));
    assert!(!state.rows.contains_key(NOBODY));
    let late = row(&state, "late.service");
    assert_eq!((late.messages, late.condition(S)), (1, Condition::Ready));
    assert_eq!(state.totals.pending, 0);
}

#[test]
fn verdicts_go_to_the_unit_that_they_are_about() {
    let mut state = State::default();
    send(&mut state, Sample::new("READY=1").id(1));
    send(
        &mut state,
        Sample::new("READY=1").id(2).from("b", 7, "b.service"),
    );
    state.outcome(&verdict(1, Some("app.service"), &[2]));
    state.outcome(&verdict(2, None, &[2]));
    state.outcome(&verdict(3, Some("unknown.service"), &[]));
    assert_eq!(row(&state, "app.service").verdicts, 1);
    assert_eq!(row(&state, "b.service").verdicts, 1);
    assert_eq!(state.totals.verdicts, 3);
}

#[test]
fn a_unit_that_says_nothing_while_it_is_waited_for_has_a_row() {
    let mut state = State::default();
    let mut facts = unit_state("slow.service", 9 * S);
    facts.active_state = "activating".to_owned();
    facts.sub_state = "start".to_owned();
    facts.inactive_exit_ns = Some(2 * S);
    state.event(&Event::Unit(Box::new(facts)));
    let slow = row(&state, "slow.service");
    assert_eq!(slow.condition(9 * S), Condition::Starting);
    assert_eq!((slow.messages, slow.age_ns(9 * S)), (0, 7 * S));
    state.event(&Event::Unit(Box::new(unit_state("up.service", 9 * S))));
    assert_eq!(state.rows.len(), 1);
}

#[test]
fn facts_that_came_first_are_not_forgotten() {
    let mut state = State::default();
    let mut facts = unit_state("app.service", S);
    facts.watchdog_usec = Some(10_000_000);
    state.event(&Event::Unit(Box::new(facts)));
    for second in [2, 5] {
        send(
            &mut state,
            Sample::new("WATCHDOG=1").id(second).at(second * S),
        );
    }
    let margin = row(&state, "app.service").margin(5 * S).expect("known");
    assert_eq!(margin.left_ns(), 7_000_000_000);
}

#[test]
fn what_a_manager_says_is_not_of_a_container_that_tells_a_proxy() {
    let mut state = State::default();
    let inside = |class: &str, is_monitor: bool| {
        let mut sample = Sample::new("READY=1").to(class, 9, ("conmon", 9));
        let sender = sample.0.sender.as_mut().expect("it has one");
        let is_of = Arc::make_mut(sender.attribution.as_mut().expect("it has one"));
        is_of.container = Some(Container {
            id: "0".to_owned(),
            runtime: Some(Runtime::Podman),
            name: Some("web".to_owned()),
            is_monitor,
            unit: None,
            outer: None,
        });
        sample
    };
    send(&mut state, inside("conmon", false).id(1));
    send(&mut state, inside("systemd", true).id(2));
    let mut facts = unit_state("app.service", 9 * S);
    facts.active_state = "deactivating".to_owned();
    state.event(&Event::Unit(Box::new(facts)));
    let condition = |label| row(&state, label).condition(9 * S);
    assert_eq!(condition("podman:web"), Condition::Ready);
    assert_eq!(condition("podman:web (monitor)"), Condition::Stopping);
}

#[test]
fn units_not_heard_of_for_longest_are_forgotten_and_counted() {
    let mut state = State::default();
    for number in 0..UNITS as u64 + 5 {
        let unit = format!("u{number}.service");
        send(
            &mut state,
            Sample::new("X=1")
                .id(number)
                .at(number * S)
                .from("u", 7, &unit),
        );
    }
    assert_eq!((state.rows.len(), state.totals.forgotten), (UNITS, 5));
    assert!(!state.rows.contains_key("u4.service"));
    assert!(state.rows.contains_key("u5.service"));
}

#[test]
fn losses_are_counted() {
    let mut state = State::default();
    let losses = Losses {
        ring_full: 3,
        ..Losses::default()
    };
    let time = "2026-11-24T12:00:00Z".parse().expect("a time");
    state.event(&Event::Loss(Loss {
        time,
        losses,
        shed_from: Vec::new(),
    }));
    assert_eq!(state.picture(None).totals.losses.in_all(), 3);
}

#[test]
fn a_picture_does_not_change_any_more() {
    let mut state = State::default();
    send(&mut state, Sample::new("READY=1").id(1));
    let picture = state.picture(None);
    send(&mut state, Sample::new("STOPPING=1").id(2));
    assert_eq!(picture.rows[0].messages, 1);
    assert_eq!(row(&state, "app.service").messages, 2);
}
