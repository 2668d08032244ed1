//! Senders and a proxy for scripts: whatever a program could say to a notify socket.

use std::{
    env, fs,
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use sd_notify::NotifyState;

use crate::{
    procfs,
    raw::{
        self,
        socket::{self, Credentials, Message},
    },
    stage::datagram_socket,
};

/// `MSG_DONTWAIT`.
const DONT_WAIT: i32 = 0x40;

/// What a script asked for.
#[derive(Debug)]
struct Wish<'a> {
    to: Option<&'a str>,
    text: &'a str,
    fds: usize,
    connects: bool,
    waits: bool,
    times: u64,
    claims: Option<u32>,
    may_fail: bool,
    /// Puts the number of each in a line of its own, behind this.
    number: Option<&'a str>,
    every: Duration,
    stays: Duration,
}

impl<'a> Wish<'a> {
    fn of(words: &[&'a str]) -> Result<Self> {
        let mut wish = Self {
            to: None,
            text: "",
            fds: 0,
            connects: false,
            waits: true,
            times: 1,
            claims: None,
            may_fail: false,
            number: None,
            every: Duration::ZERO,
            stays: Duration::ZERO,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().context("a value is missing");
            match *word {
                "--to" => wish.to = Some(value()?),
                "--fds" => wish.fds = value()?.parse()?,
                "--connect" => wish.connects = true,
                "--nonblock" => wish.waits = false,
                "--may-fail" => wish.may_fail = true,
                "--number" => wish.number = Some(value()?),
                "--times" => wish.times = value()?.parse()?,
                "--every-ms" => wish.every = Duration::from_millis(value()?.parse()?),
                "--claim" => wish.claims = Some(value()?.parse()?),
                "--stay-ms" => wish.stays = Duration::from_millis(value()?.parse()?),
                text => wish.text = text,
            }
        }
        Ok(wish)
    }
}

/// Sends a text, in which `\n`, `\0` and `@NOW` (the monotonic clock in microseconds) have a
/// meaning, to `NOTIFY_SOCKET` or where `--to` says.
pub fn run(words: &[&str]) -> Result<ExitCode> {
    let wish = Wish::of(words)?;
    let given = env::var("NOTIFY_SOCKET").ok();
    let to = wish
        .to
        .or(given.as_deref())
        .context("NOTIFY_SOCKET is not set")?;
    let socket = datagram_socket()?;
    let result = send_all(&wish, to, socket.as_fd());
    thread::sleep(wish.stays);
    match result {
        Err(error) if wish.may_fail => {
            eprintln!("{error:#}");
            Ok(ExitCode::SUCCESS)
        }
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

fn send_all(wish: &Wish<'_>, to: &str, socket: BorrowedFd<'_>) -> Result<()> {
    let address = match to.strip_prefix('@') {
        Some(name) => [b"\0", name.as_bytes()].concat(),
        None => to.as_bytes().to_vec(),
    };
    if wish.connects {
        socket::connect(socket, &address).with_context(|| format!("could not connect to {to}"))?;
    }
    let null = fs::File::open("/dev/null").ok();
    let fds: Vec<BorrowedFd<'_>> = null
        .iter()
        .flat_map(|null| std::iter::repeat_n(null.as_fd(), wish.fds))
        .collect();
    let credentials = wish.claims.map(|pid| Credentials {
        pid,
        uid: 0,
        gid: 0,
    });
    for number in 0..wish.times {
        if number > 0 {
            thread::sleep(wish.every);
        }
        let mut text = wish.text.replace("\\n", "\n").replace("\\0", "\0");
        if text.contains("@NOW") {
            let now_usec = raw::process::monotonic_ns() / 1_000;
            text = text.replace("@NOW", &now_usec.to_string());
        }
        if let Some(name) = wish.number {
            text = format!("{text}\n{name}{}", number + 1)
                .trim_start()
                .to_owned();
        }
        let message = Message {
            to: (!wish.connects).then_some(&*address),
            parts: &[text.as_bytes()],
            fds: &fds,
            credentials,
            flags: if wish.waits { 0 } else { DONT_WAIT },
            ..Message::default()
        };
        socket::send_message(socket, &message)
            .with_context(|| format!("could not send to {to}"))?;
    }
    Ok(())
}

/// One process that sends from one cgroup after the other to a socket of its own, and reads it: from
/// so many units, and in each from so many cgroups.
pub fn from_many(prefix: &str, units: u32, cgroups: u32, path: &str, text: &str) -> Result<()> {
    let socket = datagram_socket()?;
    socket::bind(socket.as_fd(), path.as_bytes())
        .with_context(|| format!("could not bind {path}"))?;
    let root = procfs::cgroup_root().context("there are no cgroups")?;
    let mut buffer = [0; 4096];
    let mut last: Vec<PathBuf> = Vec::new();
    for unit in 0..units {
        let folder = root.join(format!("{prefix}-{unit}.service"));
        for number in 0..cgroups {
            let cgroup = folder.join(number.to_string());
            fs::create_dir_all(&cgroup)
                .and_then(|()| fs::write(cgroup.join("cgroup.procs"), "0"))
                .with_context(|| format!("could not enter {}", cgroup.display()))?;
            // Nobody is in those before any more.
            for left in last.drain(..) {
                fs::remove_dir(&left)
                    .with_context(|| format!("could not remove {}", left.display()))?;
            }
            last.push(cgroup);
            socket::send_to(socket.as_fd(), text.as_bytes(), path.as_bytes(), 0)
                .with_context(|| format!("could not send to {path}"))?;
            socket::receive(socket.as_fd(), &mut buffer, 0).context("nothing came")?;
            // What is tried is how many there are, not how fast they come.
            thread::sleep(Duration::from_micros(500));
        }
        last.push(folder);
    }
    Ok(())
}

/// One process that serves many containers: binds each of the paths, passes on whatever comes as it
/// is, to `NOTIFY_SOCKET`, until it has passed on as many as `--times` says.
pub fn relay(words: &[&str]) -> Result<ExitCode> {
    let [times, paths @ ..] = words else {
        bail!("usage: relay TIMES PATH…");
    };
    let mut left: u64 = times.parse()?;
    let to = env::var("NOTIFY_SOCKET").context("NOTIFY_SOCKET is not set")?;
    let sockets = paths
        .iter()
        .map(|path| {
            let socket = datagram_socket()?;
            socket::bind(socket.as_fd(), path.as_bytes())
                .with_context(|| format!("could not bind {path}"))?;
            Ok(socket)
        })
        .collect::<Result<Vec<_>>>()?;
    let out = datagram_socket()?;
    let mut buffer = [0; 4096];
    while left > 0 {
        for socket in &sockets {
            let Ok(received) = socket::receive(socket.as_fd(), &mut buffer, DONT_WAIT) else {
                continue;
            };
            let bytes = &buffer[..received.length.min(buffer.len())];
            socket::send_to(out.as_fd(), bytes, to.as_bytes(), 0)
                .with_context(|| format!("could not send to {to}"))?;
            left -= 1;
        }
        thread::sleep(Duration::from_millis(2));
    }
    // The manager looks for its unit when it reads the last one.
    if !sockets.is_empty() && times != &"0" {
        thread::sleep(Duration::from_millis(500));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what a service says, by the crate that Rust programs use for it, from the beginning to the end.
pub fn by_crate() -> Result<()> {
    let say = |state: &[NotifyState<'_>]| sd_notify::notify(state).context("could not notify");
    say(&[NotifyState::Status("Loading")])?;
    say(&[NotifyState::ExtendTimeoutUsec(5_000_000)])?;
    say(&[NotifyState::Ready, NotifyState::Status("Serving")])?;
    if sd_notify::watchdog_enabled().is_some() {
        say(&[NotifyState::Watchdog])?;
    }
    say(&[NotifyState::Stopping])
}
