//! What waits to be sent: taken out of the outbox page by page, translated, and noted when it is done.
//!
//! Each event that was recorded ends up in one count: taken, lost for a reason, or waiting.

use std::collections::VecDeque;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::translate::{Item, Kinds, Translator, resource};
use super::{Source, Told};
use crate::event::Session;
use crate::metrics::SendingState;
use crate::store::{Expired, Outbox, Page, StoreError};

/// Bytes of recorded lines that are read at once.
const PAGE_BYTES: usize = 512 << 10;

/// Bytes of lines before the first that is sent which are read for what follows of them.
const PRIME_BYTES: usize = 4 << 20;

/// After so many failures in a row it is said that a position can't be noted.
const UNNOTED: u32 = 3;

/// A session that is being sent.
struct Sent {
    id: i64,
    /// It is that of this run.
    is_ours: bool,
    resource: Resource,
    translator: Translator,
    /// Translated and not taken yet.
    items: VecDeque<Item>,
    /// How many events of it are taken.
    taken: u64,
    /// So many of the items have their log records sent already.
    logged: usize,
}

/// The first of what waits: as much as fits into a request.
pub(super) struct Batch {
    pub(super) items: usize,
    /// About so many, encoded.
    pub(super) bytes: usize,
    pub(super) resource: Resource,
    /// Those that were not sent yet.
    pub(super) logs: Vec<LogRecord>,
    pub(super) spans: Vec<Span>,
}

/// All that waits.
pub(super) struct Pending {
    source: Source,
    kinds: Kinds,
    state: SendingState,
    outbox: Option<Outbox>,
    sent: Option<Sent>,
    /// Events of this run that were taken, or lost.
    ours: u64,
    /// Events of earlier runs that wait in the recording.
    earlier: u64,
    /// Events of this run that were stored in files that are gone.
    removed: u64,
    /// How often in a row a position could not be noted.
    unnoted: u32,
}

impl Pending {
    pub(super) fn new(source: Source, kinds: Kinds, state: SendingState) -> Self {
        Self {
            source,
            kinds,
            state,
            outbox: None,
            sent: None,
            ours: 0,
            earlier: 0,
            removed: 0,
            unnoted: 0,
        }
    }

    /// Returns when more was stored.
    pub(super) async fn more_is_stored(&self) {
        self.source.watch.more_is_stored().await;
    }

