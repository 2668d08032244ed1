//! Where senders live: pid namespaces and cgroups.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{
    play::SLICE,
    procfs::{enter_cgroup, enter_cgroup_below, leave_cgroup_below},
    raw::{self, process::Namespace},
    stage::{Stage, datagram_socket},
};

pub fn a_sender_in_a_pid_namespace_has_both_its_numbers(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let child = stage.child(|stage| {
        raw::process::unshare(Namespace::Pid).context("no pid namespace")?;
        let first = stage.child(|stage| {
            let socket = datagram_socket()?;
            let payload = stage.payload(48);
            stage.send_to(&receiver, &socket, &payload)
        })?;
        // Who is reaped before the dequeue would be gone.
        receiver.wait(1)?;
        stage.join(first)
    })?;
    stage.join(child)?;
    stage.stop(receiver)
}

pub fn a_sender_deep_in_the_cgroup_tree_is_shown_with_its_path(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let long = "x".repeat(200);
    let path = format!("{}/init.scope/a b/\u{fc}/{long}/leaf.service", stage.cgroup);
    let child = stage.child(|stage| {
        enter_cgroup(&path)?;
        stage.look_at_self()?;
        let socket = datagram_socket()?;
        let payload = stage.payload(48);
        stage.send_to(&receiver, &socket, &payload)
    })?;
    receiver.wait(1)?;
    stage.join(child)?;
    stage.stop(receiver)
}

/// More levels than are walked, and names of as many bytes as a record takes, or a few less or more: what is shown is
/// the lower end, and nothing is concluded from it.
pub fn a_path_that_is_too_long_is_shown_without_its_upper_end(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let mut paths = vec![(0..30).map(|level| format!("level-{level}")).collect()];
    for longest in 251..=255 {
        // With this one, 15 more and their NULs these are 4092 to 4096 bytes.
        let mut names = vec![format!("top{}", "x".repeat(longest - 3))];
        names.extend((0..15).map(|level| format!("{level:02}{}", "y".repeat(253))));
        paths.push(names);
    }
    for (index, names) in paths.into_iter().enumerate() {
        let top = format!("{}/{index}", stage.cgroup);
        let child = stage.child(|stage| {
            stage.is_in(enter_cgroup_below(&top, &names)?);
            let socket = datagram_socket()?;
            let payload = stage.payload(48);
            let sent = stage.send_to(&receiver, &socket, &payload);
            leave_cgroup_below(&top, &names)?;
            sent
        })?;
        receiver.wait(index + 1)?;
        stage.join(child)?;
    }
    stage.stop(receiver)
}

/// An id as container engines make them.
pub const CONTAINER: &str = "0f76e495864f2ec6f05be687d1375e2754b1ffc6265b4f7fae497aad46952205";

/// Cgroups as systemd and the runtimes make them, and what is to be said of each.
pub fn kinds_of_cgroups() -> Vec<(String, Value)> {
    let slice = SLICE;
    vec![
        (
            r"nt-web.slice/web@dev-a\x2db.service/sub/deeper".to_owned(),
            json!({
                "unit": {
                    "name": r"web@dev-a\x2db.service", "template": "web@.service",
                    "instance": "dev/a-b",
                },
                "slice": "nt-web.slice",
            }),
        ),
        (
            "_cpu.service".to_owned(),
            json!({"unit": {"name": "cpu.service"}, "slice": slice}),
        ),
        (
            "user-1234.slice/user@1234.service/app.slice/mail.service".to_owned(),
            json!({
                "unit": {
                    "name": "user@1234.service", "template": "user@.service", "instance": "1234",
                },
                "slice": "user-1234.slice", "user": 1234,
                "user_unit": {"name": "mail.service"}, "user_slice": "app.slice",
            }),
        ),
        (
            "user-1234.slice/session-c7.scope".to_owned(),
            json!({
                "unit": {"name": "session-c7.scope"}, "slice": "user-1234.slice", "user": 1234,
                "session": "c7",
            }),
        ),
        (
            format!("docker-{CONTAINER}.scope"),
            json!({
                "unit": {"name": format!("docker-{CONTAINER}.scope")}, "slice": slice,
                "container": {"id": CONTAINER, "runtime": "docker"},
            }),
        ),
        (
            format!(
                "kubepods-burstable-pod2d5133c0_65f3_40b2_b375_c04866d418e1.slice/\
                 cri-containerd-{CONTAINER}.scope"
            ),
            json!({
                "unit": {"name": format!("cri-containerd-{CONTAINER}.scope")},
                "slice": "kubepods-burstable-pod2d5133c0_65f3_40b2_b375_c04866d418e1.slice",
                "container": {"id": CONTAINER, "runtime": "containerd"},
                "pod": {"uid": "2d5133c0-65f3-40b2-b375-c04866d418e1", "qos": "burstable"},
            }),
        ),
        (
            "systemd-nspawn@deb.service/payload/system.slice/cron.service".to_owned(),
            json!({
                "unit": {
                    "name": "systemd-nspawn@deb.service", "template": "systemd-nspawn@.service",
                    "instance": "deb",
                },
                "slice": slice, "machine": "deb",
                "container": {
                    "id": "deb", "runtime": "nspawn", "unit": {"name": "cron.service"},
                },
            }),
        ),
        (
            format!("libpod-conmon-{CONTAINER}.scope"),
            json!({
                "unit": {"name": format!("libpod-conmon-{CONTAINER}.scope")}, "slice": slice,
                "container": {"id": CONTAINER, "runtime": "podman", "is_monitor": true},
            }),
        ),
    ]
}

/// A sender in each kind of cgroup; the receiver reads when they are done, so that they are known in
/// every plan.
pub fn cgroups_of_every_kind_say_who_lives_there(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    for (index, (path, attribution)) in kinds_of_cgroups().into_iter().enumerate() {
        let child = stage.child(|stage| {
            enter_cgroup(&format!("{SLICE}/{path}"))?;
            stage.look_at_self()?;
            stage.belongs(attribution);
            let socket = datagram_socket()?;
            let payload = stage.payload(48);
            stage.send_to(&receiver, &socket, &payload)
        })?;
        receiver.wait(index + 1)?;
        stage.join(child)?;
    }
    stage.stop(receiver)
}

/// The same with a gate before the first one, for agents that select.
pub fn senders_of_every_kind(stage: &mut Stage) -> Result<()> {
    stage.gate(&[])?;
    cgroups_of_every_kind_say_who_lives_there(stage)
}

pub fn a_sender_that_is_moved_is_shown_where_it_was_at_each_send(stage: &mut Stage) -> Result<()> {
    let mut receiver = stage.receiver()?;
    let mut sent = 0;
    for round in 0..3 {
        for unit in ["moved-a.service", "moved-b.service"] {
            enter_cgroup(&format!("{SLICE}/{unit}"))?;
            stage.look_at_self()?;
            stage.belongs(json!({"unit": {"name": unit}, "slice": SLICE}));
            let socket = datagram_socket()?;
            let payload = stage.payload(48 + round);
            stage.send_to(&receiver, &socket, &payload)?;
            sent += 1;
            receiver.wait(sent)?;
        }
    }
    stage.stop(receiver)
}
