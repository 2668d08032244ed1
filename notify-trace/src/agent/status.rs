//! The agent's `STATUS=`: how it is, in a line that `systemctl status` shows.

use tokio::time::Instant;

use crate::event::Event;
use crate::sink::Reading;
use crate::store::Condition;
use crate::words;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) reading: Reading,
    pub(super) told_at: Option<Instant>,
    plan: Option<String>,
    notifications: u64,
    lost: u64,
    shed: u64,
    /// About settings.
    pub(super) note: Option<String>,
}

impl Seen {
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Session(session) => {
                self.plan = Some(words::plan_name(session.plan.name).to_owned());
            }
            Event::Send(_) => self.notifications += 1,
            Event::Loss(loss) => {
                self.lost += loss.losses.in_all();
                self.shed += loss.losses.shed;
            }
            _ => {}
        }
    }

    /// In words.
    pub(super) fn words(&self, condition: Option<&Condition>) -> String {
        let mut parts = vec![words::count(
            self.notifications,
            "notification",
            "notifications",
        )];
        if let Some(plan) = &self.plan {
            parts[0] = format!("plan {plan}, {}", parts[0]);
        }
        parts.push(if self.lost == 0 {
            "nothing lost".to_owned()
        } else {
            format!("{} lost", words::count(self.lost, "record", "records"))
        });
        if self.shed > 0 {
            parts.push(format!(
                "of these {} left out to stay within limits.cpu_percent",
                words::count(self.shed, "datagram", "datagrams")
            ));
        }
        if let Some(condition) = condition {
            parts.push(recording(condition));
        }
        parts.extend(self.note.clone());
        parts.join("; ")
    }
}

fn recording(condition: &Condition) -> String {
    let Condition {
        stored,
        waiting_bytes,
        dropped,
        trouble,
    } = condition;
    let mut text = format!("{} stored", words::count(*stored, "event", "events"));
    if *dropped > 0 {
        text = format!("{text}, {dropped} dropped");
    }
    if let Some(trouble) = trouble {
        text = format!(
            "{text}, {} KiB wait because of this: {trouble}",
            waiting_bytes >> 10
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_and_peace_is_short() {
        let seen = Seen {
            plan: Some("full".to_owned()),
            notifications: 1,
            ..Seen::default()
        };
        assert_eq!(
            seen.words(Some(&Condition {
                stored: 3,
                ..Condition::default()
            })),
            "plan full, 1 notification; nothing lost; 3 events stored"
        );
        let full = Condition {
            waiting_bytes: 4096,
            dropped: 2,
            trouble: Some("disk is full".to_owned()),
            ..Condition::default()
        };
        assert_eq!(
            seen.words(Some(&full)),
            "plan full, 1 notification; nothing lost; 0 events stored, 2 dropped, 4 KiB wait \
             because of this: disk is full"
        );
    }
}
