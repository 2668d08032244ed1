//! Sends through every hook before anyone relies on them, to a socket of its own, and holds what
//! comes back against what this process knows of itself. So a wrong offset, or a hook that never
//! fires, is found at the start.

mod judge;

use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

pub use self::judge::Findings;
use self::judge::{Seen, Truth};
use crate::probe::attached::Attached;
use crate::probe::load::LoadOptions;
use crate::probe::ring::Rings;

/// What is sent.
const PAYLOAD: &[u8] = b"X_NOTIFY_TRACE=self-test";

/// How long the records may take. They come within a millisecond on an idle machine; a machine
/// that takes longer is told so, not guessed about.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often it is tried while the kernel skips runs of the programs meanwhile.
const ATTEMPTS: u32 = 3;

/// Name of the hidden verb by which a child sends and exits.
const CHILD_VERB: &str = "self-test-sender";

/// The address of this process's self-test socket.
#[must_use]
pub fn address() -> Vec<u8> {
    format!("\0notify-trace/self-test/{}", std::process::id()).into_bytes()
}

/// An address beside it that nobody listens on.
#[must_use]
pub fn nobody(address: &[u8]) -> Vec<u8> {
    [address, b"/nobody"].concat()
}

/// Runs the self-test. Records that aren't its own are given to `keep`, in the order of reading.
///
/// What does not come back says nothing of the hooks where the kernel skipped a program: it does so on a CPU where the
/// same program was preempted (seen on 7.3, at a tracepoint that every exit on the machine passes). Then it is tried
/// again. A record that says something wrong was written by a program that ran, and is told at once.
///
/// # Errors
/// If the sockets or the child it needs can't be made; what is wrong with the hooks is in the
/// findings.
pub async fn run(
    loaded: &mut Attached,
    rings: &mut Rings,
    options: &LoadOptions,
    mut sender_to_be: SenderToBe,
    mut keep: impl FnMut(Bytes),
) -> Result<Findings> {
    // Of programs that were loaded just now. Looked at only if something is missing, for that takes a while.
    let mut skipped = 0;
    let mut attempt = 1;
    loop {
        let findings = run_once(loaded, rings, options, sender_to_be, &mut keep).await?;
        if !findings.are_only_missing() {
            return Ok(findings);
        }
        match grown(skipped, loaded.programs_skipped()) {
            Some(now) => skipped = now,
            None => return Ok(findings),
        }
        if attempt == ATTEMPTS {
            return Ok(findings.with_doubt(ATTEMPTS));
        }
        attempt += 1;
        sender_to_be = SenderToBe::start(&options.self_test_address)?;
    }
}

/// How many runs the kernel has skipped, if that is more than before; where it doesn't count them, nobody knows that it
/// did.
fn grown(before: u64, now: Option<u64>) -> Option<u64> {
    now.filter(|now| *now > before)
}

/// Sends, reads, and waits for what the hooks say of it.
async fn run_once(
    loaded: &mut Attached,
    rings: &mut Rings,
    options: &LoadOptions,
    sender_to_be: SenderToBe,
    keep: &mut impl FnMut(Bytes),
) -> Result<Findings> {
    let pid = std::process::id();
    let cgroup = own_cgroup();
    loaded.let_pass(pid)?;
    let receiver = socket()?;
    let name = SocketAddrUnix::new_abstract_name(&options.self_test_address[1..])
        .context("the self-test's address")?;
    rustix::net::bind(&receiver, &name).context("cannot bind the self-test's socket")?;
    rustix::net::sockopt::set_socket_passcred(&receiver, true)?;
    // Connected sends, and a sender that is gone when its datagram is read.
    let child = sender_to_be.still_there(&options.self_test_address)?;
    loaded.let_pass(child.id())?;
    // It takes its time; nothing else is sent or read meanwhile.
    let child = child.send();
    let truth = Truth {
        pid,
        parent: rustix::process::getppid()
            .and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
            .unwrap_or(0),
        child: child.id(),
        receiver_inode: rustix::fs::fstat(&receiver)?.st_ino,
        start_ticks: start_ticks("/proc/self/stat"),
        cgroup,
    };

    let sender = socket()?;
    if rustix::net::connect(
        &sender,
        &SocketAddrUnix::new_abstract_name(&nobody(&options.self_test_address)[1..])?,
    )
    .is_ok()
    {
        anyhow::bail!("somebody else listens on the self-test's address");
    }
    child.wait()?;
    read(&receiver)?;
    send_with_fd(&sender, &name)?;
    read(&receiver)?;
    // One is left in the queue when the receiver is closed.
    send_with_fd(&sender, &name)?;
    drop(receiver);

    let mut seen = Seen::default();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        rings.drain(|bytes| {
            if !seen.take(&bytes, pid, truth.child) {
                keep(bytes);
            }
        });
        let is_complete = seen
            .judge(&loaded.programs, loaded.plan.name, &truth)
            .is_complete();
        if is_complete
            || tokio::time::timeout_at(deadline, rings.readable())
                .await
                .is_err()
        {
            break;
        }
    }
    loaded.let_pass_no_more(truth.child)?;
    loaded.let_pass_no_more(pid)?;
    Ok(seen.judge(&loaded.programs, loaded.plan.name, &truth))
}

