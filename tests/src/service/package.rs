//! The life of the package: installed, upgraded, removed, purged.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    RECORDING, UNIT, loaded, main_pid, numbers, output, recorded_by, show, systemctl, unit, until,
};

/// The service's own folder in `/run` is where the tests' programs are; it is removed with it.
const BROUGHT: &str = "/run/notify-trace";
const KEPT: &str = "/run/nt-package";
const PACKAGE: &str = "/run/nt-package/notify-trace.deb";
const SPEAKER: &str = "/run/nt-package/notify-trace-tests";
const INSTALLED: &str = "/usr/bin/notify-trace";
const SETTINGS: &str = "/etc/notify-trace/agent.toml";
const FOLDER: &str = "/var/lib/notify-trace";

fn dpkg(words: &[&str]) -> Result<()> {
    let output = Command::new("dpkg")
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("could not start dpkg")?;
    ensure!(
        output.status.success(),
        "dpkg {}: {}{}",
        words.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn say(number: u64) -> Result<()> {
    let text = format!("X_NUMBER={number}");
    let speak = [SPEAKER, "speak", "--stay-ms", "200", &text];
    unit(&format!("nt-package-{number}"), &[], &speak)
}

/// Waits until a number is recorded.
fn is_recorded(number: u64) -> Result<()> {
    let unit = format!("nt-package-{number}.service");
    until("the notification to be recorded", || {
        let events = recorded_by(INSTALLED)?;
        Ok((numbers(&events, &unit) == [number]).then_some(()))
    })
}

pub(super) fn life() -> Result<String> {
    // What the other tests brought must not stand above it.
    let _ = fs::remove_file("/run/systemd/system/notify-trace.service");
    let _ = fs::remove_dir_all("/run/systemd/system/notify-trace.service.d");
    let _ = fs::remove_dir_all(FOLDER);
    fs::create_dir_all(KEPT)?;
    for name in ["notify-trace.deb", "notify-trace-tests"] {
        fs::copy(format!("{BROUGHT}/{name}"), format!("{KEPT}/{name}")).context(name)?;
    }
    systemctl(&["daemon-reload"])?;

    dpkg(&["-i", PACKAGE])?;
    ensure!(show("SubState")? == "running", "it was not started");
    ensure!(
        show("UnitFileState")? == "enabled",
        "{}",
        show("UnitFileState")?
    );
    ensure!(show("User")? == "notify-trace");
    say(1)?;
    is_recorded(1)?;

    let changed = format!("{}\n[view]\nredact = [\"X_SECRET\"]\n", "# mine");
    fs::write(SETTINGS, &changed).context(SETTINGS)?;
    let pid = main_pid()?;
    dpkg(&["--force-confold", "-i", PACKAGE])?;
    ensure!(
        show("SubState")? == "running",
        "the upgrade left it {}",
        show("SubState")?
    );
    ensure!(main_pid()? != pid, "the upgrade did not restart it");
    ensure!(
        fs::read_to_string(SETTINGS)? == changed,
        "settings were overwritten"
    );
    say(2)?;
    is_recorded(1)?;
    is_recorded(2)?;

    dpkg(&["-r", "notify-trace"])?;
    ensure!(!Path::new(INSTALLED).exists(), "the program is left");
    ensure!(show("LoadState")? == "not-found" || show("LoadState")? == "masked");
    ensure!(show("ActiveState")? != "active", "it still runs");
    ensure!(Path::new(RECORDING).exists(), "the recording is gone");
    ensure!(Path::new(SETTINGS).exists(), "the settings are gone");
    // Where it is alone, what is its own was not seen before.
    until("programs and maps to be gone", || {
        Ok((!loaded()?.contains_key("Map EVENTS")).then_some(()))
    })?;

    dpkg(&["-P", "notify-trace"])?;
    for path in [
        FOLDER,
        SETTINGS,
        "/etc/systemd/system/sysinit.target.wants/notify-trace.service",
    ] {
        ensure!(fs::symlink_metadata(path).is_err(), "{path} is left");
    }
    ensure!(show("LoadState")? == "not-found", "{}", show("LoadState")?);
    let release = output("sh", &["-c", ". /etc/os-release; echo $VERSION_CODENAME"])?;
    Ok(format!(
        "on Debian {}: {UNIT} came and went",
        release.trim()
    ))
}
