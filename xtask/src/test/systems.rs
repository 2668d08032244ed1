//! A guest with the container engines: the agent starts before everything else, and the tests'
//! program runs the scenarios of `tests/systems` one after the other.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    agent, setup,
    vm::{initramfs::Initramfs, kernel::Kernel},
};

/// Units by their place below the guest's `/run/systemd/system`.
const UNITS: [(&str, &str); 3] = [
    (
        "notify-trace.service",
        include_str!("guest/notify-trace-explain.service"),
    ),
    (
        "nt-systems.service",
        include_str!("guest/nt-systems.service"),
    ),
    ("nt-systems.target", include_str!("guest/nt-systems.target")),
];

/// What the kernel command line asks of systemd.
pub const WORDS: &[&str] = &[
    "systemd.show_status=0",
    "systemd.getty_auto=0",
    // Not multi-user.target: that would start the engines, which the scenarios do.
    "systemd.unit=nt-systems.target",
    "systemd.wants=notify-trace.service",
];

/// The guest's initramfs.
pub fn initramfs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = super::systemd::with_programs(kernel, binaries)?;
    with_scenarios(&mut archive)?;
    archive.units(&UNITS)?;
    Ok(archive)
}

/// Adds the scenarios, and what they make containers of.
pub fn with_scenarios(archive: &mut Initramfs) -> Result<()> {
    archive.copy("payload/notify-trace/busybox", &setup::busybox()?)?;
    pack(
        archive,
        &agent::root().join("tests/systems"),
        "payload/notify-trace/systems",
    )
}

/// Adds a folder with all that is in it.
fn pack(archive: &mut Initramfs, folder: &Path, to: &str) -> Result<()> {
    archive.folder(to)?;
    let unreadable = || format!("could not list {}", folder.display());
    let entries: Result<Vec<_>, _> = fs::read_dir(folder).with_context(unreadable)?.collect();
    let mut paths: Vec<_> = entries
        .with_context(unreadable)?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.sort();
    for path in paths {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .with_context(|| format!("{} is not UTF-8", path.display()))?;
        let to = format!("{to}/{name}");
        if path.is_dir() {
            pack(archive, &path, &to)?;
            continue;
        }
        let contents =
            fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        archive.file(&to, &contents)?;
    }
    Ok(())
}
