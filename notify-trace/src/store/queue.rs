//! Events that wait to be stored, bounded: whoever brings them never waits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::file::{Begun, Limits};
use crate::study::row::Rows;

/// How long events are gathered before they are stored together.
const GATHER: Duration = Duration::from_millis(200);

/// How long a disk may take before that is trouble.
const SLOW: Duration = Duration::from_secs(5);

/// How long events that were dropped are spoken of.
const DROPPED_LATELY: Duration = Duration::from_secs(60);

/// So many bytes are stored at once, however soon they came.
const GATHER_BYTES: usize = 1 << 20;

/// Lines of one session, to be stored together.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// They are the first of this session.
    pub(super) begins: Option<Box<Begun>>,
    pub(super) lines: Vec<u8>,
    /// What is drawn from these lines and from those before.
    pub(super) rows: Rows,
    /// Memory of both.
    pub(super) bytes: usize,
    pub(super) events: u64,
    pub(super) first_us: i64,
    pub(super) last_us: i64,
    /// The last of them is the summary.
    pub(super) is_last: bool,
    /// Events that came before, or between, and had no room.
    pub(super) dropped: u64,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// Bytes that were taken and are not stored yet.
    taken_bytes: usize,
    /// Since when.
    taken_at: Option<Instant>,
    /// When something had no room last.
    dropped_at: Option<Instant>,
    /// The thread that stores is gone.
    is_dead: bool,
    /// When the first of them came.
    since: Option<Instant>,
    dropped: u64,
    dropped_in_all: u64,
    is_closed: bool,
    /// What was told before is gone.
    is_forgotten: bool,
    /// Events that were stored in files that are gone.
    removed: u64,
    stored: u64,
    /// Why what was taken is not stored yet.
    trouble: Option<String>,
    /// Limits that hold from now on.
    limits: Option<Limits>,
}

/// How recording stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Events that are stored.
    pub stored: u64,
    /// Memory of what waits to be stored.
    pub waiting_bytes: u64,
    /// Events of these that were stored in a file that somebody removed.
    pub removed: u64,
    /// Events that had no room and are not stored.
    pub dropped: u64,
    /// What the disk said last, if it does not take what waits.
    pub trouble: Option<String>,
}

impl State {
    /// Why what comes is not stored, or not soon.
    fn trouble(&self) -> Option<String> {
        if self.is_dead {
            return Some("the thread that records has ended".to_owned());
        }
        let is_since = |at: Option<Instant>, time| at.is_some_and(|at| at.elapsed() >= time);
        if let Some(trouble) = &self.trouble {
            return Some(trouble.clone());
        }
        if is_since(self.taken_at, SLOW) {
            return Some(format!(
                "the disk has not answered for {} s",
                SLOW.as_secs()
            ));
        }
        let has_dropped = self
            .dropped_at
            .is_some_and(|at| at.elapsed() < DROPPED_LATELY);
        has_dropped.then(|| "the disk is too slow for what comes: events were dropped".to_owned())
    }
}

/// What the thread that stores does next.
#[derive(Debug)]
pub(super) enum Work {
    /// To store this.
    Store(Box<Chunk>),
    /// To look after what is stored: limits have changed, or time has passed.
    Tend,
    /// Nothing any more: all is stored.
    Nothing,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Something was stored.
    progress: Notify,
    limit_bytes: usize,
}

