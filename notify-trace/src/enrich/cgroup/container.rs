//! How container runtimes name the cgroups of containers and pods.
//!
//! There is no specification: the rules are those of the runtimes' sources, and the vectors in
//! `tests` are strings that they really made, each with its source.

use super::unit;
use crate::event::{Container, Pod, Qos, Runtime};

/// Prefixes of a component `PREFIX-ID` or `PREFIX-ID.scope` whose id is 64 hexadecimal digits.
const BY_PREFIX: [(&str, Runtime, bool); 8] = [
    ("docker-", Runtime::Docker, false),
    ("cri-containerd-", Runtime::Containerd, false),
    ("nerdctl-", Runtime::Containerd, false),
    ("crio-conmon-", Runtime::CriO, true),
    ("crio-", Runtime::CriO, false),
    ("libpod-conmon-", Runtime::Podman, true),
    ("libpod-payload-", Runtime::Podman, false),
    ("libpod-", Runtime::Podman, false),
];

/// Prefixes of scopes that runtimes make for containers of any name.
const NAMED_SCOPES: [(&str, Runtime); 3] = [
    ("runc-", Runtime::Runc),
    ("crun-", Runtime::Crun),
    ("youki-", Runtime::Youki),
];

/// Prefixes of what LXC makes, with whether it is the monitor's.
const LXC_PREFIXES: [(&str, bool); 2] = [("lxc.payload.", false), ("lxc.monitor.", true)];

/// What the components of a path say, and how many of them were used for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The innermost container, with those around it.
    pub(super) container: Option<Container>,
    /// The pod of that container.
    pub(super) pod: Option<Pod>,
    /// The components behind the innermost container.
    pub(super) inside: usize,
}

/// Looks for containers and pods from the root of the hierarchy down.
pub(super) fn find(components: &[&str]) -> Found {
    let mut found = Found::default();
    let mut at = 0;
    while at < components.len() {
        let before = at.checked_sub(1).and_then(|last| components.get(last));
        let (here, after) = (components[at], &components[at + 1..]);
        if let Some(pod) = pod(here, &components[..at]) {
            found.pod = Some(pod);
        }
        if let Some((container, used)) = container(here, before.copied(), after, &mut found.pod) {
            found.container = Some(Container {
                outer: found.container.take().map(Box::new),
                ..container
            });
            at += used;
            found.inside = at + 1;
        }
        at += 1;
    }
    found
}

/// The container that a component stands for, and how many more components belong to it.
fn container(
    here: &str,
    before: Option<&str>,
    after: &[&str],
    pod: &mut Option<Pod>,
) -> Option<(Container, usize)> {
    if let Some((slice, rest)) = here.split_once(':') {
        // A runtime in cgroupfs mode that was given a path for systemd: SLICE:PREFIX:ID.
        let (prefix, id) = rest.split_once(':')?;
        let runtime = BY_PREFIX
            .iter()
            .find(|(known, ..)| known.strip_suffix('-') == Some(prefix))?
            .1;
        *pod = self::pod(slice, &[]).or(pod.take());
        return (!id.is_empty()).then(|| (new(id.to_owned(), Some(runtime)), 0));
    }
    if let Some(container) = by_prefix(here) {
        // podman and cri-o give a container that runs systemd a cgroup below its own.
        let used = usize::from(after.first() == Some(&"container"));
        return Some((container, used));
    }
    if let Some((runtime, name)) = NAMED_SCOPES.iter().find_map(|(prefix, runtime)| {
        let name = here.strip_suffix(".scope")?.strip_prefix(prefix)?;
        Some((*runtime, name))
    }) {
        let id = String::from_utf8(unit::unescape(&name.replace('-', "\\x2d"))).ok()?;
        return (!id.is_empty()).then(|| (new(id, Some(runtime)), 0));
    }
    if is_id(here) {
        return Some((new(here.to_owned(), runtime_of_parent(before)), 0));
    }
    lxc(here, before, after).or_else(|| nspawn(here, after))
}

fn new(id: String, runtime: Option<Runtime>) -> Container {
    Container {
        id,
        runtime,
        name: None,
        is_monitor: false,
        unit: None,
        outer: None,
    }
}

/// `docker-ID.scope` and its like.
fn by_prefix(component: &str) -> Option<Container> {
    let stem = component.strip_suffix(".scope").unwrap_or(component);
    BY_PREFIX.iter().find_map(|&(prefix, runtime, is_monitor)| {
        let id = stem.strip_prefix(prefix).filter(|id| is_id(id))?;
        Some(Container {
            is_monitor,
            ..new(id.to_owned(), Some(runtime))
        })
    })
}

