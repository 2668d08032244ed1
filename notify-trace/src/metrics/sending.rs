//! How sending to a receiver of OTLP stands.

use std::sync::{Arc, Mutex, PoisonError};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Log records.
    Logs,
    /// Spans.
    Spans,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Spans, Self::Metrics];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Spans => "spans",
            Self::Metrics => "metrics",
        }
    }
}

/// What became of what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The receiver took it.
    pub sent: u64,
    /// The receiver will never take it: it is lost.
    pub refused: u64,
}

/// How it stands. What is stored was taken, or lost, or waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// By [`Signal`].
    pub signals: [Counted; Signal::ALL.len()],
    /// Events of the recording that are done: what becomes of them was taken, or refused.
    pub taken_events: u64,
    /// Events that a limit of the recording deleted before that.
    pub expired_events: u64,
    /// Events that were in a recording which somebody removed.
    pub removed_events: u64,
    /// Events that can't be read.
    pub damaged_events: u64,
    /// Events that wait in the recording.
    pub waiting_events: u64,
    /// Why nothing of it can be sent.
    pub trouble: Option<String>,
    /// Why metrics can't be sent.
    pub metrics_trouble: Option<String>,
    /// Nothing was recorded since all was sent, as far as is known.
    pub is_settled: bool,
}

/// The same for those who look and the one who sends.
#[derive(Clone, Debug, Default)]
pub struct SendingState(Arc<Mutex<Sending>>);

impl SendingState {
    /// Now.
    #[must_use]
    pub fn get(&self) -> Sending {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on.
    pub fn change(&self, change: impl FnOnce(&mut Sending)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
