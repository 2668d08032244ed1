//! What never arrived: failed connects and sends, filters, receivers that went away.

use super::Finding;
use crate::correlate::outcome::{Certainty, Kind};
use crate::event::{
    ConnectFailed, DeliveryState, Errno, Notification, Process, SendResult, UnitState,
};
use crate::unit::is_to_manager;
use crate::words;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const EMSGSIZE: i32 = 90;
const EPROTOTYPE: i32 = 91;
const ETOOMANYREFS: i32 = 109;
const ECONNREFUSED: i32 = 111;

/// A receiver that only one's own manager or runtime has, with a mode that lets everybody send.
const OPEN_TO_ALL: [&str; 4] = ["systemd", "runc", "crun", "conmon"];

/// What is known besides the error.
#[derive(Clone, Copy, Debug)]
struct Around<'a> {
    class: &'a str,
    sender: Option<&'a Process>,
    unit: Option<&'a UnitState>,
    /// It was attempted to claim credentials.
    claims: bool,
}

/// Why an error came, and what helps.
struct Cause {
    certainty: Certainty,
    words: &'static str,
    remedy: Option<&'static str>,
}

const fn certainly(words: &'static str, remedy: &'static str) -> Cause {
    Cause {
        certainty: Certainty::Certain,
        words,
        remedy: Some(remedy),
    }
}

const fn likely(words: &'static str, remedy: &'static str) -> Cause {
    Cause {
        certainty: Certainty::Inferred,
        words,
        remedy: Some(remedy),
    }
}

fn cause(errno: i32, around: Around<'_>) -> Cause {
    let is_root = around.sender.is_some_and(|sender| sender.uid == 0);
    let is_inside = around
        .sender
        .and_then(|sender| sender.attribution.as_deref())
        .is_some_and(|it| it.container.as_ref().is_some_and(|it| !it.is_monitor));
    let has_own_root = around.unit.is_some_and(|unit| unit.has_own_root);
    match errno {
        ENOENT if has_own_root => certainly(
            "there is no such path for the sender: its unit has a root directory of its own",
            "bind the socket into it (BindReadOnlyPaths=/run/systemd/notify), or MountAPIVFS=yes with systemd 258 or newer",
        ),
        ENOENT => likely(
            "there is no such path for the sender: the receiver has not bound its socket yet, has removed it, or the sender sees another root",
            "look at `notify-trace sockets` for the receiver, and at the sender's root and mounts (/proc/PID/root)",
        ),
        ECONNREFUSED => certainly(
            "the path is there, but nobody has it open any more: the receiver is gone",
            "look for what ended the receiver (a proxy that exited, a manager that was restarted)",
        ),
        EACCES if is_root && !is_inside => likely(
            "root is not refused by permissions, so a security module (AppArmor, SELinux) probably forbids it",
            "look for the denial in the kernel's log (`journalctl -k --grep 'apparmor|avc'`) and allow the sender to write to the notify socket",
        ),
        EACCES if OPEN_TO_ALL.contains(&around.class) => likely(
            "this socket is open to all, so either a directory on its path is closed to the sender, or a security module (AppArmor, SELinux) forbids it",
            "look for the denial in the kernel's log (`journalctl -k --grep 'apparmor|avc'`); then at each directory of the path, with the sender's user (in a user namespace: the mapped one)",
        ),
        EACCES => likely(
            "the sender may not write to the socket, or may not pass a directory on its path; or a security module forbids it",
            "compare the socket's owner and mode (`ls -l`) with the sender's user; then look for a denial in the kernel's log",
        ),
        EPERM if around.claims => certainly(
            "the sender claims to be another process, or user, than it is, and lacks CAP_SYS_ADMIN or CAP_SETUID for that",
            "do not give a pid (sd_pid_notify(0, …)), or set NotifyAccess=all so that it is not needed",
        ),
        EPERM => likely(
            "the receiver takes datagrams from another peer only, takes no file descriptors (SO_PASSRIGHTS), or a security module forbids it",
            "send without file descriptors; look for a denial in the kernel's log",
        ),
        EMSGSIZE => certainly(
            "it is larger than the sender's own send buffer allows",
            "send less: systemd takes 4096 bytes at most",
        ),
        EPROTOTYPE => certainly(
            "the socket at that path is no datagram socket",
            "NOTIFY_SOCKET names something else than a notify socket",
        ),
        EINVAL | ETOOMANYREFS => likely(
            "the address or what goes with it is malformed: more than 253 file descriptors, or too many of them in flight",
            "pass fewer file descriptors at once",
        ),
        _ => Cause {
            certainty: Certainty::Certain,
            words: "the kernel refused it",
            remedy: None,
        },
    }
}

