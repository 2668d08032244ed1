//! The agent as the service that packages install: what it promises, tried in a guest with systemd.
//! `disk` and `faults` break what it needs, `sending` what it
//! sends to; `hostile` says what would do harm.

mod disk;
mod faults;
mod hostile;
mod package;
mod sending;
mod soak;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    driver::Counts,
    pipe::until_within,
    raw::bpf::{self, Kind},
    systemd::wait_for_boot,
};

const AGENT: &str = "/run/notify-trace/notify-trace";
const TESTS_PROGRAM: &str = "/run/notify-trace/notify-trace-tests";
const CONFIG: &str = "/run/notify-trace/agent.toml";
const UNIT: &str = "notify-trace.service";
const RECORDING: &str = "/var/lib/notify-trace/host.ntrec";
const SOCKET: &str = "/run/notify-trace-agent/metrics.sock";

/// The worst figure of `systemd-analyze security` that is accepted: what it is today, docs/agent.md.
const EXPOSURE: f64 = 2.5;

/// How long is waited for what a loaded, emulated machine does some time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Notifications of the steady sender.
const STEADY: u64 = 1_500;

/// Capabilities by their bit.
const CAPABILITIES: [(u32, &str); 4] = [
    (2, "DAC_READ_SEARCH"),
    (19, "SYS_PTRACE"),
    (38, "PERFMON"),
    (39, "BPF"),
];

/// The only one where the service is not brought by the tests.
const PACKAGE: &str = "the_package_is_installed_upgraded_removed_and_purged";

