//! A `sockaddr_un` without its family, and the keys by which the kernel side selects sockets.

/// `sizeof(sockaddr_un.sun_path)`, `include/uapi/linux/un.h`.
pub const ADDRESS_MAX: usize = 108;

/// An address as the kernel holds it: a path without its terminating NUL, or an abstract name with
/// its leading NUL and every NUL in it. A length of 0 is "no address".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::IntoBytes,
        zerocopy::KnownLayout
    )
)]
#[repr(C)]
pub struct Address {
    /// Valid bytes of `bytes`; the rest is zero.
    pub len: u32,
    /// The address.
    pub bytes: [u8; ADDRESS_MAX],
}

impl Address {
    /// No address.
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; ADDRESS_MAX],
    };

    /// The address as a slice; a length out of range (never written by the kernel side) is cut.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..(self.len as usize).min(ADDRESS_MAX)]
    }
}

/// Key of the `PREFIXES` and `SUFFIXES` tries (`BPF_MAP_TYPE_LPM_TRIE`): the number of bits that
/// count, then the bytes. Suffixes are stored with their bytes reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::IntoBytes,
        zerocopy::KnownLayout
    )
)]
#[repr(C)]
pub struct TrieKey {
    /// Significant bits of `bytes`, from the first on.
    pub prefix_bits: u32,
    /// The bytes.
    pub bytes: [u8; ADDRESS_MAX],
}

const _: () = assert!(size_of::<Address>() == 112 && size_of::<TrieKey>() == 112);
