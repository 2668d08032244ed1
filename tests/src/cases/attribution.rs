//! Who sends, where that can't be looked up any more, or only later; and what the options that ask for
//! it select.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Alone, selection::compare};

use crate::{
    pipe::until,
    play::{SLICE, play},
    procfs::{enter_cgroup, remove_cgroup},
    raw::process::{Signal, mount_with, unmount},
    shown::Datagram,
    stage::{Stage, datagram_socket},
    truth::Truth,
    verify::Problems,
};

/// An id that docker's state is written for.
const NAMED: &str = "7f76e495864f2ec6f05be687d1375e2754b1ffc6265b4f7fae497aad46952205";

/// A sender whose process and cgroup are gone at once, and whose pid then is another's; all before
/// the agent may look.
pub fn gone_and_come_back(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    stage.gate(&[])?;
    let gone = format!("{SLICE}/gone.service");
    let child = stage.child(|stage| {
        enter_cgroup(&gone)?;
        stage.look_at_self()?;
        stage.belongs(json!({"unit": {"name": "gone.service"}, "slice": SLICE}));
        for process in &mut stage.truth.processes {
            process.is_gone = true;
        }
        let socket = datagram_socket()?;
        let payload = stage.payload(51);
        stage.send_to(&receiver, &socket, &payload)
    })?;
    let pid = child.pid;
    receiver.wait(1)?;
    stage.join(child)?;
    // The kernel empties a cgroup a moment after the process was reaped.
    until("the cgroup to be removable", || {
        Ok(remove_cgroup(&gone).is_ok().then_some(()))
    })?;
    // So that the pid's next owner starts at another hundredth of a second.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let (reader, writer) = std::io::pipe()?;
    let mut writer = Some(writer);
    let mut next = stage.child_as(pid, |stage| {
        enter_cgroup(&format!("{SLICE}/next.service"))?;
        stage.look_at_self()?;
        stage.belongs(json!({"unit": {"name": "next.service"}, "slice": SLICE}));
        writer.take();
        let socket = datagram_socket()?;
        let payload = stage.payload(62);
        stage.send_to(&receiver, &socket, &payload)?;
        // It is there until the agent has had time to look.
        std::io::read_to_string(&reader)?;
        Ok(())
    })?;
    receiver.wait(2)?;
    stage.gate(&[("pid", pid)])?;
    drop(writer.take());
    stage.keep_record(&mut next)?;
    next.reap()?;
    stage.stop(receiver)
}

pub fn what_is_gone_before_anybody_looks_is_shown_as_it_was(alone: &Alone<'_>) -> Result<()> {
    let mut agent = alone.agents.start(&[])?;
    let mut playing = play("gone_and_come_back", alone.root)?;
    let dir = playing.dir_text();
    playing.ready()?;
    agent.signal(Signal::Stop)?;
    let pid = playing.go().and_then(|()| playing.ready());
    agent.signal(Signal::Continue)?;
    let pid = pid?.get("pid").copied().context("no pid")?;
    agent.wait_for("the pid's second owner", |line| {
        line.get("length_bytes") == Some(&json!(62))
    })?;
    playing.go()?;
    let truth = playing.finish()?;
    let shown = agent.stop()?;
    compare(alone, &truth, &truth, &dir, &shown)?;
    let of_length = |length: u32| {
        let found = shown.datagrams.iter().find(|it| it.length_bytes == length);
        let sender = found.and_then(|datagram| datagram.sender.as_ref());
        sender.with_context(|| format!("no sender of {length} bytes"))
    };
    let (first, second) = (of_length(51)?, of_length(62)?);
    ensure!(
        (first.pid, second.pid) == (pid, pid),
        "they have different pids"
    );
    ensure!(
        first.later.is_none(),
        "what was gone was looked up: {first:?}"
    );
    ensure!(
        second.later.is_some(),
        "what was there was not looked up: {second:?}"
    );
    let name = |process: &crate::shown::Process| process.attribution.clone();
    ensure!(name(first) != name(second), "both are {:?}", name(first));
    Ok(())
}

