//! Disks of guests: a minimal Debian as an ext4 image, made once for each recipe and kept.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    cache::Cache,
    command,
    debian::{Archive, Suite},
};

/// What is in the image; its hash names the file, so a change makes a new one.
#[derive(Clone, Debug, Hash)]
pub struct Recipe {
    suite: Suite,
    security: Option<Suite>,
    packages: &'static [&'static str],
    without: &'static [&'static str],
    megabytes: u32,
    /// To be raised when the way of making it changes.
    revision: u32,
}

/// Debian 13 with systemd, and strace as a witness.
pub const TRIXIE: Recipe = Recipe {
    suite: "trixie",
    security: Some("trixie-security"),
    packages: &[
        "systemd",
        "systemd-sysv",
        "udev",
        "dbus",
        "libpam-systemd",
        "strace",
    ],
    without: &[
        "/usr/share/doc/*",
        "/usr/share/man/*",
        "/usr/share/locale/*",
    ],
    megabytes: 600,
    revision: 1,
};

/// The same Debian with the programs that the agent is measured against.
pub const BENCH: Recipe = Recipe {
    packages: &["bpftrace", "linux-perf", "strace"],
    megabytes: 1000,
    ..TRIXIE
};

/// The same Debian with the programs that relay notifications or send their own.
pub const SYSTEMS: Recipe = Recipe {
    packages: &[
        "systemd",
        "systemd-sysv",
        "systemd-container",
        "udev",
        "dbus",
        "libpam-systemd",
        // Its dependencies bring containerd and runc.
        "docker.io",
        "docker-cli",
        "crun",
        // Its dependencies bring conmon.
        "podman",
        "netavark",
        // /bin/kill, by which docker.service is reloaded.
        "procps",
        // The first process of podman's pods.
        "catatonit",
        "iproute2",
        "strace",
    ],
    megabytes: 1900,
    ..TRIXIE
};

/// The same programs as they are in Debian's newest suite, whose security updates are its own.
pub const NEWEST_SYSTEMS: Recipe = Recipe {
    suite: "sid",
    security: None,
    megabytes: 2600,
    ..SYSTEMS
};

/// Debian's next release, with systemd.
pub const FORKY: Recipe = Recipe {
    suite: "forky",
    security: None,
    packages: &[
        "systemd",
        "systemd-sysv",
        "udev",
        "dbus",
        "libpam-systemd",
        // Not parts of systemd's dependencies there.
        "libseccomp2",
        "mount",
    ],
    ..TRIXIE
};

/// The image of a recipe, made now when the cache doesn't have it.
pub fn get(cache: &Cache, recipe: &Recipe) -> Result<PathBuf> {
    let path = cache.path("images").join(file_name(recipe));
    cache
        .ensure(|| path.exists(), || make(cache, recipe, &path))
        .with_context(|| format!("could not make the image of {}", recipe.suite))?;
    Ok(path)
}

fn make(cache: &Cache, recipe: &Recipe, to: &Path) -> Result<()> {
    let archive = Archive::of_this_system(cache)?;
    // So that the keys of the suite are here, too.
    archive.update(recipe.suite)?;
    let draft = cache.draft()?;
    let root = draft.path().join("root");
    let image = draft.path().join("image");
    // Owners and device files need root; the tree is handed to mke2fs and removed as root, too.
    let mut mmdebstrap = command::as_root("mmdebstrap")?;
    mmdebstrap.args(["--mode=root", "--format=directory", "--variant=essential"]);
    mmdebstrap.arg(format!("--include={}", recipe.packages.join(",")));
    // A mirror that isn't up to date will do: it is signed all the same.
    mmdebstrap.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    for pattern in recipe.without {
        mmdebstrap.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    mmdebstrap.arg(recipe.suite).arg(&root);
    mmdebstrap.args(archive.source_lines(recipe.suite, recipe.security));
    command::step(
        &format!(
            "installing a Debian {} with {}",
            recipe.suite,
            recipe.packages.join(", ")
        ),
        || command::output(&mut mmdebstrap),
    )?;
    command::step("making its disk image", || {
        let mut mke2fs = command::as_root("mke2fs")?;
        mke2fs
            .args(["-q", "-t", "ext4", "-L", "notify-trace", "-d"])
            .arg(&root)
            .arg(&image);
        command::output(mke2fs.arg(format!("{}M", recipe.megabytes)))?;
        command::output(command::as_root("rm")?.arg("-rf").arg(&root))?;
        command::output(command::as_root("chmod")?.arg("644").arg(&image))
    })?;
    fs::metadata(&image).with_context(|| format!("no image at {}", image.display()))?;
    draft.publish("image", to)
}

fn file_name(recipe: &Recipe) -> String {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    format!("{}-{:016x}.ext4", recipe.suite, hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_recipe_makes_a_new_image() {
        let other = Recipe {
            packages: &["systemd"],
            ..TRIXIE
        };
        assert_ne!(file_name(&TRIXIE), file_name(&other));
        assert_eq!(file_name(&TRIXIE), file_name(&TRIXIE.clone()));
        assert_ne!(file_name(&TRIXIE), file_name(&BENCH));
        assert!(file_name(&TRIXIE).starts_with("trixie-"));
    }
}
