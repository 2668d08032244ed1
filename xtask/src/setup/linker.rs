//! bpf-linker: makes one BPF object out of what the compiler leaves behind.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::packages;
use crate::{cache::Cache, command};

const VERSION: &str = "0.13.0";
/// LLVM of the build; as new as the one in the compilers that make the bitcode.
const LLVM: &str = "22";
const PACKAGES: [&str; 6] = [
    "g++",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libxml2-dev",
    "libzstd-dev",
    "zlib1g-dev",
];

/// A usable bpf-linker.
#[derive(Debug)]
pub struct Linker {
    /// The folder it lies in.
    pub folder: PathBuf,
    version: String,
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found: {} in {}", self.version, self.folder.display())
    }
}

/// On PATH, else in the cache.
pub fn find(cache: &Cache) -> Option<Linker> {
    let on_path = command::find_program("bpf-linker").and_then(|path| Some(path.parent()?.into()));
    on_path
        .into_iter()
        .chain([cache.tool_bin(&folder_name())])
        .find_map(probe)
}

/// What [`provide`] will do, for the user to agree.
pub fn plan() -> String {
    format!(
        "apt-get install {}; cargo install bpf-linker {VERSION} into the cache (about 2 minutes)",
        PACKAGES.join(" ")
    )
}

/// Builds bpf-linker into the cache.
pub fn provide(cache: &Cache) -> Result<()> {
    packages::install(&PACKAGES).context("bpf-linker needs LLVM to link with")?;
    let draft = cache.draft()?;
    let features = format!("llvm-{LLVM}");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["install", "bpf-linker", "--locked", "--version", VERSION])
        .args(["--no-default-features", "--features", &features, "--root"])
        .arg(draft.path().join("tool"))
        .env("CARGO_TARGET_DIR", draft.path().join("target"))
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"))
        // Not from within our workspace, whose static linking doesn't suit LLVM.
        .current_dir("/");
    command::step(&format!("building bpf-linker {VERSION}"), || {
        command::output(&mut cargo)
    })
    .context("could not build bpf-linker; one of your own on PATH will do as well")?;
    draft.publish("tool", &cache.path("tools").join(folder_name()))
}

fn folder_name() -> String {
    format!("bpf-linker-{VERSION}-llvm-{LLVM}")
}

fn probe(folder: PathBuf) -> Option<Linker> {
    let version = version_of(&folder.join("bpf-linker"))?;
    is_new_enough(&version).then_some(Linker { folder, version })
}

fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().strip_prefix("bpf-linker ").map(str::to_owned)
}

fn is_new_enough(version: &str) -> bool {
    let number = |text: &str| -> Vec<u32> {
        text.split(['.', ' ', '-'])
            .map_while(|part| part.parse().ok())
            .collect()
    };
    number(version) >= number(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_linker_on_path_is_not_used() {
        assert!(is_new_enough("0.13.0"));
        assert!(is_new_enough("0.14.1"));
        assert!(is_new_enough("1.0.0"));
        assert!(!is_new_enough("0.9.15"));
        assert!(!is_new_enough("unknown"));
    }
}
