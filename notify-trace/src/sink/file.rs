//! Files that events are written to: for their owner alone, and what they held before stays until there
//! is something new.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// What a file that we write may be read by: its owner.
const FILE_MODE: u32 = 0o600;

/// Opens a file that only its owner, we, may read; what it held before stays until the first byte is
/// written. What isn't a regular file (a pipe, a terminal) is taken as it is.
///
/// # Errors
/// If it can't be opened for writing, or is somebody else's.
pub fn create(path: &Path) -> io::Result<Fresh> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    let about = file.metadata()?;
    let is_file = about.is_file();
    if is_file {
        if about.uid() != rustix::process::geteuid().as_raw() {
            let why = "it belongs to another user, who could read what is written to it";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        // First out of others' reach, then empty, then written.
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok(Fresh {
        file,
        holds_old: is_file,
    })
}

/// A file whose old contents go when something new is written.
#[derive(Debug)]
pub struct Fresh {
    file: File,
    holds_old: bool,
}

impl Write for Fresh {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.holds_old {
            self.file.set_len(0)?;
            self.holds_old = false;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_even_if_it_was_there_before() {
        let path = std::env::temp_dir().join(format!("nt-output-{}", std::process::id()));
        std::fs::write(&path, "what was there before").expect("writable");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("ours");
        let mut file = create(&path).expect("writable");
        assert_eq!(
            std::fs::read(&path).expect("ours"),
            b"what was there before"
        );
        file.write_all(b"new").expect("room");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, FILE_MODE);
        assert_eq!(std::fs::read(&path).expect("ours"), b"new");
        std::fs::remove_file(&path).expect("ours");
    }

    #[test]
    fn a_device_is_taken_as_it_is() {
        assert!(create(Path::new("/dev/null")).is_ok());
        assert!(create(Path::new("/no/such/folder/x")).is_err());
    }
}
