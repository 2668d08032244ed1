//! Reads what the host says of itself, and takes it apart. What it means is `checks`' business.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::probe::error::missing_capabilities;
use crate::probe::pid_namespace;

/// The text of a file, or why it can't be read: the path and the error.
pub type Text = Result<String, String>;

/// What was read.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Release of the kernel.
    pub release: String,
    /// Architecture.
    pub machine: String,
    /// Effective user id.
    pub uid: u32,
    /// `/proc/self/status`.
    pub status: Text,
    /// `/proc/self/mountinfo`.
    pub mountinfo: Text,
    /// [`LOCKDOWN`].
    pub lockdown: Text,
    /// The settings of [`SETTINGS`], in that order.
    pub settings: Vec<Text>,
    /// Bytes of memory that may be locked, soft and hard limit; `None`: any number.
    pub memlock_bytes: [Option<u64>; 2],
    /// Whether pids here are the host's; otherwise why not.
    pub pid_namespace: Result<(), String>,
}

/// Where a kernel shows its lockdown mode.
pub const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Settings below `/proc/sys` that are read.
pub const SETTINGS: [&str; 6] = [
    "kernel/perf_event_paranoid",
    "kernel/unprivileged_bpf_disabled",
    "net/core/bpf_jit_enable",
    "kernel/ftrace_enabled",
    "kernel/perf_event_mlock_kb",
    "net/unix/max_dgram_qlen",
];

impl Host {
    /// Reads everything. What can't be read is kept as the reason.
    #[must_use]
    pub fn read() -> Self {
        let name = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let memlock = getrlimit(Resource::Memlock);
        Self {
            name: text(name.nodename()),
            release: text(name.release()),
            machine: text(name.machine()),
            uid: rustix::process::geteuid().as_raw(),
            status: read("/proc/self/status"),
            mountinfo: read("/proc/self/mountinfo"),
            lockdown: read(LOCKDOWN),
            settings: SETTINGS
                .iter()
                .map(|setting| read(&format!("/proc/sys/{setting}")))
                .collect(),
            memlock_bytes: [memlock.current, memlock.maximum],
            pid_namespace: pid_namespace::require_host_pids(Path::new(
                pid_namespace::PID_NAMESPACE,
            ))
            .map_err(|error| format!("{error:#}")),
        }
    }

    /// The number that a setting of [`SETTINGS`] has.
    ///
    /// # Errors
    /// Why it isn't known.
    pub fn setting(&self, name: &str) -> Result<i64, String> {
        let at = SETTINGS.iter().position(|setting| *setting == name);
        let text = at
            .and_then(|at| self.settings.get(at))
            .ok_or_else(|| format!("/proc/sys/{name} was not read"))?;
        let text = text.as_ref().map_err(Clone::clone)?.trim();
        text.parse()
            .map_err(|_| format!("/proc/sys/{name} holds no number: {text:?}"))
    }

    /// Whether it can be told that no capability is missing that tracing needs.
    #[must_use]
    pub fn lacks_no_capability(&self) -> bool {
        self.status
            .as_ref()
            .is_ok_and(|status| missing_capabilities(status).is_empty())
    }

    /// The mounts that this process sees.
    ///
    /// # Errors
    /// Why they aren't known.
    pub fn mounts(&self) -> Result<Vec<Mount>, String> {
        self.mountinfo
            .as_ref()
            .map(|text| mounts(text))
            .map_err(Clone::clone)
    }
}

fn read(path: &str) -> Text {
    // Mount points may have any bytes in their names.
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| format!("{path}: {error}"))
}

/// A value of a `/proc/PID/status` text.
#[must_use]
pub fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// The word in brackets, which is the one in force: `none [integrity] confidentiality`.
#[must_use]
pub fn bracketed(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which folder of the filesystem it shows.
    pub root: String,
    /// Where.
    pub at: String,
    /// The filesystem's type.
    pub kind: String,
    /// The filesystem's own options.
    pub options: String,
}

