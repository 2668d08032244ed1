//! What the agent does when something that it needs is broken, full, gone, or hostile.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    AGENT, CONFIG, SOCKET, TESTS_PROGRAM, UNIT, configure, configure_with, get, journal, main_pid,
    numbers, output, recorded, show, systemctl, unit, until, wait_for_next,
};
use crate::tracer::Agent;

/// How many units speak in the test of many, and from how many cgroups each.
const UNITS: u32 = 10_000;
const CGROUPS_OF_EACH: u32 = 10;

/// Where they do.
const MANY_SOCKET: &str = "/run/nt-many.sock";

/// Where that is recorded: other tests read the other one from its beginning.
const MANY_RECORDING: &str = "/var/lib/notify-trace/many.ntrec";

/// Restarts with the settings of all tests.
pub(super) fn restart() -> Result<()> {
    configure("")?;
    systemctl(&["restart", UNIT])
}

/// A sender of numbered notifications, as a service; waits until it has ended.
pub(super) fn say(unit_name: &str, words: &[&str]) -> Result<()> {
    say_with(unit_name, &[], words)
}

/// The same with properties of the unit.
fn say_with(unit_name: &str, properties: &[&str], words: &[&str]) -> Result<()> {
    let speak = [TESTS_PROGRAM, "speak", "--number", "X_NUMBER="];
    unit(unit_name, properties, &[&speak, words].concat())
}

/// Waits until all numbers of a unit are recorded, each once, in order.
pub(super) fn all_recorded(unit: &str, count: u64) -> Result<Vec<Value>> {
    let unit = format!("{unit}.service");
    let events = until("the recording of the last notification", || {
        thread::sleep(Duration::from_millis(200));
        let events = recorded()?;
        Ok((numbers(&events, &unit).last() == Some(&count)).then_some(events))
    })?;
    let got = numbers(&events, &unit);
    ensure!(
        got == (1..=count).collect::<Vec<_>>(),
        "{} of {count} of {unit}",
        got.len()
    );
    Ok(events)
}

/// The sum of a metric, as it is now.
pub(super) fn metric(name: &str) -> Result<f64> {
    Ok(super::metric(&get("/metrics")?, name))
}

pub(super) fn is_well() -> Result<bool> {
    Ok(get("/healthz")?.starts_with("HTTP/1.1 200"))
}

/// A trace beside it, and a second agent that would write the same.
pub(super) fn another() -> Result<String> {
    let mut trace = Agent::spawn(Command::new(AGENT).args([
        "trace", "-o", "json", "--unit", "nt-both", "--count", "20", "--for", "100s",
    ]))?;
    trace.wait_ready()?;
    say(
        "nt-both",
        &["--times", "20", "--every-ms", "20", "STATUS=both"],
    )?;
    let events: Vec<Value> = trace
        .ended()?
        .said
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let seen = numbers(&events, "nt-both.service");
    ensure!(
        seen == (1..=20).collect::<Vec<_>>(),
        "the trace has {seen:?}"
    );
    all_recorded("nt-both", 20)?;
    let second = Command::new("timeout")
        .args(["100", AGENT, "agent", "--config", CONFIG])
        .env_remove("NOTIFY_SOCKET")
        .output()?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(
        second.status.code() == Some(1),
        "{:?}: {said}",
        second.status
    );
    ensure!(said.contains("belongs to another user"), "{said}");
    ensure!(is_well()?, "the first one is not well");
    Ok("20 of 20 for both; a second agent is refused its recording".to_owned())
}

/// How many perf events, its rings among them, an agent has.
fn perf_events(pid: u32) -> Result<usize> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    Ok(links
        .filter(|link| link.to_string_lossy().contains("perf_event"))
        .count())
}

fn switch_cpu(state: &str) -> Result<()> {
    fs::write("/sys/devices/system/cpu/cpu1/online", state).context("could not switch CPU 1")
}

/// As [`say`], from the CPU that comes and goes.
fn say_on_cpu_1(unit_name: &str) -> Result<()> {
    let words = ["--times", "50", "--every-ms", "5", "STATUS=cpus"];
    say_with(unit_name, &["-p", "CPUAffinity=1"], &words)?;
    all_recorded(unit_name, 50).map(drop)
}

/// Switches CPU 1 off, and on when the agent has followed.
fn cycle_cpu(pid: u32) -> Result<()> {
    let with_all = perf_events(pid)?;
    switch_cpu("0")?;
    until("a ring to be closed", || {
        Ok((perf_events(pid)? < with_all).then_some(()))
    })?;
    switch_cpu("1")
}

