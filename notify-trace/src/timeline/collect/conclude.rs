//! What follows of a session's events: verdicts, hops, phases.

use super::order::may_stand_below;
use super::session::Open;
use crate::correlate::outcome::{Kind, Outcome, Phase, PhaseName, Relay, Repeats, Verdict};
use crate::sink::text::outcome as texts;
use crate::timeline::facts::Facts;
use crate::timeline::model::{Fact, Hop, MarkState, Span, SpanEnd, SpanKind, VerdictRow};
use crate::timeline::start::{Found, since_process};
use crate::timeline::words::{is_loss, lane_of_subject};
use crate::words;

impl Open {
    pub(super) fn outcome(&mut self, outcome: &Outcome, facts: &mut Facts) {
        match outcome {
            Outcome::Verdict(verdict) => self.verdict(verdict),
            Outcome::Relay(relay) => self.relay(relay, facts),
            Outcome::Phase(phase) => self.phase(phase),
            Outcome::Repeats(repeats) => self.repeats(*repeats),
            Outcome::Again(again) => self.mark(again.verdict, again.kind, &again.about),
            Outcome::Measure(_) => {}
        }
    }

    fn verdict(&mut self, it: &Verdict) {
        let home = it.about.iter().rev().find_map(|id| self.homes.get(id));
        let lane = match home {
            Some(home) => *home,
            None => self.lane(lane_of_subject(&it.subject)),
        };
        let at = self.at(it.at.monotonic_ns);
        self.lanes[lane].touch(at);
        let is_loss = is_loss(it.kind);
        self.mark(it.number, it.kind, &it.about);
        if it.kind == Kind::ReloadOpen
            && let Some(from) = it
                .about
                .first()
                .and_then(|id| self.lanes[lane].time_of(*id))
        {
            self.lanes[lane].span(Span {
                kind: SpanKind::Reload,
                end: SpanEnd::Open,
                from,
                to: at,
                text: it.what.clone(),
            });
        }
        self.section.verdicts.push(VerdictRow {
            number: it.number,
            lane,
            at,
            kind: words::serde_word(&it.kind),
            is_loss,
            certainty: words::serde_word(&it.certainty),
            about: it.about.clone(),
            what: it.what.clone(),
            evidence: it.evidence.clone(),
            rule: it.rule,
            remedy: it.remedy,
            repeats: 0,
            last: None,
        });
    }

    /// Marks the messages that a verdict is about.
    fn mark(&mut self, number: u64, kind: Kind, about: &[u64]) {
        for id in about {
            let Some(home) = self.homes.get(id).copied() else {
                continue;
            };
            self.lanes[home].promote(*id);
            self.lanes[home].change(*id, |mark| {
                mark.verdicts.push(number);
                if mark.state != MarkState::Failed && says_it_was_lost(kind) {
                    mark.state = MarkState::Failed;
                } else if mark.state == MarkState::Ok {
                    mark.state = MarkState::Warning;
                }
            });
        }
    }

    fn repeats(&mut self, it: Repeats) {
        let last = self.at(it.at.monotonic_ns);
        let mut verdicts = self.section.verdicts.iter_mut();
        if let Some(verdict) = verdicts.find(|verdict| verdict.number == it.verdict) {
            verdict.repeats = it.times;
            verdict.last = Some(last);
        }
    }

    fn relay(&mut self, it: &Relay, facts: &mut Facts) {
        let text = texts::relay_words(it);
        let Some(from) = self.homes.get(&it.notification).copied() else {
            return;
        };
        let mut sent = Vec::new();
        for forward in &it.sent {
            let after = words::duration(forward.hop_ns);
            let doubt = if forward.or_for.is_empty() {
                String::new()
            } else {
                format!(
                    " (or for {}: nothing tells)",
                    texts::numbers(&forward.or_for)
                )
            };
            sent.push(format!("#{} after {after}{doubt}", forward.notification));
            let Some(to) = self.homes.get(&forward.notification).copied() else {
                continue;
            };
            if may_stand_below(&self.lanes, from, to) {
                self.lanes[from].parent = Some(to);
            }
            let told_ns = it.at.monotonic_ns;
            self.section.hops.push(Hop {
                told: it.notification,
                from,
                from_at: self.at(told_ns),
                sent: forward.notification,
                to,
                to_at: self.at(told_ns.saturating_add(forward.hop_ns)),
                text: text.clone(),
            });
            let fact = facts.position(Fact {
                name: "sent because of".to_owned(),
                text: format!("#{}, {after} before; {text}", it.notification),
                more: Vec::new(),
            });
            self.lanes[to].change(forward.notification, |mark| mark.facts.push(fact));
        }
        let what = if sent.is_empty() {
            "nothing".to_owned()
        } else {
            sent.join(", ")
        };
        let fact = facts.position(Fact {
            name: "passed on as".to_owned(),
            text: format!("{what}; {text}"),
            more: Vec::new(),
        });
        self.lanes[from].change(it.notification, |mark| mark.facts.push(fact));
    }

    fn phase(&mut self, it: &Phase) {
        let lane = self.lane(lane_of_subject(&it.subject));
        let to_ns = it.at.monotonic_ns;
        let kind = match it.phase {
            PhaseName::Start => SpanKind::Start,
            PhaseName::Reload => SpanKind::Reload,
            PhaseName::Stop => SpanKind::Stop,
            // Each status is a message of its own.
            PhaseName::Status => return,
            PhaseName::Watchdog
            | PhaseName::FdStore
            | PhaseName::Extensions
            | PhaseName::Barriers => return self.lanes[lane].note(texts::phase_words(it)),
        };
        if kind == SpanKind::Start {
            self.lanes[lane].starts.ready(to_ns, it.took_ns);
        }
        let found = match it.took_ns {
            Some(took_ns) => Some(Found {
                kind,
                end: SpanEnd::Done,
                from_ns: to_ns.saturating_sub(took_ns),
                to_ns,
                text: texts::phase_words(it),
            }),
            None if kind == SpanKind::Start => {
                let starts = &self.lanes[lane].process_starts;
                let start_ns = it.about.first().and_then(|id| starts.get(id));
                since_process(to_ns, start_ns.copied())
            }
            None => None,
        };
        self.span(lane, found);
    }
}

/// Whether a verdict says of its messages that they did nothing.
const fn says_it_was_lost(kind: Kind) -> bool {
    is_loss(kind)
        && !matches!(
            kind,
            Kind::WatchdogLate
                | Kind::WatchdogTriggered
                | Kind::ReloadOpen
                | Kind::ExtensionOverrun
                | Kind::NotReading
                | Kind::NeverReady
        )
}
