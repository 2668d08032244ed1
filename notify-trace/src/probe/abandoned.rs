//! Calls that the kernel side still holds for in flight though their threads are gone: no program saw the
//! call end, nor the thread exit.
//!
//! The program at the tracepoint `sched_process_exit` counts a call whose end was missed. Where programs at
//! raw tracepoints may be preempted (seen on 7.3), the kernel skips its run on a CPU that is in it already,
//! and there is no later one.

use std::path::Path;

use aya::Ebpf;
use aya::maps::{Array, HashMap};
use notify_trace_common::limits::{CALL_WORDS, CONNECT_WORDS};

use crate::probe::load::map;

/// How many calls are left of threads that do not run any more, by the `proc(5)` there, whose process ids are
/// the host's.
///
/// # Errors
/// If the kernel does not let a map be read.
pub(super) fn count(ebpf: &Ebpf, proc: &Path) -> anyhow::Result<u64> {
    let mut threads = threads_in::<[u64; CALL_WORDS]>(ebpf, "CALLS")?;
    threads.extend(threads_in::<u64>(ebpf, "RECEIVES")?);
    threads.extend(threads_in::<[u64; CONNECT_WORDS]>(ebpf, "CONNECTS")?);
    let slots: Array<_, [u64; CALL_WORDS]> = map(ebpf, "SLOTS")?;
    threads.extend(
        slots
            .iter()
            .filter_map(|slot| slot.ok()?.first().copied())
            .filter(|thread| *thread != 0),
    );
    let is_gone = |thread: u64| match std::fs::read_to_string(proc.join(stat_of(thread))) {
        Ok(stat) => has_exited(&stat),
        Err(error) => is_absent(&error),
    };
    Ok(threads.into_iter().filter(|it| is_gone(*it)).count() as u64)
}

/// The threads that have a call in a table.
fn threads_in<V: aya::Pod>(ebpf: &Ebpf, table: &str) -> anyhow::Result<Vec<u64>> {
    let calls: HashMap<_, u64, V> = map(ebpf, table)?;
    Ok(calls.keys().filter_map(Result::ok).collect())
}

/// Whether there is no such thread; the file may be opened before it goes, and be read after.
fn is_absent(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Where a thread's state is told, below `proc(5)`. The kernel side names a thread by its process id in the
/// upper half and its own id in the lower one (`bpf_get_current_pid_tgid`, `bpf-helpers(7)`).
fn stat_of(thread: u64) -> String {
    format!("{}/task/{}/stat", thread >> 32, thread & 0xffff_ffff)
}

/// Whether a thread with this `stat` only waits to be reaped (`proc_pid_stat(5)`, states Z and X).
fn has_exited(stat: &str) -> bool {
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_found_by_both_its_ids() {
        assert_eq!(stat_of(7 << 32 | 8), "7/task/8/stat");
    }

    #[test]
    fn a_thread_that_waits_to_be_reaped_has_exited() {
        assert!(!has_exited("8 (a) Z) S 1 8 8"));
        assert!(has_exited("8 (R) Z 1 8 8"));
        assert!(has_exited("8 (R) X 1 8 8"));
        assert!(!has_exited(""));
    }

    #[test]
    fn what_may_not_be_read_may_run() {
        let error = std::io::Error::from_raw_os_error;
        assert!(is_absent(&error(rustix::io::Errno::NOENT.raw_os_error())));
        assert!(is_absent(&error(rustix::io::Errno::SRCH.raw_os_error())));
        assert!(!is_absent(&error(rustix::io::Errno::ACCESS.raw_os_error())));
        assert!(!is_absent(&error(rustix::io::Errno::MFILE.raw_os_error())));
    }
}
