//! The thread that sends: takes pages out of the outbox, posts them, and notes what was taken.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use tokio::time::Instant;

use super::answer::{Answer, Backoff};
use super::log::unix_ns;
use super::metric::{Moments, of_families};
use super::post::Client;
use super::translate::{Item, Kinds, Translator, resource, scope};
use super::{Settings, Source, Told};
use crate::enrich::clock;
use crate::event::Session;
use crate::metrics::{Metrics, SendingState, Signal};
use crate::store::{Expired, Outbox, StoreError};

/// After something was stored, so long is waited for more.
const GATHER: Duration = Duration::from_secs(1);

/// Bytes of recorded lines that are sent at once; less if the receiver finds that too much.
const PAGE_BYTES: usize = 512 << 10;

/// Most bytes of a request.
const REQUEST_BYTES: usize = 1 << 20;

/// Bytes of lines before the first that is sent which are read for what follows of them.
const PRIME_BYTES: usize = 4 << 20;

/// How long is tried to send what is left at the end.
const LAST: Duration = Duration::from_secs(3);

/// How long trouble may last before the journal is told.
const GRACE: Duration = Duration::from_secs(30);

/// What a step has led to.
enum Step {
    /// There may be more to do.
    More,
    /// All is sent.
    Idle,
    /// It is tried again after that time.
    Later(Duration),
}

/// A request: how much it is.
#[derive(Clone, Copy)]
struct Request {
    items: usize,
    bytes: usize,
}

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
    is_finished: bool,
}

/// All that the thread has.
pub(super) struct Work {
    settings: Settings,
    client: Client,
    source: Option<Source>,
    metrics: Metrics,
    state: SendingState,
    told: Arc<Told>,
    outbox: Option<Outbox>,
    sent: Option<Sent>,
    backoff: Backoff,
    /// Most bytes of a request, as far as is known.
    limit_bytes: usize,
    /// The receiver has taken something: it is what it should be.
    is_trusted: bool,
    /// Events of this run that were taken, or lost.
    ours: u64,
    /// Events of earlier runs that wait in the recording.
    earlier: u64,
    /// Those of them that were lost with a file.
    removed: u64,
    since: Option<Instant>,
    is_complained: bool,
    /// A position can't be noted: said once.
    is_unnoted: bool,
}

impl Work {
    pub(super) fn new(
        settings: Settings,
        client: Client,
        source: Option<Source>,
        metrics: Metrics,
        state: SendingState,
        told: Arc<Told>,
    ) -> Self {
        Self {
            settings,
            client,
            source,
            metrics,
            state,
            told,
            outbox: None,
            sent: None,
            backoff: Backoff::default(),
            limit_bytes: REQUEST_BYTES,
            is_trusted: false,
            ours: 0,
            earlier: 0,
            removed: 0,
            since: None,
            is_complained: false,
            is_unnoted: false,
        }
    }

    /// Until it is told that no more will come.
    pub(super) async fn run(mut self) {
        let told = Arc::clone(&self.told);
        tokio::select! {
            () = self.work() => {}
            () = told.has_ended.notified() => {}
        }
        // What was being sent is sent again: nothing of it was noted as taken.
        let _ = tokio::time::timeout(LAST, self.last()).await;
    }

    /// All that is left, once.
    async fn last(&mut self) {
        while let Step::More = self.step().await {}
        if self.settings.metrics {
            self.post_metrics().await;
        }
    }

