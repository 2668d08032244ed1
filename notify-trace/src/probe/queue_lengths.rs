//! How many datagrams wait in the queues of unix sockets: a BPF iterator over the sockets of one
//! network namespace (`iter/unix`, Linux 5.15). Nothing that others call is attached; the kernel
//! runs the program while its output is read, in the namespace of the thread that begins to.
//!
//! `unix_diag` can't tell: what it calls a queue's length is the size of one datagram.

use std::collections::HashMap;
use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use aya::programs::Iter;
use aya::programs::iter::IterLink;
use aya::{Ebpf, include_bytes_aligned};
use notify_trace_common::fields::ABSENT;
use notify_trace_common::queues::QueueLength;
use zerocopy::FromBytes as _;

use crate::probe::btf::Btf;
use crate::probe::error::missing_capabilities;
use crate::probe::kernel_types::{KERNEL_BTF, functions_alone};
use crate::probe::{loader, offsets};

/// The iterator's own object, built by `build.rs`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/notify-trace-queues"));

/// The name of the program in it.
const PROGRAM: &str = "queue_lengths";
/// What it walks.
const TARGET: &str = "unix";
/// The function that the kernel knows the target by (`DEFINE_BPF_ITER_FUNC` of `net/unix/af_unix.c`).
const FUNCTION: &str = "bpf_iter_unix";
/// The globals of it, as the list of fields names them.
const GLOBALS: [&str; 5] = [
    "SOCK_SOCKET",
    "SOCKET_INODE",
    "SOCK_TYPE",
    "UNIX_SOCK_ADDR",
    "SOCK_QUEUE_LEN",
];
/// The kernel's own buffer for one read (`bpf_seq_read`, kernel/bpf/bpf_iter.c: 8 pages). Whenever
/// a read ends, `bpf_iter_unix_seq_start` goes on with the next bucket of its table, and sockets of
/// the one before may be left out; so as much as can be is read at once.
const READ_BYTES: usize = 8 * 4096;

/// The iterator, loaded.
pub struct QueueLengths(Ebpf);

/// The iterator, about to be begun.
pub struct Walk(IterLink);

impl QueueLengths {
    /// Loads it.
    ///
    /// # Errors
    /// If the kernel has no BTF, no such iterator, or does not let us.
    pub fn load() -> Result<Self> {
        // Without them, what comes back says little of the cause.
        let status = std::fs::read_to_string("/proc/self/status")
            .context("cannot read /proc/self/status")?;
        let missing = missing_capabilities(&status);
        if !missing.is_empty() {
            bail!("missing {}", missing.join(", "));
        }
        let bytes =
            std::fs::read(KERNEL_BTF).with_context(|| format!("cannot read {KERNEL_BTF}"))?;
        let btf = Btf::parse(&bytes).with_context(|| format!("cannot parse {KERNEL_BTF}"))?;
        let resolved = offsets::resolve(&btf);
        let values: Vec<_> = resolved
            .iter()
            .filter(|(field, _)| GLOBALS.contains(&field.global))
            .map(|(field, offset)| (field.global, offset))
            .collect();
        if let Some((global, _)) = values.iter().find(|(_, offset)| *offset == ABSENT) {
            bail!("{global} is unknown on this kernel");
        }
        let function = functions_alone(&bytes, &[FUNCTION])
            .with_context(|| format!("cannot parse {KERNEL_BTF}"))?;
        let mut loader = loader::take();
        for (global, offset) in &values {
            loader.override_global(global, offset, true);
        }
        let mut ebpf = loader.load(OBJECT).context("cannot load the iterator")?;
        program(&mut ebpf)?
            .load(TARGET, &function)
            .context("cannot load the iterator over unix sockets (Linux 5.15)")?;
        Ok(Self(ebpf))
    }

    /// Prepares a walk, for whichever thread.
    ///
    /// # Errors
    /// If the kernel does not let us.
    pub fn walk(&mut self) -> Result<Walk> {
        let program = program(&mut self.0)?;
        let link = program.attach().context("cannot make an iterator")?;
        Ok(Walk(program.take_link(link)?))
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Iter> {
    let program = ebpf
        .program_mut(PROGRAM)
        .with_context(|| format!("no program {PROGRAM}"))?;
    Ok(program.try_into()?)
}

impl Walk {
    /// Walks the bound datagram sockets of the calling thread's network namespace: datagrams by
    /// inode number. Of more than some two thousand, a few may be missing.
    ///
    /// # Errors
    /// If the kernel does not let us.
    pub fn read(self) -> Result<HashMap<u64, u32>> {
        let mut file = self.0.into_file().context("cannot begin the iterator")?;
        let mut lengths = HashMap::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut buffer).context("cannot read the iterator")?;
            if read == 0 {
                return Ok(lengths);
            }
            lengths.extend(parse(&buffer[..read]));
        }
    }
}

/// Records one after the other; one that is cut off is none.
fn parse(output: &[u8]) -> HashMap<u64, u32> {
    output
        .chunks_exact(size_of::<QueueLength>())
        .filter_map(|record| QueueLength::read_from_bytes(record).ok())
        .map(|record| (record.inode, record.datagrams))
        .collect()
}

#[cfg(test)]
mod tests {
    use notify_trace_common::fields::FIELDS;
    use zerocopy::IntoBytes as _;

    use super::*;

    #[test]
    fn its_globals_are_fields_of_the_list() {
        for global in GLOBALS {
            assert!(
                FIELDS.iter().any(|field| field.global == global),
                "{global}"
            );
        }
    }

    #[test]
    fn an_output_that_is_cut_off_gives_its_whole_records() {
        let record = |inode, datagrams| QueueLength {
            inode,
            datagrams,
            padding: 0,
        };
        let output = [record(7, 3), record(8, 0)];
        let output = output.as_bytes();
        assert_eq!(parse(output), HashMap::from([(7, 3), (8, 0)]));
        assert_eq!(parse(&output[..20]), HashMap::from([(7, 3)]));
        assert_eq!(parse(&[]), HashMap::new());
    }
}