/// A connect that failed: nothing was sent.
pub(in crate::correlate) fn connect_failed(
    failed: &ConnectFailed,
    unit: Option<&UnitState>,
) -> Finding {
    let cause = cause(
        failed.error.errno,
        Around {
            class: &failed.class,
            sender: Some(&failed.sender),
            unit,
            claims: false,
        },
    );
    let what = format!(
        "nothing was sent: connect() to {} failed with {}; {}",
        words::address(&failed.address),
        words::errno(&failed.error),
        cause.words
    );
    let mut finding = Finding::new(Kind::ConnectFailed, cause.certainty, what);
    finding.remedy = cause.remedy;
    finding
}

/// A notification that did not arrive, as far as the send call and the receiver's queue tell.
pub(in crate::correlate) fn not_delivered(
    it: &Notification,
    unit: Option<&UnitState>,
) -> Option<Finding> {
    if !matches!(
        it.delivery.state,
        DeliveryState::Failed | DeliveryState::Filtered | DeliveryState::Destroyed
    ) {
        return None;
    }
    let target = words::target(it);
    match (it.delivery.state, &it.result) {
        (DeliveryState::Failed, Some(SendResult::Failed(error))) if error.errno == EAGAIN => {
            Some(queue_full(it, &target, error))
        }
        (DeliveryState::Failed, Some(SendResult::Failed(error))) => {
            let cause = cause(
                error.errno,
                Around {
                    class: &it.class,
                    sender: it.sender.as_ref(),
                    unit,
                    claims: it.claimed.is_some(),
                },
            );
            let what = format!(
                "never delivered: sending to {target} failed with {}; {}",
                words::errno(error),
                cause.words
            );
            let mut finding = Finding::new(Kind::SendFailed, cause.certainty, what);
            finding.remedy = cause.remedy;
            Some(finding)
        }
        (DeliveryState::Filtered, _) => Some(
            Finding::new(
                Kind::Filtered,
                Certainty::Inferred,
                format!(
                    "lost although the send call succeeded: a socket filter of {target} dropped it"
                ),
            )
            .seen("the call succeeded and the datagram was never about to be queued"),
        ),
        (DeliveryState::Destroyed, _) => Some(
            Finding::new(
                Kind::DestroyedUnread,
                Certainty::Certain,
                format!("lost in the queue: {target} was closed before it was read"),
            )
            .helps(if is_to_manager(&it.class) {
                "the manager was restarted or re-executed meanwhile; send again"
            } else {
                "the proxy ended before it had read it; wait with a barrier before the next step"
            }),
        ),
        _ => None,
    }
}

fn queue_full(it: &Notification, target: &str, error: &Errno) -> Finding {
    let waiting = it
        .receiver
        .as_ref()
        .and_then(|receiver| receiver.queue_length);
    let mut finding = Finding::new(
        Kind::QueueFull,
        Certainty::Certain,
        format!(
            "never delivered: the queue of {target} is full ({}), and the sender does not wait",
            words::errno(error)
        ),
    )
    .by("a datagram socket takes net.unix.max_dgram_qlen datagrams (512 under systemd, else 10), and a sender that does not block gets EAGAIN")
    .helps("find out why the receiver does not read (verdict not_reading), or send less often");
    if let Some(waiting) = waiting {
        finding = finding.seen(format!(
            "{} waited in the queue",
            words::count(waiting.into(), "datagram", "datagrams")
        ));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{Sample, unit_state};

    fn of(sample: Sample) -> Finding {
        not_delivered(&sample.build(), None).expect("a finding")
    }

    #[test]
    fn root_refused_points_to_a_security_module() {
        let found = of(Sample::new("READY=1").failed(EACCES, "EACCES"));
        assert_eq!(found.certainty, Certainty::Inferred);
        assert!(found.what.contains("EACCES"), "{}", found.what);
        assert!(found.what.contains("AppArmor"), "{}", found.what);
    }

    #[test]
    fn a_root_of_its_own_explains_a_missing_path() {
        let mut unit = unit_state("app.service", 1);
        unit.has_own_root = true;
        let it = Sample::new("READY=1").failed(ENOENT, "ENOENT").build();
        let found = not_delivered(&it, Some(&unit)).expect("a finding");
        assert_eq!(found.certainty, Certainty::Certain);
        assert!(found.what.contains("root directory of its own"));
        let found = not_delivered(&it, None).expect("a finding");
        assert_eq!(found.certainty, Certainty::Inferred);
    }

    #[test]
    fn a_full_queue_is_said_with_its_length() {
        let mut sample = Sample::new("WATCHDOG=1").failed(EAGAIN, "EAGAIN");
        if let Some(receiver) = &mut sample.0.receiver {
            receiver.queue_length = Some(512);
        }
        let found = of(sample);
        assert_eq!(found.kind, Kind::QueueFull);
        assert_eq!(found.evidence, ["512 datagrams waited in the queue"]);
    }

    #[test]
    fn what_arrived_is_no_finding() {
        assert_eq!(not_delivered(&Sample::new("READY=1").build(), None), None);
    }
}
