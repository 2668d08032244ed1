//! What the agent counts, for Prometheus: by unit and container, and how it is itself.
//!
//! ```text
//! Rows of the study ──▶ counts (bounded series) ──▶ families (names, labels) ──▶ text ──▶ serve (HTTP, a thread of its own)
//!                                                        └──▶ whoever pushes them
//! ```
//!
//! With the feature `native`, histograms have native buckets, too, for those who ask for them.
//!
//! The numbers are those of the studies: the same rows that a recording keeps. How many series there are
//! is bounded whatever is sent: `series` says how.

mod counts;
mod families;
mod histogram;
#[cfg(feature = "native")]
mod native;
mod own;
mod sending;
mod series;
mod serve;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::counts::{Counts, Shown};
pub use self::families::{Family, Labels, Values};
pub use self::histogram::Histogram;
use self::own::Own;
pub use self::sending::{Counted, Sending, SendingState, Signal};
pub use self::serve::{Listen, Server};
use crate::enrich::clock;
use crate::event::Event;
use crate::sink::Reading;
use crate::store::{Condition, Watch};
use crate::study::row::Rows;

/// Counts, and lets others read what was counted.
#[derive(Clone, Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
}

/// What the server reads.
#[derive(Debug)]
struct Shared {
    counts: Mutex<Counts>,
    recording: Option<Watch>,
    sending: Option<SendingState>,
}

impl Metrics {
    /// Counts at most so many units and containers each on their own; says how a recording stands.
    #[must_use]
    pub fn new(units: usize, recording: Option<Watch>) -> Self {
        Self::with_sending(units, recording, None)
    }

    /// And how sending stands.
    #[must_use]
    pub fn with_sending(
        units: usize,
        recording: Option<Watch>,
        sending: Option<SendingState>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                counts: Mutex::new(Counts::new(units)),
                recording,
                sending,
            }),
        }
    }

    /// Lets others read, until it is dropped.
    ///
    /// # Errors
    /// If nobody can be listened to there.
    pub fn serve(&self, listen: &Listen) -> anyhow::Result<Server> {
        Server::start(listen, Arc::clone(&self.shared))
    }

    /// At most so many units and containers from now on.
    pub fn set_units(&self, units: usize) {
        self.shared.lock().set_units(units);
    }

    /// Takes an event and what the study drew from it.
    pub fn take(&self, event: &Event, rows: &Rows) {
        self.shared.lock().take(event, rows);
    }

    /// How reading stands.
    pub fn reading(&self, reading: Reading) {
        self.shared.lock().reading(reading, clock::now());
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// Never: text is written to memory.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        self.shared.text()
    }

    /// The numbers of now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }
}

/// The numbers of one moment.
#[derive(Debug)]
pub struct Snapshot {
    shown: Shown,
    recording: Option<Condition>,
    sending: Option<Sending>,
    own: Own,
}

impl Snapshot {
    /// All of them, by name.
    #[must_use]
    pub fn families(&self) -> Vec<Family<'_>> {
        let Self {
            shown,
            recording,
            sending,
            own,
        } = self;
        families::families(shown, recording.as_ref(), sending.as_ref(), own)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Numbers are whole between any two statements.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with the agent, for whoever asks for its health.
    fn trouble(&self) -> Option<String> {
        if self.lock().shown.info.version.is_empty() {
            return Some("nothing is attached yet".to_owned());
        }
        self.recording.as_ref()?.condition().trouble
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        text::text(self.snapshot())
    }

    #[cfg(feature = "native")]
    fn protobuf(&self) -> Result<Vec<u8>, std::fmt::Error> {
        text::protobuf(self.snapshot())
    }

