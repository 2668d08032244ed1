//! Who reads the numbers: HTTP, in a thread of its own, on a socket that not everybody reaches.
//!
//! Whoever reads can't make the agent do much: connections are few, short and answered from one text a
//! second.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::Shared;
use crate::escape;
use crate::privileges::{self, Role};

/// Most connections at once; others wait.
const CONNECTIONS: usize = 64;

/// Between two connections: so many answers a second are enough for anybody.
const APART: Duration = Duration::from_millis(5);

/// How long a request may take to come, and the whole connection.
const REQUEST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// How old a text may be.
const FRESH: Duration = Duration::from_secs(1);

/// After an accept failed, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Who may connect to a unix socket: its owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Version 0.0.4 of the text format.
const TEXT: &str = super::text::CONTENT_TYPE;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket at this path.
    Unix(PathBuf),
    /// TCP.
    Address(SocketAddr),
}

impl Listen {
    /// From settings; `None`: nowhere. Other addresses than those of the loopback have to be meant.
    ///
    /// # Errors
    /// If it is none of that.
    pub fn of(text: &str, is_public: bool) -> Result<Option<Self>> {
        if text == "off" {
            return Ok(None);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                bail!("metrics.listen = {text}: the path must begin with /");
            }
            return Ok(Some(Self::Unix(PathBuf::from(path))));
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            anyhow::anyhow!(
                "metrics.listen = {text}: it must be \"off\", \"unix:/path\" or an address and a port \
                 such as 127.0.0.1:9744 or [::1]:9744"
            )
        })?;
        if !address.ip().is_loopback() && !is_public {
            bail!(
                "metrics.listen = {text}: whoever reaches that address would read the names of all \
                 units; set metrics.public = true if that is meant, or listen on 127.0.0.1"
            );
        }
        Ok(Some(Self::Address(address)))
    }
}

enum Listener {
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener),
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Where it listens: the port that was chosen, if any would do.
    pub address: Listen,
}

impl Server {
    pub(super) fn start(listen: &Listen, shared: Arc<Shared>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context("cannot start the event loop of the metrics")?;
        let (listener, address) = {
            let _entered = runtime.enter();
            bind(listen)?
        };
        let socket = match &address {
            Listen::Unix(path) => Some(path.clone()),
            Listen::Address(_) => None,
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                privileges::enter(Role::Talk);
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, serve(listener, shared, stopped));
                if let Some(socket) = socket {
                    let _ = fs::remove_file(socket);
                }
            })
            .context("cannot start the thread of the metrics")?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            address,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bind(listen: &Listen) -> Result<(Listener, Listen)> {
    match listen {
        Listen::Unix(path) => {
            let named = || format!("metrics.listen = unix:{}", escape::path(path));
            make_room(path).with_context(named)?;
            let listener = UnixListener::bind(path).with_context(named)?;
            fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).with_context(named)?;
            listener.set_nonblocking(true)?;
            let listener = tokio::net::UnixListener::from_std(listener).with_context(named)?;
            Ok((Listener::Unix(listener), listen.clone()))
        }
        Listen::Address(address) => {
            let named = || format!("metrics.listen = {address}");
            let listener = TcpListener::bind(address).with_context(named)?;
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener).with_context(named)?;
            let address = Listen::Address(listener.local_addr()?);
            Ok((Listener::Tcp(listener), address))
        }
    }
}

/// Removes the socket of an agent that was killed; nothing else.
fn make_room(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        bail!("there is something at this path that is no socket");
    }
    if UnixStream::connect(path).is_ok() {
        bail!("another process listens there");
    }
    fs::remove_file(path).context("the socket of an earlier run can't be removed")
}

/// Answers until it is told to stop.
async fn serve(listener: Listener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let answers = Rc::new(Answers::new(shared));
    let welcome = async {
        match &listener {
            Listener::Unix(listener) => {
                welcome(&answers, async || listener.accept().await.map(|it| it.0)).await;
            }
            Listener::Tcp(listener) => {
                welcome(&answers, async || listener.accept().await.map(|it| it.0)).await;
            }
        }
    };
    tokio::select! {
        () = welcome => {}
        _ = stopped => {}
    }
}

