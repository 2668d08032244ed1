//! The bytes of one record, header to tail, as an owned [`Record`].
//!
//! Owns the check that lengths add up. Bytes are copied into the wire structs, so their alignment
//! in the ring never matters, and every bit pattern is a valid one: numbers that mean nothing to
//! this version (an unknown flag, a rule that doesn't exist) are left to those who use them. Only
//! an unknown kind is an error, because its length can't be checked.

use std::fmt;

use bytes::Bytes;
use notify_trace_common::limits::{CGROUP_PATH_MAX, PAYLOAD_MAX};
use notify_trace_common::record::{
    CGROUP_TRUNCATED, Cgroup, ConnectFailed, Dequeue, Exit, Header, Kind, LateSender, Outcome,
    Receiver, ReceiverClosed, Send,
};
use zerocopy::FromBytes;

/// The perf ring pads a record to a multiple of this.
const RING_ALIGNMENT: usize = 8;

/// What begins a path whose upper end is missing.
const PATH_GOES_ON: &str = "…";

/// One record, as a kernel program wrote it.
#[derive(Clone, Debug)]
pub enum Record {
    /// A datagram on its way.
    Send {
        /// The fixed part.
        send: Send,
        /// Its payload: a slice of the bytes that were decoded.
        payload: Bytes,
    },
    /// The send call returned.
    Outcome(Outcome),
    /// The receiver took a datagram.
    Dequeue(Dequeue),
    /// `connect(2)` failed.
    ConnectFailed(ConnectFailed),
    /// A receiving socket was closed.
    ReceiverClosed(ReceiverClosed),
    /// A process exited.
    Exit(Exit),
    /// A cgroup's path.
    Cgroup {
        /// The fixed part.
        cgroup: Cgroup,
        /// The path from the root on, with a leading `/`; `…/` if its upper end is missing.
        path: Bytes,
    },
    /// A receiving socket's name.
    Receiver(Receiver),
    /// Who sent a datagram that was seen at its receiver.
    LateSender(LateSender),
}

impl Record {
    /// What every record begins with.
    #[must_use]
    pub const fn header(&self) -> &Header {
        match self {
            Self::Send { send, .. } => &send.header,
            Self::Outcome(outcome) => &outcome.header,
            Self::Dequeue(dequeue) => &dequeue.header,
            Self::ConnectFailed(failed) => &failed.header,
            Self::ReceiverClosed(closed) => &closed.header,
            Self::Exit(exit) => &exit.header,
            Self::Cgroup { cgroup, .. } => &cgroup.header,
            Self::Receiver(receiver) => &receiver.header,
            Self::LateSender(late) => &late.header,
        }
    }
}

