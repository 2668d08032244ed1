//! The notify sockets that running processes were given: `NOTIFY_SOCKET` in their environments.
//!
//! A socket that no rule selects by name is looked up in its process's own network namespace
//! (`/proc/PID/net/unix`) and selected by inode number; one that can't be found is named in a
//! warning. Processes that start later are covered by the rules alone.

use std::collections::BTreeMap;
use std::path::Path;

use super::{processes, table};
use crate::event::Address;
use crate::select::{ENVIRONMENT, Rules};

/// What the rules do not select of the sockets found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unselected {
    /// Inode numbers of those that were looked up.
    inodes: Vec<u64>,
    /// A warning for each other one.
    warnings: Vec<String>,
}

impl Unselected {
    /// Has the rules select what can be; answers a warning for each socket that can't.
    #[must_use]
    pub fn add_to(self, rules: &mut Rules) -> Vec<String> {
        for inode in self.inodes {
            rules.add_inode(ENVIRONMENT, inode);
        }
        self.warnings
    }
}

/// Looks for sockets that the rules do not select.
#[must_use]
pub fn unselected(rules: &Rules, proc: &Path) -> Unselected {
    let mut unselected = Unselected::default();
    for (spelling, pid) in notify_sockets(proc) {
        let address = Address::from_spelling(&spelling);
        if rules.selects(&address.0) {
            continue;
        }
        let table = std::fs::read(processes::file(proc, pid, "net/unix")).unwrap_or_default();
        match table::inode_of(&table, &address.0) {
            Some(inode) => unselected.inodes.push(inode),
            None => unselected.warnings.push(format!(
                "NOTIFY_SOCKET={} of process {pid} is not selected: no rule names it, and its \
                 network namespace has no socket bound to that name (--socket adds one)",
                spelling
            )),
        }
    }
    unselected
}

/// Each distinct value of `NOTIFY_SOCKET` that is a unix socket's, with one process that has it.
fn notify_sockets(proc: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for pid in processes::pids(proc).into_iter().flatten() {
        // Gone meanwhile, or not ours to read.
        let Ok(environment) = processes::environment(proc, pid) else {
            continue;
        };
        if let Some(value) = environment.notify_socket.and_then(spelling) {
            found.entry(value).or_insert(pid);
        }
    }
    found
}

/// The value of `NOTIFY_SOCKET`, if it is a unix socket's.
fn spelling(value: Vec<u8>) -> Option<String> {
    let value = String::from_utf8(value).ok()?;
    (value.starts_with('/') || value.starts_with('@')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_selected_by_its_inode_number() {
        let mut rules = Rules::new(&[], &["/run/x".into()], false).unwrap();
        let unselected = Unselected {
            inodes: vec![7],
            warnings: vec!["not found".to_owned()],
        };
        assert_eq!(unselected.add_to(&mut rules), ["not found"]);
        // Behind the one that was there.
        assert_eq!(rules.class_of_inode(1), None);
        assert_eq!(
            rules.class_of_inode(2).map(|class| &**class),
            Some(ENVIRONMENT)
        );
    }

    #[test]
    fn only_unix_sockets_are_taken_from_an_environment() {
        assert_eq!(spelling(b"/run/x".to_vec()).as_deref(), Some("/run/x"));
        assert_eq!(spelling(b"@x".to_vec()).as_deref(), Some("@x"));
        assert_eq!(spelling(b"vsock:2:1".to_vec()), None);
        assert_eq!(spelling(b"/run/\xff".to_vec()), None);
    }
}