/// The lines of a `mountinfo` text: id, parent, device, root, mount point, options, optional fields,
/// `-`, type, source, options of the filesystem (`proc_pid_mountinfo(5)`).
#[must_use]
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(3);
            let mut after = after.split(' ');
            Some(Mount {
                root: before.next()?.to_owned(),
                at: before.next()?.to_owned(),
                kind: after.next()?.to_owned(),
                options: after.nth(1).unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

/// Which cgroup hierarchies are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// v2 only.
    Unified(Mount),
    /// Both.
    Hybrid(Mount),
    /// v1 only.
    Legacy,
    /// None.
    Absent,
}

/// Tells the mode from the mounts.
#[must_use]
pub fn cgroups(mounts: &[Mount]) -> Cgroups {
    let unified = mounts.iter().find(|mount| mount.kind == "cgroup2");
    let has_legacy = mounts.iter().any(|mount| mount.kind == "cgroup");
    match (unified, has_legacy) {
        (Some(mount), false) => Cgroups::Unified(mount.clone()),
        (Some(mount), true) => Cgroups::Hybrid(mount.clone()),
        (None, true) => Cgroups::Legacy,
        (None, false) => Cgroups::Absent,
    }
}

/// The value of `hidepid` of the `/proc` that is in force: the last one mounted there. Numbers
/// became names in 5.8 (`fs/proc/root.c`).
#[must_use]
pub fn hidepid(mounts: &[Mount]) -> Option<&str> {
    let proc = mounts.iter().rfind(|mount| mount.at == "/proc")?;
    Some(
        proc.options
            .split(',')
            .find_map(|option| option.strip_prefix("hidepid="))
            .unwrap_or("off"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw,hidepid=invisible,gid=4
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 master:3 - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:39 / /sys/kernel/tracing rw - tracefs tracefs rw
";

    #[test]
    fn mounts_are_read_whatever_optional_fields_they_have() {
        let mounts = mounts(HYBRID);
        assert_eq!(mounts.len(), 4);
        assert_eq!(mounts[1].kind, "cgroup");
        assert_eq!(mounts[3].at, "/sys/kernel/tracing");
        assert!(self::mounts("nonsense\n").is_empty());
    }

    #[test]
    fn each_cgroup_mode_is_recognised() {
        let mounts = mounts(HYBRID);
        assert!(matches!(cgroups(&mounts), Cgroups::Hybrid(at) if at.at.ends_with("unified")));
        assert!(matches!(cgroups(&mounts[2..]), Cgroups::Unified(_)));
        assert_eq!(cgroups(&mounts[1..2]), Cgroups::Legacy);
        assert_eq!(cgroups(&mounts[..1]), Cgroups::Absent);
    }

    #[test]
    fn hidepid_is_that_of_proc() {
        assert_eq!(hidepid(&mounts(HYBRID)), Some("invisible"));
        let without = mounts("22 27 0:21 / /proc rw - proc proc rw\n");
        assert_eq!(hidepid(&without), Some("off"));
        assert_eq!(hidepid(&[]), None);
    }

    #[test]
    fn the_lockdown_mode_is_the_word_in_brackets() {
        assert_eq!(
            bracketed("[none] integrity confidentiality\n"),
            Some("none")
        );
        assert_eq!(
            bracketed("none integrity [confidentiality]\n"),
            Some("confidentiality")
        );
        assert_eq!(bracketed("none"), None);
    }

    #[test]
    fn a_status_field_is_found_by_its_whole_name() {
        let status = "Seccomp_filters:\t3\nSeccomp:\t2\nNoNewPrivs:\t1\n";
        assert_eq!(field(status, "Seccomp"), Some("2"));
        assert_eq!(field(status, "NoNewPrivs"), Some("1"));
        assert_eq!(field(status, "CapEff"), None);
    }

    #[test]
    fn releases_have_versions() {
        assert_eq!(
            crate::quantity::kernel_version("6.12.48+deb13-cloud-amd64"),
            Some((6, 12))
        );
        assert_eq!(crate::quantity::kernel_version("linux"), None);
    }

    #[test]
    fn a_setting_that_is_no_number_is_unknown() {
        let mut host = Host::read();
        host.settings[0] = Ok("2\n".to_owned());
        host.settings[1] = Ok("x\n".to_owned());
        assert_eq!(host.setting("kernel/perf_event_paranoid"), Ok(2));
        assert!(host.setting("kernel/unprivileged_bpf_disabled").is_err());
        assert!(host.setting("kernel/no_such_setting").is_err());
    }
}
