//! A guest in which the agent runs as the service that packages install, and the tests' program tries
//! what it promises.

use std::path::Path;

use anyhow::Result;

use crate::vm::{initramfs::Initramfs, kernel::Kernel};

/// The service itself.
const SERVICE: &str = include_str!("../../../dist/notify-trace.service");

/// Its user.
const USER: &str = include_str!("../../../dist/notify-trace.sysusers");

/// Where the guest has the program; `/run/notify-trace` is there what the tests bring.
const HERE: &str = "[Service]\nExecStart=\nExecStart=/run/notify-trace/notify-trace agent \
                    --config /run/notify-trace/agent.toml\n\
                    RuntimeDirectory=\nRuntimeDirectory=notify-trace-agent\n\
                    WatchdogSec=10min\n";

/// The check.
const CHECK: &str = include_str!("guest/nt-service-check.service");

/// What the kernel command line asks of systemd.
pub const WORDS: &[&str] = &[
    "systemd.show_status=0",
    "systemd.getty_auto=0",
    "systemd.unit=multi-user.target",
    "systemd.wants=nt-service-check.service",
];

/// The same for a long run: the engines of the image are not started.
pub const SOAK_WORDS: &[&str] = &[
    "systemd.show_status=0",
    "systemd.getty_auto=0",
    "systemd.unit=basic.target",
    "systemd.wants=nt-service-check.service",
];

/// What the package is called that lies beside the binaries.
pub const PACKAGE: &str = "notify-trace.deb";

/// What the Collector is called that lies beside the binaries.
pub const COLLECTOR: &str = "otelcol";

/// A guest for the package alone.
pub fn package_initramfs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = super::systemd::with_programs(kernel, binaries)?;
    archive.copy(
        &format!("payload/notify-trace/{PACKAGE}"),
        &binaries.join(PACKAGE),
    )?;
    archive.units(&[("nt-service-check.service", CHECK)])?;
    Ok(archive)
}

/// A guest for a long run, with a container engine.
pub fn soak_initramfs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = super::systemd::with_programs(kernel, binaries)?;
    super::systems::with_scenarios(&mut archive)?;
    archive.units(&[("nt-service-check.service", CHECK)])?;
    with_service(&mut archive)?;
    Ok(archive)
}

/// The guest's initramfs.
pub fn initramfs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = package_initramfs(kernel, binaries)?;
    archive.copy(
        &format!("payload/notify-trace/{COLLECTOR}"),
        &binaries.join(COLLECTOR),
    )?;
    with_service(&mut archive)?;
    Ok(archive)
}

/// Adds the service and its user.
fn with_service(archive: &mut Initramfs) -> Result<()> {
    archive.units(&[("notify-trace.service", SERVICE)])?;
    archive.folder("payload/sysusers.d")?;
    archive.file("payload/sysusers.d/notify-trace.conf", USER.as_bytes())?;
    archive.setting("system/notify-trace.service.d/here.conf", HERE)
}
