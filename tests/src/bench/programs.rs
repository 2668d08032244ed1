//! What a process's BPF programs have cost, as the kernel counts it (`/proc/PID/fdinfo`, written by
//! `bpf_prog_show_fdinfo` of `kernel/bpf/syscall.c`): independent of whatever else a call takes.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Where the kernel is told to count time and runs (`Documentation/admin-guide/sysctl/kernel.rst`).
const STATS_ENABLED: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The kernel counts while this lives. Counting costs each run two looks at the clock.
#[derive(Debug)]
pub struct Counting(());

impl Counting {
    /// Begins to count.
    pub fn begin() -> Result<Self> {
        fs::write(STATS_ENABLED, "1").with_context(|| format!("could not set {STATS_ENABLED}"))?;
        Ok(Self(()))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // A guest that goes on counting is a slower one, no wrong one.
        let _ = fs::write(STATS_ENABLED, "0");
    }
}

/// All programs of a process together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Time in programs, while it was counted.
    pub run_time_ns: f64,
    /// Instructions that the verifier went through to accept them (since Linux 5.16).
    pub verified_instructions: Option<f64>,
}

/// What the programs cost that a process holds open.
pub fn cost(pid: u32) -> Result<Cost> {
    let folder = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let entries =
        fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?;
    // A descriptor that is closed meanwhile is of no program that runs.
    let texts = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(sum(texts))
}

/// Each program once, however many descriptors it has.
fn sum(fdinfos: impl Iterator<Item = String>) -> Cost {
    let mut programs = BTreeMap::new();
    for text in fdinfos {
        let value = |key: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
            Some(rest.trim().to_owned())
        };
        let number = |key: &str| value(key)?.parse::<f64>().ok();
        // A link names its program, too, but tells no times.
        if let (Some(id), Some(run_time_ns)) = (value("prog_id:"), number("run_time_ns:")) {
            programs.insert(id, (run_time_ns, number("verified_insns:")));
        }
    }
    Cost {
        run_time_ns: programs.values().map(|(time_ns, _)| time_ns).sum(),
        verified_instructions: programs
            .values()
            .try_fold(0.0, |sum, (_, instructions)| Some(sum + (*instructions)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_counts_once_and_links_do_not() {
        let program = |id: u32, time: u32| {
            format!(
                "prog_type:\t26\nprog_id:\t{id}\nrun_time_ns:\t{time}\nrun_cnt:\t1\nverified_insns:\t10\n"
            )
        };
        let all = [
            program(7, 100),
            program(7, 100),
            program(8, 50),
            "link_type:\ttracing\nprog_id:\t9\n".to_owned(),
        ];
        let cost = sum(all.into_iter());
        assert_eq!(cost.run_time_ns, 150.0);
        assert_eq!(cost.verified_instructions, Some(20.0));
    }

    #[test]
    fn an_old_kernel_tells_no_instructions() {
        let old = "prog_id:\t7\nrun_time_ns:\t1\n".to_owned();
        assert_eq!(sum([old].into_iter()).verified_instructions, None);
    }
}
