//! Notifications, spans and numbers for an OpenTelemetry Collector, or whatever takes OTLP over HTTP.
//!
//! ```text
//! recording ──▶ outbox (what was not taken yet) ──▶ translate (log records, spans) ──▶ post ──▶ answer
//!                  ▲─────────────────────── taken so far ◀──────────────────────────────────────┘
//! metrics ──▶ metric ──▶ post
//! ```
//!
//! The recording is the outbox: what can't be sent waits there, within its limits, over restarts, too.
//! Each event is sent at least once; after a crash perhaps twice, with the same ids. Nobody waits for
//! the receiver but a thread of its own.

mod answer;
mod log;
mod metric;
mod pending;
mod post;
mod span;
#[cfg(feature = "tls")]
mod tls;
mod translate;
mod value;
mod work;

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::Notify;

use self::post::Client;
use self::work::Work;
use crate::config::Compression;
use crate::event::Session;
use crate::metrics::{Metrics, SendingState};
use crate::privileges::{self, Role};
use crate::store::Watch;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// With TLS.
    is_encrypted: bool,
    host: String,
    port: u16,
    /// Host and port as they were written.
    authority: String,
    /// What paths begin with.
    prefix: String,
}

impl Target {
    /// From settings; `None`: nowhere.
    ///
    /// # Errors
    /// If it is no address of a receiver, in a sentence.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text == "off" {
            return Ok(None);
        }
        let form = "it must be \"off\" or an address such as http://127.0.0.1:4318";
        let address: hyper::Uri = text.parse().map_err(|_| form.to_owned())?;
        let is_encrypted = match address.scheme_str() {
            Some("http") => false,
            Some("https") if cfg!(feature = "tls") => true,
            Some("https") => return Err("this notify-trace was built without TLS".to_owned()),
            _ => return Err(form.to_owned()),
        };
        let authority = address.authority().ok_or(form)?;
        if authority.as_str().contains('@') || address.query().is_some() {
            return Err("names and passwords belong into otlp.headers_file".to_owned());
        }
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        Ok(Some(Self {
            is_encrypted,
            host: bare.unwrap_or(host).to_owned(),
            // As addresses have it.
            port: authority
                .port_u16()
                .unwrap_or(if is_encrypted { 443 } else { 80 }),
            authority: authority.to_string(),
            prefix: address.path().trim_end_matches('/').to_owned(),
        }))
    }
}

/// Certificates, as PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whom to trust; `None`: whom this system trusts.
    pub authorities: Option<PathBuf>,
    /// Who we are.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// What is sent, where to, how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to.
    pub target: Target,
    /// A log record for each notification.
    pub logs: bool,
    /// Spans for starts, reloads, stops.
    pub spans: bool,
    /// The numbers.
    pub metrics: bool,
    /// How often numbers are sent.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How bodies are encoded.
    pub compression: Compression,
    /// A file of headers, for tokens.
    pub headers_file: Option<PathBuf>,
    /// For TLS.
    pub tls: TlsFiles,
}

/// Whether these can be used: certificates and headers can be read, and are asked for.
///
/// # Errors
/// If not.
pub fn check(settings: &Settings) -> Result<()> {
    if !settings.target.is_encrypted && settings.tls != TlsFiles::default() {
        bail!(
            "otlp.ca_file, otlp.certificate_file and otlp.key_file are for an endpoint that begins with \
             https://"
        );
    }
    Client::new(settings).map(drop)
}

/// The recording that is sent, while it is written.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// How it stands.
    pub watch: Watch,
}

/// What the agent tells the thread that sends.
#[derive(Debug, Default)]
struct Told {
    session: Mutex<Option<Arc<Session>>>,
    has_ended: Notify,
}

/// Sends, until it is finished.
#[derive(Debug)]
pub struct Exporter {
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Begins to send what a recording and the metrics have.
    ///
    /// # Errors
    /// If it can't begin: certificates or headers can't be read.
    pub fn start(
        settings: Settings,
        source: Option<Source>,
        metrics: Metrics,
        state: SendingState,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("otlp")
            .build()
            .context("cannot start the event loop of OTLP")?;
        let told = Arc::new(Told::default());
        let (ready, is_ready) = channel();
        let also_told = Arc::clone(&told);
        let thread = std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || {
                privileges::enter(Role::Talk);
                // Files that it can't read without capabilities it can't read later either.
                let client = match Client::new(&settings) {
                    Ok(client) => client,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                let work = Work::new(settings, client, source, metrics, state, also_told);
                runtime.block_on(work.run());
                // Nobody waits for a name that is still looked up.
                runtime.shutdown_background();
            })
            .context("cannot start the thread of OTLP")?;
        is_ready.recv().context("the thread of OTLP has ended")??;
        Ok(Self {
            told,
            thread: Some(thread),
        })
    }

    /// Everything is attached: of this session numbers are from now on.
    pub fn begin(&self, session: &Session) {
        let told = self.told.session.lock();
        *told.unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(session.clone()));
    }

    /// Sends what is left for a short while; the rest stays in the recording.
    pub fn finish(&mut self) {
        self.told.has_ended.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Told {
    fn session(&self) -> Option<Arc<Session>> {
        let told = self.session.lock();
        told.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests;
