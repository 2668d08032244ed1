//! Conclusions over several events: the public types of what `explain` says.
//!
//! An outcome is never stored: it is drawn anew from the events, so that a better correlator
//! improves old recordings too. The serde names are the JSON of `explain` and of `trace --explain`
//! (`docs/explain.md`); the sentences are for people and may change.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// When something was, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Wall time.
    pub time: Timestamp,
    /// `CLOCK_MONOTONIC` of the traced host.
    pub monotonic_ns: u64,
}

impl Moment {
    /// Both clocks' times.
    #[must_use]
    pub const fn new(time: Timestamp, monotonic_ns: u64) -> Self {
        Self { time, monotonic_ns }
    }

    /// The same clocks at another time.
    #[must_use]
    pub fn moved_to(self, monotonic_ns: u64) -> Self {
        // Wraps where the difference is negative, as it should.
        let by_ns = monotonic_ns.wrapping_sub(self.monotonic_ns).cast_signed();
        let time = self.time.checked_add(SignedDuration::from_nanos(by_ns));
        Self::new(time.unwrap_or(self.time), monotonic_ns)
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self {
            time: Timestamp::UNIX_EPOCH,
            monotonic_ns: 0,
        }
    }
}

/// A conclusion.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// A notification did not do what its sender wanted, or a service broke the protocol.
    Verdict(Box<Verdict>),
    /// A process passed on, or didn't, what it had been told.
    Relay(Box<Relay>),
    /// A unit is ready, has reloaded, has stopped.
    Phase(Box<Phase>),
    /// The same as an earlier verdict, so often again: at the end.
    Repeats(Repeats),
    /// The same as an earlier verdict: each time. Not shown; who counts or looks at each message takes it.
    Again(Box<Again>),
    /// A number for studies.
    Measure(Measure),
}

/// Why a notification did not do what its sender wanted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Number of the verdict in this output.
    pub number: u64,
    /// When it happened.
    #[serde(flatten)]
    pub at: Moment,
    /// What it is about.
    pub kind: Kind,
    /// How sure it is.
    pub certainty: Certainty,
    /// Whom it concerns.
    #[serde(flatten)]
    pub subject: Subject,
    /// Numbers of the notifications that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<u64>,
    /// What happened, a sentence.
    pub what: String,
    /// What was seen that says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// The receiver's rule behind it, and in which versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// What is known to help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It follows from what was seen.
    Certain,
    /// It follows from what was seen and from facts of another moment, or from how programs
    /// usually are.
    Inferred,
}

/// Whom a verdict, or a phase, concerns. What isn't known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The unit: of the system's manager, or of `user`'s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The user whose manager that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// The container, in the words of `who`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its name, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
}

/// What a verdict is about. `docs/explain.md` explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `connect(2)` failed, so nothing was sent.
    ConnectFailed,
    /// The send call failed.
    SendFailed,
    /// The queue was full and the sender did not want to wait.
    QueueFull,
    /// The receiver's socket filter dropped it.
    Filtered,
    /// The receiver was closed with it in its queue.
    DestroyedUnread,
    /// Longer than systemd takes.
    TooLong,
    /// A NUL byte inside.
    EmbeddedNul,
    /// Nothing in it is an assignment.
    NoAssignment,
    /// A `STATUS=` that is not UTF-8.
    StatusNotUtf8,
    /// A barrier that isn't alone, or without its one descriptor.
    MalformedBarrier,
    /// Descriptors without a word that says what for.
    FdsDropped,
    /// The sender was gone when the manager looked for its unit.
    SenderGone,
    /// Sent from a cgroup whose unit takes no notifications.
    NotFromAService,
    /// `NotifyAccess=` doesn't allow this sender.
    AccessRefused,
    /// It passes as another process's, of another unit.
    OnBehalf,
    /// A helper that only reports its own exit, to whom nobody listens.
    AccidentalSender,
    /// The unit keeps no descriptors, or has as many as it may.
    FdStoreRefused,
    /// `MAINPID=` that changed nothing.
    MainPidRefused,
    /// A unit that must say `READY=1` did not, or nobody heard it.
    NeverReady,
    /// `RELOADING=1` without `MONOTONIC_USEC=`.
    ReloadWithoutTimestamp,
    /// `MONOTONIC_USEC=` of another moment.
    ReloadTimestampOld,
    /// `RELOADING=1` that no `READY=1` followed.
    ReloadOpen,
    /// A watchdog's ping came too late, or not at all.
    WatchdogLate,
    /// A watchdog's ping came only just in time.
    WatchdogThin,
    /// The service asked to be treated as hung.
    WatchdogTriggered,
    /// The message after `EXTEND_TIMEOUT_USEC=` came later than it allows.
    ExtensionOverrun,
    /// A receiver does not take what is in its queue.
    NotReading,
    /// One process sends very much.
    Flood,
    /// A process that was told `READY=1` did not pass it on.
    Swallowed,
}

