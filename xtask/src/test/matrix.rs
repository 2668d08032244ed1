//! The VM tests: some boots at once, each judged by its verdict, all reported together.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::boot::{Obstacle, Selection, Try};
use super::boots::{BOOTS, Boot};
use super::studies;
use crate::{
    agent,
    cache::Cache,
    command,
    vm::{
        emulator::{self, Emulator},
        kernel::{self, Kernel},
        verdict::Counts,
    },
};

/// Most guests at once, however many CPUs there are: each needs 1 to 3 GiB.
const MOST_GUESTS: usize = 4;
/// How much of a failed boot's log is shown.
const LOG_LINES: usize = 60;
/// How much of what a failed test said is repeated at the end.
const TEST_LINES: usize = 30;

/// What is looked at on this side.
const STUDIES: &str = "studies::all_accounts_of_the_recording_are_the_same";

/// Adds to a boot's log, where failures are looked for.
fn append(log: &Path, text: &str) -> Result<()> {
    let write = || {
        OpenOptions::new()
            .append(true)
            .open(log)?
            .write_all(text.as_bytes())
    };
    write().with_context(|| format!("could not write {}", log.display()))
}

/// How one boot ended.
struct Report {
    name: &'static str,
    kernel: String,
    seconds: f64,
    counts: Counts,
    trouble: Option<String>,
    /// Why it was left out.
    skipped: Option<String>,
    log: PathBuf,
    /// What the guest said, if something is wrong.
    text: String,
}

/// Boots all that is selected; `Ok(true)` when every test of every boot passed.
pub fn run(cache: &Cache, binaries: &Path, selection: &Selection) -> Result<bool> {
    let logs = agent::target_folder()?.join("vm-logs");
    fs::create_dir_all(&logs).with_context(|| format!("could not create {}", logs.display()))?;

    let whole_run: Vec<Boot>;
    let boots = if selection.boots.is_empty() {
        whole_run = BOOTS.into_iter().filter(|boot| !boot.is_extra).collect();
        &whole_run[..]
    } else {
        selection.boots
    };
    let emulator = emulator::get(cache)?;
    let kernels = kernels(cache, boots, selection.refresh);
    let all = All {
        cache,
        binaries,
        selection,
        emulator: &emulator,
        kernels: &kernels,
        logs: &logs,
    };
    let guests = match selection.jobs {
        Some(jobs) => jobs,
        // An emulated guest keeps one CPU busy most of the time, however many it has itself.
        None => thread::available_parallelism().map_or(1, |cpus| cpus.get().min(MOST_GUESTS)),
    };
    let reports = at_once(guests, boots, |boot| all.one(boot));
    for report in &reports {
        if let Some(trouble) = &report.trouble {
            println!("{} FAILED: {trouble}", report.name);
            show_end(&report.log, &report.text);
        }
    }
    print!("{}", table(&reports));
    // Once more, behind hundreds of lines of boots that came later.
    for report in &reports {
        for failure in failures(&report.text) {
            println!("\n{}: {failure}", report.name);
        }
    }
    Ok(reports.iter().all(|report| report.trouble.is_none()))
}

/// Does something with each, with so many at once, the first ones first; the results in their order.
fn at_once<T: Sync, R: Send>(workers: usize, all: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(all.iter().enumerate());
    let done = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..workers.clamp(1, all.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).next();
                    let Some((index, one)) = next else { break };
                    let result = act(one);
                    lock(&done).insert(index, result);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all boots share.
struct All<'a> {
    cache: &'a Cache,
    binaries: &'a Path,
    selection: &'a Selection<'a>,
    emulator: &'a Emulator,
    kernels: &'a BTreeMap<&'static str, Result<Kernel>>,
    logs: &'a Path,
}

impl All<'_> {
    fn one(&self, boot: &Boot) -> Report {
        let start = Instant::now();
        let log = self.logs.join(format!("{}.log", boot.name));
        // What isn't booted now has no log: nobody should take an old one for it.
        let _ = fs::remove_file(&log);
        let (kernel, result) = match &self.kernels[boot.series] {
            Ok(kernel) => (kernel.version.clone(), self.boot(boot, kernel, &log)),
            Err(error) => (String::new(), Err(anyhow!("{error:#}").into())),
        };
        let mut skipped = None;
        let (counts, trouble) = match result {
            Ok(counts) if counts.failed == 0 => (counts, None),
            Ok(counts) => (counts, Some(format!("{} tests failed", counts.failed))),
            Err(Obstacle::Skip(why)) => {
                println!("{} skipped: {why}", boot.name);
                skipped = Some(why);
                let counts = Counts {
                    skipped: 1,
                    ..Counts::default()
                };
                (counts, None)
            }
            // What could not be counted still is a failure.
            Err(Obstacle::Fail(error)) => (
                Counts {
                    failed: 1,
                    ..Counts::default()
                },
                Some(format!("{error:#}")),
            ),
        };
        // Without a boot there is no log.
        let text = match trouble {
            Some(_) => fs::read_to_string(&log).unwrap_or_default(),
            None => String::new(),
        };
        Report {
            name: boot.name,
            kernel,
            seconds: start.elapsed().as_secs_f64(),
            counts,
            trouble,
            skipped,
            log,
            text,
        }
    }

    fn boot(&self, boot: &Boot, kernel: &Kernel, log: &Path) -> Result<Counts, Obstacle> {
        eprintln!("── {} ({}): {}", boot.name, kernel.version, log.display());
        let prepared = Try::prepare(
            self.cache,
            boot,
            self.emulator,
            kernel,
            self.binaries,
            log,
            self.selection,
        )?;
        let mut counts = prepared.boot()?;
        if prepared.hands_out() {
            let result = self.studies(&prepared);
            let line = match &result {
                Ok(said) => format!("test {STUDIES} ... ok ({said})\n"),
                Err(error) => format!("test {STUDIES} ... FAILED\n    {error:#}\n"),
            };
            print!("{:<13}{line}", boot.name);
            append(log, &line)?;
            counts.passed += u32::from(result.is_ok());
            counts.failed += u32::from(result.is_err());
        }
        Ok(counts)
    }

    /// What all accounts say of the recording that the guest made.
    fn studies(&self, boot: &Try<'_>) -> Result<String> {
        let recording = boot
            .recording()?
            .context("the guest handed out no recording")?;
        let agent = self.binaries.join("notify-trace");
        let compared = studies::compare(self.cache, &agent, &[&recording], self.selection.engines)?;
        // Some scenarios alone need not have all.
        let is_whole = self.selection.only.is_none();
        for study in [
            "startup", "reload", "stop", "watchdog", "delivery", "relay", "rate", "failed",
        ] {
            ensure!(
                !is_whole || compared.rows.get(study).is_some_and(|rows| *rows > 0),
                "{study} has no rows, so that is untested: {compared}"
            );
        }
        Ok(compared.to_string())
    }
}

