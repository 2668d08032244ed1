//! What managers said of units, the latest and what it replaced. Bounded.

use std::collections::{HashMap, VecDeque};

use crate::event::{Notification, UnitState};
use crate::unit::{USER_CLASS, UnitKey, must_say_ready};

/// Most units that are remembered.
const UNITS: usize = 8_192;

/// Most earlier states that are remembered of each.
const STATES: usize = 4;

/// What is known of units.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// In boxes: as a rule there are few of each, and they are large.
    states: HashMap<UnitKey, VecDeque<Box<UnitState>>>,
}

impl Units {
    pub(super) fn learn(&mut self, state: &UnitState) {
        let key = UnitKey::of_state(state);
        if self.states.len() >= UNITS && !self.states.contains_key(&key) {
            // Nearly nothing is lost: what matters again will be told again.
            self.states.clear();
        }
        let states = self.states.entry(key).or_default();
        if states.len() >= STATES {
            states.pop_front();
        }
        states.push_back(Box::new(state.clone()));
    }

    /// Forgets units by what was said last of each; which ones.
    pub(super) fn forget(&mut self, mut is_gone: impl FnMut(&UnitState) -> bool) -> Vec<UnitKey> {
        let mut gone = Vec::new();
        self.states.retain(|key, states| {
            let is_kept = states.back().is_some_and(|state| !is_gone(state));
            if !is_kept {
                gone.push(key.clone());
            }
            is_kept
        });
        gone
    }

    /// All that is remembered of a unit, the latest last.
    pub(super) fn states(&self, key: &UnitKey) -> impl DoubleEndedIterator<Item = &UnitState> {
        self.states
            .get(key)
            .into_iter()
            .flatten()
            .map(|state| &**state)
    }

    /// What was said last of a unit.
    pub(super) fn latest(&self, key: &UnitKey) -> Option<&UnitState> {
        self.states.get(key)?.back().map(|state| &**state)
    }

    /// The unit, of the same manager, whose main process that is by what was said last.
    pub(super) fn of_main_pid(&self, user: Option<u32>, pid: u32) -> Option<&UnitKey> {
        self.last(user)
            .find(|(_, state)| state.main_pid == Some(pid))
            .map(|(key, _)| key)
    }

    /// Units of this manager that were starting when asked last, and must say `READY=1`.
    pub(super) fn waiting(&self, user: Option<u32>) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .last(user)
            .filter(|(_, state)| must_say_ready(state) && state.active_state == "activating")
            .map(|(key, _)| &*key.name)
            .collect();
        names.sort_unstable();
        names
    }

    fn last(&self, user: Option<u32>) -> impl Iterator<Item = (&UnitKey, &UnitState)> {
        self.states
            .iter()
            .filter(move |(key, _)| key.user == user)
            .filter_map(|(key, states)| Some((key, &**states.back()?)))
    }
}

/// The manager's user for a class of socket: a user's manager is told which by the attribution.
pub(super) fn manager_of(notification: &Notification) -> Option<u32> {
    if *notification.class != *USER_CLASS {
        return None;
    }
    let sender = notification.sender.as_ref()?;
    sender.attribution.as_deref()?.user
}
