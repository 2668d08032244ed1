//! What the command line selects, decided in the kernel. Each case starts agents of its own.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::Alone;
use crate::{
    play::{play, this_program},
    procfs::{enter_cgroup, make_cgroup},
    receiver::Behaviour,
    shown::{Shown, SkippedRuns},
    stage::{Stage, datagram_socket},
    truth::Truth,
    verify::{self, Part},
};

/// Compares all that an agent showed with what happened, `truth` being part of `whole`.
pub fn compare(
    alone: &Alone<'_>,
    whole: &Truth,
    truth: &Truth,
    dir: &str,
    shown: &Shown,
) -> Result<()> {
    let part = Part::of(whole, dir, shown);
    let (_, problems) = verify::verify(truth, &part, alone.plan);
    if !problems.0.is_empty() {
        let problems = problems.0.join("\n    ");
        let runs = shown.skipped_runs();
        ensure!(runs > 0, "{problems}");
        return Err(SkippedRuns { runs, problems }.into());
    }
    let others = shown.datagrams.len() - part.datagrams.len();
    ensure!(others == 0, "{others} datagrams of nobody are shown");
    Ok(())
}

pub fn two_agents_show_the_same(alone: &Alone<'_>) -> Result<()> {
    let agents = [alone.agents.start(&[])?, alone.agents.start(&[])?];
    let playing = play("five_datagrams", alone.root)?;
    let dir = playing.dir_text();
    let mut playing = playing;
    playing.ready()?;
    playing.go()?;
    let truth = playing.finish()?;
    for agent in agents {
        compare(alone, &truth, &truth, &dir, &agent.stop()?)?;
    }
    Ok(())
}

/// Two processes in cgroups of their own, which send when the driver says so. The receiver reads
/// when they are done, so that the senders are known in every plan.
pub fn two_senders(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_that(Behaviour::HOLDS)?;
    let (reader, writer) = std::io::pipe()?;
    let mut writer = Some(writer);
    let mut children = Vec::new();
    for cgroup in ["first", "second/deeper"] {
        let cgroup = format!("{}/{cgroup}", stage.cgroup);
        // An agent may be told of it before the child has entered it.
        make_cgroup(&cgroup)?;
        children.push(stage.child(|stage| {
            enter_cgroup(&cgroup)?;
            stage.look_at_self()?;
            // This process's copy of it: the other end has to see the pipe's end.
            writer.take();
            std::io::read_to_string(&reader)?;
            let socket = datagram_socket()?;
            for length in [50, 60] {
                let payload = stage.payload(length);
                stage.send_to(&receiver, &socket, &payload)?;
            }
            let nowhere = stage.path("nowhere/notify.sock");
            stage.connect_in_vain(&socket, &nowhere)?;
            Ok(())
        })?);
    }
    let [first, second] = [children[0].pid, children[1].pid];
    stage.gate(&[("first", first), ("second", second)])?;
    drop(writer.take());
    for child in &mut children {
        stage.keep_record(child)?;
    }
    receiver.go()?;
    receiver.wait(4)?;
    for child in children {
        child.reap()?;
    }
    stage.stop(receiver)
}

/// Plays the two senders under an agent that selects one of them.
fn select_sender(
    alone: &Alone<'_>,
    arguments: impl FnOnce(&std::collections::BTreeMap<String, u32>, &str) -> [String; 2],
    selected: &str,
) -> Result<()> {
    let mut playing = play("two_senders", alone.root)?;
    let dir = playing.dir_text();
    let pids = playing.ready()?;
    let [option, value] = arguments(&pids, &playing.cgroup);
    let agent = alone.agents.start(&[&option, &value])?;
    playing.go()?;
    let whole = playing.finish()?;
    let pid = pids.get(selected).context("a sender without a pid")?;
    let truth = whole.clone().only_from(&[*pid]);
    compare(alone, &whole, &truth, &dir, &agent.stop()?)
}

pub fn pid_selects_a_process(alone: &Alone<'_>) -> Result<()> {
    let of_first = |pids: &std::collections::BTreeMap<String, u32>, _: &str| {
        [
            "--pid".to_owned(),
            pids.get("first").copied().unwrap_or(0).to_string(),
        ]
    };
    select_sender(alone, of_first, "first")
}

pub fn cgroup_selects_a_subtree(alone: &Alone<'_>) -> Result<()> {
    let of_second = |_: &std::collections::BTreeMap<String, u32>, cgroup: &str| {
        ["--cgroup".to_owned(), format!("/{cgroup}/second")]
    };
    select_sender(alone, of_second, "second")
}

/// Names that end like these, and one of digits only.
const NAMES: [&str; 3] = ["custom-1.sock", "custom-2.sock", "notify.sock"];

fn digits() -> Vec<u8> {
    format!("\0{}", 8_000_000_000_u64 + u64::from(std::process::id())).into_bytes()
}

