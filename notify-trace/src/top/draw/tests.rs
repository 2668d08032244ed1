use super::*;
use crate::correlate::outcome::{Certainty, Kind, Moment, Outcome, Subject, Verdict};
use crate::correlate::samples::{S, Sample, unit_state};
use crate::escape::is_dangerous;
use crate::event::{DeliveryState, Event, Loss, Losses, Plan, PlanName, Session};
use crate::top::keys::Action;
use crate::top::state::State;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn session() -> Event {
    Event::Session(Box::new(Session {
        format_version: 1,
        tool_version: "0".to_owned(),
        command_line: Vec::new(),
        time: "2026-11-24T12:00:00Z".parse().expect("a time"),
        monotonic_ns: 0,
        host: "web-3".to_owned(),
        kernel: "6.12.43".to_owned(),
        machine: "x86_64".to_owned(),
        boot_id: None,
        boottime_ahead_ns: None,
        cpus: 1,
        ring_bytes: 4096,
        plan: Plan {
            name: PlanName::Full,
            reason: "kprobes and trampolines work".to_owned(),
            limits: Vec::new(),
            programs: Default::default(),
        },
        rules: Vec::new(),
        view: Vec::new(),
        warnings: vec!["a warning".to_owned()],
    }))
}

fn state() -> State {
    let mut state = State::default();
    state.event(&session());
    let mut id = 0;
    let mut send = |state: &mut State, mut sample: Sample| {
        id += 1;
        sample.0.id = id;
        state.event(&Event::Send(Box::new(sample.build())));
    };
    let mut facts = unit_state("api.service", S);
    facts.watchdog_usec = Some(10_000_000);
    state.event(&Event::Unit(Box::new(facts)));
    send(
        &mut state,
        Sample::new("READY=1\nSTATUS=listening")
            .at(2 * S)
            .from("api", 11, "api.service"),
    );
    for at_s in [9, 18, 22] {
        let ping = Sample::new("WATCHDOG=1").at(at_s * S);
        send(&mut state, ping.from("api", 11, "api.service"));
    }
    send(
        &mut state,
        Sample::new("STATUS=\x1b[2J\u{202e}evil, 世界 🎉")
            .at(20 * S)
            .from(
                "shim",
                12,
                "a-unit-with-a-rather-long-name@instance.service",
            ),
    );
    send(
        &mut state,
        Sample::new("STATUS=still here")
            .at(21 * S)
            .from("legacy", 13, "legacy.service")
            .failed(111, "ECONNREFUSED"),
    );
    let mut queued = Sample::new(&format!("STATUS={}", "word ".repeat(200)))
        .at(23 * S)
        .from("slow", 14, "slow.service");
    queued.0.delivery.state = DeliveryState::Queued;
    queued.0.delivery.reader = None;
    queued.0.timing.dequeued_ns = None;
    send(&mut state, queued);
    state.outcome(&Outcome::Verdict(Box::new(Verdict {
        number: 1,
        at: Moment::new("2026-11-24T12:00:18Z".parse().expect("a time"), 18 * S),
        kind: Kind::WatchdogThin,
        certainty: Certainty::Certain,
        subject: Subject {
            unit: Some("api.service".to_owned()),
            ..Subject::default()
        },
        about: vec![3],
        what: "a ping came only 1.0 s before the watchdog's end".to_owned(),
        evidence: vec!["9.0 s of 10.0 s".to_owned()],
        rule: Some("WatchdogSec="),
        remedy: Some("ping at half of it"),
    })));
    state
}

fn frame() -> Frame {
    Frame {
        zone: TimeZone::UTC,
        theme: Theme { is_coloured: true },
        is_live: false,
    }
}

