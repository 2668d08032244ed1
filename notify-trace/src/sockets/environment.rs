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

/// Adds the sockets found to the rules; answers a warning for each that stays unselected.
pub fn add_sockets(rules: &mut Rules, proc: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (spelling, pid) in notify_sockets(proc) {
        let address = Address::from_spelling(&spelling);
        if rules.selects(&address.0) {
            continue;
        }
        let table = std::fs::read(processes::file(proc, pid, "net/unix")).unwrap_or_default();
        match table::inode_of(&table, &address.0) {
            Some(inode) => rules.add_inode(ENVIRONMENT, inode),
            None => warnings.push(format!(
                "NOTIFY_SOCKET={} of process {pid} is not selected: no rule names it, and its \
                 network namespace has no socket bound to that name (--socket adds one)",
                spelling
            )),
        }
    }
    warnings
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
    fn only_unix_sockets_are_taken_from_an_environment() {
        assert_eq!(spelling(b"/run/x".to_vec()).as_deref(), Some("/run/x"));
        assert_eq!(spelling(b"@x".to_vec()).as_deref(), Some("@x"));
        assert_eq!(spelling(b"vsock:2:1".to_vec()), None);
        assert_eq!(spelling(b"/run/\xff".to_vec()), None);
    }
}
