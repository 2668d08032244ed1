//! A bounded set of series: those that were silent longest make room, and what they counted is kept in
//! one for the others, so that sums stay right.
//!
//! Whoever may start units could fill it: what belongs to users has half of the room, and nobody is
//! put out who was heard of within [`SILENT_NS`].

use std::collections::HashMap;
use std::hash::Hash;

/// Who was heard of within this time keeps its place.
const SILENT_NS: u64 = 600_000_000_000;

/// Something that counts.
pub(super) trait Sum: Clone + Default {
    /// Adds what another counted.
    fn add(&mut self, other: &Self);
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    heard_ns: u64,
    is_users: bool,
}

/// The series by what they are of.
#[derive(Clone, Debug)]
pub(super) struct Series<K, V> {
    limit: usize,
    known: HashMap<K, Entry<V>>,
    /// Of them, those of users.
    users: usize,
    others: Option<V>,
    made_room: u64,
}

impl<K: Clone + Eq + Hash + Ord, V: Sum> Series<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            known: HashMap::new(),
            users: 0,
            others: None,
            made_room: 0,
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        while self.known.len() > limit {
            let Some(key) = self.most_silent(None).map(|(key, _)| key) else {
                return;
            };
            self.put_out(&key);
        }
    }

    /// The series of `key`, or the one of the others.
    pub(super) fn of(&mut self, key: &K, is_users: bool, now_ns: u64) -> &mut V {
        if !self.known.contains_key(key) && !self.admit(is_users, now_ns) {
            return self.others.get_or_insert_default();
        }
        let entry = self.known.entry(key.clone()).or_insert_with(|| {
            self.users += usize::from(is_users);
            Entry {
                value: V::default(),
                heard_ns: now_ns,
                is_users,
            }
        });
        entry.heard_ns = entry.heard_ns.max(now_ns);
        &mut entry.value
    }

    /// Whether there is room for one more; some is made if that is fair.
    fn admit(&mut self, is_users: bool, now_ns: u64) -> bool {
        let is_over_share = is_users && self.users >= self.limit / 2;
        if self.known.len() < self.limit && !is_over_share {
            return true;
        }
        let among = is_over_share.then_some(true);
        match self.most_silent(among) {
            Some((key, heard_ns)) if now_ns.saturating_sub(heard_ns) >= SILENT_NS => {
                self.put_out(&key);
                true
            }
            _ => false,
        }
    }

    fn most_silent(&self, is_users: Option<bool>) -> Option<(K, u64)> {
        self.known
            .iter()
            .filter(|(_, entry)| is_users.is_none_or(|is_users| entry.is_users == is_users))
            .min_by_key(|(key, entry)| (entry.heard_ns, *key))
            .map(|(key, entry)| (key.clone(), entry.heard_ns))
    }

    fn put_out(&mut self, key: &K) {
        if let Some(entry) = self.known.remove(key) {
            self.users -= usize::from(entry.is_users);
            self.made_room += 1;
            self.others.get_or_insert_default().add(&entry.value);
        }
    }

    /// All, in order; `None` is for the others.
    pub(super) fn all(&self) -> Vec<(Option<&K>, &V)> {
        let mut all: Vec<(Option<&K>, &V)> = self
            .known
            .iter()
            .map(|(key, entry)| (Some(key), &entry.value))
            .collect();
        all.sort_by_key(|(key, _)| *key);
        all.extend(self.others.as_ref().map(|value| (None, value)));
        all
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// How often one was put out.
    pub(super) const fn made_room(&self) -> u64 {
        self.made_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sum for u64 {
        fn add(&mut self, other: &Self) {
            *self += other;
        }
    }

    fn sums(series: &Series<&'static str, u64>) -> Vec<(Option<&'static str>, u64)> {
        let all = series.all();
        all.iter().map(|(key, sum)| (key.copied(), **sum)).collect()
    }

    #[test]
    fn who_is_heard_of_keeps_its_place() {
        let mut series = Series::new(2);
        for (key, at_ns) in [("a", 0), ("b", 1), ("c", 2), ("a", SILENT_NS)] {
            *series.of(&key, false, at_ns) += 1;
        }
        assert_eq!(sums(&series), [(Some("a"), 2), (Some("b"), 1), (None, 1)]);
        *series.of(&"d", false, SILENT_NS + 1) += 1;
        assert_eq!(sums(&series), [(Some("a"), 2), (Some("d"), 1), (None, 2)]);
        assert_eq!(series.made_room(), 1);
    }

    #[test]
    fn users_have_half_of_the_room() {
        let mut series = Series::new(4);
        for key in ["u1", "u2", "u3"] {
            *series.of(&key, true, 1) += 1;
        }
        for key in ["a", "b"] {
            *series.of(&key, false, 2) += 1;
        }
        let all = sums(&series);
        assert_eq!(
            all,
            [
                (Some("a"), 1),
                (Some("b"), 1),
                (Some("u1"), 1),
                (Some("u2"), 1),
                (None, 1)
            ]
        );
        // Even a silent unit of the system is not put out for a user's.
        *series.of(&"u4", true, SILENT_NS + 2) += 1;
        assert!(sums(&series).contains(&(Some("a"), 1)));
        assert!(sums(&series).contains(&(Some("u4"), 1)));
    }

    #[test]
    fn less_room_keeps_the_sum() {
        let mut series = Series::new(4);
        for (key, at_ns) in [("a", 3), ("b", 2), ("c", 1)] {
            *series.of(&key, false, at_ns) += 1;
        }
        series.set_limit(1);
        assert_eq!(sums(&series), [(Some("a"), 1), (None, 2)]);
    }
}
