//! The command that is traced: its start, its end, the signals that are passed on to it.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};

/// The traced command.
pub(super) struct Running(Option<Child>);

impl Running {
    pub(super) fn start(command: &[OsString]) -> Result<Self> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(Self(None));
        };
        let child = Command::new(program)
            .args(arguments)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot run {}",
                    crate::escape::escape(program.as_encoded_bytes())
                )
            })?;
        Ok(Self(Some(child)))
    }

    pub(super) const fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for its end; for ever, if there is none.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.0 else {
            return std::future::pending().await;
        };
        let status = child.wait().await;
        self.0 = None;
        status
    }

    /// Passes a signal on. The terminal itself has given SIGINT to the command already.
    pub(super) fn forward(&self, signal: i32) {
        let pid = self
            .0
            .as_ref()
            .and_then(Child::id)
            .and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
            && signal != rustix::process::Signal::INT.as_raw()
            && let Some(signal) = rustix::process::Signal::from_named_raw(signal)
        {
            // Gone meanwhile: then its end is what comes next.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}
