//! One pass over `/proc`: what each process was given about notify sockets, where it is, and which
//! sockets it has open.
//!
//! Reads are bounded. A process that ends meanwhile is left out; what may not be read is absent and
//! counted. Environments are those of the last `execve(2)`: what a program changes in its own later
//! is not seen.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Unreadable;
use crate::enrich::cgroup;
use crate::event::{Attribution, Blob};

/// More than `execve(2)` lets a program have by default (a quarter of an 8 MiB stack).
const ENVIRONMENT_MAX_BYTES: u64 = 4 << 20;
/// More than the kernel writes into any of the other files.
pub const FILE_MAX_BYTES: u64 = 64 << 10;

/// The variables of an environment that matter here, as they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `NOTIFY_SOCKET`, unless it is empty: that is how it is turned off.
    pub notify_socket: Option<Vec<u8>>,
    /// `WATCHDOG_USEC`.
    pub watchdog_usec: Option<Vec<u8>>,
    /// `WATCHDOG_PID`.
    pub watchdog_pid: Option<Vec<u8>>,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id, as our `/proc` has it.
    pub pid: u32,
    /// Its parent's.
    pub parent_pid: u32,
    /// `comm`.
    pub comm: Blob,
    /// Where it belongs, by the cgroup that says most.
    pub attribution: Option<Attribution>,
    /// What it was given.
    pub environment: Environment,
    /// Inode number of its network namespace.
    pub network_namespace: Option<u64>,
    /// Its id in its own pid namespace; looked up only if it has `WATCHDOG_PID`.
    pub namespace_pid: Option<u32>,
    /// Inode numbers of the sockets that it has open.
    pub sockets: Vec<u64>,
}

/// All processes, in the order of their ids, and what may not be read of them.
///
/// # Errors
/// If there is no `/proc`.
pub fn all(proc: &Path) -> io::Result<(Vec<Process>, Unreadable)> {
    let mut unreadable = Unreadable::default();
    let mut processes: Vec<_> = pids(proc)?
        .filter_map(|pid| process(proc, pid, &mut unreadable))
        .collect();
    processes.sort_unstable_by_key(|process| process.pid);
    Ok((processes, unreadable))
}

/// The ids of all processes.
///
/// # Errors
/// If there is no `/proc`.
pub fn pids(proc: &Path) -> io::Result<impl Iterator<Item = u32>> {
    Ok(std::fs::read_dir(proc)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// The environment of a process.
///
/// # Errors
/// If it is gone, or not ours to read.
pub fn environment(proc: &Path, pid: u32) -> io::Result<Environment> {
    let block = read(&file(proc, pid, "environ"), ENVIRONMENT_MAX_BYTES)?;
    Ok(parse_environment(&block))
}

/// The inode number of a process's network namespace.
///
/// # Errors
/// If it is gone, or not ours to look at.
pub fn network_namespace(proc: &Path, pid: u32) -> io::Result<u64> {
    Ok(std::fs::metadata(file(proc, pid, "ns/net"))?.ino())
}

/// What a path of `/proc/PID` is called.
pub fn file(proc: &Path, pid: u32, name: &str) -> PathBuf {
    proc.join(pid.to_string()).join(name)
}

fn process(proc: &Path, pid: u32, unreadable: &mut Unreadable) -> Option<Process> {
    let stat = read(&file(proc, pid, "stat"), FILE_MAX_BYTES).ok()?;
    let (comm, parent_pid) = parse_stat(&stat)?;
    let environment = permitted(environment(proc, pid), &mut unreadable.environments);
    let network_namespace = permitted(
        network_namespace(proc, pid),
        &mut unreadable.network_namespaces,
    );
    let sockets = permitted(open_sockets(proc, pid), &mut unreadable.descriptors);
    let environment = environment.unwrap_or_default();
    let namespace_pid = environment.watchdog_pid.as_ref().and_then(|_| {
        let status = read(&file(proc, pid, "status"), FILE_MAX_BYTES).ok()?;
        parse_namespace_pid(&status)
    });
    let cgroups = read(&file(proc, pid, "cgroup"), FILE_MAX_BYTES).unwrap_or_default();
    Some(Process {
        pid,
        parent_pid,
        comm: Blob::from(comm),
        attribution: cgroup::later(&cgroups, None).map(|(_, attribution)| attribution),
        environment,
        network_namespace,
        namespace_pid,
        sockets: sockets.unwrap_or_default(),
    })
}

/// What was read; counts what may not be.
fn permitted<T>(result: io::Result<T>, refused: &mut u32) -> Option<T> {
    result
        .inspect_err(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                *refused += 1;
            }
        })
        .ok()
}

