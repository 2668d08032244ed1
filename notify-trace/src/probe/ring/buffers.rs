//! The memory of the rings, one piece for each CPU: how large, and had from the kernel.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use perf_event::events::Software;
use perf_event::{Builder, SampleFlag, Sampler};

use super::hotplug;
use crate::quantity::Size;

/// What all CPUs share where nobody says how large a ring is to be, and the bounds of each: above 16 CPUs all
/// together have more.
///
/// A ring is what the reader can put off while others have its CPU: the records of a datagram take 0.6 KiB, so the
/// largest holds those of 7,000. On a host of many CPUs a storm is spread over more rings.
const SHARED_BYTES: u64 = 16 << 20;
const MOST_BYTES: u64 = 4 << 20;
const LEAST_BYTES: u64 = 1 << 20;
/// Where locked memory is limited, smaller rings are tried, but none below this.
const LEAST_WHERE_REFUSED_BYTES: u64 = 128 << 10;

/// How large a ring is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// A power of two of pages.
    pub(super) bytes: u64,
    /// The user says so: then it is that or none.
    is_fixed: bool,
}

/// What rings are made of.
pub struct Buffers {
    /// Of each; another CPU's is to be like them.
    pub(super) each: Wanted,
    /// That they are smaller than the smallest anywhere else, and why.
    pub(super) warning: Option<String>,
    /// By CPU.
    pub(super) samplers: Vec<(u32, Sampler)>,
    /// Tells of CPUs that came or went since before these were looked for. Where there is none, new CPUs'
    /// records are counted as lost.
    pub(super) hotplug: Option<OwnedFd>,
}

impl Buffers {
    /// Makes one for each CPU that is online: of so many bytes, or by the number of CPUs, and then smaller ones
    /// where locked memory is limited.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn open(bytes: Option<u64>) -> Result<Self> {
        // First listen, then look: a CPU that comes up in between is met twice, not missed.
        let hotplug = hotplug::socket().ok();
        let online = aya::util::online_cpus()
            .map_err(|(what, error)| anyhow::Error::new(error).context(what))?;
        let wanted = Wanted::of(bytes, online.len());
        let (each, samplers) = wanted.fit(|bytes| {
            let made = online.iter().map(|cpu| Ok((*cpu, sampler(*cpu, bytes)?)));
            made.collect::<Result<Vec<_>>>()
        })?;
        Ok(Self {
            each,
            warning: each.warning_of(wanted),
            samplers,
            hotplug,
        })
    }
}

impl Wanted {
    /// What the user says, or what suits a host of so many CPUs.
    fn of(bytes: Option<u64>, cpus: usize) -> Self {
        let share = SHARED_BYTES / u64::try_from(cpus).unwrap_or(u64::MAX).max(1);
        let power = share.checked_ilog2().map_or(0, |log2| 1 << log2);
        Self {
            bytes: rounded(bytes.unwrap_or(power.clamp(LEAST_BYTES, MOST_BYTES))),
            is_fixed: bytes.is_some(),
        }
    }

    /// Makes something of that size, or of the largest below it for which permission is not denied; which one it
    /// was.
    pub(super) fn fit<T>(mut self, mut make: impl FnMut(u64) -> Result<T>) -> Result<(Self, T)> {
        loop {
            match make(self.bytes) {
                Ok(made) => return Ok((self, made)),
                Err(error) if self.is_fixed || !is_denied(&error) => return Err(error),
                Err(error) if self.bytes <= LEAST_WHERE_REFUSED_BYTES => return Err(error),
                Err(_) => self.bytes /= 2,
            }
        }
    }

    fn warning_of(self, wanted: Self) -> Option<String> {
        (self.bytes < wanted.bytes.min(LEAST_BYTES)).then(|| {
            format!(
                "each ring has {} instead of {}, for locked memory is limited: fewer records wait there for \
                 their reader",
                Size(self.bytes),
                Size(wanted.bytes)
            )
        })
    }
}

/// The next size that the kernel takes: a power of two of pages.
fn rounded(bytes: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    bytes.div_ceil(page).next_power_of_two() * page
}

/// A ring for what programs write on a CPU, which wakes its reader when it is half full.
pub(super) fn sampler(cpu: u32, bytes: u64) -> Result<Sampler> {
    let bytes = usize::try_from(bytes)?;
    Builder::new(Software::BPF_OUTPUT)
        .any_pid()
        .one_cpu(usize::try_from(cpu)?)
        .include_kernel()
        .include_hv()
        .sample(SampleFlag::RAW)
        .sample_period(1)
        .wakeup_watermark(bytes / 2)
        .enabled(true)
        .build()
        .and_then(|counter| counter.sampled(bytes))
        .with_context(|| format!("cannot open the ring of CPU {cpu}"))
}

/// Whether the kernel says that one may not.
pub(super) fn is_denied(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        kind == Some(io::ErrorKind::PermissionDenied)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    #[test]
    fn rings_are_larger_where_there_are_few() {
        for (cpus, mib) in [(0, 4), (1, 4), (4, 4), (5, 2), (8, 2), (9, 1), (1_024, 1)] {
            assert_eq!(Wanted::of(None, cpus).bytes, mib * MIB, "{cpus}");
        }
        let page = rustix::param::page_size() as u64;
        assert_eq!(Wanted::of(Some(2 * page + 1), 1).bytes, 4 * page);
    }

    /// What fits if the kernel answers so to anything larger than this, and which sizes were tried.
    fn fit(wanted: Wanted, limit: u64, answer: io::ErrorKind) -> (Option<u64>, Vec<u64>) {
        let mut tried = Vec::new();
        let fitted = wanted.fit(|bytes| {
            tried.push(bytes);
            if bytes > limit {
                return Err(io::Error::from(answer).into());
            }
            Ok(())
        });
        (fitted.ok().map(|(fitted, ())| fitted.bytes), tried)
    }

    #[test]
    fn what_is_denied_is_halved_down_to_a_least_size() {
        let wanted = Wanted::of(None, 8);
        let denied = io::ErrorKind::PermissionDenied;
        let all = [2 * MIB, MIB, 512 * KIB, 256 * KIB, 128 * KIB];
        assert_eq!(fit(wanted, MIB, denied), (Some(MIB), all[..2].to_vec()));
        assert_eq!(
            fit(wanted, 128 * KIB, denied),
            (Some(128 * KIB), all.to_vec())
        );
        assert_eq!(fit(wanted, 64 * KIB, denied), (None, all.to_vec()));
    }

    #[test]
    fn neither_a_users_size_nor_another_refusal_is_halved() {
        let denied = io::ErrorKind::PermissionDenied;
        let users = Wanted::of(Some(8 * MIB), 8);
        assert_eq!(fit(users, MIB, denied), (None, vec![8 * MIB]));
        let wanted = Wanted::of(None, 8);
        let another = io::ErrorKind::OutOfMemory;
        assert_eq!(fit(wanted, MIB, another), (None, vec![2 * MIB]));
    }

    #[test]
    fn only_rings_below_the_least_elsewhere_are_told_of() {
        let wanted = Wanted::of(None, 2);
        let warning = |bytes| Wanted { bytes, ..wanted }.warning_of(wanted);
        assert_eq!(warning(4 * MIB), None);
        assert_eq!(warning(MIB), None);
        assert!(warning(512 * KIB).is_some_and(|text| text.contains("512K instead of 4M")));
        let small = Wanted::of(Some(4_096), 2);
        assert_eq!(small.warning_of(small), None);
    }
}
