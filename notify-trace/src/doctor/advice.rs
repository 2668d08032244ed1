//! From a finding to what to change: one sentence, concrete. Pure.

/// What isn't as one would wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// No type information of the kernel.
    NoBtf,
    /// Type information that lacks what nothing works without.
    UnusableBtf,
    /// Not the host's pid namespace.
    PidNamespace,
    /// Capabilities that tracing needs are missing; whether `NoNewPrivs` is set.
    MissingCapabilities {
        /// `setcap` would be of no use.
        no_new_privileges: bool,
    },
    /// Capabilities are missing that let one look at others' processes.
    MissingAttributionCapabilities,
    /// Perf events are for those with `CAP_SYS_ADMIN` only.
    Paranoid,
    /// Something refused what the capabilities allow, and there is a seccomp filter.
    Seccomp,
    /// The kernel is locked down to confidentiality.
    Confidentiality,
    /// Neither the lockdown mode can be read nor anything traced.
    LockdownUnknown,
    /// Programs are interpreted.
    JitOff,
    /// Functions can't be hooked, because ftrace is switched off.
    FtraceOff,
    /// The rings need more locked memory than is allowed.
    RingMemory,
    /// The rings are smaller than anywhere else for the same reason.
    SmallRings,
    /// Before 5.11, maps need more locked memory than is allowed.
    MapMemory,
    /// Only v1 hierarchies.
    CgroupLegacy,
    /// No hierarchy at all.
    CgroupAbsent,
    /// `/proc` hides others' processes.
    Hidepid,
    /// Something was refused with EPERM though privileges are there.
    NotPermitted,
    /// A kprobe was refused though privileges are there.
    Kprobe,
    /// Hooks were refused because ftrace has shut itself down: `ENODEV` of `register_ftrace_function`
    /// (`kernel/trace/ftrace.c`).
    FtraceDead,
    /// A trampoline was refused though privileges are there.
    Trampoline,
    /// A raw tracepoint was refused though privileges are there.
    Tracepoint,
    /// The verifier refused a program of ours.
    Verifier,
}

