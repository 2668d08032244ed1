//! The quick steps: everything that needs no VM. The first failure ends the run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    otlp, prometheus,
    studies::{self, Engines},
};
use crate::{agent, assets, command, setup::Ready};

/// Formatting, lints of both sides, unit tests, documentation. None of them needs the kernel side's
/// object, and all of them the same crates, so that nothing is built twice.
pub fn quick(ready: &Ready) -> Result<()> {
    run(
        "formatting",
        agent::cargo(ready)?.args(["fmt", "--all", "--check"]),
    )?;
    run(
        "lints",
        host_side(ready, "clippy")?
            .arg("--all-targets")
            .args(["--", "-D", "warnings"]),
    )?;
    kernel_side_lints(ready)?;
    run("unit tests", &mut host_side(ready, "test")?)?;
    let folder = agent::target_folder()?.join("assets");
    run(
        "manual pages and completions",
        &mut assets::write(ready, &folder)?,
    )?;
    run(
        "completions for bash",
        Command::new("bash")
            .arg("-n")
            .arg(folder.join("completions/notify-trace.bash")),
    )?;
    run(
        "documentation",
        host_side(ready, "doc")?
            .arg("--no-deps")
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// A cargo command on everything but the kernel side, which is not built for it.
fn host_side(ready: &Ready, verb: &str) -> Result<Command> {
    let mut cargo = agent::cargo(ready)?;
    cargo.args([verb, "--workspace", "--exclude", "notify-trace-ebpf"]);
    cargo.env("AYA_BUILD_SKIP", "1");
    Ok(cargo)
}

/// The tests that make sense on this host, in the plan that asks least of its kernel.
pub fn native(binaries: &Path, only: Option<&str>) -> Result<()> {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has_btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    if let Some(obstacle) = obstacle(command::is_root()?, &filesystems, has_btf) {
        eprintln!("── tests on this host: skipped, {obstacle}");
        return Ok(());
    }
    let mut tests = Command::new(binaries.join("notify-trace-tests"));
    tests.args(["--native", "--plan", "tracepoints", "--agent"]);
    tests.arg(binaries.join("notify-trace"));
    if let Some(only) = only {
        tests.args(["--only", only]);
    }
    run("tests on this host", &mut tests)
}

/// The studies of the recordings that are kept in the repository, by all accounts.
pub fn studies(ready: &Ready, binaries: &Path, engines: Engines) -> Result<()> {
    let title = "studies by all accounts";
    eprintln!("── {title}");
    let start = Instant::now();
    let kept = agent::root().join("notify-trace/tests/recordings/v1.ntrec");
    // An export is written beside a recording.
    let copy = agent::target_folder()?.join("v1.ntrec");
    fs::copy(&kept, &copy).with_context(|| format!("could not copy {}", kept.display()))?;
    let agent = binaries.join("notify-trace");
    let compared = studies::compare(&ready.cache, &agent, &[&copy], engines).context(title)?;
    println!("{compared}");
    // The same of another host: what belongs to one session must not be added to the other's.
    let other = agent::target_folder()?.join("v1-other.ntrec");
    fs::copy(&kept, &other).with_context(|| format!("could not copy {}", kept.display()))?;
    let rename = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                  c.execute(\"UPDATE session SET host = 'other'\"); c.commit(); c.close()";
    command::output(Command::new("python3").args(["-c", rename]).arg(&other))?;
    let compared =
        studies::compare(&ready.cache, &agent, &[&copy, &other], engines).context(title)?;
    println!("two hosts: {compared}");
    eprintln!("── {title}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// A folder of its own with a copy of the recording that is kept in the repository: to open one makes files
/// beside it.
pub fn kept_recording(name: &str) -> Result<(PathBuf, PathBuf)> {
    let folder = agent::target_folder()?.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)
        .with_context(|| format!("could not create {}", folder.display()))?;
    let recording = folder.join("v1.ntrec");
    let kept = agent::root().join("notify-trace/tests/recordings/v1.ntrec");
    fs::copy(&kept, &recording).with_context(|| format!("could not copy {}", kept.display()))?;
    Ok((folder, recording))
}

/// What is sent, as a Collector receives it.
pub fn sending(ready: &Ready, binaries: &Path) -> Result<()> {
    let title = "OTLP by the Collector";
    eprintln!("── {title}");
    let start = Instant::now();
    println!("{}", otlp::check(ready, binaries)?);
    eprintln!("── {title}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The metrics, as Prometheus reads them.
pub fn metrics(ready: &Ready) -> Result<()> {
    let title = "metrics by Prometheus";
    eprintln!("── {title}");
    let start = Instant::now();
    println!("{}", prometheus::check(ready)?);
    eprintln!("── {title}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Lints for the BPF target where the tool chain can, else for this host's target.
fn kernel_side_lints(ready: &Ready) -> Result<()> {
    let sysroot = command::output(Command::new("rustup").args([
        "run",
        &ready.toolchain,
        "rustc",
        "--print",
        "sysroot",
    ]))
    .with_context(|| {
        format!(
            "could not ask the toolchain {} where it is",
            ready.toolchain
        )
    })?;
    let mut cargo;
    let title;
    if Path::new(sysroot.trim()).join("bin/cargo-clippy").exists() {
        title = "lints of the kernel side";
        cargo = Command::new("rustup");
        cargo.current_dir(agent::root());
        cargo.args(["run", &ready.toolchain, "cargo", "clippy"]);
        cargo.args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"]);
        cargo.env(
            "RUSTFLAGS",
            format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH),
        );
        if !ready.toolchain.starts_with("nightly") {
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
    } else {
        title = "lints of the kernel side, for this host's target (its toolchain has no clippy)";
        cargo = agent::cargo(ready)?;
        cargo.arg("clippy");
        // Without std nobody unwinds here; the BPF target aborts by itself.
        cargo.env("CARGO_PROFILE_DEV_PANIC", "abort");
    }
    run(
        title,
        cargo.args(["-p", "notify-trace-ebpf", "--", "-D", "warnings"]),
    )
}

fn run(title: &str, command: &mut Command) -> Result<()> {
    eprintln!("── {title}");
    let start = Instant::now();
    command::inherit(command).with_context(|| title.to_owned())?;
    eprintln!("── {title}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Why the agent can't work on this host, if it can't.
fn obstacle(is_root: bool, filesystems: &str, has_btf: bool) -> Option<&'static str> {
    if !is_root {
        return Some("because that takes root");
    }
    if !filesystems.split_whitespace().any(|word| word == "tracefs") {
        return Some("because this host's kernel has no tracefs");
    }
    if !has_btf {
        return Some("because this host's kernel has no BTF");
    }
    None
}

/// What an .rpm has to have: path, and whether it is a file of settings.
const IN_RPM: [(&str, bool); 8] = [
    ("/usr/bin/notify-trace", false),
    ("/etc/notify-trace/agent.toml", true),
    ("/usr/lib/systemd/system/notify-trace.service", false),
    ("/usr/lib/sysusers.d/notify-trace.conf", false),
    ("/usr/share/man/man1/notify-trace-agent.1", false),
    ("/usr/share/bash-completion/completions/notify-trace", false),
    (
        "/usr/share/notify-trace/prometheus/notify-trace.rules.yml",
        false,
    ),
    ("/usr/share/notify-trace/grafana/notify-trace.json", false),
];

/// Whether an .rpm is whole, and has what it should.
pub fn rpm(package: &Path) -> Result<()> {
    let ask = |words: &[&str]| {
        let mut rpm = Command::new("rpm");
        command::output(rpm.args(words).arg(package))
    };
    ask(&["-K", "--nosignature"]).context("the .rpm is damaged")?;
    let files = ask(&["-qp", "--list"])?;
    let settings = ask(&["-qp", "--configfiles"])?;
    for (path, is_setting) in IN_RPM {
        let has = |list: &str| list.lines().any(|line| line == path);
        ensure!(has(&files), "the .rpm lacks {path}");
        ensure!(
            has(&settings) == is_setting,
            "{path} of the .rpm and settings"
        );
    }
    let scripts = ask(&["-qp", "--scripts"])?;
    for word in ["systemd-sysusers", "try-restart", "disable --now"] {
        ensure!(scripts.contains(word), "the .rpm never does: {word}");
    }
    println!("the .rpm: {} files, whole", files.lines().count());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_cannot_trace_is_left_out_with_the_reason() {
        let filesystems = "nodev\tsysfs\nnodev\ttracefs\n\text4\n";
        assert_eq!(obstacle(true, filesystems, true), None);
        assert!(obstacle(false, filesystems, true).unwrap().contains("root"));
        assert!(
            obstacle(true, "nodev\tsysfs\n", true)
                .unwrap()
                .contains("tracefs")
        );
        assert!(obstacle(true, filesystems, false).unwrap().contains("BTF"));
    }
}
