//! Who a process is, and how that stands out: else its cgroup.

use super::style::Style;
use crate::escape::escape_field;
use crate::event::Process;
use crate::words;

/// Most characters of a cgroup's path.
const PATH_COLUMNS: usize = 300;

/// The words of [`who`](crate::who::who), else the cgroup.
pub(super) fn who(process: Option<&Process>) -> (String, Style) {
    let Some(process) = process else {
        return ("?".to_owned(), Style::Odd);
    };
    let is_of = process.attribution.as_deref();
    let words = is_of.and_then(crate::who::who);
    let style = match is_of {
        Some(is_of) if is_of.container.is_some() => Style::Container,
        _ => Style::Unit,
    };
    (words.unwrap_or_else(|| by_cgroup(process)), style)
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
