//! How the agent's own process is, by the names that every program's metrics have.

use rustix::param::{clock_ticks_per_second, page_size};

/// What `/proc/self` says; what can't be read is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Own {
    /// `process_resident_memory_bytes`.
    pub(super) resident_bytes: Option<u64>,
    /// `process_cpu_seconds_total`, in nanoseconds.
    pub(super) cpu_ns: Option<u64>,
    /// `process_open_fds`.
    pub(super) open_fds: Option<u64>,
    /// `process_threads`.
    pub(super) threads: Option<u64>,
}

pub(super) fn look() -> Own {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fds = std::fs::read_dir("/proc/self/fd").ok();
    Own {
        // One is the directory's.
        open_fds: fds.map(|fds| (fds.count() as u64).saturating_sub(1)),
        ..of_stat(&stat, page_size() as u64, clock_ticks_per_second())
    }
}

/// Of `/proc/PID/stat` (`proc_pid_stat(5)`): fields are counted behind the name, which may hold anything.
fn of_stat(stat: &str, page_bytes: u64, ticks: u64) -> Own {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return Own::default();
    };
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first behind the name is the third of all.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let cpu_ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
    Own {
        resident_bytes: field(24).map(|pages| pages * page_bytes),
        cpu_ns: cpu_ticks.map(|cpu| cpu * (1_000_000_000 / ticks.max(1))),
        open_fds: None,
        threads: field(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 25 75 0 0 20 0 6 0 123 9999 300 18446744073709551615";
        assert_eq!(
            of_stat(stat, 4096, 100),
            Own {
                resident_bytes: Some(300 * 4096),
                cpu_ns: Some(1_000_000_000),
                open_fds: None,
                threads: Some(6),
            }
        );
        assert_eq!(of_stat("", 4096, 100), Own::default());
    }

    #[test]
    fn this_process_uses_memory() {
        let own = look();
        assert!(own.resident_bytes.is_some_and(|bytes| bytes > 0), "{own:?}");
        assert!(own.open_fds.is_some_and(|fds| fds > 2), "{own:?}");
    }
}
