//! A proxy that was told `READY=1` and kept it to itself: what each runtime's sources say of why.

use super::Finding;
use crate::correlate::message::assignments;
use crate::correlate::outcome::{Certainty, Kind, Relay};
use crate::event::{Notification, Process};
use crate::words;

const READY: &[u8] = b"READY=1";
/// crun reads so many bytes of a datagram.
const CRUN_READS_BYTES: usize = 255;

/// A proxy was told `READY=1` and did not pass it on.
pub(in crate::correlate) fn swallowed(
    proxy: &Process,
    told: &Notification,
    relay: &Relay,
) -> Finding {
    let proxy = words::name(proxy);
    let reason = reason(&relay.class, told);
    let certainty = if reason.is_some() {
        Certainty::Certain
    } else {
        Certainty::Inferred
    };
    let what = format!("{proxy} was told READY=1 and did not pass it on");
    let mut found = Finding::new(Kind::Swallowed, certainty, what).seen(if relay.sent.is_empty() {
        "it sent nothing because of it".to_owned()
    } else {
        format!("of it, it passed on {}", relay.forwarded.join(", "))
    });
    if reason.is_none() {
        found = found.seen("what it sends to a socket that is not selected is not seen");
    }
    match (reason, &*relay.class) {
        (Some(Reason::Behind), _) => found
            .by("runc looks at a datagram only if it begins with READY= (read in 1.1.12, 1.3 and 1.5.0-rc.1, seen with 1.1.15)")
            .helps("let the container send READY=1 first, or in a datagram of its own"),
        (Some(Reason::Far), _) => found
            .by("crun reads at most 255 bytes of a datagram (1.2x)")
            .helps("let the container send READY=1 first, or in a datagram of its own"),
        (Some(Reason::NotAsked), _) => found
            .by("systemd-nspawn --notify-ready=yes listens to the payload's process 1 only, and without it says READY=1 itself")
            .helps("let the payload's process 1 send it"),
        (None, "conmon") => found
            .by("after a failed forward conmon stops to relay")
            .helps("see conmon's log; restart the container"),
        (None, _) => found,
    }
}

/// What a proxy's sources say of why it keeps a `READY=1` to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It stands behind something else.
    Behind,
    /// It stands behind what is read.
    Far,
    /// Nobody listens to this process.
    NotAsked,
}

/// None: they don't; then only what was seen speaks for it, and not all that it sends is seen.
fn reason(class: &str, told: &Notification) -> Option<Reason> {
    let is_first = || {
        assignments(told)
            .next()
            .is_some_and(|first| first.key == b"READY")
    };
    let is_far = || ready_offset(told).is_some_and(|at| at + READY.len() > CRUN_READS_BYTES);
    match class {
        "runc" if !is_first() => Some(Reason::Behind),
        "crun" if is_far() => Some(Reason::Far),
        "nspawn" => Some(Reason::NotAsked),
        _ => None,
    }
}

/// Where in the payload `READY=1` stands.
fn ready_offset(told: &Notification) -> Option<usize> {
    let payload = &told.payload.as_ref()?.0;
    payload
        .windows(READY.len())
        .position(|window| window == READY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::Sample;

    fn of(class: &str, payload: &str) -> Option<Reason> {
        reason(class, &Sample::new(payload).build())
    }

    #[test]
    fn only_what_a_proxys_sources_say_is_certain() {
        assert_eq!(of("runc", "STATUS=up\nREADY=1"), Some(Reason::Behind));
        assert_eq!(of("runc", "READY=1\nSTATUS=up"), None);
        let far = format!("STATUS={}\nREADY=1", "x".repeat(241));
        assert_eq!(of("crun", &far), Some(Reason::Far));
        assert_eq!(of("crun", &far.replacen('x', "", 1)), None);
        assert_eq!(of("nspawn", "READY=1"), Some(Reason::NotAsked));
        // It may have told a proxy that no rule selects.
        assert_eq!(of("conmon", "READY=1"), None);
    }
}
