//! How everfresh's own client connects: directly or through a proxy's tunnel, within a limit.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::body::BoxError;
use super::error::{self, HttpError};
use super::url::is_loopback;

/// A connection, with TLS if the address has it.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects within a limit, which includes the tunnel and the TLS handshake.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) inner: HttpsConnector<ProxyConnector>,
    pub(super) limit: Duration,
}

impl Connector {
    /// Connects to the server of this address. All errors are of a request that was not sent.
    pub(super) async fn connect(&mut self, uri: Uri) -> Result<Stream, HttpError> {
        match tokio::time::timeout(self.limit, self.inner.call(uri)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let cause = error::root_cause(&*error);
                Err(match error::find::<rustls::Error>(&*error) {
                    Some(_) => HttpError::Tls { cause },
                    None => HttpError::Connect { cause },
                })
            }
            Err(_) => Err(HttpError::ConnectTimeout { limit: self.limit }),
        }
    }
}

/// Connects to a server, or to a proxy that opens a tunnel to it.
#[derive(Clone)]
pub(super) struct ProxyConnector {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl ProxyConnector {
    pub(super) fn new(proxies: Matcher) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self { tcp, proxies: Arc::new(proxies) }
    }
}

impl Service<Uri> for ProxyConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<TokioIo<TcpStream>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // No proxy reaches this machine's own addresses. Only these go without TLS.
        let is_here = uri.host().is_some_and(|host| is_loopback(host.trim_matches(['[', ']'])));
        match self.proxies.intercept(&uri).filter(|_| !is_here) {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
                if let Some(basic) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(basic.clone());
                }
                let connecting = tunnel.call(uri);
                Box::pin(async move { Ok(connecting.await?) })
            }
            None => {
                let connecting = self.tcp.call(uri);
                Box::pin(async move { Ok(connecting.await?) })
            }
        }
    }
}