/// What to change.
#[must_use]
pub const fn advice(finding: &Finding) -> &'static str {
    match finding {
        Finding::NoBtf => {
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y, or give a file made for exactly this \
             kernel with --btf FILE (pahole --btf_encode_detached=FILE vmlinux)"
        }
        Finding::UnusableBtf => {
            "boot Linux 5.10 or later with CONFIG_DEBUG_INFO_BTF=y and CONFIG_UNIX=y (not a \
             module), and give --btf only a file made for exactly this kernel"
        }
        Finding::PidNamespace => {
            "run it on the host, or in a container with the host's pid namespace (docker run \
             --pid=host; Kubernetes: hostPID: true)"
        }
        Finding::MissingCapabilities {
            no_new_privileges: false,
        } => {
            "run it as root, or grant CAP_BPF and CAP_PERFMON (setcap cap_bpf,cap_perfmon+ep FILE; \
             docker run --cap-add=BPF --cap-add=PERFMON; Kubernetes: \
             securityContext.capabilities.add; systemd: AmbientCapabilities=)"
        }
        Finding::MissingCapabilities {
            no_new_privileges: true,
        } => {
            "run it as root, or grant CAP_BPF and CAP_PERFMON from outside (docker run \
             --cap-add=BPF --cap-add=PERFMON; systemd: AmbientCapabilities=): NoNewPrivs is set, \
             so neither sudo nor setcap has an effect here (docker: no-new-privileges; Kubernetes: \
             allowPrivilegeEscalation: false)"
        }
        Finding::MissingAttributionCapabilities => {
            "run it as root, or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH too (docker run \
             --cap-add=SYS_PTRACE --cap-add=DAC_READ_SEARCH), or name sockets with --socket"
        }
        Finding::Paranoid => {
            "grant CAP_SYS_ADMIN too, or have kernel.perf_event_paranoid at 2 (sysctl -w \
             kernel.perf_event_paranoid=2), with which CAP_PERFMON is enough"
        }
        Finding::Seccomp => {
            "let the seccomp filter pass bpf(2) and perf_event_open(2) (docker run --security-opt \
             seccomp=unconfined; Kubernetes: seccompProfile.type: Unconfined; systemd: \
             SystemCallFilter=)"
        }
        Finding::Confidentiality => {
            "boot without lockdown=confidentiality (lockdown=integrity is enough to trace); it \
             can't be lowered while the kernel runs"
        }
        Finding::LockdownUnknown => {
            "look at the lockdown mode: mount -t securityfs securityfs /sys/kernel/security, then \
             cat /sys/kernel/security/lockdown"
        }
        Finding::JitOff => "sysctl net.core.bpf_jit_enable=1",
        Finding::FtraceOff => "sysctl kernel.ftrace_enabled=1",
        Finding::RingMemory => {
            "grant CAP_IPC_LOCK, or raise the limit (ulimit -l unlimited; docker run --ulimit \
             memlock=-1; systemd: LimitMEMLOCK=infinity); smaller rings need less (trace --ring-size \
             64K)"
        }
        Finding::SmallRings => {
            "grant CAP_IPC_LOCK, or raise the limit (ulimit -l unlimited; docker run --ulimit \
             memlock=-1; systemd: LimitMEMLOCK=infinity)"
        }
        Finding::MapMemory => {
            "raise the limit of locked memory (ulimit -l unlimited; docker run --ulimit \
             memlock=-1; systemd: LimitMEMLOCK=infinity), or grant CAP_SYS_RESOURCE"
        }
        Finding::CgroupLegacy => {
            "mount the v2 hierarchy too: boot with systemd.unified_cgroup_hierarchy=1, or mount -t \
             cgroup2 cgroup2 /sys/fs/cgroup/unified"
        }
        Finding::CgroupAbsent => {
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup, or give the container the host's (docker run \
             -v /sys/fs/cgroup:/sys/fs/cgroup:ro --cgroupns=host)"
        }
        Finding::Hidepid => {
            "run it as root or grant CAP_SYS_PTRACE, or mount /proc without hidepid (mount -o \
             remount,hidepid=0 /proc)"
        }
        Finding::NotPermitted => {
            "find what refuses with \"operation not permitted\" what the capabilities allow: kernel \
             lockdown (lockdown=confidentiality), a seccomp filter, or a security module (its \
             messages are in dmesg)"
        }
        Finding::Kprobe => {
            "for kprobes, boot a kernel with CONFIG_KPROBES=y, CONFIG_KPROBE_EVENTS=y and \
             CONFIG_BPF_EVENTS=y that has the functions named"
        }
        Finding::FtraceDead => {
            "reboot: the kernel has shut ftrace down after an error of its own, which dmesg names"
        }
        Finding::Trampoline => {
            "for trampolines, boot a kernel with CONFIG_BPF_JIT=y, CONFIG_FUNCTION_TRACER=y and \
             CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y, and leave net.core.bpf_jit_enable at 1"
        }
        Finding::Tracepoint => {
            "for the raw tracepoints sock_send_length and sock_recv_length, boot Linux 6.3 or later \
             with CONFIG_BPF_EVENTS=y"
        }
        Finding::Verifier => {
            "report this as a defect of notify-trace, with the lines of the verifier and the \
             kernel's release"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_one_sentence_without_a_full_stop() {
        for finding in [
            Finding::NoBtf,
            Finding::PidNamespace,
            Finding::MissingCapabilities {
                no_new_privileges: true,
            },
            Finding::Seccomp,
            Finding::RingMemory,
            Finding::SmallRings,
            Finding::Trampoline,
        ] {
            let advice = advice(&finding);
            assert!(!advice.ends_with('.') && !advice.contains(". "), "{advice}");
            assert!(!advice.contains("  "), "{advice}");
        }
    }

    #[test]
    fn with_no_new_privileges_nobody_is_sent_to_setcap() {
        let advice =
            |no_new_privileges| advice(&Finding::MissingCapabilities { no_new_privileges });
        assert!(advice(false).contains("setcap cap_bpf"));
        assert!(!advice(true).contains("setcap cap_bpf"));
    }
}