pub(super) fn cpus() -> Result<String> {
    let paranoid = "/proc/sys/kernel/perf_event_paranoid";
    let before = fs::read_to_string(paranoid)?;
    // With 2, CAP_PERFMON is enough, and that is kept.
    fs::write(paranoid, "2")?;
    let pid = main_pid()?;
    let with_all = perf_events(pid)?;
    cycle_cpu(pid)?;
    until("a ring to be opened", || {
        Ok((perf_events(pid)? == with_all).then_some(()))
    })?;
    say_on_cpu_1("nt-cpus")?;
    ensure!(main_pid()? == pid, "it was started again");
    // Else CAP_SYS_ADMIN is asked for, which was given up.
    fs::write(paranoid, before.trim())?;
    cycle_cpu(pid)?;
    wait_for_next(pid)?;
    let log = journal()?;
    ensure!(log.contains("CPU 1 has come up"), "{log}");
    say_on_cpu_1("nt-cpus-after")?;
    Ok(format!(
        "a ring of its own; with kernel.perf_event_paranoid = {} by starting again",
        before.trim()
    ))
}

pub(super) fn scrapes() -> Result<String> {
    let is_over = AtomicBool::new(false);
    let answers = AtomicU64::new(0);
    let result = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if let Ok(mut stream) = UnixStream::connect(SOCKET) {
                        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
                        let mut text = String::new();
                        if stream.read_to_string(&mut text).is_ok() && text.contains(" 200 ") {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let result = say(
            "nt-storm",
            &["--times", "500", "--every-ms", "4", "STATUS=storm"],
        );
        is_over.store(true, Ordering::Relaxed);
        result
    });
    result?;
    all_recorded("nt-storm", 500)?;
    let answers = answers.into_inner();
    ensure!(answers > 10, "{answers} answers");
    Ok(format!("{answers} answers meanwhile, 500 of 500"))
}

/// Sets the clock so many seconds ahead.
fn step_clock(seconds: i64) -> Result<()> {
    let now: i64 = output("date", &["+%s"])?.trim().parse()?;
    let status = Command::new("date")
        .args(["-s", &format!("@{}", now + seconds)])
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "could not set the clock");
    Ok(())
}

pub(super) fn clock() -> Result<String> {
    let sender = thread::spawn(|| {
        say(
            "nt-clock",
            &["--times", "200", "--every-ms", "100", "STATUS=tick"],
        )
    });
    let stepped = until("the first of them", || {
        Ok(numbers(&recorded()?, "nt-clock.service").first().copied())
    })
    .and_then(|_| step_clock(3_600));
    thread::sleep(Duration::from_millis(1_500));
    let stepped = stepped.and_then(|()| step_clock(-3_600));
    sender.join().map_err(|_| anyhow::anyhow!("the sender"))??;
    stepped?;
    let events = all_recorded("nt-clock", 200)?;
    let sent: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "send")
        .filter(|event| event["sender"]["attribution"]["unit"]["name"] == "nt-clock.service")
        .collect();
    let times: Vec<u64> = sent
        .iter()
        .filter_map(|event| event["monotonic_ns"].as_u64())
        .collect();
    ensure!(times.is_sorted(), "spans run backwards");
    let most_ns = times
        .windows(2)
        .map(|two| two[1] - two[0])
        .max()
        .unwrap_or(0);
    ensure!(most_ns < 30_000_000_000, "a gap of {most_ns} ns");
    let hours: std::collections::BTreeSet<&str> = sent
        .iter()
        .filter_map(|event| event["time"].as_str()?.get(..13))
        .collect();
    ensure!(
        hours.len() >= 2,
        "the wall clock was not followed: {hours:?}"
    );
    Ok(format!("200 of 200, wall time in the hours {hours:?}"))
}

pub(super) fn overflow() -> Result<String> {
    let before = metric("notify_trace_lost_total{cause=\"ring_full\"}")?;
    let pid = main_pid()?.to_string();
    let signal = |name: &str| {
        Command::new("sh")
            .args(["-c", &format!("kill {name} {pid}")])
            .status()
    };
    ensure!(signal("-STOP")?.success(), "SIGSTOP");
    let sent = 6_000_u64;
    let text = format!("STATUS={}", "y".repeat(2_000));
    let result = say("nt-over", &["--times", &sent.to_string(), &text]);
    ensure!(signal("-CONT")?.success(), "SIGCONT");
    result?;
    let lost = until("the loss in the metrics", || {
        thread::sleep(Duration::from_millis(500));
        let lost = metric("notify_trace_lost_total{cause=\"ring_full\"}")?;
        Ok((lost > before).then_some(lost - before))
    })?;
    say("nt-after", &["--times", "5", "STATUS=after"])?;
    let events = all_recorded("nt-after", 5)?;
    let got = numbers(&events, "nt-over.service");
    ensure!(got.is_sorted() && !got.is_empty(), "{got:?}");
    let missing = sent - got.len() as u64;
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let missing_records = missing as f64;
    ensure!(
        lost >= missing_records,
        "{missing} missing, {lost} records counted as lost"
    );
    Ok(format!(
        "{sent} sent, {missing} missing, {lost} records counted as lost"
    ))
}

