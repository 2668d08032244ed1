//! Debian packages: which are needed for what, which are there, and installing the rest.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::Need;
use crate::command;

/// A package and the file or program that proves it is installed.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Name for apt.
    pub name: &'static str,
    proof: Proof,
    need: Need,
}

#[derive(Clone, Copy, Debug)]
enum Proof {
    Program(&'static str),
    /// The package itself, because another one brings a program of the same name.
    Installed(&'static str),
    /// A module of Python's, which may come from elsewhere.
    Module(&'static str),
}

const PACKAGES: [Package; 9] = [
    Package {
        name: "gcc",
        proof: Proof::Program("cc"),
        need: Need::Build,
    },
    // DuckDB, which studies are compared with, comes as a package of Python's.
    Package {
        name: "python3-venv",
        proof: Proof::Module("ensurepip"),
        need: Need::Build,
    },
    // Makes certificates for a test.
    Package {
        name: "openssl",
        proof: Proof::Program("openssl"),
        need: Need::Boot,
    },
    Package {
        name: "qemu-system-x86",
        proof: Proof::Program("qemu-system-x86_64"),
        need: Need::Boot,
    },
    Package {
        name: "xz-utils",
        proof: Proof::Program("xz"),
        need: Need::Boot,
    },
    // Looks into the package that is made for others.
    Package {
        name: "rpm",
        proof: Proof::Program("rpm"),
        need: Need::Boot,
    },
    Package {
        name: "busybox-static",
        proof: Proof::Installed("bin/busybox"),
        need: Need::Image,
    },
    Package {
        name: "mmdebstrap",
        proof: Proof::Program("mmdebstrap"),
        need: Need::Image,
    },
    Package {
        name: "e2fsprogs",
        proof: Proof::Program("mke2fs"),
        need: Need::Image,
    },
];

impl Package {
    /// The file that proves the package is there.
    pub fn find(&self) -> Option<PathBuf> {
        match self.proof {
            Proof::Program(program) => command::find_program(program),
            Proof::Module(module) => {
                let python = command::find_program("python3")?;
                let found = Command::new(&python)
                    .args(["-c", &format!("import {module}")])
                    .output()
                    .ok()?;
                found.status.success().then_some(python)
            }
            Proof::Installed(file) => {
                let files = Command::new("dpkg").args(["-L", self.name]).output().ok()?;
                let text = String::from_utf8_lossy(&files.stdout).into_owned();
                text.lines()
                    .find(|line| line.ends_with(file))
                    .map(PathBuf::from)
            }
        }
    }
}

/// Where the static busybox is.
pub fn busybox() -> Result<PathBuf> {
    let package = PACKAGES
        .iter()
        .find(|package| package.name == "busybox-static");
    package
        .and_then(Package::find)
        .context("busybox-static is not installed")
}

/// Everything that `need` takes.
pub fn needed(need: Need) -> impl Iterator<Item = Package> {
    PACKAGES
        .into_iter()
        .filter(move |package| package.need <= need)
}

/// What of it isn't there.
pub fn missing(need: Need) -> Vec<Package> {
    needed(need)
        .filter(|package| package.find().is_none())
        .collect()
}

/// Whether packages come from apt here.
pub fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}

/// Reads apt's package lists anew: a new machine has none, or those of the day its image was made.
pub fn refresh() -> Result<()> {
    command::step("reading the package lists", || {
        command::output(command::as_root("apt-get")?.args(["-q", "update"]))
    })
    .context("could not update the package lists")?;
    Ok(())
}

/// Installs packages with apt, the package lists read anew.
pub fn install(names: &[&str]) -> Result<()> {
    if !is_debian() {
        bail!(
            "this is not a Debian: install what these packages hold with the means of this \
             system: {}",
            names.join(" ")
        );
    }
    refresh()?;
    command::step(&format!("installing {}", names.join(" ")), || {
        let mut apt = command::as_root("env")?;
        apt.args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
            "install",
            "-y",
        ]);
        command::output(apt.arg("--no-install-recommends").args(names))
    })
    .with_context(|| format!("could not install {}", names.join(" ")))?;
    Ok(())
}

/// The version apt would install, `None` when it knows no such package.
pub fn candidate(name: &str) -> Option<String> {
    let output = Command::new("apt-cache")
        .args(["policy", name])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    candidate_of(&String::from_utf8_lossy(&output.stdout))
}

fn candidate_of(policy: &str) -> Option<String> {
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_apts_policy() {
        let policy = "x:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1\n  Version table:\n";
        assert_eq!(candidate_of(policy).as_deref(), Some("1.96.0+dfsg1-1"));
        assert_eq!(candidate_of("x:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate_of(""), None);
    }
}
