//! What else happens to notify sockets than datagrams.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Address, Errno, Process, Receiver};

/// `connect(2)` to a notify socket failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConnectFailed {
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When the call returned.
    pub monotonic_ns: u64,
    /// Who connected.
    pub sender: Process,
    /// Inode number of the connecting socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_inode: Option<u64>,
    /// The address as it was written.
    pub address: Address,
    /// Kind of notify socket, by the rule that selected the address.
    pub class: Arc<str>,
    /// Why it failed.
    pub error: Errno,
}

/// A notify socket was closed for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceiverClosed {
    /// Wall time of `monotonic_ns`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// When it was closed.
    pub monotonic_ns: u64,
    /// Who closed it.
    pub closer: Process,
    /// The socket; its `queue_length` counts the datagrams destroyed unread with it.
    pub receiver: Receiver,
    /// Kind of notify socket.
    pub class: Arc<str>,
}
