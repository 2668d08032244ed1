//! Debian's cloud kernels: which ones matter, fetching them, finding them in the cache again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::modules;
use crate::{
    cache::Cache,
    command,
    debian::{Archive, Stanza, Suite, compare_versions},
};

/// A kernel series, and the suites whose newest kernel of that series is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// What a package name says after `linux-image-`, such as `5.10`.
    pub name: &'static str,
    suites: &'static [Suite],
}

/// The oldest kernel this product supports, Debian's current ones, and the newest there is.
pub const ALL: [Series; 4] = [
    Series {
        name: "5.10",
        suites: &["bullseye-security", "bullseye"],
    },
    Series {
        name: "6.1",
        suites: &["bookworm-security", "bookworm"],
    },
    Series {
        name: "6.12",
        suites: &["trixie-security", "trixie"],
    },
    Series {
        name: "7",
        suites: &["trixie-backports", "sid", "experimental"],
    },
];

/// The series of Debian 13, which the demo boots, and the first with a choice of preemption.
pub const TRIXIE: Series = ALL[2];

/// Modules for a disk and for containers; those built into a kernel are left out by themselves.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "overlay"];

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Debian's version of it, such as `6.12.117-1`.
    pub version: String,
    /// What QEMU boots.
    pub vmlinuz: PathBuf,
    /// Folder of modules, named in loading order.
    pub modules: PathBuf,
}

/// Looks a series up by what the user typed: `6.12`.
pub fn series(name: &str) -> Result<Series> {
    ALL.into_iter()
        .find(|series| series.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|series| series.name).collect();
            anyhow!("no kernel {name}: choose of {}", names.join(", "))
        })
}

/// The newest kernel of a series in the cache; fetched when there is none, or when asked to.
pub fn get(cache: &Cache, series: Series, refresh: bool) -> Result<Kernel> {
    // A kernel that was fetched with other modules won't do.
    let folder = cache
        .path("kernels")
        .join(format!("{}-{}", series.name, MODULES.join("-")));
    if !refresh && let Some(kernel) = newest_cached(&folder)? {
        return Ok(kernel);
    }
    let _lock = cache.lock()?;
    if !refresh && let Some(kernel) = newest_cached(&folder)? {
        return Ok(kernel);
    }
    command::step(&format!("fetching kernel {}", series.name), || {
        fetch(cache, series, &folder)
    })
    .with_context(|| format!("could not fetch a kernel {}", series.name))?;
    newest_cached(&folder)?.ok_or_else(|| anyhow!("{} holds no kernel", folder.display()))
}

fn newest_cached(folder: &Path) -> Result<Option<Kernel>> {
    let mut newest: Option<Kernel> = None;
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry
            .with_context(|| format!("could not list {}", folder.display()))?
            .path();
        let Ok(version) = fs::read_to_string(path.join("version")) else {
            continue;
        };
        if newest
            .as_ref()
            .is_none_or(|known| compare_versions(&version, &known.version).is_gt())
        {
            newest = Some(Kernel {
                version,
                vmlinuz: path.join("vmlinuz"),
                modules: path.join("modules"),
            });
        }
    }
    Ok(newest)
}

fn fetch(cache: &Cache, series: Series, folder: &Path) -> Result<()> {
    let archive = Archive::of_this_system(cache)?;
    let prefix = format!("linux-image-{}", series.name);
    let mut found: Option<(Suite, Stanza)> = None;
    let mut troubles = Vec::new();
    for suite in series.suites {
        let packages = archive
            .update(suite)
            .and_then(|()| archive.packages(suite, &prefix));
        let newest = match packages {
            Ok(packages) => newest_image(packages, series.name),
            Err(error) => {
                troubles.push(format!("{suite}: {error:#}"));
                continue;
            }
        };
        if let Some(newest) = newest
            && found
                .as_ref()
                .is_none_or(|(_, known)| compare_versions(&newest.version, &known.version).is_gt())
        {
            found = Some((suite, newest));
        }
    }
    let Some((suite, image)) = found else {
        bail!(
            "none of the suites {} has a {prefix}*-cloud-amd64\n{}",
            series.suites.join(", "),
            troubles.join("\n")
        );
    };
    unpack(cache, &archive, suite, &image, folder)
}

/// The newest real image; packages that only point at the current one depend on it.
fn newest_image(packages: Vec<Stanza>, series: &str) -> Option<Stanza> {
    packages
        .into_iter()
        .filter(|stanza| is_image(&stanza.package, series))
        .filter(|stanza| {
            !stanza
                .depends
                .iter()
                .any(|name| name.starts_with("linux-image-"))
        })
        .max_by(|a, b| compare_versions(&a.version, &b.version))
}