type Test = (&'static str, fn() -> Result<String>);

const TESTS: [Test; 25] = [
    ("it_starts_and_says_how_it_is", starts),
    ("it_is_as_closed_as_is_stated", exposure),
    ("each_thread_has_the_least_that_works", capabilities),
    ("a_reload_loses_nothing", reload),
    ("what_is_counted_is_what_is_recorded", metrics),
    ("who_may_nothing_gets_nothing", strangers),
    ("it_comes_back_when_it_is_killed_and_leaves_nothing", killed),
    ("another_one_disturbs_nothing", faults::another),
    ("a_cpu_that_comes_up_is_read_too", faults::cpus),
    ("a_full_disk_costs_nothing", disk::full_disk),
    ("a_read_only_disk_costs_nothing", disk::read_only),
    ("a_disk_that_hangs_costs_nothing", disk::hangs),
    ("a_removed_recording_is_made_anew", disk::removed),
    ("a_storm_of_scrapes_costs_no_notification", faults::scrapes),
    ("a_clock_that_is_set_changes_no_span", faults::clock),
    ("what_overflows_the_rings_is_counted", faults::overflow),
    ("units_without_end_are_bounded", faults::many_units),
    ("a_flood_is_shed_and_others_are_not", faults::flood),
    ("hostile_payloads_stay_payloads", hostile::hostile),
    ("what_is_sent_arrives_over_an_outage", sending::outage),
    (
        "a_receiver_that_hangs_or_refuses_costs_nothing",
        sending::refusals,
    ),
    ("what_outlasts_the_recording_is_counted", sending::beyond),
    (
        "it_comes_back_when_its_memory_is_taken",
        faults::out_of_memory,
    ),
    ("it_stops_cleanly_and_leaves_nothing", stops),
    (PACKAGE, package::life),
];

/// Runs all tests and says how they ended.
pub fn run() -> ExitCode {
    wait_for_boot();
    let is_brought = Path::new("/run/systemd/system").join(UNIT).exists();
    let mut counts = Counts::default();
    if soak::minutes().is_some() {
        let result = soak::soak();
        if result.is_err() {
            tell_journal();
        }
        counts.check_saying("service::nothing_is_lost_or_leaked_in_the_long_run", result);
        return counts.tell();
    }
    for (name, test) in TESTS {
        if name != PACKAGE && !is_brought {
            continue;
        }
        let result = test();
        if result.is_err() {
            tell_journal();
        }
        counts.check_saying(&format!("service::{name}"), result);
    }
    counts.tell()
}

fn tell_journal() {
    println!("{}", journal().unwrap_or_default());
}

/// The last that the service's journal says.
fn journal() -> Result<String> {
    let words = ["-u", UNIT, "-n", "30", "--no-pager", "-o", "cat"];
    output("journalctl", &words)
}

/// Runs a command as a unit of its own, which may notify, until it has ended well.
fn unit(name: &str, properties: &[&str], command: &[&str]) -> Result<()> {
    let status = Command::new("systemd-run")
        .args(["--wait", "--quiet", "--collect", &format!("--unit={name}")])
        .args(["-p", "NotifyAccess=all"])
        .args(properties)
        .args(command)
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}

fn output(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("could not start {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn systemctl(words: &[&str]) -> Result<()> {
    let output = Command::new("systemctl").args(words).output()?;
    ensure!(
        output.status.success(),
        "systemctl {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn show(property: &str) -> Result<String> {
    let text = output("systemctl", &["show", "-P", property, UNIT])?;
    Ok(text.trim().to_owned())
}

fn main_pid() -> Result<u32> {
    let pid: u32 = show("MainPID")?.parse()?;
    ensure!(pid > 0, "it does not run");
    Ok(pid)
}

fn configure(view: &str) -> Result<()> {
    // What an emulated CPU takes says nothing: nobody is to be shed but in the test of that.
    configure_with("cpu_percent = 0", &format!("[view]\n{view}"))
}

/// Settings with these limits, and other sections.
fn configure_with(limits: &str, others: &str) -> Result<()> {
    let text = format!("[metrics]\nlisten = \"unix:{SOCKET}\"\n[limits]\n{limits}\n{others}\n");
    fs::write(CONFIG, text).context("could not write the settings")
}

/// Waits until something is so.
fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, look)
}

/// What is loaded while an agent runs and was not before.
static OURS: OnceLock<BTreeMap<String, usize>> = OnceLock::new();

/// Waits until nothing of an agent is loaded: the kernel takes it away a moment after the process.
fn nothing_is_left() -> Result<()> {
    let ours = OURS.get().context("no agent was started")?;
    ensure!(ours.len() > 10, "what is ours isn't known: {ours:?}");
    until("programs and maps to be gone", || {
        let left = loaded()?.keys().any(|name| ours.contains_key(name));
        Ok((!left).then_some(()))
    })
}

/// Programs and maps that are loaded, by name.
fn loaded() -> Result<BTreeMap<String, usize>> {
    let mut names = BTreeMap::new();
    for kind in [Kind::Program, Kind::Map] {
        for name in bpf::objects(kind)?.into_values() {
            *names.entry(format!("{kind:?} {name}")).or_default() += 1;
        }
    }
    Ok(names)
}

fn starts() -> Result<String> {
    output("systemd-sysusers", &[])?;
    configure("")?;
    let before = loaded()?;
    let begun = Instant::now();
    systemctl(&["start", UNIT])?;
    let took = begun.elapsed();
    let mut ours = loaded()?;
    // Those of systemd for the unit have numbers and its name in theirs.
    ours.retain(|name, _| !before.contains_key(name) && !name.contains("notify_trace"));
    OURS.get_or_init(|| ours);
    let status = show("StatusText")?;
    ensure!(status.starts_with("plan trampolines"), "{status}");
    ensure!(show("Type")? == "notify-reload");
    let user = fs::metadata(format!("/proc/{}", main_pid()?)).map(|it| {
        use std::os::unix::fs::MetadataExt as _;
        it.uid()
    })?;
    ensure!(user != 0, "it runs as root");
    Ok(format!(
        "{:.1} s, user {user}, {status:?}",
        took.as_secs_f64()
    ))
}

fn exposure() -> Result<String> {
    let words = ["security", "--no-pager", UNIT];
    let text = output("systemd-analyze", &words)?;
    let figure = text
        .lines()
        .find_map(|line| line.split_once("exposure level for").map(|(_, rest)| rest))
        .and_then(|rest| {
            rest.split_once(": ")?
                .1
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .with_context(|| format!("no figure in {text}"))?;
    for line in text.lines().filter(|line| line.contains('✗')) {
        println!("    remains: {}", line.trim());
    }
    let filter = show("SystemCallFilter")?;
    println!("    system calls: {filter}");
    ensure!(figure <= EXPOSURE, "{figure} is more than {EXPOSURE}");
    Ok(format!("systemd-analyze security: {figure}"))
}

/// Names of the capabilities of a thread, by its line `CapEff`.
fn names(hex: &str) -> Result<Vec<&'static str>> {
    let bits = u64::from_str_radix(hex.trim(), 16)?;
    let known: u64 = CAPABILITIES.iter().map(|(bit, _)| 1 << bit).sum();
    ensure!(bits & !known == 0, "others than are known: {hex}");
    Ok(CAPABILITIES
        .iter()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| *name)
        .collect())
}

fn capabilities() -> Result<String> {
    let pid = main_pid()?;
    let mut said = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.trim_start_matches(':').trim().to_owned())
                .with_context(|| format!("no {name}"))
        };
        let comm = field("Name")?;
        let effective = names(&field("CapEff")?)?;
        ensure!(field("CapPrm")? == field("CapEff")?, "{comm}: {status}");
        ensure!(field("NoNewPrivs")? == "1", "{comm}");
        ensure!(field("Seccomp")? == "2", "{comm}: no filter");
        let expected: &[&str] = match &*comm {
            // On this kernel, maps are read and written by their descriptors.
            "notify-trace" => &["DAC_READ_SEARCH", "SYS_PTRACE", "PERFMON"],
            "names" | "managers" => &["DAC_READ_SEARCH", "SYS_PTRACE"],
            "recording" | "service" | "metrics" | "signals" => &[],
            other => anyhow::bail!("an unknown thread: {other}"),
        };
        ensure!(effective == expected, "{comm} has {effective:?}");
        said.push(format!("{comm}: {}", effective.join("+")));
    }
    said.sort();
    Ok(format!("after attaching: {}", said.join(", ")))
}

