//! Which unit to ask about, and when. Pure.
//!
//! A unit is asked about when something is heard of it first, from a process of it first, and
//! whenever it says what changes its state, at most once in [`INTERVAL_NS`]: a healthy boot costs
//! a question or two for each unit that notifies.

use std::collections::{HashMap, HashSet};

use super::Ask;
use crate::event::{DeliveryState, Event, Line, Notification, Process};
use crate::unit::{SYSTEM_CLASS, USER_CLASS, UnitKey, is_to_manager};

/// Between two questions about a unit.
const INTERVAL_NS: u64 = 1_000_000_000;

/// After the exit of a process, so long its manager needs to notice.
const AFTER_EXIT_NS: u64 = 50_000_000;

/// Most units, and most processes, that are remembered.
const REMEMBERED: usize = 8_192;

/// Keys that change what the manager says of a unit, or that it may refuse.
const CHANGES: [&[u8]; 8] = [
    b"READY",
    b"RELOADING",
    b"STOPPING",
    b"MAINPID",
    b"NOTIFYACCESS",
    b"WATCHDOG_USEC",
    b"EXTEND_TIMEOUT_USEC",
    b"FDSTORE",
];

/// Decides.
#[derive(Debug, Default)]
pub(super) struct Asker {
    /// When a unit was, or is to be, asked about.
    asked: HashMap<UnitKey, u64>,
    /// Processes that were heard of, and their units.
    processes: HashMap<u32, UnitKey>,
    managers: HashSet<u32>,
}

impl Asker {
    /// What to ask because of an event.
    pub(super) fn look(&mut self, event: &Event, now_ns: u64) -> Vec<Ask> {
        let (key, after_ns) = match event {
            Event::Send(it) => return self.send(it, now_ns),
            // The class isn't known here; the sender's own unit is, if it was heard of.
            Event::Update(it) if it.delivery.state == DeliveryState::Delivered => {
                let sender = it.sender.as_ref();
                let key = sender.and_then(|sender| self.processes.get(&sender.pid).cloned());
                (key, 0)
            }
            Event::ConnectFailed(it) => (UnitKey::of_sender(Some(&it.sender), &it.class), 0),
            Event::Exit(exit) => (self.processes.remove(&exit.pid), AFTER_EXIT_NS),
            _ => return Vec::new(),
        };
        key.and_then(|key| self.ask(key, now_ns, after_ns))
            .into_iter()
            .collect()
    }

    fn send(&mut self, it: &Notification, now_ns: u64) -> Vec<Ask> {
        let mut asks = Vec::new();
        asks.extend(self.manager(it.sender.as_ref(), &it.class));
        if !is_to_manager(&it.class) {
            return asks;
        }
        let Some(key) = UnitKey::of_sender(it.sender.as_ref(), &it.class) else {
            return asks;
        };
        let is_new = it.sender.as_ref().is_some_and(|sender| {
            if self.processes.len() >= REMEMBERED {
                self.processes.clear();
            }
            self.processes.insert(sender.pid, key.clone()).is_none()
        });
        let is_lost = !matches!(it.delivery.state, DeliveryState::Delivered);
        if is_new || is_lost || has_change(it) || !self.asked.contains_key(&key) {
            asks.extend(self.ask(key, now_ns, 0));
        }
        asks
    }

    /// A user's manager that is up: it says so to the system's, or is told something itself.
    fn manager(&mut self, sender: Option<&Process>, class: &str) -> Option<Ask> {
        let is_of = sender?.attribution.as_deref()?;
        let user = is_of.user?;
        let is_manager = class == SYSTEM_CLASS
            && is_of
                .user_unit
                .as_ref()
                .is_some_and(|unit| unit.name == "init.scope");
        if (class == USER_CLASS || is_manager)
            && self.managers.len() < REMEMBERED
            && self.managers.insert(user)
        {
            return Some(Ask::Manager { user: Some(user) });
        }
        None
    }

    fn ask(&mut self, key: UnitKey, now_ns: u64, after_ns: u64) -> Option<Ask> {
        if self.asked.len() >= REMEMBERED && !self.asked.contains_key(&key) {
            self.asked.clear();
        }
        let wanted_ns = now_ns.saturating_add(after_ns);
        let at_ns = match self.asked.get(&key) {
            // One that is still to be asked will do.
            Some(asked_ns) if *asked_ns > now_ns && *asked_ns >= wanted_ns => return None,
            Some(asked_ns) => wanted_ns.max(asked_ns.saturating_add(INTERVAL_NS)),
            None => wanted_ns,
        };
        self.asked.insert(key.clone(), at_ns);
        Some(Ask::Unit { key, at_ns })
    }
}

fn has_change(it: &Notification) -> bool {
    it.lines
        .iter()
        .filter_map(Line::key)
        .any(|key| CHANGES.contains(&&*key.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample};

    fn asked(asker: &mut Asker, sample: Sample, now_ns: u64) -> Vec<u64> {
        let event = Event::Send(Box::new(sample.build()));
        asker
            .look(&event, now_ns)
            .into_iter()
            .filter_map(|ask| match ask {
                Ask::Unit { at_ns, .. } => Some(at_ns),
                Ask::Manager { .. } => None,
            })
            .collect()
    }

    #[test]
    fn a_unit_is_asked_about_first_and_when_it_changes() {
        let mut asker = Asker::default();
        assert_eq!(asked(&mut asker, Sample::new("WATCHDOG=1"), S), [S]);
        assert!(asked(&mut asker, Sample::new("WATCHDOG=1"), 5 * S).is_empty());
        assert_eq!(asked(&mut asker, Sample::new("READY=1"), 6 * S), [6 * S]);
    }

    #[test]
    fn not_more_often_than_once_a_second_and_yet_after_the_last_change() {
        let mut asker = Asker::default();
        assert_eq!(asked(&mut asker, Sample::new("READY=1"), S), [S]);
        assert_eq!(asked(&mut asker, Sample::new("READY=1"), S + 5), [2 * S]);
        assert!(asked(&mut asker, Sample::new("READY=1"), S + 6).is_empty());
        assert_eq!(
            asked(&mut asker, Sample::new("READY=1"), 2 * S + 1),
            [3 * S]
        );
    }

    #[test]
    fn another_process_is_a_reason() {
        let mut asker = Asker::default();
        let ping = || Sample::new("WATCHDOG=1");
        assert_eq!(asked(&mut asker, ping(), S), [S]);
        let other = ping().from("helper", 101, "app.service");
        assert_eq!(asked(&mut asker, other, 9 * S), [9 * S]);
    }

    #[test]
    fn what_a_container_tells_its_runtime_is_none_of_the_managers() {
        let mut asker = Asker::default();
        let it = Sample::new("READY=1").to("runc", 700, ("runc", 200));
        assert!(asked(&mut asker, it, S).is_empty());
    }
}
