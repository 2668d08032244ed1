//! The agent: what `trace` does, for as long as a host runs, as a service of systemd.
//!
//! ```text
//! pipeline ──events──▶ Agent (a sink) ──▶ store · metrics ──▶ otlp
//!                        └──▶ service (READY=1, STATUS=, watchdog), a thread of its own
//! ```
//!
//! Nothing that it hands events to can hold up the capture: the store, the metrics' server and the
//! service manager have threads of their own.

#[cfg(feature = "metrics")]
mod counted;
#[cfg(feature = "otlp")]
mod sent;
mod service;
mod status;

use std::io;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "metrics")]
pub use self::counted::Counted;
#[cfg(feature = "otlp")]
pub use self::sent::Sent;
pub use self::service::Service;
use self::status::{Seen, Unsaid};
use crate::event::Event;
use crate::privileges::{self, Role};
#[cfg(feature = "metrics")]
use crate::sink::Reading;
use crate::sink::Sink;
use crate::store::{Limits, Store};
use crate::view::ViewOptions;

/// How often a status is told, if it has changed.
const STATUS: Duration = Duration::from_secs(60);

/// How soon after an event, at the earliest.
const SOON: Duration = Duration::from_secs(1);

/// Settings that were read anew.
#[derive(Debug)]
pub struct Reloaded {
    /// What is shown from now on; `None`: as before.
    pub view: Option<ViewOptions>,
    /// Within which limits it is recorded.
    pub limits: Limits,
    /// How many units and containers are counted each on their own.
    pub units: usize,
    /// What holds only after a restart, for the status.
    pub note: Option<String>,
}

/// Reads settings anew, or says what is wrong with them: nothing changes then.
pub type Reread = Box<dyn FnMut() -> Result<Reloaded, String>>;

/// Records, counts, and tells the service manager how it is.
pub struct Agent {
    store: Option<Store>,
    #[cfg(feature = "metrics")]
    counted: Option<Counted>,
    #[cfg(feature = "otlp")]
    sent: Option<Sent>,
    service: Option<Service>,
    reread: Reread,
    seen: Seen,
    told: String,
    next_status: Option<Instant>,
    next_ping: Option<Instant>,
    /// What was lost, and of whom, since the journal was told.
    unsaid: Unsaid,
    next_complaint: Option<Instant>,
}

impl Agent {
    /// With what there is.
    #[must_use]
    pub fn new(store: Option<Store>, service: Option<Service>, reread: Reread) -> Self {
        Self {
            store,
            #[cfg(feature = "metrics")]
            counted: None,
            #[cfg(feature = "otlp")]
            sent: None,
            service,
            reread,
            seen: Seen::default(),
            told: String::new(),
            next_status: None,
            next_ping: None,
            unsaid: Unsaid::default(),
            next_complaint: None,
        }
    }

