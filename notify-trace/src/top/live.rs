//! What the pipeline and the screen share, and the sink between them.
//!
//! The pipeline holds the lock while it takes an event, the screen while it makes a picture, whose
//! rows are shared: neither waits for the terminal.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::draw::Frame;
use super::screen::Screen;
use super::state::{Picture, State};
use crate::correlate::outcome::Outcome;
use crate::enrich::clock;
use crate::event::Event;
use crate::sink::Sink;

/// What both share.
#[derive(Debug, Default)]
pub struct Shared {
    state: Mutex<State>,
    /// Grows with each change.
    version: AtomicU64,
    is_ended: AtomicBool,
    trouble: Mutex<Option<String>>,
    /// Time goes on though nothing happens.
    is_live: bool,
}

impl Shared {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(is_live: bool) -> Self {
        Self {
            is_live,
            ..Self::default()
        }
    }

    /// Changes what is known.
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// How often something changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is known now.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let now_ns = self.is_live.then(clock::now);
        lock(&self.state).picture(now_ns)
    }

    /// Nothing is to be drawn any more.
    pub fn end(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
    }

    /// Whether that was said.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::SeqCst)
    }

    /// Why nothing could be drawn any more.
    pub fn fail(&self, why: String) {
        lock(&self.trouble).get_or_insert(why);
    }

    /// The same, for whoever reports it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).take()
    }
}

/// What a panic left is good enough to be drawn.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes events, and opens the screen with the first: an error before it is printed as any other.
#[derive(Debug)]
pub struct Top {
    shared: Arc<Shared>,
    frame: Option<Frame>,
    screen: Option<Screen>,
}

impl Top {
    /// Draws as `frame` says; without, somebody else opens the screen.
    #[must_use]
    pub const fn new(shared: Arc<Shared>, frame: Option<Frame>) -> Self {
        Self {
            shared,
            frame,
            screen: None,
        }
    }
}

impl Sink for Top {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.shared.change(|state| state.event(event));
        if let Some(frame) = self.frame.take() {
            self.screen = Some(Screen::open(Arc::clone(&self.shared), frame)?);
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: &Outcome) -> io::Result<()> {
        self.shared.change(|state| state.outcome(outcome));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(screen) = self.screen.take() {
            screen.close();
        }
        Ok(())
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        if let Some(screen) = self.screen.take() {
            screen.close();
        }
    }
}
