//! One boot of the matrix: what it is started from, how often it is tried, and what its guest says.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    boots::{Boot, House},
    hand_out, power_loss, service,
    studies::Engines,
    systemd, systems, witness,
};
use crate::{
    cache::Cache,
    vm::{
        emulator::Emulator,
        image,
        initramfs::Initramfs,
        kernel::Kernel,
        qemu::{self, Crash, End, Guest},
        verdict::{Counts, is_in_trouble, tells_of_stall, trouble, verdict},
    },
};

/// Boots under emulation with several threads now and then die before init runs, in the kernel's own clock
/// code, or lose a CPU's timer and stall, or the emulator itself dies; so often such a boot is tried.
const TRIES: usize = 3;
/// Tells the guest which plan to test.
const PLAN_WORD: &str = "notify-trace.plan=";

/// Why a boot can't be tried.
#[derive(Debug)]
pub enum Obstacle {
    /// It is nobody's fault here: the boot is skipped.
    Skip(String),
    /// It is a failure.
    Fail(anyhow::Error),
}

impl From<anyhow::Error> for Obstacle {
    fn from(error: anyhow::Error) -> Self {
        Self::Fail(error)
    }
}

/// What of the matrix is to run.
#[derive(Debug)]
pub struct Selection<'a> {
    /// These boots; all but extra ones when empty.
    pub boots: &'a [Boot],
    /// Only this plan.
    pub plan: Option<&'a str>,
    /// Only tests with this in their name.
    pub only: Option<&'a str>,
    /// Fetch newer kernels.
    pub refresh: bool,
    /// Who is asked about recordings.
    pub engines: Engines,
    /// How long the long run is, in minutes.
    pub minutes: u32,
    /// So many guests at once; by this machine's CPUs when none.
    pub jobs: Option<usize>,
}

/// A boot with all that it needs.
pub struct Try<'a> {
    boot: &'a Boot,
    emulator: &'a Emulator,
    kernel: &'a Kernel,
    initramfs: PathBuf,
    disk: Option<PathBuf>,
    /// Takes what the guest hands out.
    kept_disk: Option<PathBuf>,
    log: &'a Path,
    selection: &'a Selection<'a>,
}

impl<'a> Try<'a> {
    /// Makes ready what the guest starts from.
    pub fn prepare(
        cache: &Cache,
        boot: &'a Boot,
        emulator: &'a Emulator,
        kernel: &'a Kernel,
        binaries: &Path,
        log: &'a Path,
        selection: &'a Selection<'a>,
    ) -> Result<Self, Obstacle> {
        let (archive, disk) = match boot.house {
            House::Bare => {
                let mut archive = Initramfs::new()?;
                archive.copy("init", &binaries.join("notify-trace-tests"))?;
                archive.copy("notify-trace", &binaries.join("notify-trace"))?;
                (archive, None)
            }
            House::Systemd => {
                let image = image::get(cache, &image::TRIXIE)?;
                (systemd::initramfs(kernel, binaries)?, Some(image))
            }
            House::Service => {
                let image = image::get(cache, &image::TRIXIE)?;
                (service::initramfs(kernel, binaries)?, Some(image))
            }
            House::Soak => {
                let image = image::get(cache, &image::SYSTEMS)?;
                (service::soak_initramfs(kernel, binaries)?, Some(image))
            }
            House::NewestPackage => {
                let image = image::get(cache, &image::FORKY)
                    .map_err(|error| Obstacle::Skip(format!("{error:#}")))?;
                (service::package_initramfs(kernel, binaries)?, Some(image))
            }
            House::Witness => {
                let image = image::get(cache, &image::TRIXIE)?;
                (witness::initramfs(kernel, binaries)?, Some(image))
            }
            House::Systems => {
                let image = image::get(cache, &image::SYSTEMS)?;
                (systems::initramfs(kernel, binaries)?, Some(image))
            }
            House::PowerLoss => (power_loss::initramfs(kernel, binaries)?, None),
            House::NewestSystems => {
                let image = image::get(cache, &image::NEWEST_SYSTEMS)
                    .map_err(|error| Obstacle::Skip(format!("{error:#}")))?;
                (systems::initramfs(kernel, binaries)?, Some(image))
            }
        };
        let initramfs = log.with_extension("cpio");
        archive.write(&initramfs)?;
        let kept_disk = empty_disk(boot.house, log)?;
        Ok(Self {
            boot,
            emulator,
            kernel,
            initramfs,
            disk,
            kept_disk,
            log,
            selection,
        })
    }

