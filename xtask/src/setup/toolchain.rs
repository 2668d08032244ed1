//! The compiler of the kernel side: any that brings the source of `core`, for BPF has no built one.
//!
//! `notify-trace/build.rs` looks in the same order: `NOTIFY_TRACE_BPF_TOOLCHAIN`, a rustup nightly
//! with rust-src, a distribution's Rust linked into rustup as `notify-trace-distro`.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::command;

/// Names the toolchain, whatever else is there.
pub const VARIABLE: &str = "NOTIFY_TRACE_BPF_TOOLCHAIN";
/// Under this name rustup runs the distribution's compiler.
const LINKED: &str = "notify-trace-distro";
/// What Cargo.toml asks for, as (major, minor).
const OLDEST: (u32, u32) = (1, 95);
/// Debian's compilers with their source, the newer ones (for web browsers) first.
const DISTRIBUTION: [[&str; 3]; 2] = [
    ["rustc-web", "cargo-web", "rust-web-src"],
    ["rustc", "cargo", "rust-src"],
];

/// A toolchain that can compile the kernel side.
#[derive(Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Its name for `rustup run`.
    pub name: String,
    why: &'static str,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found: {} ({})", self.name, self.why)
    }
}

/// One toolchain known to rustup.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: String,
    path: PathBuf,
    has_source: bool,
}

/// The toolchain that the build will use, if there is one.
pub fn find() -> Result<Option<Toolchain>> {
    Ok(choose(env::var(VARIABLE).ok(), &known()?))
}

/// What [`provide`] will do, for the user to agree.
pub fn plan() -> Result<String> {
    if distribution_is_usable() {
        return Ok(format!("rustup toolchain link {LINKED} /usr"));
    }
    let nightly = "rustup toolchain install nightly --component rust-src";
    let distribution = distribution_packages().map(|packages| {
        format!(
            "apt-get install {}; rustup toolchain link {LINKED} /usr",
            packages.join(" ")
        )
    });
    match (may_download(), distribution) {
        (true, Some(packages)) => Ok(format!("{nightly}; or, if that can't be had: {packages}")),
        (true, None) => Ok(nightly.to_owned()),
        (false, Some(packages)) => Ok(packages),
        // What the lists offer is known only when they were read.
        (false, None) if packages::is_debian() => Ok(format!(
            "apt-get update; apt-get install {}, or {}, whichever is >= {}.{}; \
             rustup toolchain link {LINKED} /usr",
            DISTRIBUTION[0].join(" "),
            DISTRIBUTION[1].join(" "),
            OLDEST.0,
            OLDEST.1
        )),
        (false, None) => bail!(
            "no toolchain for the kernel side: rustup may not install one (RUSTUP_AUTO_INSTALL=0), \
             and this system offers no packaged Rust >= {}.{}. Run `{nightly}`",
            OLDEST.0,
            OLDEST.1
        ),
    }
}

/// Links the distribution's compiler, installs a nightly, or installs the distribution's compiler.
pub fn provide() -> Result<()> {
    if distribution_is_usable() {
        return link();
    }
    if may_download() {
        let mut rustup = Command::new("rustup");
        rustup.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        rustup.args(["--component", "rust-src", "--no-self-update"]);
        match command::step("installing a nightly with rust-src", || {
            command::output(&mut rustup)
        }) {
            Ok(_) => return Ok(()),
            Err(error) if !packages::is_debian() => {
                return Err(error).context("could not install a toolchain for the kernel side");
            }
            Err(_) => eprintln!("no nightly to be had; perhaps this system's packages will do"),
        }
    }
    if distribution_packages().is_none() {
        packages::refresh()?;
    }
    let Some(names) = distribution_packages() else {
        bail!(
            "this system offers no packaged Rust >= {}.{}",
            OLDEST.0,
            OLDEST.1
        );
    };
    packages::install(&names)?;
    link()
}

