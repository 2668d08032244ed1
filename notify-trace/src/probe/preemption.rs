//! Whether this kernel may preempt a program of a trampoline: then it skips runs of the same program on
//! that CPU meanwhile, and a plan of nothing but trampolines would lose records
//! (`__bpf_prog_enter_recur`, kernel/bpf/trampoline.c).
//!
//! A pure reading of what the kernel says of itself; nothing here is guessed: where it doesn't say, it
//! may.

use std::fs;

/// What a kernel says of preemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// The kernel's own code is left only where it sleeps or says so.
    Never,
    /// It may be interrupted anywhere, or the kernel doesn't say; why it is thought so.
    Possible(String),
}

/// What there is to read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// uname(2): the version, such as `#1 SMP PREEMPT_DYNAMIC Debian 6.12.9-1`.
    pub version: String,
    /// `/sys/kernel/debug/sched/preempt`: the model in force in brackets.
    pub debug: Option<String>,
    /// `/proc/cmdline`.
    pub command_line: Option<String>,
    /// `/boot/config-RELEASE`.
    pub config: Option<String>,
}

impl Sources {
    /// Of the running kernel.
    #[must_use]
    pub fn of_host() -> Self {
        let name = rustix::system::uname();
        let release = name.release().to_string_lossy();
        Self {
            version: name.version().to_string_lossy().into_owned(),
            debug: fs::read_to_string("/sys/kernel/debug/sched/preempt").ok(),
            command_line: fs::read_to_string("/proc/cmdline").ok(),
            config: fs::read_to_string(format!("/boot/config-{release}")).ok(),
        }
    }
}

/// What they say. The model can be changed while the kernel runs, but what was chosen at its start is all
/// that is to be had where debugfs is closed.
#[must_use]
pub fn preemption(sources: &Sources) -> Preemption {
    let model = sources
        .version
        .split_whitespace()
        .find(|word| word.starts_with("PREEMPT"));
    match model {
        None => return Preemption::Never,
        Some("PREEMPT_DYNAMIC") => {}
        Some(model) => {
            return Preemption::Possible(format!("it is built with {model}"));
        }
    }
    let in_force = sources.debug.as_deref().and_then(in_brackets);
    let asked_for = sources.command_line.as_deref().and_then(chosen_at_boot);
    let built_in = sources.config.as_deref().and_then(built_in);
    let chosen = match (in_force, asked_for) {
        (Some(model), _) => Some(model),
        // A kernel that has no such model goes on with its own.
        (None, None | Some("none" | "voluntary")) => built_in,
        (None, Some(model)) => Some(model),
    };
    match chosen {
        Some("none" | "voluntary") => Preemption::Never,
        Some(model) => Preemption::Possible(format!("its preemption model is {model}")),
        None => Preemption::Possible(
            "it doesn't say its preemption model (/sys/kernel/debug/sched/preempt, \
             /boot/config-RELEASE)"
                .to_owned(),
        ),
    }
}

/// `none (voluntary) full`: the model in force.
fn in_brackets(text: &str) -> Option<&str> {
    Some(text.split_once('(')?.1.split_once(')')?.0)
}

/// `preempt=` of the kernel's command line; the last one counts.
fn chosen_at_boot(command_line: &str) -> Option<&str> {
    command_line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("preempt="))
        .next_back()
}

/// The model a kernel with a choice begins with (kernel/Kconfig.preempt).
fn built_in(config: &str) -> Option<&'static str> {
    [
        ("CONFIG_PREEMPT_NONE=y", "none"),
        ("CONFIG_PREEMPT_VOLUNTARY=y", "voluntary"),
        ("CONFIG_PREEMPT_LAZY=y", "lazy"),
        ("CONFIG_PREEMPT=y", "full"),
    ]
    .into_iter()
    .find(|(line, _)| config.lines().any(|it| it == *line))
    .map(|(_, model)| model)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DYNAMIC: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.9-1 (2025-01-10)";

    fn dynamic(debug: Option<&str>, command_line: &str, config: Option<&str>) -> Preemption {
        preemption(&Sources {
            version: DYNAMIC.to_owned(),
            debug: debug.map(str::to_owned),
            command_line: Some(command_line.to_owned()),
            config: config.map(str::to_owned),
        })
    }

    fn is_possible(preemption: &Preemption) -> bool {
        matches!(preemption, Preemption::Possible(_))
    }

    #[test]
    fn a_kernel_that_is_built_without_it_has_none() {
        let version = "#1 SMP Debian 5.10.262-1 (2026-09-01)".to_owned();
        let sources = Sources {
            version,
            ..Sources::default()
        };
        assert_eq!(preemption(&sources), Preemption::Never);
    }

    #[test]
    fn a_kernel_that_is_built_for_it_has_it() {
        for model in ["PREEMPT", "PREEMPT_RT", "PREEMPT_LAZY"] {
            let sources = Sources {
                version: format!("#1 SMP {model} Debian"),
                // Whatever else is said.
                debug: Some("(none) full".to_owned()),
                ..Sources::default()
            };
            assert!(is_possible(&preemption(&sources)), "{model}");
        }
    }

    #[test]
    fn what_is_in_force_counts_before_what_was_chosen() {
        let voluntary = Some("none (voluntary) full \n");
        assert_eq!(dynamic(voluntary, "preempt=full", None), Preemption::Never);
        let full = Some("none voluntary (full) lazy\n");
        assert!(is_possible(&dynamic(full, "preempt=none", None)));
    }

    #[test]
    fn what_was_chosen_counts_before_what_was_built() {
        let config = Some("# CONFIG_PREEMPT_NONE is not set\nCONFIG_PREEMPT_VOLUNTARY=y\n");
        assert_eq!(dynamic(None, "quiet", config), Preemption::Never);
        assert!(is_possible(&dynamic(
            None,
            "quiet preempt=none preempt=full",
            config
        )));
        let lazy = Some("CONFIG_PREEMPT_LAZY=y\n");
        assert!(is_possible(&dynamic(None, "", lazy)));
        // Newer kernels have no other, whatever they are asked for.
        assert!(is_possible(&dynamic(None, "preempt=voluntary", lazy)));
    }

    #[test]
    fn a_kernel_that_does_not_say_may() {
        assert!(is_possible(&dynamic(None, "quiet", None)));
    }
}
