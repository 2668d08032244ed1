//! The QEMU that executes guests: this system's, or a newer one in the cache where it is too old.
//!
//! Before 8.1, QEMU's code generator did not lock the page that it translates. Where the kernel puts a
//! tracepoint's jump in place by way of a breakpoint (`arch/x86/kernel/alternative.c`) while another CPU
//! translates that page, the CPU can keep the breakpoint for good: it runs into it when there is none
//! any more, and the kernel dies of "Oops: int3". Two CPUs, of which one ends processes and one switches
//! `sched_process_exit` on and off, saw that within seconds with 7.2, twice out of two times; with 10.0
//! it was switched 5,000 times without it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::qemu;
use crate::{
    cache::Cache,
    command,
    debian::{Archive, Suite},
};

const PROGRAM: &str = "qemu-system-x86_64";
/// The first version that locks a page while it is translated.
const SOUND: Version = Version { major: 8, minor: 1 };
/// Releases whose own QEMU is older, and where a newer one for them is.
const NEWER: [(&str, Suite); 1] = [("bookworm", "bookworm-backports")];
/// What a guest of ours takes of it; the libraries are those of the system's own QEMU.
const PACKAGES: [&str; 4] = [
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "seabios",
];
/// Where those packages keep what a virtual machine starts with.
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];
/// Where they keep the parts that QEMU loads by itself, which must be of its own build.
const MODULES: &str = "usr/lib/x86_64-linux-gnu/qemu";

/// A QEMU, and where its parts are if not where it looks by itself.
#[derive(Clone, Debug)]
pub struct Emulator {
    /// The program, to be found in `PATH` if it is a name alone.
    program: PathBuf,
    /// What it says of itself: `7.2.22`.
    pub version: String,
    /// The folder that its packages were unpacked to, where they are not installed.
    root: Option<PathBuf>,
}

impl Emulator {
    /// One that starts here: whose libraries are missing won't do.
    fn started_once(program: PathBuf, root: Option<PathBuf>) -> Result<Self> {
        let text = command::output(Command::new(&program).arg("--version"))
            .with_context(|| format!("{} does not start here", program.display()))?;
        let version = version(&text)
            .ok_or_else(|| anyhow!("{} has no version: {text}", program.display()))?
            .to_owned();
        Ok(Self {
            program,
            version,
            root,
        })
    }

    fn is_sound(&self) -> bool {
        numbers(&self.version).is_some_and(|version| version >= SOUND)
    }

    /// A command that starts it, still without a machine.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            command.env("QEMU_MODULE_DIR", root.join(MODULES));
            for below in FIRMWARE {
                command.arg("-L").arg(root.join(below));
            }
        }
        command
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

/// The emulator for this run. A system that has an old one and nowhere to get a newer one from is
/// told so, and goes on with what it has.
pub fn get(cache: &Cache) -> Result<Emulator> {
    let system = Emulator::started_once(PROGRAM.into(), None)?;
    if system.is_sound() || !qemu::emulates(&qemu::accelerator()) {
        return Ok(system);
    }
    newer(cache).or_else(|error| {
        eprintln!(
            "QEMU {} is older than {}.{}: a guest's kernel may die of \"Oops: int3\" while a program is \
             attached, which is neither its fault nor notify-trace's ({error:#})",
            system.version, SOUND.major, SOUND.minor
        );
        Ok(system)
    })
}

/// The newer one in the cache, fetched if it isn't there.
fn newer(cache: &Cache) -> Result<Emulator> {
    let archive = Archive::of_this_system(cache)?;
    let (_, suite) = NEWER
        .into_iter()
        .find(|(codename, _)| *codename == archive.codename())
        .ok_or_else(|| anyhow!("there is no newer one for {}", archive.codename()))?;
    let root = cache.path("qemu").join(key(suite));
    // One that does not start here any more, because a library of the system's has changed, is fetched again.
    cache.ensure(
        || unpacked(&root).is_ok(),
        || {
            command::step(&format!("fetching QEMU from {suite}"), || {
                fetch(cache, &archive, suite, &root)
            })
        },
    )?;
    unpacked(&root)
}

/// Name of its folder in the cache: other packages are another one.
fn key(suite: Suite) -> String {
    format!("{suite}-{}", PACKAGES.join("-"))
}

/// What was unpacked to a folder, if it will do.
fn unpacked(root: &Path) -> Result<Emulator> {
    let emulator = Emulator::started_once(root.join("usr/bin").join(PROGRAM), Some(root.into()))?;
    ensure!(emulator.is_sound(), "{} is too old, too", emulator.version);
    Ok(emulator)
}

fn fetch(cache: &Cache, archive: &Archive, suite: Suite, to: &Path) -> Result<()> {
    archive.update(suite)?;
    let draft = cache.draft()?;
    for package in PACKAGES {
        let stanza = archive.package(suite, package)?;
        archive.unpack(suite, &stanza, draft.path(), &draft.path().join("root"))?;
    }
    draft.publish("root", to)
}

/// Of `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)` the `7.2.22`.
fn version(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("version ")?;
    rest.split_whitespace().next()
}

/// Of `7.2.22` the 7 and the 2.
fn numbers(version: &str) -> Option<Version> {
    let mut numbers = version.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some(Version {
        major: next()?,
        minor: next()?,
    })
}

#[cfg(test)]
impl Emulator {
    /// One for tests of what is asked of it.
    pub fn of_tests(root: Option<&str>) -> Self {
        Self {
            program: PROGRAM.into(),
            version: "10.0.2".into(),
            root: root.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_fetched_one_finds_its_parts() {
        let command = Emulator::of_tests(Some("/q")).command();
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            ["-L", "/q/usr/share/qemu", "-L", "/q/usr/share/seabios"]
        );
        let modules = Some(OsStr::new("/q/usr/lib/x86_64-linux-gnu/qemu"));
        let mut environment = command.get_envs();
        assert!(environment.any(|it| it == (OsStr::new("QEMU_MODULE_DIR"), modules)));
        assert_eq!(Emulator::of_tests(None).command().get_args().count(), 0);
    }

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let of = |text: &str| {
            let text = format!("QEMU emulator version {text}");
            numbers(version(&text).unwrap()).unwrap()
        };
        assert!(of("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)") < SOUND);
        assert!(of("8.1.0") >= SOUND);
        assert!(of("8.0.50") < SOUND);
        assert!(of("10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright") >= SOUND);
        assert_eq!(version("QEMU"), None);
    }
}
