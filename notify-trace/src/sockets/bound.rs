//! A unix socket as the kernel lists it, and the spelling of its name. Pure; where the lists come
//! from is `table`'s and `diag`'s affair.

use crate::event::Address;

/// What kind of socket it is: `SOCK_*`, `include/linux/net.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SOCK_DGRAM`: the only kind that gets notifications.
    Datagram,
    /// `SOCK_STREAM`, `SOCK_SEQPACKET`.
    Other,
}

impl Kind {
    /// Of the kernel's number.
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number {
            2 => Self::Datagram,
            _ => Self::Other,
        }
    }
}

/// The name that a socket is bound to: the bytes of `sun_path`, without the NUL that ends a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// An `@` in the bytes may stand for a NUL: `/proc/PID/net/unix` writes one so.
    pub at_may_be_nul: bool,
}

impl Name {
    /// Whether an address is this name, as far as the source can tell.
    #[must_use]
    pub fn is(&self, address: &[u8]) -> bool {
        if self.at_may_be_nul {
            let wanted = address
                .iter()
                .map(|byte| if *byte == 0 { b'@' } else { *byte });
            let have = self
                .bytes
                .iter()
                .map(|byte| if *byte == 0 { b'@' } else { *byte });
            have.eq(wanted)
        } else {
            self.bytes == address
        }
    }

    /// Whether it is an abstract one.
    #[must_use]
    pub fn is_abstract(&self) -> bool {
        self.bytes.first() == Some(&0)
    }

    /// As the output shows it.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from(&self.bytes[..])
    }
}

/// The file of a bound path as `unix_diag` gives it: the super block's own device, and what fits
/// of the inode number (`struct unix_diag_vfs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagFile {
    /// Major and minor number of the super block's device.
    pub device: (u32, u32),
    /// The low 32 bits of the inode number.
    pub inode_low: u32,
}

/// A socket that is bound to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its inode number, as in `/proc/PID/fd` and `/proc/net/unix`.
    pub inode: u64,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The file of its path.
    pub file: Option<DiagFile>,
    /// The user that created it, as seen from our own user namespace.
    pub uid: Option<u32>,
    /// Bytes of the first datagram in its queue, 0 if there is none (`unix_inq_len`,
    /// net/unix/af_unix.c).
    pub next_datagram_bytes: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_the_table_may_have_nuls_where_it_shows_at_signs() {
        let of_table = Name {
            bytes: b"\0odd@name".to_vec(),
            at_may_be_nul: true,
        };
        assert!(of_table.is(b"\0odd\0name"));
        assert!(of_table.is(b"\0odd@name"));
        assert!(!of_table.is(b"\0odd-name"));
        let exact = Name {
            at_may_be_nul: false,
            ..of_table
        };
        assert!(exact.is(b"\0odd@name"));
        assert!(!exact.is(b"\0odd\0name"));
    }
}
