//! What the agent sends to a receiver of OTLP, a real Collector, and what becomes of it when that is down,
//! hangs, refuses, or stays away for too long.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    UNIT, configure_with,
    faults::{metric, restart, say},
    main_pid, show, systemctl, until,
};

const PROGRAM: &str = "/run/notify-trace/otelcol";
const COLLECTOR: &str = "nt-collector.service";
const FOLDER: &str = "/run/nt-collector";

/// Its name is in /etc/hosts: names are looked up without a C library's plugins.
const NAME: &str = "collector.test";
const PORT: u16 = 4318;

/// Bytes of a status: some hundred of these fill a block of the recording.
const LONG: usize = 600;

/// What it does with what it is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    /// It answers 503 to everything.
    Refuses,
}

fn write_config(mood: Mood) -> Result<()> {
    let (definition, list) = match mood {
        Mood::Takes => ("", ""),
        Mood::Refuses => (
            "processors:\n  memory_limiter: {check_interval: 100ms, limit_mib: 20, spike_limit_mib: 19}\n",
            "processors: [memory_limiter], ",
        ),
    };
    let pipeline = format!("{{receivers: [otlp], {list}exporters: [debug]}}");
    let text = format!(
        "receivers:\n  otlp: {{protocols: {{http: {{endpoint: \"127.0.0.1:{PORT}\"}}}}}}\n{definition}\
         exporters:\n  debug: {{verbosity: detailed, use_internal_logger: false, \
         output_paths: [{FOLDER}/received]}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n  \
         pipelines: {{logs: {pipeline}, traces: {pipeline}, metrics: {pipeline}}}\n"
    );
    fs::create_dir_all(FOLDER)?;
    fs::write(format!("{FOLDER}/collector.yaml"), text).context("could not write its settings")
}

/// Starts it, and waits until it listens.
fn start() -> Result<()> {
    write_config(Mood::Takes)?;
    let status = Command::new("systemd-run")
        .args(["--quiet", "--collect", &format!("--unit={COLLECTOR}")])
        .args([PROGRAM, "--config", &format!("{FOLDER}/collector.yaml")])
        .stdin(Stdio::null())
        .status()?;
    ensure!(status.success(), "the Collector can't be started");
    until("the Collector to listen", || {
        thread::sleep(Duration::from_millis(100));
        Ok(TcpStream::connect(("127.0.0.1", PORT)).ok().map(drop))
    })
}

/// The agent sends there, with these settings besides.
fn send_there(sections: &str) -> Result<()> {
    let otlp = format!(
        "[otlp]\nendpoint = \"http://{NAME}:{PORT}\"\ninterval = \"2s\"\ntimeout = \"3s\"\n{sections}"
    );
    configure_with("cpu_percent = 0", &otlp)?;
    systemctl(&["restart", UNIT])
}

/// Numbers that it received behind a key, and how often each.
fn received(key: &str) -> Result<BTreeMap<u64, u64>> {
    let text = fs::read(format!("{FOLDER}/received")).context("nothing was received")?;
    let text = String::from_utf8_lossy(&text);
    let mut numbers = BTreeMap::new();
    for (at, _) in text.match_indices(&format!("{key}=")) {
        let digits = &text[at + key.len() + 1..];
        let end = digits.find(|c: char| !c.is_ascii_digit());
        if let Ok(number) = digits[..end.unwrap_or(digits.len())].parse() {
            *numbers.entry(number).or_default() += 1;
        }
    }
    Ok(numbers)
}

/// Waits until each of so many has arrived; how many arrived more than once.
fn all_received(key: &str, count: u64) -> Result<usize> {
    let numbers = until(&format!("{count} numbers of {key}"), || {
        thread::sleep(Duration::from_millis(500));
        let numbers = received(key)?;
        Ok((numbers.len() as u64 >= count).then_some(numbers))
    })?;
    ensure!(
        numbers.keys().copied().eq(1..=count),
        "others than were sent: {:?}",
        numbers.keys()
    );
    Ok(numbers.values().filter(|times| **times > 1).count())
}

fn speak(unit: &str, key: &str, count: u64, text: &str) -> Result<()> {
    let (count, key) = (count.to_string(), format!("{key}="));
    say(unit, &["--times", &count, "--number", &key, text])
}

fn until_stuck() -> Result<()> {
    until("the agent to say that nothing can be sent", || {
        thread::sleep(Duration::from_millis(500));
        Ok((metric("notify_trace_otlp_stuck")? == 1.0).then_some(()))
    })
}

fn lost() -> Result<f64> {
    Ok(metric("notify_trace_otlp_lost_events_total")? + metric("notify_trace_otlp_refused_total")?)
}

/// The thread that sends has no capabilities.
fn is_harmless() -> Result<()> {
    let tasks = format!("/proc/{}/task", main_pid()?);
    for thread in fs::read_dir(tasks)?.flatten() {
        let status = fs::read_to_string(thread.path().join("status"))?;
        if status.starts_with("Name:\totlp\n") {
            ensure!(
                status.contains("CapPrm:\t0000000000000000"),
                "it has capabilities: {status}"
            );
            return Ok(());
        }
    }
    anyhow::bail!("no thread sends")
}

