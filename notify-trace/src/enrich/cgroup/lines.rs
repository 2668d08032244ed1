//! Which line of `/proc/PID/cgroup` says most of a process, where the v2 path that the kernel
//! program read says too little: on hosts with v1 hierarchies, or when that path is not known.
//!
//! Format: `HIERARCHY-ID:CONTROLLERS:PATH`, cgroups(7).

use std::path::Path;

use super::attribute;
use crate::event::{Attribution, Blob, LaterCgroup};

/// The line that adds to what the v2 path says (`None`: it isn't known), with what it says.
#[must_use]
pub fn later(table: &[u8], v2_path: Option<&[u8]>) -> Option<(LaterCgroup, Attribution)> {
    let known = v2_path.and_then(attribute);
    let mut lines: Vec<(&str, &[u8])> = table
        .split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect();
    // A v2 line adds nothing to a v2 path, which is of the very moment of the record.
    lines.retain(|(hierarchy, _)| !hierarchy.is_empty() || v2_path.is_none());
    // v2 and systemd's own hierarchy first, then the others as they stand.
    lines.sort_by_key(|(hierarchy, _)| match *hierarchy {
        "" => 0,
        "name=systemd" => 1,
        _ => 2,
    });
    let said: Vec<(LaterCgroup, Attribution)> = lines
        .into_iter()
        .filter_map(|(hierarchy, path)| {
            let line = LaterCgroup {
                hierarchy: hierarchy.to_owned(),
                path: Blob::from(path),
            };
            Some((line, attribute(path)?))
        })
        .collect();
    let has_container = |it: &Attribution| it.container.is_some();
    let wanted = match &known {
        Some(known) if has_container(known) => return None,
        // On hybrid hosts the v2 path may be that of the runtime's daemon.
        Some(_) => said.iter().find(|(_, it)| has_container(it)),
        None => said
            .iter()
            .find(|(_, it)| has_container(it))
            .or(said.first()),
    };
    wanted.cloned()
}

/// Whether there are hierarchies besides v2.
#[must_use]
pub fn has_v1(table: &[u8]) -> bool {
    table
        .split(|byte| *byte == b'\n')
        .any(|line| !line.is_empty() && !line.starts_with(b"0::"))
}

/// Whether paths in `/proc/PID/cgroup` begin at the hierarchies' own roots: in a cgroup namespace of
/// our own they don't, and process 1 is outside of it (cgroup_namespaces(7)).
#[must_use]
pub fn are_hosts(proc: &Path) -> bool {
    let table = std::fs::read(proc.join("1/cgroup")).unwrap_or_default();
    let mut paths = table.split(|byte| *byte == b'\n');
    !paths.any(|line| line.split(|byte| *byte == b'/').any(|part| part == b".."))
}

/// What a view from within a cgroup namespace of our own can't have, for a warning.
pub const FOREIGN_NAMESPACE: &str = "this is not the host's cgroup namespace, so what /proc says of \
    processes' cgroups can't be used; run it in a container with the host's (--cgroupns=host)";

/// Hierarchy and path of a line, if the path says where in the hierarchy that is: one that leads out
/// of our own cgroup namespace (`/..`) doesn't.
fn parse(line: &[u8]) -> Option<(&str, &[u8])> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let (_, hierarchy, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_outside = path.split(|byte| *byte == b'/').any(|part| part == b"..");
    (path.len() > 1 && !is_outside).then_some((std::str::from_utf8(hierarchy).ok()?, path))
}
