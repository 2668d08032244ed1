//! Whether pids here are the host's: in a pid namespace of its own, the program would not recognise
//! itself, nor any process that the kernel side names.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Where a process's pid namespace shows: the inode number of what this leads to.
pub const PID_NAMESPACE: &str = "/proc/self/ns/pid";

/// Inode number of the initial pid namespace: `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`.
const INITIAL: u64 = 0xEFFF_FFFC;

/// Whether a namespace is the host's.
///
/// # Errors
/// If it can't be looked at.
pub fn is_hosts(namespace: &Path) -> Result<bool> {
    let inode = std::fs::metadata(namespace)
        .with_context(|| format!("cannot look at {}; is /proc mounted?", namespace.display()))?
        .ino();
    Ok(inode == INITIAL)
}

/// What tracing can't do without.
///
/// # Errors
/// If it is another namespace, with what helps; if it can't be looked at.
pub fn require_host_pids(namespace: &Path) -> Result<()> {
    if !is_hosts(namespace)? {
        bail!(
            "this is not the host's pid namespace, so no process could be told from another; run \
             it on the host, or in a container with the host's (--pid=host, hostPID: true)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_pid_namespace_is_refused_with_advice() {
        let error = require_host_pids(Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("hostPID"), "{error}");
    }
}
