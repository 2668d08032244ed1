//! The process that a case runs in: it sends, starts receivers and other senders, and writes down
//! what happened.
//!
//! It has one thread and forks freely. Its parent, the driver, gets the record as a line of JSON.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::{
    pipe::{Lines, pipe, say, until},
    procfs,
    raw::{self, socket::Kind},
    receiver::{Behaviour, Receiver},
    truth::{self, Bytes, Cgroup, Connect, Credentials, Destination, Fate, Send, Truth},
};

/// What a case works with.
#[derive(Debug)]
pub struct Stage {
    /// A folder of its own.
    pub dir: PathBuf,
    /// The cgroup that it is in, below the root of the hierarchy.
    pub cgroup: String,
    /// What has been written down so far.
    pub truth: Truth,
    /// Payloads made so far.
    made: u32,
    /// A thread's id in its own namespace, and in the initial one.
    thread: Option<(i32, u32)>,
}

/// A call that is about to be made.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    socket: BorrowedFd<'a>,
    destination: Destination,
    receiver: Option<u64>,
    payload: Option<Bytes>,
    length: usize,
    is_copied: bool,
    fds: u32,
    claimed: Option<Credentials>,
    fate: Option<Fate>,
    is_repetition: bool,
    is_by_worker: bool,
    is_blocked: bool,
    is_contended: bool,
    is_selected_by_destination_only: bool,
    sender_present: Option<bool>,
}

impl<'a> Outgoing<'a> {
    /// A datagram to this receiver, addressed by its own name.
    pub fn to(receiver: &Receiver, socket: &'a OwnedFd, payload: &[u8]) -> Self {
        let this = Self::to_nobody(&receiver.address, socket, payload);
        Self {
            receiver: Some(receiver.inode),
            ..this
        }
    }

    /// A datagram to an address that no receiver is known for.
    pub fn to_nobody(address: &[u8], socket: &'a OwnedFd, payload: &[u8]) -> Self {
        Self {
            socket: socket.as_fd(),
            destination: Destination {
                address: Bytes(address.to_vec()),
                is_connected: false,
            },
            receiver: None,
            payload: Some(truth::head(payload)),
            length: payload.len(),
            is_copied: true,
            fds: 0,
            claimed: None,
            fate: None,
            is_repetition: false,
            is_by_worker: false,
            is_blocked: false,
            is_contended: false,
            is_selected_by_destination_only: false,
            sender_present: Some(true),
        }
    }

    /// The sender writes another address than the receiver's own.
    pub fn spelled(mut self, address: &[u8]) -> Self {
        self.destination.address = Bytes(address.to_vec());
        self
    }

    /// The socket is connected.
    pub fn connected(mut self) -> Self {
        self.destination.is_connected = true;
        self
    }

    /// Only the receiver knows the payload.
    pub fn unknown_payload(mut self) -> Self {
        self.payload = None;
        self
    }

    /// It fails before a byte is copied.
    pub fn never_copied(mut self) -> Self {
        self.is_copied = false;
        self
    }

    /// Descriptors go with it.
    pub fn with_fds(mut self, fds: u32) -> Self {
        self.fds = fds;
        self
    }

    /// It claims credentials.
    pub fn claims(mut self, claimed: raw::socket::Credentials) -> Self {
        let raw::socket::Credentials { pid, uid, gid } = claimed;
        self.claimed = Some(Credentials { pid, uid, gid });
        self
    }

    /// What becomes of it, if neither `Delivered` nor, where the call fails, `Failed`.
    pub fn becomes(mut self, fate: Fate) -> Self {
        self.fate = Some(fate);
        self
    }

    /// It repeats the refused one before.
    pub fn repetition(mut self) -> Self {
        self.is_repetition = true;
        self
    }

    /// A worker of io_uring sends it.
    pub fn by_worker(mut self) -> Self {
        self.is_by_worker = true;
        self
    }

