//! Why tracing can't begin: what was tried, on what, what came back, what helps.

use std::fmt;
use std::path::PathBuf;

use crate::probe::plan::NoPlan;

/// Why tracing can't begin.
#[derive(Debug)]
pub enum AttachError {
    /// The process lacks the privileges.
    NotPermitted {
        /// What was tried.
        what: String,
        /// Capabilities that are needed and missing, with what each is for.
        missing: Vec<&'static str>,
        /// The kernel's answer.
        source: anyhow::Error,
    },
    /// There is no type information of the running kernel.
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
        /// The answer.
        source: anyhow::Error,
    },
    /// The kernel lacks what nothing works without.
    Unsupported {
        /// What, each a sentence.
        reasons: Vec<String>,
    },
    /// No plan can be carried out.
    NoPlan(NoPlan),
    /// The kernel refused an object or a program.
    Refused {
        /// What was tried.
        what: String,
        /// The kernel's answer, with the verifier's log where there is one.
        source: anyhow::Error,
    },
    /// The hooks are attached but don't do what they should.
    SelfTest {
        /// What was found, each a sentence.
        findings: Vec<String>,
    },
}

impl AttachError {
    /// Whether more privileges would help.
    #[must_use]
    pub const fn is_permission(&self) -> bool {
        matches!(self, Self::NotPermitted { .. })
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { what, missing, .. } => {
                write!(f, "not permitted to {what}")?;
                if missing.is_empty() {
                    write!(
                        f,
                        ": the capabilities are there, so something else refuses it (a container's \
                         seccomp filter, kernel lockdown, or a security module)"
                    )
                } else {
                    write!(
                        f,
                        ": missing {}; run as root, or grant them",
                        missing.join(", ")
                    )
                }
            }
            Self::NoBtf { path, .. } => write!(
                f,
                "no type information (BTF) of this kernel at {}: it needs CONFIG_DEBUG_INFO_BTF=y, \
                 or give a file made for exactly this kernel with --btf FILE",
                path.display()
            ),
            Self::Unsupported { reasons } => write!(
                f,
                "this kernel lacks what notify-trace needs (it works on Linux 5.10 and later): {}",
                reasons.join("; ")
            ),
            Self::NoPlan(no_plan) => write!(
                f,
                "{no_plan}. Tracing needs kprobes (CONFIG_KPROBES, CONFIG_BPF_EVENTS) or the raw \
                 tracepoints sock_send_length and sock_recv_length (Linux 6.3), and a kernel not \
                 locked down to confidentiality"
            ),
            Self::Refused { what, .. } => write!(f, "the kernel refused to {what}"),
            Self::SelfTest { findings } => write!(
                f,
                "the self-test failed, so what would be shown could not be trusted: {}",
                findings.join("; ")
            ),
        }
    }
}

impl std::error::Error for AttachError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotPermitted { source, .. }
            | Self::NoBtf { source, .. }
            | Self::Refused { source, .. } => Some(source.as_ref()),
            Self::Unsupported { .. } | Self::NoPlan(_) | Self::SelfTest { .. } => None,
        }
    }
}

/// The capabilities that tracing needs, by their bit in `CapEff` of `/proc/self/status`
/// (`include/uapi/linux/capability.h`), and what each is for.
const NEEDED: [(u32, &str); 2] = [
    (39, "CAP_BPF (to load programs and make maps)"),
    (38, "CAP_PERFMON (to attach them and read kernel memory)"),
];

/// `CAP_SYS_ADMIN`, which includes both.
const CAP_SYS_ADMIN: u32 = 21;

/// Which needed capabilities a `/proc/PID/status` text lacks.
#[must_use]
pub fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let effective = effective(status);
    let has = |bit: u32| effective >> bit & 1 == 1;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    NEEDED
        .iter()
        .filter(|(bit, _)| !has(*bit))
        .map(|(_, what)| *what)
        .collect()
}

fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