/// The abstract name that a child is to send to, if these arguments are those of one.
#[must_use]
pub fn address_of_child(arguments: impl IntoIterator<Item = OsString>) -> Option<String> {
    let mut arguments = arguments.into_iter().skip(1);
    let is_child = arguments.next().is_some_and(|verb| verb == CHILD_VERB);
    let address = arguments.next().filter(|_| is_child)?;
    address.into_string().ok()
}

/// The child's part: waits until it may, sends one datagram over a connected socket, and exits.
///
/// # Errors
/// If it can't.
pub fn child(address: &str) -> Result<()> {
    let mut nothing = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut nothing)?;
    let sender = socket()?;
    let name = SocketAddrUnix::new_abstract_name(address.as_bytes())?;
    rustix::net::connect(&sender, &name)?;
    rustix::net::send(&sender, PAYLOAD, SendFlags::empty())?;
    Ok(())
}

/// A child that will send one datagram when it is told to. To start takes it a while, so it is made before
/// it is needed.
pub struct SenderToBe(Child);

impl SenderToBe {
    /// Starts it.
    ///
    /// # Errors
    /// If this program's own file can't be executed.
    pub fn start(address: &[u8]) -> Result<Self> {
        let name = String::from_utf8_lossy(&address[1..]).into_owned();
        Command::new("/proc/self/exe")
            .args([CHILD_VERB, &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is for the one who waits for it.
            .process_group(0)
            .spawn()
            .map(Self)
            .context("cannot start the self-test's child (/proc/self/exe)")
    }

    /// This one, or another if it is gone: whoever ends a service ends all its processes.
    fn still_there(mut self, address: &[u8]) -> Result<Self> {
        match self.0.try_wait() {
            Ok(None) => Ok(self),
            Ok(Some(_)) | Err(_) => Self::start(address),
        }
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    /// Lets it send.
    fn send(mut self) -> Self {
        drop(self.0.stdin.take());
        self
    }

    /// Waits until it is gone.
    fn wait(mut self) -> Result<()> {
        self.0.wait().context("the self-test's child")?;
        Ok(())
    }
}

impl Drop for SenderToBe {
    /// One that is not needed any more sends nothing.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket() -> Result<OwnedFd> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context("cannot make a socket for the self-test")
}

/// Passes the sender itself. (The receiver in its own queue would keep itself from being closed.)
fn send_with_fd(sender: &OwnedFd, name: &SocketAddrUnix) -> Result<()> {
    let fds = [sender.as_fd()];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let slices = [IoSlice::new(PAYLOAD)];
    rustix::net::sendmsg_addr(sender, name, &slices, &mut control, SendFlags::empty())
        .context("cannot send to the self-test's socket")?;
    Ok(())
}

fn read(receiver: &OwnedFd) -> Result<()> {
    let mut payload = [0; 64];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    rustix::net::recvmsg(
        receiver,
        &mut [IoSliceMut::new(&mut payload)],
        &mut control,
        RecvFlags::DONTWAIT,
    )
    .context("cannot read from the self-test's socket")?;
    Ok(())
}

/// Start time of a process in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)).
fn start_ticks(path: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(path).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// Id of this process's cgroup v2: the inode number of its directory, where the hierarchy is
/// mounted as usual and visible from here.
fn own_cgroup() -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .find_map(|root| {
            let is_v2 = std::path::Path::new(root).join("cgroup.procs").exists();
            let directory = std::fs::metadata(format!("{root}{path}")).ok()?;
            is_v2.then(|| directory.ino())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_told_by_its_verb() {
        let address = |arguments: &[&str]| address_of_child(arguments.iter().map(OsString::from));
        assert_eq!(
            address(&["exe", CHILD_VERB, "name"]).as_deref(),
            Some("name")
        );
        assert_eq!(address(&["exe", "trace", CHILD_VERB, "name"]), None);
        assert_eq!(address(&["exe", CHILD_VERB]), None);
        assert_eq!(address(&[]), None);
    }

    #[test]
    fn only_runs_that_are_counted_were_skipped() {
        assert_eq!(grown(0, Some(1)), Some(1));
        assert_eq!(grown(1, Some(1)), None);
        assert_eq!(grown(0, None), None, "this kernel doesn't count");
        assert_eq!(grown(1, None), None);
    }
}
