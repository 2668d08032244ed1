//! Settings and mounts that tracing and attribution depend on. Pure.

use crate::doctor::advice::Finding;
use crate::doctor::host::{Cgroups, Host, Mount, cgroups, hidepid};
use crate::doctor::privileges::has;
use crate::doctor::{Check, Status};

const MOUNTS: &str = "/proc/self/mountinfo";

pub(super) fn all(host: &Host) -> Vec<Check> {
    let mut checks = vec![jit(host), ftrace(host)];
    match host.mounts() {
        Ok(mounts) => checks.extend([
            tracefs(&mounts),
            cgroup_mode(&mounts),
            hidden_processes(host, &mounts),
        ]),
        Err(why) => checks.extend(
            ["tracefs", "cgroups", "hidepid"]
                .map(|name| Check::new(name, Status::Unknown, &*why, MOUNTS)),
        ),
    }
    checks.push(queue_length(host));
    checks
}

fn jit(host: &Host) -> Check {
    let check = |status, found: &str| {
        Check::new(
            "bpf_jit_enable",
            status,
            found,
            "/proc/sys/net/core/bpf_jit_enable",
        )
    };
    match host.setting("net/core/bpf_jit_enable") {
        Ok(0) => check(Status::Limited, "0")
            .follows("programs are interpreted, which is slow, and trampolines can't be had")
            .advise(&Finding::JitOff),
        Ok(1) => check(Status::Ok, "1"),
        Ok(level) => check(Status::Info, &level.to_string())
            .follows("the kernel writes each program to its log"),
        Err(why) => check(Status::Unknown, &why),
    }
}

fn ftrace(host: &Host) -> Check {
    let check = |status, found: &str| {
        Check::new(
            "ftrace_enabled",
            status,
            found,
            "/proc/sys/kernel/ftrace_enabled",
        )
    };
    match host.setting("kernel/ftrace_enabled") {
        Ok(0) => check(Status::Limited, "0")
            .follows("hooks at the beginning of kernel functions may be attached and never run")
            .advise(&Finding::FtraceOff),
        Ok(level) => check(Status::Ok, &level.to_string()),
        Err(why) => check(Status::Unknown, &why)
            .follows("a kernel without CONFIG_FUNCTION_TRACER has no such file"),
    }
}

fn tracefs(mounts: &[Mount]) -> Check {
    let at: Vec<&str> = mounts
        .iter()
        .filter(|mount| mount.kind == "tracefs")
        .map(|mount| mount.at.as_str())
        .collect();
    if at.is_empty() {
        Check::new("tracefs", Status::Info, "not mounted", MOUNTS).follows(
            "only needed where kprobes have no event source \
             (/sys/bus/event_source/devices/kprobe)",
        )
    } else {
        Check::new("tracefs", Status::Ok, at.join(", "), MOUNTS)
    }
}

fn cgroup_mode(mounts: &[Mount]) -> Check {
    let check = |status, found: String| Check::new("cgroups", status, found, MOUNTS);
    let (mode, mount) = match cgroups(mounts) {
        Cgroups::Unified(mount) => ("v2", mount),
        Cgroups::Hybrid(mount) => ("hybrid (v1, and v2 beside it)", mount),
        Cgroups::Legacy => {
            return check(Status::Limited, "v1 only".to_owned())
                .follows(
                    "the kernel side tells the v2 cgroup of a sender, which says nothing here; \
                     /proc says it later, for those that are still there",
                )
                .advise(&Finding::CgroupLegacy);
        }
        Cgroups::Absent => {
            return check(Status::Limited, "no hierarchy is mounted".to_owned())
                .follows("--cgroup can't be used")
                .advise(&Finding::CgroupAbsent);
        }
    };
    let found = format!("{mode} at {}", mount.at);
    if mount.root != "/" {
        return check(Status::Limited, format!("{found}, of which {}", mount.root))
            .follows("--cgroup finds only what is below")
            .advise(&Finding::CgroupAbsent);
    }
    if mode == "v2" {
        check(Status::Ok, found)
    } else {
        check(Status::Info, found).follows(
            "senders are told by their v2 cgroup, right where the init system keeps services there \
             too, as systemd does; where it says too little (containers), /proc says it later, for \
             those that are still there",
        )
    }
}

