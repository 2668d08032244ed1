//! Who watches while work is timed: nobody, the agent, other tools. Each tool is a row of [`all`].
//!
//! Owns what is particular of a tool: its command line, by what it is seen to watch, and what its
//! output says about losses. `running` does the same with all of them.

use std::process::Command;

use serde_json::Value;

use super::line::Fact;

/// Someone who may watch.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What lines of output call it.
    pub name: &'static str,
    /// Program and arguments; none for nobody.
    pub command: Vec<String>,
    /// Prints its version.
    version: Vec<String>,
    /// By what it is seen to watch.
    pub ready: Ready,
    /// What of the work is done.
    pub share: Share,
    /// Its output has the payloads of what it sees.
    pub shows_payloads: bool,
    /// Reads its output's end and its error output: how many losses it tells of.
    pub losses: fn(&str, &str) -> Option<f64>,
    /// Reads its output's beginning: what is true of the run.
    pub facts: fn(&str) -> Vec<Fact>,
}

/// What of the work is done while a peer watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All.
    Whole,
    /// A few workloads, by which it is compared: a peer of another size.
    Few,
    /// The same, and a hundredth of them: a tool that slows those down that it watches.
    Hundredth,
}

/// By what a tool is seen to watch.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// This stands in its output.
    Says(&'static str),
    /// The kernel calls something from the beginning of this function.
    Attached(&'static str),
    /// It traces this process (ptrace(2)).
    TracesMe,
    /// It has opened events (perf_event_open(2)).
    HasEvents,
}

/// The programs that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// notify-trace.
    pub agent: Option<String>,
    /// bpftrace.
    pub bpftrace: Option<String>,
    /// perf.
    pub perf: Option<String>,
    /// strace.
    pub strace: Option<String>,
}

/// Everybody there is a program for, in the order of their turns.
pub fn all(programs: &Programs) -> Vec<Peer> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let nobody = Peer {
        name: "nothing",
        command: Vec::new(),
        version: Vec::new(),
        ready: Ready::Says(""),
        share: Share::Whole,
        shows_payloads: true,
        losses: |_, _| None,
        facts: |_| Vec::new(),
    };
    let agent = programs.agent.as_deref().map(|path| Peer {
        name: "agent",
        command: words(&[path, "trace", "-o", "json"]),
        version: words(&[path, "--version"]),
        ready: Ready::Says(r#""type":"session""#),
        share: Share::Whole,
        shows_payloads: true,
        losses: losses_of_agent,
        facts: facts_of_agent,
    });
    let with_rules = agent.as_ref().map(|agent| {
        let mut it = agent.clone();
        for number in 0..RULES {
            let glob = format!("/run/growth-{number}/**/*.sock-{number}");
            it.command.extend(["--socket".to_owned(), glob]);
        }
        it.name = "agent, 64 rules";
        it.version = Vec::new();
        it.share = Share::Few;
        it.facts = |_| Vec::new();
        it
    });
    let bpftrace = programs.bpftrace.as_deref().map(|path| Peer {
        name: "bpftrace",
        command: words(&[path, "-e", ONE_PROBE]),
        version: words(&[path, "--version"]),
        ready: Ready::Attached("unix_dgram_sendmsg"),
        share: Share::Whole,
        shows_payloads: true,
        losses: losses_of_bpftrace,
        facts: |_| Vec::new(),
    });
    let dumper = bpftrace.as_ref().map(|bpftrace| Peer {
        name: "bpftrace, all",
        command: words(&[&bpftrace.command[0], "-e", ALL_SOCKETS]),
        version: Vec::new(),
        share: Share::Few,
        ..bpftrace.clone()
    });
    let pid = std::process::id().to_string();
    let perf = programs.perf.as_deref().map(|path| Peer {
        name: "perf trace",
        command: words(&[
            path,
            "trace",
            "-p",
            &pid,
            "-e",
            CALLS,
            "-o",
            "/proc/self/fd/1",
        ]),
        version: words(&[path, "--version"]),
        ready: Ready::HasEvents,
        share: Share::Few,
        // Addresses of buffers instead.
        shows_payloads: false,
        losses: losses_of_perf,
        facts: |_| Vec::new(),
    });
    let strace = programs.strace.as_deref().map(|path| Peer {
        name: "strace",
        // Sender and receiver are this very process.
        command: words(&[
            path,
            "-f",
            "-p",
            &pid,
            "-e",
            &format!("trace={CALLS}"),
            "-s",
            "128",
            "-o",
            "/proc/self/fd/1",
        ]),
        version: words(&[path, "--version"]),
        ready: Ready::TracesMe,
        share: Share::Hundredth,
        shows_payloads: true,
        losses: |_, _| None,
        facts: |_| Vec::new(),
    });
    [
        Some(nobody),
        agent,
        bpftrace,
        dumper,
        perf,
        strace,
        with_rules,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What sends and receives, where system calls are looked at.
const CALLS: &str = "sendto,sendmsg,recvfrom,recvmsg";

/// Rules that nothing matches, beside those that there always are.
const RULES: u32 = 64;

/// Path, process and payload of what is sent to notify sockets: the least that can be compared at all.
/// A send call with one buffer is an `ITER_UBUF` since Linux 6.0 (`import_ubuf` of `lib/iov_iter.c`),
/// whose address lies where an `iovec`'s base would; the length of `str` counts a NUL.
const ONE_PROBE: &str = r#"fentry:vmlinux:unix_dgram_sendmsg /args.msg->msg_name != 0/ {
    $path = str((uint8 *)args.msg->msg_name + 2, 64);
    if (strcontains($path, "notify.sock")) {
        $data = args.msg->msg_iter.__ubuf_iovec.iov_base;
        $length = args.msg->msg_iter.count;
        printf("%s %d %s\n", $path, pid, str(uptr($data), $length + 1));
    }
}"#;

/// What a dumper of unix sockets does that leaves the selection to whoever reads its output: the same of each
/// datagram and each write to a stream, wherever it goes.
const ALL_SOCKETS: &str = r#"fentry:vmlinux:unix_dgram_sendmsg, fentry:vmlinux:unix_stream_sendmsg {
    $path = "";
    if (args.msg->msg_name != 0) {
        $path = str((uint8 *)args.msg->msg_name + 2, 64);
    }
    $data = args.msg->msg_iter.__ubuf_iovec.iov_base;
    $length = args.msg->msg_iter.count;
    printf("%s %d %s\n", $path, pid, str(uptr($data), $length + 1));
}"#;

