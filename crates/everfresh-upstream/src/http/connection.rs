//! The transport of everfresh's own client: a connection of its own for each request.
//!
//! 1. The client connects, and only then asks for the permission to send. A node that may not send
//!    leaves no half request at the server.
//! 2. The head and the body are handed over in the poll in which the permission was granted, and
//!    that poll also writes them, because the same task drives the connection. A process that is
//!    stopped in between and goes on much later writes nothing that it may not write any more.
//! 3. No connection is used twice. A server may close an idle connection while a request is on its
//!    way, and the client can't know then whether the request arrived.
//! 4. The client sends nothing again, follows no redirect, and TLS sends no early data, because an
//!    attacker on the network could replay it (RFC 8446 section 8).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONNECTION, HOST};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::TokioTimer;

use super::body::{Incoming, Permission, SentFlag, incoming};
use super::connect::{Connector, Stream};
use super::error::{HttpError, root_cause};
use super::transport::{HttpTransport, classify};

/// The limit of an answer's head, in bytes.
const MAX_HEAD: usize = 32 * 1024;

pub(super) struct OneRequestPerConnection(pub(super) Connector);

impl HttpTransport for OneRequestPerConnection {
    fn send(
        &self,
        request: Request<Bytes>,
        permission: Option<Permission>,
        sent_flag: SentFlag,
    ) -> BoxFuture<'static, Result<Response<Incoming>, HttpError>> {
        let mut connector = self.0.clone();
        Box::pin(async move {
            let stream = connector.connect(request.uri().clone()).await?;
            let mut driver = Driver::default();
            let unsent = |error: hyper::Error| HttpError::Unsent { cause: root_cause(&error) };
            let mut sender = Sender::new(stream, &mut driver).await.map_err(unsent)?;
            if let Some(permission) = permission
                && !driver.run(permission).await
            {
                return Err(HttpError::Withheld);
            }
            let request = sender.prepare(request.map(Full::new));
            sent_flag.mark_sent();
            let answer = match &mut sender {
                Sender::Http1(sender) => driver.run(sender.try_send_request(request)).await,
                Sender::Http2(sender) => driver.run(sender.try_send_request(request)).await,
            };
            match answer {
                Ok(answer) => Ok(answer.map(|body| incoming(Driven { body, driver }))),
                Err(error) => Err(not_answered(error, &sent_flag)),
            }
        })
    }
}

/// Returns the error of a request without an answer.
fn not_answered(mut error: TrySendError<Request<Full<Bytes>>>, sent_flag: &SentFlag) -> HttpError {
    // hyper returns a request of which nothing was written.
    match error.take_message() {
        Some(_) => HttpError::Unsent { cause: root_cause(error.error()) },
        None => classify(error.error(), sent_flag),
    }
}

/// Sends a request over a connection, by the version of HTTP that TLS negotiated.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    /// Begins HTTP on this connection. Returns once the connection accepts a request.
    async fn new(stream: Stream, driver: &mut Driver) -> hyper::Result<Self> {
        if stream.connected().is_negotiated_h2() {
            let mut http = http2::Builder::new(driver.tasks.clone());
            http.timer(TokioTimer::new()).max_header_list_size(MAX_HEAD as u32);
            let (mut sender, connection) = driver.run(http.handshake(stream)).await?;
            driver.tasks.execute(async move { drop(connection.await) });
            driver.run(sender.ready()).await?;
            return Ok(Self::Http2(sender));
        }
        let mut http = http1::Builder::new();
        http.max_buf_size(MAX_HEAD)
            // What many clients accept, and some servers send.
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .ignore_invalid_headers_in_responses(true);
        let (mut sender, connection) = driver.run(http.handshake(stream)).await?;
        driver.tasks.execute(async move { drop(connection.await) });
        driver.run(sender.ready()).await?;
        Ok(Self::Http1(sender))
    }

    /// Returns the request as this version of HTTP writes it: HTTP/1.1 has the server's name in
    /// `Host` and the path alone in the first line (RFC 9112 section 3.2.1).
    fn prepare(&self, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        if let Self::Http1(_) = self {
            if let Some(host) = host(request.uri()) {
                request.headers_mut().insert(HOST, host);
            }
            // No other request follows (RFC 9112 section 9.6).
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        }
        request
    }
}

/// Returns the `Host` of an address, without the scheme's own port.
fn host(uri: &Uri) -> Option<HeaderValue> {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let host = uri.host()?;
    match uri.port_u16().filter(|port| *port != default) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        None => HeaderValue::from_str(host).ok(),
    }
}

/// Polls the tasks of a connection in the task of its request.
#[derive(Default)]
struct Driver {
    running: Vec<BoxFuture<'static, ()>>,
    tasks: Tasks,
}

/// The tasks that begin on a connection.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

impl Driver {
    /// Runs a future on the connection. What the future writes is written in the same poll.
    async fn run<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            self.poll(cx);
            // What the connection has read meanwhile.
            future.as_mut().poll(cx)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            self.running.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            let mut new = self.tasks.0.lock().unwrap_or_else(PoisonError::into_inner);
            if new.is_empty() {
                return;
            }
            self.running.append(&mut new);
        }
    }
}

/// An answer's body, which drives its connection.
struct Driven {
    body: hyper::body::Incoming,
    driver: Driver,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.driver.poll(cx);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
