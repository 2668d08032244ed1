//! Starts, reloads and stops of units as spans.
//!
//! The trace is the unit's invocation: its id is 128 bits long, as a trace's, so that all tools agree
//! without asking each other. Where the manager did not say which invocation it is, the trace is one of
//! its own.

use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use sha2::{Digest as _, Sha256};

use super::log::{of_subject, unix_ns};
use super::value::Attributes;
use crate::correlate::outcome::{Measure, MeasureName, Subject};
use crate::correlate::subject_of;
use crate::event::{Event, Notification, Session, UnitState};
use crate::names::Recent;
use crate::unit::UnitKey;

/// Most notifications that a span may come of, later.
const OPEN: usize = 8_192;

/// Most units whose invocations are remembered, and how many of each.
const UNITS: usize = 8_192;
const INVOCATIONS: usize = 4;

/// A notification that may end, or begin, a phase.
#[derive(Clone, Debug)]
struct Said {
    unit: UnitKey,
    subject: Subject,
    time: Timestamp,
    monotonic_ns: u64,
    dequeued_ns: Option<u64>,
}

/// What is remembered for spans.
#[derive(Debug)]
pub(super) struct Spans {
    /// Which session this is, for ids.
    seed: String,
    said: Recent<u64, Said>,
    /// When an invocation began, and its id.
    invocations: Recent<UnitKey, Vec<(u64, [u8; 16])>>,
}

impl Spans {
    pub(super) fn new(session: &Session) -> Self {
        let boot = session.boot_id.as_deref().unwrap_or(&session.host);
        Self {
            seed: format!("{boot} {}", session.monotonic_ns),
            said: Recent::new(OPEN),
            invocations: Recent::new(UNITS),
        }
    }

    /// Remembers what an event says.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Send(it) => {
                if let Some(said) = said(it) {
                    self.said.insert(it.id, said);
                }
            }
            Event::Update(it) => {
                if let Some(said) = self.said.get_mut(&it.id) {
                    said.dequeued_ns = it.timing.dequeued_ns.or(said.dequeued_ns);
                }
            }
            Event::Unit(state) => self.learn(state),
            _ => {}
        }
    }

    fn learn(&mut self, state: &UnitState) {
        let id = state.invocation_id.as_deref().and_then(invocation);
        let (Some(began_ns), Some(id)) = (state.inactive_exit_ns, id) else {
            return;
        };
        let unit = UnitKey::of_state(state);
        let mut known = self.invocations.get(&unit).cloned().unwrap_or_default();
        if known.contains(&(began_ns, id)) {
            return;
        }
        known.push((began_ns, id));
        if known.len() > INVOCATIONS {
            known.remove(0);
        }
        self.invocations.insert(unit, known);
    }

    /// The span of a time that was concluded, if it is one's.
    pub(super) fn measured(&mut self, measure: &Measure) -> Option<Span> {
        let name = match measure.name {
            MeasureName::Startup => "start",
            MeasureName::Reload => "reload",
            MeasureName::Stop => "stop",
            _ => return None,
        };
        let took_ns = u64::try_from(measure.value_ns).ok()?;
        let said = self.said.get(&measure.notification)?.clone();
        let dequeued_ns = said.dequeued_ns?;
        // A stop begins with what was said, all else ends with it.
        let (began_ns, ended_ns) = if measure.name == MeasureName::Stop {
            (dequeued_ns, dequeued_ns.saturating_add(took_ns))
        } else {
            (dequeued_ns.saturating_sub(took_ns), dequeued_ns)
        };
        let at = |at_ns: u64| {
            let by_ns = at_ns.wrapping_sub(said.monotonic_ns).cast_signed();
            let time = said.time.checked_add(SignedDuration::from_nanos(by_ns));
            unix_ns(time.unwrap_or(said.time))
        };
        let known = self.invocations.get(&said.unit);
        let invocation = known.and_then(|known| of_moment(known, measure.name, began_ns));
        let mut all = Attributes::default();
        all.number("notify.id", measure.notification);
        of_subject(&mut all, &said.subject);
        let trace_id = match invocation {
            Some(id) => {
                let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                all.text("systemd.invocation_id", hex);
                id.to_vec()
            }
            None => self.id(&["trace", name, &measure.notification.to_string()], 16),
        };
        let span_id = self.id(&["span", name, &measure.notification.to_string()], 8);
        Some(Span {
            trace_id,
            span_id,
            name: format!("{name} {}", said.unit.name),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: at(began_ns),
            end_time_unix_nano: at(ended_ns),
            attributes: all.0,
            ..Span::default()
        })
    }

    /// The same for the same thing, whoever asks and how often.
    fn id(&self, parts: &[&str], bytes: usize) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(&self.seed);
        for part in parts {
            hash.update([0]);
            hash.update(part);
        }
        let mut id = hash.finalize()[..bytes].to_vec();
        // All zeros would be no id.
        id[0] |= 1;
        id
    }
}

