//! A guest whose service managers tell all that they do, and lose none of it: their journal is what
//! the agent's trace is compared with.

use std::path::Path;

use anyhow::Result;

use crate::vm::{initramfs::Initramfs, kernel::Kernel};

/// Units of the system's manager alone, by their place below the guest's `/run/systemd/system`.
const OF_THE_SYSTEM: [(&str, &str); 3] = [
    (
        "notify-trace.service",
        include_str!("guest/notify-trace.service"),
    ),
    (
        "nt-witness.service",
        include_str!("guest/nt-witness.service"),
    ),
    (
        "nt-refused-none@.service",
        include_str!("guest/nt-refused-none@.service"),
    ),
];

/// Units of users' managers, too.
const OF_BOTH: [(&str, &str); 7] = [
    ("nt-crowd@.service", include_str!("guest/nt-crowd@.service")),
    (
        "nt-watchdog@.service",
        include_str!("guest/nt-watchdog@.service"),
    ),
    ("nt-child@.service", include_str!("guest/nt-child@.service")),
    (
        "nt-refused-main@.service",
        include_str!("guest/nt-refused-main@.service"),
    ),
    (
        "nt-refused-exec@.service",
        include_str!("guest/nt-refused-exec@.service"),
    ),
    ("nt-say.service", include_str!("guest/nt-say.service")),
    ("nt-shell@.service", include_str!("guest/nt-shell@.service")),
];

/// Settings by their place below the guest's `/run/systemd`.
///
/// Not on the kernel command line: from there all of systemd's programs would take them.
const SETTINGS: [(&str, &str); 3] = [
    (
        "system.conf.d/witness.conf",
        include_str!("guest/witness-manager.conf"),
    ),
    (
        "user.conf.d/witness.conf",
        include_str!("guest/witness-manager.conf"),
    ),
    (
        "journald.conf.d/witness.conf",
        include_str!("guest/witness-journald.conf"),
    ),
];

/// What the kernel command line asks for.
pub const WORDS: &[&str] = &[
    // Until journald runs, the manager writes to the kernel's log: with room, and not limited.
    "log_buf_len=16M",
    "printk.devkmsg=on",
    // By the manager neither: it drops all but 200 lines in 5 s.
    "systemd.log_ratelimit_kmsg=0",
    "systemd.show_status=0",
    "systemd.getty_auto=0",
    "systemd.unit=multi-user.target",
    "systemd.wants=notify-trace.service",
    "systemd.wants=nt-witness.service",
];

/// The guest's initramfs.
pub fn initramfs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = super::systemd::with_programs(kernel, binaries)?;
    archive.units(&[&OF_THE_SYSTEM[..], &OF_BOTH].concat())?;
    for (place, text) in SETTINGS {
        archive.setting(place, text)?;
    }
    for (name, text) in OF_BOTH {
        archive.setting(&format!("user/{name}"), text)?;
    }
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_that_is_started_is_packed() {
        for word in WORDS {
            if let Some(unit) = word.strip_prefix("systemd.wants=") {
                assert!(
                    OF_THE_SYSTEM.iter().any(|(name, _)| *name == unit),
                    "{unit}"
                );
            }
        }
    }
}
