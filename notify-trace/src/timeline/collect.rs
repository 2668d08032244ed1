//! From events and conclusions to what is drawn: a sink that collects, session by session.

use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::facts::Facts;
use super::model::{Section, Timeline};
use crate::correlate::outcome::Outcome;
use crate::event::Event;
use crate::sink::Sink;

mod conclude;
mod order;
mod session;

use session::Open;

/// Collects what is drawn.
#[derive(Debug, Default)]
pub struct Collector {
    done: Vec<Section>,
    open: Option<Open>,
    facts: Facts,
}

impl Collector {
    /// What was collected. Times are shown in `zone`.
    #[must_use]
    pub fn finish(mut self, zone: &TimeZone) -> Timeline {
        self.close();
        self.done.sort_by_key(|section| section.began);
        let mut timeline = Timeline {
            origin: Timestamp::UNIX_EPOCH,
            origin_ms: 0,
            zone_seconds: 0,
            end: 0,
            sections: self.done,
            facts: self.facts.into_vec(),
        };
        timeline.settle(|at| zone.to_offset(at).seconds());
        timeline
    }

    /// Adds a sentence to what is to be known of the session that is being read.
    pub fn note(&mut self, text: String) {
        if let Some(open) = &mut self.open {
            open.note(text);
        } else if let Some(section) = self.done.last_mut() {
            section.notes.push(text);
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.done.push(open.finish());
        }
    }
}

impl Sink for Collector {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if let Event::Session(session) = event {
            self.close();
            self.open = Some(Open::new(session));
        } else if let Some(open) = &mut self.open {
            open.event(event, &mut self.facts);
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            open.outcome(outcome, &mut self.facts);
        }
        Ok(())
    }
}