/// A sender whose container shows in a v1 hierarchy only.
pub fn in_a_v1_hierarchy(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let hierarchy = stage.dir.join("v1");
    fs::create_dir(&hierarchy).context("no folder for the hierarchy")?;
    mount_with("cgroup", "none,name=systemd", &hierarchy).context("no v1 hierarchy")?;
    let container = hierarchy.join(format!("docker/{NAMED}"));
    fs::create_dir_all(&container).context("no cgroup in the v1 hierarchy")?;
    let state = format!("/var/lib/docker/containers/{NAMED}");
    fs::create_dir_all(&state)
        .and_then(|()| fs::write(format!("{state}/config.v2.json"), r#"{"Name":"/web"}"#))
        .context("could not write docker's state")?;
    stage.gate(&[])?;
    let (reader, writer) = std::io::pipe()?;
    let mut writer = Some(writer);
    let mut child = stage.child(|stage| {
        writer.take();
        enter_cgroup("")?;
        fs::write(container.join("cgroup.procs"), "0").context("could not enter the container")?;
        stage.look_at_self()?;
        stage.belongs(json!({
            "container": {"id": NAMED, "runtime": "docker", "name": "web"},
            "is_later": true,
        }));
        let socket = datagram_socket()?;
        let payload = stage.payload(48);
        stage.send_to(&receiver, &socket, &payload)?;
        std::io::read_to_string(&reader)?;
        Ok(())
    })?;
    receiver.wait(1)?;
    stage.gate(&[])?;
    drop(writer.take());
    stage.keep_record(&mut child)?;
    child.reap()?;
    // With a cgroup in it, it would outlive its mount, and show in /proc of all that come later.
    until("the container's cgroup to be removable", || {
        Ok(fs::remove_dir(&container).is_ok().then_some(()))
    })?;
    fs::remove_dir(hierarchy.join("docker")).context("not empty")?;
    unmount(&hierarchy).context("could not take the hierarchy away")?;
    stage.stop(receiver)
}

pub fn a_container_in_a_v1_hierarchy_is_known_later_and_by_its_name(
    alone: &Alone<'_>,
) -> Result<()> {
    let mut playing = play("in_a_v1_hierarchy", alone.root)?;
    let dir = playing.dir_text();
    playing.ready()?;
    let mut agent = alone.agents.start(&[])?;
    playing.go()?;
    playing.ready()?;
    agent.wait_for("the datagram", |line| {
        line.get("length_bytes") == Some(&json!(48))
    })?;
    playing.go()?;
    let truth = playing.finish()?;
    let shown = agent.stop()?;
    compare(alone, &truth, &truth, &dir, &shown)?;
    let later = shown.datagrams[0]
        .sender
        .as_ref()
        .and_then(|it| it.later.clone());
    let line = later.and_then(|later| later.cgroup).unwrap_or_default();
    let path = format!("/docker/{NAMED}");
    ensure!(
        line == json!({"hierarchy": "name=systemd", "path": path}),
        "the line is {line}"
    );
    Ok(())
}

/// What is left of a truth if only senders are looked at of which this holds.
fn of_senders(truth: &Truth, is_wanted: impl Fn(&Value) -> bool) -> Truth {
    let pids: Vec<u32> = truth
        .processes
        .iter()
        .filter(|process| process.attribution.as_ref().is_some_and(&is_wanted))
        .map(|process| process.pid)
        .collect();
    let mut truth = truth.clone().only_from(&pids);
    // It is the case's own process that closes the socket.
    for receiver in &mut truth.receivers {
        receiver.is_end_hidden = true;
    }
    truth
}

/// Options, and of whom what is shown then.
type Choice = (&'static [&'static str], fn(&Value) -> bool);

const CHOICES: &[Choice] = &[
    (&["--unit", "web@.service", "--unit", "mail"], |it| {
        it["unit"]["template"] == "web@.service" || it["user_unit"]["name"] == "mail.service"
    }),
    (&["--user", "1234", "--unit", "session-*"], |it| {
        it["session"] == "c7"
    }),
    (&["--container", "0f76e"], |it| {
        it["container"]["id"] == super::places::CONTAINER
    }),
    (
        &["--container", "deb", "--key", "STATUS", "--comm", "case-*"],
        |it| it["machine"] == "deb",
    ),
    (&["--failed"], |_| false),
    (&["--class", "systemd*"], |_| false),
];

pub fn options_select_senders_by_where_they_belong(alone: &Alone<'_>) -> Result<()> {
    let mut playing = play("senders_of_every_kind", alone.root)?;
    let dir = playing.dir_text();
    playing.ready()?;
    let agents = CHOICES
        .iter()
        .map(|(options, _)| alone.agents.start(options))
        .collect::<Result<Vec<_>>>()?;
    playing.go()?;
    let whole = playing.finish()?;
    for (agent, (options, is_wanted)) in agents.into_iter().zip(CHOICES) {
        let truth = of_senders(&whole, is_wanted);
        let shown = agent.stop()?;
        compare(alone, &whole, &truth, &dir, &shown).with_context(|| options.join(" "))?;
        let left_out = shown.summary.map_or(0, |summary| summary.left_out);
        let expected = u64::try_from(whole.sends.len() - truth.sends.len())?;
        ensure!(
            left_out == expected,
            "{options:?}: {left_out} are left out, not {expected}"
        );
    }
    Ok(())
}

pub fn what_is_withheld_is_nowhere_and_files_are_their_owners(alone: &Alone<'_>) -> Result<()> {
    fs::create_dir_all(alone.root).context("no folder")?;
    let file = alone.root.join("written.jsonl");
    let path = file.to_str().context("an odd path")?;
    fs::write(&file, "of before\n").context("no file")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).context("not ours")?;
    let mut playing = play("five_datagrams", alone.root)?;
    playing.ready()?;
    let agent = alone.agents.start(&["--keys-only", "--write", path])?;
    playing.go()?;
    let truth = playing.finish()?;
    agent.signal(Signal::Terminate)?;
    let ended = agent.ended()?;
    let shown = ended.shown()?;
    let seen = truth.sends.iter().filter(|send| alone.plan.shows(send));
    let (seen, count) = (seen.count(), shown.datagrams.len());
    ensure!(count == seen, "{count} datagrams of {seen} are shown");
    let mut problems = Problems::default();
    for datagram in &shown.datagrams {
        check_withheld(datagram, &mut problems);
    }
    ensure!(problems.0.is_empty(), "{}", problems.0.join("; "));
    let said = ended.said.join("\n");
    ensure!(!said.contains("sends number"), "a value is shown: {said}");
    let written = fs::read_to_string(&file).context("no file")?;
    ensure!(
        written.lines().eq(ended.said.iter().map(String::as_str)),
        "the file is not what was shown: {written}"
    );
    let mode = fs::metadata(&file).context("no file")?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the file's mode is {mode:o}");
    fs::remove_file(Path::new(&file)).context("not ours")
}

fn check_withheld(datagram: &Datagram, problems: &mut Problems) {
    if datagram.payload.is_some() || !datagram.says_unknown("payload_redacted") {
        problems.add(format!("#{} has a payload", datagram.id));
    }
    let command_line = datagram
        .sender
        .as_ref()
        .and_then(|sender| sender.later.as_ref())
        .is_some_and(|later| !later.command_line.is_empty());
    if command_line {
        problems.add(format!("#{} has a command line", datagram.id));
    }
}
