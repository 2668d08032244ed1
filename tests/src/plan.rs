//! What each plan of the agent is expected to show: decided per datagram, never by leaving a case
//! out.

use anyhow::{Result, bail};

use crate::truth::{Fate, Send};

/// How the agent traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    /// Raw tracepoints: datagrams are seen when they are received.
    Tracepoints,
    /// kprobes only: results may be unknown while senders compete.
    NoTrampolines,
    /// Everything is known.
    Full,
    /// The same by trampolines alone, where the kernel preempts none.
    Trampolines,
}

impl Plan {
    /// All, the best first.
    pub const ALL: [Self; 4] = [
        Self::Trampolines,
        Self::Full,
        Self::NoTrampolines,
        Self::Tracepoints,
    ];

    /// As the command line and the session name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trampolines => "trampolines",
            Self::Full => "full",
            Self::NoTrampolines => "no-trampolines",
            Self::Tracepoints => "tracepoints",
        }
    }

    /// The opposite of [`Self::name`].
    pub fn of(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|plan| plan.name() == name) {
            Some(plan) => Ok(plan),
            None => bail!("there is no plan {name}"),
        }
    }

    /// It sees calls that send and connect, queues, and the end of receivers.
    pub fn sees_senders(self) -> bool {
        self != Self::Tracepoints
    }

    /// Whether this plan shows the datagram at all.
    pub fn shows(self, send: &Send) -> bool {
        match self {
            Self::Trampolines | Self::Full | Self::NoTrampolines => true,
            Self::Tracepoints => {
                matches!(send.fate, Fate::Delivered | Fate::Trimmed(_))
                    && !send.is_selected_by_destination_only
            }
        }
    }

    /// Bytes of the datagram and of its payload as this plan sees it: behind the receiver's filter
    /// or before it.
    pub fn length_seen(self, send: &Send) -> u32 {
        match (self, send.fate) {
            (Self::Tracepoints, Fate::Trimmed(left)) => left,
            _ => send.length,
        }
    }

    /// Whether the plan may say that it doesn't know this of a datagram.
    pub fn may_not_know(self, fact: &str, send: &Send) -> bool {
        let is_of_uncopied =
            !send.is_copied && matches!(fact, "payload_never_copied" | "claimed" | "fds");
        is_of_uncopied
            || match self {
                Self::Trampolines | Self::Full => false,
                Self::NoTrampolines => fact == "result" && send.is_contended,
                Self::Tracepoints => matches!(
                    fact,
                    "sender"
                        | "sender_at_this_send"
                        | "destination"
                        | "result"
                        | "send_times"
                        | "claimed"
                ),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_plans() {
        for plan in Plan::ALL {
            assert_eq!(Plan::of(plan.name()).ok(), Some(plan));
        }
        assert!(Plan::of("auto").is_err());
    }
}
