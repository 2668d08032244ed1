//! A tool that runs: started, seen to be ready, ended, and its output searched for what it lost. All
//! tools write to a file on the same tmpfs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    line::Fact,
    peer::{Peer, Ready},
    watch,
    workload::{NUDGE, Workload},
};
use crate::raw::process::{Signal, kill, monotonic_ns};

/// How long a tool may take to attach, or to end, on an emulated CPU.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether something has happened. To look at what is attached is work for the kernel.
const LOOK: Duration = Duration::from_millis(10);
/// How often where it is next to none.
const CHEAP_LOOK: Duration = Duration::from_millis(2);
/// Functions that something is attached to (`Documentation/trace/ftrace.rst` of the kernel).
const ATTACHED_FUNCTIONS: &str = "/sys/kernel/tracing/enabled_functions";

/// A tool that watches.
#[derive(Debug)]
pub struct Running {
    peer: Peer,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    /// From its start until it was seen to be ready.
    pub attach_ms: f64,
    /// Measured datagrams that it should have shown, by what its lines about them have in them.
    sent: BTreeMap<String, u32>,
}

/// What a tool's output says when it has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// From the signal until it had ended.
    pub end_ms: f64,
    /// Of the measured datagrams: those that no line speaks of, by their marks.
    pub not_shown_percent: Vec<(String, f64)>,
    /// Losses that it tells of itself.
    pub lost_by_itself: Option<f64>,
}

impl Running {
    /// Starts a peer and waits until it watches. Nothing is sent meanwhile: a QEMU before 8.1 may
    /// stumble over a function that runs on one CPU while the other one attaches something to it.
    pub fn start(peer: &Peer, root: &Path) -> Result<Option<Self>> {
        let Some((program, arguments)) = peer.command.split_first() else {
            return Ok(None);
        };
        let (output, errors) = (root.join("output"), root.join("errors"));
        let create = |path: &Path| {
            File::create(path).with_context(|| format!("could not create {}", path.display()))
        };
        if let Ready::Attached(function) = peer.ready {
            wait_until_free(function)?;
        }
        let start = Instant::now();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(create(&output)?)
            .stderr(create(&errors)?)
            .spawn()
            .with_context(|| format!("could not start {program}"))?;
        let mut running = Self {
            peer: peer.clone(),
            child,
            output,
            errors,
            attach_ms: 0.0,
            sent: BTreeMap::new(),
        };
        while !running.is_ready()? {
            if let Some(status) = running.child.try_wait().context("could not wait")? {
                bail!("{program} ended with {status}: {}", running.complaints());
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "{program} is not ready after {} s: {}",
                PATIENCE.as_secs(),
                running.complaints()
            );
            std::thread::sleep(match peer.ready {
                Ready::Attached(_) => LOOK,
                Ready::Says(_) | Ready::HasEvents | Ready::TracesMe => CHEAP_LOOK,
            });
        }
        running.attach_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(Some(running))
    }

    fn is_ready(&self) -> Result<bool> {
        match self.peer.ready {
            Ready::Says(text) => Ok(self.said()?.contains(text)),
            Ready::Attached(function) => is_attached_to(function),
            Ready::HasEvents => {
                let folder = format!("/proc/{}/fd", self.child.id());
                let descriptors = fs::read_dir(&folder).into_iter().flatten().flatten();
                Ok(descriptors
                    .filter_map(|it| fs::read_link(it.path()).ok())
                    .any(|to| to.as_os_str() == "anon_inode:[perf_event]"))
            }
            Ready::TracesMe => {
                let status = fs::read_to_string("/proc/self/status")?;
                let tracer = status
                    .lines()
                    .find_map(|line| line.strip_prefix("TracerPid:"));
                Ok(tracer.is_some_and(|pid| pid.trim() == self.child.id().to_string()))
            }
        }
    }

