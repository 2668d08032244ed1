//! What the agent sends to a receiver of OTLP, where it was built with that.

use crate::event::Session;
use crate::metrics::{Sending, SendingState};
use crate::otlp::Exporter;
use crate::words;

/// Sends, and knows how that stands.
#[derive(Debug)]
pub struct Sent {
    exporter: Exporter,
    state: SendingState,
}

impl Sent {
    /// Sends while it is there.
    #[must_use]
    pub const fn new(exporter: Exporter, state: SendingState) -> Self {
        Self { exporter, state }
    }

    pub(super) fn begin(&self, session: &Session) {
        self.exporter.begin(session);
    }

    pub(super) fn finish(&mut self) {
        self.exporter.finish();
    }

    /// Something is recorded that is not sent yet.
    pub(super) fn has_more(&self) {
        self.state.change(|state| state.is_settled = false);
    }

    /// Whether all is sent that can be, or it is known why not.
    pub(super) fn is_settled(&self) -> bool {
        let sending = self.state.get();
        sending.is_settled && sending.trouble.is_none() && sending.metrics_trouble.is_none()
    }

    pub(super) fn words(&self) -> String {
        words_of(&self.state.get())
    }
}

fn words_of(sending: &Sending) -> String {
    let Sending {
        signals,
        taken_events,
        expired_events,
        removed_events,
        damaged_events,
        waiting_events,
        trouble,
        metrics_trouble,
        is_settled: _,
    } = sending;
    let events = |count: u64| words::count(count, "event", "events");
    let mut text = format!("{} sent", events(*taken_events));
    let refused: u64 = signals.iter().map(|it| it.refused).sum();
    if refused > 0 {
        let refused = words::count(refused, "record", "records");
        text = format!("{text}, {refused} refused by the receiver");
    }
    let lost = expired_events + removed_events + damaged_events;
    if lost > 0 {
        text = format!("{text}, {lost} gone before they could be sent");
    }
    if let Some(trouble) = trouble {
        text = format!(
            "{text}, {} wait because of this: {trouble}",
            events(*waiting_events)
        );
    }
    if let Some(trouble) = metrics_trouble {
        text = format!("{text}, metrics can't be sent: {trouble}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peace_is_short_and_trouble_says_why() {
        let mut sending = Sending {
            taken_events: 3,
            ..Sending::default()
        };
        assert_eq!(words_of(&sending), "3 events sent");
        sending.signals[0].refused = 1;
        sending.expired_events = 7;
        sending.waiting_events = 1;
        sending.trouble = Some("connection refused".to_owned());
        assert_eq!(
            words_of(&sending),
            "3 events sent, 1 record refused by the receiver, 7 gone before they could be sent, \
             1 event wait because of this: connection refused"
        );
    }
}
