//! Python packages for tests, each set in a virtual environment of its own in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cache::Cache, command};

/// The interpreter of an environment with exactly these packages, made if it isn't there yet.
pub fn with(cache: &Cache, packages: &[&str]) -> Result<PathBuf> {
    let version = command::output(
        Command::new("python3").args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]),
    )
    .context("python3 is needed for the engines that studies are compared with")?;
    let name = format!(
        "{}-python{}",
        packages.join("-").replace("==", "-"),
        version.trim()
    );
    let folder = cache.path("python").join(name);
    let python = folder.join("bin/python");
    if is_whole(&folder) {
        return Ok(python);
    }
    let _lock = cache.lock()?;
    if is_whole(&folder) {
        return Ok(python);
    }
    // Its files name the folder, so it is made in its place; what shows that it is whole comes last.
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("could not clear {}", folder.display()))?;
    }
    command::step(&format!("installing {}", packages.join(", ")), || {
        command::output(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        command::output(pip.args(packages))
    })?;
    fs::write(folder.join(WHOLE), "").context("could not mark the environment as whole")?;
    Ok(python)
}

const WHOLE: &str = "whole";

fn is_whole(folder: &Path) -> bool {
    folder.join(WHOLE).exists()
}