/// Which needed capabilities this process lacks; all of them where `/proc` can't be read.
pub(super) fn lacks_capabilities() -> Vec<&'static str> {
    missing_capabilities(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// "Operation not permitted".
pub(super) const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();

/// "Permission denied": `perf_event_paranoid`'s answer to those who lack `CAP_PERFMON`, but the
/// verifier's too, to programs that it finds wrong.
const EACCES: i32 = rustix::io::Errno::ACCESS.raw_os_error();

/// Kernels of some distributions ask for more than `CAP_PERFMON` then (Debian's
/// security-perf-allow-further-restriction-of-perf_event_open.patch).
const PARANOID: &str = "CAP_SYS_ADMIN (this kernel asks for it while kernel.perf_event_paranoid is \
                        above 2, as Debian's do; with 2, CAP_PERFMON is enough)";

/// Where the setting is.
const PARANOID_FILE: &str = "/proc/sys/kernel/perf_event_paranoid";

/// Whether a refusal is that of a perf event, by such a kernel, at that setting.
fn is_paranoia(error: &anyhow::Error, paranoid: &str, status: &str) -> bool {
    let is_denied = error.chain().any(|cause| {
        let number = cause.downcast_ref::<std::io::Error>();
        number.and_then(std::io::Error::raw_os_error) == Some(EACCES)
    });
    is_denied
        && error
            .chain()
            .any(|cause| cause.to_string().contains("perf_event_open"))
        && paranoid.trim().parse::<i64>().is_ok_and(|level| level > 2)
        && effective(status) >> CAP_SYS_ADMIN & 1 == 0
}

fn is_permission(error: &anyhow::Error, missing: &[&str]) -> bool {
    error.chain().any(|cause| {
        let number = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error);
        number == Some(EPERM) || number == Some(EACCES) && !missing.is_empty()
    })
}

/// A refusal, as a lack of privileges where it is one.
#[must_use]
pub fn refused(what: &str, source: anyhow::Error) -> AttachError {
    let mut missing = lacks_capabilities();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    if missing.is_empty() && is_paranoia(&source, &read(PARANOID_FILE), &read("/proc/self/status"))
    {
        missing.push(PARANOID);
    }
    if is_permission(&source, &missing) {
        AttachError::NotPermitted {
            what: what.to_owned(),
            missing,
            source,
        }
    } else {
        AttachError::Refused {
            what: what.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_lacks_both_capabilities() {
        let missing = missing_capabilities("Name:\tx\nCapEff:\t0000000000000000\n");
        assert_eq!(missing.len(), 2);
        assert!(missing[0].starts_with("CAP_BPF"));
    }

    #[test]
    fn root_and_the_two_capabilities_are_enough() {
        assert!(missing_capabilities("CapEff:\t000001ffffffffff\n").is_empty());
        assert!(missing_capabilities("CapEff:\t000000c000000000\n").is_empty());
        assert_eq!(missing_capabilities("CapEff:\t0000008000000000\n").len(), 1);
    }

    #[test]
    fn a_perf_event_that_debians_kernel_refuses_has_its_reason() {
        let denied = anyhow::Error::new(std::io::Error::from_raw_os_error(EACCES));
        let denied = denied.context("perf_event_open failed");
        let two = "CapEff:\t000000c000000000\n";
        assert!(is_paranoia(&denied, "3\n", two));
        assert!(!is_paranoia(&denied, "2\n", two));
        assert!(!is_paranoia(&denied, "3\n", "CapEff:\t000001ffffffffff\n"));
        let verifier = anyhow::Error::new(std::io::Error::from_raw_os_error(EACCES));
        assert!(!is_paranoia(&verifier.context("bpf_prog_load"), "3\n", two));
    }

    #[test]
    fn permission_denied_is_a_lack_of_privileges_only_if_some_are_missing() {
        let denied = |number| anyhow::Error::new(std::io::Error::from_raw_os_error(number));
        assert!(is_permission(&denied(EACCES), &["CAP_PERFMON"]));
        assert!(!is_permission(&denied(EACCES), &[]));
        assert!(is_permission(&denied(EPERM), &[]));
    }
}
