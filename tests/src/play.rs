//! Runs a case's process, from the driver's side and from its own.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{
    cases, pipe,
    procfs::{enter_cgroup, remove_cgroup},
    raw::{self, process::kill_group},
    stage::Stage,
    truth::Truth,
};

/// A case's process.
#[derive(Debug)]
pub struct Playing {
    child: Child,
    input: Option<ChildStdin>,
    lines: pipe::Lines,
    errors: Option<JoinHandle<String>>,
    /// Its folder.
    pub dir: PathBuf,
    /// Its cgroup, below the root of the hierarchy.
    pub cgroup: String,
}

/// The cgroup that all cases' own cgroups are in.
pub const SLICE: &str = "nt.slice";

/// This program.
pub fn this_program() -> Command {
    Command::new("/proc/self/exe")
}

/// Starts the process of a case, in a folder and a cgroup of its own.
pub fn play(name: &str, root: &Path) -> Result<Playing> {
    static PLAYED: AtomicU32 = AtomicU32::new(1);
    let number = PLAYED.fetch_add(1, Ordering::Relaxed);
    let dir = root.join(number.to_string());
    fs::create_dir_all(&dir)
        .and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)))
        .with_context(|| format!("could not create {}", dir.display()))?;
    let cgroup = format!("{SLICE}/case-{number}.service");
    let (lines, output) = pipe::pipe()?;
    let mut child = this_program()
        .args(["stage", name, &cgroup])
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("could not start the case's process")?;
    let errors = child
        .stderr
        .take()
        .context("the case's process has no error output")?;
    Ok(Playing {
        input: child.stdin.take(),
        child,
        lines,
        errors: Some(thread::spawn(move || {
            std::io::read_to_string(errors).unwrap_or_default()
        })),
        dir,
        cgroup,
    })
}

impl Playing {
    /// Its folder, as addresses show it.
    pub fn dir_text(&self) -> String {
        self.dir.display().to_string()
    }

    /// Waits until it has said what it is at, see [`Stage::gate`].
    pub fn ready(&mut self) -> Result<BTreeMap<String, u32>> {
        let line = self.next_line()?;
        let facts = line
            .strip_prefix("ready ")
            .ok_or_else(|| anyhow!("it said {line}"))?;
        Ok(serde_json::from_str(facts)?)
    }

    /// Lets it go on.
    pub fn go(&mut self) -> Result<()> {
        let input = self
            .input
            .as_mut()
            .context("the case's process has no input")?;
        input
            .write_all(b"\n")
            .context("the case's process has gone")
    }

    /// Waits for its end; what happened.
    pub fn finish(mut self) -> Result<Truth> {
        let line = self.next_line()?;
        let status = self
            .child
            .wait()
            .context("could not wait for the case's process")?;
        let truth = line
            .strip_prefix("truth ")
            .ok_or_else(|| anyhow!("it said {line}"))?;
        ensure!(status.success(), "the case's process ended with {status}");
        Ok(serde_json::from_str(truth)?)
    }

    fn next_line(&mut self) -> Result<String> {
        let line = self
            .lines
            .next_within(pipe::DEADLINE_OF_CASE, "waiting for the case's process");
        let line = line.map_err(|error| self.explain(error))?;
        match line.strip_prefix("failed ") {
            Some(trouble) => Err(self.explain(anyhow!("{trouble}"))),
            None => Ok(line),
        }
    }

    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.end();
        let errors = self
            .errors
            .take()
            .and_then(|errors| errors.join().ok())
            .unwrap_or_default();
        match errors.trim() {
            "" => error,
            errors => error.context(errors.to_owned()),
        }
    }

    fn end(&mut self) {
        // It may have ended, and then there is nothing to do.
        let _ = kill_group(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.end();
        // Others of the group may need a moment to end; what stays disturbs nobody.
        let _ = remove_cgroup(&self.cgroup);
    }
}

/// The case's process itself.
pub fn stage(name: &str, cgroup: &str, dir: &Path) -> Result<()> {
    let act = cases::act(name).ok_or_else(|| anyhow!("there is no case {name}"))?;
    enter_cgroup(cgroup)?;
    if let Some(number) = dir.file_name().and_then(|name| name.to_str()) {
        raw::process::set_thread_name(&format!("case-{number}"))?;
    }
    let played = Stage::new(dir, cgroup).and_then(|mut stage| {
        act(&mut stage)?;
        Ok(serde_json::to_string(&stage.truth)?)
    });
    match played {
        Ok(truth) => println!("truth {truth}"),
        Err(error) => println!("failed {}", format!("{error:#}").replace('\n', " ")),
    }
    Ok(())
}
