//! Kernel modules a guest loads by itself, in the order in which they can be loaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// Copies `wanted` modules and what they depend on, uncompressed, to `to`.
///
/// They get names that sort in loading order. A module that isn't there is built into the kernel.
pub fn extract(modules: &Path, wanted: &[&str], to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("could not create {}", to.display()))?;
    let mut files = BTreeMap::new();
    list(modules, &mut files)?;
    let mut order: Vec<(String, Vec<u8>)> = Vec::new();
    for name in wanted {
        add(&files, name, &mut order)?;
    }
    for (index, (name, contents)) in order.iter().enumerate() {
        let path = to.join(format!("{index:02}-{name}.ko"));
        fs::write(&path, contents)
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(())
}

/// Adds what `name` depends on, then itself, unless they are there already.
fn add(
    files: &BTreeMap<String, PathBuf>,
    name: &str,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let Some(path) = files.get(name) else {
        return Ok(());
    };
    if order.iter().any(|(there, _)| there == name) {
        return Ok(());
    }
    let contents = read(path)?;
    for dependency in dependencies(&contents) {
        add(files, &dependency, order)?;
    }
    order.push((name.to_owned(), contents));
    Ok(())
}

fn list(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("could not list {}", folder.display()))?
            .path();
        if path.is_dir() && !path.is_symlink() {
            list(&path, files)?;
        } else if let Some(name) = path
            .file_name()
            .and_then(|name| module_name(name.to_str()?))
        {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| format!("could not read {}", path.display()));
    }
    let uncompressed = path.with_extension("");
    command::output(Command::new("xz").args(["-d", "-k", "-f"]).arg(path))?;
    fs::read(&uncompressed).with_context(|| format!("could not read {}", uncompressed.display()))
}

/// `virtio-blk.ko.xz` is the module `virtio_blk`.
fn module_name(file: &str) -> Option<String> {
    let name = file
        .strip_suffix(".xz")
        .unwrap_or(file)
        .strip_suffix(".ko")?;
    Some(name.replace('-', "_"))
}

/// Reads `depends=a,b` from the module's information section.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    let names = String::from_utf8_lossy(value).replace('-', "_");
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_information_section() {
        let module = b"\x7fELF..license=GPL\0depends=virtio,virtio-ring\0name=virtio_blk\0";
        assert_eq!(dependencies(module), ["virtio", "virtio_ring"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
        assert!(dependencies(b"nothing").is_empty());
    }

    #[test]
    fn a_file_name_tells_the_module_name() {
        assert_eq!(module_name("virtio_blk.ko").as_deref(), Some("virtio_blk"));
        assert_eq!(
            module_name("crc32c-intel.ko.xz").as_deref(),
            Some("crc32c_intel")
        );
        assert_eq!(module_name("modules.dep"), None);
    }
}