/// The decision: an override, then a nightly with the source of core, then the linked one.
fn choose(named: Option<String>, known: &[Known]) -> Option<Toolchain> {
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return Some(Toolchain {
            name,
            why: "named by NOTIFY_TRACE_BPF_TOOLCHAIN",
        });
    }
    let usable = |wanted: &dyn Fn(&str) -> bool| {
        known
            .iter()
            .find(|one| wanted(&one.name) && one.has_source)
            .map(|one| one.name.clone())
    };
    usable(&|name| name.starts_with("nightly"))
        .map(|name| Toolchain {
            name,
            why: "a nightly with rust-src",
        })
        .or_else(|| {
            usable(&|name| name == LINKED).map(|name| Toolchain {
                name,
                why: "this distribution's Rust",
            })
        })
}

fn known() -> Result<Vec<Known>> {
    let list = command::output(Command::new("rustup").args(["toolchain", "list", "-v"]))
        .context("rustup runs the compiler of the kernel side: get it from your distribution or from rustup's own site")?;
    Ok(parse_list(&list, has_source))
}

/// Reads lines like `nightly-x86_64-unknown-linux-gnu (active) /home/me/.rustup/toolchains/...`.
fn parse_list(list: &str, has_source: impl Fn(&Path) -> bool) -> Vec<Known> {
    let lines = list.lines().filter_map(|line| {
        let name = line.split_whitespace().next()?;
        let path = PathBuf::from(&line[line.find(" /")? + 1..]);
        Some(Known {
            name: name.to_owned(),
            has_source: has_source(&path),
            path,
        })
    });
    lines.collect()
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
}

fn distribution_is_usable() -> bool {
    let rustc = Path::new("/usr/bin/rustc");
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version.is_ok_and(|text| text.strip_prefix("rustc ").is_some_and(is_new_enough))
        && Path::new("/usr/bin/cargo").exists()
        && has_source(Path::new("/usr"))
}

fn distribution_packages() -> Option<[&'static str; 3]> {
    DISTRIBUTION.into_iter().find(|[rustc, ..]| {
        packages::candidate(rustc).is_some_and(|version| is_new_enough(&version))
    })
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version
        .split(['.', '+', '-', '~', ' '])
        .map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= OLDEST
}

fn may_download() -> bool {
    env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|value| value != "0")
}

fn link() -> Result<()> {
    command::output(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))
        .context("could not link this distribution's Rust into rustup")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
stable-x86_64-unknown-linux-gnu (active, default) /r/stable-x86_64-unknown-linux-gnu
nightly-x86_64-unknown-linux-gnu /r/nightly-x86_64-unknown-linux-gnu
notify-trace-distro /usr
";

    fn named(toolchain: Option<Toolchain>) -> Option<String> {
        toolchain.map(|toolchain| toolchain.name)
    }

    #[test]
    fn a_variable_wins_then_a_nightly_with_source_then_the_distribution() {
        let all = parse_list(LIST, |_| true);
        assert_eq!(
            named(choose(Some("mine".into()), &all)).as_deref(),
            Some("mine")
        );
        assert_eq!(
            named(choose(None, &all)).as_deref(),
            Some("nightly-x86_64-unknown-linux-gnu")
        );
        let only_distribution = parse_list(LIST, |path| path == Path::new("/usr"));
        assert_eq!(
            named(choose(None, &only_distribution)).as_deref(),
            Some(LINKED)
        );
    }

    #[test]
    fn a_toolchain_without_the_source_of_core_is_of_no_use() {
        assert_eq!(choose(None, &parse_list(LIST, |_| false)), None);
        assert_eq!(choose(Some(String::new()), &[]), None);
    }

    #[test]
    fn a_stable_toolchain_is_never_taken_unasked() {
        let stable = parse_list(LIST.lines().next().unwrap(), |_| true);
        assert_eq!(
            stable[0].path,
            Path::new("/r/stable-x86_64-unknown-linux-gnu")
        );
        assert_eq!(choose(None, &stable), None);
    }

    #[test]
    fn packaged_versions_are_compared_with_what_the_workspace_asks_for() {
        assert!(is_new_enough("1.96.0+dfsg1-1~deb12u2"));
        assert!(is_new_enough("1.95.0 (abc 2026-04-14)"));
        assert!(!is_new_enough("1.85.0+dfsg3-1"));
        assert!(!is_new_enough("unknown"));
    }
}