    /// It has to wait for room in the queue.
    pub fn blocked(mut self) -> Self {
        self.is_blocked = true;
        self
    }

    /// Others send at the same time.
    pub fn contended(mut self) -> Self {
        self.is_contended = true;
        self
    }

    /// The receiver's own name is not that of a notify socket.
    pub fn selected_by_destination_only(mut self) -> Self {
        self.is_selected_by_destination_only = true;
        self
    }

    /// Whether the sender is there when the receiver reads it; none: either.
    pub fn sender_present(mut self, present: Option<bool>) -> Self {
        self.sender_present = present;
        self
    }
}

impl Stage {
    /// In a folder that exists.
    pub fn new(dir: &Path, cgroup: &str) -> Result<Self> {
        let mut this = Self {
            dir: dir.to_owned(),
            cgroup: cgroup.to_owned(),
            truth: Truth::default(),
            made: 0,
            thread: None,
        };
        this.look_at_self()?;
        Ok(this)
    }

    /// Reads anew what `/proc` says of this process, after it changed.
    pub fn look_at_self(&mut self) -> Result<()> {
        let process = procfs::this_process()?;
        self.truth.pids.push(process.pid);
        self.truth.processes.push(process);
        Ok(())
    }

    /// The cgroup that this process has moved to, whose path is too long for `/proc` to say.
    pub fn is_in(&mut self, cgroup: Option<Cgroup>) {
        if let Some(process) = self.truth.processes.last_mut() {
            process.cgroup = cgroup;
        }
    }

    /// What is to be said of where this process belongs from now on.
    pub fn belongs(&mut self, attribution: serde_json::Value) {
        if let Some(process) = self.truth.processes.last_mut() {
            process.attribution = Some(attribution);
        }
    }

    /// A path in the case's folder, as an address.
    pub fn path(&self, name: &str) -> Vec<u8> {
        self.dir.join(name).as_os_str().as_bytes().to_vec()
    }

    /// An abstract address that no other case uses.
    pub fn abstract_name(&self, end: &[u8]) -> Vec<u8> {
        let dir = self.dir.as_os_str().as_bytes();
        [b"\0", dir, b"/", end].concat()
    }

    /// A receiver that behaves as systemd does, named so that it is selected by default.
    pub fn receiver(&mut self) -> Result<Receiver> {
        self.receiver_that(Behaviour::DEFAULT)
    }

    /// A receiver with a name that is selected by default.
    pub fn receiver_that(&mut self, behaviour: Behaviour) -> Result<Receiver> {
        let name = self.path("notify.sock");
        self.receiver_at(&name, behaviour)
    }

    /// A receiver.
    pub fn receiver_at(&mut self, name: &[u8], behaviour: Behaviour) -> Result<Receiver> {
        let receiver = Receiver::start(name, behaviour)?;
        self.truth.pids.push(receiver.pid);
        Ok(receiver)
    }

    /// Ends a receiver and keeps its record.
    pub fn stop(&mut self, receiver: Receiver) -> Result<()> {
        let record = receiver.stop()?;
        self.truth.receivers.push(record);
        Ok(())
    }

    /// A payload unlike any other of this process, of this length if that leaves room.
    pub fn payload(&mut self, length: usize) -> Vec<u8> {
        self.made += 1;
        let pid = self.truth.processes.last().map_or(0, |process| process.pid);
        let number = self.made;
        let mut payload = format!("STATUS={pid} sends number {number}\n").into_bytes();
        if payload.len() < length {
            payload.extend_from_slice(b"X_FILLER=");
        }
        payload.resize_with(payload.len().max(length), || 0);
        let from = payload
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(payload.len());
        for (index, byte) in payload.iter_mut().enumerate().skip(from) {
            let mixed = index * 11 + (index >> 8) * 3 + number as usize * 37;
            *byte = (mixed % 256).to_le_bytes()[0];
        }
        payload.truncate(length);
        payload
    }

