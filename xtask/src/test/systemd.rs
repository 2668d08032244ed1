//! A guest with systemd: the agent starts before everything else, and the tests' program compares
//! what it and the other verbs say with what systemd itself says.

use std::path::Path;

use anyhow::Result;

use crate::vm::{initramfs::Initramfs, kernel::Kernel};

/// Units by their place below the guest's `/run/systemd/system`.
const UNITS: [(&str, &str); 3] = [
    (
        "notify-trace.service",
        include_str!("guest/notify-trace.service"),
    ),
    ("nt-check.service", include_str!("guest/nt-check.service")),
    (
        "nt-escaped@.service",
        include_str!("guest/nt-escaped@.service"),
    ),
];

/// What the kernel command line asks of systemd.
pub const WORDS: &[&str] = &[
    "systemd.show_status=0",
    "systemd.getty_auto=0",
    "systemd.unit=multi-user.target",
    "systemd.wants=notify-trace.service",
    "systemd.wants=nt-check.service",
    // Its name is /dev/disk-1.
    r"systemd.wants=nt-escaped@dev-disk\x2d1.service",
];

/// The guest's initramfs.
pub fn initramfs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = with_programs(kernel, binaries)?;
    archive.units(&UNITS)?;
    Ok(archive)
}

/// An archive for a guest with a disk, with the agent and the tests' program.
pub fn with_programs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = Initramfs::with_disk(kernel)?;
    for program in ["notify-trace", "notify-trace-tests"] {
        archive.copy(
            &format!("payload/notify-trace/{program}"),
            &binaries.join(program),
        )?;
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
                let template = unit.split_once('@').map_or_else(
                    || unit.to_owned(),
                    |(prefix, _)| format!("{prefix}@.service"),
                );
                assert!(UNITS.iter().any(|(name, _)| *name == template), "{unit}");
            }
        }
    }
}
