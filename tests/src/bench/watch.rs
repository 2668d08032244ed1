//! What a process takes of the machine, as `/proc` tells (proc_pid_stat(5), proc_pid_status(5)).

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::raw::process;

const NS_PER_SECOND: f64 = 1e9;
/// How often a process's CPU time is looked at while it still works.
const LOOK: Duration = Duration::from_millis(300);
/// Who takes no more of a CPU than that has nothing to do.
const IDLE_SHARE: f64 = 0.01;
/// How long a process may go on working after the work has ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// `VmRSS`: also its program file and the rings that it has mapped.
    pub resident_bytes: f64,
    /// `RssAnon`: its own.
    pub anonymous_bytes: f64,
    /// The kernel's, for the maps of BPF programs that it holds: in neither of the others.
    pub maps_bytes: f64,
}

/// A process's memory now.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = read(format!("/proc/{pid}/status"))?;
    let bytes = |key: &str| {
        number(&status, key)
            .map(|kib| kib * 1024.0)
            .with_context(|| format!("/proc/{pid}/status has no {key}"))
    };
    Ok(Memory {
        resident_bytes: bytes("VmRSS:")?,
        anonymous_bytes: bytes("RssAnon:")?,
        maps_bytes: maps_bytes(Path::new(&format!("/proc/{pid}")))?,
    })
}

/// `memlock` in the fdinfo of each map (`bpf_map_show_fdinfo`, kernel/bpf/syscall.c).
fn maps_bytes(process: &Path) -> Result<f64> {
    let folder = process.join("fd");
    let files =
        fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?;
    let mut sum = 0.0;
    for file in files.flatten() {
        // One that is closed meanwhile holds nothing.
        let is_map =
            fs::read_link(file.path()).is_ok_and(|it| it == Path::new("anon_inode:bpf-map"));
        if is_map {
            let info = read(process.join("fdinfo").join(file.file_name())).unwrap_or_default();
            sum += number(&info, "memlock:").unwrap_or(0.0);
        }
    }
    Ok(sum)
}

/// CPU time of all its threads so far, in user and in kernel mode.
pub fn cpu_ns(pid: u32) -> Result<f64> {
    let ns = process::cpu_ns(pid).with_context(|| format!("process {pid} has no clock"))?;
    Ok(Duration::from_nanos(ns).as_secs_f64() * NS_PER_SECOND)
}

/// The same, once it hardly grows any more: some wake up now and then without any work.
pub fn cpu_ns_when_done(pid: u32) -> Result<f64> {
    let start = Instant::now();
    let mut last = cpu_ns(pid)?;
    loop {
        std::thread::sleep(LOOK);
        let now = cpu_ns(pid)?;
        if now - last < IDLE_SHARE * LOOK.as_secs_f64() * NS_PER_SECOND {
            return Ok(now);
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "the process {pid} still works {} s after its work has ended",
            PATIENCE.as_secs()
        );
        last = now;
    }
}

/// How often its threads woke up by themselves, each second: voluntary context switches.
pub fn wakeups_per_s(pid: u32, time: Duration) -> Result<f64> {
    let start = Instant::now();
    let before = voluntary_switches(pid)?;
    std::thread::sleep(time);
    let after = voluntary_switches(pid)?;
    Ok((after - before) / start.elapsed().as_secs_f64())
}

fn voluntary_switches(pid: u32) -> Result<f64> {
    let folder = PathBuf::from(format!("/proc/{pid}/task"));
    let threads =
        fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?;
    let mut sum = 0.0;
    for thread in threads.flatten() {
        // A thread that ends meanwhile takes its count with it.
        let status = read(thread.path().join("status")).unwrap_or_default();
        sum += number(&status, "voluntary_ctxt_switches:").unwrap_or(0.0);
    }
    Ok(sum)
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

/// The first word behind a key that begins a line.
fn number(status: &str, key: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_behind_its_key() {
        let status = "VmRSS:\t    1234 kB\nnonvoluntary_ctxt_switches:\t9\n\
                      voluntary_ctxt_switches:\t7\n";
        assert_eq!(number(status, "VmRSS:"), Some(1234.0));
        assert_eq!(number(status, "voluntary_ctxt_switches:"), Some(7.0));
        assert_eq!(number(status, "RssAnon:"), None);
    }

    #[test]
    fn this_process_has_memory_of_its_own() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.anonymous_bytes > 0.0);
        assert!(memory.resident_bytes >= memory.anonymous_bytes);
        assert!(memory.maps_bytes < 1.0, "tests make no maps");
    }
}
