//! What `explain` prints of a whole recording: verdicts, then hops as trees, then units.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Write};

use super::Sink;
use super::text::{Options, Text, outcome};
use crate::correlate::outcome::{Outcome, Phase, Relay, Repeats, Verdict};
use crate::escape::escape_field;
use crate::event::{Event, Notification};
use crate::words;

/// Most notifications whose words are kept for the trees.
const KEPT: usize = 200_000;

/// Most characters of a message in a tree.
const SHOWN: usize = 160;

/// Collects conclusions.
#[derive(Debug, Default)]
pub struct Explained {
    verdicts: Vec<Verdict>,
    repeats: Vec<Repeats>,
    relays: BTreeMap<u64, Relay>,
    phases: Vec<Phase>,
    messages: HashMap<u64, String>,
    losses: bool,
    has_session: bool,
}

impl Explained {
    /// How many verdicts there are.
    #[must_use]
    pub const fn verdicts(&self) -> usize {
        self.verdicts.len()
    }

    /// Prints all that was collected; nothing if there was no recording.
    ///
    /// # Errors
    /// If the output can't be written.
    pub fn print(&self, out: &mut dyn Write, options: &Options) -> io::Result<()> {
        if !self.has_session {
            return Ok(());
        }
        self.print_verdicts(out, options)?;
        let mut lines = Lines {
            columns: options.columns.now().unwrap_or(usize::MAX),
            out,
        };
        self.print_hops(&mut lines)?;
        self.print_units(&mut lines)?;
        if self.losses {
            lines.blank()?;
            lines.print(
                "",
                "Something was lost while this was recorded: what is missing may be there, too.",
            )?;
        }
        Ok(())
    }

    fn print_verdicts(&self, out: &mut dyn Write, options: &Options) -> io::Result<()> {
        if self.verdicts.is_empty() {
            return writeln!(out, "No notification was lost, as far as was seen.");
        }
        let count = u64::try_from(self.verdicts.len()).unwrap_or(u64::MAX);
        writeln!(out, "{}:", words::count(count, "verdict", "verdicts"))?;
        let mut text = Text::new(&mut *out, options.clone());
        for verdict in &self.verdicts {
            text.outcome(&Outcome::Verdict(Box::new(verdict.clone())))?;
            for repeats in &self.repeats {
                if repeats.verdict == verdict.number {
                    text.outcome(&Outcome::Repeats(*repeats))?;
                }
            }
        }
        Ok(())
    }

    fn print_hops(&self, out: &mut Lines) -> io::Result<()> {
        if self.relays.is_empty() {
            return Ok(());
        }
        out.blank()?;
        out.print("", "Hops:")?;
        let inner: BTreeSet<u64> = self
            .relays
            .values()
            .flat_map(|relay| &relay.sent)
            .map(|sent| sent.notification)
            .collect();
        for (id, relay) in &self.relays {
            if !inner.contains(id) {
                out.print("  ", &self.message(*id))?;
                self.print_hop(out, relay, 1)?;
            }
        }
        Ok(())
    }

    fn print_hop(&self, out: &mut Lines, relay: &Relay, depth: usize) -> io::Result<()> {
        let indent = "   ".repeat(depth);
        let facts: Vec<String> = outcome::relay_facts(relay)
            .into_iter()
            .map(|part| part.text)
            .collect();
        let facts = facts.join("; ");
        let proxy = outcome::proxy(&relay.proxy);
        let first = format!("{indent}└─ ");
        if relay.sent.is_empty() {
            return out.print(&first, &format!("{proxy} passed on nothing; {facts}"));
        }
        out.print(&first, &format!("{proxy}: {facts}"))?;
        for sent in &relay.sent {
            let doubt = if sent.or_for.is_empty() {
                String::new()
            } else {
                let others = outcome::numbers(&sent.or_for);
                format!(" (or for {others}: nothing tells)")
            };
            let after = words::duration(sent.hop_ns);
            let message = self.message(sent.notification);
            out.print(
                &format!("{indent}   "),
                &format!("after {after}{doubt}: {message}"),
            )?;
            // A proxy behind a proxy; ids only grow, so this ends.
            if let Some(next) = self.relays.get(&sent.notification)
                && next.notification > relay.notification
            {
                self.print_hop(out, next, depth + 1)?;
            }
        }
        Ok(())
    }

