//! A line that says how far long work has come: on a terminal, after the first second, and gone at the
//! end.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Nothing is said of work that is done sooner.
const SILENT: Duration = Duration::from_secs(1);

/// Between two lines.
const EVERY: Duration = Duration::from_millis(200);

/// How many steps pass between two looks at the clock.
const STEPS: u64 = 4_096;

/// Says how far the work is.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    of: u64,
    is_on: bool,
    steps: u64,
    next: Instant,
    is_shown: bool,
}

impl Progress {
    /// Of so many steps; 0: unknown.
    pub(super) fn new(what: &'static str, of: u64) -> Self {
        Self {
            what,
            of,
            is_on: io::stderr().is_terminal(),
            steps: 0,
            next: Instant::now() + SILENT,
            is_shown: false,
        }
    }

    /// So many are done.
    pub(super) fn at(&mut self, done: u64) {
        self.steps += 1;
        if !self.is_on || !self.steps.is_multiple_of(STEPS) || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        self.is_shown = true;
        // A second pass begins again.
        let share = (done % self.of.max(1)) * 100 / self.of.max(1);
        let text = format!("\r{}: {done} ({share} %)\x1b[K", self.what);
        // Whoever does not see it loses nothing.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