fn hidden_processes(host: &Host, mounts: &[Mount]) -> Check {
    let check = |status, found: &str| Check::new("hidepid", status, found, MOUNTS);
    match (hidepid(mounts), has(host, "CAP_SYS_PTRACE")) {
        (None, _) => check(Status::Unknown, "/proc is no mount of its own"),
        (Some(off @ ("off" | "0")), _) => check(Status::Ok, off),
        (Some(value), Some(true)) => {
            check(Status::Ok, value).follows("no matter with CAP_SYS_PTRACE")
        }
        (Some(value), _) => check(Status::Limited, value)
            .follows("what /proc says of others' processes can't be told")
            .advise(&Finding::Hidepid),
    }
}

fn queue_length(host: &Host) -> Check {
    let check = |status, found: &str| {
        Check::new(
            "max_dgram_qlen",
            status,
            found,
            "/proc/sys/net/unix/max_dgram_qlen",
        )
    };
    match host.setting("net/unix/max_dgram_qlen") {
        Ok(length) => check(Status::Info, &length.to_string()).follows(
            "senders block, or fail with EAGAIN, when a receiver made from now on has more unread",
        ),
        Err(why) => check(Status::Unknown, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::host::mounts;

    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    #[test]
    fn only_hosts_without_v2_lose_something() {
        let status = |text: &str| cgroup_mode(&mounts(text)).status;
        assert_eq!(status(V2), Status::Ok);
        assert_eq!(status(&format!("{V2}{V1}")), Status::Info);
        assert_eq!(status(V1), Status::Limited);
        assert_eq!(status(""), Status::Limited);
    }

    #[test]
    fn a_container_sees_a_part_of_the_hierarchy() {
        let check = cgroup_mode(&mounts(&V2.replace("0:28 /", "0:28 /../../x.scope")));
        assert_eq!(check.status, Status::Limited);
        assert!(check.found.contains("x.scope"), "{}", check.found);
    }

    #[test]
    fn hidden_processes_matter_without_a_capability_only() {
        let text = "22 27 0:21 / /proc rw - proc proc rw,hidepid=invisible\n";
        let mut host = Host::read();
        for (status, expected) in [
            ("CapEff:\t000001ffffffffff\n", Status::Ok),
            ("CapEff:\t0000000000000000\n", Status::Limited),
        ] {
            host.status = Ok(status.to_owned());
            assert_eq!(hidden_processes(&host, &mounts(text)).status, expected);
        }
        let open = text.replace(",hidepid=invisible", "");
        assert_eq!(hidden_processes(&host, &mounts(&open)).status, Status::Ok);
    }

    #[test]
    fn a_setting_that_switches_hooks_off_is_shown_with_the_way_back() {
        let mut host = Host::read();
        host.settings = vec![Ok("0\n".to_owned()); host.settings.len()];
        let check = ftrace(&host);
        assert_eq!(check.status, Status::Limited);
        assert_eq!(
            check.advice.as_deref(),
            Some("sysctl kernel.ftrace_enabled=1")
        );
        assert_eq!(jit(&host).status, Status::Limited);
    }

    #[test]
    fn tracefs_is_named_with_all_its_places() {
        let both = "1 2 0:9 / /sys/kernel/tracing rw - tracefs tracefs rw\n\
                    2 2 0:9 / /sys/kernel/debug/tracing rw - tracefs tracefs rw\n";
        assert_eq!(
            tracefs(&mounts(both)).found,
            "/sys/kernel/tracing, /sys/kernel/debug/tracing"
        );
        assert_eq!(tracefs(&[]).status, Status::Info);
    }
}
