//! Reloads: `RELOADING=1` with `MONOTONIC_USEC=`, then `READY=1`.

use super::Finding;
use crate::correlate::message::{find, number};
use crate::correlate::outcome::{Certainty, Kind};
use crate::event::{Notification, UnitState};
use crate::words;

/// A time stamp that is older than this when it is sent is of another moment.
const OLD_NS: u64 = 60_000_000_000;

const RULE: &str = "Type=notify-reload (253 and newer): RELOADING=1 counts only with a MONOTONIC_USEC= in the same datagram that is not before the manager's reload signal; else `systemctl reload` waits until it times out";
const REMEDY: &str = "send RELOADING=1 and MONOTONIC_USEC= (CLOCK_MONOTONIC, microseconds, taken when the signal arrives) in one datagram, then READY=1";

/// What was known of a unit's reloads before this one.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::correlate) struct Before {
    /// Time stamp of the reload before.
    pub(in crate::correlate) last_usec: Option<u64>,
    /// When its last `READY=1` was taken by the manager.
    pub(in crate::correlate) ready_ns: Option<u64>,
}

/// A `RELOADING=1` that the manager ignores.
pub(in crate::correlate) fn reloading(
    it: &Notification,
    state: Option<&UnitState>,
    before: Before,
) -> Option<Finding> {
    let state = state.filter(|it| it.service_type.as_deref() == Some("notify-reload"))?;
    let name = words::unit(&state.unit);
    if find(it, "MONOTONIC_USEC").is_none() {
        return Some(
            Finding::new(
                Kind::ReloadWithoutTimestamp,
                Certainty::Certain,
                format!("ignored: {name} says RELOADING=1 without MONOTONIC_USEC="),
            )
            .by(RULE)
            .helps(REMEDY),
        );
    }
    let usec = number(it, "MONOTONIC_USEC")?;
    let at_ns = usec.saturating_mul(1_000);
    let sent_ns = it.timing.entry_ns.unwrap_or(it.monotonic_ns);
    let why = if at_ns > sent_ns {
        format!(
            "it is {} after the send: not of this clock",
            words::duration(at_ns - sent_ns)
        )
    } else if before.last_usec == Some(usec) {
        "it is that of the reload before".to_owned()
    } else if let Some(ready_ns) = before.ready_ns
        && at_ns < ready_ns
    {
        format!(
            "it is {} before its last READY=1",
            words::duration(ready_ns - at_ns)
        )
    } else if sent_ns - at_ns > OLD_NS {
        format!("it is {} before the send", words::duration(sent_ns - at_ns))
    } else {
        return None;
    };
    Some(
        Finding::new(
            Kind::ReloadTimestampOld,
            Certainty::Inferred,
            format!("ignored: MONOTONIC_USEC={usec} of {name} is not of this reload"),
        )
        .seen(why)
        .by(RULE)
        .helps(REMEDY),
    )
}

/// A reload that has begun and not ended.
pub(in crate::correlate) fn open(name: &str, age_ns: u64) -> Finding {
    Finding::new(
        Kind::ReloadOpen,
        Certainty::Certain,
        format!(
            "{name} has said RELOADING=1 and no READY=1 for {}",
            words::duration(age_ns)
        ),
    )
    .by("a reload ends with READY=1")
    .helps("send READY=1 when the reload is done, also if it failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample, unit_state};

    fn kind(payload: &str, service_type: &str, before: Before) -> Option<Kind> {
        let state = UnitState {
            service_type: Some(service_type.to_owned()),
            ..unit_state("app.service", S)
        };
        let it = Sample::new(payload).at(100 * S).build();
        reloading(&it, Some(&state), before).map(|found| found.kind)
    }

    #[test]
    fn a_reload_carries_its_moment() {
        let none = Before::default();
        let with = |usec: u64| format!("RELOADING=1\nMONOTONIC_USEC={usec}");
        assert_eq!(
            kind("RELOADING=1", "notify-reload", none),
            Some(Kind::ReloadWithoutTimestamp)
        );
        assert_eq!(kind("RELOADING=1", "notify", none), None);
        assert_eq!(kind(&with(99_990_000), "notify-reload", none), None);
        let old = Some(Kind::ReloadTimestampOld);
        assert_eq!(kind(&with(1), "notify-reload", none), old);
        assert_eq!(kind(&with(200_000_000), "notify-reload", none), old);
        let before = Before {
            last_usec: None,
            ready_ns: Some(99 * S),
        };
        assert_eq!(kind(&with(98_000_000), "notify-reload", before), old);
        assert_eq!(kind(&with(99_990_000), "notify-reload", before), None);
    }
}
