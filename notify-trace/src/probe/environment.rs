//! The notify sockets that running processes were given: `NOTIFY_SOCKET` in their environments.
//!
//! A socket that no rule selects by name is looked up in its process's own network namespace
//! (`/proc/PID/net/unix`) and selected by inode number; one that can't be found is named in a
//! warning. Processes that start later are covered by the rules alone. Also: whether pids here are
//! the host's.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::event::Address;
use crate::select::{ENVIRONMENT, Rules};

/// Where a process's pid namespace shows: the inode number of what this leads to.
pub const PID_NAMESPACE: &str = "/proc/self/ns/pid";

/// Inode number of the initial pid namespace: `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Adds the sockets found to the rules; answers a warning for each that stays unselected.
pub fn add_sockets(rules: &mut Rules, proc: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for (spelling, pid) in notify_sockets(proc) {
        let address = Address::from_spelling(&spelling);
        if rules.selects(&address.0) {
            continue;
        }
        let table = std::fs::read(proc.join(pid.to_string()).join("net/unix")).unwrap_or_default();
        match inode_of(&table, &address.0) {
            Some(inode) => rules.add_inode(ENVIRONMENT, inode),
            None => warnings.push(format!(
                "NOTIFY_SOCKET={} of process {pid} is not selected: no rule names it, and its \
                 network namespace has no socket bound to that name (--socket adds one)",
                crate::escape::escape(spelling.as_bytes())
            )),
        }
    }
    warnings
}

/// In a pid namespace of its own, the program would not recognise itself, nor any process that the
/// kernel side names.
///
/// # Errors
/// If it is another one, with what helps; if it can't be looked at.
pub fn require_host_pids(namespace: &Path) -> Result<()> {
    let inode = std::fs::metadata(namespace)
        .with_context(|| format!("cannot look at {}; is /proc mounted?", namespace.display()))?
        .ino();
    if inode != INITIAL_PID_NAMESPACE {
        bail!(
            "this is not the host's pid namespace, so no process could be told from another; run \
             it on the host, or in a container with the host's (--pid=host, hostPID: true)"
        );
    }
    Ok(())
}

/// Each distinct value of `NOTIFY_SOCKET`, with one process that has it.
fn notify_sockets(proc: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // Gone meanwhile, or not ours to read.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        if let Some(value) = notify_socket(&environment) {
            found.entry(value).or_insert(pid);
        }
    }
    found
}

/// The value of `NOTIFY_SOCKET` in an environment block, if it is a unix socket's.
fn notify_socket(environment: &[u8]) -> Option<String> {
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"NOTIFY_SOCKET="))?;
    let value = std::str::from_utf8(value).ok()?;
    (value.starts_with('/') || value.starts_with('@')).then(|| value.to_owned())
}

/// The inode number of the datagram socket bound to `address`, from a `/proc/PID/net/unix` table:
/// `Num RefCount Protocol Flags Type St Inode Path`, where a NUL of an abstract name is an `@`
/// (`unix_seq_show`, net/unix/af_unix.c).
fn inode_of(table: &[u8], address: &[u8]) -> Option<u64> {
    let wanted: Vec<u8> = address
        .iter()
        .map(|byte| if *byte == 0 { b'@' } else { *byte })
        .collect();
    table.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let mut fields = line
            .split(|byte| *byte == b' ')
            .filter(|field| !field.is_empty());
        let kind = fields.nth(4)?;
        let inode = fields.nth(1)?;
        let path = fields.next()?;
        (kind == b"0002" && path == wanted)
            .then(|| std::str::from_utf8(inode).ok()?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000000000000000: 00000002 00000000 00010000 0001 01 17000 /run/app/ready\n\
        0000000000000000: 00000002 00000000 00000000 0002 01 17001 /run/app/ready\n\
        0000000000000000: 00000002 00000000 00000000 0002 01 17002 @odd@name\n\
        0000000000000000: 00000003 00000000 00000000 0002 03 17003\n";

    #[test]
    fn a_bound_datagram_socket_is_found_by_its_name() {
        assert_eq!(inode_of(TABLE, b"/run/app/ready"), Some(17001));
        assert_eq!(inode_of(TABLE, b"\0odd\0name"), Some(17002));
        assert_eq!(inode_of(TABLE, b"/run/app"), None);
        assert_eq!(inode_of(b"", b"/run/app"), None);
    }

    #[test]
    fn only_unix_sockets_are_taken_from_an_environment() {
        assert_eq!(
            notify_socket(b"A=1\0NOTIFY_SOCKET=/run/x\0").as_deref(),
            Some("/run/x")
        );
        assert_eq!(notify_socket(b"NOTIFY_SOCKET=@x").as_deref(), Some("@x"));
        assert_eq!(notify_socket(b"NOTIFY_SOCKET=vsock:2:1\0"), None);
        assert_eq!(notify_socket(b"XNOTIFY_SOCKET=/run/x\0"), None);
    }

    #[test]
    fn another_pid_namespace_is_refused_with_advice() {
        let error = require_host_pids(Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("hostPID"), "{error}");
    }
}
