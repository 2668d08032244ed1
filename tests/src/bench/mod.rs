//! The bench: the same work in the same guest, now with nothing watching, now with the agent, now
//! with another tool, in turns.
//!
//! ```text
//! peer (who may watch) ──▶ running ──▶ watch (what it takes) ─┐
//!                           workload (what is timed) ─────────┴─▶ line ──▶ standard output
//! ```
//!
//! Owns the order of rounds and what is measured when; judges nothing: folding the lines is left to
//! `cargo xtask bench`. Progress goes to standard error.
//!
//! `notify-trace-tests bench --agent PATH [--bpftrace PATH] [--perf PATH] [--strace PATH] [--rounds N]
//! [--operations N] [--idle-seconds N] [--few yes | --counted yes]`, as root.

mod counted;
mod line;
mod peer;
mod programs;
mod rates;
mod running;
mod storm;
mod watch;
mod workload;

use std::{
    env, fs,
    io::{Write as _, stdout},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    line::{Fact, Measured},
    peer::{Peer, Programs, Share},
    programs::Counting,
    rates::RATES,
    running::{End, Running},
    workload::{FLOOD_MARK, Scene, Workload},
};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    programs: Programs,
    /// How often each peer has its turn.
    rounds: u32,
    /// Operations of a workload in each round.
    operations: u32,
    /// How long a peer's idleness is watched, in the last round.
    idle_seconds: u32,
    /// Only what is done for peers of another size: how a few figures grow with something else.
    few: bool,
    /// What is executed, in a guest whose clock counts instructions.
    counted: bool,
}

/// How long a peer that has just attached, or has just worked, is left alone.
const REST: Duration = Duration::from_millis(500);
/// How long the kernel is left alone with what a peer left behind.
const REST_AFTER_END: Duration = Duration::from_secs(1);
/// How often a peer is started for the time that it takes to attach, which varies most; the last start is measured
/// on.
const STARTS: usize = 3;
/// How many datagrams are sent one by one, to see how soon they are shown.
const LATENCIES: u32 = 100;
/// How long after the one before.
const BETWEEN: Duration = Duration::from_millis(15);

/// Runs the bench. The last line tells that it came to its end.
pub fn run(options: &[&str]) -> Result<ExitCode> {
    let settings = settings(options)?;
    let root = env::temp_dir().join(format!("notify-trace-bench.{}", std::process::id()));
    fs::create_dir(&root).with_context(|| format!("could not create {}", root.display()))?;
    let result = measure(&settings, &root);
    fs::remove_dir_all(&root).with_context(|| format!("could not remove {}", root.display()))?;
    result?;
    say(&Fact::new("end", "ok"))?;
    Ok(ExitCode::SUCCESS)
}

fn measure(settings: &Settings, root: &Path) -> Result<()> {
    let scene = Scene::new(root)?;
    let mut peers = peer::all(&settings.programs);
    if settings.few {
        peers.retain(|peer| peer.share == Share::Whole);
        for peer in &mut peers {
            peer.share = Share::Few;
        }
    }
    if settings.counted {
        peers.retain(counted::has_turn);
    }
    ensure!(peers.len() > 1, "nothing to measure: give --agent PATH");
    if let Some(why) = scene.left_out() {
        say(&Fact::new("left out", why))?;
    }
    for peer in &peers {
        if let Some(fact) = peer.version() {
            say(&fact)?;
        }
    }
    for round in 1..=settings.rounds {
        for peer in &peers {
            eprintln!("bench: round {round} of {}: {}", settings.rounds, peer.name);
            let turn = if settings.counted {
                counted::turn(settings, &scene, root, peer, &tell_of(peer, round))
            } else {
                one_turn(settings, &scene, root, peer, round)
            };
            turn.with_context(|| format!("round {round} under {}", peer.name))?;
        }
    }
    Ok(())
}

/// Writes what was measured under a peer in a round: what, in which unit, how much.
fn tell_of(peer: &Peer, round: u32) -> impl Fn(&str, &str, f64) -> Result<()> {
    move |what, unit, value| {
        say(&Measured {
            what,
            under: peer.name,
            round,
            unit,
            value,
        })
    }
}