/// What the recording says, event by event.
fn recorded() -> Result<Vec<Value>> {
    recorded_by(AGENT)
}

/// The same by another program.
fn recorded_by(agent: &str) -> Result<Vec<Value>> {
    let text = output(agent, &["show", RECORDING, "-o", "json"])?;
    text.lines()
        .map(|line| serde_json::from_str(line).context("no JSON"))
        .collect()
}

/// The numbers that a unit sent, in order, by what was recorded.
fn numbers(events: &[Value], unit: &str) -> Vec<u64> {
    events
        .iter()
        .filter(|event| event["type"] == "send")
        .filter(|event| event["sender"]["attribution"]["unit"]["name"] == unit)
        .flat_map(|event| event["lines"].as_array().cloned().unwrap_or_default())
        .filter_map(|line| line["value"].as_str()?.parse().ok())
        .collect()
}

fn reload() -> Result<String> {
    let mut steady = Command::new("systemd-run")
        .args([
            "--wait",
            "--quiet",
            "--unit=nt-steady",
            "-p",
            "NotifyAccess=all",
        ])
        .args([TESTS_PROGRAM, "speak", "--times", &STEADY.to_string()])
        .args(["--every-ms", "2", "--number", "X_NUMBER="])
        .stdin(Stdio::null())
        .spawn()?;
    let mut reloads = 0;
    while steady.try_wait()?.is_none() {
        configure(if reloads % 2 == 0 {
            "unit = [\"nt-steady\"]\nredact = [\"X_SECRET\"]"
        } else {
            ""
        })?;
        systemctl(&["reload", UNIT])?;
        reloads += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(steady.wait()?.success(), "the sender failed");
    let events = until("the recording of the steady sender", || {
        let events = recorded()?;
        let has_last = numbers(&events, "nt-steady.service").last() == Some(&STEADY);
        Ok(has_last.then_some(events))
    })?;
    let numbers = numbers(&events, "nt-steady.service");
    let wanted: Vec<u64> = (1..=STEADY).collect();
    ensure!(numbers == wanted, "{} of {STEADY}", numbers.len());
    let views = events
        .iter()
        .filter(|event| event["type"] == "view")
        .count();
    ensure!(views >= reloads - 1, "{views} views, {reloads} reloads");
    ensure!(reloads > 1, "the sender was too quick");
    let own = events.iter().find(|event| {
        event["type"] == "send" && event["sender"]["attribution"]["unit"]["name"] == UNIT
    });
    ensure!(own.is_none(), "its own: {own:?}");
    let lost = events.iter().find(|event| event["type"] == "loss");
    ensure!(lost.is_none(), "{lost:?}");
    // What is wrong changes nothing, and is said.
    configure("unitt = 1")?;
    systemctl(&["reload", UNIT])?;
    let status = show("StatusText")?;
    ensure!(
        status.contains("those of before") && status.contains("unitt"),
        "{status}"
    );
    configure("")?;
    systemctl(&["reload", UNIT])?;
    Ok(format!(
        "{reloads} reloads, {STEADY} of {STEADY} notifications"
    ))
}

/// The sum of a metric over all labels that begin so.
fn metric(text: &str, name: &str) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn get(path: &str) -> Result<String> {
    let mut stream = UnixStream::connect(SOCKET).context(SOCKET)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn metrics() -> Result<String> {
    let name =
        "notify_trace_notifications_total{unit=\"nt-steady.service\",user=\"\",container=\"\"} ";
    let text = get("/metrics")?;
    let counted = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok())
        .with_context(|| format!("no {name} in {text}"))?;
    ensure!(counted == STEADY, "{counted} of {STEADY}");
    ensure!(
        get("/healthz")?.starts_with("HTTP/1.1 200"),
        "it is not well"
    );
    // Of a real service with a main process: times, as the report has them.
    systemctl(&["restart", "systemd-udevd.service"])?;
    let wanted = "notify_trace_startup_seconds_count{unit=\"systemd-udevd.service\"";
    until("the start of udevd in the metrics", || {
        std::thread::sleep(Duration::from_millis(500));
        Ok(get("/metrics")?.contains(wanted).then_some(()))
    })?;
    until("the same in the report", || {
        let report = output(AGENT, &["report", "startup", RECORDING])?;
        Ok(report.contains("systemd-udevd.service").then_some(()))
    })?;
    Ok(format!("{} lines", text.lines().count()))
}

/// Runs something as a user who may nothing; whether it succeeded.
fn as_nobody(words: &[&str]) -> Result<bool> {
    let status = Command::new(TESTS_PROGRAM)
        .args(["as-user", "65534"])
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

fn strangers() -> Result<String> {
    let pid = main_pid()?.to_string();
    ensure!(as_nobody(&["/bin/true"])?, "nothing can be tried");
    ensure!(!as_nobody(&["/bin/cat", RECORDING])?, "the recording");
    ensure!(
        !as_nobody(&["/bin/ls", "/var/lib/notify-trace/"])?,
        "its folder"
    );
    ensure!(
        !as_nobody(&[TESTS_PROGRAM, "connect-stream", SOCKET])?,
        "the metrics"
    );
    ensure!(
        as_nobody(&["/bin/sh", "-c", "kill -0 $$"])?,
        "no signal can be tried"
    );
    for signal in ["KILL", "HUP", "STOP"] {
        let kill = format!("kill -{signal} {pid}");
        ensure!(!as_nobody(&["/bin/sh", "-c", &kill])?, "{signal}");
    }
    ensure!(
        !as_nobody(&["systemctl", "--no-ask-password", "stop", UNIT])?,
        "a stop"
    );
    ensure!(main_pid()?.to_string() == pid, "it is another one now");
    Ok("not the recording, the metrics, a signal, a stop".to_owned())
}

/// Waits until another process than this one is the service's.
fn wait_for_next(pid: u32) -> Result<()> {
    until("the next agent", || {
        let next: u32 = show("MainPID")?.parse()?;
        let is_ready = next > 0 && next != pid && show("SubState")? == "running";
        Ok(is_ready.then_some(()))
    })
}

fn killed() -> Result<String> {
    let before = loaded()?;
    let pid = main_pid()?;
    systemctl(&["kill", "-s", "KILL", UNIT])?;
    let begun = Instant::now();
    wait_for_next(pid)?;
    let took = begun.elapsed();
    until("as many programs and maps as before", || {
        Ok((loaded()? == before).then_some(()))
    })?;
    let events = recorded()?;
    ensure!(numbers(&events, "nt-steady.service").len() as u64 == STEADY);
    let check = Command::new(AGENT)
        .args(["report", "startup", RECORDING])
        .status()?;
    ensure!(check.success(), "the recording is damaged");
    Ok(format!("after {:.1} s", took.as_secs_f64()))
}

fn stops() -> Result<String> {
    let begun = Instant::now();
    systemctl(&["stop", UNIT])?;
    let took = begun.elapsed();
    ensure!(show("Result")? == "success", "{}", show("Result")?);
    nothing_is_left()?;
    ensure!(!Path::new(SOCKET).exists(), "{SOCKET} is left");
    let pins = fs::read_dir("/sys/fs/bpf").map_or(0, Iterator::count);
    let events = recorded()?;
    let summary = events.last().context("nothing is recorded")?;
    ensure!(summary["type"] == "summary", "{summary}");
    Ok(format!(
        "{:.1} s, {pins} pins of others",
        took.as_secs_f64()
    ))
}