    /// The calling thread's id, which is looked up only when the thread is another one.
    fn this_thread(&mut self) -> Result<u32> {
        let number = raw::process::thread_number();
        match self.thread {
            Some((known, tid)) if known == number => Ok(tid),
            _ => {
                let tid = procfs::this_thread()?;
                self.thread = Some((number, tid));
                Ok(tid)
            }
        }
    }

    /// Makes a call and writes it down; what it returned.
    pub fn send(
        &mut self,
        outgoing: Outgoing<'_>,
        call: impl FnOnce() -> io::Result<usize>,
    ) -> Result<Result<u32, i32>> {
        let thread_name = raw::process::thread_name().context("no thread name")?;
        let tid = self.this_thread()?;
        let socket_inode = raw::socket::inode(outgoing.socket).context("no inode number")?;
        let before_ns = raw::process::monotonic_ns();
        let result = call();
        let after_ns = raw::process::monotonic_ns();
        let result = match result {
            Ok(bytes) => Ok(u32::try_from(bytes)?),
            Err(error) => Err(error.raw_os_error().ok_or_else(|| anyhow!(error))?),
        };
        let default = if result.is_ok() {
            Fate::Delivered
        } else {
            Fate::Failed
        };
        self.truth.sends.push(Send {
            process: self.truth.processes.len() - 1,
            tid: (!outgoing.is_by_worker).then_some(tid),
            comm: Bytes(thread_name),
            io_uring_worker: outgoing.is_by_worker,
            socket_inode,
            destination: outgoing.destination,
            receiver: outgoing.receiver,
            payload: outgoing.payload,
            length: u32::try_from(outgoing.length)?,
            is_copied: outgoing.is_copied,
            fds: outgoing.fds,
            claimed: outgoing.claimed,
            result,
            before_ns,
            after_ns,
            fate: outgoing.fate.unwrap_or(default),
            is_repetition: outgoing.is_repetition,
            sender_present: outgoing.sender_present,
            is_selected_by_destination_only: outgoing.is_selected_by_destination_only,
            is_blocked: outgoing.is_blocked,
            is_contended: outgoing.is_contended,
        });
        Ok(result)
    }

    /// The simplest way: `sendto` to a receiver, which must work.
    pub fn send_to(&mut self, receiver: &Receiver, socket: &OwnedFd, payload: &[u8]) -> Result<()> {
        let outgoing = Outgoing::to(receiver, socket, payload);
        let to = receiver.address.clone();
        let call = || raw::socket::send_to(socket.as_fd(), payload, &to, 0);
        expect_sent(self.send(outgoing, call)?, payload.len())
    }

    /// A `connect` that is expected to fail; its error number.
    pub fn connect_in_vain(&mut self, socket: &OwnedFd, to: &[u8]) -> Result<i32> {
        let socket_inode = raw::socket::inode(socket.as_fd()).context("no inode number")?;
        let before_ns = raw::process::monotonic_ns();
        let result = raw::socket::connect(socket.as_fd(), to);
        let after_ns = raw::process::monotonic_ns();
        let Err(error) = result else {
            bail!("the connect succeeded");
        };
        let errno = error.raw_os_error().ok_or_else(|| anyhow!(error))?;
        self.truth.connects.push(Connect {
            process: self.truth.processes.len() - 1,
            socket_inode,
            address: Bytes(to.to_vec()),
            errno,
            before_ns,
            after_ns,
        });
        Ok(errno)
    }

    /// Another process that takes part.
    pub fn child(&mut self, act: impl FnOnce(&mut Self) -> Result<()>) -> Result<Child> {
        self.child_by(act, |run| raw::process::fork(run))
    }

