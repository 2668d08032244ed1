//! A service that does all that services say to their managers.

use std::{
    env,
    io::pipe,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    pipe::until,
    raw::{
        process::{Signal, Signals, monotonic_ns},
        socket::{self, Message},
    },
    stage::datagram_socket,
};

/// Without a watchdog there is nothing to do between signals.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A way to `NOTIFY_SOCKET`.
struct Manager {
    socket: OwnedFd,
    address: String,
}

impl Manager {
    fn new() -> Result<Self> {
        Ok(Self {
            socket: datagram_socket()?,
            address: env::var("NOTIFY_SOCKET").context("NOTIFY_SOCKET is not set")?,
        })
    }

    fn say(&self, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let message = Message {
            to: Some(self.address.as_bytes()),
            parts: &[text],
            fds,
            ..Message::default()
        };
        socket::send_message(self.socket.as_fd(), &message)
            .with_context(|| format!("could not send to {}", self.address))?;
        Ok(())
    }

    /// Waits until the manager has taken all that was said before.
    fn barrier(&self) -> Result<()> {
        let (ours, theirs) = pipe().context("no pipe")?;
        self.say(b"BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        until("the manager to take a barrier", || {
            let (is_closed, _) = socket::poll_two(ours.as_fd(), ours.as_fd(), 1000)?;
            Ok(is_closed.then_some(()))
        })
    }
}

/// Says that it is ready, lives as a service does, says that it stops.
pub fn serve(name: &str) -> Result<()> {
    let signals = Signals::block().context("could not block signals")?;
    let manager = Manager::new()?;
    manager.say(format!("READY=1\nSTATUS=this is {name}").as_bytes(), &[])?;
    manager.barrier()?;
    let watchdog: Option<u64> = env::var("WATCHDOG_USEC")
        .ok()
        .and_then(|it| it.parse().ok());
    let patience = watchdog.map_or(FOR_EVER, |usec| Duration::from_micros(usec / 4));
    loop {
        match signals
            .wait(patience)
            .context("could not wait for a signal")?
        {
            Some(Signal::HangUp) => {
                let now_us = monotonic_ns() / 1000;
                let text = format!("RELOADING=1\nMONOTONIC_USEC={now_us}");
                manager.say(text.as_bytes(), &[])?;
                let text = format!("READY=1\nSTATUS=this is {name} once more");
                manager.say(text.as_bytes(), &[])?;
            }
            Some(_) => return manager.say(b"STOPPING=1", &[]),
            None if watchdog.is_some() => manager.say(b"WATCHDOG=1", &[])?,
            None => {}
        }
    }
}

/// Says one thing, and waits until it was heard.
pub fn say(text: &str) -> Result<()> {
    let manager = Manager::new()?;
    manager.say(text.as_bytes(), &[])?;
    manager.barrier()
}

/// What a manager reads in ways of its own, or not at all.
pub fn odd() -> Result<()> {
    let manager = Manager::new()?;
    let null = std::fs::File::open("/dev/null").context("no /dev/null")?;
    let long = format!("STATUS={}\nX_END=1", "long ".repeat(600));
    let too_long = format!("STATUS={}", "x".repeat(5000));
    let texts: [&[u8]; 19] = [
        b"",
        b"\n\n",
        b"\0",
        b"X_A=1\n\n\r\nX_B=2\n",
        br"STATUS=a\b\\c\n \x41 .",
        b"STATUS=C:\\\nX_SWALLOWED=1",
        br"X_LAST=C:\",
        b"STATUS='one' \"two\" three",
        b"X_BYTES=\xff\xfe\x01\x1b[31m\x7f\t.",
        b"STATUS=\xff is no text",
        "STATUS=ünï ☃".as_bytes(),
        b"X_NUL=1\0X_MORE=1",
        b"X_NUL=1\0",
        b"no assignment",
        b"STATUS=Got notification message from PID 1: READY=1",
        b"BARRIER=1\nX_MORE=1",
        b"BARRIER=1",
        long.as_bytes(),
        too_long.as_bytes(),
    ];
    for text in texts {
        manager.say(text, &[])?;
    }
    manager.say(b"FDSTORE=1\nFDNAME=odd", &[null.as_fd()])?;
    manager.say(b"X_FDS=2", &[null.as_fd(), null.as_fd()])?;
    // The same again and again: each is one.
    for _ in 0..20 {
        manager.say(b"STATUS=the same", &[])?;
    }
    manager.barrier()
}
