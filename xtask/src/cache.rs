//! The cache folder: tools, kernels and images that outlive `cargo clean`.
//!
//! Owns where things lie, that a thing appears whole or not at all, and that two runs don't fetch
//! the same thing at the same time. `notify-trace/build.rs` relies on the place and on `tools/`.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};

/// `$XDG_CACHE_HOME/notify-trace` or `$HOME/.cache/notify-trace`.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Finds the cache folder and creates it when it isn't there yet.
    pub fn open() -> Result<Self> {
        let root = folder(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))
            .ok_or_else(|| anyhow!("no cache folder: neither XDG_CACHE_HOME nor HOME is set"))?;
        fs::create_dir_all(&root)
            .with_context(|| format!("could not create the cache folder {}", root.display()))?;
        Ok(Self { root })
    }

    /// A path below the cache folder.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// Where the executables of a tool are, named with its version: `tools/bpf-linker-0.13.0/bin`.
    pub fn tool_bin(&self, name_and_version: &str) -> PathBuf {
        self.path("tools").join(name_and_version).join("bin")
    }

    /// Keeps other runs from filling the cache until the returned file is dropped.
    pub fn lock(&self) -> Result<File> {
        let path = self.path("lock");
        let file =
            File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                eprintln!("another cargo xtask fills the cache: waiting for it");
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("could not lock {}", path.display()));
            }
        }
        file.lock()
            .with_context(|| format!("could not lock {}", path.display()))?;
        Ok(file)
    }

    /// Makes a thing that isn't there yet: once, however many runs want it at the same time.
    pub fn ensure(
        &self,
        is_there: impl Fn() -> bool,
        make: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if is_there() {
            return Ok(());
        }
        let _lock = self.lock()?;
        if is_there() {
            return Ok(());
        }
        make()
    }

    /// A fresh folder, on the same file system as the cache, in which a thing is made.
    ///
    /// It is removed when dropped; [`Draft::publish`] moves it to its final place.
    pub fn draft(&self) -> Result<Draft> {
        let path = self.path("drafts").join(std::process::id().to_string());
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("could not clear {}", path.display()))?;
        }
        fs::create_dir_all(&path)
            .with_context(|| format!("could not create {}", path.display()))?;
        Ok(Draft { path })
    }
}

/// A folder under construction.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Where to build.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves `name` out of the draft to its final place, in one step.
    pub fn publish(&self, name: &str, to: &Path) -> Result<()> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("could not create {}", parent.display()))?;
        }
        if to.is_dir() {
            fs::remove_dir_all(to)
                .with_context(|| format!("could not replace {}", to.display()))?;
        }
        fs::rename(self.path.join(name), to)
            .with_context(|| format!("could not move {name} to {}", to.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What stays behind is cleared by the next draft; there is nobody to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// An empty variable counts as unset, as the XDG specification says.
fn folder(xdg_cache_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let set = |value: Option<OsString>| value.filter(|value| !value.is_empty()).map(PathBuf::from);
    set(xdg_cache_home)
        .or_else(|| set(home).map(|home| home.join(".cache")))
        .map(|cache| cache.join("notify-trace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdg_cache_home_wins_over_home_unless_it_is_empty() {
        let of = |xdg: &str, home: &str| folder(Some(xdg.into()), Some(home.into()));
        assert_eq!(of("/x", "/h"), Some(PathBuf::from("/x/notify-trace")));
        assert_eq!(of("", "/h"), Some(PathBuf::from("/h/.cache/notify-trace")));
        assert_eq!(folder(None, None), None);
    }
}
