//! A file that a guest hands out: it writes it to its second disk, behind a header, and needs no file
//! system for that.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// What the header begins with; the length follows, little-endian.
const MAGIC: &[u8; 8] = b"NTHANDED";
/// Most bytes that a guest can hand out; the file is sparse.
const SIZE_BYTES: u64 = 1 << 30;

/// Makes an empty disk beside a boot's log.
pub fn disk(log: &Path) -> Result<PathBuf> {
    let path = log.with_extension("disk");
    // A recording of an earlier boot must not pass for this one's.
    File::create(&path)
        .and_then(|file| file.set_len(SIZE_BYTES))
        .with_context(|| format!("could not make {}", path.display()))?;
    let recording = log.with_extension("ntrec");
    if recording.exists() {
        fs::remove_file(&recording)
            .with_context(|| format!("could not remove {}", recording.display()))?;
    }
    Ok(path)
}

/// Takes the file off the disk, if there is one, and removes the disk.
pub fn take(disk: &Path, to: &Path) -> Result<Option<PathBuf>> {
    let context = || format!("could not read {}", disk.display());
    let mut file = File::open(disk).with_context(context)?;
    let mut header = [0; 16];
    file.read_exact(&mut header).with_context(context)?;
    let (magic, length) = header.split_at(8);
    let handed = if magic == MAGIC {
        let length = u64::from_le_bytes(length.try_into().context("a header of another length")?);
        let mut bytes = Vec::new();
        file.take(length)
            .read_to_end(&mut bytes)
            .with_context(context)?;
        fs::write(to, bytes).with_context(|| format!("could not write {}", to.display()))?;
        Some(to.to_owned())
    } else {
        None
    };
    fs::remove_file(disk).with_context(|| format!("could not remove {}", disk.display()))?;
    Ok(handed)
}
