//! Power losses: a guest records onto a disk and says what is stored; it is killed, with all that its
//! memory held. The next guest on the same disk says what it finds there.
//!
//! What the guest's kernel had handed to the disk stays, synced or not: a disk that loses its own cache is
//! not tried here.

use std::{
    error::Error,
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command, setup,
    vm::{
        initramfs::Initramfs,
        kernel::Kernel,
        qemu::{self, Crash, Guest},
        verdict::{Counts, trouble},
    },
};

/// How often the power is lost.
const LOSSES: usize = 10;
const TRIES: usize = 3;
const DISK_BYTES: u64 = 256 << 20;
const TEST: &str = "power_loss::what_was_stored_is_there_after_each_power_loss";
const INIT: &str = include_str!("guest/power-loss-init");

/// The guest's initramfs.
pub fn initramfs(kernel: &Kernel, binaries: &Path) -> Result<Initramfs> {
    let mut archive = Initramfs::new()?;
    archive.program("init", INIT.as_bytes())?;
    for folder in ["bin", "data"] {
        archive.folder(folder)?;
    }
    archive.copy("bin/busybox", &setup::busybox()?)?;
    archive.modules(kernel)?;
    for program in ["notify-trace", "notify-trace-tests"] {
        archive.copy(program, &binaries.join(program))?;
    }
    Ok(archive)
}

/// An empty file system beside a boot's log.
pub fn disk(log: &Path) -> Result<PathBuf> {
    let path = log.with_extension("disk");
    File::create(&path)
        .and_then(|file| file.set_len(DISK_BYTES))
        .with_context(|| format!("could not make {}", path.display()))?;
    command::output(
        Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-F"])
            .arg(&path),
    )?;
    Ok(path)
}

/// What a guest has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    /// Events of each session that it found.
    found: Vec<u64>,
    /// How many events of its own were stored, at last.
    stored: Option<u64>,
}

/// Boots a guest again and again, and kills it while it records.
pub fn run(guest: &Guest<'_>, log: &Path) -> Result<Counts> {
    let mut text = String::new();
    let result = losses(guest, &mut text);
    let (line, counts) = match result {
        Ok(said) => (
            format!("test {TEST} ... ok ({said})\n"),
            Counts {
                passed: 1,
                ..Counts::default()
            },
        ),
        Err(error) => (
            format!("test {TEST} ... FAILED\n    {error:#}\n"),
            Counts {
                failed: 1,
                ..Counts::default()
            },
        ),
    };
    print!("{:<13}{line}", "6.12-power");
    text.push_str(&line);
    fs::write(log, text).with_context(|| format!("could not write {}", log.display()))?;
    Ok(counts)
}

fn losses(guest: &Guest<'_>, text: &mut String) -> Result<String> {
    let mut told: Vec<Option<u64>> = Vec::new();
    // Reproducible moments, spread over some transactions.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for loss in 0..=LOSSES {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let until = 1 + random % 6;
        let pause = Duration::from_millis(random % 190);
        let kill = (loss < LOSSES).then_some((until, pause));
        let said = insist(guest, text, kill)
            .with_context(|| format!("boot {} of {}", loss + 1, LOSSES + 1))?;
        check(&told, &said.found)?;
        told.push(said.stored);
    }
    let stored: u64 = told.iter().flatten().sum();
    Ok(format!(
        "{LOSSES} losses, {stored} events told as stored, each session holds at least its own"
    ))
}

/// One guest, tried again if its kernel or its emulator broke before it told of anything stored: that happens
/// now and then.
fn insist(guest: &Guest<'_>, text: &mut String, kill: Option<(u64, Duration)>) -> Result<Said> {
    for _ in 1..TRIES {
        let result = boot(guest, text, kill);
        match &result {
            Err(error) if error.is::<BrokenKernel>() || error.is::<Crash>() => {
                eprintln!("── 6.12-power: {error}; once more");
            }
            _ => return result,
        }
    }
    boot(guest, text, kill)
}

/// The kernel broke before anything was recorded.
#[derive(Debug)]
struct BrokenKernel(String);

impl fmt::Display for BrokenKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest's kernel broke: {}", self.0)
    }
}

impl Error for BrokenKernel {}

/// One guest; it is killed a while after it has said so often that events are stored.
fn boot(guest: &Guest<'_>, text: &mut String, kill: Option<(u64, Duration)>) -> Result<Said> {
    let mut said = Said::default();
    let mut times = 0;
    let mut is_over = false;
    let mut wrong = None;
    let mut broken = None;
    let end = qemu::boot(guest, |line| {
        text.push_str(line);
        text.push('\n');
        if let Some(words) = trouble(line) {
            broken = Some(words.to_owned());
            bail!("the kernel is broken");
        }
        let Some(word) = line.strip_prefix("power: ") else {
            return Ok(());
        };
        match word.split_whitespace().collect::<Vec<_>>()[..] {
            ["found", events] => said.found.push(events.parse().context("a number")?),
            ["stored", events] => {
                said.stored = Some(events.parse().context("a number")?);
                times += 1;
                let (until, pause) = kill.unwrap_or((1, Duration::ZERO));
                if times >= until {
                    thread::sleep(pause);
                    is_over = true;
                    bail!("the power is lost");
                }
            }
            _ => {
                wrong = Some(word.to_owned());
                bail!("{word}");
            }
        }
        Ok(())
    });
    if let Some(words) = broken {
        if said.stored.is_none() {
            return Err(BrokenKernel(words).into());
        }
        bail!("the guest's kernel broke while it recorded: {words}");
    }
    if let Some(wrong) = wrong {
        bail!("the guest says: {wrong}");
    }
    match end {
        _ if is_over => Ok(said),
        // An emulator that dies is a loss of power like any other: what was told has to be there.
        Err(error) if error.is::<Crash>() && said.stored.is_some() => Ok(said),
        Err(error) if error.is::<Crash>() => Err(error),
        end => bail!("the guest ended by itself: {end:?}"),
    }
}

/// Each session that told something is there, in its order, with at least as many events.
fn check(told: &[Option<u64>], found: &[u64]) -> Result<()> {
    let mut sessions = found.iter();
    for told in told.iter().flatten() {
        ensure!(
            sessions.any(|events| events >= told),
            "{told} events were told as stored; found: {found:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_with_too_few_events_is_a_loss() {
        // The second one was killed before it had told anything.
        let told = [Some(100), None, Some(50)];
        assert!(check(&told, &[120, 7, 50]).is_ok());
        assert!(check(&told, &[120, 50]).is_ok());
        assert!(check(&told, &[120, 49]).is_err());
        assert!(check(&told, &[99, 60]).is_err());
    }
}
