//! From a cgroup's path to who lives in it: unit, slice, user, session, machine, container, pod.
//!
//! Pure. `unit` has systemd's rules, `container` those of the runtimes; this module puts them
//! together and decides which of a process's cgroups to believe where there are several.

mod container;
mod lines;
mod unit;

#[cfg(test)]
mod tests;

pub use container::is_id;
pub use lines::{FOREIGN_NAMESPACE, are_hosts, has_v1, later};
pub use unit::has_suffix;

use crate::event::{Attribution, Unit};

/// Where the cgroup v2 hierarchy is mounted: alone, or beside v1 (systemd's hybrid mode).
pub const V2_ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// What a path says, `None` if it says nothing at all: the root, or a name that nobody's rule makes.
#[must_use]
pub fn attribute(path: &[u8]) -> Option<Attribution> {
    let path = std::str::from_utf8(path).ok()?;
    let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let host = units(&components);
    let found = container::find(&components);
    let user = host.user;
    let in_manager = host
        .unit
        .as_ref()
        .filter(|unit| has_users_units(unit))
        .map(|_| units(&components[host.used..]));
    let (user_unit, user_slice) = in_manager.map_or((None, None), |it| (it.unit, it.slice));
    let machine = components
        .get(host.used.wrapping_sub(1))
        .and_then(|unit| container::machine(unit));
    let container = found.container.map(|container| {
        let inner = units(&components[found.inside..]);
        let unit = inner.unit.filter(|_| !container.is_monitor);
        crate::event::Container { unit, ..container }
    });
    let attribution = Attribution {
        session: host.unit.as_ref().and_then(session),
        unit: host.unit,
        slice: host.slice,
        user,
        user_unit,
        user_slice,
        machine,
        container,
        pod: found.pod,
        is_later: false,
    };
    (attribution != Attribution::default()).then_some(attribution)
}

/// What one service manager made of the beginning of a path.
struct Units {
    unit: Option<Unit>,
    slice: Option<String>,
    user: Option<u32>,
    /// How many components that are.
    used: usize,
}

/// Slices first, then a unit, as `cg_path_get_unit` has it.
fn units(components: &[&str]) -> Units {
    let mut slice = None;
    let mut user = None;
    let mut used = 0;
    while let Some(name) = components
        .get(used)
        .and_then(|component| unit::slice_of_component(component))
    {
        user = name
            .strip_prefix("user-")
            .and_then(|rest| rest.strip_suffix(".slice"))
            .and_then(|uid| uid.parse().ok())
            .or(user);
        slice = Some(name.to_owned());
        used += 1;
    }
    let unit = components
        .get(used)
        .and_then(|component| unit::of_component(component));
    used += usize::from(unit.is_some());
    let of_manager = unit.as_ref().and_then(|unit| {
        let uid = unit.name.strip_prefix("user@")?.strip_suffix(".service")?;
        uid.parse().ok()
    });
    Units {
        unit,
        slice,
        user: user.or(of_manager),
        used,
    }
}

/// Whether a user's units are below this one: a user's or a capsule's service manager, or a session,
/// as `skip_user_manager` and `skip_session` have it.
fn has_users_units(unit: &Unit) -> bool {
    let template = unit.template.as_deref();
    matches!(template, Some("user@.service" | "capsule@.service")) || session(unit).is_some()
}

/// `session-ID.scope`, as `cg_path_get_session` has it.
fn session(unit: &Unit) -> Option<String> {
    let id = unit.name.strip_prefix("session-")?.strip_suffix(".scope")?;
    let is_valid = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_valid.then(|| id.to_owned())
}
