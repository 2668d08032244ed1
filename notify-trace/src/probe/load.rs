//! Loads the programs, fills their maps, and attaches them by a plan.

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, PerfEventArray};
use aya::programs::{FExit, Program, ProgramError, RawTracePoint};
use aya::{Btf as AyaBtf, Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use notify_trace_common::address::{ADDRESS_MAX, Address};
use notify_trace_common::fields::Feature;
use notify_trace_common::limits::{COUNTER_FIELDS, Counters, Emitter};

use crate::event::{Plan, PlanName};
use crate::probe::btf::Btf;
use crate::probe::error::{AttachError, missing_capabilities};
use crate::probe::plan::{self, Attempt, Facts};
use crate::probe::{offsets, self_test};
use crate::select::{Entry, Rules};

/// The kernel side, built by `build.rs`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/notify-trace-ebpf"));

/// Where a kernel shows its own type information.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// "Operation not permitted". (EACCES, which std counts as the same kind, is the verifier's answer.)
const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();

/// Number of the rule that stands for the self-test's own socket.
pub const SELF_TEST_RULE: u32 = u32::MAX;

/// What to load and attach.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The user's choice of a plan.
    pub plan: Option<PlanName>,
    /// A file of type information instead of the kernel's own.
    pub btf: Option<PathBuf>,
    /// Only these processes.
    pub pids: Vec<u32>,
    /// Only the subtrees of these cgroups, by id.
    pub cgroups: Vec<u64>,
    /// Address of the self-test's socket.
    pub self_test_address: Vec<u8>,
}

/// The programs, loaded and attached. Everything goes when it is dropped, or with the process.
pub struct Loaded {
    ebpf: Ebpf,
    /// The plan in force.
    pub plan: Plan,
    /// The programs attached.
    pub programs: Vec<Emitter>,
    /// What can't be told on this kernel, each a sentence.
    pub warnings: Vec<String>,
    /// Skipped runs of the programs that were detached.
    skipped: Option<u64>,
    #[cfg(feature = "kernel-log")]
    log: crate::probe::kernel_log::KernelLog,
}

/// Loads the object and makes its maps; attaches nothing yet.
///
/// # Errors
/// See [`AttachError`].
pub fn load(options: &LoadOptions, rules: &Rules) -> Result<Loading, AttachError> {
    let path = options
        .btf
        .clone()
        .unwrap_or_else(|| PathBuf::from(KERNEL_BTF));
    let bytes = std::fs::read(&path).map_err(|error| AttachError::NoBtf {
        path: path.clone(),
        source: error.into(),
    })?;
    let btf = Btf::parse(&bytes).map_err(|error| AttachError::NoBtf {
        path: path.clone(),
        source: anyhow!("{error}"),
    })?;
    let offsets = offsets::resolve(&btf);
    let mut warnings: Vec<String> = Vec::new();
    let mut fatal: Vec<String> = Vec::new();
    for (field, missing) in offsets.missing() {
        if field.feature == Feature::Capture {
            fatal.push(missing.to_string());
        } else {
            warnings.push(format!(
                "{} can't be told: {missing}",
                what_is_lost(field.feature)
            ));
        }
    }
    if !fatal.is_empty() {
        return Err(AttachError::Unsupported { reasons: fatal });
    }
    let values: Vec<(&'static str, u32)> = offsets
        .iter()
        .map(|(field, offset)| (field.global, offset))
        .collect();
    let aya_btf =
        AyaBtf::parse(&bytes, aya::Endianness::default()).map_err(|error| AttachError::NoBtf {
            path,
            source: anyhow::Error::new(error),
        })?;
    let filter_pids = u32::from(!options.pids.is_empty());
    let filter_cgroups = u32::from(!options.cgroups.is_empty());
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&aya_btf));
    for (global, offset) in &values {
        loader.override_global(global, offset, true);
    }
    loader.override_global("FILTER_PIDS", &filter_pids, true);
    loader.override_global("FILTER_CGROUPS", &filter_cgroups, true);
    let cpus = u32::try_from(possible_cpus()).unwrap_or(u32::MAX);
    // An LRU hash hands its entries out to CPUs in batches of 128.
    for map in [
        "QUEUED",
        "RECEIVERS",
        "CGROUPS_SEEN",
        "SENDERS",
        "LAST_SENDERS",
        "WANTED",
    ] {
        loader.map_max_entries(map, 16_384.max(cpus.saturating_mul(256)));
    }
    if options.plan == Some(PlanName::Tracepoints) || options.plan.is_none() {
        loader.map_max_entries("RECEIVING", 256.max(cpus.saturating_mul(4)));
    }
    let ebpf = loader
        .load(OBJECT)
        .map_err(|error| refused("load the kernel programs", error))?;
    let mut loading = Loading {
        ebpf,
        btf: aya_btf,
        warnings,
    };
    loading
        .fill(options, rules)
        .map_err(|error| AttachError::Refused {
            what: "fill a map".to_owned(),
            source: error,
        })?;
    Ok(loading)
}

