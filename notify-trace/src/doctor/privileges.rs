//! What this process may do: capabilities, seccomp, lockdown, and the limits of others. Pure.

use crate::doctor::advice::Finding;
use crate::doctor::checks::Outcome;
use crate::doctor::host::{Host, LOCKDOWN, bracketed, field};
use crate::doctor::{Check, Status};
use crate::probe::error::missing_capabilities;
use crate::quantity::kernel_version;

/// Capabilities that matter here, by their bit (`include/uapi/linux/capability.h`).
const CAPABILITIES: [(u32, &str); 8] = [
    (1, "CAP_DAC_OVERRIDE"),
    (2, "CAP_DAC_READ_SEARCH"),
    (14, "CAP_IPC_LOCK"),
    (19, "CAP_SYS_PTRACE"),
    (21, "CAP_SYS_ADMIN"),
    (24, "CAP_SYS_RESOURCE"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

const STATUS: &str = "/proc/self/status";

/// Since this version maps are accounted to the memory cgroup and not to the limit of locked memory
/// (`bpf: Remove rlimit-based memory accounting`, 5.11).
const MAPS_NOT_LOCKED: (u32, u32) = (5, 11);

pub(super) fn all(host: &Host, outcome: &Outcome) -> Vec<Check> {
    vec![
        capabilities(host),
        attribution(host),
        seccomp(host, outcome),
        no_new_privileges(host),
        lockdown(host, outcome),
        paranoid(host, outcome),
        unprivileged(host),
        memlock(host, outcome),
    ]
}

/// Whether a capability is effective; `None`: not known.
pub(super) fn has(host: &Host, name: &str) -> Option<bool> {
    let bit = CAPABILITIES.iter().find(|(_, it)| *it == name)?.0;
    let hex = field(host.status.as_ref().ok()?, "CapEff")?;
    Some(u64::from_str_radix(hex, 16).ok()? >> bit & 1 == 1)
}

fn unknown(name: &'static str, why: &str, source: &str) -> Check {
    Check::new(name, Status::Unknown, why, source)
}

fn capabilities(host: &Host) -> Check {
    let status = match &host.status {
        Ok(status) => status,
        Err(why) => return unknown("capabilities", why, STATUS),
    };
    let there: Vec<&str> = CAPABILITIES
        .iter()
        .map(|(_, name)| *name)
        .filter(|name| has(host, name) == Some(true))
        .collect();
    let there = match &there[..] {
        [] => "none that matters here".to_owned(),
        there => there.join(", "),
    };
    let found = format!("uid {}, effective: {there}", host.uid);
    let missing = missing_capabilities(status);
    if missing.is_empty() {
        return Check::new("capabilities", Status::Ok, found, STATUS);
    }
    Check::new("capabilities", Status::Bad, found, STATUS)
        .follows(format!("missing: {}", missing.join(", ")))
        .advise(&Finding::MissingCapabilities {
            no_new_privileges: field(status, "NoNewPrivs") == Some("1"),
        })
}

/// To look at the processes and files of others.
fn attribution(host: &Host) -> Check {
    let name = "attribution";
    let (Some(ptrace), Some(search), Some(r#override)) = (
        has(host, "CAP_SYS_PTRACE"),
        has(host, "CAP_DAC_READ_SEARCH"),
        has(host, "CAP_DAC_OVERRIDE"),
    ) else {
        let why = host.status.as_ref().err();
        return unknown(name, why.map_or("no CapEff", String::as_str), STATUS);
    };
    let mut lost = Vec::new();
    if !ptrace {
        lost.push(
            "without CAP_SYS_PTRACE: NOTIFY_SOCKET in the environments of others' processes, so \
             sockets with names of their own, and what they execute",
        );
    }
    // Root owns most of them.
    if !search && !r#override && host.uid != 0 {
        lost.push(
            "without CAP_DAC_READ_SEARCH: files that only their owners may read, such as what \
             container runtimes keep",
        );
    }
    if lost.is_empty() {
        Check::new(
            name,
            Status::Ok,
            "others' processes can be looked at",
            STATUS,
        )
    } else {
        Check::new(
            name,
            Status::Limited,
            "not all of others' processes",
            STATUS,
        )
        .follows(format!("can't be told {}", lost.join("; ")))
        .advise(&Finding::MissingAttributionCapabilities)
    }
}

fn seccomp(host: &Host, outcome: &Outcome) -> Check {
    let name = "seccomp";
    let mode = match &host.status {
        Ok(status) => field(status, "Seccomp"),
        Err(why) => return unknown(name, why, STATUS),
    };
    match mode {
        Some("0") => Check::new(name, Status::Ok, "no filter", STATUS),
        Some(_) if outcome.is_permission && host.lacks_no_capability() => {
            Check::new(name, Status::Limited, "a filter is in force", STATUS)
                .follows("it may be what refuses, since no capability is missing")
                .advise(&Finding::Seccomp)
        }
        Some(_) => Check::new(name, Status::Info, "a filter is in force", STATUS)
            .follows("what it refuses shows in the answers below"),
        None => unknown(
            name,
            "no such line: a kernel without CONFIG_SECCOMP",
            STATUS,
        ),
    }
}

fn no_new_privileges(host: &Host) -> Check {
    let name = "no_new_privs";
    match host
        .status
        .as_ref()
        .map(|status| field(status, "NoNewPrivs"))
    {
        Ok(Some("0")) => Check::new(name, Status::Ok, "not set", STATUS),
        Ok(Some(_)) => Check::new(name, Status::Info, "set", STATUS)
            .follows("sudo and file capabilities (setcap) have no effect in here"),
        Ok(None) => unknown(name, "no such line", STATUS),
        Err(why) => unknown(name, why, STATUS),
    }
}

fn lockdown(host: &Host, outcome: &Outcome) -> Check {
    let name = "lockdown";
    let check = |status, found: &str| Check::new(name, status, found, LOCKDOWN);
    match &host.lockdown {
        Ok(text) => match bracketed(text) {
            Some("confidentiality") => {
                let status = if outcome.plan.is_none() {
                    Status::Bad
                } else {
                    Status::Limited
                };
                check(status, "confidentiality")
                    .follows("programs may not read kernel memory, and kprobes are refused")
                    .advise(&Finding::Confidentiality)
            }
            Some(mode) => check(Status::Ok, mode),
            None => check(Status::Unknown, &format!("not understood: {text:?}")),
        },
        Err(why) => {
            let is_mounted = host.mounts().is_ok_and(|mounts| {
                mounts.iter().any(|mount| {
                    mount.kind == "securityfs"
                        && LOCKDOWN.strip_prefix(&*mount.at) == Some("/lockdown")
                })
            });
            let is_absent = why.contains("(os error 2)");
            if is_mounted && is_absent {
                return check(Status::Ok, "none: the kernel has no lockdown");
            }
            let check = check(Status::Unknown, why).follows(if is_mounted {
                "securityfs is mounted, but the file can't be read"
            } else {
                "securityfs is not mounted"
            });
            let is_suspect =
                outcome.is_permission && host.lacks_no_capability() && host.pid_namespace.is_ok();
            if is_suspect && outcome.plan.is_none() {
                check.advise(&Finding::LockdownUnknown)
            } else {
                check
            }
        }
    }
}

fn paranoid(host: &Host, outcome: &Outcome) -> Check {
    let (name, source) = (
        "perf_event_paranoid",
        "/proc/sys/kernel/perf_event_paranoid",
    );
    match host.setting("kernel/perf_event_paranoid") {
        Err(why) => unknown(name, &why, source),
        Ok(level)
            if level > 2
                && outcome.plan.is_none()
                && outcome.is_permission
                && has(host, "CAP_PERFMON") == Some(true)
                && has(host, "CAP_SYS_ADMIN") == Some(false) =>
        {
            Check::new(name, Status::Bad, level.to_string(), source)
                .follows(
                    "above 2 the kernels of some distributions, Debian's among them, ask for \
                     CAP_SYS_ADMIN where CAP_PERFMON is enough elsewhere",
                )
                .advise(&Finding::Paranoid)
        }
        Ok(level) => setting_of_others(host, name, source, level, "CAP_PERFMON"),
    }
}

fn unprivileged(host: &Host) -> Check {
    let name = "unprivileged_bpf_disabled";
    let source = "/proc/sys/kernel/unprivileged_bpf_disabled";
    match host.setting("kernel/unprivileged_bpf_disabled") {
        Err(why) => unknown(name, &why, source),
        Ok(level) => setting_of_others(host, name, source, level, "CAP_BPF"),
    }
}

/// A setting for those who lack a capability; tracing needs the capability anyway.
fn setting_of_others(
    host: &Host,
    name: &'static str,
    source: &str,
    level: i64,
    capability: &str,
) -> Check {
    let is_exempt = has(host, capability) == Some(true) || has(host, "CAP_SYS_ADMIN") == Some(true);
    let check = |status| Check::new(name, status, level.to_string(), source);
    if is_exempt {
        check(Status::Ok)
    } else {
        check(Status::Info).follows(format!(
            "whatever it says, tracing needs {capability} or CAP_SYS_ADMIN, for which it doesn't \
             count"
        ))
    }
}

fn memlock(host: &Host, outcome: &Outcome) -> Check {
    let (name, source) = ("memlock", "getrlimit(RLIMIT_MEMLOCK)");
    let [soft, hard] = host.memlock_bytes.map(|bytes| match bytes {
        Some(bytes) => format!("{} KiB", bytes / 1024),
        None => "unlimited".to_owned(),
    });
    let mut found = format!("{soft}, at most {hard}");
    if let Ok(kib) = host.setting("kernel/perf_event_mlock_kb") {
        found = format!("{found}; perf_event_mlock_kb {kib}");
    }
    let check = |status| Check::new(name, status, &*found, source);
    let are_maps_locked = kernel_version(&host.release).is_some_and(|it| it < MAPS_NOT_LOCKED);
    let may_raise = has(host, "CAP_SYS_RESOURCE") == Some(true);
    if outcome.is_ring_refusal {
        check(Status::Bad)
            .follows(
                "the rings were refused: without CAP_IPC_LOCK, what exceeds perf_event_mlock_kb a \
                 CPU counts against the limit",
            )
            .advise(&Finding::RingMemory)
    } else if outcome.are_rings_smaller {
        check(Status::Limited)
            .follows(
                "the rings are smaller than they would be, so more of a storm is lost: without \
                 CAP_IPC_LOCK, what exceeds perf_event_mlock_kb a CPU counts against the limit",
            )
            .advise(&Finding::SmallRings)
    } else if !are_maps_locked {
        check(Status::Ok)
    } else if may_raise || host.memlock_bytes[0].is_none() {
        check(Status::Ok).follows(
            "before Linux 5.11 maps count against it; notify-trace raises it for itself if need be",
        )
    } else if outcome.is_permission && host.lacks_no_capability() {
        check(Status::Limited)
            .follows("before Linux 5.11 maps count against it: this may be what refuses")
            .advise(&Finding::MapMemory)
    } else {
        check(Status::Info).follows(
            "before Linux 5.11 maps count against it, and without CAP_SYS_RESOURCE it can't be \
             raised",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "CapEff:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n";
    const NOBODY: &str = "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    fn host(status: &str, lockdown: Result<&str, &str>) -> Host {
        let mut host = Host::read();
        host.uid = u32::from(status == NOBODY) * 65534;
        host.status = Ok(status.to_owned());
        host.lockdown = lockdown.map(str::to_owned).map_err(str::to_owned);
        host.mountinfo = Ok(String::new());
        host.release = "6.12.1".to_owned();
        host.memlock_bytes = [Some(65536), Some(65536)];
        host
    }

    fn refused() -> Outcome {
        Outcome {
            is_permission: true,
            ..Outcome::default()
        }
    }

    #[test]
    fn an_ordinary_user_is_told_which_capabilities_are_missing() {
        let check = capabilities(&host(NOBODY, Ok("[none]")));
        assert_eq!(check.status, Status::Bad);
        assert!(check.follows.unwrap().contains("CAP_PERFMON"));
        assert!(check.advice.unwrap().contains("NoNewPrivs is set"));
        assert_eq!(
            attribution(&host(NOBODY, Ok("[none]"))).status,
            Status::Limited
        );
        let root = host(ROOT, Ok("[none]"));
        assert_eq!(capabilities(&root).status, Status::Ok);
        assert_eq!(attribution(&root).status, Status::Ok);
    }

    #[test]
    fn a_seccomp_filter_is_suspected_only_if_no_capability_is_missing() {
        let filtered = ROOT.replace("Seccomp:\t0", "Seccomp:\t2");
        let check = seccomp(&host(&filtered, Ok("[none]")), &refused());
        assert_eq!(check.status, Status::Limited);
        assert!(check.advice.unwrap().contains("seccomp=unconfined"));
        let check = seccomp(&host(NOBODY, Ok("[none]")), &refused());
        assert_eq!((check.status, check.advice), (Status::Info, None));
    }

    #[test]
    fn lockdown_is_bad_only_where_nothing_could_be_attached() {
        let host_with = |mode| host(ROOT, mode);
        let of = |mode, outcome: &Outcome| lockdown(&host_with(mode), outcome).status;
        assert_eq!(of(Ok("none [integrity] x"), &refused()), Status::Ok);
        assert_eq!(of(Ok("none [confidentiality]"), &refused()), Status::Bad);
        assert_eq!(of(Err("no such file"), &refused()), Status::Unknown);
        for (at, why, status) in [
            ("/sys/kernel/security", "x (os error 2)", Status::Ok),
            // Hidden by a security module, or mounted elsewhere: then it says nothing.
            ("/sys/kernel/security", "x (os error 13)", Status::Unknown),
            ("/s", "x (os error 2)", Status::Unknown),
        ] {
            let mut mounted = host_with(Err(why));
            mounted.mountinfo = Ok(format!("1 2 0:3 / {at} rw - securityfs s rw\n"));
            assert_eq!(lockdown(&mounted, &refused()).status, status, "{at} {why}");
        }
    }

    #[test]
    fn locked_memory_matters_to_rings_and_to_old_kernels() {
        let mut host = host(&ROOT.replace("1ffffffffff", "1fffeffffff"), Ok("[none]"));
        assert_eq!(memlock(&host, &refused()).status, Status::Ok);
        host.release = "5.10.1".to_owned();
        assert_eq!(memlock(&host, &refused()).status, Status::Limited);
        assert_eq!(memlock(&host, &Outcome::default()).status, Status::Info);
        let rings = Outcome {
            is_ring_refusal: true,
            ..Outcome::default()
        };
        let smaller = Outcome {
            are_rings_smaller: true,
            ..Outcome::default()
        };
        let check = memlock(&host, &smaller);
        assert_eq!(check.status, Status::Limited);
        assert!(!check.advice.unwrap().contains("--ring-size"));
        let check = memlock(&host, &rings);
        assert_eq!(check.status, Status::Bad);
        assert!(check.advice.unwrap().contains("--ring-size"));
    }

    #[test]
    fn what_cannot_be_read_is_unknown_with_the_reason() {
        let mut host = host(ROOT, Err("x"));
        host.status = Err("/proc/self/status: gone".to_owned());
        let check = capabilities(&host);
        assert_eq!(check.status, Status::Unknown);
        assert!(check.found.contains("gone"));
        assert_eq!(attribution(&host).status, Status::Unknown);
    }
}