    async fn work(&mut self) {
        let mut metrics_at = self
            .settings
            .metrics
            .then(|| Instant::now() + self.settings.interval);
        let mut retry_at: Option<Instant> = None;
        loop {
            if metrics_at.is_some_and(|at| at <= Instant::now()) {
                metrics_at = Some(Instant::now() + self.settings.interval);
                self.post_metrics().await;
            }
            if retry_at.is_none_or(|at| at <= Instant::now()) {
                retry_at = None;
                match self.step().await {
                    Step::More => continue,
                    Step::Idle => {}
                    Step::Later(wait) => retry_at = Some(Instant::now() + wait),
                }
            }
            let until = [metrics_at, retry_at].into_iter().flatten().min();
            let watch = self.source.as_ref().map(|it| it.watch.clone());
            let stored = async {
                match watch {
                    // While it is waited for another try, it waits with all others.
                    Some(watch) if retry_at.is_none() => watch.more_is_stored().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stored => tokio::time::sleep(GATHER).await,
                () = sleep_until(until) => {}
            }
        }
    }

    /// Sends one request, at most two, of what waits.
    async fn step(&mut self) -> Step {
        match self.fill() {
            Ok(true) => {}
            Ok(false) => return Step::Idle,
            Err(error) => {
                let why = format!("the recording can't be read: {}", error.words());
                return self.trouble(why, None);
            }
        }
        let Some(sent) = &self.sent else {
            return Step::Idle;
        };
        let (count, bytes) = fitting(&sent.items, self.limit_bytes);
        let request = Request {
            items: count,
            bytes,
        };
        let first = sent.items.iter().take(count);
        let logs: Vec<LogRecord> = (first.clone().skip(sent.logged))
            .flat_map(|it| it.logs.clone())
            .collect();
        let spans: Vec<Span> = first.flat_map(|it| it.spans.clone()).collect();
        let of = sent.resource.clone();
        if !logs.is_empty() {
            let number = logs.len() as u64;
            let answer = self
                .client
                .post("/v1/logs", logs_of(of.clone(), logs))
                .await;
            if let Some(step) = self.judge(Signal::Logs, number, request, answer) {
                return step;
            }
        }
        if let Some(sent) = &mut self.sent {
            sent.logged = sent.logged.max(count);
        }
        if !spans.is_empty() {
            let number = spans.len() as u64;
            let answer = self.client.post("/v1/traces", spans_of(of, spans)).await;
            if let Some(step) = self.judge(Signal::Spans, number, request, answer) {
                return step;
            }
        }
        self.take(count);
        Step::More
    }

    /// Reads more, if nothing is left: whether there is something.
    fn fill(&mut self) -> Result<bool, StoreError> {
        let Some(source) = self.source.clone() else {
            return Ok(false);
        };
        if self
            .sent
            .as_ref()
            .is_some_and(|sent| !sent.items.is_empty())
        {
            return Ok(true);
        }
        if self.outbox.as_ref().is_some_and(Outbox::is_gone) {
            self.outbox = None;
            self.sent = None;
        }
        if self.outbox.is_none() {
            match Outbox::open(&source.path) {
                Ok(outbox) => self.outbox = Some(outbox),
                // Whoever records makes it, sooner or later.
                Err(StoreError::Io { .. } | StoreError::NotARecording { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // What was stored in a file that is gone, and not taken before, is lost.
        let removed = source.watch.condition().removed;
        if removed > self.removed {
            let lost = removed.saturating_sub(self.ours) + std::mem::take(&mut self.earlier);
            self.state.change(|state| state.removed_events += lost);
            self.ours = self.ours.max(removed);
            self.removed = removed;
        }
        self.look()?;
        let Some(outbox) = &mut self.outbox else {
            return Ok(false);
        };
        let ended = self.sent.as_mut().filter(|sent| !sent.is_finished);
        if let Some(sent) = ended
            && outbox.is_over(sent.id, sent.translator.translated)?
        {
            sent.is_finished = true;
            if let Some(item) = sent.translator.finish() {
                sent.items.push_back(item);
                return Ok(true);
            }
        }
        let Some(page) = outbox.next(PAGE_BYTES)? else {
            return Ok(false);
        };
        let is_going_on = self
            .sent
            .as_ref()
            .is_some_and(|sent| sent.id == page.session);
        if !is_going_on {
            let session = outbox.session(page.session)?;
            let kinds = Kinds {
                logs: self.settings.logs,
                spans: self.settings.spans,
            };
            let mut translator = Translator::new(&session, kinds);
            if page.first > 0 {
                translator.prime(&outbox.before(page.session, page.first, PRIME_BYTES)?);
            }
            let ours = self.told.session();
            self.sent = Some(Sent {
                id: page.session,
                is_ours: ours.is_some_and(|ours| is_same(&ours, &session)),
                resource: resource(&session),
                translator,
                items: VecDeque::new(),
                taken: page.first,
                logged: 0,
                is_finished: false,
            });
        }
        if let Some(sent) = &mut self.sent {
            sent.items = sent.translator.page(&page);
            sent.taken = page.first;
            sent.logged = 0;
            sent.is_finished = false;
        }
        Ok(true)
    }

    /// The first items are done.
    fn take(&mut self, count: usize) {
        let Some(sent) = &mut self.sent else { return };
        let Some(last) = sent.items.drain(..count).next_back() else {
            return;
        };
        sent.logged = sent.logged.saturating_sub(count);
        let events = last.taken.saturating_sub(sent.taken);
        sent.taken = last.taken;
        if sent.is_ours {
            self.ours += events;
        }
        let result = match &mut self.outbox {
            Some(outbox) => outbox.take(sent.id, last.taken),
            None => Ok(()),
        };
        if let Err(error) = result
            && !std::mem::replace(&mut self.is_unnoted, true)
        {
            eprintln!(
                "notify-trace: OTLP: {}; after a restart some is sent again",
                error.words()
            );
        }
        self.state.change(|state| {
            state.taken_events += events;
            state.waiting_events = state.waiting_events.saturating_sub(events);
        });
    }

    /// What follows of an answer; `None`: it goes on.
    fn judge(
        &mut self,
        signal: Signal,
        number: u64,
        request: Request,
        answer: Answer,
    ) -> Option<Step> {
        match answer {
            Answer::Taken { rejected, why } => {
                let rejected = rejected.min(number);
                self.is_trusted = true;
                self.state.change(|state| {
                    state.signals[signal as usize].sent += number - rejected;
                    state.signals[signal as usize].refused += rejected;
                });
                if rejected > 0 {
                    self.refused(signal, rejected, &why);
                }
                // Carefully, so that it isn't asked too much each second time.
                self.limit_bytes = (self.limit_bytes + self.limit_bytes / 8).min(REQUEST_BYTES);
                self.fine();
                None
            }
            Answer::TooLarge | Answer::Refused(_) if request.items > 1 => {
                // Fewer at once: at the end the one that it does not want is alone.
                self.limit_bytes = (request.bytes / 2).max(1);
                Some(Step::More)
            }
            Answer::TooLarge => {
                let why = "it answers that one alone is too large".to_owned();
                self.drop_one(signal, number, why)
            }
            Answer::Refused(why) => self.drop_one(signal, number, why),
            Answer::Later { after, why } => Some(self.trouble(why, after)),
        }
    }

    /// The receiver will never take this one; unless it takes nothing at all: then it isn't what it should
    /// be, and nothing is dropped because of that.
    fn drop_one(&mut self, signal: Signal, number: u64, why: String) -> Option<Step> {
        if !self.is_trusted {
            return Some(self.trouble(why, None));
        }
        self.state
            .change(|state| state.signals[signal as usize].refused += number);
        self.refused(signal, number, &why);
        None
    }

    fn refused(&mut self, signal: Signal, number: u64, why: &str) {
        let first = self.state.get().signals[signal as usize].refused == number;
        if first {
            eprintln!(
                "notify-trace: OTLP: {number} of the {} were refused, more are only counted: {why}",
                signal.name()
            );
        }
    }

    async fn post_metrics(&mut self) {
        let Some(session) = self.told.session() else {
            return;
        };
        // What can't be read is told when it is to be sent.
        let _ = self.look();
        let snapshot = self.metrics.snapshot();
        let at = Moments {
            since_ns: unix_ns(session.time),
            now_ns: unix_ns(clock::wall_now()),
        };
        let metrics = of_families(&snapshot.families(), at);
        let number = metrics.len() as u64;
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource(&session)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        // They are sums: the next ones say all that these would have.
        match self
            .client
            .post("/v1/metrics", request.encode_to_vec())
            .await
        {
            Answer::Taken { rejected, .. } => {
                self.is_trusted = true;
                self.state.change(|state| {
                    state.signals[Signal::Metrics as usize].sent += number - rejected.min(number);
                    state.signals[Signal::Metrics as usize].refused += rejected.min(number);
                });
                // Else that is said by what waits.
                if self.source.is_none() || self.sent.as_ref().is_none_or(|it| it.items.is_empty())
                {
                    self.fine();
                }
            }
            Answer::TooLarge => {
                let why = "it answers that the metrics are too large".to_owned();
                let _ = self.trouble(why, None);
            }
            Answer::Refused(why) | Answer::Later { why, .. } => {
                let _ = self.trouble(why, None);
            }
        }
    }

    /// How much waits now, and what has expired.
    fn look(&mut self) -> Result<(), StoreError> {
        let Some(outbox) = &mut self.outbox else {
            return Ok(());
        };
        let ours = self.told.session();
        let backlog = outbox.backlog(ours.as_ref())?;
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
        let mut lost = expired.behind - expired.first;
        if let Some(sent) = self.sent.as_mut().filter(|it| it.id == expired.session) {
            let count = sent.items.partition_point(|it| it.taken <= expired.behind);
            // Their log records were sent: they count as taken.
            let logged = sent.logged.min(count);
            let done = logged.checked_sub(1).and_then(|last| sent.items.get(last));
            let done = done.map_or(0, |last| last.taken.saturating_sub(expired.first));
            sent.items.drain(..count);
            sent.logged -= logged;
            sent.taken = sent.taken.max(expired.behind);
            lost = lost.saturating_sub(done);
            self.state.change(|state| state.taken_events += done);
        }
        if expired.is_ours {
            self.ours += expired.behind - expired.first;
        }
        self.state.change(|state| state.expired_events += lost);
    }

    fn fine(&mut self) {
        self.backoff.reset();
        self.since = None;
        self.state.change(|state| state.trouble = None);
        if std::mem::take(&mut self.is_complained) {
            eprintln!("notify-trace: OTLP: the receiver takes what waited");
        }
    }

    fn trouble(&mut self, why: String, after: Option<Duration>) -> Step {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= GRACE && !self.is_complained {
            self.is_complained = true;
            eprintln!("notify-trace: OTLP: nothing can be sent: {why}; it waits in the recording");
        }
        self.state.change(|state| state.trouble = Some(why));
        let _ = self.look();
        let spread = RandomState::new().hash_one(0_u8) % 1_000;
        #[expect(clippy::cast_precision_loss, reason = "below 1000")]
        let spread = spread as f64 / 1_000.0;
        Step::Later(self.backoff.next(after, spread))
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
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

/// Whether these are the same session.
fn is_same(one: &Session, other: &Session) -> bool {
    (&one.boot_id, one.monotonic_ns) == (&other.boot_id, other.monotonic_ns)
}

fn logs_of(resource: Resource, log_records: Vec<LogRecord>) -> Vec<u8> {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope()),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
    .encode_to_vec()
}

fn spans_of(resource: Resource, spans: Vec<Span>) -> Vec<u8> {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}
