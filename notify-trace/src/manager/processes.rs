//! What the processes of a unit do, from its cgroup and `/proc`. Reads are bounded.

use std::path::{Path, PathBuf};

use crate::enrich::cgroup::V2_ROOTS;
use crate::event::{Blob, UnitProcess};
use crate::sockets::processes::{FILE_MAX_BYTES, environment, file, read};

/// Most processes that are looked at.
const PROCESSES: usize = 32;

/// Most cgroups below the unit's that are looked into.
const FOLDERS: usize = 64;

/// Where systemd's own hierarchy is mounted on hosts with cgroup v1.
const V1_ROOT: &str = "/sys/fs/cgroup/systemd";

/// The processes of a control group and of those below it.
pub(super) fn of(control_group: &[u8], proc: &Path) -> Vec<UnitProcess> {
    let Ok(path) = std::str::from_utf8(control_group) else {
        return Vec::new();
    };
    let below = path.trim_start_matches('/');
    if below.is_empty() || below.split('/').any(|part| part == "..") {
        return Vec::new();
    }
    V2_ROOTS
        .into_iter()
        .chain([V1_ROOT])
        .map(|root| Path::new(root).join(below))
        .find(|folder| folder.join("cgroup.procs").exists())
        .map(|folder| look(&folder, proc))
        .unwrap_or_default()
}

fn look(folder: &Path, proc: &Path) -> Vec<UnitProcess> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        looked += 1;
        let pids = read(&folder.join("cgroup.procs"), FILE_MAX_BYTES).unwrap_or_default();
        let pids = String::from_utf8_lossy(&pids);
        for pid in pids.lines().filter_map(|line| line.parse().ok()) {
            if found.len() >= PROCESSES {
                return found;
            }
            found.extend(process(pid, proc));
        }
        let below = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in below {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && looked + folders.len() < FOLDERS {
                folders.push(entry.path());
            }
        }
    }
    found
}

fn process(pid: u32, proc: &Path) -> Option<UnitProcess> {
    let comm = read(&file(proc, pid, "comm"), FILE_MAX_BYTES).ok()?;
    let stat = read(&file(proc, pid, "stat"), FILE_MAX_BYTES).unwrap_or_default();
    let wchan = read(&file(proc, pid, "wchan"), FILE_MAX_BYTES).unwrap_or_default();
    let environment = environment(proc, pid).unwrap_or_default();
    Some(UnitProcess {
        pid,
        comm: Blob::from(comm.trim_ascii_end()),
        state: state(&stat),
        wchan: String::from_utf8(wchan)
            .ok()
            .filter(|wchan| !wchan.is_empty() && wchan != "0"),
        notify_socket: environment.notify_socket.map(|socket| Blob(socket.into())),
    })
}

/// The letter behind the name, which may itself hold parentheses.
fn state(stat: &[u8]) -> Option<char> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(end + 2).copied().map(char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_behind_the_name() {
        assert_eq!(state(b"17 (a) b) S 1 17"), Some('S'));
        assert_eq!(state(b"17 (a"), None);
    }

    #[test]
    fn a_process_says_what_it_does() {
        let own = process(std::process::id(), Path::new("/proc")).expect("it is there");
        assert!(!own.comm.0.is_empty());
        assert!(own.state.is_some());
        assert_eq!(process(u32::MAX, Path::new("/proc")), None);
    }

    #[test]
    fn no_path_leads_out_of_the_hierarchy() {
        assert!(of(b"/../../proc", Path::new("/proc")).is_empty());
        assert!(of(b"/", Path::new("/proc")).is_empty());
    }
}
