//! The agent's `STATUS=`: how it is, in a line that `systemctl status` shows; and what was lost, for the
//! journal.

use tokio::time::Instant;

use crate::event::{Event, Loss, ShedFrom};
use crate::sink::text::frame;
use crate::store::Condition;
use crate::words;

/// What was lost since it was told last.
#[derive(Debug, Default)]
pub(super) struct Unsaid(Option<Loss>);

/// Most cgroups that are named.
const NAMED: usize = 8;

impl Unsaid {
    /// Adds a loss.
    pub(super) fn add(&mut self, loss: &Loss) {
        let Some(all) = &mut self.0 else {
            self.0 = Some(loss.clone());
            return;
        };
        all.losses.add(&loss.losses);
        for from in &loss.shed_from {
            match all.shed_from.iter_mut().find(|it| it.cgroup == from.cgroup) {
                Some(it) => it.datagrams += from.datagrams,
                None => all.shed_from.push(from.clone()),
            }
        }
        all.shed_from
            .sort_by_key(|from: &ShedFrom| std::cmp::Reverse(from.datagrams));
        all.shed_from.truncate(NAMED);
    }

    /// In words, if anything was.
    pub(super) fn take(&mut self) -> Option<String> {
        let loss = self.0.take()?;
        loss.losses.any().then(|| frame::loss(&loss))
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
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
    pub(super) fn words(&self, condition: Option<&Condition>, sending: Option<String>) -> String {
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
        parts.extend(sending);
        parts.extend(self.note.clone());
        parts.join("; ")
    }
}

fn recording(condition: &Condition) -> String {
    let Condition {
        stored,
        waiting_bytes,
        removed: _,
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
    fn losses_are_added_up_until_they_are_told() {
        let loss = |path: &str, datagrams| Loss {
            time: jiff::Timestamp::UNIX_EPOCH,
            losses: crate::event::Losses {
                shed: datagrams,
                ..crate::event::Losses::default()
            },
            shed_from: vec![ShedFrom {
                cgroup: Some(path.into()),
                datagrams,
            }],
        };
        let mut unsaid = Unsaid::default();
        for (path, datagrams) in [("/a", 1), ("/b", 5), ("/a", 2)] {
            unsaid.add(&loss(path, datagrams));
        }
        let said = unsaid.take().expect("something was lost");
        assert!(
            said.starts_with("8 datagrams left out") && said.ends_with("5 of /b, 3 of /a"),
            "{said}"
        );
        assert!(unsaid.take().is_none());
    }

    #[test]
    fn trouble_is_told_and_peace_is_short() {
        let seen = Seen {
            plan: Some("full".to_owned()),
            notifications: 1,
            ..Seen::default()
        };
        assert_eq!(
            seen.words(
                Some(&Condition {
                    stored: 3,
                    ..Condition::default()
                }),
                None
            ),
            "plan full, 1 notification; nothing lost; 3 events stored"
        );
        let full = Condition {
            waiting_bytes: 4096,
            dropped: 2,
            trouble: Some("disk is full".to_owned()),
            ..Condition::default()
        };
        assert_eq!(
            seen.words(Some(&full), Some("5 events sent".to_owned())),
            "plan full, 1 notification; nothing lost; 0 events stored, 2 dropped, 4 KiB wait \
             because of this: disk is full; 5 events sent"
        );
    }
}
