//! What the agent tells its service manager, in the protocol that it traces (`sd_notify(3)`).
//!
//! A manager that does not read would block whoever tells it something, so a thread of its own does.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::escape;
use crate::privileges::{self, Role};
use crate::words;

/// Most messages that wait for a manager that does not read.
const WAITING: usize = 16;

/// Most cells of a status: systemd drops what is longer than 4096 bytes, with all that comes with it.
const LONGEST: usize = 900;

/// Something to tell.
#[derive(Debug)]
enum Message {
    Ready(String),
    Status(String),
    Reloading,
    Stopping,
    Ping,
}

/// The service manager that waits for us.
#[derive(Debug)]
pub struct Service {
    messages: SyncSender<Message>,
    watchdog: Option<Duration>,
}

impl Service {
    /// If there is one: `NOTIFY_SOCKET` names its socket.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn start() -> std::io::Result<Option<Self>> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(None);
        }
        let (messages, waiting) = sync_channel(WAITING);
        std::thread::Builder::new()
            .name("service".to_owned())
            .spawn(move || {
                privileges::enter(Role::Talk);
                pass_on(&waiting);
            })?;
        Ok(Some(Self {
            messages,
            // sd_watchdog_enabled(3): at least every half of the time.
            watchdog: sd_notify::watchdog_enabled().map(|time| time / 2),
        }))
    }

    /// How often the manager wants to hear something.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Everything is attached, or settings were read anew.
    pub fn ready(&self, status: &str) {
        self.tell(Message::Ready(words::cut(status, LONGEST)));
    }

    /// How it is.
    pub fn status(&self, status: &str) {
        self.tell(Message::Status(words::cut(status, LONGEST)));
    }

    /// Settings are read anew.
    pub fn reloading(&self) {
        self.tell(Message::Reloading);
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell(Message::Stopping);
    }

    /// We are well. Called by whoever reads the rings, so that it is true.
    pub fn ping(&self) {
        self.tell(Message::Ping);
    }

    fn tell(&self, message: Message) {
        match self.messages.try_send(message) {
            // Full: a manager that hears nothing.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

fn pass_on(messages: &Receiver<Message>) {
    let mut is_told = false;
    while let Ok(message) = messages.recv() {
        let result = match &message {
            Message::Ready(status) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
            }
            Message::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Message::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
            Message::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            Message::Ping => sd_notify::notify(&[NotifyState::Watchdog]),
        };
        if let Err(error) = result
            && !std::mem::replace(&mut is_told, true)
        {
            eprintln!(
                "notify-trace: the service manager can't be told how it is: {}",
                escape::escape(error.to_string().as_bytes())
            );
        }
    }
}
