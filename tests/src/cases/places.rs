//! Where senders live: pid namespaces and cgroups.

use anyhow::{Context as _, Result};

use crate::{
    procfs::enter_cgroup,
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
        stage.join(first)
    })?;
    receiver.wait(1)?;
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