/// Each kernel once, for several boots share one; a missing one fails only its own boots.
fn kernels(cache: &Cache, boots: &[Boot], refresh: bool) -> BTreeMap<&'static str, Result<Kernel>> {
    let mut kernels = BTreeMap::new();
    for boot in boots {
        kernels.entry(boot.series).or_insert_with(|| {
            kernel::series(boot.series).and_then(|series| kernel::get(cache, series, refresh))
        });
    }
    kernels
}

fn show_end(log: &Path, text: &str) {
    println!("the last lines of {}:", log.display());
    for line in command::tail(text, LOG_LINES).lines() {
        println!("    {line}");
    }
}

/// The tests of a log that failed, each with the first lines of what it said.
fn failures(log: &str) -> Vec<String> {
    let mut failures = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !(line.starts_with("test ") && line.ends_with(" FAILED")) {
            continue;
        }
        let mut failure = line.to_owned();
        let mut said = 0;
        while let Some(more) = lines.next_if(|line| line.starts_with("    ")) {
            if said < TEST_LINES {
                failure.push('\n');
                failure.push_str(more);
            }
            said += 1;
        }
        failures.push(failure);
    }
    failures
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Of what a program said that failed, the last word.
fn last_line(text: &str) -> &str {
    text.lines().next_back().unwrap_or_default().trim()
}

fn table(reports: &[Report]) -> String {
    let mut text = format!(
        "\n{:<13} {:<18} {:>6} {:>6} {:>7} {:>7}  {}\n",
        "boot", "kernel", "passed", "failed", "skipped", "seconds", "result"
    );
    let mut sum = Counts::default();
    for Report {
        name,
        kernel,
        seconds,
        counts,
        trouble,
        skipped,
        log: _,
        text: _,
    } in reports
    {
        let result = match (trouble, skipped) {
            (Some(trouble), _) => first_line(trouble).to_owned(),
            (None, Some(why)) => format!("skipped: {}", last_line(why)),
            (None, None) => "ok".to_owned(),
        };
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "{name:<13} {kernel:<18} {:>6} {:>6} {:>7} {seconds:>7.1}  {result}",
            counts.passed, counts.failed, counts.skipped
        );
        sum.passed += counts.passed;
        sum.failed += counts.failed;
        sum.skipped += counts.skipped;
    }
    let _ = writeln!(
        text,
        "\n{} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_sums_all_boots() {
        let report = |name, failed, trouble| Report {
            name,
            kernel: "6.1-1".into(),
            seconds: 1.0,
            counts: Counts {
                passed: 5,
                failed,
                skipped: 2,
            },
            trouble,
            skipped: None,
            log: PathBuf::new(),
            text: String::new(),
        };
        let text = table(&[
            report("6.1", 0, None),
            report("7", 1, Some("why\nmore".into())),
        ]);
        assert!(
            text.ends_with("\n10 passed, 1 failed, 4 skipped\n"),
            "{text}"
        );
        assert!(text.contains("why\n"), "{text}");
    }

    #[test]
    fn a_failed_test_is_repeated_with_what_it_said() {
        let log = "test a ... ok\n    note: x\ntest b ... FAILED\n    why\n    more\ntest c ... ok\n\
                   test d ... FAILED\ninit: failure tests=4 failed=2 skipped=0\n";
        assert_eq!(
            failures(log),
            ["test b ... FAILED\n    why\n    more", "test d ... FAILED"]
        );
        assert!(failures("").is_empty());
    }

    #[test]
    fn results_come_in_order_and_each_is_done_once() {
        for workers in [0, 1, 2, 9] {
            let doubled = at_once(workers, &[1, 2, 3, 4], |number| number * 2);
            assert_eq!(doubled, [2, 4, 6, 8]);
        }
        assert_eq!(at_once(2, &[0; 0], |number| *number), [0; 0]);
    }
}