/// Takes connections, not too many at once, nor too many one after the other.
async fn welcome<S>(answers: &Rc<Answers>, accept: impl AsyncFn() -> io::Result<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match accept().await {
            Ok(stream) => {
                answer(stream, Rc::clone(answers), place);
                tokio::time::sleep(APART).await;
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Answers one request in a task of its own, which has its `place` until then.
fn answer<P: 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    answers: Rc<Answers>,
    place: P,
) {
    tokio::task::spawn_local(async move {
        let service = service_fn(move |request: Request<Incoming>| {
            let accept = request.headers().get(ACCEPT);
            let accept = accept.and_then(|it| it.to_str().ok()).unwrap_or_default();
            let answer = answers.to(request.method(), request.uri().path(), accept);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // Who is too slow, or goes away, gets no answer.
        let _ = tokio::time::timeout(PATIENCE, connection).await;
        drop(place);
    });
}

struct Answers {
    shared: Arc<Shared>,
    /// What was given last, by its type.
    last: RefCell<Vec<(&'static str, Instant, Bytes)>>,
}

impl Answers {
    const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            last: RefCell::new(Vec::new()),
        }
    }

    fn to(&self, method: &Method, path: &str, accept: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allowed = hyper::header::HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            return answer;
        }
        match path {
            "/metrics" => match self.metrics(accept) {
                Some((kind, text)) => with(StatusCode::OK, kind, text),
                None => plain(StatusCode::INTERNAL_SERVER_ERROR, "no text could be made\n"),
            },
            "/healthz" => match self.shared.trouble() {
                None => plain(StatusCode::OK, "ok\n"),
                Some(trouble) => with(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "text/plain; charset=utf-8",
                    Bytes::from(trouble + "\n"),
                ),
            },
            _ => plain(
                StatusCode::NOT_FOUND,
                "notify-trace agent: there are /metrics and /healthz\n",
            ),
        }
    }

    /// The numbers and their type: text, if nothing else is asked for that there is.
    fn metrics(&self, accept: &str) -> Option<(&'static str, Bytes)> {
        let kind = kind(accept);
        let mut last = self.last.borrow_mut();
        last.retain(|(_, at, _)| at.elapsed() < FRESH);
        if let Some((_, _, text)) = last.iter().find(|(of, _, _)| *of == kind) {
            return Some((kind, text.clone()));
        }
        let text = match kind {
            TEXT => Bytes::from(self.shared.text().ok()?),
            #[cfg(feature = "native")]
            _ => Bytes::from(self.shared.protobuf().ok()?),
            #[cfg(not(feature = "native"))]
            _ => return None,
        };
        last.push((kind, Instant::now(), text.clone()));
        Some((kind, text))
    }
}

#[cfg(feature = "native")]
fn kind(accept: &str) -> &'static str {
    if super::text::wants_native(accept) {
        super::text::PROTOBUF
    } else {
        TEXT
    }
}

#[cfg(not(feature = "native"))]
const fn kind(_: &str) -> &'static str {
    TEXT
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with(status, "text/plain; charset=utf-8", Bytes::from(text))
}

fn with(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::metrics::Metrics;

    fn ask(stream: &mut (impl io::Read + io::Write), request: &str) -> String {
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    fn connect(server: &Server) -> TcpStream {
        let Listen::Address(address) = server.address else {
            panic!("another socket");
        };
        TcpStream::connect(address).expect("it listens")
    }

    fn local() -> (Metrics, Server) {
        let metrics = Metrics::new(10, None);
        let listen = Listen::of("127.0.0.1:0", false)
            .expect("valid")
            .expect("on");
        let server = metrics.serve(&listen).expect("a free port");
        (metrics, server)
    }

    #[test]
    fn only_what_is_meant_is_listened_to() {
        assert_eq!(Listen::of("off", false).expect("valid"), None);
        assert!(Listen::of("0.0.0.0:9744", false).is_err());
        assert!(Listen::of("0.0.0.0:9744", true).is_ok());
        assert!(Listen::of("[::1]:9744", false).is_ok());
        assert!(Listen::of("unix:here", false).is_err());
        assert!(Listen::of("localhost", false).is_err());
    }

    #[test]
    fn metrics_are_text_and_the_rest_is_refused() {
        let (_metrics, server) = local();
        let get = |path: &str| {
            ask(
                &mut connect(&server),
                &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
            )
        };
        let answer = get("/metrics");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("version=0.0.4"), "{answer}");
        assert!(
            answer.contains("\nnotify_trace_records_total 0\n"),
            "{answer}"
        );
        assert!(get("/").starts_with("HTTP/1.1 404"));
        assert!(
            get("/healthz").starts_with("HTTP/1.1 503"),
            "nothing is attached"
        );
        let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        assert!(ask(&mut connect(&server), post).starts_with("HTTP/1.1 405"));
        let nonsense = ask(&mut connect(&server), "\x00\x01\x02 what\r\n\r\n");
        assert!(
            nonsense.is_empty() || nonsense.starts_with("HTTP/1.1 400"),
            "{nonsense}"
        );
    }

    #[test]
    fn who_says_nothing_keeps_nobody_else_out() {
        let (_metrics, server) = local();
        let silent: Vec<TcpStream> = (0..CONNECTIONS - 1).map(|_| connect(&server)).collect();
        let answer = ask(
            &mut connect(&server),
            "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(silent);
    }

    #[test]
    fn a_socket_is_its_owners_and_goes_with_the_agent() {
        let folder = std::env::temp_dir().join(format!("nt-metrics-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("metrics.sock");
        let listen = Listen::Unix(path.clone());
        // What a killed one left.
        drop(UnixListener::bind(&path).expect("a socket"));
        let server = Metrics::new(1, None).serve(&listen).expect("there is room");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        let second = Metrics::new(1, None)
            .serve(&listen)
            .expect_err("somebody listens");
        assert!(
            format!("{second:#}").contains("another process"),
            "{second:#}"
        );
        let mut stream = UnixStream::connect(&path).expect("it listens");
        let answer = ask(&mut stream, "GET /metrics HTTP/1.0\r\n\r\n");
        assert!(answer.contains("notify_trace_records_total"), "{answer}");
        drop(server);
        assert!(!path.exists());
        fs::write(&path, "mine").expect("a file");
        assert!(Metrics::new(1, None).serve(&listen).is_err());
        assert_eq!(fs::read_to_string(&path).expect("it is left"), "mine");
        fs::remove_dir_all(&folder).expect("ours");
    }
}
