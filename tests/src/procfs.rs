//! What `/proc` and the cgroup hierarchy say of processes: the witness for who sent.

use std::{
    env, fs, io,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow};

use crate::truth::{Bytes, Cgroup, Process};

/// The calling process.
pub fn this_process() -> Result<Process> {
    let read = |name: &str| {
        let path = Path::new("/proc/self").join(name);
        fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    };
    let status = read("status")?;
    let stat = read("stat")?;
    let start_ticks = stat_field(&stat, 22).context("/proc/self/stat has no start time")?;
    let number = |key: &str, column: usize| status_number(&status, key, column);
    let mut comm = fs::read("/proc/self/comm").context("could not read /proc/self/comm")?;
    comm.pop_if(|last| *last == b'\n');
    Ok(Process {
        pid: this_pid()?,
        parent_pid: number("PPid", 0)?,
        uid: number("Uid", 0)?,
        gid: number("Gid", 0)?,
        namespace_pid: number("NSpid", usize::MAX)?,
        pid_namespace: fs::metadata("/proc/self/ns/pid")
            .context("no pid namespace")?
            .ino(),
        start_ticks,
        cgroup: cgroup(&read("cgroup")?)?,
        comm: Bytes(comm),
        executable: Bytes(
            fs::read_link("/proc/self/exe")
                .context("could not read /proc/self/exe")?
                .into_os_string()
                .into_vec(),
        ),
        command_line: words(&fs::read("/proc/self/cmdline").context("no command line")?),
        attribution: None,
        is_gone: false,
    })
}

/// The arguments of `/proc/PID/cmdline`, each ended by a NUL.
fn words(command_line: &[u8]) -> Vec<Bytes> {
    command_line
        .split_inclusive(|byte| *byte == 0)
        .map(|word| Bytes(word.strip_suffix(b"\0").unwrap_or(word).to_vec()))
        .collect()
}

/// The calling process's id in the pid namespace of `/proc`, which is the initial one.
pub fn this_pid() -> Result<u32> {
    let link = fs::read_link("/proc/self").context("could not read /proc/self")?;
    link.to_str()
        .and_then(|pid| pid.parse().ok())
        .ok_or_else(|| anyhow!("/proc/self is a link to {}", link.display()))
}

/// The calling thread's id in the pid namespace of `/proc`.
pub fn this_thread() -> Result<u32> {
    let link = fs::read_link("/proc/thread-self").context("could not read /proc/thread-self")?;
    link.file_name()
        .and_then(|tid| tid.to_str()?.parse().ok())
        .ok_or_else(|| anyhow!("/proc/thread-self is a link to {}", link.display()))
}

/// Field of `/proc/PID/stat`, counted from 1 as proc(5) does. The second one may hold anything.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, behind_comm) = stat.rsplit_once(')')?;
    behind_comm.split_whitespace().nth(number - 3)?.parse().ok()
}

/// Seconds that a process has spent on CPUs.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = stat_field(&stat, 14)? + stat_field(&stat, 15)?;
    Some(f64::from(u32::try_from(ticks).ok()?) / 100.0)
}

/// A number of `/proc/PID/status`; the last one of its line if `column` is too large.
fn status_number(status: &str, key: &str, column: usize) -> Result<u32> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .and_then(|values| {
            let values: Vec<_> = values.split_whitespace().collect();
            values.get(column).or(values.last())?.parse().ok()
        })
        .ok_or_else(|| anyhow!("/proc/self/status has no {key}"))
}

/// Where the v2 hierarchy is mounted.
pub fn cgroup_root() -> Option<&'static Path> {
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    ROOT.get_or_init(|| {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        cgroup_mount(&mounts).map(PathBuf::from)
    })
    .as_deref()
}

fn cgroup_mount(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then_some(at)
    })
}

fn cgroup(lines: &str) -> Result<Option<Cgroup>> {
    let path = lines.lines().find_map(|line| line.strip_prefix("0::"));
    let (Some(path), Some(root)) = (path, cgroup_root()) else {
        return Ok(None);
    };
    let folder = root.join(path.trim_start_matches('/'));
    let id = fs::metadata(&folder)
        .with_context(|| format!("no cgroup {}", folder.display()))?
        .ino();
    Ok(Some(Cgroup {
        id,
        path: path.to_owned(),
    }))
}

