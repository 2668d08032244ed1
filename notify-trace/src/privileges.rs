//! What each thread of the agent may still do, once everything is attached.
//!
//! Capabilities belong to threads. Those who run a trace by hand keep theirs: only an agent begins to
//! [`limit`] itself, and then each thread says what it is for.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::quantity::kernel_version;

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads the rings and the counters, gives rings to new CPUs, and looks at processes that send.
    Capture,
    /// Looks at others' processes and files: names of containers, units that don't become ready.
    Look,
    /// Talks: to the disk, to the service manager, to whoever reads the metrics.
    Talk,
}

/// Since this version (`bpf: refine kernel.unprivileged_bpf_disabled behaviour`, 5.19) a map may be read
/// and written by whoever has its descriptor.
const MAPS_BY_DESCRIPTOR: (u32, u32) = (5, 19);

static IS_LIMITED: AtomicBool = AtomicBool::new(false);

/// From now on threads give up what they don't need.
pub fn limit() {
    IS_LIMITED.store(true, Ordering::Relaxed);
}

/// This thread is for that: it gives up all other capabilities, for good.
pub fn enter(role: Role) {
    if !IS_LIMITED.load(Ordering::Relaxed) {
        return;
    }
    let result = capabilities(None).and_then(|has| {
        let release = rustix::system::uname();
        let keeps = has.permitted & kept(role, &release.release().to_string_lossy());
        set_capabilities(
            None,
            CapabilitySets {
                effective: keeps,
                permitted: keeps,
                inheritable: CapabilitySet::empty(),
            },
        )
    });
    if let Err(error) = result {
        eprintln!("notify-trace: capabilities can't be given up: {error}");
    }
}

/// What a thread needs on this kernel.
fn kept(role: Role, release: &str) -> CapabilitySet {
    let looks = CapabilitySet::SYS_PTRACE | CapabilitySet::DAC_READ_SEARCH;
    match role {
        // A ring for a CPU that comes up is a perf event of that CPU.
        Role::Capture if kernel_version(release) >= Some(MAPS_BY_DESCRIPTOR) => {
            looks | CapabilitySet::PERFMON
        }
        Role::Capture => looks | CapabilitySet::PERFMON | CapabilitySet::BPF,
        Role::Look => looks,
        Role::Talk => CapabilitySet::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_loaded_once_so_newer_kernels_need_no_cap_bpf() {
        assert!(kept(Role::Capture, "5.10.0-30-amd64").contains(CapabilitySet::BPF));
        assert!(!kept(Role::Capture, "5.19.1").contains(CapabilitySet::BPF));
        assert!(!kept(Role::Capture, "6.12.118+deb13").contains(CapabilitySet::BPF));
        assert!(kept(Role::Capture, "what").contains(CapabilitySet::BPF));
        assert!(kept(Role::Talk, "6.12.1").is_empty());
    }

    #[test]
    fn who_is_no_agent_keeps_all() {
        let before = capabilities(None).expect("they can be read");
        enter(Role::Talk);
        assert_eq!(capabilities(None).expect("they can be read"), before);
    }
}