/// One peer in one round: everything that is measured of it.
fn one_turn(
    settings: &Settings,
    scene: &Scene,
    root: &Path,
    peer: &Peer,
    round: u32,
) -> Result<()> {
    let tell = tell_of(peer, round);
    let is_whole = peer.share == Share::Whole;
    let mut attach_ms = Vec::new();
    for _ in 1..STARTS {
        if let Some(running) = Running::start(peer, root)? {
            attach_ms.push(running.attach_ms);
            std::thread::sleep(REST);
            running.stop()?;
            // What the kernel puts off when programs are detached would take its time from the next start.
            std::thread::sleep(REST_AFTER_END);
        }
    }
    let mut running = Running::start(peer, root)?;
    if let Some(running) = &running {
        attach_ms.push(running.attach_ms);
        tell("attach", "ms", middle(attach_ms))?;
        if round == 1 {
            for fact in running.facts()? {
                say(&fact)?;
            }
        }
    }
    std::thread::sleep(REST);
    if let Some(running) = &running {
        scene.nudge()?;
        if peer.shows_payloads {
            running.wait_for_nudge()?;
        }
        tell_memory(running, "memory after attach", &tell)?;
        if round == settings.rounds && settings.idle_seconds > 0 && is_whole {
            let idle = Duration::from_secs(settings.idle_seconds.into());
            tell(
                "idle",
                "wakeups_per_s",
                watch::wakeups_per_s(running.pid(), idle)?,
            )?;
        }
    }
    let is_wanted = |it: &Workload| scene.can(*it) && (is_whole || it.is_of_few());
    let operations = match peer.share {
        Share::Hundredth => settings.operations / 100,
        Share::Whole | Share::Few => settings.operations,
    };
    for workload in Workload::ALL.into_iter().filter(is_wanted) {
        let before_ns = match &running {
            // It may still be at what was sent before. To look at a slow one is work for it.
            Some(running) if workload.mark().is_some() && peer.share != Share::Hundredth => {
                Some(running.cpu_ns_when_done()?)
            }
            _ => None,
        };
        let spent = scene.run(workload, operations)?;
        tell(workload.name(), "ns_per_op", spent.ns_per_operation)?;
        let Some(running) = &mut running else {
            continue;
        };
        running.sent_more(workload, spent.operations);
        if let Some(before_ns) = before_ns {
            let cpu_ns = running.cpu_ns_when_done()? - before_ns;
            if workload == Workload::Captured {
                let sent = f64::from(spent.operations);
                tell("CPU of the peer, per captured", "ns_per_op", cpu_ns / sent)?;
                tell_memory(running, "memory after load", &tell)?;
            }
        }
    }
    let Some(mut running) = running else {
        return Ok(());
    };
    if is_whole {
        tell_latency(&mut running, scene, &tell)?;
        tell_programs(&mut running, scene, settings.operations, &tell)?;
    }
    let end = running.stop()?;
    tell("detach and end", "ms", end.end_ms)?;
    for (mark, percent) in end.not_shown_percent {
        if peer.share == Share::Hundredth || !peer.shows_payloads {
            // It shows calls, several for each datagram.
            break;
        }
        let what = match mark.as_str() {
            FLOOD_MARK => "flood, not shown",
            _ => "captured datagrams not shown",
        };
        tell(what, "percent", percent)?;
    }
    if let Some(claimed) = end.lost_by_itself {
        tell("losses it tells of", "records", claimed)?;
    }
    if is_whole && round == settings.rounds {
        tell_rates(peer, scene, root, &tell)?;
        tell_storms(peer, root, &tell)?;
    }
    Ok(())
}

/// The one in the middle of an odd number.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How much of it is time in BPF programs, as the kernel counts it.
fn tell_programs(
    running: &mut Running,
    scene: &Scene,
    operations: u32,
    tell: &impl Fn(&str, &str, f64) -> Result<()>,
) -> Result<()> {
    let counting = Counting::begin()?;
    for (workload, what) in [
        (Workload::Unrelated, "unrelated, in BPF programs"),
        (Workload::Captured, "captured, in BPF programs"),
    ] {
        let before = programs::cost(running.pid())?.run_time_ns;
        let spent = scene.run(workload, operations)?;
        running.sent_more(workload, spent.operations);
        // Whoever watches captures nothing of its own.
        let after = programs::cost(running.pid())?.run_time_ns;
        tell(
            what,
            "ns_per_op",
            (after - before) / f64::from(spent.operations),
        )?;
    }
    drop(counting);
    if let Some(instructions) = programs::cost(running.pid())?.verified_instructions {
        tell("verified of BPF programs", "instructions", instructions)?;
    }
    running.cpu_ns_when_done().map(drop)
}

/// Starts the peer once more and holds one rate after the other, as long as the sender reaches them.
fn tell_rates(
    peer: &Peer,
    scene: &Scene,
    root: &Path,
    tell: &impl Fn(&str, &str, f64) -> Result<()>,
) -> Result<()> {
    let Some(mut running) = Running::start(peer, root)? else {
        return Ok(());
    };
    std::thread::sleep(REST);
    for rate in RATES {
        let held = rate.hold(scene).context("could not hold a rate")?;
        running.cpu_ns_when_done()?;
        if !held.is_reached {
            eprintln!("bench: {}/s can't be sent here", rate.0);
            // Those that were sent are in no row.
            break;
        }
        running.sent_marked(rate.mark(), held.sent);
    }
    let end = running.stop()?;
    RATES
        .into_iter()
        .try_for_each(|rate| tell_not_shown(&end, &rate.mark(), &rate.name(), tell))
}

