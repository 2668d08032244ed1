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
    AGENT, CONFIG, RECORDING, SOCKET, TESTS_PROGRAM, UNIT, configure, configure_with, get, journal,
    main_pid, numbers, output, recorded, show, systemctl, unit, until, wait_for_next,
};
use crate::tracer::Agent;

/// Where the recording is.
const FOLDER: &str = "/var/lib/notify-trace";

/// How many cgroups speak in the test of many units.
const MANY: u64 = 3_000;

/// Restarts with the settings of all tests.
fn restart() -> Result<()> {
    configure("")?;
    systemctl(&["restart", UNIT])
}

/// A sender of numbered notifications, as a service; waits until it has ended.
fn say(unit_name: &str, words: &[&str]) -> Result<()> {
    say_with(unit_name, &[], words)
}

/// The same with properties of the unit.
fn say_with(unit_name: &str, properties: &[&str], words: &[&str]) -> Result<()> {
    let speak = [TESTS_PROGRAM, "speak", "--number", "X_NUMBER="];
    unit(unit_name, properties, &[&speak, words].concat())
}

/// Waits until all numbers of a unit are recorded, each once, in order.
fn all_recorded(unit: &str, count: u64) -> Result<Vec<Value>> {
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
fn metric(name: &str) -> Result<f64> {
    Ok(super::metric(&get("/metrics")?, name))
}

fn is_well() -> Result<bool> {
    Ok(get("/healthz")?.starts_with("HTTP/1.1 200"))
}

/// With the recording on a small disk of its own, until `act` has ended.
fn on_small_disk(act: impl FnOnce() -> Result<String>) -> Result<String> {
    systemctl(&["stop", UNIT])?;
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2M,mode=700", "small", FOLDER])
        .status()?;
    ensure!(mounted.success(), "could not mount a small disk");
    let result = restart().and_then(|()| act());
    systemctl(&["stop", UNIT])?;
    let unmounted = Command::new("umount").arg(FOLDER).status()?;
    ensure!(unmounted.success(), "could not unmount the small disk");
    restart()?;
    result
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

pub(super) fn full_disk() -> Result<String> {
    on_small_disk(|| {
        let filler = format!("{FOLDER}/filler");
        // Until there is no room.
        let _ = fs::write(&filler, vec![0_u8; 4 << 20]);
        let text = format!("STATUS={}", "x".repeat(3_000));
        say("nt-full", &["--times", "300", "--every-ms", "1", &text])?;
        until("the agent to say that the disk is full", || {
            Ok((!is_well()?).then_some(()))
        })?;
        ensure!(metric("notify_trace_recording_stuck")? > 0.0);
        let trouble = get("/healthz")?;
        ensure!(trouble.contains("full"), "{trouble}");
        fs::remove_file(&filler).context("the filler")?;
        until(
            "the agent to be well again",
            || Ok(is_well()?.then_some(())),
        )?;
        all_recorded("nt-full", 300)?;
        ensure!(metric("notify_trace_recording_dropped_events")? == 0.0);
        Ok("300 of 300 after there was room".to_owned())
    })
}

/// As after an error of the disk: every file system on one is read-only, open files or not.
pub(super) fn read_only() -> Result<String> {
    say("nt-before", &["--times", "10", "STATUS=before"])?;
    all_recorded("nt-before", 10)?;
    fs::write("/proc/sysrq-trigger", "u").context("could not make the disks read-only")?;
    until("the disk to be read-only", || {
        let is_writable = fs::write(format!("{FOLDER}/probe"), "").is_ok();
        Ok((!is_writable).then_some(()))
    })?;
    // Linux tells an error of writing once: the agent's next try may seem to succeed, so it is looked at
    // while more comes.
    let result = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let words = ["--times", "50", "--every-ms", "100", "STATUS=during"];
            say("nt-during", &words)
        });
        let told = until("the agent to say that it can't write", || {
            Ok((!is_well()?).then_some(()))
        });
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the sender"))?;
        told.and(sent)
    });
    let status = Command::new("mount")
        .args(["-o", "remount,rw", "/"])
        .status()?;
    ensure!(status.success(), "could not make the disk writable again");
    result?;
    all_recorded("nt-during", 50)?;
    ensure!(is_well()?, "it is not well again");
    Ok("50 of 50 after it was writable".to_owned())
}

