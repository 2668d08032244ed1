//! In a guest with systemd: what the agent says of every process against what systemd itself says
//! (`systemctl whoami`), and the other verbs against `/proc`.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{driver::Counts, pipe::until};

const AGENT: &str = "/run/notify-trace/notify-trace";
const TRACE: &str = "/run/notify-trace/trace.jsonl";

type Test = (&'static str, fn() -> Result<()>);

const TESTS: [Test; 7] = [
    (
        "services_are_attributed_to_the_units_that_systemd_names",
        attribution,
    ),
    (
        "an_instance_with_an_escaped_name_is_taken_apart",
        escaped_instance,
    ),
    ("a_user_manager_is_that_users_init_scope", user_manager),
    (
        "sockets_are_listed_with_their_real_owners_and_users",
        sockets,
    ),
    ("doctor_names_the_plan_that_trace_has", doctor),
    ("a_real_service_is_as_expected", expected),
    ("what_is_not_as_expected_is_told_and_explained", unexpected),
];

/// Runs all tests and says how they ended.
pub fn run() -> ExitCode {
    wait_for_boot();
    let mut counts = Counts::default();
    for (name, test) in TESTS {
        counts.check(&format!("systemd::{name}"), test());
    }
    counts.tell()
}

/// Whatever is still starting would come and go meanwhile.
pub fn wait_for_boot() {
    let _ = Command::new("systemctl")
        .args(["is-system-running", "--wait"])
        .output();
}

/// `expect` with these arguments: its exit code and what it printed.
fn expect(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = Command::new(AGENT)
        .arg("expect")
        .args(arguments)
        .output()
        .context("could not start the agent")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), format!("{said}{complaints}")))
}

/// udevd stops and starts again, and says so.
fn expected() -> Result<()> {
    let (code, said) = expect(&[
        "unit=systemd-udevd STOPPING=1 then unit=systemd-udevd READY=1 within 30s",
        "never unit=systemd-udevd ERRNO=",
        "unit=nobody-at-all at most 0 READY=1",
        "--",
        "systemctl",
        "restart",
        "systemd-udevd.service",
    ])?;
    ensure!(code == Some(0), "exit code {code:?}: {said}");
    ensure!(said.matches('✓').count() == 3, "{said}");
    // The command's own failure is passed on.
    let (code, said) = expect(&[
        "never unit=systemd-udevd ERRNO=",
        "--",
        "sh",
        "-c",
        "exit 7",
    ])?;
    ensure!(code == Some(7), "exit code {code:?}: {said}");
    Ok(())
}

fn unexpected() -> Result<()> {
    // It says READY=1, not that.
    let (code, said) = expect(&[
        "unit=systemd-udevd STATUS='never says this' within 20s",
        "--for",
        "60s",
        "--",
        "systemctl",
        "restart",
        "systemd-udevd.service",
    ])?;
    ensure!(code == Some(9), "exit code {code:?}: {said}");
    for words in ["none was accepted within 20.0 s", "READY=1", "[delivered]"] {
        ensure!(said.contains(words), "no {words:?} in: {said}");
    }
    // A helper says READY=1, where the manager listens to the main process only.
    let (code, said) = expect(&[
        "unit=nt-refused READY=1 within 10s",
        "--",
        "systemd-run",
        "--no-block",
        "--unit=nt-refused",
        "--service-type=notify",
        "--property=NotifyAccess=main",
        "--property=TimeoutStartSec=30",
        "sh",
        "-c",
        // systemd-notify would pass as its parent; who is gone when the manager looks has another
        // reason.
        "/run/notify-trace/notify-trace-tests speak --stay-ms 40000 READY=1; sleep 60",
    ])?;
    let _ = Command::new("systemctl")
        .args(["stop", "nt-refused.service"])
        .status();
    ensure!(code == Some(9), "exit code {code:?}: {said}");
    for words in [
        "delivered, but not accepted",
        "listens to the main process only",
        "helps: set NotifyAccess=all",
    ] {
        ensure!(said.contains(words), "no {words:?} in: {said}");
    }
    // Nobody of that name.
    let (code, said) = expect(&[
        "unit=no-such-unit READY=1 within 1s",
        "--",
        "systemctl",
        "restart",
        "systemd-udevd.service",
    ])?;
    ensure!(code == Some(9), "exit code {code:?}: {said}");
    ensure!(
        said.contains("nothing at all was sent by no-such-unit.service"),
        "{said}"
    );
    Ok(())
}

