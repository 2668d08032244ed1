//! A process that is bound to a notify socket, reads it, and writes down what it got.

use std::{
    io::{PipeReader, PipeWriter, Read as _},
    os::fd::{AsFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    pipe::{Lines, pipe, say},
    raw::{self, socket::Kind},
    truth::{self, Bytes, Credentials, Receipt},
};

/// More than any datagram of the tests.
const BUFFER: usize = 400_000;

/// How a receiver behaves; the default is as systemd does.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// It asks to be told who sends.
    pub is_told: bool,
    /// It reads nothing before [`Receiver::go`].
    pub holds: bool,
    /// Its socket filter leaves so many bytes of each datagram.
    pub keeps: Option<u32>,
    /// It looks at each datagram before it takes it.
    pub peeks: bool,
}

impl Behaviour {
    /// Told who sends; reads at once and everything.
    pub const DEFAULT: Self = Self {
        is_told: true,
        holds: false,
        keeps: None,
        peeks: false,
    };

    /// As the default, but it waits for [`Receiver::go`].
    pub const HOLDS: Self = Self {
        holds: true,
        ..Self::DEFAULT
    };
}

/// The other side's handle.
#[derive(Debug)]
pub struct Receiver {
    /// Inode number of its socket.
    pub inode: u64,
    /// The address that it is bound to.
    pub address: Vec<u8>,
    /// Its process.
    pub pid: u32,
    commands: PipeWriter,
    lines: Lines,
    heard: usize,
}

impl Receiver {
    /// Starts a receiver. An empty name lets the kernel choose one.
    pub fn start(name: &[u8], behaviour: Behaviour) -> Result<Self> {
        let (mut lines, mut reports) = pipe()?;
        let (mut commands, commander) = std::io::pipe().context("could not make a pipe")?;
        let name = name.to_vec();
        let child =
            raw::process::fork(
                move || match work(&name, behaviour, &mut commands, &mut reports) {
                    Ok(()) => 0,
                    Err(error) => {
                        eprintln!("receiver: {error:#}");
                        1
                    }
                },
            )
            .context("could not start a receiver")?;
        let ready = lines.next("waiting for a receiver to be ready")?;
        let (inode, address): (u64, Bytes) =
            serde_json::from_str(&ready).context("a receiver said something else")?;
        Ok(Self {
            inode,
            address: address.0,
            pid: child,
            commands: commander,
            lines,
            heard: 0,
        })
    }

    /// Waits until it has read so many datagrams, all since its start.
    pub fn wait(&mut self, count: usize) -> Result<()> {
        while self.heard < count {
            let what = format!("datagram {} of {count} to be read", self.heard + 1);
            let line = self.lines.next(&what)?;
            ensure!(line == ".", "a receiver said {line}");
            self.heard += 1;
        }
        Ok(())
    }

    /// Lets a holding receiver read.
    pub fn go(&mut self) -> Result<()> {
        say(&mut self.commands, "g")
    }

    /// Closes the socket by ending the process; what it wrote down.
    pub fn stop(mut self) -> Result<truth::Receiver> {
        say(&mut self.commands, "q")?;
        let receipts = loop {
            let line = self.lines.next("waiting for a receiver's record")?;
            if line != "." {
                break serde_json::from_str(&line).context("a receiver's record")?;
            }
            self.heard += 1;
        };
        let (is_told, receipts) = receipts;
        let end = raw::process::wait(self.pid).context("could not wait for a receiver")?;
        ensure!(
            end == raw::process::End::Code(0),
            "a receiver ended with {end:?}"
        );
        Ok(truth::Receiver {
            inode: self.inode,
            address: Bytes(self.address),
            pid: self.pid,
            is_told,
            receipts,
            is_end_hidden: false,
        })
    }
}

fn work(
    name: &[u8],
    behaviour: Behaviour,
    commands: &mut PipeReader,
    reports: &mut PipeWriter,
) -> Result<()> {
    let socket = raw::socket::socket(Kind::Datagram).context("no socket")?;
    raw::socket::bind(socket.as_fd(), name).context("could not bind")?;
    if behaviour.is_told {
        raw::socket::pass_credentials(socket.as_fd()).context("no SO_PASSCRED")?;
    }
    if let Some(bytes) = behaviour.keeps {
        raw::socket::keep_only(socket.as_fd(), bytes).context("no filter")?;
    }
    let inode = raw::socket::inode(socket.as_fd()).context("no inode number")?;
    let address = raw::socket::name(socket.as_fd()).context("no name")?;
    say(reports, &serde_json::to_string(&(inode, Bytes(address)))?)?;
    let mut buffer = vec![0; BUFFER];
    let mut receipts = Vec::new();
    let mut is_reading = !behaviour.holds;
    loop {
        let watched = if is_reading {
            socket.as_fd()
        } else {
            commands.as_fd()
        };
        let (is_ready, is_commanded) = raw::socket::poll_two(watched, commands.as_fd(), -1)
            .context("could not wait for a datagram")?;
        if is_commanded {
            let mut command = [0; 2];
            commands.read_exact(&mut command).context("no command")?;
            match command[0] {
                b'g' => is_reading = true,
                _ => break,
            }
        } else if is_ready {
            if behaviour.peeks {
                raw::socket::receive(socket.as_fd(), &mut buffer, libc::MSG_PEEK)
                    .context("could not peek")?;
            }
            receipts.push(take(&socket, &mut buffer)?);
            say(reports, ".")?;
        }
    }
    say(
        reports,
        &serde_json::to_string(&(behaviour.is_told, receipts))?,
    )
}

fn take(socket: &OwnedFd, buffer: &mut [u8]) -> Result<Receipt> {
    let before_ns = raw::process::monotonic_ns();
    let received = raw::socket::receive(socket.as_fd(), buffer, 0).context("could not receive")?;
    let after_ns = raw::process::monotonic_ns();
    ensure!(
        received.length <= buffer.len(),
        "a datagram of {} bytes",
        received.length
    );
    Ok(Receipt {
        payload: truth::head(&buffer[..received.length]),
        length: u32::try_from(received.length)?,
        credentials: received.credentials.map(|told| Credentials {
            pid: told.pid,
            uid: told.uid,
            gid: told.gid,
        }),
        fds: u32::try_from(received.fds.len())?,
        before_ns,
        after_ns,
    })
}
