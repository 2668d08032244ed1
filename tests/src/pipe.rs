//! Lines between the processes of a case, through pipes, never without a deadline.

use std::{
    io::{PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::raw;

/// How long one part of a case waits for another: far longer than any takes on an emulated CPU.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How long the driver waits for a case, which may wait for several things.
pub const DEADLINE_OF_CASE: Duration = Duration::from_secs(100);

/// The reading end.
#[derive(Debug)]
pub struct Lines {
    pipe: PipeReader,
    waiting: Vec<u8>,
}

/// A pipe.
pub fn pipe() -> Result<(Lines, PipeWriter)> {
    let (reader, writer) = std::io::pipe().context("could not make a pipe")?;
    Ok((
        Lines {
            pipe: reader,
            waiting: Vec::new(),
        },
        writer,
    ))
}

impl Lines {
    /// The next line, without its end.
    pub fn next(&mut self, what: &str) -> Result<String> {
        self.next_within(DEADLINE, what)
    }

    /// The next line, without its end, if it comes within this time.
    pub fn next_within(&mut self, time: Duration, what: &str) -> Result<String> {
        let end = Instant::now() + time;
        let mut searched = 0;
        loop {
            if let Some(at) = self.waiting[searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let rest = self.waiting.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.waiting, rest);
                line.pop();
                return String::from_utf8(line).with_context(|| what.to_owned());
            }
            searched = self.waiting.len();
            let left = end.saturating_duration_since(Instant::now()).as_millis();
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            let (is_ready, _) = raw::socket::poll_two(self.pipe.as_fd(), self.pipe.as_fd(), left)
                .with_context(|| what.to_owned())?;
            if !is_ready {
                // QEMU's emulated CPUs, when each is a thread, let poll(2) end early now and then.
                ensure!(Instant::now() < end, "{what}: nothing came within {time:?}");
                continue;
            }
            let mut buffer = [0; 16_384];
            match self
                .pipe
                .read(&mut buffer)
                .with_context(|| what.to_owned())?
            {
                0 => bail!("{what}: the other process ended"),
                read => self.waiting.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// Writes a line.
pub fn say(pipe: &mut PipeWriter, line: &str) -> Result<()> {
    pipe.write_all(format!("{line}\n").as_bytes())
        .context("nobody reads the pipe")
}

/// Waits for a fact that the kernel doesn't announce: looks, and looks again.
pub fn until<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(DEADLINE, what, look)
}

/// The same with another patience.
pub fn until_within<T>(
    time: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + time;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("{what}: not so after {} s", time.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
