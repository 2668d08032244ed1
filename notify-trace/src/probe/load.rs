//! Loads the object and fills its maps; what is attached of it is decided in `attach`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::scope;

use anyhow::Context as _;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapError, RingBuf};
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Btf as AyaBtf, Ebpf, include_bytes_aligned};
use notify_trace_common::address::{ADDRESS_MAX, Address};
use notify_trace_common::fields::Feature;
use notify_trace_common::limits::{CPUS_WITH_SLOTS_MAX, Emitter, SLOTS_PER_CPU};

use crate::event::PlanName;
use crate::probe::btf::Btf;
use crate::probe::error::{AttachError, refused};
use crate::probe::kernel_types::{self, Types, join};
use crate::probe::loader;
use crate::probe::ring::Maps;
use crate::probe::self_test;
use crate::select::{Entry, Rules};

/// The kernel side, built by `build.rs`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/notify-trace-ebpf"));

/// Number of the rule that stands for the self-test's own socket.
pub const SELF_TEST_RULE: u32 = u32::MAX;

/// Entries of `CALLS` in the plan of trampolines: only calls that find no place in `SLOTS` go there.
const OVERFLOW: u32 = 4_096;

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

/// What was tried on this kernel before anything is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// Programs get the current task with its type (Linux 5.11, for all programs 5.18).
    has_typed_task: bool,
}

impl Tried {
    /// Tries it; also what aya asks the kernel once and keeps.
    #[must_use]
    pub fn now() -> Self {
        let _ = aya::features();
        let helper = BpfHelper::BPF_FUNC_get_current_task_btf;
        Self {
            has_typed_task: is_helper_supported(ProgramType::KProbe, helper).unwrap_or(false),
        }
    }

    /// Whether maps may be counted against the limit of locked memory, as rings are: they were before Linux 5.11, which
    /// is the first that has a typed task.
    #[must_use]
    pub const fn may_count_maps_as_locked(self) -> bool {
        !self.has_typed_task
    }
}

/// The plans that the maps are large enough for. A table that they don't use has one entry: those for 16,384 take
/// a while to be made, and megabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// That of trampolines alone.
    Trampolines,
    /// All others.
    Others,
}

/// Loads the object and makes its maps; attaches nothing yet.
///
/// # Errors
/// See [`AttachError`].
pub fn load(
    options: &LoadOptions,
    rules: &Rules,
    types: &Types,
    tried: Tried,
    room: Room,
) -> Result<Loading, AttachError> {
    let entries = entries(options, rules);
    let (loaded, functions) = scope(|threads| {
        let functions = threads.spawn(|| types.targets());
        let loaded = types
            .parse()
            .and_then(|btf| load_object(options, &entries, room, &btf, tried));
        (loaded, join(functions))
    });
    let (ebpf, warnings) = loaded?;
    let functions = functions?;
    let mut loading = Loading {
        ebpf,
        functions,
        attached: Vec::new(),
        warnings,
    };
    loading
        .fill(options, entries)
        .map_err(|error| AttachError::Refused {
            what: "fill a map".to_owned(),
            source: error,
        })?;
    Ok(loading)
}

