//! Payloads and names that somebody chose to do harm: to a terminal, a page, a query, a series of numbers.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{
    AGENT, RECORDING, TESTS_PROGRAM,
    faults::{all_recorded, say},
    get, output, until,
};

/// What a hostile sender could say.
const HOSTILE: [&str; 6] = [
    "STATUS=\x1b[2J\x1b]0;owned\x07",
    "STATUS=</script><script>alert(1)</script>",
    "STATUS='); DROP TABLE notification; --",
    "STATUS=\"} 1\\nnotify_trace_lost_total{cause=\"x\"} 9",
    "X_\u{202e}KEY=\u{200b}\\0",
    "={\"type\":\"summary\"}",
];

/// What a container may be called: if it were not escaped, it would be a series of its own.
const HOSTILE_NAME: &str = "nt\"} 1 nt_forged{x=\"\u{1b}[2J";

/// Sends one notification from a cgroup that is made for it.
fn say_from(cgroup: &str) -> Result<()> {
    let folder = Path::new("/sys/fs/cgroup").join(cgroup);
    fs::create_dir(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    let script = "echo $$ > \"$1/cgroup.procs\" && exec \"$2\" speak --times 1 STATUS=named";
    let status = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&folder)
        .arg(TESTS_PROGRAM)
        .env("NOTIFY_SOCKET", "/run/systemd/notify")
        .status()?;
    ensure!(status.success(), "the sender in {cgroup:?} failed");
    until(
        "the cgroup to be empty",
        || Ok(fs::remove_dir(&folder).ok()),
    )
}

/// Whether a line is a sample of the text format: `name{label="value",…} number`.
fn is_sample(line: &str) -> bool {
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let Some((name, mut rest)) = line.split_once('{') else {
        return line
            .split_once(' ')
            .is_some_and(|(name, number)| is_name(name) && is_number(number));
    };
    if !is_name(name) {
        return false;
    }
    loop {
        let Some((label, value)) = rest.split_once("=\"") else {
            return false;
        };
        let mut is_escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        });
        let Some(end) = end.filter(|_| is_name(label)) else {
            return false;
        };
        rest = &value[end + 1..];
        if let Some(more) = rest.strip_prefix(',') {
            rest = more;
        } else {
            return rest.strip_prefix("} ").is_some_and(is_number);
        }
    }
}

pub(super) fn hostile() -> Result<String> {
    for (number, text) in HOSTILE.iter().enumerate() {
        say(&format!("nt-hostile-{number}"), &["--times", "1", text])?;
    }
    say_from(&format!("lxc.payload.{HOSTILE_NAME}"))?;
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
    let text = get("/metrics")?;
    let (_, body) = text.split_once("\r\n\r\n").context("no body")?;
    for line in body.lines().filter(|line| !line.starts_with("# ")) {
        ensure!(is_sample(line), "{line}");
        ensure!(!line.starts_with("nt_forged"), "{line}");
    }
    ensure!(
        body.contains("container=\"lxc:nt\\\"} 1 nt_forged{x=\\\"\\\\e[2J\""),
        "the container has no series: {body}"
    );
    let report = output(AGENT, &["report", "rate", RECORDING, "--output", "json"])?;
    ensure!(report.contains("nt-hostile-2.service"), "{report}");
    Ok(format!("{} of them", HOSTILE.len()))
}