/// Creates a cgroup and moves the calling process there. Does nothing where no v2 hierarchy is
/// mounted.
pub fn enter_cgroup(path: &str) -> Result<()> {
    make_cgroup(path)?;
    let Some(root) = cgroup_root() else {
        return Ok(());
    };
    let folder = root.join(path);
    fs::write(folder.join("cgroup.procs"), "0")
        .with_context(|| format!("could not enter the cgroup {}", folder.display()))
}

/// Makes cgroups one below the other and moves the calling process to the lowest, from one to the next: no system
/// call takes a path that is as long as such a tree may be deep. That one, if a v2 hierarchy is mounted.
pub fn enter_cgroup_below(top: &str, names: &[String]) -> Result<Option<Cgroup>> {
    make_cgroup(top)?;
    let Some(root) = cgroup_root() else {
        return Ok(None);
    };
    env::set_current_dir(root.join(top)).with_context(|| format!("no cgroup {top}"))?;
    for name in names {
        // One that is left of a run before is as good.
        match fs::create_dir(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => env::set_current_dir(name),
        }
        .with_context(|| format!("could not make the cgroup {name}"))?;
    }
    fs::write("cgroup.procs", "0").context("could not enter a cgroup")?;
    Ok(Some(Cgroup {
        id: fs::metadata(".").context("no cgroup")?.ino(),
        path: format!("/{top}/{}", names.join("/")),
    }))
}

/// Moves the calling process back to the top, and removes the others.
pub fn leave_cgroup_below(top: &str, names: &[String]) -> Result<()> {
    let Some(root) = cgroup_root() else {
        return Ok(());
    };
    fs::write(root.join(top).join("cgroup.procs"), "0").context("could not leave a cgroup")?;
    for name in names.iter().rev() {
        env::set_current_dir("..")
            .and_then(|()| fs::remove_dir(name))
            .with_context(|| format!("could not remove the cgroup {name}"))?;
    }
    Ok(())
}

/// Makes a cgroup, and those above it, where there is a v2 hierarchy.
pub fn make_cgroup(path: &str) -> Result<()> {
    let Some(root) = cgroup_root() else {
        return Ok(());
    };
    let folder = root.join(path);
    fs::create_dir_all(&folder)
        .with_context(|| format!("could not make the cgroup {}", folder.display()))
}

/// Removes a cgroup and those below it, once nobody is in them.
pub fn remove_cgroup(path: &str) -> io::Result<()> {
    fn remove(folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove(&entry.path())?;
            }
        }
        fs::remove_dir(folder)
    }
    match cgroup_root() {
        Some(root) if root.join(path).exists() => remove(&root.join(path)),
        _ => Ok(()),
    }
}

/// Whether a process waits within this system call (`/proc/PID/syscall`).
pub fn is_blocked_in(pid: u32, call: libc::c_long) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    text.split_whitespace().next() == Some(&call.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let mut stat = String::from("12 (a) b (c)) S 1 12 12 0 -1 4194560");
        for field in 10..=21 {
            stat.push_str(&format!(" {field}"));
        }
        stat.push_str(" 777 0");
        assert_eq!(stat_field(&stat, 22), Some(777));
        assert_eq!(stat_field(&stat, 4), Some(1));
    }

    #[test]
    fn the_innermost_namespace_stands_last() {
        let status = "Name:\tx\nPPid:\t7\nUid:\t5\t6\t6\t6\nNSpid:\t12\t3\t1\n";
        assert_eq!(status_number(status, "NSpid", usize::MAX).ok(), Some(1));
        assert_eq!(status_number(status, "Uid", 0).ok(), Some(5));
        assert!(status_number(status, "Gid", 0).is_err());
    }

    #[test]
    fn the_v2_hierarchy_is_found_among_the_others() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup_mount(mounts), Some("/sys/fs/cgroup/unified"));
        assert_eq!(cgroup_mount("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn this_test_is_a_process() {
        let process = this_process().unwrap();
        assert_eq!(process.pid, std::process::id());
        assert!(process.start_ticks > 0);
    }
}
