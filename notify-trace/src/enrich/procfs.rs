//! What `/proc` says of one process, if it is still the one that is meant.
//!
//! The start time is read last: if it is the one asked for, then all that was read before it is that
//! process's, for a pid isn't given to another one while its owner is there.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use crate::event::Blob;

/// Most bytes of a command line that are kept.
pub const COMMAND_LINE_MAX: usize = 4096;

/// Most bytes read of any other file.
const FILE_MAX: u64 = 65_536;

/// `/proc/PID/stat` counts in hundredths of a second (`USER_HZ`, `include/uapi/asm-generic/param.h`).
const NS_PER_TICK: u64 = 10_000_000;

/// `include/linux/sched.h`.
const PF_EXITING: u64 = 4;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `/proc/PID/exe`; absent where that may not be read, and for kernel threads and zombies.
    pub executable: Option<Blob>,
    /// `/proc/PID/cmdline`.
    pub command_line: Vec<Blob>,
    /// `/proc/PID/cgroup` as it is.
    pub cgroups: Vec<u8>,
}

/// Reads what is known of process `pid` that started at `start_boottime_ns`; `None` if it is gone.
#[must_use]
pub fn read(proc: &Path, pid: u32, start_boottime_ns: u64) -> Option<Facts> {
    let folder = proc.join(pid.to_string());
    let mut facts = Facts {
        executable: std::fs::read_link(folder.join("exe"))
            .ok()
            .map(|path| Blob(path.into_os_string().into_vec().into())),
        command_line: Vec::new(),
        cgroups: bytes(&folder.join("cgroup"), FILE_MAX),
    };
    let command_line = at_once(&folder.join("cmdline"), COMMAND_LINE_MAX);
    let stat = Stat::parse(&bytes(&folder.join("stat"), FILE_MAX))?;
    if stat.start_ticks != start_boottime_ns / NS_PER_TICK {
        return None;
    }
    if stat.may_have_all_of(&command_line) {
        facts.command_line = words(&command_line);
    }
    Some(facts)
}

/// `/proc/PID/cgroup` alone; `None` if the process is gone.
#[must_use]
pub fn cgroups(proc: &Path, pid: u32, start_boottime_ns: u64) -> Option<Vec<u8>> {
    let folder = proc.join(pid.to_string());
    let cgroups = bytes(&folder.join("cgroup"), FILE_MAX);
    let stat = Stat::parse(&bytes(&folder.join("stat"), FILE_MAX))?;
    (stat.start_ticks == start_boottime_ns / NS_PER_TICK).then_some(cgroups)
}

/// At most `most` bytes of a file; none if it can't be read.
fn bytes(path: &Path, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Whatever came before an error is as good as it gets.
    let _ = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    bytes
}

/// The same by one call: the kernel keeps the process's memory for the time of a call only, so the second
/// of several finds nothing of one that exits meanwhile, and what the first read looks like all there is.
fn at_once(path: &Path, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let read = File::open(path).and_then(|mut file| {
        loop {
            match file.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    });
    bytes.truncate(read.unwrap_or(0));
    bytes
}

/// The arguments, each ended by a NUL.
fn words(command_line: &[u8]) -> Vec<Blob> {
    let ended = command_line.strip_suffix(b"\0").unwrap_or(command_line);
    if ended.is_empty() {
        return Vec::new();
    }
    ended.split(|byte| *byte == 0).map(Blob::from).collect()
}

/// Fields of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    is_exiting: bool,
    start_ticks: u64,
}

impl Stat {
    /// The name in field 2 may hold anything.
    fn parse(stat: &[u8]) -> Option<Self> {
        let behind_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let rest = std::str::from_utf8(stat.get(behind_name..)?).ok()?;
        let field = |number: usize| rest.split_whitespace().nth(number - 3);
        let flags: u64 = field(9)?.parse().ok()?;
        Some(Self {
            is_exiting: flags & PF_EXITING != 0,
            start_ticks: field(22)?.parse().ok()?,
        })
    }

    /// The memory that holds the command line goes piece by piece when a process exits; then what
    /// was read is all of it only if it ends as it should.
    fn may_have_all_of(self, command_line: &[u8]) -> bool {
        !self.is_exiting || command_line.ends_with(b"\0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_another_with_its_pid_is_not() {
        let proc = Path::new("/proc");
        let pid = std::process::id();
        let stat = std::fs::read(format!("/proc/{pid}/stat")).expect("readable");
        let start_ns = Stat::parse(&stat).expect("a start").start_ticks * NS_PER_TICK + 1234;
        let facts = read(proc, pid, start_ns).expect("it runs");
        let own = std::env::current_exe().expect("a path");
        assert_eq!(facts.executable, Some(Blob::from(&*own.to_string_lossy())));
        assert!(!facts.command_line.is_empty());
        assert!(!facts.cgroups.is_empty());
        // Its pid was another process's before.
        assert_eq!(read(proc, pid, start_ns - NS_PER_TICK), None);
        assert_eq!(read(proc, u32::MAX, start_ns), None);
    }

    #[test]
    fn the_arguments_are_taken_apart_and_an_empty_one_counts() {
        let texts = |line: &[u8]| {
            words(line)
                .into_iter()
                .map(|word| word.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(b"sh\0-c\0\0x y\0"), [&b"sh"[..], b"-c", b"", b"x y"]);
        assert_eq!(texts(b"retitled"), [&b"retitled"[..]]);
        assert!(texts(b"").is_empty() && texts(b"\0").is_empty());
    }

    #[test]
    fn a_name_that_looks_like_fields_shifts_nothing() {
        let mut stat = b"7 (a) b (c)) S".to_vec();
        for field in 4..=22 {
            stat.extend_from_slice(format!(" {field}").as_bytes());
        }
        let expected = Stat {
            is_exiting: false,
            start_ticks: 22,
        };
        assert_eq!(Stat::parse(&stat), Some(expected));
        assert_eq!(Stat::parse(b"7 (x) S 1"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn the_command_line_of_an_exiting_process_may_be_a_piece() {
        let stat = |is_exiting| Stat {
            is_exiting,
            start_ticks: 1,
        };
        assert!(stat(false).may_have_all_of(b"retitled"));
        assert!(stat(true).may_have_all_of(b"sh\0-c\0"));
        assert!(!stat(true).may_have_all_of(b"sh\0-"));
    }
}
