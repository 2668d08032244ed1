//! Writes an initramfs: a cpio archive in the `newc` format, uncompressed.
//!
//! Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Uncompressed,
//! for QEMU hands it over as it is, and the guest would have to inflate it with an emulated CPU.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::kernel::Kernel;
use crate::setup;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// What a guest with a disk starts with.
const INIT: &str = include_str!("guest/init");
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive under construction; a folder comes before what is in it.
#[derive(Debug, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

impl Initramfs {
    /// An archive with the folders that every guest mounts something on, and a console.
    pub fn new() -> Result<Self> {
        let mut archive = Self::default();
        for folder in ["dev", "proc", "sys", "run", "tmp"] {
            archive.folder(folder)?;
        }
        archive.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[])?;
        Ok(archive)
    }

    /// An archive that mounts the guest's disk and starts what is there; what is added below
    /// `payload/` appears in the disk's `/run`.
    pub fn with_disk(kernel: &Kernel) -> Result<Self> {
        let mut archive = Self::new()?;
        archive.program("init", INIT.as_bytes())?;
        for folder in ["bin", "disk", "payload", "payload/notify-trace"] {
            archive.folder(folder)?;
        }
        archive.copy("bin/busybox", &setup::busybox()?)?;
        archive.modules(kernel)?;
        Ok(archive)
    }

    /// Adds the modules by which the kernel sees disks.
    pub fn modules(&mut self, kernel: &Kernel) -> Result<()> {
        self.folder("modules")?;
        let modules = fs::read_dir(&kernel.modules)
            .with_context(|| format!("could not list {}", kernel.modules.display()))?;
        for path in modules.flatten().map(|entry| entry.path()) {
            if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                self.copy(&format!("modules/{name}"), &path)?;
            }
        }
        Ok(())
    }

    /// Adds units for the systemd of an archive with a disk, by name and text.
    pub fn units(&mut self, units: &[(&str, &str)]) -> Result<()> {
        for folder in ["payload/systemd", "payload/systemd/system"] {
            self.folder(folder)?;
        }
        for (name, text) in units {
            self.file(&format!("payload/systemd/system/{name}"), text.as_bytes())?;
        }
        Ok(())
    }

    /// Adds a file of settings for the programs of systemd, by its place below `/run/systemd`, such as
    /// `journald.conf.d/a.conf`.
    pub fn setting(&mut self, place: &str, text: &str) -> Result<()> {
        if let Some((folder, _)) = place.rsplit_once('/') {
            self.folder(&format!("payload/systemd/{folder}"))?;
        }
        self.file(&format!("payload/systemd/{place}"), text.as_bytes())
    }

    /// Adds a folder, its path without the leading slash.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.entry(path, FOLDER, (0, 0), &[])
    }

    /// Adds a file with these contents.
    pub fn file(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.entry(path, FILE, (0, 0), contents)
    }

    /// Adds an executable file with these contents.
    pub fn program(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.entry(path, PROGRAM, (0, 0), contents)
    }

    /// Adds a file of this host as an executable file.
    pub fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let contents =
            fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
        self.program(path, &contents)
    }

    /// Ends the archive and writes it to a file.
    pub fn write(mut self, to: &Path) -> Result<()> {
        self.entry(TRAILER, 0, (0, 0), &[])?;
        fs::write(to, &self.bytes).with_context(|| format!("could not write {}", to.display()))
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> Result<()> {
        let too_big = || format!("{path} is too big for an initramfs");
        let size = u32::try_from(contents.len()).with_context(too_big)?;
        let name_size = u32::try_from(path.len() + 1).with_context(too_big)?;
        self.entries += 1;
        let fields = [
            self.entries, // inode
            mode,
            0, // user
            0, // group
            1, // links
            0, // time
            size,
            0, // device of the file system
            0,
            device.0,
            device.1,
            name_size,
            0, // checksum, not used
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entry = (String, [u32; 13], Vec<u8>);

    /// Reads an archive back, by the format's description rather than by the writer.
    fn parse(bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let mut fields = [0; 13];
            for (index, field) in fields.iter_mut().enumerate() {
                let start = at + 6 + 8 * index;
                let digits = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
                *field = u32::from_str_radix(digits, 16).unwrap();
            }
            let (size, name_size) = (fields[6] as usize, fields[11] as usize);
            let name = std::str::from_utf8(&bytes[at + 110..at + 110 + name_size - 1]).unwrap();
            assert_eq!(bytes[at + 110 + name_size - 1], 0);
            let start = (at + 110 + name_size).next_multiple_of(4);
            entries.push((name.to_owned(), fields, bytes[start..start + size].to_vec()));
            at = (start + size).next_multiple_of(4);
        }
        entries
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        let mut archive = Initramfs::new().unwrap();
        for (path, contents) in [("init", "abcde"), ("a", ""), ("bc", "four")] {
            archive.program(path, contents.as_bytes()).unwrap();
        }
        archive.entry(TRAILER, 0, (0, 0), &[]).unwrap();
        let entries = parse(&archive.bytes);
        let find = |name: &str| entries.iter().find(|entry| entry.0 == name).unwrap();
        assert_eq!(find("init").2, b"abcde");
        assert_eq!(find("init").1[1], PROGRAM);
        assert_eq!(find("bc").2, b"four");
        assert_eq!(find("dev").1[1], FOLDER);
        assert_eq!(find("dev/console").1[9..11], [5, 1]);
        assert_eq!(entries.last().unwrap().0, TRAILER);
    }

    #[test]
    fn every_entry_has_an_inode_of_its_own() {
        let entries = parse(&Initramfs::new().unwrap().bytes);
        let mut inodes: Vec<_> = entries.iter().map(|entry| entry.1[0]).collect();
        inodes.dedup();
        assert_eq!(inodes.len(), entries.len());
    }
}