/// The programs, loaded but not attached.
pub struct Loading {
    ebpf: Ebpf,
    btf: AyaBtf,
    warnings: Vec<String>,
}

impl Loading {
    /// Puts rules and filters into the maps.
    fn fill(&mut self, options: &LoadOptions, rules: &Rules) -> anyhow::Result<()> {
        let mut entries = rules.entries();
        let own = &options.self_test_address;
        entries.push((Entry::Exact(own.clone()), SELF_TEST_RULE));
        entries.push((Entry::Exact(self_test::nobody(own)), SELF_TEST_RULE));
        for (entry, rule) in entries {
            match entry {
                Entry::Exact(bytes) => {
                    let mut map: HashMap<_, [u8; 112], u32> = map_of(&mut self.ebpf, "EXACT")?;
                    map.insert(exact_key(&bytes), rule, 0)?;
                }
                Entry::Prefix(bytes) => self.insert_in_trie("PREFIXES", &bytes, rule)?,
                Entry::Suffix(bytes) => {
                    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
                    self.insert_in_trie("SUFFIXES", &reversed, rule)?;
                }
                Entry::Inode(inode) => {
                    let mut map: HashMap<_, u64, u32> = map_of(&mut self.ebpf, "INODES")?;
                    map.insert(inode, rule, 0)?;
                }
            }
        }
        for pid in &options.pids {
            let mut map: HashMap<_, u32, u8> = map_of(&mut self.ebpf, "PIDS")?;
            map.insert(pid, 1, 0)?;
        }
        for cgroup in &options.cgroups {
            let mut map: HashMap<_, u64, u8> = map_of(&mut self.ebpf, "CGROUPS")?;
            map.insert(cgroup, 1, 0)?;
        }
        Ok(())
    }

    fn insert_in_trie(&mut self, name: &str, bytes: &[u8], rule: u32) -> anyhow::Result<()> {
        let mut data = [0; ADDRESS_MAX];
        let (used, _) = data.split_at_mut(bytes.len().min(ADDRESS_MAX));
        used.copy_from_slice(&bytes[..used.len()]);
        let bits = u32::try_from(used.len() * 8)?;
        let mut map: LpmTrie<_, [u8; ADDRESS_MAX], u32> = map_of(&mut self.ebpf, name)?;
        map.insert(&Key::new(bits, data), rule, 0)?;
        Ok(())
    }

    /// The map that the rings hang on; can be taken once.
    ///
    /// # Errors
    /// If the object has no such map, which is a defect.
    pub fn take_events(&mut self) -> anyhow::Result<PerfEventArray<MapData>> {
        let map = self.ebpf.take_map("EVENTS").context("no map EVENTS")?;
        Ok(PerfEventArray::try_from(map)?)
    }