    /// Whether nothing is read ahead.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.as_ref().is_none_or(|sent| sent.items.is_empty())
    }

    /// Reads more, if nothing is left: whether there is something.
    ///
    /// # Errors
    /// If the recording can't be read.
    pub(super) fn fill(&mut self, told: &Told) -> Result<bool, StoreError> {
        self.look(told)?;
        if !self.is_empty() {
            return Ok(true);
        }
        let Some(outbox) = &mut self.outbox else {
            return Ok(false);
        };
        let Some(page) = outbox.next(PAGE_BYTES)? else {
            return Ok(false);
        };
        if self.sent.as_ref().is_none_or(|it| it.id != page.session) {
            self.sent = Some(Sent::begin(outbox, &page, self.kinds, told)?);
        }
        // A limit was quicker than this look.
        if page.skipped > 0 {
            self.expire(Expired {
                session: page.session,
                is_ours: self.sent.as_ref().is_some_and(|sent| sent.is_ours),
                first: page.first - page.skipped,
                behind: page.first,
            });
        }
        let Some(sent) = &mut self.sent else {
            return Ok(false);
        };
        sent.items = sent.translator.page(&page);
        sent.taken = page.first;
        sent.logged = 0;
        if page.damaged > 0 {
            self.step_over(page.damaged);
            return Ok(true);
        }
        Ok(!self.is_empty())
    }

    /// How much waits now, what has expired, and whether the file is still there.
    ///
    /// # Errors
    /// If the recording can't be read.
    pub(super) fn look(&mut self, told: &Told) -> Result<(), StoreError> {
        // Nothing is read or written where another file may be by now.
        if self.outbox.as_ref().is_some_and(Outbox::is_gone) {
            self.outbox = None;
            self.sent = None;
        }
        let outbox = match &mut self.outbox {
            Some(outbox) => outbox,
            None => match Outbox::open(&self.source.path) {
                Ok(outbox) => self.outbox.insert(outbox),
                // Whoever records makes it, sooner or later.
                Err(StoreError::Io { .. } | StoreError::NotARecording { .. }) => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        let ours = told.session();
        let backlog = outbox.backlog(ours.as_deref())?;
        // What was stored in a file that is gone, and not taken before, is lost.
        let removed = self.source.watch.condition().removed;
        if removed > self.removed {
            let lost = removed.saturating_sub(self.ours) + self.earlier;
            self.state.change(|state| state.removed_events += lost);
            self.ours = self.ours.max(removed);
            self.removed = removed;
        }
        self.earlier = backlog.waiting_of_others;
        self.state
            .change(|state| state.waiting_events = backlog.waiting);
        for expired in backlog.expired {
            self.expire(expired);
        }
        Ok(())
    }

    /// Events are gone: what was made of them and was not sent is forgotten with them.
    fn expire(&mut self, expired: Expired) {
        let events = expired.behind - expired.first;
        let mut lost = events;
        if let Some(sent) = self.sent.as_mut().filter(|it| it.id == expired.session) {
            let count = sent.items.partition_point(|it| it.taken <= expired.behind);
            // Their log records were sent: they count as taken.
            let logged = sent.logged.min(count);
            let last = logged.checked_sub(1).and_then(|last| sent.items.get(last));
            let done = last.map_or(0, |last| last.taken.saturating_sub(expired.first));
            sent.items.drain(..count);
            sent.logged -= logged;
            sent.taken = sent.taken.max(expired.behind);
            lost = lost.saturating_sub(done);
            self.state.change(|state| state.taken_events += done);
        }
        if expired.is_ours {
            self.ours += events;
        }
        self.state.change(|state| state.expired_events += lost);
    }

    /// The next events can't be read: those behind them can.
    fn step_over(&mut self, events: u64) {
        let Some(sent) = &mut self.sent else { return };
        sent.taken += events;
        let (session, taken) = (sent.id, sent.taken);
        if sent.is_ours {
            self.ours += events;
        }
        self.state.change(|state| state.damaged_events += events);
        eprintln!(
            "notify-trace: OTLP: {events} events of the recording are damaged and can't be sent"
        );
        self.note(session, taken);
    }

    /// As much of what waits as fits.
    pub(super) fn batch(&self, limit_bytes: usize) -> Option<Batch> {
        let sent = self.sent.as_ref().filter(|sent| !sent.items.is_empty())?;
        let (items, bytes) = fitting(&sent.items, limit_bytes);
        let first = sent.items.iter().take(items);
        let unsent = first.clone().skip(sent.logged);
        Some(Batch {
            items,
            bytes,
            resource: sent.resource.clone(),
            logs: unsent.flat_map(|it| it.logs.clone()).collect(),
            spans: first.flat_map(|it| it.spans.clone()).collect(),
        })
    }

    /// The log records of the first items are sent.
    pub(super) fn logged(&mut self, items: usize) {
        if let Some(sent) = &mut self.sent {
            sent.logged = sent.logged.max(items);
        }
    }

    /// The first items are done.
    pub(super) fn take(&mut self, items: usize) {
        let Some(sent) = &mut self.sent else { return };
        let Some(last) = sent.items.drain(..items).next_back() else {
            return;
        };
        sent.logged = sent.logged.saturating_sub(items);
        let events = last.taken.saturating_sub(sent.taken);
        sent.taken = last.taken;
        if sent.is_ours {
            self.ours += events;
        } else {
            self.earlier = self.earlier.saturating_sub(events);
        }
        let session = sent.id;
        self.state.change(|state| {
            state.taken_events += events;
            state.waiting_events = state.waiting_events.saturating_sub(events);
        });
        self.note(session, last.taken);
    }

    fn note(&mut self, session: i64, taken: u64) {
        let Some(outbox) = self.outbox.as_mut().filter(|outbox| !outbox.is_gone()) else {
            return;
        };
        match outbox.take(session, taken) {
            Ok(()) => self.unnoted = 0,
            Err(error) => {
                self.unnoted += 1;
                if self.unnoted == UNNOTED {
                    eprintln!(
                        "notify-trace: OTLP: {}; after a restart some is sent again",
                        error.words()
                    );
                }
            }
        }
    }
}

impl Sent {
    fn begin(
        outbox: &mut Outbox,
        page: &Page,
        kinds: Kinds,
        told: &Told,
    ) -> Result<Self, StoreError> {
        let session = outbox.session(page.session)?;
        let mut translator = Translator::new(&session, kinds);
        if page.first > 0 {
            translator.prime(&outbox.before(page.session, page.first, PRIME_BYTES)?);
        }
        let ours = told.session();
        Ok(Self {
            id: page.session,
            is_ours: ours.is_some_and(|ours| is_same(&ours, &session)),
            resource: resource(&session),
            translator,
            items: VecDeque::new(),
            taken: page.first,
            logged: 0,
        })
    }
}

/// Whether these are the same session.
fn is_same(one: &Session, other: &Session) -> bool {
    (&one.boot_id, one.monotonic_ns) == (&other.boot_id, other.monotonic_ns)
}

/// How many of the first items fit, at least one, and their bytes.
fn fitting(items: &VecDeque<Item>, limit_bytes: usize) -> (usize, usize) {
    let mut all = 0;
    for (count, item) in items.iter().enumerate() {
        let logs = item.logs.iter().map(LogRecord::encoded_len);
        let spans = item.spans.iter().map(Span::encoded_len);
        let bytes: usize = logs.chain(spans).sum();
        if count > 0 && all + bytes > limit_bytes {
            return (count, all);
        }
        all += bytes;
    }
    (items.len(), all)
}
