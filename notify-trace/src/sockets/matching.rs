//! Which socket a process's `NOTIFY_SOCKET` is. Pure; the files were looked up before.
//!
//! An abstract name is one within the sender's network namespace. A path is one by its file, in
//! whichever network namespace (`unix_find_bsd`, net/unix/af_unix.c), so an alias by a bind mount
//! or a symbolic link finds the same socket.

use serde::{Deserialize, Serialize};

use super::bound::{Bound, DiagFile, Kind};
use super::files::{FileId, NoFile};

/// What a value of `NOTIFY_SOCKET` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `@NAME`: the bytes of `sun_path`.
    Abstract(Vec<u8>),
    /// A path.
    Path(&'a [u8]),
    /// `vsock:CID:PORT` and the like: the host of a VM.
    Vsock,
    /// Nothing that a sender understands (sd_notify(3)).
    Malformed,
}

/// Reads a value as libsystemd does.
#[must_use]
pub fn value(bytes: &[u8]) -> Value<'_> {
    match bytes {
        [b'@', name @ ..] if !name.is_empty() => Value::Abstract([b"\0", name].concat()),
        [b'/', _, ..] => Value::Path(bytes),
        _ if bytes.starts_with(b"vsock") && bytes.contains(&b':') => Value::Vsock,
        _ => Value::Malformed,
    }
}

/// Where a process sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To an abstract name.
    Abstract {
        /// Its network namespace, if that could be looked into.
        namespace: Option<u64>,
        /// The bytes of `sun_path`.
        address: Vec<u8>,
    },
    /// To the file of a path.
    File(Result<FileId, NoFile>),
    /// To a VM's host.
    Vsock,
    /// Nowhere.
    Malformed,
}

/// What the file of a socket's path is now, to those who have the socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundFile {
    /// This one. It may be another socket's by now, where the path was bound anew.
    Is(FileId),
    /// None: the path was removed.
    Removed,
    /// It is not known.
    Unknown,
}

/// A socket that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its network namespace.
    pub namespace: u64,
    /// What the kernel lists of it.
    pub bound: Bound,
    /// The file at its path.
    pub file: BoundFile,
}

/// Why a `NOTIFY_SOCKET` is none of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The path leads to no file, as the process sees it.
    NoFile,
    /// The file at the path is no socket's.
    NotASocket,
    /// No socket is bound to that file or name: the receiver is gone.
    NobodyBound,
    /// The socket there is of another type than datagram.
    WrongType,
    /// It is an address of AF_VSOCK: the receiver is outside of this machine.
    Vsock,
    /// It is no address that a sender understands.
    Malformed,
    /// Several sockets are bound to that path, and what could tell them apart is not known.
    Ambiguous,
    /// The socket may be there, but not everything could be looked at.
    NotVisible,
}

/// The socket that is meant; `is_all` says that the candidates are all there are.
///
/// # Errors
/// If it is none of them: why.
pub fn find(aim: &Aim, candidates: &[Candidate], is_all: bool) -> Result<usize, Reason> {
    match aim {
        Aim::Vsock => Err(Reason::Vsock),
        Aim::Malformed => Err(Reason::Malformed),
        Aim::Abstract { namespace, address } => {
            let namespace = namespace.ok_or(Reason::NotVisible)?;
            let is_meant = |candidate: &Candidate| {
                candidate.namespace == namespace
                    && candidate.bound.name.is_abstract()
                    && candidate.bound.name.is(address)
            };
            one(candidates, is_meant).unwrap_or(Err(Reason::NobodyBound))
        }
        Aim::File(Err(NoFile::Absent)) => Err(Reason::NoFile),
        Aim::File(Err(NoFile::Unknown)) => Err(Reason::NotVisible),
        Aim::File(Ok(file)) if !file.is_socket => Err(Reason::NotASocket),
        Aim::File(Ok(file)) => one(candidates, |it| is_by_kernel(it, file))
            .or_else(|| one(candidates, |it| is_by_path(it, file)))
            .unwrap_or_else(|| {
                let is_known = |candidate: &Candidate| {
                    candidate.bound.name.is_abstract()
                        || candidate.bound.file.is_some()
                        || candidate.file != BoundFile::Unknown
                };
                Err(if is_all && candidates.iter().all(is_known) {
                    Reason::NobodyBound
                } else {
                    Reason::NotVisible
                })
            }),
    }
}

/// The only candidate that is meant, of datagram type; nothing if none is meant.
fn one(
    candidates: &[Candidate],
    is_meant: impl Fn(&Candidate) -> bool,
) -> Option<Result<usize, Reason>> {
    let mut meant = (0..candidates.len()).filter(|index| is_meant(&candidates[*index]));
    let first = meant.next()?;
    Some(if meant.next().is_some() {
        Err(Reason::Ambiguous)
    } else if candidates[first].bound.kind == Kind::Datagram {
        Ok(first)
    } else {
        Err(Reason::WrongType)
    })
}

/// By the kernel's own word.
fn is_by_kernel(candidate: &Candidate, file: &FileId) -> bool {
    candidate
        .bound
        .file
        .is_some_and(|DiagFile { device, inode_low }| {
            device == file.device && u64::from(inode_low) == file.inode & 0xffff_ffff
        })
}

/// By what is at the socket's path now. Where the kernel names a file of the same device, its word
/// stands; but overlayfs and btrfs show stat(2) another device than they have.
fn is_by_path(candidate: &Candidate, file: &FileId) -> bool {
    let may_be = candidate
        .bound
        .file
        .is_none_or(|known| known.device != file.device);
    may_be && candidate.file == BoundFile::Is(*file)
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
