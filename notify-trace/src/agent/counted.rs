//! The metrics of the agent, where it was built with them.
//!
//! With a recording they are made of the rows that it keeps, without one of rows made for them.

use crate::event::Event;
use crate::metrics::{Metrics, Server};
use crate::study::Projector;
use crate::study::row::Rows;

/// What is counted, and who may read it.
#[derive(Debug)]
pub struct Counted {
    pub(super) metrics: Metrics,
    /// Answers while it is there.
    _server: Option<Server>,
    alone: Projector,
}

impl Counted {
    /// Counts for whoever is let in by the server, if there is one.
    #[must_use]
    pub fn new(metrics: Metrics, server: Option<Server>) -> Self {
        Self {
            metrics,
            _server: server,
            alone: Projector::default(),
        }
    }

    /// Takes an event of which no recording makes rows.
    pub(super) fn event(&mut self, event: &Event) {
        if matches!(event, Event::Session(_)) {
            self.alone = Projector::default();
        }
        let mut rows = Rows::default();
        self.alone.event(event, &mut rows);
        self.metrics.take(event, &rows);
    }
}