/// Starts the peer once more and raises storms, from small to large, each when the one before is worked off.
fn tell_storms(
    peer: &Peer,
    root: &Path,
    tell: &impl Fn(&str, &str, f64) -> Result<()>,
) -> Result<()> {
    let Some(mut running) = Running::start(peer, root)? else {
        return Ok(());
    };
    let crowd = storm::Crowd::new(&root.join("storms"))?;
    std::thread::sleep(REST);
    for size in storm::SIZES {
        let mut rates = Vec::new();
        for _ in 0..storm::TIMES {
            rates.push(crowd.rage(size).context("could not raise a storm")?);
            running.sent_marked(size.mark(), size.0);
            running.cpu_ns_when_done()?;
        }
        rates.sort_by(f64::total_cmp);
        tell(&size.name(), "datagrams_per_s", rates[rates.len() / 2])?;
    }
    let end = running.stop()?;
    fs::remove_dir_all(root.join("storms")).context("could not remove the storms")?;
    storm::SIZES.into_iter().try_for_each(|size| {
        let row = format!("{}, not shown", size.name());
        tell_not_shown(&end, &size.mark(), &row, tell)
    })
}

/// How many of the datagrams with this mark were not shown, if any were sent.
fn tell_not_shown(
    end: &End,
    mark: &str,
    row: &str,
    tell: &impl Fn(&str, &str, f64) -> Result<()>,
) -> Result<()> {
    let mut of_it = end.not_shown_percent.iter();
    match of_it.find(|(marked, _)| marked == mark) {
        Some((_, percent)) => tell(row, "percent", *percent),
        None => Ok(()),
    }
}

/// How long after its send call has returned a datagram stands in the output, each sent alone.
fn tell_latency(
    running: &mut Running,
    scene: &Scene,
    tell: &impl Fn(&str, &str, f64) -> Result<()>,
) -> Result<()> {
    let mut all_ns = Vec::new();
    for _ in 0..LATENCIES {
        std::thread::sleep(BETWEEN);
        let before = running.output_bytes()?;
        let returned_ns = scene.send_one()?;
        all_ns.push(running.shows_after_ns(returned_ns, before)?);
    }
    running.sent_more(Workload::Captured, LATENCIES);
    all_ns.sort_unstable();
    for (what, at) in [("sent to shown, p50", 50), ("sent to shown, p99", 99)] {
        let index = (all_ns.len() * at / 100).min(all_ns.len() - 1);
        tell(what, "ns_per_op", all_ns[index] as f64)?;
    }
    Ok(())
}

fn tell_memory(
    running: &Running,
    what: &str,
    tell: &impl Fn(&str, &str, f64) -> Result<()>,
) -> Result<()> {
    let memory = watch::memory(running.pid())?;
    tell(what, "rss_bytes", memory.resident_bytes)?;
    tell(what, "anonymous_bytes", memory.anonymous_bytes)?;
    if memory.maps_bytes > 0.0 {
        tell(what, "map_bytes", memory.maps_bytes)?;
    }
    Ok(())
}

/// Writes a line where whoever folds them reads it at once.
fn say(line: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string(line).context("a line that can't be JSON")?;
    text.push('\n');
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("could not write a measurement")
}

fn settings(options: &[&str]) -> Result<Settings> {
    let mut settings = Settings {
        programs: Programs::default(),
        rounds: 5,
        operations: 10_000,
        idle_seconds: 20,
        few: false,
        counted: false,
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let value = options
            .next()
            .with_context(|| format!("{option} needs a value"))?;
        let number = || {
            value
                .parse()
                .with_context(|| format!("{option} takes a number, not {value}"))
        };
        match *option {
            "--agent" => settings.programs.agent = Some((*value).to_owned()),
            "--bpftrace" => settings.programs.bpftrace = Some((*value).to_owned()),
            "--perf" => settings.programs.perf = Some((*value).to_owned()),
            "--strace" => settings.programs.strace = Some((*value).to_owned()),
            "--rounds" => settings.rounds = number()?,
            "--operations" => settings.operations = number()?,
            "--idle-seconds" => settings.idle_seconds = number()?,
            "--few" if *value == "yes" => settings.few = true,
            "--counted" if *value == "yes" => settings.counted = true,
            other => bail!("what is {other}?"),
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_has_a_default() {
        let settings = settings(&["--agent", "/a", "--rounds", "7"]).unwrap();
        assert_eq!(settings.programs.agent.as_deref(), Some("/a"));
        assert_eq!((settings.rounds, settings.idle_seconds), (7, 20));
        assert_eq!(settings.programs.bpftrace, None);
    }

    #[test]
    fn an_option_without_its_value_is_an_error() {
        assert!(settings(&["--rounds"]).is_err());
        assert!(settings(&["--rounds", "many"]).is_err());
        assert!(settings(&["--peers", "2"]).is_err());
    }
}