/// The invocation that was going on then.
fn of_moment(known: &[(u64, [u8; 16])], name: MeasureName, began_ns: u64) -> Option<[u8; 16]> {
    let found = if name == MeasureName::Startup {
        // A start began when its invocation did: any other is not it.
        known.iter().find(|(at_ns, _)| *at_ns == began_ns)
    } else {
        let before = known.iter().filter(|(at_ns, _)| *at_ns <= began_ns);
        before.max_by_key(|(at_ns, _)| *at_ns)
    };
    found.map(|(_, id)| *id)
}

fn said(it: &Notification) -> Option<Said> {
    const PHASES: [&[u8]; 2] = [b"READY", b"STOPPING"];
    let mut keys = it.lines.iter().filter_map(|line| line.key());
    if !keys.any(|key| PHASES.contains(&&*key.0)) {
        return None;
    }
    let sender = it.sender.as_ref()?;
    Some(Said {
        unit: UnitKey::of_sender(Some(sender), &it.class)?,
        subject: subject_of(sender, &it.class),
        time: it.time,
        monotonic_ns: it.monotonic_ns,
        dequeued_ns: it.timing.dequeued_ns,
    })
}

/// 32 hexadecimal digits.
fn invocation(text: &str) -> Option<[u8; 16]> {
    let number = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())??;
    (number != 0).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, session, unit_state};

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn spans() -> Spans {
        let Event::Session(session) = session() else {
            panic!("a session")
        };
        Spans::new(&session)
    }

    fn measure(name: MeasureName, value_ns: u64) -> Measure {
        Measure {
            notification: 1,
            name,
            value_ns: value_ns.cast_signed(),
            told: None,
        }
    }

    #[test]
    fn a_start_is_a_span_of_its_invocation() {
        let mut spans = spans();
        let it = Sample::new("READY=1").id(1).at(10 * S).build();
        let dequeued_ns = it.timing.dequeued_ns.expect("it was delivered");
        let mut state = unit_state("app.service", 10 * S);
        state.inactive_exit_ns = Some(7 * S);
        state.invocation_id = Some(ID.to_owned());
        spans.event(&Event::Send(Box::new(it.clone())));
        spans.event(&Event::Unit(Box::new(state)));
        let took_ns = dequeued_ns - 7 * S;
        let span = spans
            .measured(&measure(MeasureName::Startup, took_ns))
            .expect("a span");
        assert_eq!(span.name, "start app.service");
        assert_eq!(span.trace_id[..2], [0x01, 0x23]);
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, took_ns);
        let sent_ns = unix_ns(it.time);
        assert_eq!(
            span.end_time_unix_nano - sent_ns,
            dequeued_ns - it.monotonic_ns
        );
        // Asked again it is the same.
        let again = spans.measured(&measure(MeasureName::Startup, took_ns));
        assert_eq!(again.expect("a span").span_id, span.span_id);
    }

    #[test]
    fn an_invocation_of_another_moment_is_not_taken_for_this_one() {
        let mut spans = spans();
        let it = Sample::new("READY=1").id(1).at(10 * S).build();
        let dequeued_ns = it.timing.dequeued_ns.expect("it was delivered");
        let mut state = unit_state("app.service", 20 * S);
        state.inactive_exit_ns = Some(15 * S);
        state.invocation_id = Some(ID.to_owned());
        spans.event(&Event::Send(Box::new(it)));
        spans.event(&Event::Unit(Box::new(state)));
        for name in [MeasureName::Startup, MeasureName::Reload] {
            let span = spans.measured(&measure(name, dequeued_ns - 7 * S));
            let span = span.expect("a span");
            assert_ne!(span.trace_id[..2], [0x01, 0x23], "{name:?}");
            assert!(
                span.attributes
                    .iter()
                    .all(|it| it.key != "systemd.invocation_id")
            );
        }
        assert!(spans.measured(&measure(MeasureName::Hop, 1)).is_none());
    }
}
