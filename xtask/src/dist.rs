//! `dist`: packages. A static program, a .deb and an .rpm with the unit, settings, manual pages,
//! completions, alert rules and a dashboard; built twice from the same sources they are the same bytes.

mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    agent, assets, command,
    setup::{self, Need, Ready},
};

/// Makes packages.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where to; by default target/dist
    folder: Option<PathBuf>,
}

/// What was made.
pub struct Packages {
    /// For Debian and those that follow it.
    pub deb: PathBuf,
    /// For Fedora and those that follow it.
    pub rpm: PathBuf,
    /// The program alone.
    pub program: PathBuf,
}

/// Runs `cargo xtask dist`.
pub fn verb(arguments: &Arguments) -> Result<ExitCode> {
    let ready = setup::ensure(Need::Build)?;
    let folder = match &arguments.folder {
        Some(folder) => std::path::absolute(folder).context("no current folder")?,
        None => agent::target_folder()?.join("dist"),
    };
    let Packages { deb, rpm, program } = make(&ready, &folder)?;
    let mut sums = Command::new("sha256sum");
    print!("{}", command::output(sums.args([deb, rpm, program]))?);
    Ok(ExitCode::SUCCESS)
}

/// Makes all of them in a folder.
pub fn make(ready: &Ready, folder: &Path) -> Result<Packages> {
    let built = agent::build_release(ready, &["notify-trace"])?;
    pack(ready, &built, folder)
}

/// Makes packages of what was built, which lies in that folder.
pub fn pack(ready: &Ready, built: &Path, folder: &Path) -> Result<Packages> {
    let tools = tools::provide(&ready.cache)?;
    let built = built.join("notify-trace");
    let triple = agent::host_triple()?;
    // A target folder of the tools' own, with this very program in it.
    let target = agent::target_folder()?.join("packing");
    let release = target.join(&triple).join("release");
    fs::create_dir_all(&release)
        .and_then(|()| fs::copy(&built, release.join("notify-trace")))
        .with_context(|| format!("could not copy {}", built.display()))?;
    // Where the manifest looks for them.
    let pages = agent::root().join("target/assets");
    // Pages of verbs that there are no more.
    let _ = fs::remove_dir_all(&pages);
    command::output(&mut assets::write(ready, &pages)?)?;
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;

    let version = env!("CARGO_PKG_VERSION");
    let program = folder.join(format!("notify-trace-{version}-{triple}"));
    fs::copy(&built, &program).with_context(|| format!("could not copy {}", built.display()))?;

    let date = agent::source_date()?;
    let run = |name: &str, words: &[&str], to: &Path| -> Result<()> {
        let mut tool = Command::new(tools.join(name));
        tool.current_dir(agent::root())
            .env("SOURCE_DATE_EPOCH", &date)
            .env("CARGO_TARGET_DIR", &target)
            .args(words)
            .args(["--target", &triple])
            .arg("--output")
            .arg(to);
        command::output(&mut tool).map(drop)
    };
    let deb = folder.join(format!("notify-trace_{version}_amd64.deb"));
    command::step("making the .deb", || {
        run(
            "cargo-deb",
            &["deb", "-p", "notify-trace", "--no-build", "--no-strip"],
            &deb,
        )
    })?;
    let rpm = folder.join(format!("notify-trace-{version}.x86_64.rpm"));
    command::step("making the .rpm", || {
        let words = ["generate-rpm", "-p", "notify-trace", "--source-date", &date];
        run("cargo-generate-rpm", &words, &rpm)
    })?;
    Ok(Packages { deb, rpm, program })
}
