//! What arrived at a service manager: does it find the sender's unit, and does that unit listen?
//!
//! systemd's `manager_dispatch_notify_fd`, `manager_invoke_notify_message` (manager.c) and
//! `service_notify_message_authorized` (service.c): 255, 257 and 261 were read.

use super::Finding;
use super::ready::starts_on;
use crate::correlate::message::{find, has_only};
use crate::correlate::outcome::{Certainty, Kind};
use crate::escape::escape_field;
use crate::event::{Notification, UnitState};
use crate::unit::UnitKey;
use crate::who;
use crate::words;

/// At most so long after the dequeue the manager looks for the sender's unit: it does so at once, but it may
/// have to wait for a CPU.
const LOOKS_NS: u64 = 1_000_000_000;

/// Whether the manager acts on what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::correlate) enum Answer {
    /// It does, as far as can be told.
    Accepted,
    /// It does not.
    Refused(Finding),
    /// The facts for that aren't known.
    Unknown,
}

/// What is known of a notification that a manager took.
#[derive(Clone, Copy, Debug)]
pub(in crate::correlate) struct Told<'a> {
    /// It.
    pub(in crate::correlate) notification: &'a Notification,
    /// The unit of its sender, at the moment of the send.
    pub(in crate::correlate) unit: Option<&'a UnitKey>,
    /// What the manager said of that unit, the latest last.
    pub(in crate::correlate) states: &'a [&'a UnitState],
    /// Units of that manager that wait for `READY=1`; needed only if the sender is of no service.
    pub(in crate::correlate) waiting: &'a [&'a str],
    /// When the sender exited, if that was seen.
    pub(in crate::correlate) exited_ns: Option<u64>,
}

impl Told<'_> {
    /// The process that the manager takes for the sender.
    fn pid(&self) -> Option<u32> {
        let it = self.notification;
        it.delivery
            .credentials
            .or(it.claimed)
            .map(|it| it.pid)
            .or_else(|| it.sender.as_ref().map(|sender| sender.pid))
    }

    fn was_main(&self, pid: u32) -> bool {
        self.states.iter().any(|state| state.main_pid == Some(pid))
    }
}

/// Whether the manager acts on it.
pub(in crate::correlate) fn acceptance(told: &Told<'_>) -> Answer {
    let answer = unit_is_found(told).unwrap_or_else(|| access(told));
    match answer {
        Answer::Accepted => dropped_silently(told).map_or(Answer::Accepted, Answer::Refused),
        Answer::Refused(found) if is_accident(told) => Answer::Refused(accident(told, found)),
        answer => answer,
    }
}

/// `None`: it is found.
fn unit_is_found(told: &Told<'_>) -> Option<Answer> {
    let it = told.notification;
    let pid = told.pid()?;
    if it.delivery.sender_present == Some(false) && !told.was_main(pid) {
        return Some(Answer::Refused(gone_before(told, pid)));
    }
    let Some(unit) = told.unit else {
        return Some(match container_without_unit(told) {
            Some(found) => Answer::Refused(found),
            None => Answer::Unknown,
        });
    };
    if !unit.is_service() {
        return Some(Answer::Refused(not_a_service(told, &unit.name)));
    }
    None
}

fn gone_before(told: &Told<'_>, pid: u32) -> Finding {
    let unit = match told.unit {
        Some(unit) => format!("it was of {}", words::unit(&unit.name)),
        None => "its unit is not known".to_owned(),
    };
    let found = sender_gone(pid, &unit, Certainty::Certain);
    match (told.exited_ns, told.notification.timing.dequeued_ns) {
        (Some(exited_ns), Some(dequeued_ns)) if exited_ns <= dequeued_ns => found.seen(format!(
            "it exited {} before the dequeue",
            words::duration(dequeued_ns - exited_ns)
        )),
        _ => found,
    }
}

fn sender_gone(pid: u32, unit: &str, certainty: Certainty) -> Finding {
    Finding::new(
        Kind::SenderGone,
        certainty,
        format!("dropped: process {pid} was gone when the manager looked for its unit; {unit}"),
    )
    .by("the unit is that of the sender's cgroup when the manager looks for it, right after the dequeue (\"Cannot find unit for notify message of PID\": a warning up to 255, debug since 257)")
    .helps("let the sender wait: sd_notify_barrier(), systemd-notify without --no-block; or send from the main process")
}

