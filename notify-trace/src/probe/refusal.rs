//! The kernel's answer to a program, as far as it fits a report: what failed, with which error, and
//! the last lines of the verifier's log.

use aya::programs::ProgramError;
use serde::Serialize;

/// Most lines of the verifier's log that are kept; what it stumbled over stands at the end.
const VERIFIER_LINES: usize = 8;

/// How the lines of statistics begin that some kernels end the log with (`print_verification_stats`,
/// kernel/bpf/verifier.c).
const STATISTICS: [&str; 4] = [
    "verification time ",
    "stack depth ",
    "processed ",
    "peak_states ",
];

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What failed and what caused it, in one line.
    pub answer: String,
    /// The error's number (errno(3)), where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The last lines of the verifier's log, if it had something to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verifier: Vec<String>,
}

impl Refusal {
    /// What an error says, its causes included.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let mut refusal = Self {
            answer: String::new(),
            errno: None,
            verifier: Vec::new(),
        };
        for cause in error.chain() {
            let mut text = cause.to_string();
            if let Some(ProgramError::LoadError {
                io_error,
                verifier_log,
            }) = cause.downcast_ref()
            {
                text = io_error.to_string();
                refusal.errno = io_error.raw_os_error();
                refusal.verifier = last_lines(&verifier_log.to_string());
            }
            if let Some(io_error) = cause.downcast_ref::<std::io::Error>() {
                refusal.errno = io_error.raw_os_error().or(refusal.errno);
            }
            // Many causes repeat what they were caused by.
            if refusal.answer.contains(&text) {
                continue;
            }
            if !refusal.answer.is_empty() {
                refusal.answer.push_str(": ");
            }
            refusal.answer.push_str(&text);
        }
        refusal
    }
}

/// The end of a log, without empty lines and statistics.
fn last_lines(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .filter(|line| !STATISTICS.iter().any(|begin| line.starts_with(begin)))
        .collect();
    lines[lines.len().saturating_sub(VERIFIER_LINES)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once_and_the_error_number_is_kept() {
        let source = std::io::Error::from_raw_os_error(1);
        let error = anyhow::Error::new(source)
            .context("perf_event_open failed: Operation not permitted (os error 1)")
            .context("it can't be attached");
        let refusal = Refusal::of(&error);
        assert_eq!(
            refusal.answer,
            "it can't be attached: perf_event_open failed: Operation not permitted (os error 1)"
        );
        assert_eq!(refusal.errno, Some(1));
        assert!(refusal.verifier.is_empty());
    }

    #[test]
    fn of_the_verifiers_log_the_last_lines_are_kept() {
        let log: String = (1..=20).map(|line| format!("{line}: exit\n\n")).collect();
        let lines = last_lines(&log);
        assert_eq!(lines.len(), VERIFIER_LINES);
        assert_eq!(lines.last().map(String::as_str), Some("20: exit"));
        let log = "13: (85) call bpf_probe_read#4\nunknown func bpf_probe_read#4\n\
                   verification time 506 usec\nstack depth 0\nprocessed 12 insns (limit 1000000)\n";
        let lines = last_lines(log);
        let last = lines.last().map(String::as_str);
        assert_eq!(last, Some("unknown func bpf_probe_read#4"));
    }
}
