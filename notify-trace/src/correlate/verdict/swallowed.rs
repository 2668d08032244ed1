//! A proxy that was told `READY=1` and kept it to itself: what each runtime's sources say of why.

use super::Finding;
use crate::correlate::message::assignments;
use crate::correlate::outcome::{Certainty, Kind, Relay};
use crate::event::{Notification, Process};
use crate::words;

/// A proxy was told `READY=1` and did not pass it on.
pub(in crate::correlate) fn swallowed(
    proxy: &Process,
    told: &Notification,
    relay: &Relay,
) -> Finding {
    let proxy = words::name(proxy);
    let is_behind = assignments(told)
        .next()
        .is_none_or(|first| first.key != b"READY");
    let what = format!("{proxy} was told READY=1 and did not pass it on");
    let found =
        Finding::new(Kind::Swallowed, Certainty::Certain, what).seen(if relay.sent.is_empty() {
            "it sent nothing because of it".to_owned()
        } else {
            format!("of it, it passed on {}", relay.forwarded.join(", "))
        });
    match &*relay.class {
        "runc" if is_behind => found
            .by("runc looks at a datagram only if it begins with READY= (read in 1.1.12, 1.3 and 1.5.0-rc.1, seen with 1.1.15)")
            .helps("let the container send READY=1 first, or in a datagram of its own"),
        "crun" => found
            .by("crun reads at most 255 bytes of a datagram (1.2x)")
            .helps("let the container send READY=1 first, or in a datagram of its own"),
        "nspawn" => found
            .by("systemd-nspawn --notify-ready=yes listens to the payload's process 1 only, and without it says READY=1 itself")
            .helps("let the payload's process 1 send it"),
        "conmon" => found
            .by("after a failed forward conmon stops to relay")
            .helps("see conmon's log; restart the container"),
        _ => found,
    }
}