impl Peer {
    /// Which version it is.
    pub fn version(&self) -> Option<Fact> {
        let (program, arguments) = self.version.split_first()?;
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(Fact::new(
            self.name,
            text.lines().next().unwrap_or_default(),
        ))
    }
}

fn facts_of_agent(said: &str) -> Vec<Fact> {
    let session: Value = said
        .lines()
        .next()
        .and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or_default();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    vec![
        Fact::new("kernel", text(&session["kernel"])),
        Fact::new("plan", text(&session["plan"]["name"])),
        Fact::new("CPUs", text(&session["cpus"])),
    ]
}

/// All causes of the summary together, except runs that the kernel skipped: these lose nothing where
/// another hook knows the same.
fn losses_of_agent(said: &str, _: &str) -> Option<f64> {
    let summary: Value = serde_json::from_str(said.lines().last()?).ok()?;
    let losses = summary["losses"].as_object()?;
    let counted = losses
        .iter()
        .filter(|(cause, _)| *cause != "programs_skipped");
    let counts = counted.filter_map(|(_, count)| count.as_f64());
    Some(counts.fold(0.0, |sum, count| sum + count))
}

/// `LOST N events!`, where it shows what it sees.
fn losses_of_perf(said: &str, _: &str) -> Option<f64> {
    let counts = said.lines().filter_map(|line| {
        let (_, rest) = line.split_once("LOST ")?;
        rest.split_once(" events")?.0.parse::<f64>().ok()
    });
    Some(counts.fold(0.0, |sum, count| sum + count))
}

/// `Lost N events`, on either output, each for what was lost since the one before.
fn losses_of_bpftrace(said: &str, complaints: &str) -> Option<f64> {
    let lines = said.lines().chain(complaints.lines());
    let counts = lines.filter_map(|line| {
        let (_, rest) = line.split_once("Lost ")?;
        rest.split_once(" events")?.0.parse::<f64>().ok()
    });
    Some(counts.fold(0.0, |sum, count| sum + count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tools_that_are_given_have_a_turn() {
        let names = |programs: &Programs| -> Vec<_> {
            let peers = all(programs);
            peers.iter().map(|peer| peer.name).collect()
        };
        let path = || Some("/a".to_owned());
        let mut programs = Programs {
            agent: path(),
            ..Programs::default()
        };
        assert_eq!(names(&programs), ["nothing", "agent", "agent, 64 rules"]);
        programs = Programs {
            agent: path(),
            bpftrace: path(),
            perf: path(),
            strace: path(),
        };
        assert_eq!(
            names(&programs),
            [
                "nothing",
                "agent",
                "bpftrace",
                "bpftrace, all",
                "perf trace",
                "strace",
                "agent, 64 rules"
            ]
        );
    }

    #[test]
    fn the_agents_losses_are_the_sum_of_its_summary() {
        let said = "{\"type\":\"session\"}\n\
            {\"type\":\"summary\",\"losses\":{\"ring_full\":3,\"returns_missed\":1,\
            \"programs_skipped\":9}}\n";
        assert_eq!(losses_of_agent(said, ""), Some(4.0));
        assert_eq!(losses_of_agent("{\"type\":\"session\"}\n", ""), None);
    }

    #[test]
    fn bpftraces_losses_are_summed_over_its_warnings() {
        let complaints = "WARNING: Lost 12 events\nnoise\nLost 3 events";
        assert_eq!(losses_of_bpftrace("", complaints), Some(15.0));
        assert_eq!(losses_of_bpftrace("Attaching 1 probe...", ""), Some(0.0));
    }

    #[test]
    fn the_session_says_what_the_run_was_made_on() {
        let said = r#"{"type":"session","kernel":"6.12","plan":{"name":"full"},"cpus":2}"#;
        assert_eq!(
            facts_of_agent(said),
            [
                Fact::new("kernel", "6.12"),
                Fact::new("plan", "full"),
                Fact::new("CPUs", "2")
            ]
        );
    }
}
