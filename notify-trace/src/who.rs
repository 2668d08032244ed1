//! Who a process is, in a few words: its container, else its unit, else its session.
//!
//! Nothing of it can act on a terminal, and no two spaces stand together.

use crate::escape::escape_field;
use crate::event::{Attribution, Container, Runtime, Unit};
use crate::words;

/// Characters of a container's id that stand for it where it has no name.
const ID_COLUMNS: usize = 12;

/// `nginx.service`, `docker:web`, `backup.service (user 1000)`; `None` if it is no unit's and no
/// container's. A `~` in front: it was looked up later, not at the moment of the record.
#[must_use]
pub fn who(is_of: &Attribution) -> Option<String> {
    let words = match &is_of.container {
        Some(container) => of_container(container, is_of),
        None => of_unit(is_of)?,
    };
    let mark = if is_of.is_later { "~" } else { "" };
    Some(format!("{mark}{words}"))
}

/// A unit's name, as `systemctl` takes it.
#[must_use]
pub fn unit(unit: &Unit) -> String {
    words::unit(&unit.name)
}

/// The name that a runtime goes by.
#[must_use]
pub const fn runtime(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Docker => "docker",
        Runtime::Containerd => "containerd",
        Runtime::CriO => "cri-o",
        Runtime::Podman => "podman",
        Runtime::Nspawn => "nspawn",
        Runtime::Lxc => "lxc",
        Runtime::Runc => "runc",
        Runtime::Crun => "crun",
        Runtime::Youki => "youki",
    }
}

/// `docker:web`, `containerd:shop/web-7d9/web`, `nspawn:deb/nginx.service`, `podman:web (monitor)`.
fn of_container(container: &Container, is_of: &Attribution) -> String {
    let by = container.runtime.map_or("container", runtime);
    let text = |text: &str| escape_field(text.as_bytes()).to_string();
    let pod = is_of.pod.as_ref();
    let labels = [
        pod.and_then(|pod| pod.namespace.as_ref()),
        pod.and_then(|pod| pod.name.as_ref()),
    ];
    let mut path: Vec<String> = labels.into_iter().flatten().map(|it| text(it)).collect();
    path.push(match &container.name {
        Some(name) => text(name),
        None if is_named_by_id(container.runtime) => text(&container.id),
        None => text(&container.id.chars().take(ID_COLUMNS).collect::<String>()),
    });
    path.extend(container.unit.as_ref().map(unit));
    let monitor = if container.is_monitor {
        " (monitor)"
    } else {
        ""
    };
    let outer = container
        .outer
        .as_ref()
        .map(|outer| format!(" in {}", short(outer)))
        .unwrap_or_default();
    // A user's own: whoever has a cgroup may call those below it as a runtime would.
    let user = is_of
        .user
        .filter(|uid| *uid != 0)
        .map(|uid| format!(" (user {uid})"))
        .unwrap_or_default();
    format!("{by}:{}{monitor}{outer}{user}", path.join("/"))
}

/// A container in a container is told from what it pretends to be by those around it.
fn short(container: &Container) -> String {
    let by = container.runtime.map_or("container", runtime);
    let name = container.name.as_deref().unwrap_or(&container.id);
    let is_whole = container.name.is_some() || is_named_by_id(container.runtime);
    let cells = if is_whole { usize::MAX } else { ID_COLUMNS };
    let name: String = name.chars().take(cells).collect();
    let outer = container
        .outer
        .as_ref()
        .map(|outer| format!(" in {}", short(outer)))
        .unwrap_or_default();
    format!("{by}:{}{outer}", escape_field(name.as_bytes()))
}

/// Whether ids of this runtime are names that people choose.
const fn is_named_by_id(runtime: Option<Runtime>) -> bool {
    matches!(
        runtime,
        Some(Runtime::Nspawn | Runtime::Lxc | Runtime::Runc | Runtime::Crun | Runtime::Youki)
    )
}

fn of_unit(is_of: &Attribution) -> Option<String> {
    let user = is_of
        .user
        .map_or_else(String::new, |uid| format!(" (user {uid})"));
    if let Some(name) = &is_of.user_unit {
        return Some(format!("{}{user}", unit(name)));
    }
    if let Some(session) = &is_of.session {
        let session = escape_field(session.as_bytes());
        return Some(format!("session {session}{user}"));
    }
    let name = is_of.unit.as_ref().map(unit);
    name.or_else(|| is_of.slice.as_ref().map(|slice| words::unit(slice)))
}