/// Sets what the programs take for constants, sizes the maps and makes them; also what can't be told here.
fn load_object(
    options: &LoadOptions,
    entries: &[(Entry, u32)],
    room: Room,
    btf: &Btf<'_>,
    tried: Tried,
) -> Result<(Ebpf, Vec<String>), AttachError> {
    let mut loader = loader::take();
    let (offsets, warnings) = kernel_types::offsets_and_limits(btf)?;
    let values: Vec<(&'static str, u32)> = offsets
        .iter()
        .map(|(field, offset)| (field.global, offset))
        .collect();
    let filter_pids = u32::from(!options.pids.is_empty());
    let filter_cgroups = u32::from(!options.cgroups.is_empty());
    for (global, offset) in &values {
        loader.override_global(global, offset, true);
    }
    loader.override_global("FILTER_PIDS", &filter_pids, true);
    loader.override_global("FILTER_CGROUPS", &filter_cgroups, true);
    let cpus = u32::try_from(possible_cpus()).unwrap_or(u32::MAX);
    let cpus_with_slots = match room {
        Room::Trampolines => cpus.min(CPUS_WITH_SLOTS_MAX),
        Room::Others => 0,
    };
    loader.override_global("CPUS", &cpus_with_slots, true);
    // By its start, among others, a task is known again.
    let has_fields = !offsets
        .missing()
        .any(|(field, _)| field.feature == Feature::Process);
    let typed_task = u32::from(has_fields && tried.has_typed_task);
    loader.override_global("TYPED_TASK", &typed_task, true);
    // An LRU hash hands its entries out to CPUs in batches of 128.
    let aging = 16_384.max(cpus.saturating_mul(256));
    for map in ["QUEUED", "RECEIVERS", "CGROUPS_SEEN", "SENDERS"] {
        loader.map_max_entries(map, aging);
    }
    // Filled once, right after they are made.
    for (map, used) in used(options, entries) {
        loader.map_max_entries(map, u32::try_from(used).unwrap_or(u32::MAX).max(1));
    }
    match room {
        Room::Trampolines => {
            loader.map_max_entries("CALLS", OVERFLOW);
            loader.map_max_entries("SLOTS", cpus_with_slots.saturating_mul(SLOTS_PER_CPU));
            for map in [
                "RECEIVES",
                "CONNECTS",
                "LAST_SENDERS",
                "WANTED",
                "RECEIVING",
            ] {
                loader.map_max_entries(map, 1);
            }
        }
        Room::Others => {
            loader.map_max_entries("CLAIMS", 1);
            let may_trace = options
                .plan
                .is_none_or(|plan| plan == PlanName::Tracepoints);
            let (aging, receiving) = if may_trace {
                (aging, 256.max(cpus.saturating_mul(4)))
            } else {
                (1, 1)
            };
            loader.map_max_entries("LAST_SENDERS", aging);
            loader.map_max_entries("WANTED", aging);
            loader.map_max_entries("RECEIVING", receiving);
        }
    }
    let ebpf = loader
        .load(OBJECT)
        .map_err(|error| refused("load the kernel programs", error.into()))?;
    Ok((ebpf, warnings))
}

/// What the kernel side selects by: the rules, and the self-test's own sockets.
fn entries(options: &LoadOptions, rules: &Rules) -> Vec<(Entry, u32)> {
    let mut entries = rules.entries();
    let own = &options.self_test_address;
    entries.push((Entry::Exact(own.clone()), SELF_TEST_RULE));
    entries.push((Entry::Exact(self_test::nobody(own)), SELF_TEST_RULE));
    entries
}

/// The map that an entry goes to.
const fn map_of_entry(entry: &Entry) -> &'static str {
    match entry {
        Entry::Exact(_) => "EXACT",
        Entry::Prefix(_) => "PREFIXES",
        Entry::Suffix(_) => "SUFFIXES",
        Entry::Inode(_) => "INODES",
    }
}

/// How many entries there are for each map that they, or the filters, go to.
fn used(options: &LoadOptions, entries: &[(Entry, u32)]) -> BTreeMap<&'static str, usize> {
    let filters = [
        ("PIDS", options.pids.len()),
        ("CGROUPS", options.cgroups.len()),
    ];
    let none = ["EXACT", "PREFIXES", "SUFFIXES", "INODES"].map(|map| (map, 0));
    let mut used = BTreeMap::from_iter(filters.into_iter().chain(none));
    for (entry, _) in entries {
        *used.entry(map_of_entry(entry)).or_default() += 1;
    }
    used
}

/// The programs, loaded but not attached.
pub struct Loading {
    pub(super) ebpf: Ebpf,
    /// Functions to attach to, with their ids.
    pub(super) functions: AyaBtf,
    /// What was tried and is attached.
    pub(super) attached: Vec<Emitter>,
    pub(super) warnings: Vec<String>,
}