    /// And counts.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn counting(mut self, counted: Counted) -> Self {
        self.counted = Some(counted);
        self
    }

    /// And sends.
    #[cfg(feature = "otlp")]
    #[must_use]
    pub fn sending(mut self, sent: Sent) -> Self {
        self.sent = Some(sent);
        self
    }

    /// Stores an event, and counts it.
    #[cfg(feature = "metrics")]
    fn keep(&mut self, event: &Event) -> io::Result<()> {
        match (&mut self.store, &mut self.counted) {
            (Some(store), Some(counted)) => {
                store.take(event, &mut |rows| counted.metrics.take(event, rows))
            }
            (Some(store), None) => store.event(event),
            (None, Some(counted)) => {
                counted.event(event);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// Stores an event.
    #[cfg(not(feature = "metrics"))]
    fn keep(&mut self, event: &Event) -> io::Result<()> {
        match &mut self.store {
            Some(store) => store.event(event),
            None => Ok(()),
        }
    }

    /// The store, to ask it how it went.
    #[must_use]
    pub const fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    fn status(&self) -> String {
        let condition = self.store.as_ref().map(Store::condition);
        #[cfg(feature = "otlp")]
        let sending = self.sent.as_ref().map(Sent::words);
        #[cfg(not(feature = "otlp"))]
        let sending = None;
        self.seen.words(condition.as_ref(), sending)
    }

    /// Whether what it passes on goes nowhere, for now, or that isn't known yet.
    fn is_unsettled(&self) -> bool {
        let condition = self.store.as_ref().map(Store::condition);
        let is_stuck = condition.is_some_and(|condition| condition.trouble.is_some());
        #[cfg(feature = "otlp")]
        let is_stuck = is_stuck || self.sent.as_ref().is_some_and(|sent| !sent.is_settled());
        is_stuck
    }

    fn tell_status(&mut self, now: Instant) {
        let status = self.status();
        if let Some(service) = &self.service
            && status != self.told
        {
            service.status(&status);
            self.told = status;
        }
        // The next event asks for it again, for whoever is idle has nothing to tell; but that trouble is over.
        self.next_status = self.is_unsettled().then(|| now + STATUS);
        self.seen.told_at = Some(now);
    }

    /// Says in the journal what was lost: the first at once, what follows all together.
    fn complain(&mut self, now: Instant) {
        if let Some(loss) = self.unsaid.take() {
            eprintln!("notify-trace: lost: {loss}");
            self.next_complaint = Some(now + STATUS);
        } else {
            self.next_complaint = None;
        }
    }

    /// Something has happened that the status should tell, some time.
    fn has_news(&mut self) {
        if self.service.is_some() && self.next_status.is_none() {
            let now = Instant::now();
            let told_at = self.seen.told_at.unwrap_or(now);
            // What comes is stored, or not, a moment later.
            self.next_status = Some((told_at + STATUS).max(now + SOON));
        }
    }
}

impl Sink for Agent {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.seen.event(event);
        if let Event::Loss(loss) = event {
            self.unsaid.add(loss);
            if self.next_complaint.is_none() {
                self.complain(Instant::now());
            }
        }
        #[cfg(feature = "otlp")]
        if let (Event::Session(session), Some(sent)) = (event, &self.sent) {
            sent.begin(session);
        }
        self.keep(event)?;
        if matches!(event, Event::Session(_)) {
            // Everything is attached.
            privileges::enter(Role::Capture);
            let now = Instant::now();
            let status = self.status();
            if let Some(service) = &self.service {
                service.ready(&status);
                self.next_ping = service.watchdog().map(|interval| now + interval);
            }
            self.told = status;
            self.seen.told_at = Some(now);
        } else {
            self.has_news();
        }
        #[cfg(feature = "otlp")]
        if let Some(sent) = &self.sent {
            sent.has_more();
        }
        Ok(())
    }

    #[cfg(feature = "metrics")]
    fn reading(&mut self, reading: Reading) {
        if let Some(counted) = &self.counted {
            counted.metrics.reading(reading);
        }
    }

    fn wakes_at(&self) -> Option<Instant> {
        [self.next_ping, self.next_status, self.next_complaint]
            .into_iter()
            .flatten()
            .min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        if let Some(service) = &self.service
            && self.next_ping.is_some_and(|at| at <= now)
        {
            service.ping();
            self.next_ping = service.watchdog().map(|interval| now + interval);
        }
        if self.next_status.is_some_and(|at| at <= now) {
            self.tell_status(now);
        }
        if self.next_complaint.is_some_and(|at| at <= now) {
            self.complain(now);
        }
    }

    fn reload(&mut self) -> Option<ViewOptions> {
        if let Some(service) = &self.service {
            service.reloading();
        }
        let view = match (self.reread)() {
            Ok(reloaded) => {
                if let Some(store) = &self.store {
                    store.set_limits(reloaded.limits);
                }
                #[cfg(feature = "metrics")]
                if let Some(counted) = &self.counted {
                    counted.metrics.set_units(reloaded.units);
                }
                self.seen.note = reloaded.note;
                reloaded.view
            }
            Err(why) => {
                self.seen.note = Some(format!("settings are those of before: {why}"));
                None
            }
        };
        if let Some(note) = &self.seen.note {
            eprintln!("notify-trace: {note}");
        }
        let status = self.status();
        if let Some(service) = &self.service {
            service.ready(&status);
        }
        view
    }

    fn stopping(&mut self) {
        if let Some(service) = &self.service {
            service.stopping();
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let result = match &mut self.store {
            Some(store) => store.finish(),
            None => Ok(()),
        };
        // What is stored now can be sent.
        #[cfg(feature = "otlp")]
        if let Some(sent) = &mut self.sent {
            sent.finish();
        }
        result
    }
}
