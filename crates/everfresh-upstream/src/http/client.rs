//! The settings of everfresh's own HTTP client: hyper, with TLS by rustls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::HttpClient;
use super::connect::{Connector, ProxyConnector};
use super::connection::OneRequestPerConnection;

/// The default limit of name resolution, connection and TLS handshake together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Builds everfresh's own [`HttpClient`]. Made by [`HttpClient::builder`].
#[derive(Clone, Debug)]
#[must_use = "the builder builds nothing until `build()` is called"]
pub struct HttpClientBuilder {
    connect_limit: Duration,
    more: Vec<CertificateDer<'static>>,
    proxy: Proxy,
}

/// Where the client finds its proxy.
#[derive(Clone)]
enum Proxy {
    Environment,
    None,
    Named(Uri),
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
    /// The proxy, of the environment or of [`HttpClientBuilder::proxy`], is not an `http` address.
    Proxy {
        /// The scheme of its address, if it has one.
        scheme: Option<String>,
    },
}

impl Default for HttpClientBuilder {
    fn default() -> Self {
        Self { connect_limit: CONNECT_LIMIT, more: Vec::new(), proxy: Proxy::Environment }
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

    /// Makes all calls to other machines through this proxy, in place of the environment's. The address is
    /// `http://host:port`, with `user:password@` before the host for a proxy that asks for it. The
    /// proxy opens a tunnel (`CONNECT`, RFC 9110 section 9.3.6) and sees the other server's name,
    /// not the requests.
    ///
    /// Without this setting, the client reads `HTTPS_PROXY` or `ALL_PROXY`, and `NO_PROXY`, as curl
    /// does.
    ///
    /// # Errors
    /// [`build`](Self::build) returns [`ClientError::Proxy`] if the address has another scheme.
    pub fn proxy(mut self, address: Uri) -> Self {
        self.proxy = Proxy::Named(address);
        self
    }

    /// Ignores the proxies that the environment names.
    pub fn no_proxy(mut self) -> Self {
        self.proxy = Proxy::None;
        self
    }

    /// Reads the machine's certificates and the environment's proxies, and builds the client.
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

        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            // `SecureUrl` allows `http` for this machine only.
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(ProxyConnector::new(self.proxy.matcher()?));
        let connector = Connector { inner: tls, limit: self.connect_limit };
        Ok(HttpClient::with_transport(OneRequestPerConnection(connector)))
    }
}

impl Proxy {
    /// Returns the rules that name the proxy of a call.
    fn matcher(self) -> Result<Matcher, ClientError> {
        let matcher = match self {
            Self::Environment => Matcher::from_env(),
            Self::None => Matcher::builder().build(),
            Self::Named(address) => Matcher::builder().all(address.to_string()).build(),
        };
        // A name that no list of exceptions holds.
        let any = Uri::from_static("https://everfresh.invalid");
        if let Some(proxy) = matcher.intercept(&any) {
            let (scheme, host) = (proxy.uri().scheme_str(), proxy.uri().host());
            if scheme != Some("http") {
                return Err(ClientError::Proxy { scheme: scheme.map(str::to_owned) });
            }
            tracing::info!(target: "everfresh", host, "calls to other servers go through a proxy");
        }
        Ok(matcher)
    }
}

/// Shows no user and password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::None => f.write_str("None"),
            Self::Named(address) => f.debug_tuple("Named").field(&address.host()).finish(),
        }
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
            Self::Proxy { scheme } => {
                let scheme = scheme.as_deref().unwrap_or_default();
                write!(
                    f,
                    "the proxy's address has the scheme {scheme:?}, and `http` is allowed; set \
                     HTTPS_PROXY to http://host:port, or call `no_proxy`"
                )
            }
        }
    }
}

everfresh::debug_is_display!(ClientError);

impl std::error::Error for ClientError {}