    /// Boots once more where only the kernel's start or the emulator failed: those are not what is tested.
    pub fn boot(&self) -> Result<Counts> {
        if self.boot.house == House::PowerLoss {
            return power_loss::run(&self.guest(), self.log);
        }
        for _ in 1..TRIES {
            let result = self.once();
            let Err(error) = &result else { return result };
            let text = fs::read_to_string(self.log).unwrap_or_default();
            let Some(why) = excuse(error, &text) else {
                return result;
            };
            eprintln!("── {}: once more, for {why}", self.boot.name);
            // What the last guest said is all that is known of it; what it wrote must not pass for the next one's.
            let kept = self.log.with_extension("lost.log");
            fs::rename(self.log, &kept)
                .with_context(|| format!("could not write {}", kept.display()))?;
            empty_disk(self.boot.house, self.log)?;
        }
        self.once()
    }

    /// Whether the guest hands out a recording.
    pub const fn hands_out(&self) -> bool {
        matches!(self.boot.house, House::Systems | House::NewestSystems)
    }

    /// The recording that the guest handed out, if it did.
    pub fn recording(&self) -> Result<Option<PathBuf>> {
        match &self.kept_disk {
            Some(disk) if self.hands_out() => {
                hand_out::take(disk, &self.log.with_extension("ntrec"))
            }
            _ => Ok(None),
        }
    }

    fn deadline(&self) -> Duration {
        match self.boot.house {
            House::Soak => {
                // Senders are late on a busy machine, and what was recorded is counted at the end.
                self.boot.deadline + Duration::from_secs(u64::from(self.selection.minutes) * 90)
            }
            _ => self.boot.deadline,
        }
    }

    fn guest(&self) -> Guest<'_> {
        Guest {
            emulator: self.emulator,
            kernel: &self.kernel.vmlinuz,
            initramfs: &self.initramfs,
            words: words(self.boot, self.selection),
            cpus: self.boot.cpus,
            memory: self.boot.memory,
            disk: self.disk.as_deref(),
            kept_disk: self.kept_disk.as_deref(),
            console_log: None,
            counts_instructions: false,
            deadline: self.deadline(),
        }
    }

    fn once(&self) -> Result<Counts> {
        // So that a failure shows no log of an earlier run.
        let unwritable = || format!("could not write {}", self.log.display());
        fs::write(self.log, "").with_context(unwritable)?;
        let guest = self.guest();
        let mut lines: Vec<String> = Vec::new();
        let mut has_spoken = false;
        let end = qemu::boot(&guest, |line| {
            if line.starts_with("test ") {
                println!("{:<13}{line}", self.boot.name);
            }
            lines.push(line.to_owned());
            has_spoken |= is_of_init(line);
            if !has_spoken && tells_of_stall(line) {
                bail!("the kernel stalls before init runs");
            }
            Ok(())
        });
        fs::write(self.log, lines.join("\n") + "\n").with_context(unwritable)?;
        if end? == End::Deadline {
            return Err(anyhow!(
                "not finished after {} s",
                self.deadline().as_secs()
            ));
        }
        verdict(lines.iter().map(String::as_str)).map_err(|trouble| anyhow!("{trouble}"))
    }
}

/// Whether a test or init said this; init says so first of all that it does.
fn is_of_init(line: &str) -> bool {
    line.starts_with("test ") || line.starts_with("init: ")
}

