//! The public, versioned types: what every output, text or JSON, is made of.
//!
//! The serde names here are the format (`docs/events.md` explains each field, `docs/event.schema.json`
//! is generated from these types). An unknown fact is absent, never guessed and never `null`. Owns
//! no behaviour but the spelling of bytes and the key of a line; decoding, joining and printing are
//! elsewhere.
//!
//! Times ending in `_ns` are `CLOCK_MONOTONIC` nanoseconds of the traced host, so they compare with
//! each other and with `MONOTONIC_USEC=`; `time` is wall time by the clock's offset when the record
//! was read.

mod bytes;
mod datagram;
mod process;
mod session;
mod socket;
mod unit_state;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::bytes::{Address, Blob};
pub use self::datagram::{
    Defect, Delivery, DeliveryState, Destination, Errno, Line, Notification, Receiver, SendResult,
    Timing, Unknown, Update,
};
pub use self::process::{
    Attribution, Cgroup, Container, Credentials, Exit, Later, LaterCgroup, Pod, Process, Qos,
    Runtime, Unit,
};
pub use self::session::{
    Loss, Losses, Plan, PlanName, Session, ShedFrom, SocketRule, Summary, ViewChange,
};
pub use self::socket::{ConnectFailed, ReceiverClosed};
pub use self::unit_state::{UnitProcess, UnitState};

/// Version of the format. Within one version fields are only added.
pub const FORMAT_VERSION: u32 = 1;

/// One line of output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// First of every output: what is traced, how, since when.
    Session(Box<Session>),
    /// A datagram that a process sent, or tried to send, to a notify socket.
    Send(Box<Notification>),
    /// What became known of an earlier `send` after it was passed on as pending.
    Update(Box<Update>),
    /// `connect(2)` to a notify socket failed: no datagram was ever sent.
    ConnectFailed(Box<ConnectFailed>),
    /// A notify socket was closed for good.
    ReceiverClosed(Box<ReceiverClosed>),
    /// A process that had sent a notification exited.
    Exit(Exit),
    /// What a service manager says of a unit that has to do with notifications.
    Unit(Box<UnitState>),
    /// From here on something else is shown: an agent has read its settings anew.
    View(Box<ViewChange>),
    /// Something was lost since the last such line.
    Loss(Loss),
    /// Last of every output: counts, loss included.
    Summary(Box<Summary>),
}

impl Event {
    /// Its wall time.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Session(it) => it.time,
            Self::Send(it) => it.time,
            Self::Update(it) => it.time,
            Self::ConnectFailed(it) => it.time,
            Self::ReceiverClosed(it) => it.time,
            Self::Exit(it) => it.time,
            Self::Unit(it) => it.time,
            Self::View(it) => it.time,
            Self::Loss(it) => it.time,
            Self::Summary(it) => it.time,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
