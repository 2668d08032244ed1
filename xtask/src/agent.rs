//! Cargo as the rest of xtask calls it: the workspace's root, its environment, and built binaries.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command,
    setup::{Ready, TOOLCHAIN_VARIABLE},
};

/// Root of the workspace.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// A cargo command in the workspace, with what notify-trace/build.rs needs in its environment.
pub fn cargo(ready: &Ready) -> Result<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(ready.linker_folder.clone()).chain(env::split_paths(&path));
    let path = env::join_paths(folders)
        .with_context(|| format!("{} can't stand in PATH", ready.linker_folder.display()))?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .env("PATH", path)
        .env(TOOLCHAIN_VARIABLE, &ready.toolchain);
    Ok(cargo)
}

/// Builds packages in release mode and shows cargo's own progress; returns the binaries' folder.
///
/// They are linked statically, so that the same ones run here and in a guest without a C library.
/// A target is named even though it is this host's: otherwise procedural macros would be linked
/// statically, too, and can't be.
pub fn build_release(ready: &Ready, packages: &[&str]) -> Result<PathBuf> {
    let triple = host_triple()?;
    let target = target_folder()?;
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let mut cargo = cargo(ready)?;
    cargo
        .args(["build", "--release", "--target", &triple, "--target-dir"])
        .arg(&target);
    cargo.env(
        "RUSTFLAGS",
        format!("{flags} -Ctarget-feature=+crt-static").trim(),
    );
    for package in packages {
        cargo.args(["-p", package]);
    }
    command::inherit(&mut cargo)
        .with_context(|| format!("could not build {}", packages.join(", ")))?;
    Ok(target.join(triple).join("release"))
}

fn host_triple() -> Result<String> {
    let about = command::output(Command::new("rustc").arg("-vV"))?;
    triple_of(&about).context("rustc -vV doesn't name its host")
}

fn triple_of(about: &str) -> Option<String> {
    about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
}

/// Cargo's target folder: this program lies in `<target>/<profile>/`.
pub fn target_folder() -> Result<PathBuf> {
    let own = env::current_exe().context("could not find out where this program lies")?;
    match own.parent().and_then(Path::parent) {
        Some(target) => Ok(target.to_owned()),
        None => bail!(
            "{} is not inside a target folder: use `cargo xtask`",
            own.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_from_the_compilers_description() {
        let about =
            "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(
            triple_of(about).as_deref(),
            Some("x86_64-unknown-linux-gnu")
        );
        assert_eq!(triple_of("rustc 1.95.0"), None);
    }
}
