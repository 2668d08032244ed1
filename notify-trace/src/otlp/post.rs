//! One request and its answer, over HTTP/1.1.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::answer::{Answer, PROTOBUF, Said, judge, words};
#[cfg(feature = "tls")]
use super::tls::Connector;
use super::{Settings, Target};
use crate::config::Compression;
use crate::escape;

/// Most bytes of an answer that are read.
const ANSWER_BYTES: usize = 64 << 10;

/// Most bytes of a file of headers.
const HEADERS_BYTES: u64 = 64 << 10;

const USER: HeaderValue =
    HeaderValue::from_static(concat!("notify-trace/", env!("CARGO_PKG_VERSION")));

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Posts to one receiver.
pub(super) struct Client {
    target: Target,
    timeout: Duration,
    compression: Compression,
    headers_file: Option<PathBuf>,
    #[cfg(feature = "tls")]
    tls: Option<Connector>,
    connection: Option<Connection>,
}

/// A connection, and what moves it.
struct Connection {
    requests: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It does not wait for a receiver that does not read.
        self.task.abort();
    }
}

impl Client {
    /// # Errors
    /// If certificates or headers can't be read.
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        if let Some(path) = &settings.headers_file {
            headers(path)?;
        }
        let target = settings.target.clone();
        Ok(Self {
            #[cfg(feature = "tls")]
            tls: match target.is_encrypted {
                true => Some(Connector::new(&target.host, &settings.tls)?),
                false => None,
            },
            target,
            timeout: settings.timeout,
            compression: settings.compression,
            headers_file: settings.headers_file.clone(),
            connection: None,
        })
    }

    /// Posts a message, and says what became of it.
    pub(super) async fn post(&mut self, path: &str, message: Vec<u8>) -> Answer {
        let result = tokio::time::timeout(self.timeout, self.attempt(path, message)).await;
        let why = match result {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("it has not answered for {:?}", self.timeout),
        };
        self.connection = None;
        Answer::Later {
            after: None,
            why: words(&why),
        }
    }

    async fn attempt(&mut self, path: &str, message: Vec<u8>) -> Result<Answer> {
        let (body, encoding) = encode(message, self.compression)?;
        let first = self.request(path, body.clone(), encoding.clone())?;
        let second = self.request(path, body, encoding)?;
        // Whoever was idle may have been hung up on, and learns it only now.
        if let Some(connection) = &mut self.connection
            && connection.requests.ready().await.is_ok()
            && let Ok(response) = connection.requests.send_request(first).await
        {
            return answer(response).await;
        }
        self.connection = None;
        let connection = self.connect().await?;
        let connection = self.connection.insert(connection);
        let response = connection.requests.send_request(second).await;
        let response = response.context("no answer")?;
        answer(response).await
    }

    fn request(
        &self,
        path: &str,
        body: Bytes,
        encoding: Option<HeaderValue>,
    ) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::post(format!("{}{path}", self.target.prefix))
            .header(HOST, &self.target.authority)
            .header(CONTENT_TYPE, PROTOBUF)
            .header(ACCEPT, PROTOBUF)
            .header(USER_AGENT, USER);
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if let Some(path) = &self.headers_file {
            // Each time: tokens are renewed.
            for (name, value) in headers(path)? {
                request = request.header(name, value);
            }
        }
        Ok(request.body(Full::new(body))?)
    }

    async fn connect(&self) -> Result<Connection> {
        let Target { host, port, .. } = &self.target;
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port))
            .await
            .with_context(|| format!("no address of {host} is known"))?
            .collect();
        let mut last = anyhow!("no address of {host} is known");
        // None of them may use up the time of all.
        let patience = self.timeout.div_f64(addresses.len().max(1) as f64);
        for address in addresses {
            let attempt = TcpStream::connect(address);
            let error = match tokio::time::timeout(patience, attempt).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return self.greet(stream).await;
                }
                Ok(Err(error)) => denied(error),
                Err(_) => anyhow!("it does not answer"),
            };
            last = error.context(format!("connect to {address}"));
        }
        Err(last)
    }

    async fn greet(&self, stream: TcpStream) -> Result<Connection> {
        #[cfg(feature = "tls")]
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(tls.connect(stream).await?),
            None => Box::new(stream),
        };
        #[cfg(not(feature = "tls"))]
        let stream: Box<dyn Stream> = Box::new(stream);
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move {
            // Whoever has sent a request is told of it.
            let _ = connection.await;
        });
        Ok(Connection { requests, task })
    }
}

/// Where that is what it may be.
fn denied(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        anyhow!("{error} (does the unit let it? IPAddressAllow=, docs/otlp.md)")
    } else {
        error.into()
    }
}

/// The body, and how it is encoded.
fn encode(message: Vec<u8>, compression: Compression) -> Result<(Bytes, Option<HeaderValue>)> {
    use std::io::Write as _;

    match compression {
        Compression::None => Ok((message.into(), None)),
        Compression::Gzip => {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(&message)?;
            let gzip = HeaderValue::from_static("gzip");
            Ok((encoder.finish()?.into(), Some(gzip)))
        }
    }
}

async fn answer(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name)?.to_str().ok();
    let body = match Limited::new(body, ANSWER_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Err(anyhow!("the answer can't be read: {error}")),
    };
    Ok(judge(&Said {
        status: head.status.as_u16(),
        retry_after: header(RETRY_AFTER),
        kind: header(CONTENT_TYPE),
        body: &body,
    }))
}

/// The headers that a file has, a line each: `Name: value`.
pub(super) fn headers(path: &Path) -> Result<Vec<(HeaderName, HeaderValue)>> {
    use std::io::Read as _;

    let named = || format!("otlp.headers_file = {}", escape::path(path));
    let file = std::fs::File::open(path).with_context(named)?;
    let mut text = String::new();
    file.take(HEADERS_BYTES)
        .read_to_string(&mut text)
        .with_context(named)?;
    let mut headers = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // Not what stands there: it is a secret.
        let Some(header) = header(line) else {
            bail!("{}: line {number} is no header (Name: value)", named());
        };
        headers.push(header);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim().parse().ok()?;
    let mut value: HeaderValue = value.trim().parse().ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines_and_secrets() {
        let path = std::env::temp_dir().join(format!("nt-headers-{}", std::process::id()));
        std::fs::write(&path, "# mine\nAuthorization: Bearer x:y\n\n").expect("a file");
        let all = headers(&path).expect("valid");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].0, "authorization");
        assert_eq!(all[0].1, "Bearer x:y");
        assert!(all[0].1.is_sensitive());
        std::fs::write(&path, "A: b\nhunter2\n").expect("a file");
        let error = headers(&path).expect_err("no header").to_string();
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
        std::fs::remove_file(&path).expect("ours");
        assert!(headers(&path).is_err());
    }

    #[test]
    fn what_is_compressed_says_so() {
        use std::io::Read as _;

        let message = b"again and again and again".to_vec();
        let (body, encoding) = encode(message.clone(), Compression::Gzip).expect("memory");
        assert_eq!(encoding.expect("it is encoded"), "gzip");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*body)
            .read_to_end(&mut plain)
            .expect("gzip");
        assert_eq!(plain, message);
        assert!(
            encode(message, Compression::None)
                .expect("memory")
                .1
                .is_none()
        );
    }
}
