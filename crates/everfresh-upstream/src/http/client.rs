//! everfresh's own HTTP client: hyper, with TLS by rustls.
//!
//! The client never sends a request twice:
//! * hyper-util's `retry_canceled_requests` is off.
//! * A connection that was idle for 1 s is not reused. A server may close an idle connection while
//!   a request is on its way, and the client can't know then whether the request arrived.
//! * The client follows no redirect, and no answer makes it send anything.
//! * TLS sends no early data, because an attacker on the network could replay it (RFC 8446
//!   section 8).

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::HttpClient;
use super::body::{BoxError, Incoming, Outgoing, Permission, SentFlag, incoming};
use super::error::HttpError;
use super::transport::{HttpTransport, classify};

/// The default limit of name resolution, connection and TLS handshake together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The longest time that a connection may be idle and still be reused.
const IDLE_LIMIT: Duration = Duration::from_secs(1);

/// The limit of an answer's head, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// Builds everfresh's own [`HttpClient`]. Made by [`HttpClient::builder`].
#[derive(Clone, Debug)]
#[must_use = "the builder builds nothing until `build()` is called"]
pub struct HttpClientBuilder {
    connect_limit: Duration,
    more: Vec<CertificateDer<'static>>,
}

/// An error of building the client.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// This machine trusts no certificate authority, and [`HttpClientBuilder::trust_pem`] added
    /// none.
    NoRoots {
        /// The first error of the machine's certificate store, if it reported one.
        cause: Option<String>,
    },
    /// The PEM text for [`HttpClientBuilder::trust_pem`] holds no certificate, or can't be read.
    NoCertificate,
    /// TLS can't use a certificate that was added.
    Certificate {
        /// The error of TLS.
        cause: String,
    },
}

impl Default for HttpClientBuilder {
    fn default() -> Self {
        Self { connect_limit: CONNECT_LIMIT, more: Vec::new() }
    }
}

impl HttpClientBuilder {
    /// Limits the time of name resolution, connection and TLS handshake together. The default is
    /// 5 s.
    pub fn connect_limit(mut self, limit: Duration) -> Self {
        self.connect_limit = limit;
        self
    }

    /// Trusts these certificates in addition to the machine's, such as the certificate of a private
    /// authority. The format is PEM.
    ///
    /// # Errors
    /// Returns [`ClientError::NoCertificate`] if the text holds no certificate, or can't be read.
    pub fn trust_pem(mut self, pem: &[u8]) -> Result<Self, ClientError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match found {
            Ok(found) if !found.is_empty() => self.more.extend(found),
            _ => return Err(ClientError::NoCertificate),
        }
        Ok(self)
    }

    /// Reads the machine's certificates and builds the client.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn build(self) -> Result<HttpClient, ClientError> {
        let native = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // A certificate of the machine's store that can't be parsed is skipped.
        roots.add_parsable_certificates(native.certs);
        for certificate in self.more {
            let added = roots.add(certificate);
            added.map_err(|error| ClientError::Certificate { cause: error.to_string() })?;
        }
        if roots.is_empty() {
            let cause = native.errors.first().map(ToString::to_string);
            return Err(ClientError::NoRoots { cause });
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Certificate { cause: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.enable_early_data = false;

        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            // `SecureUrl` allows `http` for this machine only.
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .http1_max_buf_size(MAX_HEAD)
            .http2_max_header_list_size(MAX_HEAD as u32)
            .build(Connector { inner: tls, limit: self.connect_limit });
        Ok(HttpClient::with_transport(HyperTransport(client)))
    }
}

struct HyperTransport(Client<Connector, Outgoing>);

impl HttpTransport for HyperTransport {
    fn send(
        &self,
        request: Request<Bytes>,
        permission: Option<Permission>,
        sent_flag: SentFlag,
    ) -> BoxFuture<'static, Result<Response<Incoming>, HttpError>> {
        let client = self.0.clone();
        Box::pin(async move {
            let mut permission = permission;
            if request.body().is_empty() {
                // An empty body is never polled, so the permission is polled here.
                if let Some(permission) = permission.take()
                    && !permission.await
                {
                    return Err(sent_flag.mark_withheld());
                }
                sent_flag.mark_sent();
            }
            let body = |data| Outgoing { data, permission, sent_flag: sent_flag.clone() };
            match client.request(request.map(body)).await {
                Ok(answer) => Ok(answer.map(incoming)),
                Err(error) => Err(classify(&error, &sent_flag)),
            }
        })
    }
}

/// Connects within a limit, which includes the TLS handshake.
#[derive(Clone)]
struct Connector {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(HttpError::ConnectTimeout { limit }.into()),
            }
        })
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoots { cause } => {
                f.write_str("this machine trusts no certificate authority")?;
                if let Some(cause) = cause {
                    write!(f, " ({cause})")?;
                }
                f.write_str(
                    "; install its `ca-certificates`, set SSL_CERT_FILE, or name one by `trust_pem`",
                )
            }
            Self::NoCertificate => f.write_str(
                "`trust_pem`: the text holds no certificate; pass PEM, which begins with BEGIN \
                 CERTIFICATE",
            ),
            Self::Certificate { cause } => {
                write!(f, "`trust_pem`: {cause}; pass a certificate authority's own certificate")
            }
        }
    }
}

everfresh::debug_is_display!(ClientError);

impl std::error::Error for ClientError {}