    fn snapshot(&self) -> Snapshot {
        // Written without the lock: whoever counts never waits for whoever reads.
        Snapshot {
            shown: self.lock().shown.clone(),
            recording: self.recording.as_ref().map(Watch::condition),
            sending: self.sending.as_ref().map(SendingState::get),
            own: own::look(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample};
    use crate::study::Projector;

    fn text(samples: impl IntoIterator<Item = Sample>) -> String {
        let metrics = Metrics::new(10, None);
        let mut projector = Projector::default();
        for sample in samples {
            let event = Event::Send(Box::new(sample.build()));
            let mut rows = Rows::default();
            projector.event(&event, &mut rows);
            metrics.take(&event, &rows);
        }
        metrics.text().expect("memory takes all")
    }

    #[test]
    fn a_start_is_counted_by_unit() {
        let text = text([Sample::new("READY=1\nSTATUS=up").at(S)]);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for wanted in [
            "notify_trace_notifications_total{unit=\"app.service\",user=\"\",container=\"\"} 1",
            "notify_trace_messages_total{unit=\"app.service\",user=\"\",container=\"\",key=\"READY\"} 1",
            "notify_trace_delivery_seconds_count{manager=\"systemd\"} 1",
            "notify_trace_lost_total{cause=\"ring_full\"} 0",
        ] {
            assert!(lines.contains(&wanted), "no {wanted} in\n{text}");
        }
        assert!(!text.contains("key=\"STOPPING\""), "{text}");
        let mut bounds = (lines.iter()).filter(|line| line.contains("delivery_seconds_bucket"));
        let last = bounds.next_back().expect("buckets");
        assert!(last.contains("le=\"+Inf\""), "{last}");
        assert!(!text.contains("e+308"), "{text}");
    }

    #[test]
    fn what_somebody_else_chose_can_not_leave_its_label() {
        let hostile = "a\"} 1\nnotify_trace_lost_total{cause=\"x\\.service";
        let text = text([Sample::new("READY=1").at(S).from("sh", 100, hostile)]);
        for line in text.lines() {
            assert!(
                line.starts_with("# ")
                    || line.starts_with("notify_trace_")
                    || line.starts_with("process_"),
                "{line}"
            );
        }
        assert!(
            !text.contains("\nnotify_trace_lost_total{cause=\"x"),
            "{text}"
        );
    }

    #[test]
    fn many_units_are_few_series() {
        let all: Vec<Sample> = (0..1000)
            .map(|n| {
                Sample::new("READY=1")
                    .id(n + 1)
                    .at((n + 1) * S / 1000)
                    .from("x", 100, &format!("u{n}.service"))
            })
            .collect();
        let text = text(all);
        let units = text
            .lines()
            .filter(|line| line.starts_with("notify_trace_notifications_total{"))
            .count();
        assert_eq!(units, 11, "ten and the others");
        let sum: u64 = text
            .lines()
            .filter(|line| line.starts_with("notify_trace_notifications_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        assert_eq!(sum, 1000, "{text}");
    }

    /// Names of metrics in a text: words that begin as ours do.
    fn names(text: &str) -> std::collections::BTreeSet<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("notify_trace_") || word.starts_with("process_"))
            .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
            .collect()
    }

    #[test]
    fn rules_dashboard_and_document_speak_of_metrics_that_are_there() {
        let snapshot = Snapshot {
            shown: Counts::new(1).shown,
            recording: Some(Condition::default()),
            sending: Some(Sending::default()),
            own: own::look(),
        };
        let text = text::text(snapshot).expect("memory takes all");
        let types: std::collections::BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let rules = include_str!("../../dist/prometheus/notify-trace.rules.yml");
        let dashboard = include_str!("../../dist/grafana/notify-trace.json");
        for used in names(rules).into_iter().chain(names(dashboard)) {
            assert!(types.contains(used), "there is no {used}");
        }
        // Some stand there by their ends only.
        let document = include_str!("../../docs/agent.md");
        for name in &types {
            let end = name.trim_start_matches("notify_trace");
            assert!(document.contains(end), "{name} is not in docs/agent.md");
        }
    }
}