/// The unit of a process, by systemd's own word.
fn whoami(pid: u64) -> Option<String> {
    let output = Command::new("systemctl")
        .args(["whoami", &pid.to_string()])
        .output()
        .ok()?;
    let unit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !unit.is_empty()).then_some(unit)
}

/// What the agent has said so far. The last line may be half written.
pub fn trace() -> Result<Vec<Value>> {
    let text = fs::read_to_string(TRACE).context("the agent has said nothing")?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn senders() -> Result<Vec<Value>> {
    Ok(trace()?
        .into_iter()
        .filter(|event| event["type"] == "send")
        .map(|event| event["sender"].clone())
        .collect())
}

/// When a process started, in hundredths of a second since boot.
fn start_ticks(pid: u64) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

fn attribution() -> Result<()> {
    let mut units = BTreeSet::new();
    for sender in senders()? {
        let pid = sender["pid"].as_u64().context("a sender without a pid")?;
        let start = sender["start_boottime_ns"]
            .as_u64()
            .map(|ns| ns / 10_000_000);
        // Gone: then systemd doesn't know it either.
        if start.is_none() || start_ticks(pid) != start {
            continue;
        }
        let Some(unit) = whoami(pid) else { continue };
        let said = &sender["attribution"]["unit"]["name"];
        ensure!(*said == unit, "{pid} is of {unit}, not of {said}: {sender}");
        let executable = fs::read_link(format!("/proc/{pid}/exe")).context("no executable")?;
        let said = &sender["later"]["executable"];
        let is_same = said.as_str().map(Path::new) == Some(&*executable);
        ensure!(is_same, "{pid} is {}, not {said}", executable.display());
        units.insert(unit);
    }
    ensure!(units.len() >= 4, "only these were seen: {units:?}");
    Ok(())
}

fn escaped_instance() -> Result<()> {
    let unit = r"nt-escaped@dev-disk\x2d1.service";
    until("the instance to say that it is ready", || {
        let found = senders()?
            .into_iter()
            .map(|sender| sender["attribution"].clone())
            .find(|it| it["unit"]["name"] == unit);
        Ok(found)
    })
    .and_then(|said| {
        let expected = json!({
            "unit": {
                "name": unit, "template": "nt-escaped@.service", "instance": "dev/disk-1",
            },
            "slice": r"system-nt\x2descaped.slice",
        });
        ensure!(said == expected, "it is said to be {said}");
        Ok(())
    })
}

fn user_manager() -> Result<()> {
    let start = Command::new("systemctl")
        .args(["start", "user@0.service"])
        .output()
        .context("no systemctl")?;
    ensure!(
        start.status.success(),
        "no user manager: {}",
        String::from_utf8_lossy(&start.stderr)
    );
    let said = until("the user manager to say that it is ready", || {
        let found = senders()?
            .into_iter()
            .map(|sender| sender["attribution"].clone())
            .find(|it| it["unit"]["name"] == "user@0.service");
        Ok(found)
    })?;
    let expected = json!({
        "unit": {"name": "user@0.service", "template": "user@.service", "instance": "0"},
        "slice": "user-0.slice", "user": 0, "user_unit": {"name": "init.scope"},
    });
    ensure!(said == expected, "it is said to be {said}");
    Ok(())
}

/// What a verb prints as JSON, and its exit code.
fn json_of(arguments: &[&str]) -> Result<(Value, Option<i32>)> {
    let output = Command::new(AGENT)
        .args(arguments)
        .output()
        .with_context(|| format!("could not run {arguments:?}"))?;
    let value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok((value, output.status.code()))
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a Vec<Value>> {
    value[what].as_array().with_context(|| format!("no {what}"))
}

/// A process's environment as `/proc` shows it; empty if there is none, or no such process.
fn environment(pid: u64) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

/// The value of a variable in such an environment.
fn variable(environment: &[u8], name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(prefix.as_bytes()))
        .map(|value| String::from_utf8_lossy(value).into_owned())
}

/// What `sockets` lists, against `/proc` and systemd.
pub fn sockets() -> Result<()> {
    let (said, code) = json_of(&["sockets", "--output", "json"])?;
    ensure!(code == Some(0), "it ended with {code:?}");
    let mut shown = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for socket in list(&said, "sockets")? {
        addresses.insert(socket["address"].as_str().unwrap_or_default().to_owned());
        let link = format!("socket:[{}]", socket["inode"]);
        for owner in list(socket, "owners")? {
            let pid = owner["pid"].as_u64().context("an owner without a pid")?;
            let has_it = fs::read_dir(format!("/proc/{pid}/fd"))
                .with_context(|| format!("owner {pid} is gone"))?
                .flatten()
                .filter_map(|entry| fs::read_link(entry.path()).ok())
                .any(|to| to.as_os_str() == link.as_str());
            ensure!(has_it, "{pid} does not have {socket}");
            check_unit(pid, owner)?;
        }
        for process in list(socket, "processes")? {
            let pid = process["pid"].as_u64().context("a process without a pid")?;
            shown.insert(pid);
            // Read once: it may end meanwhile.
            let environment = environment(pid);
            let Some(has) = variable(&environment, "NOTIFY_SOCKET") else {
                continue;
            };
            ensure!(
                process["notify_socket"] == has,
                "{pid} has {has}, not {process}"
            );
            check_unit(pid, process)?;
            let usec =
                variable(&environment, "WATCHDOG_USEC").and_then(|usec| usec.parse::<u64>().ok());
            let said = process["watchdog"]["usec"].as_u64();
            ensure!(
                said == usec,
                "{pid} has WATCHDOG_USEC {usec:?}, not {said:?}"
            );
        }
    }
    for address in ["/run/systemd/notify", "/run/user/0/systemd/notify"] {
        ensure!(
            addresses.contains(address),
            "{address} is not listed: {addresses:?}"
        );
    }
    let first = list(&said, "sockets")?
        .iter()
        .find(|socket| socket["address"] == "/run/systemd/notify")
        .context("not listed")?;
    ensure!(
        first["owners"][0]["pid"] == 1,
        "it is owned by {}",
        first["owners"]
    );
    ensure!(
        first["class"] == "systemd",
        "it is of class {}",
        first["class"]
    );
    // Whoever has the variable, and is still there, is shown.
    for entry in fs::read_dir("/proc").context("no /proc")?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && variable(&environment(pid), "NOTIFY_SOCKET").is_some()
            && start_ticks(pid) < start_ticks(std::process::id().into())
        {
            ensure!(shown.contains(&pid), "process {pid} is not shown");
        }
    }
    ensure!(shown.len() >= 4, "only these are shown: {shown:?}");
    Ok(())
}

fn check_unit(pid: u64, process: &Value) -> Result<()> {
    let Some(unit) = whoami(pid) else {
        // Gone meanwhile.
        return Ok(());
    };
    let said = &process["attribution"]["unit"]["name"];
    ensure!(
        *said == unit,
        "{pid} is of {unit}, not of {said}: {process}"
    );
    Ok(())
}

fn doctor() -> Result<()> {
    let (said, code) = json_of(&["doctor", "--json"])?;
    let session = trace()?.into_iter().next().context("no session")?;
    let plan = &session["plan"]["name"];
    if said["plan"]["name"] != *plan {
        bail!("doctor says {}, trace has {plan}", said["plan"]);
    }
    let expected = match said["verdict"].as_str() {
        Some("usable") => Some(0),
        Some("limited") => Some(6),
        other => bail!("the verdict is {other:?}"),
    };
    ensure!(
        code == expected,
        "verdict {}, exit code {code:?}",
        said["verdict"]
    );
    Ok(())
}
