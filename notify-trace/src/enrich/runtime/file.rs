//! Files below a root folder, in places where anybody may have put something else.
//!
//! Merely opening the wrong thing acts on it: a watchdog starts, a tape rewinds, a pipe waits. So what
//! is there is looked at first, and only a regular file of the right owner is opened.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

/// The bytes of a regular file, if it is there, belongs to `owner`, root or us, and has
/// not too many.
/// Symbolic links lead to what they mean below `root`.
pub(super) fn read(
    root: &Path,
    path: &Path,
    owner: Option<u32>,
    most_bytes: u64,
) -> Option<Vec<u8>> {
    let place = look(root, path)?;
    let about = fstat(&place).ok()?;
    let own = rustix::process::geteuid().as_raw();
    let is_trusted = [0, own].contains(&about.st_uid) || Some(about.st_uid) == owner;
    let is_regular = FileType::from_raw_mode(about.st_mode) == FileType::RegularFile;
    if !is_regular || !is_trusted || u64::try_from(about.st_size).ok()? > most_bytes {
        return None;
    }
    // The very file that was looked at.
    let place = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = File::from(open(place, flags, Mode::empty()).ok()?);
    let mut bytes = Vec::new();
    file.take(most_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Names in a folder.
pub(super) fn names(root: &Path, path: &Path) -> Vec<PathBuf> {
    let Some(place) = look(root, path) else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(format!("/proc/self/fd/{}", place.as_raw_fd()));
    let names = entries.into_iter().flatten().flatten();
    names.map(|entry| path.join(entry.file_name())).collect()
}

fn look(root: &Path, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = open(root, flags, Mode::empty()).ok()?;
    openat2(
        root,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
    .ok()
}