impl Loading {
    /// Puts rules and filters into the maps.
    fn fill(&mut self, options: &LoadOptions, entries: Vec<(Entry, u32)>) -> anyhow::Result<()> {
        for (entry, rule) in entries {
            let name = map_of_entry(&entry);
            match entry {
                Entry::Exact(bytes) => {
                    let mut map: HashMap<_, [u8; 112], u32> = map_of(&mut self.ebpf, name)?;
                    map.insert(exact_key(&bytes), rule, 0)?;
                }
                Entry::Prefix(bytes) => self.insert_in_trie(name, &bytes, rule)?,
                Entry::Suffix(bytes) => {
                    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
                    self.insert_in_trie(name, &reversed, rule)?;
                }
                Entry::Inode(inode) => {
                    let mut map: HashMap<_, u64, u32> = map_of(&mut self.ebpf, name)?;
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

    /// All trampolines are attached: from now on they see what is sent.
    pub(super) fn open(&mut self) -> anyhow::Result<()> {
        let mut open: Array<_, u32> = map_of(&mut self.ebpf, OPEN)?;
        Ok(open.set(0, 1, 0)?)
    }

    /// The maps of the rings; can be taken once.
    ///
    /// # Errors
    /// If the object lacks one, which is a defect.
    pub fn take_ring_maps(&mut self) -> anyhow::Result<Maps> {
        let mut take = |name| {
            self.ebpf
                .take_map(name)
                .with_context(|| format!("no map {name}"))
        };
        // aya puts only rings of its own making into it, and those wake their reader for each record. What
        // it holds are descriptors by CPU, as in an array of numbers.
        let events = match take("EVENTS")? {
            Map::PerfEventArray(data) => Map::Array(data),
            other => other,
        };
        Ok(Maps {
            events: Array::try_from(events).context("map EVENTS")?,
            asleep: Array::try_from(take(ASLEEP)?).context("map ASLEEP")?,
            bell: RingBuf::try_from(take("BELL")?).context("map BELL")?,
        })
    }
}

/// `ASLEEP` is a variable of the object; a map is made of its section.
const ASLEEP: &str = ".bss.asleep";
/// So is `OPEN`.
const OPEN: &str = ".bss.open";

/// A map of the object, as the type it has there.
pub(super) fn map_of<'a, M: TryFrom<&'a mut Map, Error = MapError>>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> anyhow::Result<M> {
    let map = ebpf
        .map_mut(name)
        .with_context(|| format!("no map {name}"))?;
    M::try_from(map).with_context(|| format!("map {name}"))
}

/// The same, to read.
pub(super) fn map<'a, M: TryFrom<&'a Map, Error = MapError>>(
    ebpf: &'a Ebpf,
    name: &str,
) -> anyhow::Result<M> {
    let map = ebpf.map(name).with_context(|| format!("no map {name}"))?;
    M::try_from(map).with_context(|| format!("map {name}"))
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

/// What can't be told without a feature's fields.
#[must_use]
pub const fn what_is_lost(feature: Feature) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_room_in_a_map_of_its_kind() {
        let mut rules = Rules::new(&["/run/a*".into(), "@b".into()], &[], true).unwrap();
        rules.add_inode("environment", 7);
        let options = LoadOptions {
            pids: vec![1, 2],
            self_test_address: b"\0self-test".to_vec(),
            ..LoadOptions::default()
        };
        let entries = entries(&options, &rules);
        let used = used(&options, &entries);
        let count = |is: fn(&Entry) -> bool| entries.iter().filter(|(it, _)| is(it)).count();
        // Both sockets of the self-test, and one of the user.
        assert_eq!(used["EXACT"], count(|it| matches!(it, Entry::Exact(_))));
        assert!(used["EXACT"] >= 3);
        assert_eq!(used["PREFIXES"], count(|it| matches!(it, Entry::Prefix(_))));
        assert_eq!(used["SUFFIXES"], count(|it| matches!(it, Entry::Suffix(_))));
        assert_ne!(used["PREFIXES"], used["SUFFIXES"]);
        assert_eq!((used["INODES"], used["PIDS"], used["CGROUPS"]), (1, 2, 0));
        assert_eq!(used.len(), 6);
    }

    #[test]
    fn the_key_of_a_whole_address_has_its_length_in_front() {
        let key = exact_key(b"\0ab");
        assert_eq!(key[..8], [3, 0, 0, 0, 0, b'a', b'b', 0]);
    }
}
