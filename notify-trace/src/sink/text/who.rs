//! Who a process is, in a few words: its container, else its unit, else its session, else its
//! cgroup.

use super::style::Style;
use super::words;
use crate::escape::escape_field;
use crate::event::{Attribution, Container, Process, Runtime, Unit};

/// Characters of a container's id that stand for it where it has no name.
const ID_COLUMNS: usize = 12;

/// Most characters of a cgroup's path.
const PATH_COLUMNS: usize = 300;

/// `nginx.service`, `docker:web`, `backup.service (user 1000)`. A `~` in front: it was read later, not
/// at the moment of the record.
pub(super) fn who(process: Option<&Process>) -> (String, Style) {
    let Some(process) = process else {
        return ("?".to_owned(), Style::Odd);
    };
    let Some(is_of) = process.attribution.as_deref() else {
        return (by_cgroup(process), Style::Unit);
    };
    let (words, style) = match &is_of.container {
        Some(container) => (of_container(container, is_of), Style::Container),
        None => (
            of_unit(is_of).unwrap_or_else(|| by_cgroup(process)),
            Style::Unit,
        ),
    };
    let mark = if is_of.is_later { "~" } else { "" };
    (format!("{mark}{words}"), style)
}

/// `docker:web`, `containerd:shop/web-7d9/web`, `nspawn:deb/nginx.service`, `podman:web (monitor)`.
fn of_container(container: &Container, is_of: &Attribution) -> String {
    let runtime = container.runtime.map_or("container", words::runtime);
    let name = match &container.name {
        Some(name) => escape_field(name.as_bytes()).to_string(),
        // Ids of these are names.
        None if matches!(
            container.runtime,
            Some(Runtime::Nspawn | Runtime::Lxc | Runtime::Runc | Runtime::Crun | Runtime::Youki)
        ) =>
        {
            escape_field(container.id.as_bytes()).to_string()
        }
        None => {
            let short: String = container.id.chars().take(ID_COLUMNS).collect();
            escape_field(short.as_bytes()).to_string()
        }
    };
    let pod = is_of.pod.as_ref();
    let labels = [
        pod.and_then(|pod| pod.namespace.as_ref()),
        pod.and_then(|pod| pod.name.as_ref()),
    ];
    let mut path: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|label| escape_field(label.as_bytes()).to_string())
        .collect();
    path.push(name);
    path.extend(container.unit.as_ref().map(unit));
    let monitor = if container.is_monitor {
        " (monitor)"
    } else {
        ""
    };
    format!("{runtime}:{}{monitor}", path.join("/"))
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
    name.or_else(|| is_of.slice.as_ref().map(|slice| plain(slice)))
}

/// A unit's name as `systemctl` takes it.
pub(super) fn unit(unit: &Unit) -> String {
    plain(&unit.name)
}

/// A unit's name may have backslashes of its own, which are no escapes of ours: nothing else that
/// is allowed in one is dangerous.
fn plain(name: &str) -> String {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if name.bytes().all(is_allowed) {
        name.to_owned()
    } else {
        escape_field(name.as_bytes()).to_string()
    }
}

fn by_cgroup(process: &Process) -> String {
    match &process.cgroup {
        None => "(no cgroup v2)".to_owned(),
        Some(cgroup) => match &cgroup.path {
            Some(path) => words::cut(escape_field(&path.0), PATH_COLUMNS),
            None => format!("(cgroup {})", cgroup.id),
        },
    }
}
