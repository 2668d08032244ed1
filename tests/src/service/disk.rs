//! What the agent does when the disk is full, read-only, hangs, or the recording is gone.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{
    RECORDING, UNIT,
    faults::{all_recorded, is_well, metric, restart, say},
    get, main_pid, systemctl, until,
};

/// Where the recording is.
const FOLDER: &str = "/var/lib/notify-trace";

/// A disk of the guest with a file system.
const DISK: &str = "/dev/vdb";

/// With the recording on a disk of its own, mounted so, until `act` has ended.
fn on_disk(words: &[&str], act: impl FnOnce() -> Result<String>) -> Result<String> {
    systemctl(&["stop", UNIT])?;
    let mounted = Command::new("mount").args(words).arg(FOLDER).status()?;
    ensure!(mounted.success(), "could not mount a disk");
    let result = restart().and_then(|()| act());
    systemctl(&["stop", UNIT])?;
    let unmounted = Command::new("umount").arg(FOLDER).status()?;
    ensure!(unmounted.success(), "could not unmount the disk");
    restart()?;
    result
}

pub(super) fn full_disk() -> Result<String> {
    on_disk(&["-t", "tmpfs", "-o", "size=2M,mode=700", "small"], || {
        let filler = format!("{FOLDER}/filler");
        // Until there is no room.
        let _ = fs::write(&filler, vec![0_u8; 4 << 20]);
        let text = format!("STATUS={}", "x".repeat(3_000));
        say("nt-full", &["--times", "300", "--every-ms", "1", &text])?;
        until("the agent to say that the disk is full", || {
            Ok((!is_well()?).then_some(()))
        })?;
        ensure!(metric("notify_trace_recording_stuck")? > 0.0);
        let trouble = get("/healthz")?;
        ensure!(trouble.contains("full"), "{trouble}");
        fs::remove_file(&filler).context("the filler")?;
        until(
            "the agent to be well again",
            || Ok(is_well()?.then_some(())),
        )?;
        all_recorded("nt-full", 300)?;
        ensure!(metric("notify_trace_recording_dropped_events")? == 0.0);
        Ok("300 of 300 after there was room".to_owned())
    })
}

/// Whoever writes to it waits, and can't be interrupted, not even by SIGKILL.
fn freeze(is_frozen: bool) -> Result<()> {
    let word = if is_frozen { "--freeze" } else { "--unfreeze" };
    let status = Command::new("fsfreeze").args([word, FOLDER]).status()?;
    ensure!(status.success(), "fsfreeze {word}");
    Ok(())
}

/// A disk that does not answer.
pub(super) fn hangs() -> Result<String> {
    on_disk(&[DISK], || {
        let pid = main_pid()?;
        say("nt-answers", &["--times", "10", "STATUS=answers"])?;
        all_recorded("nt-answers", 10)?;
        freeze(true)?;
        let told = say("nt-hangs", &["--times", "200", "STATUS=hangs"]).and_then(|()| {
            until("the agent to say that the disk does not answer", || {
                thread::sleep(Duration::from_millis(500));
                let health = get("/healthz")?;
                Ok((!health.starts_with("HTTP/1.1 200")).then_some(health))
            })
        });
        // It reads on, and counts.
        let counted = metric("notify_trace_notifications_total{unit=\"nt-hangs.service\"");
        freeze(false)?;
        let health = told?;
        ensure!(health.contains("not answered"), "{health}");
        ensure!(counted? >= 200.0, "it did not go on");
        all_recorded("nt-hangs", 200)?;
        ensure!(metric("notify_trace_recording_dropped_events")? == 0.0);
        ensure!(main_pid()? == pid, "it was started again");
        Ok("200 of 200 once it answered again".to_owned())
    })
}

/// As after an error of the disk: every file system on one is read-only, open files or not.
pub(super) fn read_only() -> Result<String> {
    say("nt-before", &["--times", "10", "STATUS=before"])?;
    all_recorded("nt-before", 10)?;
    fs::write("/proc/sysrq-trigger", "u").context("could not make the disks read-only")?;
    until("the disk to be read-only", || {
        let is_writable = fs::write(format!("{FOLDER}/probe"), "").is_ok();
        Ok((!is_writable).then_some(()))
    })?;
    // Linux tells an error of writing once: the agent's next try may seem to succeed, so it is looked at
    // while more comes.
    let result = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let words = ["--times", "50", "--every-ms", "100", "STATUS=during"];
            say("nt-during", &words)
        });
        let told = until("the agent to say that it can't write", || {
            Ok((!is_well()?).then_some(()))
        });
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the sender"))?;
        told.and(sent)
    });
    let status = Command::new("mount")
        .args(["-o", "remount,rw", "/"])
        .status()?;
    ensure!(status.success(), "could not make the disk writable again");
    result?;
    all_recorded("nt-during", 50)?;
    ensure!(is_well()?, "it is not well again");
    Ok("50 of 50 after it was writable".to_owned())
}

pub(super) fn removed() -> Result<String> {
    let pid = main_pid()?;
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{RECORDING}{end}"));
    }
    say(
        "nt-anew",
        &["--times", "20", "--every-ms", "100", "STATUS=anew"],
    )?;
    all_recorded("nt-anew", 20)?;
    ensure!(main_pid()? == pid, "it was started again");
    Ok("20 of 20 in the new one".to_owned())
}