/// One hop: a process was told something, and told somebody else.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Relay {
    /// When the process took what it was told out of its queue.
    #[serde(flatten)]
    pub at: Moment,
    /// The notification that it was told.
    pub notification: u64,
    /// The process that passes on.
    #[serde(flatten)]
    pub proxy: Subject,
    /// Class of the socket on which it was told.
    pub class: String,
    /// What it sent because of it; empty: nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Forward>,
    /// Keys that were passed on as they were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwarded: Vec<String>,
    /// Keys that were not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Assignments that came with it that weren't in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
}

/// A notification that a process sent because of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forward {
    /// Its number.
    pub notification: u64,
    /// From the dequeue of the one to the send call of the other, in nanoseconds.
    pub hop_ns: u64,
    /// Notifications of other senders that it may just as well have been sent for: which one is
    /// unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub or_for: Vec<u64>,
}

/// Something that a unit's notifications say of its life.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// When it ended.
    #[serde(flatten)]
    pub at: Moment,
    /// Which.
    pub phase: PhaseName,
    /// Whose.
    #[serde(flatten)]
    pub subject: Subject,
    /// Numbers of the notifications that say so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<u64>,
    /// How long it took, in nanoseconds, where its beginning is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ns: Option<u64>,
    /// What else is known, each a phrase.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
}

/// Parts of a unit's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// From its start to `READY=1`.
    Start,
    /// From `RELOADING=1` to `READY=1`.
    Reload,
    /// From `STOPPING=1` to the exit of the process that said so.
    Stop,
    /// Pings of the watchdog, at the end of the recording or of the sender.
    Watchdog,
    /// Descriptors handed over to be kept.
    FdStore,
    /// Times by which it asked for more time.
    Extensions,
    /// Barriers: the sender waits until the receiver has taken all before.
    Barriers,
    /// What it said of itself.
    Status,
}

/// The same as an earlier verdict, this time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Again {
    /// Number of the verdict.
    pub verdict: u64,
    /// When it happened.
    #[serde(flatten)]
    pub at: Moment,
    /// What it is about.
    pub kind: Kind,
    /// Numbers of the notifications that it is about.
    pub about: Vec<u64>,
    /// What happened, a sentence.
    pub what: String,
}

/// A time that a study asks for, about one notification. Recordings keep it; `explain` does not show
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measure {
    /// Number of the notification.
    pub notification: u64,
    /// Which time.
    pub name: MeasureName,
    /// Nanoseconds. Negative only for margins: so much too late.
    pub value_ns: i64,
    /// What the process that sent it had been told before, for [`MeasureName::Hop`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// The notification because of which a process sent another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its number.
    pub notification: u64,
    /// Class of the socket on which the process was told.
    pub class: String,
}

/// Times that studies ask for. All count from dequeue to dequeue, as the manager does, if nothing
/// else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasureName {
    /// Of a `READY=1`: since the manager began to start the unit (`InactiveExitTimestamp`).
    Startup,
    /// Of a `READY=1`: since the main process was started.
    StartupProcess,
    /// Of a `READY=1`: since `RELOADING=1`.
    Reload,
    /// Of a `STOPPING=1`: until the process that said so exited.
    Stop,
    /// Of a `WATCHDOG=1`: since the one before.
    Watchdog,
    /// Of a `WATCHDOG=1`: how much its interval differs from the one before.
    WatchdogJitter,
    /// Of a `WATCHDOG=1`: how much of the time that the manager allows was left.
    WatchdogMargin,
    /// Of an `EXTEND_TIMEOUT_USEC=`: what it asked for.
    Extend,
    /// Of an `EXTEND_TIMEOUT_USEC=`: what of it was left when the next one, or the end of the start
    /// or the stop, came.
    ExtendMargin,
    /// Of a `STATUS=`: until the next one of the unit.
    Status,
    /// Of a notification that was passed on: from the dequeue of the one that its sender was told to
    /// its own send call.
    Hop,
}

/// The same verdict again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Repeats {
    /// Number of the verdict.
    pub verdict: u64,
    /// How often it was repeated, the first not counted.
    pub times: u64,
    /// The last time.
    #[serde(flatten)]
    pub at: Moment,
}
