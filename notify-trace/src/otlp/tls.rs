//! Encrypted connections: TLS 1.2 and 1.3, by rustls.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::TlsFiles;
use crate::escape;

/// Connects to one host.
pub(super) struct Connector {
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Connector {
    /// # Errors
    /// If certificates can't be read, or there are none.
    pub(super) fn new(host: &str, files: &TlsFiles) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("otlp.endpoint: {host} is no name of a host"))?;
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots(files)?);
        let config = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => {
                let named = || format!("otlp.certificate_file = {}", escape::path(certificate));
                let chain = certificates(certificate).with_context(named)?;
                let named = || format!("otlp.key_file = {}", escape::path(key));
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| anyhow!("{error}"))
                    .with_context(named)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .context("otlp.certificate_file and otlp.key_file")?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => bail!("otlp.certificate_file and otlp.key_file go together"),
        };
        Ok(Self {
            name,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let stream = self.connector.connect(self.name.clone(), stream);
        stream.await.context("TLS")
    }
}

/// Whom to trust: those of a file, else those that this system trusts.
fn roots(files: &TlsFiles) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.authorities {
        let named = || format!("otlp.ca_file = {}", escape::path(path));
        for certificate in certificates(path).with_context(named)? {
            roots.add(certificate).with_context(named)?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            bail!(
                "otlp.endpoint: no certificate authorities are installed on this system \
                 (the package ca-certificates); name some in otlp.ca_file"
            );
        }
    }
    Ok(roots)
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| anyhow!("{error}"))?;
    if all.is_empty() {
        bail!("there is no certificate in it");
    }
    Ok(all)
}
