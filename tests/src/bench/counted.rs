//! What is executed rather than what it takes: for a guest whose clock goes on by one nanosecond for each
//! instruction (QEMU's `-icount shift=0`), in which a time is a number of instructions.
//!
//! Such numbers don't depend on what else the machine does, so one round is enough. A peer is stopped
//! (`SIGSTOP`) while it is counted: what it then does with what it was told is none of the sender's business, and
//! there is only one CPU.

use std::{path::Path, thread::sleep};

use anyhow::{Context as _, Result};

use super::{
    REST, Settings,
    peer::{Peer, Share},
    running::Running,
    watch,
    workload::{Scene, Workload},
};
use crate::raw::process::{Signal, kill};

/// What is counted, and how many times as little of the work is done. A stopped peer has to find room for
/// all of the captured ones.
const COUNTED: [(Workload, u32); 4] = [
    (Workload::Unrelated, 5),
    (Workload::UnrelatedConnected, 5),
    (Workload::Stream, 5),
    (Workload::Captured, 10),
];

/// Whether a peer has a turn: those that do all of the work.
pub fn has_turn(peer: &Peer) -> bool {
    peer.share == Share::Whole
}

/// A peer's turn.
pub fn turn(
    settings: &Settings,
    scene: &Scene,
    root: &Path,
    peer: &Peer,
    tell: &impl Fn(&str, &str, f64) -> Result<()>,
) -> Result<()> {
    let running = Running::start(peer, root)?;
    sleep(REST);
    if let Some(running) = &running {
        tell(
            "attach, executed",
            "instructions",
            watch::cpu_ns_when_done(running.pid())?,
        )?;
        scene.nudge()?;
        running.wait_for_nudge()?;
        running.cpu_ns_when_done()?;
    }
    for (workload, less) in COUNTED {
        let signal = |signal| match &running {
            Some(running) => {
                kill(running.pid(), signal).context("could not stop a peer, or wake it")
            }
            None => Ok(()),
        };
        signal(Signal::Stop)?;
        let spent = scene.run(workload, settings.operations / less)?;
        signal(Signal::Continue)?;
        let what = format!("{}, executed", workload.name());
        tell(&what, "instructions_per_op", spent.ns_per_operation)?;
        if let Some(running) = &running {
            running.cpu_ns_when_done()?;
        }
    }
    running.map_or(Ok(()), |running| running.stop().map(drop))
}
