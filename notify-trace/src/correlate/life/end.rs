//! What is said of a life at its end, or at that of the recording.

use super::Life;
use crate::correlate::outcome::{Moment, Phase, PhaseName};
use crate::words;

impl Life {
    /// What is only worth a line at the end.
    pub(in crate::correlate) fn finish(&self, at: Moment) -> Vec<Phase> {
        let phase = |phase, facts: Vec<String>| Phase {
            at,
            phase,
            subject: self.subject.clone(),
            about: Vec::new(),
            took_ns: None,
            facts,
        };
        let mut phases = Vec::new();
        if self.pings.count > 0 {
            phases.push(phase(PhaseName::Watchdog, self.watchdog_facts()));
        }
        if self.extensions > 0 {
            let times = words::count(self.extensions, "extension", "extensions");
            phases.push(phase(PhaseName::Extensions, vec![times]));
        }
        if self.fds > 0 {
            let fds = words::count(self.fds, "file descriptor", "file descriptors");
            phases.push(phase(PhaseName::FdStore, vec![fds]));
        }
        if self.barriers > 0 {
            let barriers = words::count(self.barriers, "barrier", "barriers");
            phases.push(phase(PhaseName::Barriers, vec![barriers]));
        }
        if !self.statuses.is_empty() {
            let texts = self.statuses.iter().map(|(_, text)| text.clone());
            phases.push(phase(PhaseName::Status, texts.collect()));
        }
        phases
    }

    fn watchdog_facts(&self) -> Vec<String> {
        let mut facts = vec![words::count(self.pings.count, "ping", "pings")];
        if let (Some(min_ns), Some(max_ns)) = (self.pings.min_ns, self.pings.max_ns) {
            facts.push(format!(
                "{} to {} apart",
                words::duration(min_ns),
                words::duration(max_ns)
            ));
        }
        if let Some(limit_ns) = self.limit_ns {
            facts.push(format!("allowed {}", words::duration(limit_ns)));
            if let Some(max_ns) = self.pings.max_ns {
                let left = words::duration(limit_ns.saturating_sub(max_ns));
                facts.push(format!("least margin {left}"));
            }
        }
        facts
    }
}
