//! The boots of the matrix: which kernel, how it is booted, and what it finds there.

use std::time::Duration;

use anyhow::{Result, anyhow};

use super::{service, systemd, systems, witness};
use crate::vm::kernel::TRIXIE;

const DEADLINE: Duration = Duration::from_secs(600);
const DEADLINE_OF_SYSTEMS: Duration = Duration::from_secs(1500);

/// One way of booting one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// What it is called.
    pub name: &'static str,
    /// Which kernel.
    pub series: &'static str,
    /// Words of the kernel's command line.
    pub(super) words: &'static [&'static str],
    /// CPUs of the guest.
    pub(super) cpus: u32,
    /// In MiB.
    pub(super) memory: u32,
    /// What it finds there.
    pub(super) house: House,
    /// When it is given up.
    pub(super) deadline: Duration,
    /// Not part of a whole run.
    pub is_extra: bool,
}

/// What the kernel finds when it looks for process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum House {
    /// The tests' program, and nothing else.
    Bare,
    /// systemd, on a disk with a small Debian.
    Systemd,
    /// systemd that says all that it does, on the same disk.
    Witness,
    /// The agent as a service of systemd, on the same disk.
    Service,
    /// The same for a long run, on a disk with the container engines.
    Soak,
    /// Debian's next release, for the package alone. It may not install on the day.
    NewestPackage,
    /// systemd, on a disk with the container engines.
    Systems,
    /// The same, as they are in Debian's newest suite. It may not install on the day.
    NewestSystems,
    /// A recorder on a disk of its own, whose power is cut again and again.
    PowerLoss,
}

/// What most boots have in common: Debian's stable kernel, and the tests' program alone.
const BARE: Boot = Boot {
    name: "",
    series: TRIXIE.name,
    words: &[],
    cpus: 2,
    memory: 1024,
    house: House::Bare,
    deadline: DEADLINE,
    is_extra: false,
};

/// Every kernel as it comes in every plan, one of them with a flood; and one kernel preemptible
/// everywhere, with many CPUs, with systemd, with a systemd that says all that it does, with the agent as
/// a service, and with the container engines of two releases, in the plan that is chosen there.
///
/// In the order in which they are begun: the longest first, where two run at once. The newest suite
/// changes every day, and a test run should fail by what changed here: it is run when it is named. The
/// next release changes less, and its image is made once: it is left out where it can't be made.
pub const BOOTS: [Boot; 14] = [
    Boot {
        name: "13-systems",
        words: systems::WORDS,
        memory: 3072,
        house: House::Systems,
        deadline: DEADLINE_OF_SYSTEMS,
        ..BARE
    },
    Boot {
        name: "5.10",
        series: "5.10",
        ..BARE
    },
    Boot {
        name: "6.1",
        series: "6.1",
        ..BARE
    },
    Boot {
        name: "6.12",
        words: &["notify-trace.flood=1"],
        ..BARE
    },
    Boot {
        name: "sid-systems",
        words: systems::WORDS,
        memory: 3072,
        house: House::NewestSystems,
        deadline: DEADLINE_OF_SYSTEMS,
        is_extra: true,
        ..BARE
    },
    Boot {
        name: "7",
        series: "7",
        ..BARE
    },
    Boot {
        name: "6.12-16cpus",
        words: &["notify-trace.plan=auto"],
        cpus: 16,
        ..BARE
    },
    Boot {
        name: "6.12-preempt",
        words: &["preempt=full", "notify-trace.plan=auto"],
        ..BARE
    },
    Boot {
        name: "6.12-witness",
        words: witness::WORDS,
        // The journal is in memory, and nothing of it may be thrown away.
        memory: 1536,
        house: House::Witness,
        ..BARE
    },
    Boot {
        name: "6.12-power",
        memory: 512,
        house: House::PowerLoss,
        ..BARE
    },
    Boot {
        name: "6.12-systemd",
        words: systemd::WORDS,
        house: House::Systemd,
        ..BARE
    },
    Boot {
        name: "6.12-agent",
        words: service::WORDS,
        house: House::Service,
        deadline: DEADLINE_OF_SYSTEMS,
        ..BARE
    },
    Boot {
        name: "6.12-soak",
        words: service::SOAK_WORDS,
        memory: 2048,
        house: House::Soak,
        ..BARE
    },
    Boot {
        name: "forky-package",
        words: service::WORDS,
        house: House::NewestPackage,
        ..BARE
    },
];

/// Looks a boot up by its name, for the command line.
pub fn boot(name: &str) -> Result<Boot> {
    BOOTS
        .into_iter()
        .find(|boot| boot.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = BOOTS.iter().map(|boot| boot.name).collect();
            anyhow!("choose of {}", names.join(", "))
        })
}

impl Boot {
    /// Whether a Collector runs in its guest.
    pub const fn needs_collector(&self) -> bool {
        matches!(self.house, House::Service)
    }

    /// Whether its guest installs the package.
    pub const fn needs_package(&self) -> bool {
        matches!(self.house, House::Service | House::NewestPackage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::kernel;

    #[test]
    fn every_boot_has_a_known_kernel_and_every_kernel_a_boot() {
        for boot in BOOTS {
            assert!(kernel::series(boot.series).is_ok(), "{}", boot.name);
        }
        for series in kernel::ALL {
            assert!(
                BOOTS.iter().any(|boot| boot.series == series.name),
                "{}",
                series.name
            );
        }
    }
}
