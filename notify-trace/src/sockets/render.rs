//! The report as text: a few lines for each socket, with the processes that use it as a tree.
//!
//! All that comes from outside goes through [`escape_field`], as in the trace; parts are separated
//! by two spaces. On a terminal no line is wider than that.

use std::io::{self, Write};

use super::matching::{Reason, Value, value};
use super::{Process, Report, Socket, Source, Unresolved, Watchdog};
use crate::escape::escape_field;
use crate::event::{Address, Blob};
use crate::who::who;
use crate::words;

/// Levels of a tree that are drawn; deeper ones stand below the last of them.
const LEVELS: usize = 12;

/// Writes the report in lines of at most so many characters.
///
/// # Errors
/// If the output can't be written.
pub fn write(out: &mut impl Write, report: &Report, columns: Option<usize>) -> io::Result<()> {
    let columns = columns.unwrap_or(usize::MAX);
    for line in lines(report) {
        writeln!(out, "{}", words::cut(line, columns))?;
    }
    for line in frame(report) {
        // Our own sentences lose nothing: they go on in another line.
        for (number, line) in words::wrap(&line, columns.saturating_sub(4))
            .iter()
            .enumerate()
        {
            let lead = if number == 0 { "# " } else { "#   " };
            writeln!(out, "{lead}{line}")?;
        }
    }
    Ok(())
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for socket in &report.sockets {
        lines.extend(socket_lines(socket));
        lines.push(String::new());
    }
    for unresolved in &report.unresolved {
        lines.extend(unresolved_lines(unresolved));
        lines.extend(tree(&unresolved.processes, Some(&unresolved.notify_socket)));
        lines.push(String::new());
    }
    if !report.without_socket.is_empty() {
        lines.push("WATCHDOG_USEC without NOTIFY_SOCKET: nowhere to send to".to_owned());
        lines.extend(tree(&report.without_socket, None));
        lines.push(String::new());
    }
    lines
}

fn socket_lines(socket: &Socket) -> Vec<String> {
    // What matters less stands where lines are cut.
    let mut head = vec![words::address(&socket.address), queue(socket)];
    head.push(match &socket.rule {
        Some(rule) => format!(
            "{} by rule {}",
            escape_field(socket.class.as_bytes()),
            escape_field(rule.as_bytes())
        ),
        None => "by the environment of processes only".to_owned(),
    });
    let mut owner = vec![
        format!("inode {}", socket.inode),
        format!("netns {}", socket.network_namespace),
    ];
    owner.extend(socket.uid.map(|uid| format!("uid {uid}")));
    if socket.owners.is_empty() {
        owner.push("owner unknown".to_owned());
    }
    for (number, process) in socket.owners.iter().enumerate() {
        let lead = if number == 0 { "owner " } else { "and " };
        let name = name(&process.comm, process.pid);
        owner.push(match process.attribution.as_ref().and_then(who) {
            Some(who) => format!("{lead}{name} {who}"),
            None => format!("{lead}{name}"),
        });
    }
    let mut lines = vec![head.join("  "), format!("  {}", owner.join("  "))];
    lines.extend(tree(&socket.processes, spelling(&socket.address).as_ref()));
    lines
}

fn queue(socket: &Socket) -> String {
    let next = |bytes: u32| words::count(u64::from(bytes), "byte", "bytes");
    match (socket.queue_length, socket.next_datagram_bytes) {
        (Some(0), _) => "queue empty".to_owned(),
        (Some(length), None) => format!("{length} waiting"),
        (Some(length), Some(bytes)) => format!("{length} waiting, next has {}", next(bytes)),
        (None, Some(0)) => "queue empty, or the next datagram is".to_owned(),
        (None, Some(bytes)) => format!("waiting, next has {}", next(bytes)),
        (None, None) => "queue unknown".to_owned(),
    }
}

fn unresolved_lines(unresolved: &Unresolved) -> [String; 2] {
    let where_to = match value(&unresolved.notify_socket.0) {
        Value::Abstract(_) => match unresolved.network_namespace {
            Some(namespace) => format!(" in netns {namespace}"),
            None => " in an unknown netns".to_owned(),
        },
        _ => String::new(),
    };
    let reason = match unresolved.reason {
        Reason::NoFile => "GOES NOWHERE: there is no such file",
        Reason::NotASocket => "GOES NOWHERE: that file is no socket",
        Reason::NobodyBound => "GOES NOWHERE: no socket is bound to it",
        Reason::WrongType => "GOES NOWHERE: that is no datagram socket",
        Reason::Malformed => "GOES NOWHERE: that is no address",
        Reason::Vsock => "not visible here: the receiver is beyond AF_VSOCK",
        Reason::Ambiguous => "unknown: several sockets are bound to that path",
        Reason::NotVisible => "unknown: not everything may be looked at",
    };
    // Apart, so that a long value leaves it whole.
    let value = assignment(&unresolved.notify_socket);
    [format!("{value}{where_to}"), format!("  {reason}")]
}

