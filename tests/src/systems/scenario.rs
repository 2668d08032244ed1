//! One scenario: its folder, its run, and the comparison.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{normal, table};

const AGENT: &str = "/run/notify-trace/notify-trace";
const TRACE: &str = "/run/notify-trace/trace.jsonl";
const AGENTS_LOG: &str = "/run/notify-trace/trace.err";

/// The script's exit code by which it says that it can't run here; its last line says why.
const SKIPPED: i32 = 77;

/// Longest run of a script.
const DEADLINE: Duration = Duration::from_secs(300);

/// Nothing new for this long, and nothing open: it is over. The agent asks managers and passes on
/// what is pending within less.
const QUIET: Duration = Duration::from_millis(1500);

/// Longest wait for that.
const UNQUIET: Duration = Duration::from_secs(20);

/// What is in a scenario's folder.
#[derive(Debug)]
pub struct Scenario {
    /// The folder's name.
    pub name: String,
    folder: PathBuf,
    expected: Option<String>,
    verdicts: Option<String>,
    relays: Option<String>,
}

/// How it ended, if not in an error.
#[derive(Debug)]
pub enum Ended {
    /// As expected.
    AsExpected,
    /// The script says why.
    Skipped(String),
}

impl Scenario {
    /// Reads a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .context("a folder without a name")?;
        let release = release();
        let file = |name: &str| {
            fs::read_to_string(folder.join(format!("{name}.{release}")))
                .or_else(|_| fs::read_to_string(folder.join(name)))
                .ok()
        };
        Ok(Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            expected: file("expected"),
            verdicts: file("verdicts"),
            relays: file("relays"),
        })
    }

    /// Runs it and compares.
    pub fn play(&self) -> Result<Ended> {
        // The boot itself is a scenario too.
        let from = if self.folder.join("since-boot").exists() {
            0
        } else {
            length()?
        };
        if let Some(why) = self.script()? {
            return Ok(Ended::Skipped(why));
        }
        wait_until_quiet()?;
        let events = slice(from)?;
        let path = PathBuf::from(format!("/run/notify-trace/{}.jsonl", self.name));
        let text: Vec<String> = events.iter().map(Value::to_string).collect();
        fs::write(&path, text.join("\n") + "\n").context("could not keep the slice")?;
        let outcomes = explain(&path)?;
        let ignored = self.ignored();
        table::print(&self.name, &self.folder, &events, &outcomes, &ignored);
        let sides = [
            (
                "notifications",
                &self.expected,
                normal::notifications(&events, &ignored),
            ),
            ("verdicts", &self.verdicts, normal::verdicts(&outcomes)),
            ("relays", &self.relays, normal::relays(&outcomes, &events)),
        ];
        let trouble: Vec<String> = sides
            .into_iter()
            .filter_map(|(what, expected, seen)| {
                normal::difference(what, expected.as_ref()?, &seen)
            })
            .collect();
        if trouble.is_empty() {
            return Ok(Ended::AsExpected);
        }
        for event in &events[1..] {
            println!("slice| {event}");
        }
        bail!(
            "{}\nthe script's log:\n{}\nthe agent's:\n{}",
            trouble.join("\n"),
            tail(&self.log()),
            tail(Path::new(AGENTS_LOG))
        )
    }

    /// Senders that don't belong to it: by its own list, or by that of all.
    fn ignored(&self) -> String {
        ["ignored", "../ignored"]
            .into_iter()
            .find_map(|list| fs::read_to_string(self.folder.join(list)).ok())
            .unwrap_or_default()
    }

    /// What the script printed.
    fn log(&self) -> PathBuf {
        PathBuf::from(format!("/run/notify-trace/{}.log", self.name))
    }

    /// Runs the script; why it skipped itself.
    fn script(&self) -> Result<Option<String>> {
        let log = self.log();
        let output = File::create(&log).context("could not create the script's log")?;
        let mut child = Command::new("/bin/sh")
            .arg("-eu")
            .arg(self.folder.join("run"))
            .current_dir(&self.folder)
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/root")
            .env("LIB", self.folder.join("../lib.sh"))
            .env("NT", "/run/notify-trace/notify-trace-tests")
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("no second descriptor")?)
            .stderr(output)
            .spawn()
            .context("no shell")?;
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = child.try_wait().context("cannot wait for the script")? {
                break status;
            }
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                bail!(
                    "not finished after {} s\n{}",
                    DEADLINE.as_secs(),
                    tail(&log)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if status.code() == Some(SKIPPED) {
            let text = tail(&log);
            return Ok(Some(text.lines().last().unwrap_or_default().to_owned()));
        }
        ensure!(
            status.success(),
            "the script failed ({status})\n{}",
            tail(&log)
        );
        Ok(None)
    }
}

/// Debian's name of what runs here, such as `trixie`.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or_default().to_owned()
}

/// The last lines of a script's log.
fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

fn length() -> Result<u64> {
    Ok(fs::metadata(TRACE)
        .context("the agent has said nothing")?
        .len())
}

fn wait_until_quiet() -> Result<()> {
    let end = Instant::now() + UNQUIET;
    let mut last = (length()?, Instant::now());
    while Instant::now() < end {
        let now = length()?;
        if now != last.0 {
            last = (now, Instant::now());
        } else if last.1.elapsed() >= QUIET {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // Something else talks on and on; what is expected will show whether that matters.
    Ok(())
}

/// The session, and what was said since `from`. Conclusions are drawn anew.
fn slice(from: u64) -> Result<Vec<Value>> {
    let mut file = File::open(TRACE).context("the agent has said nothing")?;
    let mut whole = String::new();
    let mut first = [0; 65_536];
    let read = file.read(&mut first).context("could not read the trace")?;
    let first = String::from_utf8_lossy(&first[..read]).into_owned();
    let session = first.lines().next().context("no session")?;
    file.seek(SeekFrom::Start(from)).context("could not seek")?;
    file.read_to_string(&mut whole)
        .context("could not read the trace")?;
    let since = whole.lines().skip(usize::from(from == 0));
    let lines = std::iter::once(session).chain(since);
    Ok(lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| {
            !matches!(
                event["type"].as_str(),
                Some("verdict" | "relay" | "phase" | "repeats")
            )
        })
        .collect())
}

fn explain(path: &Path) -> Result<Vec<Value>> {
    let output = Command::new(AGENT)
        .args(["explain", "-o", "json"])
        .arg(path)
        .output()
        .context("could not run explain")?;
    ensure!(
        output.status.success(),
        "explain failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}
