//! Runs one guest: starts QEMU, hands over each line of its serial port, ends it at its deadline.

use std::{
    env,
    error::Error,
    fmt,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::emulator::Emulator;
use crate::command;

/// How QEMU executes the guest: without KVM, for that works everywhere.
const ACCELERATOR: &str = "tcg,thread=multi";
/// Another accelerator, such as `kvm` on a machine that has it.
const ACCELERATOR_VARIABLE: &str = "NOTIFY_TRACE_ACCEL";
/// Words every guest gets: the console on the serial port, few kernel messages, no reboot.
const WORDS: [&str; 4] = ["console=ttyS0", "panic=-1", "quiet", "loglevel=4"];

/// A guest to be started.
#[derive(Clone, Debug)]
pub struct Guest<'a> {
    /// What executes it.
    pub emulator: &'a Emulator,
    /// The kernel image.
    pub kernel: &'a Path,
    /// The first file system.
    pub initramfs: &'a Path,
    /// More words for the kernel command line.
    pub words: Vec<String>,
    /// Number of virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// A disk image, `/dev/vda` in the guest; what the guest writes is thrown away.
    pub disk: Option<&'a Path>,
    /// A file that keeps what the guest writes to its second disk, `/dev/vdb`.
    pub kept_disk: Option<&'a Path>,
    /// Takes what the guest says on its console, so that only its second serial port is heard.
    pub console_log: Option<&'a Path>,
    /// Its clock goes on by a nanosecond for each instruction: an emulator's guest, of one CPU.
    pub counts_instructions: bool,
    /// After this time the guest is ended.
    pub deadline: Duration,
}

/// How a guest came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It switched itself off.
    PowerOff,
    /// It was still running at its deadline.
    Deadline,
}

/// QEMU died of a signal, as by an assertion of its own: that says nothing of the guest, for nothing that a
/// guest does may end its emulator.
///
/// Seen with 10.0.2: `system/physmem.c: iotlb_to_section: Assertion`, where one CPU changes what is where in
/// memory while another one looks it up.
#[derive(Debug)]
pub struct Crash(String);

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Crash {}

/// What executes guests: QEMU's option after `-accel`.
pub fn accelerator() -> String {
    env::var(ACCELERATOR_VARIABLE).unwrap_or_else(|_| ACCELERATOR.to_owned())
}

/// Whether an accelerator is an emulator.
pub fn emulates(accelerator: &str) -> bool {
    accelerator.starts_with("tcg")
}

/// Boots a guest and waits for its end; `line` gets what it says, cleaned of terminal control.
///
/// An error of `line` ends the guest.
pub fn boot(guest: &Guest, mut line: impl FnMut(&str) -> Result<()>) -> Result<End> {
    let mut qemu = guest.emulator.command();
    qemu.args(arguments(guest, &accelerator()));
    qemu.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let typed = command::line(&qemu);
    let start = Instant::now();
    let mut child = Running(qemu.spawn().context("could not start QEMU")?);
    let stdout = child
        .0
        .stdout
        .take()
        .ok_or_else(|| anyhow!("QEMU has no output"))?;
    let stderr = child
        .0
        .stderr
        .take()
        .ok_or_else(|| anyhow!("QEMU has no error output"))?;

    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for bytes in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if send.send(bytes).is_err() {
                return;
            }
        }
    });
    let complaints = thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default());

    loop {
        match lines.recv_timeout(guest.deadline.saturating_sub(start.elapsed())) {
            Ok(bytes) => line(&clean(&bytes))?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Ok(End::Deadline),
        }
    }
    let status = child.0.wait().context("could not wait for QEMU")?;
    if !status.success() {
        let complaints = complaints.join().unwrap_or_default();
        let words = format!("{typed}\nended with {status}: {}", complaints.trim());
        return Err(match status.signal() {
            Some(_) => Crash(words).into(),
            None => anyhow!(words),
        });
    }
    Ok(End::PowerOff)
}

