//! The programs that make packages, built into the cache.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cache::Cache, command};

/// What is needed, and in which version.
const TOOLS: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];

/// A folder that has all of them.
pub fn provide(cache: &Cache) -> Result<PathBuf> {
    let names: Vec<String> = TOOLS
        .iter()
        .map(|(name, version)| format!("{name}-{version}"))
        .collect();
    let folder = names.join("-");
    let bin = cache.tool_bin(&folder);
    cache.ensure(|| has_all(&bin), || build(cache, &folder))?;
    Ok(bin)
}

fn build(cache: &Cache, folder: &str) -> Result<()> {
    let draft = cache.draft()?;
    for (name, version) in TOOLS {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["install", name, "--locked", "--version", version, "--root"])
            .arg(draft.path().join("tool"))
            .env("CARGO_TARGET_DIR", draft.path().join("target"))
            .current_dir("/");
        command::step(&format!("building {name} {version}"), || {
            command::output(&mut cargo)
        })?;
    }
    draft
        .publish("tool", &cache.path("tools").join(folder))
        .context("could not keep the programs that make packages")
}

fn has_all(folder: &Path) -> bool {
    TOOLS.iter().all(|(name, _)| folder.join(name).is_file())
}
