//! Exit codes: one table, shown by `--help`.

use std::process::ExitCode;

use crate::probe::error::AttachError;

/// Why the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything went well; a closed output pipe counts as that.
    Success,
    /// Something failed; the error says what.
    Failure,
    /// More privileges are needed.
    NotPermitted,
    /// This kernel can't be traced.
    KernelUnusable,
    /// Something was lost, and `--fail-on-loss` was given.
    Loss,
    /// `doctor`: tracing works, and something can't be told.
    Limited,
    /// Something was found to explain, and `--fail-on-verdict` was given.
    Verdict,
    /// `compare`: something is slower, and `--fail-if-slower` was given.
    Slower,
    /// `expect`: something was not as expected.
    Unexpected,
    /// The exit code of the command that was traced; 128 + N if signal N ended it.
    Command(u8),
}

/// The table of `--help`. (2 is clap's own code for a wrong command line.)
pub const TABLE: &str = "\
Exit codes:
  0  success; also if the reader of the output went away
  1  something failed; the error says what was tried, on what, and what helps
  2  the command line is wrong
  3  not permitted: the error names the capabilities that are missing
  4  this kernel can't be traced: the error says what was tried and what came back
  5  something was lost, and --fail-on-loss was given
  6  doctor: tracing works, and something can't be told
  7  there is a verdict, and --fail-on-verdict was given
  8  compare: something is slower, and --fail-if-slower was given
  9  expect: something was not as expected
  otherwise, with -- COMMAND: the command's own exit code, 128 + N if signal N ended it";

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::NotPermitted => 3,
            Self::KernelUnusable => 4,
            Self::Loss => 5,
            Self::Limited => 6,
            Self::Verdict => 7,
            Self::Slower => 8,
            Self::Unexpected => 9,
            Self::Command(code) => code,
        }
    }

    /// The code for an error.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<AttachError>() {
            Some(error) if error.is_permission() => Self::NotPermitted,
            Some(_) => Self::KernelUnusable,
            None => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_table() {
        for exit in [
            Exit::Success,
            Exit::Failure,
            Exit::NotPermitted,
            Exit::KernelUnusable,
            Exit::Loss,
            Exit::Limited,
            Exit::Verdict,
            Exit::Slower,
            Exit::Unexpected,
        ] {
            assert!(
                TABLE.contains(&format!("\n  {}  ", exit.code())),
                "{exit:?}"
            );
        }
    }

    #[test]
    fn a_lack_of_privileges_has_its_own_code() {
        let error = AttachError::NotPermitted {
            what: "load".to_owned(),
            missing: vec!["CAP_BPF"],
            source: anyhow::anyhow!("EPERM"),
        };
        assert_eq!(Exit::of(&error.into()), Exit::NotPermitted);
        assert_eq!(Exit::of(&anyhow::anyhow!("x")), Exit::Failure);
    }
}
