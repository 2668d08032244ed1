//! What has to be known of the kernel's types: offsets of fields, and ids of the functions that are attached to.
//!
//! Reading them is a good part of a start, so it is done on two CPUs: the file piece by piece, and the functions, of
//! which the maps need nothing, beside the fields and the maps.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{ScopedJoinHandle, scope};

use anyhow::anyhow;
use aya::Btf as AyaBtf;
use aya_obj::btf::{BtfType, Func, FuncLinkage};
use notify_trace_common::fields::Feature;
use notify_trace_common::limits::Emitter;

use crate::probe::btf::{Btf, BtfError, Sections};
use crate::probe::error::AttachError;
use crate::probe::load::what_is_lost;
use crate::probe::offsets::{self, Offsets};

/// Where a kernel shows its own type information.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Longest file that room is made for without asking; a kernel's types are 5 to 10 MiB.
const IN_PIECES_MAX_BYTES: u64 = 1 << 27;

/// What a thread reads at a time.
const PIECE_BYTES: usize = 1 << 19;

/// The bytes, as they are in a file.
pub struct Types {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Types {
    /// Reads the file, or the kernel's own.
    ///
    /// # Errors
    /// [`AttachError::NoBtf`].
    pub fn read(path: Option<&Path>) -> Result<Self, AttachError> {
        let path = path.unwrap_or(Path::new(KERNEL_BTF)).to_owned();
        match read_in_pieces(&path) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(error) => Err(AttachError::NoBtf {
                path,
                source: error.into(),
            }),
        }
    }

    /// The types in them.
    ///
    /// # Errors
    /// [`AttachError::NoBtf`].
    pub(super) fn parse(&self) -> Result<Btf<'_>, AttachError> {
        Btf::parse(&self.bytes).map_err(|error| self.no_btf(&error))
    }

    /// The functions that trampolines are attached to.
    ///
    /// # Errors
    /// [`AttachError::NoBtf`].
    pub(super) fn targets(&self) -> Result<AyaBtf, AttachError> {
        let of_trampolines = Emitter::ALL.into_iter().filter(|it| it.is_trampoline());
        let targets: BTreeSet<&str> = of_trampolines.map(Emitter::target).collect();
        functions_alone(&self.bytes, &Vec::from_iter(targets)).map_err(|error| self.no_btf(&error))
    }

    fn no_btf(&self, error: &BtfError) -> AttachError {
        AttachError::NoBtf {
            path: self.path.clone(),
            source: anyhow!("{error}"),
        }
    }
}

/// Where the fields lie, and what can't be told, because some are missing.
///
/// # Errors
/// [`AttachError::Unsupported`].
pub(super) fn offsets_and_limits(btf: &Btf<'_>) -> Result<(Offsets, Vec<String>), AttachError> {
    let offsets = offsets::resolve(btf);
    let mut warnings: Vec<String> = Vec::new();
    let mut fatal: Vec<String> = Vec::new();
    for (field, missing) in offsets.missing() {
        if field.feature == Feature::Capture {
            fatal.push(missing.to_string());
        } else {
            warnings.push(format!(
                "{} can't be told: {missing}",
                what_is_lost(field.feature)
            ));
        }
    }
    if fatal.is_empty() {
        Ok((offsets, warnings))
    } else {
        Err(AttachError::Unsupported { reasons: fatal })
    }
}

/// Of all types these functions, with their ids, as aya looks them up. Everything else is
/// nothing: to read all types of a kernel takes aya as long as the kernel takes for the programs.
///
/// # Errors
/// If the bytes are no types of a kernel.
pub(super) fn functions_alone(types: &[u8], names: &[&str]) -> Result<AyaBtf, BtfError> {
    Ok(alone(&Sections::of(types)?.functions(names)?))
}

/// Types that are nothing but for these.
fn alone(functions: &[(u32, &str)]) -> AyaBtf {
    let mut alone = AyaBtf::new();
    let mut last = 0;
    for (id, name) in functions {
        for _ in last + 1..*id {
            alone.add_type(BtfType::Unknown);
        }
        let name = alone.add_string(name);
        alone.add_type(BtfType::Func(Func::new(name, 0, FuncLinkage::Unknown)));
        last = *id;
    }
    alone
}

/// What a thread found; its panic is ours.
pub(super) fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Reads a file by two threads: of its types the kernel hands out a page at a time, however much is asked for.
fn read_in_pieces(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if !(1..=IN_PIECES_MAX_BYTES).contains(&length) {
        // A pipe, for one, doesn't tell; of what is no kernel's there may be more than there is memory.
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let pieces = Mutex::new((0..).zip(bytes.chunks_mut(PIECE_BYTES)));
    let read = |file: &File| -> io::Result<()> {
        // Not while the list is held.
        let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some((number, piece)) = next() {
            file.read_exact_at(piece, number * PIECE_BYTES as u64)?;
        }
        Ok(())
    };
    scope(|threads| {
        // Who reads the same open file waits for the other.
        let other = threads.spawn(|| read(&File::open(path)?));
        read(&file).and(join(other))
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use aya_obj::btf::BtfKind;

    use super::*;
    use crate::probe::btf::builder::Builder;

    #[test]
    fn functions_keep_their_ids() {
        let mut builder = Builder::new();
        let int = builder.int(4);
        let proto = builder.raw("", (0, 13, 0), int, &[]);
        let first = builder.raw("first", (0, 12, 0), proto, &[]);
        builder.raw("other", (0, 12, 0), proto, &[]);
        let second = builder.raw("second", (0, 12, 0), proto, &[]);
        let bytes = builder.build();
        let alone = functions_alone(&bytes, &["second", "absent", "first"]).unwrap();
        let id = |name| alone.id_by_type_name_kind(name, BtfKind::Func).ok();
        assert_eq!(id("first"), Some(first));
        assert_eq!(id("second"), Some(second));
        assert_eq!(id("other"), None);
        assert_eq!(id("absent"), None);
    }

    #[test]
    fn pieces_are_put_together() {
        let path = std::env::temp_dir().join(format!("nt-types-{}", std::process::id()));
        for length in [0, 1, PIECE_BYTES, 5 * PIECE_BYTES - 1, 5 * PIECE_BYTES + 1] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read_in_pieces(&path).unwrap(), bytes);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_in_pieces(&path).is_err());
    }
}
