//! Running other programs: progress while they run, their words when they fail.
//!
//! Progress goes to standard error; standard output belongs to what the user asked for.

use std::{
    env, fs,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How many lines of a failed command's output are repeated.
const LINES_OF_FAILURE: usize = 30;

/// Runs `command` silently; its output is returned, or repeated when it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("could not start {}", name(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    bail!(
        "{} ended with {}:\n{}",
        line(command),
        ended(output.status),
        tail(&format!("{stdout}{stderr}"), LINES_OF_FAILURE)
    )
}

/// Runs `command` with the terminal as its own.
pub fn inherit(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not start {}", name(command)))?;
    if !status.success() {
        bail!("{} ended with {}", line(command), ended(status));
    }
    Ok(())
}

/// Does `work` and shows that it goes on: `what` at its start, the seconds meanwhile and at its end.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let every = Duration::from_secs(if terminal { 1 } else { 15 });
    if !terminal {
        eprintln!("{what} ...");
    }
    let (done, is_done) = mpsc::channel::<()>();
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let seconds = start.elapsed().as_secs();
                if terminal {
                    eprint!("\r\x1b[K{what} ... {seconds} s");
                    // A lost progress line is no reason to stop.
                    let _ = std::io::stderr().flush();
                } else {
                    eprintln!("{what} ... {seconds} s");
                }
            }
        });
        let result = work();
        drop(done);
        result
    });
    let seconds = start.elapsed().as_secs_f64();
    let clear = if terminal { "\r\x1b[K" } else { "" };
    match &result {
        Ok(_) => eprintln!("{clear}{what}: {seconds:.1} s"),
        Err(_) => eprintln!("{clear}{what}: failed after {seconds:.1} s"),
    }
    result
}

/// A command that runs as root: directly, or through sudo where that exists.
pub fn as_root(program: &str) -> Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    match find_program("sudo") {
        Some(sudo) => {
            let mut command = Command::new(sudo);
            command.arg(program);
            Ok(command)
        }
        None => bail!("{program} needs root, and there is no sudo: run this as root"),
    }
}

/// Whether this process may do everything.
pub fn is_root() -> Result<bool> {
    let metadata = fs::metadata("/proc/self").context("could not read /proc/self")?;
    Ok(metadata.uid() == 0)
}

/// Looks a program up on PATH, and in the sbin folders that a user's PATH often leaves out.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
}

/// The last `count` lines of a text.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The command as a user would type it, without quoting.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_repeats_its_last_words() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit code 3"), "{text}");
        assert!(text.ends_with("why"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "could not start no-such-program");
    }

    #[test]
    fn the_tail_of_a_short_text_is_the_text() {
        assert_eq!(tail("a\nb", 5), "a\nb");
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
    }
}
