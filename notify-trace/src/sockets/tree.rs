//! Orders processes as `ps --forest` does: each below its nearest ancestor that is there too,
//! siblings by their ids. Pure, and flat: chains of processes may be as long as somebody likes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The given processes in the order of a forest, each with its depth; roots have depth 0.
///
/// Every process appears once, even where the parents make a circle: they were not all read at one
/// moment, and ids are used again.
#[must_use]
pub fn forest(pids: &[u32], parents: &HashMap<u32, u32>) -> Vec<(u32, u32)> {
    let mut unplaced: BTreeSet<u32> = pids.iter().copied().collect();
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut roots = Vec::new();
    for pid in &unplaced {
        match nearest_ancestor(*pid, &unplaced, parents) {
            Some(ancestor) => children.entry(ancestor).or_default().push(*pid),
            None => roots.push(*pid),
        }
    }
    let mut ordered = Vec::with_capacity(unplaced.len());
    roots.reverse();
    let mut waiting: Vec<(u32, u32)> = roots.into_iter().map(|root| (root, 0)).collect();
    while let Some((pid, depth)) = waiting.pop().or_else(|| Some((*unplaced.first()?, 0))) {
        if unplaced.remove(&pid) {
            ordered.push((pid, depth));
            let below = children.remove(&pid).unwrap_or_default();
            waiting.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
        }
    }
    ordered
}

fn nearest_ancestor(pid: u32, members: &BTreeSet<u32>, parents: &HashMap<u32, u32>) -> Option<u32> {
    let mut at = pid;
    // No path is longer than there are processes, unless it is a circle.
    for _ in 0..parents.len() {
        at = *parents.get(&at)?;
        if members.contains(&at) {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_stands_below_its_nearest_ancestor_that_is_there() {
        let parents = HashMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (13, 10), (30, 1)]);
        assert_eq!(
            forest(&[30, 13, 12, 10], &parents),
            [(10, 0), (12, 1), (13, 1), (30, 0)]
        );
        assert_eq!(forest(&[1, 12, 30], &parents), [(1, 0), (12, 1), (30, 1)]);
        assert_eq!(forest(&[], &parents), []);
    }

    #[test]
    fn a_circle_of_parents_loses_nobody() {
        let parents = HashMap::from([(2, 3), (3, 2), (4, 3), (5, 5)]);
        let ordered = forest(&[2, 3, 4, 5], &parents);
        assert_eq!(ordered, [(2, 0), (3, 1), (4, 2), (5, 0)]);
    }

    #[test]
    fn a_chain_of_many_is_no_trouble() {
        let parents = (1..=3_000).map(|pid| (pid, pid - 1)).collect();
        let pids: Vec<_> = (1..=3_000).collect();
        assert_eq!(forest(&pids, &parents).last(), Some(&(3_000, 2_999)));
    }

    proptest! {
        #[test]
        fn everybody_is_there_once(
            parents in proptest::collection::hash_map(0..20_u32, 0..20_u32, 0..20),
            pids in proptest::collection::btree_set(0..20_u32, 0..20),
        ) {
            let pids: Vec<_> = pids.into_iter().collect();
            let mut ordered: Vec<_> = forest(&pids, &parents).into_iter().map(|it| it.0).collect();
            ordered.sort_unstable();
            prop_assert_eq!(ordered, pids);
        }
    }
}