/// Ends QEMU with whoever started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn arguments(guest: &Guest, accelerator: &str) -> Vec<String> {
    let words = WORDS
        .into_iter()
        .map(str::to_owned)
        .chain(guest.words.iter().cloned());
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    add("-machine", "q35".into());
    if guest.counts_instructions {
        // No option of the accelerator, but no other one has it, and not with several threads.
        add("-accel", "tcg,thread=single".into());
        add("-icount", "shift=0,sleep=off".into());
    } else {
        add("-accel", accelerator.into());
    }
    add("-cpu", "max".into());
    add("-smp", guest.cpus.to_string());
    add("-m", guest.memory.to_string());
    add("-display", "none".into());
    // A card nobody looks at: it would change what is where in memory while all CPUs run.
    add("-vga", "none".into());
    add("-monitor", "none".into());
    add("-nic", "none".into());
    if let Some(log) = guest.console_log {
        add("-serial", format!("file:{}", log.display()));
    }
    add("-serial", "stdio".into());
    add("-kernel", guest.kernel.display().to_string());
    add("-initrd", guest.initramfs.display().to_string());
    add("-append", words.collect::<Vec<_>>().join(" "));
    if let Some(disk) = guest.disk {
        let disk = disk.display();
        add(
            "-drive",
            format!("file={disk},format=raw,if=virtio,snapshot=on,cache=unsafe"),
        );
    }
    if let Some(disk) = guest.kept_disk {
        let disk = disk.display();
        add(
            "-drive",
            format!("file={disk},format=raw,if=virtio,cache=unsafe"),
        );
    }
    arguments.push("-no-reboot".into());
    arguments
}

/// Takes carriage returns and the firmware's terminal control out of a line.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => skip_escape(&mut characters),
            '\t' => clean.push('\t'),
            other if other.is_control() => {}
            other => clean.push(other),
        }
    }
    clean
}

/// After ESC: `[` up to a letter, `]` up to BEL or ESC and a backslash, or one character.
fn skip_escape(characters: &mut std::str::Chars) {
    match characters.next() {
        Some('[') => {
            characters.find(|character| ('@'..='~').contains(character));
        }
        Some(']') => {
            let end = characters.find(|character| ['\x07', '\x1b'].contains(character));
            if end == Some('\x1b') {
                characters.next();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
impl Crash {
    /// One for tests of what becomes of it.
    pub fn of_tests(words: &str) -> Self {
        Self(words.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(emulator: &Emulator) -> Guest<'_> {
        Guest {
            emulator,
            kernel: Path::new("/k"),
            initramfs: Path::new("/i"),
            words: vec!["notify-trace.plan=full".into()],
            cpus: 2,
            memory: 1024,
            disk: None,
            kept_disk: None,
            console_log: None,
            counts_instructions: false,
            deadline: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_accelerator_is_always_named() {
        let line = arguments(&guest(&Emulator::of_tests(None)), "tcg").join(" ");
        assert!(line.contains("-accel tcg -cpu max"), "{line}");
    }

    #[test]
    fn instructions_are_counted_with_one_thread() {
        let system = Emulator::of_tests(None);
        let counting = Guest {
            counts_instructions: true,
            ..guest(&system)
        };
        let line = arguments(&counting, "tcg,thread=multi").join(" ");
        let wanted = "-accel tcg,thread=single -icount shift=0,sleep=off";
        assert!(line.contains(wanted), "{line}");
    }

    #[test]
    fn a_guest_gets_its_own_words_after_the_common_ones() {
        let arguments = arguments(&guest(&Emulator::of_tests(None)), "tcg");
        let words = arguments
            .iter()
            .find(|word| word.starts_with("console="))
            .unwrap();
        assert_eq!(
            words,
            "console=ttyS0 panic=-1 quiet loglevel=4 notify-trace.plan=full"
        );
    }

    #[test]
    fn a_disk_is_never_written() {
        let system = Emulator::of_tests(None);
        let disk = Guest {
            disk: Some(Path::new("/d")),
            ..guest(&system)
        };
        assert!(
            arguments(&disk, "tcg")
                .iter()
                .any(|word| word.contains("snapshot=on"))
        );
    }

    #[test]
    fn lines_lose_the_firmwares_terminal_control() {
        assert_eq!(
            clean(b"\x1bc\x1b[?7l\x1b[2J\x1b[0mtest a ... ok\r"),
            "test a ... ok"
        );
        assert_eq!(
            clean(b"\x1b]104\x07test a\x1b]2;b\x1b\\ ... ok"),
            "test a ... ok"
        );
        assert_eq!(clean(b"a\tb\xff"), "a\tb\u{fffd}");
    }
}