fn drawn(look: &mut Look, picture: &Arc<Picture>, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("no terminal");
    terminal
        .draw(|it| draw(it.buffer_mut(), look, picture, &frame()))
        .expect("no terminal");
    let text = terminal.backend().to_string();
    let lines = text.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

#[test]
fn the_table() {
    let picture = Arc::new(state().picture(None));
    for size in SIZES {
        let text = drawn(&mut Look::default(), &picture, size);
        insta::assert_snapshot!(format!("table_{}", size.0), text);
    }
}

#[test]
fn the_history_of_a_unit() {
    let picture = Arc::new(state().picture(None));
    for size in SIZES {
        let mut look = Look::default();
        look.apply(Action::Open, &picture);
        let text = drawn(&mut look, &picture, size);
        insta::assert_snapshot!(format!("history_{}", size.0), text);
    }
}

#[test]
fn the_help() {
    let picture = Arc::new(state().picture(None));
    for size in SIZES {
        let mut look = Look::default();
        look.apply(Action::Help, &picture);
        let text = drawn(&mut look, &picture, size);
        insta::assert_snapshot!(format!("help_{}", size.0), text);
    }
}

#[test]
fn the_filter_stands_at_the_bottom_while_it_is_typed() {
    let picture = Arc::new(state().picture(None));
    let mut look = Look::default();
    look.apply(Action::Filter, &picture);
    for character in "legacy".chars() {
        look.apply(Action::Type(character), &picture);
    }
    let text = drawn(&mut look, &picture, SIZES[0]);
    assert!(
        text.lines()
            .last()
            .is_some_and(|line| line.contains("/legacy")),
        "{text}"
    );
    assert!(text.contains("1 of 4 units"), "{text}");
    assert!(!text.contains("api.service"), "{text}");
}

#[test]
fn a_loss_cannot_be_overlooked() {
    let mut state = state();
    let losses = Losses {
        ring_full: 12,
        ..Losses::default()
    };
    let time = "2026-11-24T12:00:00Z".parse().expect("a time");
    state.event(&Event::Loss(Loss {
        time,
        losses,
        shed_from: Vec::new(),
    }));
    let picture = Arc::new(state.picture(None));
    for size in SIZES {
        let text = drawn(&mut Look::default(), &picture, size);
        assert!(text.contains("12 LOST"), "{text}");
        assert!(
            text.contains("lost: 12 records for want of room in a ring"),
            "{text}"
        );
    }
}

#[test]
fn a_held_picture_says_so() {
    let picture = Arc::new(state().picture(None));
    let mut look = Look::default();
    look.apply(Action::Pause, &picture);
    let later = Arc::new(state().picture(Some(900 * S)));
    let text = drawn(&mut look, &later, SIZES[0]);
    assert!(text.contains("PAUSED") && text.contains("go on"), "{text}");
    assert!(!text.contains("15"), "{text}");
}

#[test]
fn every_size_can_be_drawn_in_every_mode() {
    let picture = Arc::new(state().picture(None));
    for width in (1..130).chain([200, 500]) {
        for height in [1, 2, 3, 7, 8, 9, 15, 16, 24, 29, 30, 31, 60] {
            for actions in [
                &[][..],
                &[Action::Open, Action::Last],
                &[Action::Help],
                &[Action::Last, Action::Filter],
            ] {
                let mut look = Look::default();
                for action in actions {
                    look.apply(*action, &picture);
                }
                drawn(&mut look, &picture, (width, height));
            }
        }
    }
}

#[test]
fn nothing_that_a_sender_chose_acts_on_the_terminal() {
    let hostile = "READY=1\nSTATUS=\x1b]52;c;aGk=\x07\x1b[2J\u{9b}31m\u{202e}\u{200b}\u{feff}\r\x08\0x\n\u{1b}c=\x1b[?1049l\n\u{2028}";
    let mut state = State::default();
    let mut event = session();
    if let Event::Session(session) = &mut event {
        session.host = hostile.to_owned();
        session.plan.reason = hostile.to_owned();
        session.warnings = vec![hostile.to_owned()];
    }
    state.event(&event);
    let unit = format!("x{hostile}.service");
    for id in 0..3 {
        let sample = Sample::new(hostile).id(id).from(hostile, 7, &unit);
        state.event(&Event::Send(Box::new(sample.build())));
    }
    let mut facts = unit_state(&unit, 9 * S);
    facts.active_state = hostile.to_owned();
    facts.result = Some(hostile.to_owned());
    state.event(&Event::Unit(Box::new(facts)));
    state.outcome(&Outcome::Verdict(Box::new(Verdict {
        number: 1,
        at: Moment::default(),
        kind: Kind::SenderGone,
        certainty: Certainty::Inferred,
        subject: Subject {
            unit: Some(unit),
            ..Subject::default()
        },
        about: Vec::new(),
        what: hostile.to_owned(),
        evidence: vec![hostile.to_owned()],
        rule: None,
        remedy: None,
    })));
    let picture = Arc::new(state.picture(None));
    for actions in [
        &[][..],
        &[Action::Open],
        &[Action::Help],
        &[Action::Filter, Action::Type('\u{202e}')],
    ] {
        let mut look = Look::default();
        for action in actions {
            look.apply(*action, &picture);
        }
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("no terminal");
        terminal
            .draw(|it| draw(it.buffer_mut(), &mut look, &picture, &frame()))
            .expect("no terminal");
        for cell in terminal.backend().buffer().content() {
            let symbol = cell.symbol();
            assert!(!symbol.chars().any(is_dangerous), "{symbol:?} {actions:?}");
        }
    }
}

#[test]
fn without_colours_the_selection_is_reversed_and_nothing_is_coloured() {
    let picture = Arc::new(state().picture(None));
    let plain = Frame {
        theme: Theme { is_coloured: false },
        ..frame()
    };
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("no terminal");
    terminal
        .draw(|it| draw(it.buffer_mut(), &mut Look::default(), &picture, &plain))
        .expect("no terminal");
    let reset = ratatui::style::Color::Reset;
    for cell in terminal.backend().buffer().content() {
        assert_eq!((cell.fg, cell.bg), (reset, reset));
    }
}