    fn message(&self, id: u64) -> String {
        match self.messages.get(&id) {
            Some(words) => format!("#{id} {words}"),
            None => format!("#{id}"),
        }
    }

    fn print_units(&self, out: &mut Lines) -> io::Result<()> {
        let mut units: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for phase in &self.phases {
            let who = outcome::subject(&phase.subject).unwrap_or_default();
            units
                .entry(who)
                .or_default()
                .push(outcome::phase_words(phase));
        }
        if units.is_empty() {
            return Ok(());
        }
        out.blank()?;
        out.print("", "Units:")?;
        for (unit, phases) in units {
            out.print("  ", &format!("{unit}: {}", phases.join("; ")))?;
        }
        Ok(())
    }
}

/// Writes lines that are not too long: what doesn't fit goes on below, further in.
struct Lines<'a> {
    columns: usize,
    out: &'a mut dyn Write,
}

impl Lines<'_> {
    fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    fn print(&mut self, first: &str, text: &str) -> io::Result<()> {
        let other = " ".repeat(first.chars().count() + 2);
        let room = self.columns.saturating_sub(other.len()).max(20);
        for (number, line) in words::wrap(text, room).iter().enumerate() {
            let lead = if number == 0 { first } else { &other };
            writeln!(self.out, "{lead}{line}")?;
        }
        Ok(())
    }
}

/// Who sent what to whom, in a line.
fn of(it: &Notification) -> String {
    let sender = it.sender.as_ref().map_or_else(
        || "somebody".to_owned(),
        |sender| {
            let name = words::name(sender);
            let who = sender.attribution.as_deref().and_then(crate::who::who);
            match who {
                Some(who) => format!("{name} ({who})"),
                None => name,
            }
        },
    );
    let lines: Vec<String> = it.lines.iter().filter_map(words::line).collect();
    let text = words::cut(lines.join("  "), SHOWN);
    let class = escape_field(it.class.as_bytes());
    format!("{sender} → {class}: {text}")
}

impl Sink for Explained {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Send(it) if self.messages.len() < KEPT => {
                self.messages.insert(it.id, of(it));
            }
            Event::Session(_) => self.has_session = true,
            Event::Loss(_) => self.losses = true,
            _ => {}
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Verdict(verdict) => self.verdicts.push((**verdict).clone()),
            Outcome::Repeats(repeats) => self.repeats.push(*repeats),
            Outcome::Relay(relay) => {
                self.relays.insert(relay.notification, (**relay).clone());
            }
            Outcome::Phase(phase) => self.phases.push((**phase).clone()),
            Outcome::Again(_) | Outcome::Measure(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::correlate::samples::Sample;

    fn printed(explained: &Explained) -> String {
        let mut out = Vec::new();
        explained
            .print(&mut out, &Options::for_file(TimeZone::UTC))
            .expect("a vector takes all");
        String::from_utf8(out).expect("text is UTF-8")
    }

    #[test]
    fn nothing_is_said_of_what_is_no_recording() {
        assert_eq!(printed(&Explained::default()), "");
        let read = Explained {
            has_session: true,
            ..Explained::default()
        };
        assert_eq!(
            printed(&read),
            "No notification was lost, as far as was seen.\n"
        );
    }
    #[test]
    fn a_message_of_a_forged_recording_is_harmless() {
        let sent = Sample::new("READY=1\nSTATUS=\x1b[2J")
            .from("\x1b[2J", 100, "\x1b[2J.service")
            .to("\x1b[2J", 7, ("proxy", 200));
        let text = of(&sent.build());
        assert!(
            !text.contains('\x1b') && text.contains("READY=1"),
            "{text:?}"
        );
    }
}
