//! What a guest said at its end: exactly one line tells, everything else is an error with a name.

use std::fmt;

/// How many tests ended how, as the guest counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that did what they should.
    pub passed: u32,
    /// Tests that didn't.
    pub failed: u32,
    /// Tests that said which fact of this kernel is missing.
    pub skipped: u32,
}

/// Why the serial text holds no usable verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoVerdict {
    /// The kernel gave up, with these words.
    Panic(String),
    /// The guest ended, or was ended, before it said anything.
    Silence,
    /// More than one line claims to be the verdict.
    Several(usize),
    /// The line isn't one this program knows.
    Unreadable(String),
}

impl fmt::Display for NoVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(words) => write!(f, "kernel trouble: {words}"),
            Self::Silence => f.write_str("the guest ended without a verdict"),
            Self::Several(count) => write!(f, "{count} verdicts where there should be one"),
            Self::Unreadable(line) => write!(f, "a verdict nobody can read: {line}"),
        }
    }
}

/// Words by which a kernel says that it is broken, whatever the guest claims.
const TROUBLE: [&str; 4] = [
    "Kernel panic - not syncing",
    "Oops: ",
    "BUG: ",
    "Unable to mount root",
];

/// What a line says, if a kernel says in it that it is broken.
pub fn trouble(line: &str) -> Option<&str> {
    let at = TROUBLE.iter().find_map(|words| line.find(words))?;
    Some(&line[at..])
}

/// What a kernel says of a CPU that does not go on (`kernel/rcu/tree_stall.h` and `tree_exp.h`).
const STALLS: [&str; 3] = [
    "detected stalls on CPUs/tasks",
    "detected expedited stalls on CPUs/tasks",
    "self-detected stall on CPU",
];

/// Whether a kernel says anywhere in a text that it is broken, or that a CPU does not go on.
pub fn is_in_trouble(text: &str) -> bool {
    text.lines()
        .any(|line| trouble(line).is_some() || tells_of_stall(line))
}

/// Whether a kernel says that a CPU does not go on. A busy host makes one say so of a guest that runs, so
/// it is no trouble by itself.
pub fn tells_of_stall(line: &str) -> bool {
    STALLS.iter().any(|words| line.contains(words))
}

/// Reads the verdict line: `init: success tests=N skipped=M` or
/// `init: failure tests=N failed=F skipped=M`. `tests` counts all, the skipped ones included.
pub fn verdict<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Counts, NoVerdict> {
    let mut verdicts = Vec::new();
    for line in lines {
        if let Some(words) = trouble(line) {
            return Err(NoVerdict::Panic(words.to_owned()));
        }
        if line.starts_with("init: success") || line.starts_with("init: failure") {
            verdicts.push(line);
        }
    }
    match verdicts[..] {
        [] => Err(NoVerdict::Silence),
        [line] => read(line).ok_or_else(|| NoVerdict::Unreadable(line.to_owned())),
        _ => Err(NoVerdict::Several(verdicts.len())),
    }
}

fn read(line: &str) -> Option<Counts> {
    let number = |name: &str| -> Option<u32> {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    if line.starts_with("init: success") {
        let (tests, skipped) = (number("tests")?, number("skipped")?);
        return Some(Counts {
            passed: tests.checked_sub(skipped)?,
            failed: 0,
            skipped,
        });
    }
    // A guest that fails early may not have counted yet, but one thing did go wrong.
    let failed = number("failed").unwrap_or(1).max(1);
    let skipped = number("skipped").unwrap_or(0);
    let tests = number("tests").unwrap_or(failed + skipped);
    Some(Counts {
        passed: tests.saturating_sub(failed + skipped),
        failed,
        skipped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Counts, NoVerdict> {
        verdict(text.lines())
    }

    #[test]
    fn success_counts_passed_and_skipped() {
        let counts = of("test a ... ok\ninit: success tests=12 skipped=2\n").unwrap();
        assert_eq!(
            counts,
            Counts {
                passed: 10,
                failed: 0,
                skipped: 2
            }
        );
    }

    #[test]
    fn failure_counts_at_least_one() {
        let counts = of("init: failure tests=12 failed=3 skipped=1").unwrap();
        assert_eq!(
            counts,
            Counts {
                passed: 8,
                failed: 3,
                skipped: 1
            }
        );
        let early = of("init: failure no /notify-trace").unwrap();
        assert_eq!(
            early,
            Counts {
                passed: 0,
                failed: 1,
                skipped: 0
            }
        );
    }

    #[test]
    fn no_verdict_is_not_a_success() {
        assert_eq!(of("test a ... ok\n"), Err(NoVerdict::Silence));
    }

    #[test]
    fn two_verdicts_are_none() {
        let twice = "init: success tests=1 skipped=0\ninit: success tests=1 skipped=0";
        assert_eq!(of(twice), Err(NoVerdict::Several(2)));
    }

    #[test]
    fn a_panic_wins_over_any_verdict() {
        let text = "init: success tests=1 skipped=0\n[  1.5] Kernel panic - not syncing: why";
        assert_eq!(
            of(text),
            Err(NoVerdict::Panic("Kernel panic - not syncing: why".into()))
        );
    }

    #[test]
    fn stalls_are_told_in_three_ways() {
        for line in [
            "[ 23.6] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "[ 23.6] rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 7-... }",
            "[ 23.6] rcu: INFO: rcu_preempt self-detected stall on CPU",
        ] {
            assert!(tells_of_stall(line), "{line}");
            assert_eq!(trouble(line), None);
        }
        assert!(!tells_of_stall("test a ... ok"));
    }

    #[test]
    fn a_cut_or_impossible_line_is_unreadable() {
        for line in ["init: success tests=1", "init: success tests=1 skipped=2"] {
            assert_eq!(of(line), Err(NoVerdict::Unreadable(line.into())));
        }
    }
}