/// Bytes that are no record: kernel programs and userspace don't fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// There are fewer bytes than the record needs.
    TooShort {
        /// What it needs at least.
        needs: usize,
        /// What there is.
        has: usize,
    },
    /// [`Header::kind`] is no [`Kind`].
    UnknownKind(u16),
    /// [`Header::size`] is not the size that the record's other lengths add up to.
    SizeMismatch {
        /// The header's size.
        size: u32,
        /// What the lengths add up to.
        expected: usize,
    },
    /// More bytes follow than the ring's padding can be.
    Overlong {
        /// The header's size.
        size: u32,
        /// What there is.
        has: usize,
    },
    /// More payload is said to be captured than the datagram has, or than a record can carry.
    Captured {
        /// Bytes said to be captured.
        captured: u32,
        /// Bytes of the datagram.
        len: u32,
    },
    /// A cgroup's names are not as many as said, or the last one doesn't end.
    CgroupNames {
        /// How many there should be.
        depth: u32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { needs, has } => {
                write!(
                    f,
                    "the record needs {needs} bytes, but there are only {has}"
                )
            }
            Self::UnknownKind(kind) => write!(f, "the record's kind {kind} is unknown"),
            Self::SizeMismatch { size, expected } => write!(
                f,
                "the record says that it has {size} bytes, but its parts add up to {expected}"
            ),
            Self::Overlong { size, has } => write!(
                f,
                "the record says that it has {size} bytes, but {has} bytes came: more than padding"
            ),
            Self::Captured { captured, len } => write!(
                f,
                "the record says that it carries {captured} bytes of a datagram of {len}"
            ),
            Self::CgroupNames { depth } => {
                write!(
                    f,
                    "the cgroup's path doesn't consist of {depth} ended names"
                )
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads one record; up to 7 bytes of ring padding may follow it.
///
/// # Errors
///
/// If the bytes aren't a record of this version's layout.
pub fn decode(bytes: &Bytes) -> Result<Record, DecodeError> {
    let header: Header = fixed(bytes)?;
    let size = to_usize(header.size);
    let record = bytes.get(..size).ok_or(DecodeError::TooShort {
        needs: size,
        has: bytes.len(),
    })?;
    if bytes.len() - size >= RING_ALIGNMENT {
        return Err(DecodeError::Overlong {
            size: header.size,
            has: bytes.len(),
        });
    }
    let kind = kind(header.kind)?;
    Ok(match kind {
        Kind::Send => {
            let send: Send = fixed(record)?;
            let captured = to_usize(send.captured);
            if send.captured > send.len || captured > PAYLOAD_MAX {
                return Err(DecodeError::Captured {
                    captured: send.captured,
                    len: send.len,
                });
            }
            let start = size_of::<Send>();
            expect_size(&header, start + captured)?;
            Record::Send {
                send,
                payload: bytes.slice(start..size),
            }
        }
        Kind::Cgroup => {
            let cgroup: Cgroup = fixed(record)?;
            let len = to_usize(cgroup.len);
            if len > CGROUP_PATH_MAX {
                return Err(DecodeError::CgroupNames {
                    depth: cgroup.depth,
                });
            }
            expect_size(&header, size_of::<Cgroup>() + len)?;
            let path = cgroup_path(&cgroup, &record[size_of::<Cgroup>()..])?;
            Record::Cgroup { cgroup, path }
        }
        Kind::Outcome => Record::Outcome(whole(&header, record)?),
        Kind::Dequeue => Record::Dequeue(whole(&header, record)?),
        Kind::ConnectFailed => Record::ConnectFailed(whole(&header, record)?),
        Kind::ReceiverClosed => Record::ReceiverClosed(whole(&header, record)?),
        Kind::Exit => Record::Exit(whole(&header, record)?),
        Kind::Receiver => Record::Receiver(whole(&header, record)?),
        Kind::LateSender => Record::LateSender(whole(&header, record)?),
    })
}

fn kind(number: u16) -> Result<Kind, DecodeError> {
    const KINDS: [Kind; 9] = [
        Kind::Send,
        Kind::Outcome,
        Kind::Dequeue,
        Kind::ConnectFailed,
        Kind::ReceiverClosed,
        Kind::Exit,
        Kind::Cgroup,
        Kind::Receiver,
        Kind::LateSender,
    ];
    KINDS
        .into_iter()
        .find(|kind| *kind as u16 == number)
        .ok_or(DecodeError::UnknownKind(number))
}

/// A struct at the beginning of `bytes`.
fn fixed<T: FromBytes>(bytes: &[u8]) -> Result<T, DecodeError> {
    match T::read_from_prefix(bytes) {
        Ok((value, _)) => Ok(value),
        Err(_) => Err(DecodeError::TooShort {
            needs: size_of::<T>(),
            has: bytes.len(),
        }),
    }
}

/// A struct that is all of the record.
fn whole<T: FromBytes>(header: &Header, record: &[u8]) -> Result<T, DecodeError> {
    let value = fixed(record)?;
    expect_size(header, size_of::<T>())?;
    Ok(value)
}

fn expect_size(header: &Header, expected: usize) -> Result<(), DecodeError> {
    if to_usize(header.size) == expected {
        Ok(())
    } else {
        Err(DecodeError::SizeMismatch {
            size: header.size,
            expected,
        })
    }
}

/// Turns `leaf NUL … NUL top NUL` into `/top/…/leaf`.
fn cgroup_path(cgroup: &Cgroup, names: &[u8]) -> Result<Bytes, DecodeError> {
    let error = DecodeError::CgroupNames {
        depth: cgroup.depth,
    };
    let names = match names.split_last() {
        None => Vec::new(),
        Some((0, names)) => names.split(|byte| *byte == 0).collect(),
        Some(_) => return Err(error),
    };
    if names.len() != to_usize(cgroup.depth) {
        return Err(error);
    }
    let mut path = Vec::new();
    if cgroup.flags & CGROUP_TRUNCATED != 0 {
        path.extend_from_slice(PATH_GOES_ON.as_bytes());
    }
    for name in names.iter().rev().filter(|name| !name.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() || names.is_empty() {
        path.push(b'/');
    }
    Ok(path.into())
}

/// Saturates where it can't be represented: such a size is refused as too long anyway.
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