    /// Waits until it has shown what was sent to it at last.
    pub fn wait_for_nudge(&self) -> Result<()> {
        let start = Instant::now();
        while !self.said()?.contains(NUDGE) {
            ensure!(
                start.elapsed() < PATIENCE,
                "it watches, but shows nothing: {:?}, {}",
                self.said()?,
                self.complaints()
            );
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// So many more datagrams were sent, which it should show if it shows any of this workload.
    pub fn sent_more(&mut self, workload: Workload, datagrams: u32) {
        if let Some(mark) = workload.mark() {
            self.sent_marked(mark.to_owned(), datagrams);
        }
    }

    /// So many more datagrams were sent that have this in them.
    pub fn sent_marked(&mut self, mark: String, datagrams: u32) {
        *self.sent.entry(mark).or_default() += datagrams;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its CPU time once it has worked off what has come.
    pub fn cpu_ns_when_done(&self) -> Result<f64> {
        watch::cpu_ns_when_done(self.pid())
    }

    /// How long it took until its output grew, after `returned_ns`.
    pub fn shows_after_ns(&self, returned_ns: u64, length_before: u64) -> Result<u64> {
        loop {
            let now_ns = monotonic_ns();
            if self.output_bytes()? > length_before {
                return Ok(now_ns.saturating_sub(returned_ns));
            }
            ensure!(
                now_ns.saturating_sub(returned_ns) < 10_000_000_000,
                "it doesn't show what was sent"
            );
            std::thread::yield_now();
        }
    }

    /// How much it has written.
    pub fn output_bytes(&self) -> Result<u64> {
        let about = || format!("could not look at {}", self.output.display());
        Ok(fs::metadata(&self.output).with_context(about)?.len())
    }

    /// What its output says about the run.
    pub fn facts(&self) -> Result<Vec<Fact>> {
        Ok((self.peer.facts)(&self.said()?))
    }

    /// Ends it as a user would, and reads what it said.
    pub fn stop(mut self) -> Result<End> {
        let begun = Instant::now();
        kill(self.pid(), Signal::Interrupt).context("could not end it")?;
        let status = self.wait()?;
        let end_ms = begun.elapsed().as_secs_f64() * 1e3;
        // Some end by the signal itself.
        ensure!(
            status.success() || status.signal() == Some(Signal::Interrupt.number()),
            "it ended with {status}: {}",
            self.complaints()
        );
        let said = self.said()?;
        let not_shown = self.sent.iter().map(|(mark, sent)| {
            let shown = said
                .lines()
                .filter(|line| line.contains(mark.as_str()))
                .count();
            let shown = f64::from(u32::try_from(shown).unwrap_or(u32::MAX));
            (mark.clone(), (1.0 - shown / f64::from(*sent)) * 100.0)
        });
        Ok(End {
            end_ms,
            not_shown_percent: not_shown.collect(),
            lost_by_itself: (self.peer.losses)(&said, &self.complaints()),
        })
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("could not wait for it")? {
                return Ok(status);
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "it did not end within {} s",
                PATIENCE.as_secs()
            );
            std::thread::sleep(LOOK);
        }
    }

    fn said(&self) -> Result<String> {
        let bytes = fs::read(&self.output)
            .with_context(|| format!("could not read {}", self.output.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn complaints(&self) -> String {
        let bytes = fs::read(&self.errors).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the kernel calls something from the beginning of this function.
fn is_attached_to(function: &str) -> Result<bool> {
    let list = fs::read_to_string(ATTACHED_FUNCTIONS)
        .with_context(|| format!("could not read {ATTACHED_FUNCTIONS}"))?;
    Ok(names(&list).any(|name| name == function))
}

/// The kernel may detach the peer before from it a little later than that one ends.
fn wait_until_free(function: &str) -> Result<()> {
    let start = Instant::now();
    while is_attached_to(function)? {
        ensure!(
            start.elapsed() < PATIENCE,
            "something is attached to {function} already: end it before the bench"
        );
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_attached_to_when_a_line_begins_with_it() {
        let list = "unix_dgram_sendmsg (1) R\tD   M \tdirect-->bpf_trampoline_1+0x0/0x1\n\
                    unix_release (1)\n";
        let names: Vec<_> = names(list).collect();
        assert_eq!(names, ["unix_dgram_sendmsg", "unix_release"]);
    }
}
