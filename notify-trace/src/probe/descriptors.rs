//! Room for descriptors, made before there is a second thread.
//!
//! A process begins with a table of 64. With one of its threads in another one, the kernel waits for a grace period of
//! RCU whenever the table has to grow (`expand_fdtable` of `fs/file.c`): maps, programs, links and rings are more than
//! 64, so a start would stand still for some ten milliseconds.

use std::io;
use std::os::fd::AsFd as _;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

/// How many fit. With those of rings, one for each CPU, only a host of hundreds needs more.
const ROOM: u64 = 1024;

/// Makes it, up to the limit of open files (`getrlimit(2)`). A kernel that refuses only takes longer later.
pub fn make_room() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(ROOM);
    let Ok(last) = i32::try_from(ROOM.min(limit).saturating_sub(1)) else {
        return;
    };
    // The table doesn't shrink when it is closed again.
    let _ = fcntl_dupfd_cloexec(io::stderr().as_fd(), last);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_room_then() {
        // FDSize of proc_pid_status(5): the slots that are allocated.
        let room = || -> Option<u64> {
            let status = std::fs::read_to_string("/proc/self/status").ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("FDSize:"))?;
            line.trim().parse().ok()
        };
        make_room();
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(ROOM);
        assert!(
            room().is_some_and(|room| room >= ROOM.min(limit)),
            "{:?}",
            room()
        );
    }
}
