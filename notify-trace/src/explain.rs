//! The view and the correlator as one stage: events as they are shown, and the conclusions about
//! them. A live trace and a replayed recording pass their events through it.
//!
//! The correlator sees every event, for what explains a notification may have been sent by others
//! than those asked for; it sees no value that is withheld. A conclusion is shown if something that
//! it is about is shown.

use crate::correlate::Correlator;
use crate::correlate::outcome::Outcome;
use crate::event::{Event, Losses};
use crate::names::Recent;
use crate::view::{View, ViewOptions};

/// Most verdicts that may be repeated; more than the correlator remembers.
const VERDICTS: usize = 65_536;

/// What a sink is given.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// An event.
    Event(Event),
    /// A conclusion.
    Outcome(Outcome),
}

/// Decides what is shown, and concludes.
#[derive(Debug)]
pub struct Explain {
    view: View,
    correlator: Option<Correlator>,
    /// Numbers of the verdicts that were shown.
    verdicts: Recent<u64, ()>,
}

impl Explain {
    /// With conclusions or without.
    #[must_use]
    pub fn new(options: ViewOptions, with_outcomes: bool) -> Self {
        Self {
            view: View::new(options),
            correlator: with_outcomes.then(Correlator::new),
            verdicts: Recent::new(VERDICTS),
        }
    }

    /// What is shown may change: all that is shown is remembered.
    #[must_use]
    pub fn for_changes(mut self) -> Self {
        self.view = self.view.for_changes();
        self
    }

    /// From now on these are shown. What was shown before is still known.
    pub fn change_view(&mut self, options: ViewOptions) {
        self.view.change(options);
    }

    /// Takes an event. The summary ends everything: what is concluded at the end comes before it.
    pub fn take(&mut self, event: Event, out: &mut dyn FnMut(Shown)) {
        if matches!(event, Event::Summary(_)) {
            self.finish(out);
        }
        let mut outcomes = Vec::new();
        if let Some(correlator) = &mut self.correlator {
            let redacted = self.view.redacted(&event);
            correlator.event(&redacted, &mut |outcome| outcomes.push(outcome));
        }
        self.view.show(event, &mut |event| out(Shown::Event(event)));
        self.outcomes(outcomes, out);
    }

    /// Lets time pass.
    pub fn advance(&mut self, now_ns: u64, out: &mut dyn FnMut(Shown)) {
        self.conclude(out, |correlator, out| correlator.advance(now_ns, out));
    }

    /// What is concluded at the end; for a recording that was cut off, too, which has no summary.
    pub fn finish(&mut self, out: &mut dyn FnMut(Shown)) {
        self.conclude(out, Correlator::finish);
    }

    fn conclude(
        &mut self,
        out: &mut dyn FnMut(Shown),
        step: impl FnOnce(&mut Correlator, &mut dyn FnMut(Outcome)),
    ) {
        let mut outcomes = Vec::new();
        if let Some(correlator) = &mut self.correlator {
            step(correlator, &mut |outcome| outcomes.push(outcome));
        }
        self.outcomes(outcomes, out);
    }

    /// Whether time has to pass for what was told to be concluded.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.correlator.as_ref().is_some_and(Correlator::is_waiting)
    }

    /// Notifications and failed connects that were left out.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.view.left_out()
    }

    /// Adds what could not be decided.
    pub const fn count_losses(&self, losses: &mut Losses) {
        self.view.count_losses(losses);
    }

    fn outcomes(&mut self, outcomes: Vec<Outcome>, out: &mut dyn FnMut(Shown)) {
        for outcome in outcomes {
            if self.is_wanted(&outcome) {
                out(Shown::Outcome(outcome));
            }
        }
    }

    fn is_wanted(&mut self, outcome: &Outcome) -> bool {
        let (ids, unit) = match outcome {
            Outcome::Verdict(verdict) => (verdict.about.clone(), verdict.subject.unit.as_deref()),
            Outcome::Phase(phase) => (phase.about.clone(), phase.subject.unit.as_deref()),
            Outcome::Relay(relay) => {
                let mut ids = vec![relay.notification];
                ids.extend(relay.sent.iter().map(|sent| sent.notification));
                (ids, None)
            }
            Outcome::Repeats(repeats) => return self.verdicts.peek(&repeats.verdict).is_some(),
            Outcome::Again(again) => {
                return self.verdicts.peek(&again.verdict).is_some()
                    && self.view.is_about_shown(&again.about, None);
            }
            Outcome::Measure(_) => return false,
        };
        let is_wanted = self.view.is_about_shown(&ids, unit);
        if is_wanted && let Outcome::Verdict(verdict) = outcome {
            self.verdicts.insert(verdict.number, ());
        }
        is_wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::outcome::Kind;
    use crate::correlate::samples::{S, Sample};
    use crate::view::filter::Filter;
    use crate::view::redact::Redact;

    fn shown(options: ViewOptions, events: impl IntoIterator<Item = Sample>) -> Vec<Shown> {
        let mut explain = Explain::new(options, true);
        let mut all = Vec::new();
        for sample in events {
            explain.take(Event::Send(Box::new(sample.build())), &mut |it| {
                all.push(it)
            });
        }
        explain.finish(&mut |it| all.push(it));
        all
    }

    fn kinds(all: &[Shown]) -> Vec<Kind> {
        all.iter()
            .filter_map(|it| match it {
                Shown::Outcome(Outcome::Verdict(verdict)) => Some(verdict.kind),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn conclusions_about_what_is_not_shown_are_not_shown() {
        let lost = |unit: &str, id: u64| {
            Sample::new("READY=1")
                .id(id)
                .at(id * S)
                .from("helper", 101, unit)
                .gone()
        };
        let only = ViewOptions {
            filter: Filter {
                units: vec!["app.service".to_owned()],
                ..Filter::default()
            },
            ..ViewOptions::default()
        };
        let events = [lost("app.service", 1), lost("other.service", 2)];
        assert_eq!(
            kinds(&shown(ViewOptions::default(), events.clone())).len(),
            2
        );
        assert_eq!(kinds(&shown(only, events)), [Kind::SenderGone]);
    }

    #[test]
    fn what_is_withheld_is_in_no_conclusion() {
        let options = ViewOptions {
            redact: Redact::Keys(vec!["STATUS".to_owned()]),
            ..ViewOptions::default()
        };
        let all = shown(options, [Sample::new("READY=1\nSTATUS=secret")]);
        assert!(all.len() > 1, "{all:?}");
        assert!(!format!("{all:?}").contains("secret"), "{all:?}");
    }
}
