//! Looks up the file of a path as another process sees it: in its root directory, with its mounts,
//! its working directory and its descriptors. Opens nothing but the place (`O_PATH`).

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, major, minor, open, openat2};
use rustix::io::Errno;

use super::processes::file;

/// A file, as stat(2) tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Major and minor number of its device.
    pub device: (u32, u32),
    /// Its inode number.
    pub inode: u64,
    /// Whether it is a socket's.
    pub is_socket: bool,
}

/// Why there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFile {
    /// The path leads to none.
    Absent,
    /// It may not be looked up, or the process is gone.
    Unknown,
}

/// The file that `path` is to a process. `/proc/self/fd/N` is the process's own descriptor, as
/// conmon binds its sockets.
///
/// # Errors
/// If the path leads to none, or may not be looked up.
pub fn of_path(proc: &Path, pid: u32, path: &[u8]) -> Result<FileId, NoFile> {
    let (base, rest, resolve) = split(path);
    let base = open(
        file(proc, pid, &base),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|_| NoFile::Unknown)?;
    let place = if rest.is_empty() {
        base
    } else {
        place(base, rest, resolve).map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => NoFile::Absent,
            _ => NoFile::Unknown,
        })?
    };
    fstat(&place).map(identify).map_err(|_| NoFile::Unknown)
}

fn place(base: OwnedFd, path: &[u8], resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(base, OsStr::from_bytes(path), flags, Mode::empty(), resolve)
}

/// From where in `/proc/PID`, and with which path from there.
fn split(path: &[u8]) -> (String, &[u8], ResolveFlags) {
    let descriptor = path.strip_prefix(b"/proc/self/fd/").and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'/');
        let (number, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let number: u32 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let start = rest.iter().position(|byte| *byte != b'/');
        Some((number, &rest[start.unwrap_or(rest.len())..]))
    });
    match descriptor {
        Some((number, rest)) => (format!("fd/{number}"), rest, ResolveFlags::empty()),
        // Absolute symbolic links are to lead into the process's root, not into ours.
        None if path.starts_with(b"/") => ("root".to_owned(), path, ResolveFlags::IN_ROOT),
        None => ("cwd".to_owned(), path, ResolveFlags::empty()),
    }
}

fn identify(stat: Stat) -> FileId {
    FileId {
        device: (major(stat.st_dev), minor(stat.st_dev)),
        inode: stat.st_ino,
        is_socket: FileType::from_raw_mode(stat.st_mode) == FileType::Socket,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn own(path: &[u8]) -> Result<FileId, NoFile> {
        of_path(Path::new("/proc"), std::process::id(), path)
    }

    #[test]
    fn a_descriptor_a_root_and_a_working_directory_are_the_processes_own() {
        assert_eq!(
            split(b"/proc/self/fd/7/notify/notify.sock"),
            (
                "fd/7".to_owned(),
                &b"notify/notify.sock"[..],
                ResolveFlags::empty()
            )
        );
        assert_eq!(split(b"/proc/self/fd/7").1, b"");
        assert_eq!(split(b"/proc/self/fd/x/y").0, "root");
        assert_eq!(split(b"/run/x").0, "root");
        assert_eq!(split(b"x").0, "cwd");
    }

    #[test]
    fn a_socket_is_the_same_file_by_each_of_its_paths() {
        let dir = std::env::temp_dir().join(format!("notify-trace-files.{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let _socket = UnixDatagram::bind(dir.join("sock")).unwrap();
        std::os::unix::fs::symlink(&dir, dir.join("link")).unwrap();
        let direct = own(dir.join("sock").as_os_str().as_bytes());
        let link = own(dir.join("link/sock").as_os_str().as_bytes());
        let open = std::fs::File::open(&dir).unwrap();
        let by_fd = own(format!("/proc/self/fd/{}/sock", open.as_raw_fd()).as_bytes());
        let absent = own(dir.join("absent").as_os_str().as_bytes());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(direct.unwrap().is_socket);
        assert_eq!(direct, link);
        assert_eq!(direct, by_fd);
        assert_eq!(absent, Err(NoFile::Absent));
        assert_eq!(
            of_path(Path::new("/nowhere"), 1, b"/"),
            Err(NoFile::Unknown)
        );
    }
}
