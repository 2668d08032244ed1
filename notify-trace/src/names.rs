//! Names that the kernel programs tell once: cgroup paths and receivers' addresses.
//!
//! Owns the bounded memory of both. What is forgotten, or whose record was lost, is unknown: the
//! caller says so instead of looking elsewhere.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

use bytes::Bytes;
use foldhash::fast::RandomState;

/// Most cgroups, and most receivers, that are remembered.
const CAPACITY: usize = 65_536;

/// Most names that are kept to be shared.
const SHARED: usize = 4_096;

/// What is known of a receiving socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverName {
    /// Its address as it was bound; empty: it has none.
    pub address: Bytes,
    /// The rule that its name or its inode matches; 0: none.
    pub rule: u32,
}

/// Cgroup paths by id, receivers' names by inode number.
#[derive(Debug)]
pub struct Names {
    cgroups: Recent<u64, Bytes>,
    receivers: Recent<u64, ReceiverName>,
    /// Each is its own value.
    shared: Recent<Bytes, Bytes>,
}

impl Names {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cgroups: Recent::new(CAPACITY),
            receivers: Recent::new(CAPACITY),
            shared: Recent::new(SHARED),
        }
    }

    /// Remembers a cgroup's path.
    pub fn learn_cgroup(&mut self, id: u64, path: Bytes) {
        self.cgroups.insert(id, path);
    }

    /// Remembers a receiver's name.
    pub fn learn_receiver(&mut self, inode: u64, name: ReceiverName) {
        self.receivers.insert(inode, name);
    }

    /// A cgroup's path.
    pub fn cgroup(&mut self, id: u64) -> Option<&Bytes> {
        self.cgroups.get(&id)
    }

    /// These bytes, in memory that whoever has the same shares: what is said again and again, such as the
    /// name of a thread.
    pub fn share(&mut self, bytes: &[u8]) -> Bytes {
        if let Some(known) = self.shared.get(bytes) {
            return known.clone();
        }
        let bytes = Bytes::copy_from_slice(bytes);
        self.shared.insert(bytes.clone(), bytes.clone());
        bytes
    }

    /// A receiver's name.
    pub fn receiver(&mut self, inode: u64) -> Option<&ReceiverName> {
        self.receivers.get(&inode)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

/// A map that holds at most `capacity` entries and forgets those not used for longest: two maps,
/// where what is used moves to the younger one, and the older one is dropped when the younger is
/// half the capacity.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V, RandomState>,
    old: HashMap<K, V, RandomState>,
    generation: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            generation: (capacity / 2).max(1),
        }
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            // The room of the dropped ones is that of the next ones.
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, value);
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.rejuvenate(key);
        self.young.get(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// The same without counting as use.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.rejuvenate(key);
        self.young.get_mut(key)
    }

    /// Moves what is used to the younger map. As a rule there is nothing old, and nothing to do.
    fn rejuvenate<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if !self.old.is_empty()
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_numbers() {
        let mut names = Names::new();
        names.learn_cgroup(7, Bytes::from_static(b"/a.slice"));
        let name = ReceiverName {
            address: Bytes::from_static(b"/run/systemd/notify"),
            rule: 1,
        };
        names.learn_receiver(8, name.clone());
        assert_eq!(names.cgroup(7).map(AsRef::as_ref), Some(&b"/a.slice"[..]));
        assert_eq!(names.receiver(8), Some(&name));
        assert_eq!(names.cgroup(8), None);
        assert_eq!(names.receiver(7), None);
    }

    #[test]
    fn the_same_bytes_are_shared() {
        let mut names = Names::new();
        let (one, other) = (names.share(b"systemd"), names.share(b"systemd"));
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert_eq!(
            (&one[..], &names.share(b"")[..]),
            (&b"systemd"[..], &b""[..])
        );
    }

    #[test]
    fn a_later_name_replaces_an_earlier_one() {
        let mut recent = Recent::new(4);
        for round in 0..10 {
            recent.insert("key", round);
            recent.insert(if round % 2 == 0 { "x" } else { "y" }, round);
            assert_eq!(recent.get(&"key"), Some(&round));
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut recent = Recent::new(100);
        for key in 0..10_000 {
            recent.insert(key, key);
            assert!(recent.young.len() + recent.old.len() <= 100);
        }
        assert_eq!(recent.get(&9_999), Some(&9_999));
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn what_is_used_stays() {
        let mut recent = Recent::new(100);
        recent.insert(u32::MAX, "used");
        for key in 0..10_000 {
            recent.insert(key, "unused");
            assert_eq!(recent.get(&u32::MAX), Some(&"used"));
            assert!(recent.young.len() + recent.old.len() <= 100);
        }
    }

    #[test]
    fn what_is_removed_is_gone_from_both_generations() {
        let mut recent = Recent::new(2);
        recent.insert(1, "a");
        recent.insert(2, "b");
        assert_eq!(recent.remove(&1), Some("a"));
        assert_eq!(recent.remove(&2), Some("b"));
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&2), None);
    }
}