pub(super) fn removed() -> Result<String> {
    let pid = main_pid()?;
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{RECORDING}{end}"));
    }
    say(
        "nt-anew",
        &["--times", "20", "--every-ms", "100", "STATUS=anew"],
    )?;
    all_recorded("nt-anew", 20)?;
    ensure!(main_pid()? == pid, "it was started again");
    Ok("20 of 20 in the new one".to_owned())
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
    let before = metric("notify_trace_notifications_total")?;
    let begun = Instant::now();
    let status = Command::new(TESTS_PROGRAM)
        .args(["speak-from-many", "nt-many", &MANY.to_string(), "READY=1"])
        .env("NOTIFY_SOCKET", "/run/systemd/notify")
        .status()?;
    ensure!(status.success(), "the senders failed");
    let took = begun.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let wanted = before + MANY as f64;
    until("all to be counted", || {
        thread::sleep(Duration::from_millis(500));
        Ok((metric("notify_trace_notifications_total")? >= wanted).then_some(()))
    })?;
    let units = metric("notify_trace_units ")?;
    let others = metric("notify_trace_notifications_total{unit=\"_other\"")?;
    ensure!(
        units <= 500.0 && others > 0.0,
        "{units} units, {others} others"
    );
    let resident_mib = metric("process_resident_memory_bytes")? / f64::from(1 << 20);
    ensure!(resident_mib < 96.0, "{resident_mib} MiB");
    let size = get("/metrics")?.len();
    ensure!(size < 2_000_000, "{size} bytes of metrics");
    Ok(format!(
        "{MANY} cgroups in {:.0} s: {units} units of their own, {others} notifications of others, \
         {resident_mib:.0} MiB, {size} bytes of metrics",
        took.as_secs_f64()
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

/// What a hostile sender could say.
const HOSTILE: [&str; 6] = [
    "STATUS=\x1b[2J\x1b]0;owned\x07",
    "STATUS=</script><script>alert(1)</script>",
    "STATUS='); DROP TABLE notification; --",
    "STATUS=\"} 1\\nnotify_trace_lost_total{cause=\"x\"} 9",
    "X_\u{202e}KEY=\u{200b}\\0",
    "={\"type\":\"summary\"}",
];

pub(super) fn hostile() -> Result<String> {
    for (number, text) in HOSTILE.iter().enumerate() {
        say(&format!("nt-hostile-{number}"), &["--times", "1", text])?;
    }
    say("nt-harmless", &["--times", "1", "STATUS=done"])?;
    all_recorded("nt-harmless", 1)?;
    let text = output(AGENT, &["show", RECORDING])?;
    ensure!(
        !text.contains('\x1b') && !text.contains('\x07'),
        "a terminal is told something"
    );
    ensure!(text.contains("owned"), "it is not shown");
    let page = "/run/nt-hostile.html";
    output(AGENT, &["timeline", RECORDING, "-o", page])?;
    let html = fs::read_to_string(page)?;
    ensure!(!html.contains("<script>alert(1)"), "a page runs it");
    ensure!(html.contains("alert(1)"), "it is not drawn");
    for line in get("/metrics")?
        .split_once("\r\n\r\n")
        .context("no body")?
        .1
        .lines()
    {
        let is_ours = ["# ", "notify_trace_", "process_"]
            .iter()
            .any(|begin| line.starts_with(begin));
        ensure!(is_ours && !line.contains("cause=\"x\""), "{line}");
    }
    let report = output(AGENT, &["report", "rate", RECORDING, "--output", "json"])?;
    ensure!(report.contains("nt-hostile-2.service"), "{report}");
    Ok(format!("{} of them", HOSTILE.len()))
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