/// The disk that keeps what a guest writes, as it is before its boot.
fn empty_disk(house: House, log: &Path) -> Result<Option<PathBuf>> {
    match house {
        House::Systems | House::NewestSystems => hand_out::disk(log).map(Some),
        House::PowerLoss | House::Service => power_loss::disk(log).map(Some),
        House::Bare | House::Systemd | House::Soak | House::NewestPackage | House::Witness => {
            Ok(None)
        }
    }
}

/// Why a boot that failed says nothing of what is tested, if so: `text` is what its guest said. A test that
/// failed, or a kernel that broke, before its emulator died did so.
fn excuse(error: &anyhow::Error, text: &str) -> Option<String> {
    if died_before_init(text) {
        return Some("the kernel died or stalled before init ran".to_owned());
    }
    let has_failed = text.lines().any(|line| {
        line.starts_with("init: failure")
            || line.starts_with("test ") && line.contains(" FAILED")
            || trouble(line).is_some()
    });
    let crash = error.downcast_ref::<Crash>()?;
    (!has_failed).then(|| format!("the emulator itself died: {crash}"))
}

/// Whether a guest's text shows trouble of the kernel, and nothing that a test or init said.
fn died_before_init(text: &str) -> bool {
    !text.lines().any(is_of_init) && is_in_trouble(text)
}

fn words(boot: &Boot, selection: &Selection) -> Vec<String> {
    // The user's choice of a plan wins over the boot's.
    let is_chosen = |word: &&&str| selection.plan.is_none() || !word.starts_with(PLAN_WORD);
    let mut words: Vec<String> = boot
        .words
        .iter()
        .filter(is_chosen)
        .map(|word| (*word).to_owned())
        .collect();
    if boot.house == House::Soak {
        words.push(format!("notify-trace.minutes={}", selection.minutes));
    }
    words.extend(selection.plan.map(|plan| format!("{PLAN_WORD}{plan}")));
    words.extend(
        selection
            .only
            .map(|only| format!("notify-trace.only={only}")),
    );
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::boots::boot;

    #[test]
    fn a_guest_is_told_plan_and_name_only_when_chosen() {
        let all = Selection {
            boots: &[],
            plan: None,
            only: None,
            refresh: false,
            engines: Engines::DuckDb,
            jobs: None,
            minutes: 5,
        };
        assert!(words(&boot("7").unwrap(), &all).is_empty());
        let some = Selection {
            plan: Some("full"),
            only: Some("relay"),
            ..all
        };
        assert_eq!(
            words(&boot("6.12-preempt").unwrap(), &some),
            [
                "preempt=full",
                "notify-trace.plan=full",
                "notify-trace.only=relay"
            ]
        );
    }

    #[test]
    fn a_crash_of_the_emulator_excuses_what_has_not_failed_before() {
        let crash = || anyhow::Error::from(Crash::of_tests("qemu: Assertion failed"));
        let said = "init: begins\ntest a ... ok\n";
        assert!(excuse(&crash(), "").is_some());
        assert!(excuse(&crash(), said).is_some_and(|why| why.contains("Assertion")));
        assert!(excuse(&crash(), &format!("{said}test b ... FAILED\n")).is_none());
        assert!(excuse(&crash(), &format!("{said}init: failure tests=2\n")).is_none());
        assert!(excuse(&crash(), &format!("{said}[ 9.5] Oops: int3\n")).is_none());
        assert!(excuse(&anyhow!("not finished after 9 s"), said).is_none());
    }

    #[test]
    fn only_a_kernel_that_dies_before_init_is_booted_again() {
        assert!(died_before_init("booting\n[ 1.5] Oops: int3: 0000 [#1]\n"));
        assert!(!died_before_init("test a ... ok\n[ 9.5] Oops: int3\n"));
        assert!(!died_before_init(
            "init: failure cannot mount\nKernel panic - not syncing: x\n"
        ));
        assert!(!died_before_init("booting\n"));
        let stall = "[ 23.6] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n";
        assert!(died_before_init(stall));
        assert!(!died_before_init(&format!("init: begins\n{stall}")));
    }
}