fn assignment(value: &Blob) -> String {
    format!("NOTIFY_SOCKET={}", escape_field(&value.0))
}

fn name(comm: &Blob, pid: u32) -> String {
    words::name_of(&comm.0, pid)
}

/// How `NOTIFY_SOCKET` would name an address.
fn spelling(address: &Address) -> Option<Blob> {
    match &address.0[..] {
        [0, name @ ..] => Some(Blob([b"@", name].concat().into())),
        path @ [b'/', ..] => Some(Blob::from(path)),
        _ => None,
    }
}

/// Processes below each other; the value of `NOTIFY_SOCKET` that goes without saying is left out.
fn tree(processes: &[Process], implied: Option<&Blob>) -> Vec<String> {
    // Whether a later one stands at this level below the same parent.
    let mut is_open = [false; LEVELS];
    let mut lines: Vec<String> = Vec::with_capacity(processes.len());
    for process in processes.iter().rev() {
        let level = usize::try_from(process.depth).unwrap_or(LEVELS);
        let level = level.min(LEVELS - 1);
        let mut line = String::from("  ");
        for is_open in &is_open[..level] {
            line.push_str(if *is_open { "│  " } else { "   " });
        }
        line.push_str(if is_open[level] { "├─ " } else { "└─ " });
        line.push_str(&described(process, implied));
        lines.push(line);
        is_open[level] = true;
        is_open[level + 1..].fill(false);
    }
    lines.reverse();
    lines
}

fn described(process: &Process, implied: Option<&Blob>) -> String {
    let mut parts = vec![name(&process.comm, process.pid)];
    parts.extend(process.attribution.as_ref().and_then(who));
    let value = process.notify_socket.as_ref();
    parts.extend(
        value
            .filter(|value| Some(*value) != implied)
            .map(assignment),
    );
    parts.extend(process.watchdog.as_ref().map(watchdog));
    parts.join("  ")
}

fn watchdog(watchdog: &Watchdog) -> String {
    let time = match (watchdog.usec, &watchdog.malformed) {
        (Some(usec), _) => time(usec),
        (None, Some(value)) => format!("malformed: {}", escape_field(&value.0)),
        (None, None) => "unknown".to_owned(),
    };
    match (watchdog.applies, watchdog.pid) {
        (Some(true), _) => format!("watchdog {time}"),
        (_, Some(pid)) => format!("watchdog {time} (for pid {pid})"),
        (_, None) => format!("watchdog {time} (for an unknown pid)"),
    }
}

/// Minutes and seconds where they are whole, else as the trace writes times.
fn time(usec: u64) -> String {
    const SECOND: u64 = 1_000_000;
    match (usec / (60 * SECOND), usec % (60 * SECOND)) {
        (minutes, 0) if minutes > 0 => format!("{minutes} min"),
        (0, rest) if rest > 0 && rest % SECOND == 0 => format!("{} s", rest / SECOND),
        _ => words::duration(usec.saturating_mul(1000)),
    }
}

/// What stands at the end: how much was found, and what could not be seen.
fn frame(report: &Report) -> Vec<String> {
    let count = |number: usize, one, many| words::count(number as u64, one, many);
    let mut lines = vec![format!(
        "{}, {} without one, {} entered",
        count(report.sockets.len(), "notify socket", "notify sockets"),
        count(
            report.unresolved.len(),
            "value of NOTIFY_SOCKET",
            "values of NOTIFY_SOCKET"
        ),
        count(
            report.network_namespaces.len() - report.skipped.len(),
            "network namespace",
            "network namespaces"
        ),
    )];
    for skipped in &report.skipped {
        let namespace = skipped.network_namespace;
        let is_listed = report
            .network_namespaces
            .iter()
            .any(|it| it.inode == namespace && it.source == Some(Source::Table));
        lines.push(format!(
            "skipped network namespace {namespace} of process {}: {}{}",
            skipped.pid,
            escape_field(skipped.reason.as_bytes()),
            if is_listed {
                "; names only, by /proc/PID/net/unix"
            } else {
                ""
            }
        ));
    }
    for namespace in &report.network_namespaces {
        lines.extend(namespace.no_diag.as_ref().map(|reason| {
            format!(
                "network namespace {}: no users and no sizes of datagrams: {}",
                namespace.inode,
                escape_field(reason.as_bytes())
            )
        }));
    }
    let unreadable = report.unreadable;
    for (number, what) in [
        (unreadable.environments, "the environment"),
        (unreadable.descriptors, "the open sockets"),
        (unreadable.network_namespaces, "the network namespace"),
    ] {
        if number > 0 {
            lines.push(format!(
                "{what} of {} may not be read (that takes CAP_SYS_PTRACE)",
                words::count(u64::from(number), "process", "processes")
            ));
        }
    }
    lines.extend(
        report
            .warnings
            .iter()
            .map(|it| escape_field(it.as_bytes()).to_string()),
    );
    lines
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