    /// Another process that takes part, with this process id.
    pub fn child_as(
        &mut self,
        pid: u32,
        act: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Child> {
        self.child_by(act, |run| raw::process::fork_as(pid, run))
    }

    fn child_by<A: FnOnce(&mut Self) -> Result<()>>(
        &mut self,
        act: A,
        start: impl FnOnce(Box<dyn FnOnce() -> u8 + '_>) -> io::Result<u32>,
    ) -> Result<Child> {
        let (lines, mut reports) = pipe()?;
        let (dir, cgroup) = (self.dir.clone(), self.cgroup.clone());
        let pid = start(Box::new(move || {
            let played = Self::new(&dir, &cgroup).and_then(|mut stage| {
                act(&mut stage)?;
                Ok(serde_json::to_string(&stage.truth)?)
            });
            let line = played.unwrap_or_else(|error| {
                // The case may wait for what this process was to do, so it is said at once.
                eprintln!("another process of the case: {error:#}");
                format!("{error:#}").replace('\n', " ")
            });
            u8::from(say(&mut reports, &line).is_err())
        }))
        .context("could not start another process")?;
        // In the parent's namespace, where the child's own record may have another number.
        self.truth.pids.push(pid);
        Ok(Child { pid, lines })
    }

    /// Ends a child and keeps its record.
    pub fn join(&mut self, mut child: Child) -> Result<()> {
        self.keep_record(&mut child)?;
        child.reap()
    }

    /// Takes over a child's record, which is ready when all its work is done.
    pub fn keep_record(&mut self, child: &mut Child) -> Result<()> {
        let line = child
            .lines
            .next("waiting for another process of the case")?;
        let record: Truth = serde_json::from_str(&line).map_err(|_| anyhow!("{line}"))?;
        self.truth.absorb(record);
        Ok(())
    }

    /// Notes a number.
    pub fn mark(&mut self, name: &str, value: u64) {
        self.truth.marks.insert(name.to_owned(), value);
    }

    /// Tells the driver these numbers, and waits until it says so.
    pub fn gate(&mut self, facts: &[(&str, u32)]) -> Result<()> {
        let facts: BTreeMap<_, _> = facts.iter().copied().collect();
        println!("ready {}", serde_json::to_string(&facts)?);
        let mut line = String::new();
        let read = io::stdin()
            .lock()
            .read_line(&mut line)
            .context("no word from the driver")?;
        ensure!(read > 0, "the driver ended");
        Ok(())
    }
}

/// A datagram socket.
pub fn datagram_socket() -> Result<OwnedFd> {
    raw::socket::socket(Kind::Datagram).context("no socket")
}

/// The call must have sent so many bytes.
pub fn expect_sent(result: Result<u32, i32>, length: usize) -> Result<()> {
    match result {
        Ok(sent) => {
            ensure!(
                sent as usize == length,
                "{sent} of {length} bytes were sent"
            );
            Ok(())
        }
        Err(errno) => bail!("not sent: {}", io::Error::from_raw_os_error(errno)),
    }
}

/// The call must have failed with this error.
pub fn expect_error(result: Result<u32, i32>, errno: i32) -> Result<()> {
    let wanted = io::Error::from_raw_os_error(errno);
    match result {
        Err(found) if found == errno => Ok(()),
        Err(found) => bail!(
            "{} instead of {wanted}",
            io::Error::from_raw_os_error(found)
        ),
        Ok(_) => bail!("sent instead of {wanted}"),
    }
}

/// Another process of the case.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    lines: Lines,
}

impl Child {
    /// Waits until it is blocked in this system call.
    pub fn wait_blocked_in(&self, call: libc::c_long) -> Result<()> {
        until("another process to be blocked", || {
            Ok(procfs::is_blocked_in(self.pid, call).then_some(()))
        })
    }

    /// Waits until it has exited, and leaves it a zombie.
    pub fn wait_exited(&self) -> Result<()> {
        raw::process::wait_exited(self.pid).context("could not wait for another process")
    }

    /// Waits for its end.
    pub fn reap(self) -> Result<()> {
        let end = raw::process::wait(self.pid).context("could not wait for another process")?;
        ensure!(
            end == raw::process::End::Code(0),
            "another process ended with {end:?}"
        );
        Ok(())
    }
}