/// By all that is known it is allowed to speak, and yet the start went on: the sender was there at the dequeue
/// and gone a moment later, when the manager looked for its unit.
fn dropped_silently(told: &Told<'_>) -> Option<Finding> {
    let it = told.notification;
    let (pid, unit, latest) = (told.pid()?, told.unit?, told.states.last()?);
    let (exited_ns, dequeued_ns) = (told.exited_ns?, it.timing.dequeued_ns?);
    let gone_ns = exited_ns.checked_sub(dequeued_ns)?;
    let is_gone = gone_ns <= LOOKS_NS && exited_ns <= latest.since_ns() && !told.was_main(pid);
    if !is_gone || !starts_on(latest, it, dequeued_ns) {
        return None;
    }
    let name = words::unit(&unit.name);
    let found = sender_gone(pid, &format!("it was of {name}"), Certainty::Inferred)
        .seen(format!(
            "it exited {} after the dequeue",
            words::duration(gone_ns)
        ))
        .seen(format!(
            "asked {} after the dequeue: {name} is still starting",
            words::duration(latest.since_ns().saturating_sub(dequeued_ns))
        ));
    Some(found)
}

fn container_without_unit(told: &Told<'_>) -> Option<Finding> {
    let is_of = told.notification.sender.as_ref()?.attribution.as_deref()?;
    is_of.container.as_ref()?;
    let who = who::who(is_of)?;
    Some(from_elsewhere(
        told,
        Certainty::Inferred,
        format!("nobody acts on it: it comes from {who}, whose cgroup belongs to no unit"),
    ))
}

fn not_a_service(told: &Told<'_>, unit: &str) -> Finding {
    let who = told
        .notification
        .sender
        .as_ref()
        .and_then(|sender| sender.attribution.as_deref())
        .filter(|is_of| is_of.container.is_some())
        .and_then(who::who)
        .map(|who| format!(" ({who})"))
        .unwrap_or_default();
    from_elsewhere(
        told,
        Certainty::Certain,
        format!(
            "nobody acts on it: it comes from {}{who}, which is no service",
            words::unit(unit)
        ),
    )
}

