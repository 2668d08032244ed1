//! Which BPF programs, maps and links are loaded on this machine.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use super::check_long;

/// The command of `bpf(2)` that attaches raw tracepoints and, there too, trampolines.
pub const RAW_TRACEPOINT_OPEN: u32 = 17;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program.
    Program,
    /// A map.
    Map,
    /// A link.
    Link,
}

/// Commands of `bpf(2)`: the next id after this one; a descriptor of an id; and where the name
/// stands in what the kernel tells of it.
impl Kind {
    const fn next_id(self) -> u64 {
        match self {
            Self::Program => 11,
            Self::Map => 12,
            Self::Link => 31,
        }
    }

    const fn by_id(self) -> u64 {
        match self {
            Self::Program => 13,
            Self::Map => 14,
            Self::Link => 30,
        }
    }

    const fn name_at(self) -> Option<usize> {
        match self {
            Self::Program => Some(64),
            Self::Map => Some(24),
            Self::Link => None,
        }
    }
}

const INFORMATION: u64 = 15;

fn call(command: u64, attribute: &mut [u32; 4]) -> io::Result<u64> {
    // SAFETY: the attribute is 16 bytes, and the pointers that `information` puts into it are
    // valid for its call; the other commands take numbers only.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attribute.as_mut_ptr(),
            size_of_val(attribute),
        )
    })
}

/// Ids and names of all objects of a kind.
pub fn objects(kind: Kind) -> io::Result<BTreeMap<u32, String>> {
    let mut objects = BTreeMap::new();
    let mut id = 0;
    loop {
        let mut attribute = [id, 0, 0, 0];
        match call(kind.next_id(), &mut attribute) {
            Ok(_) => id = attribute[1],
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(objects),
            Err(error) => return Err(error),
        }
        match name(kind, id) {
            Ok(name) => {
                objects.insert(id, name);
            }
            // It went away meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

fn name(kind: Kind, id: u32) -> io::Result<String> {
    let fd = call(kind.by_id(), &mut [id, 0, 0, 0])?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given this descriptor to us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let Some(at) = kind.name_at() else {
        return Ok(String::new());
    };
    let mut information = [0_u8; 256];
    let pointer = (information.as_mut_ptr().expose_provenance() as u64).to_ne_bytes();
    let [low, high] = [0, 4].map(|at| {
        u32::from_ne_bytes([
            pointer[at],
            pointer[at + 1],
            pointer[at + 2],
            pointer[at + 3],
        ])
    });
    let mut attribute = [fd.as_raw_fd().cast_unsigned(), 256, low, high];
    call(INFORMATION, &mut attribute)?;
    let name = information[at..at + 16]
        .iter()
        .copied()
        .take_while(|byte| *byte != 0);
    Ok(String::from_utf8_lossy(&name.collect::<Vec<_>>()).into_owned())
}
