//! The memory of the rings, one piece for each CPU: how large, and had from the kernel. It needs no program, so
//! it is made while those are loaded.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use perf_event::events::Software;
use perf_event::{Builder, SampleFlag, Sampler};

use super::hotplug;
use crate::quantity::Size;

/// What all rings have together where nobody says how large each is to be, and the bounds of each.
///
/// A ring is what the reader can put off while others have its CPU: the records of a datagram take 0.6 KiB, so the
/// largest holds 7,000 of them. On a host of many CPUs a storm is spread over more rings.
const ALL_BYTES: u64 = 16 << 20;
const MOST_BYTES: u64 = 4 << 20;
const LEAST_BYTES: u64 = 1 << 20;
/// Where locked memory is limited, smaller ones are tried, but none below this. Below the least elsewhere it is
/// told of.
const LEAST_WHERE_REFUSED_BYTES: u64 = 128 << 10;

/// What rings are made of.
pub struct Buffers {
    /// Of each.
    pub(super) bytes: usize,
    /// Why each is smaller than they are anywhere else.
    pub(super) shrunk: Option<String>,
    /// By CPU.
    pub(super) samplers: Vec<(u32, Sampler)>,
    /// Tells of CPUs that came or went since before these were looked for. Where there is none, new CPUs'
    /// records are counted as lost.
    pub(super) hotplug: Option<OwnedFd>,
}

impl Buffers {
    /// Makes one for each CPU that is online: of so many bytes (rounded up to a power of two of pages), or by
    /// their number, and then smaller ones where locked memory is limited.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn open(bytes: Option<u64>) -> Result<Self> {
        let page = u64::try_from(rustix::param::page_size())?;
        let rounded = |bytes: u64| usize::try_from(bytes.div_ceil(page).next_power_of_two() * page);
        // First listen, then look: a CPU that comes up in between is met twice, not missed.
        let hotplug = hotplug::socket().ok();
        let online = aya::util::online_cpus()
            .map_err(|(what, error)| anyhow::Error::new(error).context(what))?;
        let wanted = bytes.unwrap_or_else(|| default_bytes(online.len()));
        let mut tried = wanted;
        let (bytes, samplers) = loop {
            let each = rounded(tried)?;
            let made = online.iter().map(|cpu| Ok((*cpu, sampler(*cpu, each)?)));
            match made.collect::<Result<Vec<_>>>() {
                Ok(samplers) => break (each, samplers),
                Err(error)
                    if bytes.is_some()
                        || tried <= LEAST_WHERE_REFUSED_BYTES
                        || !is_denied(&error) =>
                {
                    return Err(error);
                }
                Err(_) => tried /= 2,
            }
        };
        Ok(Self {
            bytes,
            shrunk: (tried < wanted.min(LEAST_BYTES)).then(|| shrunk(tried, wanted)),
            samplers,
            hotplug,
        })
    }
}

fn shrunk(bytes: u64, wanted: u64) -> String {
    format!(
        "each ring has {} instead of {}, for locked memory is limited: fewer records wait there for their \
         reader (notify-trace doctor)",
        Size(bytes),
        Size(wanted)
    )
}

/// Bytes of each ring on a host of so many CPUs, if nobody says anything else: a power of two.
fn default_bytes(cpus: usize) -> u64 {
    let share = ALL_BYTES / u64::try_from(cpus).unwrap_or(u64::MAX).max(1);
    share
        .checked_ilog2()
        .map_or(0, |log2| 1 << log2)
        .clamp(LEAST_BYTES, MOST_BYTES)
}

/// A ring for what programs write on a CPU, which wakes its reader when it is half full.
pub(super) fn sampler(cpu: u32, bytes: usize) -> Result<Sampler> {
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

    #[test]
    fn rings_are_larger_where_there_are_few() {
        for (cpus, mib) in [(0, 4), (1, 4), (4, 4), (5, 2), (8, 2), (9, 1), (1_024, 1)] {
            assert_eq!(default_bytes(cpus), mib << 20, "{cpus}");
        }
    }
}