/// Sent = received, over an outage and a restart of the agent in it.
pub(super) fn outage() -> Result<String> {
    let mut hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    hosts.push_str(&format!("\n127.0.0.1 {NAME}\n"));
    fs::write("/etc/hosts", hosts).context("could not name the Collector")?;
    start()?;
    send_there("")?;
    speak("nt-sent", "X_SENT", 500, "STATUS=sent")?;
    ensure!(all_received("X_SENT", 500)? == 0, "some are there twice");
    is_harmless()?;
    systemctl(&["stop", COLLECTOR])?;
    speak("nt-outage", "X_OUTAGE", 500, "STATUS=away")?;
    until_stuck()?;
    let waiting = metric("notify_trace_otlp_waiting_events")?;
    ensure!(waiting >= 500.0, "{waiting} wait");
    // What waits, and what was sent, is known to the next run, too.
    systemctl(&["restart", UNIT])?;
    speak("nt-later", "X_LATER", 100, "STATUS=later")?;
    until_stuck()?;
    let status = until("the status to say so", || {
        thread::sleep(Duration::from_secs(1));
        let status = show("StatusText")?;
        Ok(status.contains("wait because of this").then_some(status))
    })?;
    ensure!(status.contains("onnection refused"), "{status}");
    start()?;
    for (key, count) in [("X_OUTAGE", 500), ("X_LATER", 100), ("X_SENT", 500)] {
        ensure!(
            all_received(key, count)? == 0,
            "{key}: some are there twice"
        );
    }
    ensure!(lost()? == 0.0, "{} are lost", lost()?);
    // Real services: their spans are traces of their invocations.
    systemctl(&["restart", "systemd-udevd.service"])?;
    let text = until("the span of a start", || {
        thread::sleep(Duration::from_millis(500));
        let text = fs::read(format!("{FOLDER}/received"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text
            .contains(": start systemd-udevd.service")
            .then_some(text))
    })?;
    let words = ["show", "-P", "InvocationID", "systemd-udevd.service"];
    let invocation = super::output("systemctl", &words)?;
    let trace = format!("Trace ID       : {}", invocation.trim());
    ensure!(text.contains(&trace), "no {trace}");
    ensure!(
        text.contains("-> Name: notify_trace_notifications"),
        "no metrics"
    );
    Ok(format!(
        "1,100 of 1,100, each once; {waiting} events waited; a start is in the trace of its invocation"
    ))
}

/// One that hangs, and one that refuses.
pub(super) fn refusals() -> Result<String> {
    systemctl(&["kill", "-s", "STOP", COLLECTOR])?;
    speak("nt-hangs", "X_HANGS", 200, "STATUS=hangs")?;
    until_stuck()?;
    systemctl(&["kill", "-s", "CONT", COLLECTOR])?;
    // What it was given before it hung may be taken after all.
    let twice = all_received("X_HANGS", 200)?;
    write_config(Mood::Refuses)?;
    systemctl(&["kill", "-s", "HUP", COLLECTOR])?;
    speak("nt-refused", "X_REFUSED", 200, "STATUS=refused")?;
    until_stuck()?;
    write_config(Mood::Takes)?;
    systemctl(&["kill", "-s", "HUP", COLLECTOR])?;
    ensure!(all_received("X_REFUSED", 200)? == 0, "some are there twice");
    ensure!(lost()? == 0.0, "{} are lost", lost()?);
    Ok(format!(
        "200 of 200 after it hung ({twice} twice), 200 of 200 after status 503"
    ))
}

/// An outage that the recording can't outlast.
pub(super) fn beyond() -> Result<String> {
    // All that is recorded so far is sent at its end.
    systemctl(&["stop", UNIT])?;
    systemctl(&["stop", COLLECTOR])?;
    send_there("[record]\nmax_age = \"5s\"\n")?;
    let text = format!("STATUS={}", "x".repeat(LONG));
    speak("nt-beyond", "X_BEYOND", 3_000, &text)?;
    let expired = until("events to expire", || {
        thread::sleep(Duration::from_secs(1));
        let expired = metric("notify_trace_otlp_lost_events_total")?;
        Ok((expired > 0.0).then_some(expired))
    })?;
    start()?;
    let said = until("each event to be accounted for", || {
        thread::sleep(Duration::from_secs(1));
        let taken = metric("notify_trace_otlp_taken_events_total")?;
        let lost = metric("notify_trace_otlp_lost_events_total")?;
        let waiting = metric("notify_trace_otlp_waiting_events")?;
        let stored = metric("notify_trace_recorded_events_total")?;
        let is_so = waiting == 0.0 && taken + lost == stored;
        Ok(is_so.then_some((taken, lost, stored)))
    })?;
    let (taken, lost, stored) = said;
    let got = received("X_BEYOND")?;
    ensure!(
        got.values().all(|times| *times == 1),
        "some are there twice"
    );
    ensure!(
        got.keys().next_back() == Some(&3_000),
        "the last are not there: {:?}",
        got.keys().next_back()
    );
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let missing = (3_000 - got.len()) as f64;
    ensure!(
        missing > 0.0 && missing <= lost,
        "{missing} are missing, {lost} are counted"
    );
    restart()?;
    systemctl(&["stop", COLLECTOR])?;
    Ok(format!(
        "{stored} events stored = {taken} taken + {lost} expired ({expired} at first); {} of 3,000 arrived, the \
         last ones",
        got.len()
    ))
}
