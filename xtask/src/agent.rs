//! Cargo as the rest of xtask calls it: the workspace's root, its environment, and built binaries.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

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
/// They don't tell where they were built: the same sources make the same bytes anywhere. They are linked
/// statically, so that the same ones run here and in a guest without a C library.
/// A target is named even though it is this host's: otherwise procedural macros would be linked
/// statically, too, and can't be.
pub fn build_release(ready: &Ready, packages: &[&str]) -> Result<PathBuf> {
    let mut cargo = release_cargo(ready, "build", &target_folder()?)?;
    cargo.arg("--release");
    for package in packages {
        cargo.args(["-p", package]);
    }
    command::inherit(&mut cargo)
        .with_context(|| format!("could not build {}", packages.join(", ")))?;
    Ok(target_folder()?.join(host_triple()?).join("release"))
}

/// How long the agent's own build takes with an empty target folder; what it depends on is downloaded.
pub fn build_time(ready: &Ready) -> Result<Duration> {
    let target = target_folder()?.join("from-nothing");
    let remove = || match fs::remove_dir_all(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", target.display()))
        }
        _ => Ok(()),
    };
    remove()?;
    let mut cargo = release_cargo(ready, "build", &target)?;
    cargo.args(["--release", "-p", "notify-trace"]);
    let begun = Instant::now();
    command::step("building the agent from nothing", || {
        command::output(&mut cargo)
    })?;
    let time = begun.elapsed();
    remove()?;
    Ok(time)
}

/// When the sources were changed last, in seconds since 1970: what packages are dated by. Sources without
/// a history are dated by the beginning of time.
pub fn source_date() -> Result<String> {
    if let Ok(date) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(date);
    }
    let mut git = Command::new("git");
    git.current_dir(root()).args(["log", "-1", "--format=%ct"]);
    Ok(command::output(&mut git).map_or_else(|_| "0".to_owned(), |date| date.trim().to_owned()))
}

/// Builds a bench target in the same way; returns the program.
pub fn build_bench(ready: &Ready, package: &str, bench: &str) -> Result<PathBuf> {
    let mut cargo = release_cargo(ready, "bench", &target_folder()?)?;
    cargo.args(["--no-run", "-p", package, "--bench", bench]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.stderr(Stdio::inherit());
    let messages = command::output(&mut cargo)
        .with_context(|| format!("could not build the bench {bench} of {package}"))?;
    executable(&messages, bench)
        .with_context(|| format!("cargo doesn't say where the bench {bench} of {package} lies"))
}

/// A cargo command that makes what [`build_release`] promises.
fn release_cargo(ready: &Ready, verb: &str, target: &Path) -> Result<Command> {
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    // By separators, for folders may have spaces.
    let mut all: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
    all.push("-Ctarget-feature=+crt-static".to_owned());
    all.extend(remaps()?);
    let mut cargo = cargo(ready)?;
    cargo
        .args([verb, "--target", &host_triple()?, "--target-dir"])
        .arg(target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", all.join("\x1f"));
    Ok(cargo)
}

/// Flags that put other names in place of this machine's folders.
fn remaps() -> Result<Vec<String>> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    Ok([(root(), "/notify-trace"), (&home, "/cargo")]
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect())
}

/// Where the program of a target lies, by cargo's messages (The Cargo Book, External tools).
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == target;
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    })
}

/// This host, as the compiler calls it.
pub fn host_triple() -> Result<String> {
    let about = command::output(Command::new("rustc").arg("-vV"))?;
    triple_of(&about).context("rustc -vV doesn't name its host")
}

fn triple_of(about: &str) -> Option<String> {
    about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
}

/// An example of the agent's crate, built.
pub fn example(ready: &Ready, name: &str) -> Result<PathBuf> {
    let mut cargo = cargo(ready)?;
    cargo.env("AYA_BUILD_SKIP", "1");
    cargo.args(["build", "--quiet", "-p", "notify-trace", "--example", name]);
    command::output(&mut cargo)?;
    Ok(target_folder()?.join("debug/examples").join(name))
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
    fn a_targets_program_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"a\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"b\"},\"executable\":\"/t/b-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}";
        assert_eq!(executable(messages, "b"), Some(PathBuf::from("/t/b-1")));
        assert_eq!(executable(messages, "a"), None);
        assert_eq!(executable(messages, "c"), None);
    }

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
