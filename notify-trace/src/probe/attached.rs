//! The programs while they are attached: their counters, the self-test's way past the filters, and
//! the end.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use aya::Ebpf;
use aya::maps::{HashMap, PerCpuArray};
use notify_trace_common::limits::{COUNTER_FIELDS, Counters, Emitter};

use crate::event::Plan;
use crate::probe::abandoned;
use crate::probe::attach::drop_program;
use crate::probe::load::{map, map_of};

/// The programs, loaded and attached. Everything goes when it is dropped, or with the process.
pub struct Attached {
    pub(super) ebpf: Ebpf,
    /// The plan in force.
    pub plan: Plan,
    /// The programs attached.
    pub programs: Vec<Emitter>,
    /// What can't be told on this kernel, each a sentence.
    pub warnings: Vec<String>,
    /// Skipped runs of the programs that were detached.
    pub(super) skipped: Option<u64>,
    #[cfg(feature = "kernel-log")]
    pub(super) log: crate::probe::kernel_log::KernelLog,
}

impl Attached {
    /// What all programs have counted on all CPUs.
    ///
    /// # Errors
    /// If the kernel does not let the map be read.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        let map: PerCpuArray<_, [u64; COUNTER_FIELDS]> = map(&self.ebpf, "COUNTERS")?;
        let mut sums = [0; COUNTER_FIELDS];
        for program in Emitter::ALL {
            for cpu in map.get(&u32::from(program as u16), 0)?.iter() {
                for (sum, count) in sums.iter_mut().zip(cpu) {
                    *sum += count;
                }
            }
        }
        Ok(zerocopy::transmute!(sums))
    }

    /// How many calls were left behind by threads that have exited unseen. Once the programs are detached.
    ///
    /// # Errors
    /// If the kernel does not let a map be read.
    pub fn abandoned_calls(&self) -> anyhow::Result<u64> {
        let is_every_exit_seen =
            self.programs.contains(&Emitter::Exit) && self.programs_skipped() == Some(0);
        if is_every_exit_seen {
            return Ok(0);
        }
        abandoned::count(&self.ebpf, Path::new("/proc"))
    }

    /// Prints the kernel side's warnings, in a build that has them.
    pub fn print_kernel_log(&mut self) {
        #[cfg(feature = "kernel-log")]
        self.log.print();
    }

    /// How often the kernel skipped a run of one of the programs, `None` where it doesn't count
    /// that: `recursion_misses` in a program's fdinfo, for trampolines since 5.12, for probes
    /// since 6.7.
    #[must_use]
    pub fn programs_skipped(&self) -> Option<u64> {
        self.programs
            .iter()
            .filter_map(|program| self.skipped_runs(*program))
            .chain(self.skipped)
            .reduce(|sum, skipped| sum + skipped)
    }

    fn skipped_runs(&self, program: Emitter) -> Option<u64> {
        let fd = self
            .ebpf
            .program(program.program())?
            .fd()
            .ok()?
            .as_fd()
            .as_raw_fd();
        recursion_misses(&std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
    }

    /// Lets a process of the self-test pass the filters.
    ///
    /// # Errors
    /// If the map can't be written.
    pub fn let_pass(&mut self, pid: u32) -> anyhow::Result<()> {
        let mut own: HashMap<_, u32, u8> = map_of(&mut self.ebpf, "OWN")?;
        Ok(own.insert(pid, 1, 0)?)
    }

    /// The opposite of [`Self::let_pass`].
    ///
    /// # Errors
    /// If the map can't be written.
    pub fn let_pass_no_more(&mut self, pid: u32) -> anyhow::Result<()> {
        let mut own: HashMap<_, u32, u8> = map_of(&mut self.ebpf, "OWN")?;
        Ok(own.remove(&pid)?)
    }

    /// Detaches a program; the maps stay readable.
    pub fn detach(&mut self, program: Emitter) {
        // The last word of a program whose runs the kernel counts.
        if let Some(skipped) = self.skipped_runs(program) {
            self.skipped = Some(self.skipped.unwrap_or(0) + skipped);
        }
        drop_program(&mut self.ebpf, program);
    }
}

/// `recursion_misses` of a program's fdinfo.
fn recursion_misses(fdinfo: &str) -> Option<u64> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))
        .and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_runs_are_read_from_a_programs_fdinfo() {
        let info = "pos:\t0\nprog_type:\t2\nrecursion_misses:\t17\nverified_insns:\t9\n";
        assert_eq!(recursion_misses(info), Some(17));
        assert_eq!(recursion_misses("pos:\t0\n"), None);
    }
}
