//! The thread that sends: posts what waits and what was counted, and waits when nobody takes it.

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
use super::metric::{Moments, of_families, points};
use super::pending::{Batch, Pending};
use super::post::Client;
use super::translate::{Kinds, resource, scope};
use super::{Settings, Source, Told};
use crate::enrich::clock;
use crate::metrics::{Metrics, SendingState, Signal};

/// After something was stored, so long is waited for more.
const GATHER: Duration = Duration::from_secs(1);

/// Most bytes of a request; less if the receiver finds that too much.
const REQUEST_BYTES: usize = 1 << 20;

/// How long is tried to send what is left at the end.
const LAST: Duration = Duration::from_secs(3);

/// How long trouble may last before the journal is told.
const GRACE: Duration = Duration::from_secs(30);

/// How often a receiver that takes nothing else refuses one before that one is dropped.
const REFUSALS: u32 = 6;

/// What a step has led to.
enum Step {
    /// There may be more to do.
    More,
    /// All is sent.
    Idle,
    /// It is tried again after that time.
    Later(Duration),
}

/// All that the thread has.
pub(super) struct Work {
    settings: Settings,
    client: Client,
    pending: Option<Pending>,
    metrics: Metrics,
    state: SendingState,
    told: Arc<Told>,
    backoff: Backoff,
    /// Most bytes of a request, as far as is known.
    limit_bytes: usize,
    /// By signal: something was taken since one was dropped, so the receiver is what it should be.
    is_trusted: [bool; Signal::ALL.len()],
    /// How often the first one was refused by one that is not trusted.
    refusals: u32,
    since: Option<Instant>,
    is_complained: bool,
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
        let kinds = Kinds {
            logs: settings.logs,
            spans: settings.spans,
        };
        let pending = source.map(|source| Pending::new(source, kinds, state.clone()));
        Self {
            settings,
            client,
            pending,
            metrics,
            state,
            told,
            backoff: Backoff::default(),
            limit_bytes: REQUEST_BYTES,
            is_trusted: [false; Signal::ALL.len()],
            refusals: 0,
            since: None,
            is_complained: false,
        }
    }

    /// Until it is told that no more will come.
    pub(super) async fn run(mut self) {
        let _end = End(self.state.clone());
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
        let is_sending_metrics = self.settings.metrics;
        let interval = self.settings.interval;
        let mut metrics_at = is_sending_metrics.then(|| Instant::now() + interval);
        let mut retry_at: Option<Instant> = None;
        loop {
            if metrics_at.is_some_and(|at| at <= Instant::now()) {
                let after = self.post_metrics().await.unwrap_or_default();
                metrics_at = Some(Instant::now() + interval.max(after));
            }
            if retry_at.is_none_or(|at| at <= Instant::now()) {
                retry_at = None;
                match self.step().await {
                    Step::More => {
                        // Whoever says that it ends is heard, even if nothing has to be sent.
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Step::Idle => {}
                    Step::Later(wait) => retry_at = Some(Instant::now() + wait),
                }
            }
            let until = [metrics_at, retry_at].into_iter().flatten().min();
            let pending = &self.pending;
            let stored = async {
                match pending {
                    // While it is waited for another try, it waits with all others.
                    Some(pending) if retry_at.is_none() => pending.more_is_stored().await,
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
        let Some(pending) = &mut self.pending else {
            return Step::Idle;
        };
        match pending.fill(&self.told) {
            Ok(true) => {}
            Ok(false) => {
                self.idle();
                return Step::Idle;
            }
            Err(error) => {
                let why = format!("the recording can't be read: {}", error.words());
                return self.trouble(why, None);
            }
        }
        let Some(batch) = pending.batch(self.limit_bytes) else {
            return Step::More;
        };
        let Batch {
            items,
            bytes,
            resource,
            logs,
            spans,
        } = batch;
        let number = logs.len() as u64;
        if number > 0 {
            let message = logs_of(resource.clone(), logs);
            let answer = self.client.post("/v1/logs", message).await;
            if let Some(step) = self.judge(Signal::Logs, number, (items, bytes), answer) {
                return step;
            }
        }
        if let Some(pending) = &mut self.pending {
            pending.logged(items);
        }
        let number = spans.len() as u64;
        if number > 0 {
            let message = spans_of(resource, spans);
            let answer = self.client.post("/v1/traces", message).await;
            if let Some(step) = self.judge(Signal::Spans, number, (items, bytes), answer) {
                return step;
            }
        }
        if let Some(pending) = &mut self.pending {
            pending.take(items);
        }
        tokio::task::yield_now().await;
        Step::More
    }

    /// What follows of an answer to so many items with so many bytes; `None`: it goes on.
    fn judge(
        &mut self,
        signal: Signal,
        number: u64,
        (items, bytes): (usize, usize),
        answer: Answer,
    ) -> Option<Step> {
        match answer {
            Answer::Taken { rejected, why } => {
                self.took(signal, number, rejected, &why);
                // Carefully, so that it isn't asked too much each second time.
                self.limit_bytes = (self.limit_bytes + self.limit_bytes / 8).min(REQUEST_BYTES);
                self.refusals = 0;
                self.fine();
                None
            }
            Answer::TooLarge | Answer::Refused(_) if items > 1 => {
                // Fewer at once: at the end the one that it does not want is alone.
                self.limit_bytes = (bytes / 2).max(1);
                Some(Step::More)
            }
            Answer::TooLarge => self.drop_one(signal, number, "that one alone is too large"),
            Answer::Refused(why) => self.drop_one(signal, number, &why),
            Answer::Later { after, why } => Some(self.trouble(why, after)),
        }
    }

    /// The receiver took so many, but for some.
    fn took(&mut self, signal: Signal, number: u64, rejected: u64, why: &str) {
        let rejected = rejected.min(number);
        if rejected < number {
            self.is_trusted[signal as usize] = true;
        }
        self.state
            .change(|state| state.signals[signal as usize].sent += number - rejected);
        self.refused(signal, rejected, why);
    }

    /// The receiver will never take this one. If it has not taken any other since the last one like
    /// that, it may not be what it should be: it is given time, so that somebody can mend that.
    fn drop_one(&mut self, signal: Signal, number: u64, why: &str) -> Option<Step> {
        if !self.is_trusted[signal as usize] {
            self.refusals += 1;
            if self.refusals < REFUSALS {
                return Some(self.trouble(why.to_owned(), None));
            }
        }
        self.refusals = 0;
        self.is_trusted[signal as usize] = false;
        self.refused(signal, number, why);
        None
    }

    fn refused(&self, signal: Signal, number: u64, why: &str) {
        if number == 0 {
            return;
        }
        let before = self.state.get().signals[signal as usize].refused;
        self.state
            .change(|state| state.signals[signal as usize].refused += number);
        if before == 0 {
            eprintln!(
                "notify-trace: OTLP: {number} of the {} were refused, more are only counted: {why}",
                signal.name()
            );
        }
    }

    /// Sends the numbers of now; when the receiver wants to be asked again at the earliest.
    async fn post_metrics(&mut self) -> Option<Duration> {
        let session = self.told.session()?;
        if let Some(pending) = &mut self.pending {
            // What can't be read is told when it is to be sent.
            let _ = pending.look(&self.told);
        }
        let snapshot = self.metrics.snapshot();
        let now_ns = unix_ns(clock::wall_now());
        let at = Moments {
            // The clock may have been set.
            since_ns: unix_ns(session.time).min(now_ns),
            now_ns,
        };
        let metrics = of_families(&snapshot.families(), at);
        let number = points(&metrics);
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
        let answer = self.client.post("/v1/metrics", request.encode_to_vec());
        let (trouble, after) = match answer.await {
            Answer::Taken { rejected, why } => {
                self.took(Signal::Metrics, number, rejected, &why);
                (None, None)
            }
            Answer::TooLarge => {
                let why = "they are too large for it";
                self.refused(Signal::Metrics, number, why);
                (Some(why.to_owned()), None)
            }
            Answer::Refused(why) => {
                self.refused(Signal::Metrics, number, &why);
                (Some(why), None)
            }
            Answer::Later { why, after } => (Some(why), after),
        };
        self.state.change(|state| state.metrics_trouble = trouble);
        after
    }

    /// Nothing waits.
    fn idle(&mut self) {
        if self.state.get().waiting_events == 0 {
            self.fine();
        }
        self.state.change(|state| state.is_settled = true);
    }

    fn fine(&mut self) {
        self.backoff.reset();
        self.since = None;
        self.state.change(|state| state.trouble = None);
        if std::mem::take(&mut self.is_complained) {
            eprintln!("notify-trace: OTLP: what waited is sent");
        }
    }

    fn trouble(&mut self, why: String, after: Option<Duration>) -> Step {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= GRACE && !self.is_complained {
            self.is_complained = true;
            eprintln!("notify-trace: OTLP: nothing can be sent: {why}; it waits in the recording");
        }
        self.state.change(|state| state.trouble = Some(why));
        if let Some(pending) = &mut self.pending {
            // What can't be read is what it is about, or will be.
            let _ = pending.look(&self.told);
        }
        let spread = RandomState::new().hash_one(0_u8) % 1_000;
        #[expect(clippy::cast_precision_loss, reason = "below 1000")]
        let spread = spread as f64 / 1_000.0;
        Step::Later(self.backoff.next(after, spread))
    }
}

/// Says that the thread has ended, whatever ends it, a panic too.
struct End(SendingState);

impl Drop for End {
    fn drop(&mut self) {
        self.0.change(|state| {
            state
                .trouble
                .get_or_insert_with(|| "the thread that sends has ended".to_owned());
        });
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
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
