//! What is printed on the standard error while the terminal is the view's: it would stand in the
//! middle of it, so it is kept and printed when the terminal is given back.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::stdio::dup2_stderr;

/// Most bytes that are printed again, the first ones.
const MOST: usize = 64 << 10;

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// The standard error as it was, and what is printed meanwhile.
#[derive(Debug)]
struct Kept {
    before: OwnedFd,
    text: File,
}

/// From now on what is printed on the standard error is kept, if that is a terminal.
///
/// # Errors
/// If there is no memory or no descriptor for it.
pub(super) fn begin() -> io::Result<()> {
    let stderr = io::stderr();
    if !stderr.is_terminal() {
        return Ok(());
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        let text = File::from(memfd_create("notify-trace-stderr", MemfdFlags::CLOEXEC)?);
        let before = stderr.as_fd().try_clone_to_owned()?;
        dup2_stderr(&text)?;
        *kept = Some(Kept { before, text });
    }
    Ok(())
}

/// The standard error is as it was, and what was kept is printed.
pub(super) fn end() {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Kept { before, text }) = kept {
        // Nothing can be done about a terminal that is gone.
        let _ = dup2_stderr(&before);
        let _ = copy(&text, &mut io::stderr().lock());
    }
}

/// Copies what was written to a file from its beginning, wherever it is now.
fn copy(from: &File, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = vec![0; MOST];
    let length = from.read_at(&mut bytes, 0)?;
    to.write_all(&bytes[..length])?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_printed_meanwhile_is_printed_later() {
        let mut file =
            File::from(memfd_create("test", MemfdFlags::CLOEXEC).expect("there is memory"));
        file.write_all(b"one\n").expect("there is memory");
        file.write_all(b"two\n").expect("there is memory");
        let mut copied = Vec::new();
        copy(&file, &mut copied).expect("a vector takes all");
        assert_eq!(copied, b"one\ntwo\n");
    }
}