fn is_image(package: &str, series: &str) -> bool {
    package
        .strip_prefix("linux-image-")
        .and_then(|rest| rest.strip_prefix(series))
        .and_then(|rest| rest.strip_suffix("-cloud-amd64"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
}

/// Since 6.19 the image package is empty, and two others hold kernel and modules.
fn parts(image: &Stanza) -> Vec<&str> {
    let parts = ["linux-binary-", "linux-modules-"];
    let is_part = |name: &&String| parts.iter().any(|part| name.starts_with(part));
    let names: Vec<_> = image
        .depends
        .iter()
        .filter(is_part)
        .map(String::as_str)
        .collect();
    if names.is_empty() {
        vec![&image.package]
    } else {
        names
    }
}

fn unpack(
    cache: &Cache,
    archive: &Archive,
    suite: Suite,
    image: &Stanza,
    folder: &Path,
) -> Result<()> {
    let draft = cache.draft()?;
    let unpacked = draft.path().join("unpacked");
    for part in parts(image) {
        let stanza = archive
            .packages(suite, part)?
            .into_iter()
            .find(|stanza| stanza.package == part && stanza.version == image.version)
            .ok_or_else(|| anyhow!("{} needs {part}, which {suite} lacks", image.package))?;
        archive.unpack(suite, &stanza, draft.path(), &unpacked)?;
    }
    let release = image.package.trim_start_matches("linux-image-");
    let modules = ["usr/lib/modules", "lib/modules"]
        .map(|below| unpacked.join(below).join(release))
        .into_iter()
        .find(|path| path.is_dir())
        .ok_or_else(|| anyhow!("{} holds no modules", image.package))?;
    let vmlinuz = [
        unpacked.join(format!("boot/vmlinuz-{release}")),
        modules.join("vmlinuz"),
    ]
    .into_iter()
    .find(|path| path.is_file())
    .ok_or_else(|| anyhow!("{} holds no kernel", image.package))?;
    let kernel = draft.path().join("kernel");
    modules::extract(&modules, &MODULES, &kernel.join("modules"))?;
    fs::copy(&vmlinuz, kernel.join("vmlinuz")).context("could not copy the kernel")?;
    fs::write(kernel.join("version"), &image.version).context("could not note the version")?;
    draft.publish("kernel", &folder.join(key(image)))
}

/// Name of the kernel's folder: the package file's name and the beginning of its digest.
fn key(image: &Stanza) -> String {
    let digest = image.sha256.get(..16).unwrap_or(&image.sha256);
    format!("{}_{}_amd64-{digest}", image.package, image.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(package: &str, version: &str, depends: &[&str]) -> Stanza {
        Stanza {
            package: package.into(),
            version: version.into(),
            depends: depends.iter().map(|&name| name.into()).collect(),
            sha256: "0123456789abcdef0123".into(),
        }
    }

    #[test]
    fn a_series_is_not_mistaken_for_one_that_begins_alike() {
        assert!(is_image("linux-image-6.1.0-56-cloud-amd64", "6.1"));
        assert!(!is_image("linux-image-6.12.117+deb13-cloud-amd64", "6.1"));
        assert!(!is_image("linux-image-6.1.0-56-amd64", "6.1"));
        assert!(!is_image("linux-image-6.1.0-56-cloud-amd64-dbg", "6.1"));
        assert!(is_image("linux-image-7.3-cloud-amd64", "7"));
    }

    #[test]
    fn the_newest_image_is_a_real_one() {
        let packages = vec![
            stanza(
                "linux-image-7.2.13+deb14-cloud-amd64",
                "7.2.13-1",
                &["kmod"],
            ),
            stanza("linux-image-7.3-cloud-amd64", "7.3~rc7-1~exp1", &["kmod"]),
            stanza(
                "linux-image-7.9-cloud-amd64",
                "7.9-1",
                &["linux-image-7.9.1-cloud-amd64"],
            ),
        ];
        let newest = newest_image(packages, "7").unwrap();
        assert_eq!(newest.package, "linux-image-7.3-cloud-amd64");
    }

    #[test]
    fn a_split_package_is_followed_to_its_parts() {
        let whole = stanza("linux-image-6.12-cloud-amd64", "1", &["kmod"]);
        assert_eq!(parts(&whole), ["linux-image-6.12-cloud-amd64"]);
        let depends = [
            "dracut",
            "linux-base-7",
            "linux-binary-7",
            "linux-modules-7",
        ];
        assert_eq!(
            parts(&stanza("x", "1", &depends)),
            ["linux-binary-7", "linux-modules-7"]
        );
    }

    #[test]
    fn a_kernel_is_kept_under_its_file_name_and_digest() {
        assert_eq!(
            key(&stanza("x", "1-2", &[])),
            "x_1-2_amd64-0123456789abcdef"
        );
    }
}
