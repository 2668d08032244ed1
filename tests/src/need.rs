//! What a case needs of the kernel. A missing fact is a reason to skip only on a kernel that can't
//! have it: otherwise it is a failure, so that no skip hides a regression.

use std::{fmt, path::Path};

use anyhow::{Context as _, Result};

use crate::{procfs, raw};

/// A kernel's version, as far as features depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Of `uname -r`.
    pub fn of(release: &str) -> Option<Self> {
        let mut numbers = release.split(|character: char| !character.is_ascii_digit());
        Some(Self(
            numbers.next()?.parse().ok()?,
            numbers.next()?.parse().ok()?,
        ))
    }

    /// Of the running kernel.
    pub fn running() -> Result<Self> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("could not read the kernel's release")?;
        Self::of(&release).with_context(|| format!("kernel release {release:?}"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}.{}", self.0, self.1)
    }
}

/// A fact about the kernel that a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The cgroup v2 hierarchy is mounted.
    Cgroups,
    /// `io_uring` with `IORING_OP_SENDMSG`.
    IoUring,
    /// 32-bit programs.
    Compat,
    /// `userfaultfd(2)`.
    Userfaultfd,
    /// A second CPU that can be taken offline.
    SecondCpu,
    /// The tracepoints that the tracepoint plan hangs on.
    SocketTracepoints,
    /// A machine that is thrown away afterwards.
    Guest,
}

/// Where the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In a guest with a kernel of Debian's, which has everything that its version has.
    Guest,
    /// On whatever machine this is, whose kernel may be built without.
    Native,
}

/// What becomes of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Run,
    /// It is skipped, and why.
    Skip(String),
    /// It fails, and why.
    Fail(String),
}

impl Need {
    const fn name(self) -> &'static str {
        match self {
            Self::Cgroups => "no cgroup v2 hierarchy",
            Self::IoUring => "no io_uring with IORING_OP_SENDMSG",
            Self::Compat => "no 32-bit system calls",
            Self::Userfaultfd => "no userfaultfd",
            Self::SecondCpu => "no second CPU that can be taken offline",
            Self::SocketTracepoints => "no tracepoints sock_send_length and sock_recv_length",
            Self::Guest => "not a guest that is thrown away",
        }
    }

    /// Since when it exists.
    const fn since(self) -> Version {
        match self {
            Self::Cgroups => Version(4, 5),
            Self::IoUring => Version(5, 3),
            Self::Compat => Version(2, 6),
            Self::Userfaultfd => Version(4, 3),
            Self::SecondCpu => Version(2, 6),
            Self::SocketTracepoints => Version(6, 3),
            Self::Guest => Version(0, 0),
        }
    }

    fn is_there(self) -> bool {
        let exists = |path: &str| Path::new(path).exists();
        match self {
            Self::Cgroups => procfs::cgroup_root().is_some(),
            Self::IoUring => raw::uring::is_there(),
            // The setting exists where the kernel runs 32-bit programs.
            Self::Compat => exists("/proc/sys/abi/vsyscall32"),
            Self::Userfaultfd => exists("/proc/sys/vm/unprivileged_userfaultfd"),
            Self::SecondCpu => exists("/sys/devices/system/cpu/cpu1/online"),
            // `look` knows.
            Self::Guest => false,
            // The kernel's own type information has a type for each tracepoint.
            Self::SocketTracepoints => std::fs::read("/sys/kernel/btf/vmlinux").is_ok_and(|btf| {
                let mut names = btf.split(|byte| *byte == 0);
                names.any(|name| name == b"btf_trace_sock_send_length")
            }),
        }
    }

    /// What becomes of a case that needs this, here and now.
    pub fn look(self, home: Home) -> Verdict {
        let is_there = self.is_there() || (self == Self::Guest && home == Home::Guest);
        match Version::running() {
            Ok(kernel) => judge(self, is_there, kernel, home),
            Err(error) => Verdict::Fail(format!("{error:#}")),
        }
    }
}

fn judge(need: Need, is_there: bool, kernel: Version, home: Home) -> Verdict {
    let (name, since) = (need.name(), need.since());
    if is_there {
        Verdict::Run
    } else if kernel < since {
        Verdict::Skip(format!(
            "{name}, which exists since {since}; this is {kernel}"
        ))
    } else if home == Home::Native {
        Verdict::Skip(format!(
            "{name}: this machine's kernel is built or set up without"
        ))
    } else {
        Verdict::Fail(format!(
            "{name}, though it exists since {since} and this is {kernel}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_a_version() {
        assert_eq!(
            Version::of("6.12.117+deb13-cloud-amd64\n"),
            Some(Version(6, 12))
        );
        assert_eq!(Version::of("7.3-rc1"), Some(Version(7, 3)));
        assert_eq!(Version::of("linux"), None);
        assert!(Version(6, 9) < Version(6, 12) && Version(5, 19) < Version(6, 1));
    }

    #[test]
    fn only_a_kernel_that_is_too_old_is_an_excuse() {
        let judge =
            |is_there, kernel| judge(Need::SocketTracepoints, is_there, kernel, Home::Guest);
        assert_eq!(judge(true, Version(5, 10)), Verdict::Run);
        let Verdict::Skip(why) = judge(false, Version(6, 1)) else {
            panic!("6.1 does not have it");
        };
        assert!(why.contains("Linux 6.3"), "{why}");
        assert!(matches!(judge(false, Version(6, 3)), Verdict::Fail(_)));
    }

    #[test]
    fn a_machine_of_ones_own_may_be_built_without() {
        let verdict = judge(Need::Userfaultfd, false, Version(6, 18), Home::Native);
        assert!(matches!(verdict, Verdict::Skip(_)));
    }
}