pub(super) fn many_units() -> Result<String> {
    // Moving from one cgroup to the next waits for all CPUs otherwise.
    let words = ["-o", "remount,favordynmods", "/sys/fs/cgroup"];
    ensure!(Command::new("mount").args(words).status()?.success());
    configure_with(
        "cpu_percent = 0",
        &format!(
            "[capture]\nsocket = [\"{MANY_SOCKET}\"]\nring_size = \"8M\"\n\
             [record]\nfile = \"{MANY_RECORDING}\"\n"
        ),
    )?;
    systemctl(&["restart", UNIT])?;
    let memory_before = metric("process_resident_memory_bytes")?;
    let begun = Instant::now();
    let status = Command::new(TESTS_PROGRAM)
        .args(["speak-from-many", "nt-many", &UNITS.to_string()])
        .args([&CGROUPS_OF_EACH.to_string(), MANY_SOCKET, "READY=1"])
        .status()?;
    ensure!(status.success(), "the senders failed");
    let took = begun.elapsed();
    let counted = "notify_trace_notifications_total";
    let wanted = f64::from(UNITS * CGROUPS_OF_EACH);
    let so_far = until("all to be counted", || {
        thread::sleep(Duration::from_millis(500));
        let count = metric(counted)?;
        Ok((count >= wanted).then_some(count))
    })?;
    let lost = metric("notify_trace_lost_total")?;
    let units = metric("notify_trace_units ")?;
    let others = metric(&format!("{counted}{{unit=\"_other\""))?;
    ensure!(
        units <= 500.0 && others > 0.0,
        "{units} units, {others} others"
    );
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let resident_mib = mib(metric("process_resident_memory_bytes")?);
    ensure!(resident_mib < 128.0, "{resident_mib} MiB");
    let size = get("/metrics")?.len();
    ensure!(size < 2_000_000, "{size} bytes of metrics");
    ensure!(lost == 0.0, "{lost} lost");
    restart()?;
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{MANY_RECORDING}{end}"));
    }
    Ok(format!(
        "{UNITS} units with {CGROUPS_OF_EACH} cgroups each in {:.0} s: {so_far} counted, {units} units of their \
         own, {others} notifications of others, {:.0} MiB before and {resident_mib:.0} after, {size} bytes of \
         metrics, nothing lost",
        took.as_secs_f64(),
        mib(memory_before)
    ))
}

pub(super) fn flood() -> Result<String> {
    // 30 s of 2 % are saved up: gone at once.
    configure_with("cpu_percent = 2", "[capture]\nring_size = \"8M\"")?;
    systemctl(&["restart", UNIT])?;
    let is_over = AtomicBool::new(false);
    let shed = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                say(
                    "nt-flood",
                    &["--times", "3000", "--every-ms", "1", "STATUS=flood"],
                )?;
            }
            anyhow::Ok(())
        });
        let shed = until("something to be shed", || {
            thread::sleep(Duration::from_millis(500));
            let shed = metric("notify_trace_lost_total{cause=\"shed\"}")?;
            Ok((shed > 0.0).then_some(()))
        })
        .and_then(|()| {
            say(
                "nt-quiet",
                &["--times", "40", "--every-ms", "100", "STATUS=quiet"],
            )
        });
        is_over.store(true, Ordering::Relaxed);
        let flood = flood.join().unwrap_or(Ok(()));
        shed.and(flood)
    });
    shed?;
    let events = all_recorded("nt-quiet", 40)?;
    let named = events.iter().any(|event| {
        event["type"] == "loss"
            && event["shed_from"][0]["cgroup"] == "/system.slice/nt-flood.service"
    });
    ensure!(named, "no loss names the flood");
    let count = metric("notify_trace_lost_total{cause=\"shed\"}")?;
    // At once, or with what was lost within a minute.
    until("the journal to say who was shed", || {
        let log = journal()?;
        Ok((log.contains("limits.cpu_percent") && log.contains("nt-flood")).then_some(()))
    })?;
    restart()?;
    Ok(format!("{count} shed, 40 of 40 of the quiet one"))
}

pub(super) fn out_of_memory() -> Result<String> {
    configure("")?;
    let pid = main_pid()?;
    systemctl(&[
        "set-property",
        "--runtime",
        UNIT,
        "MemoryHigh=infinity",
        "MemoryMax=4M",
    ])?;
    // It needs some.
    let _ = say("nt-memory", &["--times", "500", "STATUS=memory"]);
    let gone = until("the kernel to take it", || {
        Ok((show("MainPID")? != pid.to_string()).then_some(()))
    });
    systemctl(&[
        "set-property",
        "--runtime",
        UNIT,
        "MemoryHigh=192M",
        "MemoryMax=256M",
    ])?;
    gone?;
    let result = show("Result")?;
    wait_for_next(pid)?;
    ensure!(recorded()?.len() > 1, "the recording is damaged");
    Ok(format!("result {result}, and running again"))
}