fn from_elsewhere(told: &Told<'_>, certainty: Certainty, what: String) -> Finding {
    let mut found = Finding::new(Kind::NotFromAService, certainty, what);
    if !told.waiting.is_empty() && find(told.notification, "READY").is_some() {
        found = found.seen(format!(
            "starting meanwhile, and waiting for READY=1: {}",
            told.waiting
                .iter()
                .map(|unit| words::unit(unit))
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    found
        .by("a notification counts for the unit in whose cgroup its sender is, whoever was given NOTIFY_SOCKET; units other than services take none")
        .helps("run the payload in the unit's own cgroup, or through a runtime that passes it on (runc, crun, podman --sdnotify=container); with docker use Type=exec and a health check instead")
}

fn access(told: &Told<'_>) -> Answer {
    let (Some(pid), Some(unit)) = (told.pid(), told.unit) else {
        return Answer::Unknown;
    };
    let Some(latest) = told.states.last() else {
        return Answer::Unknown;
    };
    let allowed = latest.notify_access.as_deref();
    let refused = |what: String, main: Option<u32>| {
        let dequeued_ns = told.notification.timing.dequeued_ns.unwrap_or(0);
        let asked_ns = latest.since_ns();
        let apart = words::duration(asked_ns.abs_diff(dequeued_ns));
        let side = if asked_ns >= dequeued_ns {
            "after"
        } else {
            "before"
        };
        let main = main.map_or_else(String::new, |main| format!(", main process {main}"));
        Answer::Refused(
            Finding::new(Kind::AccessRefused, Certainty::Inferred, what)
                .seen(format!(
                    "asked {apart} {side} the dequeue: NotifyAccess={}{main}",
                    allowed.unwrap_or("?")
                ))
                .by("\"reception only permitted for main PID\" is a warning up to 255 and debug since 257, so it is silent as a rule")
                .helps("set NotifyAccess=all (or exec), send from the main process, or name it by MAINPID="),
        )
    };
    let name = words::unit(&unit.name);
    let is_main = told.was_main(pid);
    let is_control = told
        .states
        .iter()
        .any(|state| state.control_pid == Some(pid));
    match allowed {
        Some("all") => Answer::Accepted,
        Some("none") => refused(
            format!("refused: {name} takes no notifications (NotifyAccess=none)"),
            None,
        ),
        Some("main") if is_main => Answer::Accepted,
        Some("exec") if is_main || is_control => Answer::Accepted,
        Some(access @ ("main" | "exec")) => match latest.main_pid {
            // It may have been the main process, and be gone.
            None => Answer::Unknown,
            // Or another one was started since: a restart.
            Some(_) if is_of_later_main(told, latest) => Answer::Unknown,
            Some(main) => {
                let whom = if access == "main" {
                    "the main process"
                } else {
                    "the main and control processes"
                };
                refused(
                    format!(
                        "refused: {name} listens to {whom} only ({main}), this is of process {pid}"
                    ),
                    Some(main),
                )
            }
        },
        _ => Answer::Unknown,
    }
}

/// Whether the main process that a manager speaks of was started after it took the notification.
fn is_of_later_main(told: &Told<'_>, state: &UnitState) -> bool {
    state
        .main_start_ns
        .zip(told.notification.timing.dequeued_ns)
        .is_some_and(|(started_ns, dequeued_ns)| started_ns > dequeued_ns)
}

/// Whether all that it says is how the sender exited.
fn is_accident(told: &Told<'_>) -> bool {
    has_only(told.notification, &["EXIT_STATUS", "ERRNO"])
}

fn accident(told: &Told<'_>, refused: Finding) -> Finding {
    let it = told.notification;
    let comm = it.sender.as_ref().map_or_else(
        || "a process".to_owned(),
        |sender| escape_field(&sender.comm.0).to_string(),
    );
    let mut found = Finding::new(
        Kind::AccidentalSender,
        refused.certainty,
        format!("harmless: {comm} reports its own exit to a manager that does not ask for it"),
    )
    .seen(refused.what);
    if let Some(parent) = it.sender.as_ref().and_then(|sender| sender.parent_pid)
        && told.was_main(parent)
    {
        found = found.seen(format!("its parent {parent} is the service's main process"));
    }
    found
        .by("since 254 systemd's own programs send EXIT_STATUS= and ERRNO= at their end to whatever NOTIFY_SOCKET they inherited")
        .helps("unset NOTIFY_SOCKET for helpers (env -u NOTIFY_SOCKET …)")
}

/// Descriptors to be kept by a unit that keeps none, or no more.
pub(in crate::correlate) fn fd_store(told: &Told<'_>) -> Option<Finding> {
    let it = told.notification;
    let fds = it.fds.filter(|fds| *fds > 0)?;
    find(it, "FDSTORE")?;
    let latest = told.states.last()?;
    let max = latest.fd_store_max?;
    let count = latest.fd_store_count.unwrap_or(0);
    let name = words::unit(&told.unit?.name);
    let found = if max == 0 {
        Finding::new(
            Kind::FdStoreRefused,
            Certainty::Certain,
            format!("{name} keeps no file descriptors (FileDescriptorStoreMax=0): {fds} closed"),
        )
    } else if count >= max
        && told
            .states
            .iter()
            .rev()
            .nth(1)
            .is_some_and(|state| state.fd_store_count == Some(max))
    {
        Finding::new(
            Kind::FdStoreRefused,
            Certainty::Inferred,
            format!("{name} has as many file descriptors as it may (FileDescriptorStoreMax={max})"),
        )
    } else {
        return None;
    };
    Some(
        found
            .seen(format!("{count} were kept when asked afterwards"))
            .by("the sender gets no error: what isn't kept is closed")
            .helps("set FileDescriptorStoreMax="),
    )
}

/// Credentials by which it passes as the main process of another unit.
pub(in crate::correlate) fn on_behalf(
    it: &Notification,
    unit: Option<&UnitKey>,
    claimed_unit: Option<&UnitKey>,
) -> Option<Finding> {
    let claimed = it.delivery.credentials.or(it.claimed)?;
    let sender = it.sender.as_ref()?;
    let (own, other) = (unit?, claimed_unit?);
    if claimed.pid == sender.pid || own == other {
        return None;
    }
    Some(
        Finding::new(
            Kind::OnBehalf,
            Certainty::Inferred,
            format!(
                "counts for {}, of whose main process {} it has the credentials, but was sent by {} of {}",
                words::unit(&other.name),
                claimed.pid,
                words::name(sender),
                words::unit(&own.name)
            ),
        )
        .seen(format!("claimed credentials: {}", words::credentials(claimed)))
        .by("a privileged sender may give any pid in SCM_CREDENTIALS, and NotifyAccess= is checked against that (not a bug by systemd's rules)"),
    )
}

#[cfg(test)]
mod tests;
