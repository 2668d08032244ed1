//! A running agent: started, waited for, stopped, and all that it said.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use crate::{
    procfs::cpu_seconds,
    raw::process::{Signal, kill},
    shown::Shown,
};

/// How long the agent may take to load its programs, or to end: far longer than it does on an
/// emulated CPU that others use too.
const PATIENCE: Duration = Duration::from_secs(120);

/// How to start agents.
#[derive(Clone, Debug)]
pub struct Agents {
    /// The program.
    pub path: PathBuf,
    /// The plan to ask for.
    pub plan: String,
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    complaints: Option<thread::JoinHandle<String>>,
    started: Instant,
}

/// How an agent ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Lines of its output.
    pub said: Vec<String>,
    /// Its error output.
    pub complaints: String,
}

impl Agents {
    /// `notify-trace trace -o json --plan PLAN` with more arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(["trace", "-o", "json", "--plan", &self.plan])
            .args(arguments);
        command
    }

    /// Starts an agent, and waits until it traces.
    pub fn start(&self, arguments: &[&str]) -> Result<Agent> {
        let mut agent = self.spawn(arguments)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts an agent.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Agent> {
        Agent::spawn(&mut self.command(arguments))
    }

    /// The name of the plan that it is asked for.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Agent {
    /// Starts this command, which is to be an agent.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // So that a terminal's ^C does not reach it before the driver does.
        command.process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("could not start {command:?}"))?;
        let output = child.stdout.take().context("the agent has no output")?;
        let errors = child
            .stderr
            .take()
            .context("the agent has no error output")?;
        Ok(Self {
            child,
            lines: lines_of(output),
            said: Vec::new(),
            started: Instant::now(),
            complaints: Some(thread::spawn(move || {
                std::io::read_to_string(errors).unwrap_or_default()
            })),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the session line.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.wait_for("the session", |line| {
            line.get("type").and_then(Value::as_str) == Some("session")
        })
    }

    /// Waits for a line that fulfils a condition.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    let found = serde_json::from_str(&line).is_ok_and(|value| is_it(&value));
                    self.said.push(line);
                    if found {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "the agent did not say {what} within {} s",
                        PATIENCE.as_secs()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().context("could not wait for the agent")?;
                    let complaints = self.complaints();
                    bail!(
                        "the agent ended with {status} before {what}: {}",
                        complaints.trim()
                    );
                }
            }
        }
    }

    /// What it has cost so far, for messages.
    pub fn cost(&self) -> String {
        let elapsed = self.started.elapsed().as_secs_f64();
        match cpu_seconds(self.pid()) {
            Some(used) => format!("the agent used {used:.2} s of CPU in {elapsed:.2} s"),
            None => format!("the agent ran for {elapsed:.2} s"),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).context("could not send a signal to the agent")
    }

    fn complaints(&mut self) -> String {
        let thread = self.complaints.take();
        thread
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    }

    /// Waits for its end, and reads the rest of what it said.
    pub fn ended(mut self) -> Result<Ended> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the agent did not end within {} s", PATIENCE.as_secs())
                }
            }
        }
        let status = self.child.wait().context("could not wait for the agent")?;
        let complaints = self.complaints();
        let said = std::mem::take(&mut self.said);
        Ok(Ended {
            status,
            said,
            complaints,
        })
    }

    /// Ends it as a user would; all that it showed.
    pub fn stop(self) -> Result<Shown> {
        self.signal(Signal::Terminate)?;
        self.ended()?.shown()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// All that it showed, if it ended well.
    pub fn shown(&self) -> Result<Shown> {
        if !self.status.success() {
            return Err(anyhow!("{}", self.complaints.trim()))
                .with_context(|| format!("the agent ended with {}", self.status));
        }
        let shown = Shown::read(&self.said)?;
        if shown.summary.is_none() {
            bail!("the agent ended without a summary");
        }
        Ok(shown)
    }

    /// Its exit code, if it has one.
    pub fn code(&self) -> Option<i32> {
        match self.status.signal() {
            Some(_) => None,
            None => self.status.code(),
        }
    }
}
