//! Studies: what a recording says in numbers.
//!
//! ```text
//! Event ──▶ project (events and conclusions as narrow rows) ──▶ store ──▶ Sample ──▶ quantile ──▶ report
//! ```
//!
//! A notification is one row with all times that studies ask for, so that any of them is one pass over
//! few bytes. The rows hold nothing that the events don't: they can be made anew from them. [`Study`]
//! is the list of studies, [`sql`] the same list for other engines.

pub mod project;
pub mod quantile;
pub mod row;
pub mod sql;

pub use self::project::Projector;

/// A question that recordings answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Study {
    /// How long starts take, until `READY=1` is dequeued.
    Startup,
    /// How long reloads take.
    Reload,
    /// How long stops take.
    Stop,
    /// How regular the pings of watchdogs are, and how much time they leave.
    Watchdog,
    /// How long datagrams wait for their receiver.
    Delivery,
    /// How long senders wait for room in the queue.
    Blocked,
    /// How long proxies take to pass on what they are told.
    Relay,
    /// How much time services ask for, and how much of it they leave.
    Extend,
    /// How long statuses last.
    Status,
    /// How many notifications come in a minute.
    Rate,
    /// Verdicts by their cause.
    Failed,
}

/// Where a study's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Columns of the notifications, nanoseconds each: what it is called, its column.
    Times(&'static [(&'static str, &'static str)]),
    /// Counts of notifications by minute.
    Minutes,
    /// The verdicts.
    Verdicts,
}

impl Study {
    /// All.
    pub const ALL: [Self; 11] = [
        Self::Startup,
        Self::Reload,
        Self::Stop,
        Self::Watchdog,
        Self::Delivery,
        Self::Blocked,
        Self::Relay,
        Self::Extend,
        Self::Status,
        Self::Rate,
        Self::Failed,
    ];

    /// Its name: on the command line, and of its view.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::Watchdog => "watchdog",
            Self::Delivery => "delivery",
            Self::Blocked => "blocked",
            Self::Relay => "relay",
            Self::Extend => "extend",
            Self::Status => "status",
            Self::Rate => "rate",
            Self::Failed => "failed",
        }
    }

    /// The same as a sentence's beginning.
    #[must_use]
    pub fn title(self) -> String {
        let mut characters = self.help().chars();
        let first = characters.next().map(char::to_uppercase);
        first.into_iter().flatten().chain(characters).collect()
    }

    /// What it tells, in a line.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Startup => "how long starts take, until READY=1",
            Self::Reload => "how long reloads take, from RELOADING=1 to READY=1",
            Self::Stop => "how long stops take, from STOPPING=1 to the exit",
            Self::Watchdog => "how regular pings are, and what they leave of WatchdogSec=",
            Self::Delivery => "how long datagrams wait for their receiver",
            Self::Blocked => "how long senders wait for room in the queue",
            Self::Relay => "how long proxies (runc, conmon, …) take to pass on what they are told",
            Self::Extend => "what EXTEND_TIMEOUT_USEC= asks for, and what of it is left",
            Self::Status => "how long each STATUS= lasts",
            Self::Rate => "how many notifications come in a minute",
            Self::Failed => "verdicts by their cause",
        }
    }

    /// Where its values come from.
    #[must_use]
    pub const fn source(self) -> Source {
        match self {
            Self::Startup => Source::Times(&[
                ("activation", "startup_ns"),
                ("process", "startup_process_ns"),
            ]),
            Self::Reload => Source::Times(&[("reload", "reload_ns")]),
            Self::Stop => Source::Times(&[("stop", "stop_ns")]),
            Self::Watchdog => Source::Times(&[
                ("interval", "watchdog_ns"),
                ("jitter", "watchdog_jitter_ns"),
                ("margin", "watchdog_margin_ns"),
            ]),
            Self::Delivery => Source::Times(&[("delivery", "delivery_ns")]),
            Self::Blocked => Source::Times(&[("blocked", "blocked_ns")]),
            Self::Relay => Source::Times(&[("hop", "hop_ns")]),
            Self::Extend => {
                Source::Times(&[("asked", "extend_ns"), ("margin", "extend_margin_ns")])
            }
            Self::Status => Source::Times(&[("lasted", "status_ns")]),
            Self::Rate => Source::Minutes,
            Self::Failed => Source::Verdicts,
        }
    }

    /// What its numbers are grouped by, if nobody says otherwise: columns of its view.
    #[must_use]
    pub const fn key_columns(self) -> &'static [&'static str] {
        match self {
            Self::Startup
            | Self::Reload
            | Self::Stop
            | Self::Watchdog
            | Self::Blocked
            | Self::Extend
            | Self::Status
            | Self::Rate => &["unit", "uid"],
            Self::Delivery => &["manager"],
            Self::Relay => &["told_class"],
            Self::Failed => &["kind", "certainty"],
        }
    }
}
