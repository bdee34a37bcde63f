//! Helpers that the tests share: servers on this machine that run a test's handler and count
//! connections and requests.

#![cfg(feature = "client")]

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::{HttpClient, SecureUrl};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A whole body.
pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}

/// A server that passes each request, with its whole body, to a function and sends its response.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: tokio::task::AbortHandle,
}

impl Server {
    pub(crate) async fn new<F>(handler: F) -> Self
    where
        F: Fn(Request<Bytes>) -> Response<Body> + Send + Sync + 'static,
    {
        Self::start(handler, None).await
    }

    /// Starts the same server behind TLS, with this certificate.
    pub(crate) async fn secure<F>(certificate: &Certificate, handler: F) -> Self
    where
        F: Fn(Request<Bytes>) -> Response<Body> + Send + Sync + 'static,
    {
        Self::start(handler, Some(certificate.acceptor(&[b"h2", b"http/1.1"]))).await
    }

    pub(crate) async fn start<F>(handler: F, tls: Option<TlsAcceptor>) -> Self
    where
        F: Fn(Request<Bytes>) -> Response<Body> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (connections, requests) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (connected, requested) = (connections.clone(), requests.clone());
        let handler = Arc::new(handler);
        let accept = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connected.fetch_add(1, Ordering::SeqCst);
                let (handler, requested) = (handler.clone(), requested.clone());
                let handler = move |request| {
                    requested.fetch_add(1, Ordering::SeqCst);
                    handler(request)
                };
                match tls.clone() {
                    None => drop(tokio::spawn(serve(stream, handler))),
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, handler).await;
                        }
                    })),
                }
            }
        };
        let task = tokio::spawn(accept).abort_handle();
        Self { address, scheme, connections, requests, task }
    }

    pub(crate) fn url(&self, path: &str) -> SecureUrl {
        format!("{}://{}{path}", self.scheme, self.address).parse().unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of complete requests.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S, F>(stream: S, handler: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Bytes>) -> Response<Body> + Clone + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            // An incomplete request does not reach the handler.
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(handler(Request::from_parts(head, body)))
        }
    });
    let http = Builder::new(TokioExecutor::new());
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// A self-signed certificate, which a client trusts only if a test adds it.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    key: rcgen::KeyPair,
    certificate: rcgen::Certificate,
}

impl Certificate {
    pub(crate) fn of(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    pub(crate) fn with(name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), key, certificate }
    }

    pub(crate) fn acceptor(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config).into()
    }
}

/// Returns a client over a function. It uses no socket, so tokio's time may be paused.
pub(crate) fn over<F>(handler: F) -> HttpClient
where
    F: Fn(Request<Full<Bytes>>) -> Response<Body> + Clone + Send + Sync + 'static,
{
    HttpClient::over(tower::service_fn(move |request| ready(Ok::<_, Infallible>(handler(request)))))
}
