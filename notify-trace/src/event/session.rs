//! The trace itself: how it began, what it lost, how it ended.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Blob;

/// Losses by cause. A `loss` event counts those since the last one, the summary all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Losses {
    /// Records that a kernel program could not write because a CPU's ring was full: the reader
    /// was too slow or the ring too small (`--ring-size`).
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub ring_full: u64,
    /// Records that had no ring to go to: a CPU that had just come up.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub no_ring: u64,
    /// Send calls that could not be followed because too many were in flight at once.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub calls_full: u64,
    /// Datagrams whose dequeue will not be recognised because too many were queued at once.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub queued_full: u64,
    /// Datagrams whose payload could not be read.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub unreadable: u64,
    /// Calls whose end no program saw: what became of them is not known.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub returns_missed: u64,
    /// Datagrams left out because an option such as `--pid` or `--unit` asked who sent them, which was
    /// not known (yet).
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub undecided: u64,
    /// Datagrams left out by an agent to stay within what it may cost (`limits.cpu_percent`).
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub shed: u64,
    /// Program runs that the kernel skipped; absent where the kernel doesn't count them. Not a loss
    /// by itself: most are of traffic that isn't selected, or made good by a second program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs_skipped: Option<u64>,
    /// Records that could not be decoded: a defect of notify-trace.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub undecodable: u64,
    /// Notifications evicted from the join table before all was known of them.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub join_evicted: u64,
}

impl Losses {
    /// Adds others. Skipped runs are known if either knows them.
    pub fn add(&mut self, more: &Self) {
        let programs_skipped = match (self.programs_skipped, more.programs_skipped) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        *self = self.with(more, programs_skipped, |one, other| one + other);
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let programs_skipped = self
            .programs_skipped
            .map(|skipped| skipped.saturating_sub(before.programs_skipped.unwrap_or(0)));
        self.with(before, programs_skipped, u64::saturating_sub)
    }

    /// Each cause of two, by a rule.
    fn with(&self, other: &Self, programs_skipped: Option<u64>, rule: fn(u64, u64) -> u64) -> Self {
        Self {
            ring_full: rule(self.ring_full, other.ring_full),
            no_ring: rule(self.no_ring, other.no_ring),
            calls_full: rule(self.calls_full, other.calls_full),
            queued_full: rule(self.queued_full, other.queued_full),
            unreadable: rule(self.unreadable, other.unreadable),
            returns_missed: rule(self.returns_missed, other.returns_missed),
            undecided: rule(self.undecided, other.undecided),
            shed: rule(self.shed, other.shed),
            programs_skipped,
            undecodable: rule(self.undecodable, other.undecodable),
            join_evicted: rule(self.join_evicted, other.join_evicted),
        }
    }

    /// Each cause by its name, but for skipped runs, which are no loss by themselves.
    #[must_use]
    pub const fn by_cause(&self) -> [(&'static str, u64); 10] {
        let Self {
            ring_full,
            no_ring,
            calls_full,
            queued_full,
            unreadable,
            returns_missed,
            undecided,
            shed,
            programs_skipped: _,
            undecodable,
            join_evicted,
        } = *self;
        [
            ("ring_full", ring_full),
            ("no_ring", no_ring),
            ("calls_full", calls_full),
            ("queued_full", queued_full),
            ("unreadable", unreadable),
            ("returns_missed", returns_missed),
            ("undecided", undecided),
            ("shed", shed),
            ("undecodable", undecodable),
            ("join_evicted", join_evicted),
        ]
    }

    /// Whether anything was lost at all.
    #[must_use]
    pub fn any(&self) -> bool {
        self.in_all() > 0
    }

    /// How much was lost. Skipped program runs are no loss by themselves.
    #[must_use]
    pub fn in_all(&self) -> u64 {
        self.by_cause().iter().map(|(_, count)| count).sum()
    }
}

/// Other things are shown from here on than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ViewChange {
    /// When.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The same moment.
    pub monotonic_ns: u64,
    /// What of it is shown, as in the session; empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub view: Vec<String>,
}