/// A datagram to each of several receivers, when the driver says so.
pub fn several_receivers(stage: &mut Stage) -> Result<()> {
    let mut names: Vec<_> = NAMES.iter().map(|name| stage.path(name)).collect();
    names.push(digits());
    // One that the kernel chooses.
    names.push(Vec::new());
    let mut receivers = Vec::new();
    for name in names {
        receivers.push(stage.receiver_at(&name, Behaviour::DEFAULT)?);
    }
    stage.gate(&[])?;
    let socket = datagram_socket()?;
    for mut receiver in receivers {
        let payload = stage.payload(55);
        stage.send_to(&receiver, &socket, &payload)?;
        receiver.wait(1)?;
        stage.stop(receiver)?;
    }
    Ok(())
}

/// Plays the receivers under an agent with these arguments; `DIR` stands for their folder.
fn select_receivers(
    alone: &Alone<'_>,
    arguments: &[&str],
    is_selected: impl Fn(&[u8]) -> bool,
    count: usize,
) -> Result<()> {
    let mut playing = play("several_receivers", alone.root)?;
    let dir = playing.dir_text();
    playing.ready()?;
    let arguments: Vec<_> = arguments.iter().map(|it| it.replace("DIR", &dir)).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let agent = alone.agents.start(&arguments)?;
    playing.go()?;
    let whole = playing.finish()?;
    let truth = whole.clone().only_to(is_selected);
    ensure!(
        truth.sends.len() == count,
        "the case itself selects {}",
        truth.sends.len()
    );
    compare(alone, &whole, &truth, &dir, &agent.stop()?)
}

fn is_custom(address: &[u8]) -> bool {
    address.ends_with(b"/custom-1.sock") || address.ends_with(b"/custom-2.sock")
}

fn is_default(address: &[u8]) -> bool {
    address.ends_with(b"/notify.sock")
}

fn is_internal(address: &[u8]) -> bool {
    let [0, digits @ ..] = address else {
        return false;
    };
    digits.iter().all(u8::is_ascii_digit)
}

fn is_autobound(address: &[u8]) -> bool {
    address.len() == 6 && address[0] == 0
}

pub fn socket_adds_to_what_is_selected(alone: &Alone<'_>) -> Result<()> {
    let is_selected = |address: &[u8]| is_custom(address) || is_default(address);
    select_receivers(alone, &["--socket", "DIR/custom-?.sock"], is_selected, 3)
}

pub fn only_socket_replaces_what_is_selected(alone: &Alone<'_>) -> Result<()> {
    select_receivers(alone, &["--only-socket", "DIR/custom-*.sock"], is_custom, 2)
}

pub fn internal_adds_sockets_of_helpers(alone: &Alone<'_>) -> Result<()> {
    // A name that the kernel chooses has hexadecimal digits, which may happen to be decimal.
    let mut playing = play("several_receivers", alone.root)?;
    let dir = playing.dir_text();
    playing.ready()?;
    let agent = alone.agents.start(&["--internal"])?;
    playing.go()?;
    let whole = playing.finish()?;
    let truth = whole
        .clone()
        .only_to(|address| is_internal(address) || is_default(address));
    ensure!(
        truth.sends.len() >= 2,
        "the case itself selects {}",
        truth.sends.len()
    );
    compare(alone, &whole, &truth, &dir, &agent.stop()?)
}

pub fn a_receiver_without_a_chosen_name_can_be_selected(alone: &Alone<'_>) -> Result<()> {
    let is_selected = |address: &[u8]| is_autobound(address);
    select_receivers(alone, &["--only-socket", "@?????"], is_selected, 1)
}

/// A receiver with a name that no rule selects.
pub fn one_odd_receiver(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver_at(&stage.path("odd"), Behaviour::DEFAULT)?;
    stage.gate(&[])?;
    let socket = datagram_socket()?;
    for length in [0, 52] {
        let payload = stage.payload(length);
        stage.send_to(&receiver, &socket, &payload)?;
    }
    receiver.wait(2)?;
    stage.stop(receiver)
}

pub fn a_socket_in_the_environment_of_a_process_is_selected(alone: &Alone<'_>) -> Result<()> {
    let mut playing = play("one_odd_receiver", alone.root)?;
    let dir = playing.dir_text();
    playing.ready()?;
    let mut service = this_program()
        .arg("wait")
        .env("NOTIFY_SOCKET", format!("{dir}/odd"))
        .stdin(Stdio::piped())
        .spawn()
        .context("could not start a service")?;
    let shown = (|| {
        let agent = alone.agents.start(&[])?;
        playing.go()?;
        let truth = playing.finish()?;
        Ok::<_, anyhow::Error>((truth, agent.stop()?))
    })();
    drop(service.stdin.take());
    service.wait().context("could not wait for the service")?;
    let (truth, shown) = shown?;
    compare(alone, &truth, &truth, &dir, &shown)?;
    let classes: Vec<_> = shown
        .datagrams
        .iter()
        .map(|datagram| datagram.class.as_str())
        .collect();
    ensure!(
        classes == ["environment"; 2],
        "their classes are {classes:?}"
    );
    Ok(())
}