/// A file's contents, at most so many bytes.
///
/// # Errors
/// If it is gone, or not ours to read.
pub fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open_sockets(proc: &Path, pid: u32) -> io::Result<Vec<u64>> {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir(file(proc, pid, "fd"))? {
        // Closed meanwhile.
        let Ok(target) = entry.and_then(|entry| std::fs::read_link(entry.path())) else {
            continue;
        };
        sockets.extend(socket_inode(target.as_os_str().as_bytes()));
    }
    sockets.sort_unstable();
    sockets.dedup();
    Ok(sockets)
}

/// The number in `socket:[17000]`.
fn socket_inode(target: &[u8]) -> Option<u64> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// As getenv(3): the first of several counts.
fn parse_environment(block: &[u8]) -> Environment {
    let variable = |name: &[u8]| {
        block
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))
            .map(<[u8]>::to_vec)
    };
    Environment {
        notify_socket: variable(b"NOTIFY_SOCKET").filter(|value| !value.is_empty()),
        watchdog_usec: variable(b"WATCHDOG_USEC"),
        watchdog_pid: variable(b"WATCHDOG_PID"),
    }
}

/// `comm`, which may hold anything, and the parent's id: fields 2 and 4 of proc_pid_stat(5).
fn parse_stat(stat: &[u8]) -> Option<(&[u8], u32)> {
    let start = stat.iter().position(|byte| *byte == b'(')?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let parent = stat.get(end + 1..)?;
    let parent = std::str::from_utf8(parent)
        .ok()?
        .split_whitespace()
        .nth(1)?;
    Some((stat.get(start + 1..end)?, parent.parse().ok()?))
}

/// The last, innermost number of `NSpid` (proc_pid_status(5)).
fn parse_namespace_pid(status: &[u8]) -> Option<u32> {
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))?;
    let numbers = std::str::from_utf8(line).ok()?;
    numbers.split_whitespace().next_back()?.parse().ok()
}

/// Whether an error says that there is nothing (any more), rather than that it is not ours.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::NOENT | Errno::SRCH)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_gives_its_first_value_of_each_variable() {
        let block = b"A=1\0XNOTIFY_SOCKET=/x\0NOTIFY_SOCKET=@a=b\0NOTIFY_SOCKET=/later\0\
            WATCHDOG_USEC=180000000\0WATCHDOG_PID=77\0";
        let environment = parse_environment(block);
        assert_eq!(environment.notify_socket.as_deref(), Some(&b"@a=b"[..]));
        assert_eq!(
            environment.watchdog_usec.as_deref(),
            Some(&b"180000000"[..])
        );
        assert_eq!(environment.watchdog_pid.as_deref(), Some(&b"77"[..]));
        let off = parse_environment(b"NOTIFY_SOCKET=\0");
        assert_eq!(off, Environment::default());
    }

    #[test]
    fn a_comm_may_hold_anything() {
        assert_eq!(
            parse_stat(b"12 (a) b (c)) S 7 12 12 0 -1"),
            Some((&b"a) b (c)"[..], 7))
        );
        assert_eq!(parse_stat(b"12 (a"), None);
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn the_innermost_pid_is_the_last() {
        assert_eq!(
            parse_namespace_pid(b"Pid:\t12\nNSpid:\t12\t3\t1\n"),
            Some(1)
        );
        assert_eq!(parse_namespace_pid(b"Pid:\t12\n"), None);
    }

    #[test]
    fn only_sockets_have_a_socket_inode() {
        assert_eq!(socket_inode(b"socket:[17000]"), Some(17000));
        assert_eq!(socket_inode(b"pipe:[17000]"), None);
        assert_eq!(socket_inode(b"/tmp/socket:[1]"), None);
    }

    #[test]
    fn this_test_is_among_all_processes() {
        let (processes, _) = all(Path::new("/proc")).unwrap();
        let own = processes
            .iter()
            .find(|process| process.pid == std::process::id())
            .unwrap();
        let namespace = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_eq!(own.network_namespace, Some(namespace));
    }
}
