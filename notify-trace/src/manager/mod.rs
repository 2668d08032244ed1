//! What service managers of systemd say of units: asked over D-Bus, beside the stream of events.
//!
//! ```text
//! Event ──▶ asker (which unit, when) ──▶ worker, a thread of its own ──▶ bus ──▶ UnitState
//! ```
//!
//! The trace never waits for it: a manager that does not answer costs a fact, nothing else. The
//! managers' private sockets are used, so neither a bus daemon nor a finished boot is needed.

mod asker;
mod bus;
mod processes;
mod properties;
mod sender;
mod worker;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use self::asker::Asker;
use crate::enrich::clock;
use crate::event::{Event, UnitState};
use crate::privileges::{self, Role};
use crate::unit::UnitKey;

/// Most questions that wait. More is a flood, of which the first say enough.
const QUESTIONS: usize = 1_024;

/// Most answers that wait to be read.
const ANSWERS: usize = 1_024;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ask {
    /// What about this unit, not before that moment?
    Unit { key: UnitKey, at_ns: u64 },
    /// This manager may be asked, and listened to, from now on.
    Manager { user: Option<u32> },
}

/// Asks, and gets answers.
#[derive(Debug)]
pub struct Managers {
    asker: Asker,
    questions: Sender<Ask>,
    answers: Receiver<UnitState>,
}

impl Managers {
    /// Starts to listen to the system's manager.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub fn start() -> std::io::Result<Self> {
        let (questions, asked) = channel(QUESTIONS);
        let (answer, answers) = channel(ANSWERS);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        std::thread::Builder::new()
            .name("managers".to_owned())
            .spawn(move || {
                privileges::enter(Role::Look);
                runtime.block_on(worker::run(asked, answer));
            })?;
        let it = Self {
            asker: Asker::default(),
            questions,
            answers,
        };
        it.ask(Ask::Manager { user: None });
        Ok(it)
    }

    /// Looks at an event: it may be a reason to ask.
    pub fn look(&mut self, event: &Event) {
        for ask in self.asker.look(event, clock::now()) {
            self.ask(ask);
        }
    }

    /// The next answer; never, if the managers can't be asked any more.
    pub async fn answer(&mut self) -> UnitState {
        match self.answers.recv().await {
            Some(state) => state,
            None => std::future::pending().await,
        }
    }

    fn ask(&self, ask: Ask) {
        // Full: see `QUESTIONS`.
        let _ = self.questions.try_send(ask);
    }
}

/// Whether the system's manager can be asked; else why not, for a warning.
#[must_use]
pub fn trouble() -> Option<String> {
    bus::trouble()
}