/// Datagrams of one cgroup that were left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ShedFrom {
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Blob>,
    /// How many.
    pub datagrams: u64,
}

/// Something was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Loss {
    /// When it was noticed.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// What, since the last such event.
    pub losses: Losses,
    /// Cgroups whose datagrams were shed, and how many, those with most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shed_from: Vec<ShedFrom>,
}

/// The first event of every output; it is written when everything is attached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Session {
    /// Version of the format.
    pub format_version: u32,
    /// Version of notify-trace.
    pub tool_version: String,
    /// Its command line.
    pub command_line: Vec<String>,
    /// When everything was attached and had passed the self-test.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The same moment.
    pub monotonic_ns: u64,
    /// How far `CLOCK_BOOTTIME`, which counts the time that the host slept, is ahead of
    /// `CLOCK_MONOTONIC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boottime_ahead_ns: Option<u64>,
    /// Host name (`uname -n`).
    pub host: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Architecture (`uname -m`).
    pub machine: String,
    /// `/proc/sys/kernel/random/boot_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// CPUs whose rings are read.
    pub cpus: u32,
    /// Bytes of each CPU's ring.
    pub ring_bytes: u64,
    /// The plan that was chosen.
    pub plan: Plan,
    /// The rules that select sockets.
    pub rules: Vec<SocketRule>,
    /// What of it is shown: options such as `unit=nginx.service`, `redact=STATUS`. Those of one
    /// name are alternatives, different ones must all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub view: Vec<String>,
    /// What is not as one would wish, each a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How the kernel is traced, and why so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Plan {
    /// Which of the four.
    pub name: PlanName,
    /// Why this one.
    pub reason: String,
    /// What this plan can't know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Program name to what it hangs on, for each program attached.
    pub programs: BTreeMap<String, String>,
}

/// The four plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlanName {
    /// Trampolines only, on a kernel that preempts none: knows what `full` knows, at a fraction of the cost.
    Trampolines,
    /// kprobes, and a trampoline beside the return probe on the send call.
    Full,
    /// kprobes only: results may be missed while many senders are blocked.
    NoTrampolines,
    /// Raw tracepoints only: datagrams are seen when they are received.
    Tracepoints,
}

/// A rule that selects sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SocketRule {
    /// The kind of socket that it stands for.
    pub class: String,
    /// The glob that an address must match, or the socket's inode number.
    pub matches: String,
}

/// The last event of every output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// When tracing ended.
    #[cfg_attr(test, schemars(with = "String"))]
    pub time: Timestamp,
    /// The same moment.
    pub monotonic_ns: u64,
    /// Notifications passed on.
    pub notifications: u64,
    /// Of these: delivered.
    pub delivered: u64,
    /// Of these: failed.
    pub failed: u64,
    /// Of these: dropped by the receiver's socket filter.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub filtered: u64,
    /// Of these: destroyed unread with their receiver.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub destroyed: u64,
    /// Of these: none of that, as far as was known when tracing ended.
    pub open: u64,
    /// Failed connects.
    pub connect_failed: u64,
    /// Notifications and failed connects besides, that were left out because options such as
    /// `--unit` asked for others.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub left_out: u64,
    /// Records that the kernel programs tried to write.
    pub records_attempted: u64,
    /// Records read.
    pub records_received: u64,
    /// All that was lost.
    pub losses: Losses,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_shown_as_what_came_since_the_last_one() {
        let before = Losses {
            ring_full: 3,
            programs_skipped: None,
            ..Losses::default()
        };
        let now = Losses {
            ring_full: 5,
            programs_skipped: Some(2),
            ..Losses::default()
        };
        let since = now.since(&before);
        assert_eq!((since.ring_full, since.programs_skipped), (2, Some(2)));
        assert!(!now.since(&now).any());
        let mut sum = before;
        sum.add(&since);
        assert_eq!(sum, now);
    }
}