    /// Tries what this kernel can do, chooses a plan and attaches it. If a program that the plan
    /// can't do without is refused, that is a fact too, and the next plan is tried.
    ///
    /// # Errors
    /// See [`AttachError`].
    pub fn attach(mut self, forced: Option<PlanName>) -> Result<Loaded, AttachError> {
        let mut facts = self.find_facts(forced)?;
        loop {
            let choice = plan::choose(&facts, forced).map_err(AttachError::NoPlan)?;
            let (attached, limits) = match self.attach_plan(choice.name)? {
                Ok(attached) => attached,
                Err(refusal) if forced.is_none() && choice.name != PlanName::Tracepoints => {
                    facts.kprobe = Some(Err(refusal));
                    facts.tracepoint = Some(self.attempt(Emitter::TraceReceive)?);
                    continue;
                }
                Err(refusal) => {
                    return Err(AttachError::NoPlan(plan::NoPlan {
                        tried: vec![("a program that the plan can't do without", refusal)],
                    }));
                }
            };
            return Ok(Loaded {
                #[cfg(feature = "kernel-log")]
                log: crate::probe::kernel_log::KernelLog::take(&mut self.ebpf),
                ebpf: self.ebpf,
                plan: Plan {
                    name: choice.name,
                    reason: choice.reason,
                    limits,
                    programs: attached
                        .iter()
                        .map(|program| (program.program().to_owned(), program.target().to_owned()))
                        .collect(),
                },
                programs: attached,
                warnings: self.warnings,
                skipped: None,
            });
        }
    }

    /// Attaches the programs of a plan, and nothing else. The inner error is the refusal of a
    /// program that the plan can't do without.
    #[expect(clippy::type_complexity, reason = "used once")]
    fn attach_plan(
        &mut self,
        name: PlanName,
    ) -> Result<Result<(Vec<Emitter>, Vec<String>), String>, AttachError> {
        let mut attached = Vec::new();
        let mut limits: Vec<String> = plan::limits(name)
            .iter()
            .map(|limit| (*limit).to_owned())
            .collect();
        // What was tried before, and is not of this plan.
        for program in Emitter::ALL {
            if !plan::programs(name).contains(&program) {
                drop_program(&mut self.ebpf, program);
            }
        }
        for &program in plan::programs(name) {
            match (self.attempt(program)?, plan::limit_without(program)) {
                (Ok(()), _) => attached.push(program),
                (Err(error), Some(limit)) => {
                    limits.push(format!("{limit} ({}: {error})", program.target()));
                }
                (Err(error), None) => return Ok(Err(format!("{}: {error}", program.target()))),
            }
        }
        Ok(Ok((attached, limits)))
    }

    /// Tries, for real, what the plans differ in.
    fn find_facts(&mut self, forced: Option<PlanName>) -> Result<Facts, AttachError> {
        let mut facts = Facts::default();
        if forced != Some(PlanName::Tracepoints) {
            facts.kprobe = Some(self.attempt(Emitter::CopyEntry)?);
            if forced != Some(PlanName::NoTrampolines) && matches!(facts.kprobe, Some(Ok(()))) {
                facts.trampoline = Some(self.attempt(Emitter::SendExitTrampoline)?);
            }
        }
        if forced == Some(PlanName::Tracepoints)
            || (forced.is_none() && !matches!(facts.kprobe, Some(Ok(()))))
        {
            facts.tracepoint = Some(self.attempt(Emitter::TraceReceive)?);
        }
        Ok(facts)
    }

    /// Tries one program. A refusal is a fact, except where it is the verifier's: that is a defect
    /// of ours that a lesser plan must not hide.
    fn attempt(&mut self, program: Emitter) -> Result<Attempt, AttachError> {
        match self.try_program(program) {
            Ok(()) => Ok(Ok(())),
            Err(error) if is_verifier_refusal(&error) => Err(refused_program(program, error)),
            Err(error) => Ok(Err(format!("{error:#}"))),
        }
    }

    /// Loads and attaches a program, unless that was done.
    fn try_program(&mut self, emitter: Emitter) -> anyhow::Result<()> {
        let name = emitter.program();
        let target = emitter.target();
        let program = self
            .ebpf
            .program_mut(name)
            .with_context(|| format!("no program {name}"))?;
        let is_loaded = program.fd().is_ok();
        if is_loaded {
            return Ok(());
        }
        match program {
            Program::KProbe(program) => {
                load_program(program.load())?;
                attach_program(program.attach(target, 0).map(drop)).inspect_err(|_| {
                    let _ = program.unload();
                })
            }
            Program::FExit(program) => {
                load_program(FExit::load(program, target, &self.btf))?;
                attach_program(program.attach().map(drop)).inspect_err(|_| {
                    let _ = program.unload();
                })
            }
            Program::RawTracePoint(program) => {
                load_program(RawTracePoint::load(program))?;
                attach_program(program.attach(target).map(drop)).inspect_err(|_| {
                    let _ = program.unload();
                })
            }
            other => Err(anyhow!(
                "program {name} has the unexpected type {:?}",
                other.prog_type()
            )),
        }
    }
}