/// Whose a bare id is: dockerd's, or that of a namespace of containerd.
fn runtime_of_parent(parent: Option<&str>) -> Option<Runtime> {
    match parent? {
        "docker" | "moby" => Some(Runtime::Docker),
        "k8s.io" => Some(Runtime::Containerd),
        _ => None,
    }
}

/// `/lxc.payload.NAME`, `/lxc.payload/NAME`, `/lxc/NAME[/ns]`, and the same for the monitor.
fn lxc(here: &str, before: Option<&str>, after: &[&str]) -> Option<(Container, usize)> {
    let make = |name: &str, is_monitor, used| {
        let container = Container {
            is_monitor,
            ..new(name.to_owned(), Some(Runtime::Lxc))
        };
        (!name.is_empty()).then_some((container, used))
    };
    for (prefix, is_monitor) in LXC_PREFIXES {
        if let Some(name) = here.strip_prefix(prefix) {
            return make(name, is_monitor, 0);
        }
    }
    match before {
        Some("lxc") => make(here, false, usize::from(after.first() == Some(&"ns"))),
        Some("lxc.payload") => make(here, false, 0),
        Some("lxc.monitor") => make(here, true, 0),
        _ => None,
    }
}

/// nspawn keeps itself in `supervisor` and the container in `payload`, below its unit.
fn nspawn(here: &str, after: &[&str]) -> Option<(Container, usize)> {
    let is_monitor = match after.first() {
        Some(&"payload") => false,
        Some(&"supervisor") => true,
        _ => return None,
    };
    let name = machine(here)?;
    let container = Container {
        is_monitor,
        ..new(name, Some(Runtime::Nspawn))
    };
    Some((container, 1))
}

/// The machine that a unit of the host is.
pub(super) fn machine(component: &str) -> Option<String> {
    let name = unit::of_component(component)?.name;
    if let Some(escaped) = name
        .strip_prefix("machine-")
        .and_then(|rest| rest.strip_suffix(".scope"))
    {
        return String::from_utf8(unit::unescape(escaped))
            .ok()
            .filter(|name| unit::is_machine_name(name));
    }
    // Both templates pass the instance on as it is (%i).
    let rest = name
        .strip_prefix("systemd-nspawn@")
        .or_else(|| name.strip_prefix("systemd-vmspawn@"))?;
    let name = rest.strip_suffix(".service")?;
    unit::is_machine_name(name).then(|| name.to_owned())
}

/// The pod that a component stands for; `above` are the components before it.
fn pod(component: &str, above: &[&str]) -> Option<Pod> {
    let stem = component.strip_suffix(".slice").unwrap_or(component);
    if let Some((_, id)) = stem.rsplit_once("libpod_pod_") {
        return is_id(id).then(|| new_pod(id.to_owned(), None));
    }
    if let Some((before, uid)) = stem.rsplit_once("-pod")
        && component.ends_with(".slice")
        && let Some(at) = before.rfind("kubepods")
    {
        let qos = match &before[at + "kubepods".len()..] {
            "" => Some(Qos::Guaranteed),
            "-burstable" => Some(Qos::Burstable),
            "-besteffort" => Some(Qos::BestEffort),
            _ => return None,
        };
        // A dash would begin another slice.
        return is_uid(uid).then(|| new_pod(uid.replace('_', "-"), qos));
    }
    let uid = component.strip_prefix("pod").filter(|uid| is_uid(uid))?;
    let qos = match above {
        [.., "kubepods", "burstable"] => Some(Qos::Burstable),
        [.., "kubepods", "besteffort"] => Some(Qos::BestEffort),
        [.., "kubepods"] => Some(Qos::Guaranteed),
        _ => return None,
    };
    Some(new_pod(uid.to_owned(), qos))
}

fn new_pod(uid: String, qos: Option<Qos>) -> Pod {
    Pod {
        uid,
        qos,
        name: None,
        namespace: None,
    }
}

/// 64 hexadecimal digits in lower case, as every OCI engine makes its ids.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_lower_hex)
}

/// A UUID, with dashes or underscores, or the 32 digits of a static pod.
fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| is_lower_hex(*byte)).count();
    let is_allowed = |byte: u8| is_lower_hex(byte) || byte == b'-' || byte == b'_';
    digits == 32 && text.bytes().all(is_allowed)
}

const fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (byte >= b'a' && byte <= b'f')
}
