//! The agent, built once for the same sources: a fresh clone finds it in the cache.
//!
//! Only `demo` and `run` use it; `test` builds what it tests. The key is a digest of everything that
//! the binary is made of: sources, lock file, settings, compilers, linker, flags.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{agent, command, setup::Ready};

/// What the agent is made of, below the workspace's root.
const SOURCES: [&str; 8] = [
    ".cargo/config.toml",
    "Cargo.lock",
    "Cargo.toml",
    "notify-trace-common",
    "notify-trace-ebpf",
    "notify-trace/Cargo.toml",
    "notify-trace/build.rs",
    "notify-trace/src",
];

/// The agent, from the cache or built and put there.
pub fn agent(ready: &Ready) -> Result<PathBuf> {
    let kept = ready
        .cache
        .path("agents")
        .join(digest(&ingredients(ready)?)?)
        .join("notify-trace");
    if kept.is_file() {
        eprintln!(
            "the agent was built from these sources before: {}",
            kept.display()
        );
        return Ok(kept);
    }
    let built = agent::build_release(ready, &["notify-trace"])?.join("notify-trace");
    keep(ready, &built, &kept)
        .with_context(|| format!("could not keep {} in the cache", built.display()))?;
    Ok(kept)
}

/// Puts a binary into the cache, whole or not at all.
fn keep(ready: &Ready, built: &Path, kept: &Path) -> Result<()> {
    let _lock = ready.cache.lock()?;
    let draft = ready.cache.draft()?;
    let folder = draft.path().join("agent");
    fs::create_dir(&folder)?;
    fs::copy(built, folder.join("notify-trace"))?;
    draft.publish("agent", kept.parent().context("it has no folder")?)
}

/// Everything that decides what the binary is, in an order of its own.
fn ingredients(ready: &Ready) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut add = |name: &str, content: &[u8]| {
        // With lengths, so that nothing can slip from one ingredient into the next.
        all.extend_from_slice(format!("{name} {}\n", content.len()).as_bytes());
        all.extend_from_slice(content);
    };
    for source in SOURCES {
        for path in files(&agent::root().join(source))? {
            let content =
                fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
            let name = path.strip_prefix(agent::root()).unwrap_or(&path);
            add(&name.to_string_lossy(), &content);
        }
    }
    let compiler = command::output(Command::new("rustc").arg("-vV"))?;
    add("compiler", compiler.as_bytes());
    let mut kernel_side = Command::new("rustup");
    kernel_side.args(["run", &ready.toolchain, "rustc", "-vV"]);
    add(
        "kernel side's compiler",
        command::output(&mut kernel_side)?.as_bytes(),
    );
    let mut linker = Command::new(ready.linker_folder.join("bpf-linker"));
    add(
        "linker",
        command::output(linker.arg("--version"))?.as_bytes(),
    );
    add(
        "flags",
        env::var("RUSTFLAGS").unwrap_or_default().as_bytes(),
    );
    Ok(all)
}

/// A file, or all files below a folder, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path)
        .with_context(|| format!("could not look into {}", path.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    entries.sort();
    let mut all = Vec::new();
    for entry in entries {
        all.extend(files(&entry)?);
    }
    Ok(all)
}

/// SHA-256 by coreutils, in hexadecimal.
fn digest(bytes: &[u8]) -> Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not run sha256sum")?;
    child
        .stdin
        .take()
        .context("sha256sum has no input")?
        .write_all(bytes)
        .context("could not write to sha256sum")?;
    let output = child
        .wait_with_output()
        .context("could not wait for sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let digest = text.split_whitespace().next().unwrap_or_default();
    ensure!(
        output.status.success() && digest.len() == 64,
        "sha256sum answered {text:?}"
    );
    Ok(digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_there_and_has_files() {
        for source in SOURCES {
            assert!(
                !files(&agent::root().join(source)).unwrap().is_empty(),
                "{source}"
            );
        }
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b"").unwrap(), empty);
    }
}