impl Loaded {
    /// What all programs have counted on all CPUs.
    ///
    /// # Errors
    /// If the kernel does not let the map be read.
    pub fn counters(&self) -> anyhow::Result<Counters> {
        let map = self.ebpf.map("COUNTERS").context("no map COUNTERS")?;
        let map: PerCpuArray<_, [u64; COUNTER_FIELDS]> = PerCpuArray::try_from(map)?;
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

/// A map of the object, as the type it has there.
fn map_of<'a, M: TryFrom<&'a mut Map, Error = MapError>>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> anyhow::Result<M> {
    let map = ebpf
        .map_mut(name)
        .with_context(|| format!("no map {name}"))?;
    M::try_from(map).with_context(|| format!("map {name}"))
}

fn drop_program(ebpf: &mut Ebpf, emitter: Emitter) {
    if let Some(program) = ebpf.program_mut(emitter.program()) {
        // Not loaded: nothing to drop.
        let _ = match program {
            Program::KProbe(program) => program.unload(),
            Program::FExit(program) => program.unload(),
            Program::RawTracePoint(program) => program.unload(),
            _ => Ok(()),
        };
    }
}

/// The key of `EXACT` for an address.
fn exact_key(bytes: &[u8]) -> [u8; 112] {
    let mut address = Address::EMPTY;
    let used = bytes.len().min(ADDRESS_MAX);
    address.len = u32::try_from(used).unwrap_or(0);
    address.bytes[..used].copy_from_slice(&bytes[..used]);
    zerocopy::transmute!(address)
}

/// How many CPUs this machine may ever have, by `/sys/devices/system/cpu/possible`.
fn possible_cpus() -> usize {
    aya::util::nr_cpus().unwrap_or(1)
}

fn what_is_lost(feature: Feature) -> &'static str {
    match feature {
        Feature::Capture => "anything",
        Feature::SenderAddress => "the address as the sender wrote it",
        Feature::SocketInode => "inode numbers of sockets",
        Feature::QueueLength => "queue lengths",
        Feature::Credentials => "credentials",
        Feature::FileDescriptors => "the number of file descriptors passed",
        Feature::PidNamespace => "pids in other namespaces",
        Feature::Process => "start time, parent, or name of some processes",
        Feature::CgroupPath => "cgroup paths",
        Feature::Exit => "exits of senders",
    }
}

/// `recursion_misses` of a program's fdinfo.
fn recursion_misses(fdinfo: &str) -> Option<u64> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))
        .and_then(|count| count.trim().parse().ok())
}

fn load_program(result: Result<(), ProgramError>) -> anyhow::Result<()> {
    result.context("it can't be loaded")
}

fn attach_program(result: Result<(), ProgramError>) -> anyhow::Result<()> {
    result.context("it can't be attached")
}

/// Whether the verifier had something to say.
fn is_verifier_refusal(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<ProgramError>(),
            Some(ProgramError::LoadError { verifier_log, io_error })
                if !verifier_log.to_string().trim().is_empty()
                    && io_error.raw_os_error() != Some(EPERM)
        )
    })
}

fn is_permission(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.raw_os_error() == Some(EPERM))
    })
}

fn refused_program(program: Emitter, error: anyhow::Error) -> AttachError {
    refused_anyhow(
        &format!(
            "attach program {} to {}",
            program.program(),
            program.target()
        ),
        error,
    )
}

fn refused(what: &str, error: EbpfError) -> AttachError {
    refused_anyhow(what, anyhow::Error::new(error))
}

/// A refusal, as a lack of privileges where it is one.
#[must_use]
pub fn refused_anyhow(what: &str, source: anyhow::Error) -> AttachError {
    if is_permission(&source) {
        let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
        AttachError::NotPermitted {
            what: what.to_owned(),
            missing: missing_capabilities(&status),
            source,
        }
    } else {
        AttachError::Refused {
            what: what.to_owned(),
            source,
        }
    }
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

    #[test]
    fn the_key_of_a_whole_address_has_its_length_in_front() {
        let key = exact_key(b"\0ab");
        assert_eq!(key[..8], [3, 0, 0, 0, 0, b'a', b'b', 0]);
    }
}
