//! A real OpenTelemetry Collector, built of Debian's packages: nothing is installed, and nothing comes from
//! elsewhere.
//!
//! Debian has no package of the program, but its sources, and those of all it depends on. Only the static
//! executable stays in the cache, beside the `main.go` it was made of: another `main.go` makes it anew.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cache::Cache,
    command,
    debian::{Archive, Suite},
};

const NAME: &str = "otelcol";
/// Whose sources, and whose Go: one suite has both, and the newest.
const SUITE: Suite = "sid";
const SOURCES: &str = "golang-opentelemetry-collector-dev";
/// The newest Go; it depends on the one it means.
const GO: &str = "golang-go";
/// Half of all that is depended on; only parts that we don't build use them.
const WITHOUT: [&str; 3] = [
    "golang-github-aws-aws-sdk-",
    "golang-google-api-",
    "golang-google-cloud-",
];
const MAIN: &str = include_str!("collector/main.go");

/// Where `otelcol` lies; built now when the cache doesn't have it.
pub fn provide(cache: &Cache) -> Result<PathBuf> {
    let folder = cache.path("tools").join(format!("{NAME}-{SUITE}"));
    let program = folder.join(NAME);
    cache
        .ensure(|| is_of(&folder, MAIN), || build(cache, &folder))
        .context("could not build the OpenTelemetry Collector")?;
    Ok(program)
}

/// Whether a folder has the program, made of this `main.go`.
fn is_of(folder: &Path, main: &str) -> bool {
    folder.join(NAME).is_file()
        && fs::read(folder.join("main.go")).is_ok_and(|kept| kept == main.as_bytes())
}

fn build(cache: &Cache, folder: &Path) -> Result<()> {
    let archive = Archive::of_this_system(cache)?;
    let draft = cache.draft()?;
    let tree = draft.path().join("tree");
    let version = command::step("fetching the OpenTelemetry Collector's sources", || {
        archive.update(SUITE)?;
        let stanza = archive.package(SUITE, SOURCES)?;
        archive.unpack_with_dependencies(SUITE, &[SOURCES, GO], is_of_go, draft.path(), &tree)?;
        Ok(stanza.version)
    })?;
    let built = draft.path().join("built");
    fs::create_dir(&built).with_context(|| format!("could not create {}", built.display()))?;
    let mut compile = go(draft.path(), &tree)?;
    compile
        .args(["build", "-trimpath", "-ldflags"])
        .arg(format!("-s -w -X main.version={version}"))
        .arg("-o")
        .arg(built.join(NAME))
        .arg(NAME);
    command::step(
        &format!("building the OpenTelemetry Collector {version}"),
        || command::output(&mut compile),
    )?;
    let said = command::output(Command::new(built.join(NAME)).arg("--version"))?;
    ensure!(said.contains(&version), "it calls itself {}", said.trim());
    fs::write(built.join("main.go"), MAIN).context("could not keep its main.go")?;
    draft.publish("built", folder)
}

/// Sources of libraries, and the parts of Go. A compiler of C, which some of them name, isn't needed.
fn is_of_go(package: &str) -> bool {
    package.starts_with("golang-")
        && ["-dev", "-go", "-src"]
            .iter()
            .any(|end| package.ends_with(end))
        && !WITHOUT.iter().any(|start| package.starts_with(start))
}

/// Go out of `tree`, with our main as the package `otelcol`; all it writes goes into `draft`.
fn go(draft: &Path, tree: &Path) -> Result<Command> {
    let work = draft.join("work");
    let home = draft.join("home");
    let main = work.join("src").join(NAME);
    for folder in [&main, &home] {
        fs::create_dir_all(folder)
            .with_context(|| format!("could not create {}", folder.display()))?;
    }
    fs::write(main.join("main.go"), MAIN).context("could not write main.go")?;
    let libraries = tree.join("usr/share/gocode");
    let root = tree.join("usr/lib/go");
    let mut command = Command::new(root.join("bin/go"));
    // Whatever Go is told on this machine, it is told nothing here but this.
    command
        .env_clear()
        .env("GOROOT", root)
        .env(
            "GOPATH",
            format!("{}:{}", work.display(), libraries.display()),
        )
        .env("GOCACHE", draft.join("objects"))
        .env("HOME", &home)
        .env("TMPDIR", &home)
        // Sources lie in GOPATH, as Debian has it; nothing is fetched, neither they nor another Go.
        .env("GO111MODULE", "off")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("GOENV", "off")
        // No C library: it runs in a guest that has none.
        .env("CGO_ENABLED", "0")
        .current_dir(&main);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_go_itself_are_fetched_and_nothing_else() {
        for package in [SOURCES, GO, "golang-1.27-go", "golang-1.27-src"] {
            assert!(is_of_go(package), "{package}");
        }
        let others = [
            "gcc",
            "golang-golang-x-tools",
            "golang-google-api-dev",
            "protobuf-dev",
        ];
        for package in others {
            assert!(!is_of_go(package), "{package}");
        }
    }
}
