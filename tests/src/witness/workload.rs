//! What happens in the guest while both accounts are written.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::serve::odd;

/// All services of a manager start in less, emulated.
const DEADLINE_OF_JOBS: Duration = Duration::from_secs(180);
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// Of the services that start, reload and stop at once.
pub const CROWD: usize = 200;
const CROWD_OF_USER: usize = 20;
/// The last thing that each manager is told.
pub const END: &str = "STATUS=the end of the witness";

const PROGRAM: &str = "/run/notify-trace/notify-trace-tests";
const USER: &str = "user@0.service";
/// What `systemctl --user` of root needs.
const RUNTIME_FOLDER: (&str, &str) = ("XDG_RUNTIME_DIR", "/run/user/0");

/// Addresses that nobody listens to: one exists, the other doesn't.
pub const DEAD: &str = "/run/user/4242/systemd/notify";
pub const ABSENT: &str = "/run/user/4243/systemd/notify";
pub const SYSTEM: &str = "/run/systemd/notify";
pub const STRACE: &str = "/run/notify-trace/strace";

/// A program to its end; what it says, if it succeeds.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("could not run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

fn systemctl(is_users: bool, words: &[&str], units: &[String]) -> Result<Output> {
    let mut command = Command::new("systemctl");
    if is_users {
        command
            .arg("--user")
            .env(RUNTIME_FOLDER.0, RUNTIME_FOLDER.1);
    }
    run(command.args(words).args(units))
}

fn units(name: &str, count: usize) -> Vec<String> {
    (1..=count)
        .map(|number| format!("{name}@{number}.service"))
        .collect()
}

/// The services of one manager: they start, reload and stop, some may not speak.
fn services(is_users: bool, crowd: usize) -> Result<()> {
    let whose = if is_users { "user's" } else { "system" };
    let few = [
        units("nt-watchdog", 4),
        units("nt-child", 5),
        units("nt-refused-main", 4),
        units("nt-refused-exec", 4),
        units("nt-shell", 4),
    ]
    .concat();
    let crowd = units("nt-crowd", crowd);
    for (verb, units) in [
        ("start", &few),
        ("start", &crowd),
        ("reload", &crowd),
        ("stop", &crowd),
        ("stop", &few),
    ] {
        let what = format!("{verb} {} services, {whose} manager", units.len());
        timed(&what, || jobs(is_users, verb, units))?;
        if verb == "start" {
            systemctl(is_users, &["is-active"], units)?;
        }
    }
    Ok(())
}

/// What `systemctl` does without it being there: as long as it waits, the manager sends it a signal for
/// every change of every unit, and logs each.
fn jobs(is_users: bool, verb: &str, units: &[String]) -> Result<()> {
    systemctl(is_users, &["--no-block", verb], units)?;
    let end = Instant::now() + DEADLINE_OF_JOBS;
    loop {
        let jobs = systemctl(is_users, &["list-jobs", "--no-legend"], &[])?;
        if jobs.stdout.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "{verb}: not done after {} s: {}",
            DEADLINE_OF_JOBS.as_secs(),
            String::from_utf8_lossy(&jobs.stdout)
        );
        thread::sleep(BETWEEN_LOOKS);
    }
}

/// Says how long something took: a guest that is emulated has little time to lose.
pub fn timed<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = act();
    println!("    {:5.1} s  {what}", start.elapsed().as_secs_f64());
    result
}

/// All of it. Returns the process id of the user's manager.
pub fn all() -> Result<u32> {
    systemctl(false, &["start"], &[USER.to_owned()])?;
    // It listens to every change of every unit; see `jobs`.
    systemctl(false, &["stop"], &["systemd-logind.service".to_owned()])?;
    let show = run(Command::new("systemctl").args(["show", "-P", "MainPID", USER]))?;
    let manager = String::from_utf8_lossy(&show.stdout).trim().parse();
    let manager = manager.context("no user manager")?;

    services(false, CROWD)?;
    jobs(false, "start", &units("nt-refused-none", 4))?;
    let mut scope = Command::new("systemd-run");
    scope.args(["--scope", "--unit=nt-scope", PROGRAM, "speak"]);
    scope.args(["--to", SYSTEM, "--stay-ms", "300", "X_SCOPE=1"]);
    run(&mut scope)?;
    odd()?;
    timed("attempts under strace", traced_by_strace)?;
    services(true, CROWD_OF_USER)?;

    let last = ["nt-say.service".to_owned()];
    systemctl(true, &["start"], &last)?;
    systemctl(false, &["start"], &last)?;
    Ok(manager)
}

/// The attempts, watched by strace.
fn traced_by_strace() -> Result<()> {
    let folder = DEAD.trim_end_matches("/notify");
    fs::create_dir_all(folder).with_context(|| format!("could not create {folder}"))?;
    // Bound and closed: the name stays.
    UnixDatagram::bind(DEAD).with_context(|| format!("could not bind {DEAD}"))?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=sendmsg,sendto,connect,write"]);
    strace.args(["-s", "8192", "-xx", "-o", STRACE]);
    run(strace.args([PROGRAM, "witness-attempts"]))?;
    Ok(())
}
