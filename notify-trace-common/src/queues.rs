//! What the iterator over unix sockets writes, one after the other, to whoever reads it.

/// How full the queue of a socket is.
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
pub struct QueueLength {
    /// The socket's inode number.
    pub inode: u64,
    /// Datagrams in its queue (for a listening socket: connections).
    pub datagrams: u32,
    /// 0: so that there is no gap.
    pub padding: u32,
}

const _: () = assert!(size_of::<QueueLength>() == 16);