impl Queue {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            progress: Notify::new(),
            limit_bytes,
        }
    }

    /// What comes now is of another session.
    pub(super) fn begin(&self, begun: Begun) {
        let mut state = self.lock();
        state.chunks.push_back(Chunk {
            begins: Some(Box::new(begun)),
            ..Chunk::default()
        });
        state.since.get_or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    /// Adds a line and what is drawn from it, or counts it as dropped: whether it was added.
    pub(super) fn push(&self, line: &[u8], rows: &mut Rows, time_us: i64, is_last: bool) -> bool {
        let mut state = self.lock();
        let bytes = line.len() + rows.bytes();
        if state.bytes + state.taken_bytes + bytes > self.limit_bytes {
            state.dropped += 1;
            state.dropped_in_all += 1;
            state.dropped_at = Some(Instant::now());
            *rows = Rows::default();
            return false;
        }
        state.bytes += bytes;
        let is_first = state.since.is_none();
        if is_first {
            state.since = Some(Instant::now());
        }
        if state.chunks.is_empty() {
            state.chunks.push_back(Chunk::default());
        }
        if let Some(chunk) = state.chunks.back_mut() {
            if chunk.events == 0 {
                (chunk.first_us, chunk.last_us) = (time_us, time_us);
            }
            chunk.first_us = chunk.first_us.min(time_us);
            chunk.last_us = chunk.last_us.max(time_us);
            chunk.lines.extend_from_slice(line);
            chunk.rows.append(rows);
            chunk.bytes += bytes;
            chunk.events += 1;
            chunk.is_last = is_last;
        }
        if is_first || state.bytes >= GATHER_BYTES {
            self.changed.notify_one();
        }
        true
    }

    /// Adds what is drawn from earlier lines at the end of a session.
    pub(super) fn add(&self, mut rows: Rows) {
        if rows.is_empty() {
            return;
        }
        let mut state = self.lock();
        let bytes = rows.bytes();
        state.bytes += bytes;
        if state.chunks.is_empty() {
            state.chunks.push_back(Chunk::default());
        }
        if let Some(chunk) = state.chunks.back_mut() {
            chunk.rows.append(&mut rows);
            chunk.bytes += bytes;
        }
        state.since.get_or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    /// Nothing will come any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Events that had no room, from the beginning.
    pub(super) fn dropped_in_all(&self) -> u64 {
        self.lock().dropped_in_all
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Events that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.lock().chunks.iter().map(|chunk| chunk.events).sum()
    }

    /// Memory of what waits, and of what was taken and is not stored yet.
    pub(super) fn waiting_bytes(&self) -> usize {
        let state = self.lock();
        state.bytes + state.taken_bytes
    }

    /// What is to be done next: at the latest after `idle`, something else than storing.
    pub(super) fn take(&self, idle: Option<Duration>) -> Work {
        let mut state = self.lock();
        let idle = idle.and_then(|idle| Instant::now().checked_add(idle));
        loop {
            let now = Instant::now();
            let due = state.since.map(|since| since + GATHER);
            let is_due =
                state.is_closed || state.bytes >= GATHER_BYTES || due.is_some_and(|due| due <= now);
            if is_due && let Some(mut chunk) = state.chunks.pop_front() {
                state.bytes -= chunk.bytes;
                state.taken_bytes = chunk.bytes;
                state.taken_at = Some(now);
                chunk.dropped = std::mem::take(&mut state.dropped);
                if state.chunks.is_empty() {
                    state.since = None;
                }
                return Work::Store(Box::new(chunk));
            }
            if state.is_closed {
                // Dropped ones that nothing followed.
                let dropped = std::mem::take(&mut state.dropped);
                if dropped == 0 {
                    return Work::Nothing;
                }
                return Work::Store(Box::new(Chunk {
                    dropped,
                    ..Chunk::default()
                }));
            }
            if state.limits.is_some() || idle.is_some_and(|idle| idle <= now) {
                return Work::Tend;
            }
            let due = match (due, idle) {
                (Some(due), Some(idle)) => Some(due.min(idle)),
                (due, idle) => due.or(idle),
            };
            state = match due {
                Some(due) => {
                    let wait = due.saturating_duration_since(now);
                    let result = self.changed.wait_timeout(state, wait);
                    result.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// What was taken last is stored: so many are, all in all.
    pub(super) fn done(&self, stored: u64) {
        let mut state = self.lock();
        state.taken_bytes = 0;
        state.taken_at = None;
        state.stored = stored;
        state.trouble = None;
        self.progress.notify_one();
    }

    /// Returns when something was stored since it returned last.
    pub(super) async fn more_is_stored(&self) {
        self.progress.notified().await;
    }

    /// What was taken last can't be stored so far.
    pub(super) fn troubled(&self, why: String) {
        self.lock().trouble = Some(why);
    }

    /// Other limits hold from now on.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.lock().limits = Some(limits);
        self.changed.notify_one();
    }

    /// Limits that hold from now on, once.
    pub(super) fn new_limits(&self) -> Option<Limits> {
        self.lock().limits.take()
    }

    /// What rows referred to is gone, with all that is stored so far.
    pub(super) fn forget(&self, stored: u64) {
        let mut state = self.lock();
        state.is_forgotten = true;
        state.removed = stored;
    }

    /// Whether what rows referred to is gone; said once.
    pub(super) fn is_forgotten(&self) -> bool {
        std::mem::take(&mut self.lock().is_forgotten)
    }

    /// How it stands.
    pub(super) fn condition(&self) -> Condition {
        let state = self.lock();
        Condition {
            stored: state.stored,
            waiting_bytes: (state.bytes + state.taken_bytes) as u64,
            removed: state.removed,
            dropped: state.dropped_in_all,
            trouble: state.trouble(),
        }
    }

    /// The thread that stores is gone.
    pub(super) fn died(&self) {
        self.lock().is_dead = true;
    }

    /// Waits for a while, shorter if the queue is closed.
    pub(super) fn pause(&self, time: Duration) {
        let state = self.lock();
        let result = self
            .changed
            .wait_timeout_while(state, time, |state| !state.is_closed);
        drop(result.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left numbers and lines, which are whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted() {
        let queue = Queue::new(10);
        queue.push(b"12345\n", &mut Rows::default(), 1, false);
        queue.push(b"12345\n", &mut Rows::default(), 2, false);
        queue.push(b"123\n", &mut Rows::default(), 3, false);
        queue.close();
        let Work::Store(chunk) = queue.take(None) else {
            panic!("two lines")
        };
        assert_eq!((chunk.events, chunk.dropped), (2, 1));
        assert_eq!((chunk.first_us, chunk.last_us), (1, 3));
        assert!(matches!(queue.take(None), Work::Nothing));
    }

    #[test]
    fn dropped_events_are_told_even_if_nothing_follows() {
        let queue = Queue::new(0);
        queue.push(b"1\n", &mut Rows::default(), 1, false);
        queue.close();
        assert!(matches!(queue.take(None), Work::Store(chunk) if chunk.dropped == 1));
        assert!(matches!(queue.take(None), Work::Nothing));
    }
}
