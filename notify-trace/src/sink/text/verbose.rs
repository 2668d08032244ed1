//! Every fact of an event, one after the other. Structs are taken apart in full, so that a new field
//! can't be forgotten here.

use super::facts;
use crate::escape::{escape, escape_field};
use crate::event::{
    Attribution, Blob, ConnectFailed, Container, Delivery, Event, Later, LaterCgroup, Notification,
    Pod, Process, Qos, Receiver, ReceiverClosed, SendResult, Timing, Unit, Update,
};
use crate::who::unit;
use crate::words;

/// Cells in front of a fact.
pub(super) const INDENT: usize = 16;

/// A fact's name and its lines.
pub(crate) type Fact = (&'static str, Vec<String>);

/// The facts of an event.
pub(crate) fn facts(event: &Event) -> Vec<Fact> {
    let facts = match event {
        Event::Send(notification) => of_notification(notification),
        Event::Update(update) => of_update(update),
        Event::ConnectFailed(failed) => of_connect(failed),
        Event::ReceiverClosed(closed) => of_closed(closed),
        Event::Session(_)
        | Event::Exit(_)
        | Event::Unit(_)
        | Event::View(_)
        | Event::Loss(_)
        | Event::Summary(_) => Vec::new(),
    };
    facts
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .collect()
}

fn of_notification(notification: &Notification) -> Vec<Fact> {
    let Notification {
        id: _,
        time: _,
        monotonic_ns: _,
        sender,
        socket_inode,
        destination,
        receiver,
        class,
        length_bytes,
        payload,
        truncated,
        lines,
        defects,
        fds,
        claimed,
        result,
        delivery,
        retry_of,
        timing,
        unknown,
    } = notification;
    let mut facts = sender
        .as_ref()
        .map(|it| process("sender", it))
        .unwrap_or_default();
    let mut to = Vec::new();
    if let Some(destination) = destination {
        let how = if destination.connected {
            " (connected)"
        } else {
            ""
        };
        to.push(format!("{}{how}", words::address(&destination.address)));
    }
    facts.push(("destination", to));
    facts.push(("socket", inode(*socket_inode)));
    facts.push((
        "receiver",
        receiver.as_ref().map(of_receiver).unwrap_or_default(),
    ));
    facts.push(("class", vec![escape_field(class.as_bytes()).to_string()]));
    let mut length = words::count(u64::from(*length_bytes), "byte", "bytes");
    if *truncated {
        length.push_str(", of which the first 4096 are shown");
    }
    facts.push(("length", vec![length]));
    let mut shown: Vec<String> = lines.iter().filter_map(words::line).collect();
    if let (true, Some(payload)) = (shown.is_empty(), payload) {
        shown.push(format!("\"{}\"", escape(&payload.0)));
    }
    facts.push(("payload", shown));
    facts.push(("defects", join(defects.iter().map(|it| words::defect(*it)))));
    facts.push(("fds", fds.map(|fds| fds.to_string()).into_iter().collect()));
    facts.push((
        "claims",
        claimed.map(words::credentials).into_iter().collect(),
    ));
    facts.push((
        "retry of",
        retry_of.map(|id| format!("#{id}")).into_iter().collect(),
    ));
    facts.push((
        "result",
        result.as_ref().map(of_result).into_iter().collect(),
    ));
    facts.extend(of_delivery(delivery, timing));
    facts.push((
        "unknown",
        join(unknown.iter().map(|it| words::unknown(*it))),
    ));
    facts
}

fn of_update(update: &Update) -> Vec<Fact> {
    let Update {
        id,
        time: _,
        monotonic_ns: _,
        sender,
        receiver,
        result,
        delivery,
        timing,
    } = update;
    let mut facts = vec![("update of", vec![format!("#{id}")])];
    facts.extend(
        sender
            .as_ref()
            .map(|it| process("sender", it))
            .unwrap_or_default(),
    );
    facts.push((
        "receiver",
        receiver.as_ref().map(of_receiver).unwrap_or_default(),
    ));
    facts.push((
        "result",
        result.as_ref().map(of_result).into_iter().collect(),
    ));
    facts.extend(of_delivery(delivery, timing));
    facts
}

fn of_connect(failed: &ConnectFailed) -> Vec<Fact> {
    let ConnectFailed {
        time: _,
        monotonic_ns: _,
        sender,
        socket_inode,
        address,
        class,
        error,
    } = failed;
    let mut facts = process("sender", sender);
    facts.push(("connects to", vec![words::address(address)]));
    facts.push(("socket", inode(*socket_inode)));
    facts.push(("class", vec![escape_field(class.as_bytes()).to_string()]));
    facts.push(("result", vec![format!("FAILED {}", words::errno(error))]));
    facts
}

fn of_closed(closed: &ReceiverClosed) -> Vec<Fact> {
    let ReceiverClosed {
        time: _,
        monotonic_ns: _,
        closer,
        receiver,
        class,
    } = closed;
    let mut facts = process("closed by", closer);
    facts.push(("receiver", of_receiver(receiver)));
    facts.push(("class", vec![escape_field(class.as_bytes()).to_string()]));
    facts
}

fn of_receiver(receiver: &Receiver) -> Vec<String> {
    let Receiver {
        inode,
        address,
        queue_length,
    } = receiver;
    let mut words = Vec::new();
    words.extend(address.as_ref().map(words::address));
    words.push(format!("inode {inode}"));
    words.extend(queue_length.map(|length| format!("{length} waiting before it")));
    vec![words.join(", ")]
}

fn of_result(result: &SendResult) -> String {
    match result {
        SendResult::SentBytes(bytes) => words::count((*bytes).into(), "byte sent", "bytes sent"),
        SendResult::Failed(error) => {
            format!("FAILED {} (errno {})", words::errno(error), error.errno)
        }
    }
}

fn of_delivery(delivery: &Delivery, timing: &Timing) -> Vec<Fact> {
    let Delivery {
        state,
        reader,
        trimmed_to_bytes,
        credentials,
        sender_present,
        left_in_queue,
    } = delivery;
    let mut words = vec![words::state(*state).to_owned()];
    if let Some(ns) = timing.delivery_ns() {
        words[0] = format!("{} after {}", words[0], words::duration(ns));
    }
    words.extend(facts::blocked(timing, *state));
    words.extend(trimmed_to_bytes.map(|bytes| format!("trimmed to {bytes} bytes")));
    words.extend(left_in_queue.map(|left| format!("{left} left in the queue")));
    let mut told = Vec::new();
    told.extend(credentials.map(words::credentials));
    told.extend(sender_present.map(|is_there| {
        if is_there {
            "still there"
        } else {
            "GONE by then"
        }
        .to_owned()
    }));
    let mut facts = vec![("delivery", vec![words.join(", ")])];
    facts.extend(
        reader
            .as_ref()
            .map(|it| process("read by", it))
            .unwrap_or_default(),
    );
    facts.push((
        "is told",
        (!told.is_empty())
            .then(|| told.join(", "))
            .into_iter()
            .collect(),
    ));
    facts.push(("times", of_timing(timing)));
    facts
}

/// From the first moment known on.
fn of_timing(timing: &Timing) -> Vec<String> {
    let Timing {
        entry_ns,
        queued_ns,
        returned_ns,
        dequeued_ns,
        queue_tries,
    } = *timing;
    let moments = [
        ("called", entry_ns),
        ("queued", queued_ns),
        ("returned", returned_ns),
        ("dequeued", dequeued_ns),
    ];
    let Some(first_ns) = moments.iter().filter_map(|(_, ns)| *ns).min() else {
        return Vec::new();
    };
    let mut words: Vec<String> = moments
        .iter()
        .filter_map(|(what, ns)| Some((what, (*ns)?)))
        .map(|(what, ns)| match ns - first_ns {
            0 => format!("{what} at {}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000),
            since => format!("{what} +{}", words::duration(since)),
        })
        .collect();
    words.extend(queue_tries.map(|tries| format!("{tries} tries to queue")));
    vec![words.join(", ")]
}

fn inode(inode: Option<u64>) -> Vec<String> {
    inode
        .map(|inode| format!("inode {inode}"))
        .into_iter()
        .collect()
}

fn process(role: &'static str, process: &Process) -> Vec<Fact> {
    let Process {
        pid,
        tid,
        comm: _,
        uid,
        gid,
        parent_pid,
        namespace_pid,
        pid_namespace,
        start_boottime_ns,
        cgroup,
        io_uring_worker,
        attribution,
        later,
    } = process;
    let mut words = vec![words::name(process)];
    if tid != pid {
        words.push(format!("thread {tid}"));
    }
    words.push(format!("uid {uid} gid {gid}"));
    words.extend(parent_pid.map(|parent| format!("parent {parent}")));
    if let (Some(inside), Some(namespace)) = (namespace_pid, pid_namespace)
        && inside != pid
    {
        words.push(format!("pid {inside} in namespace {namespace}"));
    }
    if let Some(start_ns) = start_boottime_ns {
        words.push(format!(
            "started {}.{:03} s after boot",
            start_ns / 1_000_000_000,
            start_ns / 1_000_000 % 1000
        ));
    }
    if *io_uring_worker {
        words.push("through io_uring".to_owned());
    }
    let mut facts = vec![(role, vec![words.join(", ")])];
    facts.push((
        "  cgroup",
        cgroup
            .iter()
            .map(|it| match &it.path {
                Some(path) => format!("{} (id {})", escape_field(&path.0), it.id),
                None => format!("id {}", it.id),
            })
            .collect(),
    ));
    facts.extend(
        attribution
            .as_ref()
            .map(|it| of_attribution(it))
            .unwrap_or_default(),
    );
    facts.extend(later.as_ref().map(|it| of_later(it)).unwrap_or_default());
    facts
}

fn of_attribution(attribution: &Attribution) -> Vec<Fact> {
    let Attribution {
        unit,
        slice,
        user,
        user_unit,
        user_slice,
        session,
        machine,
        container,
        pod,
        is_later,
    } = attribution;
    let text = |text: &String| escape_field(text.as_bytes()).to_string();
    let mut host: Vec<String> = unit.iter().map(of_unit).collect();
    host.extend(slice.iter().map(|it| format!("in {}", text(it))));
    let mut user_words: Vec<String> = user.iter().map(|uid| format!("uid {uid}")).collect();
    user_words.extend(session.iter().map(|it| format!("session {}", text(it))));
    user_words.extend(user_unit.iter().map(of_unit));
    user_words.extend(user_slice.iter().map(|it| format!("in {}", text(it))));
    let one = |words: Vec<String>| (!words.is_empty()).then(|| words.join(", "));
    let mut facts = vec![
        ("  unit", one(host).into_iter().collect::<Vec<_>>()),
        ("  user", one(user_words).into_iter().collect()),
        ("  machine", machine.iter().map(text).collect()),
    ];
    let mut next = container.as_ref();
    while let Some(here) = next {
        facts.push(("  container", vec![of_container(here)]));
        next = here.outer.as_deref();
    }
    facts.push(("  pod", pod.iter().map(of_pod).collect()));
    if *is_later {
        facts.push(("", vec!["(by /proc/PID/cgroup, read later)".to_owned()]));
    }
    facts
}

fn of_unit(it: &Unit) -> String {
    let Unit {
        name: _,
        template,
        instance,
    } = it;
    let instance = instance.as_ref().map(|it| escape_field(&it.0));
    match (template, instance) {
        (Some(_), Some(instance)) => format!("{} (instance {instance})", unit(it)),
        _ => unit(it),
    }
}

fn of_container(container: &Container) -> String {
    let Container {
        id,
        runtime,
        name,
        is_monitor,
        unit,
        outer: _,
    } = container;
    let text = |text: &String| escape_field(text.as_bytes()).to_string();
    let mut words = vec![text(id)];
    words.extend(name.iter().map(|name| format!("name {}", text(name))));
    words.extend(runtime.map(|it| format!("run by {}", crate::who::runtime(it))));
    words.extend(unit.iter().map(|unit| format!("{} inside", of_unit(unit))));
    if *is_monitor {
        words.push("watched over by this process".to_owned());
    }
    words.join(", ")
}

fn of_pod(pod: &Pod) -> String {
    let Pod {
        uid,
        qos,
        name,
        namespace,
    } = pod;
    let text = |text: &String| escape_field(text.as_bytes()).to_string();
    let mut words = vec![text(uid)];
    words.extend(name.iter().map(|name| format!("name {}", text(name))));
    words.extend(namespace.iter().map(|it| format!("namespace {}", text(it))));
    words.extend(qos.map(|qos| {
        match qos {
            Qos::Guaranteed => "guaranteed",
            Qos::Burstable => "burstable",
            Qos::BestEffort => "best effort",
        }
        .to_owned()
    }));
    words.join(", ")
}

fn of_later(later: &Later) -> Vec<Fact> {
    let Later {
        executable,
        command_line,
        cgroup,
    } = later;
    let command: Vec<String> = command_line.iter().map(word).collect();
    vec![
        (
            "  executable",
            executable
                .iter()
                .map(|it| escape_field(&it.0).to_string())
                .collect(),
        ),
        (
            "  command",
            (!command.is_empty())
                .then(|| command.join(" "))
                .into_iter()
                .collect(),
        ),
        (
            "  by /proc",
            cgroup
                .iter()
                .map(|LaterCgroup { hierarchy, path }| {
                    let hierarchy = if hierarchy.is_empty() {
                        "cgroup v2"
                    } else {
                        hierarchy
                    };
                    format!(
                        "{} in {}",
                        escape_field(&path.0),
                        escape_field(hierarchy.as_bytes())
                    )
                })
                .collect(),
        ),
    ]
}

/// An argument, in quotes if it has spaces or is empty.
fn word(word: &Blob) -> String {
    let text = escape_field(&word.0).to_string();
    if text.is_empty() || text.contains(' ') {
        format!("'{text}'")
    } else {
        text
    }
}

fn join(words: impl Iterator<Item = &'static str>) -> Vec<String> {
    let words: Vec<_> = words.collect();
    (!words.is_empty())
        .then(|| words.join(", "))
        .into_iter()
        .collect()
}
