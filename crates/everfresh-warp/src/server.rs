//! The layer around warp's routes, and a server for both, because warp's server takes only filters.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use everfresh::{ClaimSet, Engine};
use futures::{FutureExt as _, future::BoxFuture};
use hyper::body::{Body, Incoming};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::{conn::auto::Builder, graceful::GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower_layer::Layer as _;
use tower_service::Service;
use warp::{Filter, Reply, http::Request, reply::Response};

use crate::recover;

/// The default limit for a client to send a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// Serves routes inside the layer, in place of `warp::serve(routes)`.
///
/// Accepts routes with and without a `recover`. Keep a clone of the engine for
/// [`Engine::shutdown`](everfresh::Engine::shutdown).
///
/// ```no_run
/// # async fn run(auth: everfresh::Engine<()>) -> std::io::Result<()> {
/// use warp::Filter;
///
/// let routes = warp::path::end().map(|| "Hello");
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// everfresh_warp::serve(routes, auth.clone())
///     .incoming(listener)
///     .graceful(async {
///         // until the process has to stop
///     })
///     .run()
///     .await;
/// auth.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub fn serve<F, C>(routes: F, auth: Engine<C>) -> Server<F, C>
where
    F: Filter<Extract: Reply, Error: Into<warp::Rejection>> + Send + Sync + 'static,
    C: ClaimSet,
{
    Server { routes, auth, listener: (), stop: pending().boxed(), head_limit: HEAD_LIMIT }
}

/// Returns the routes inside the layer as a Tower service, for your own server (for example with
/// TLS) or for more layers around it.
///
/// Your own server needs a limit for requests' heads, such as [`Server::header_read_timeout`],
/// because hyper has no such limit unless its builder has a timer.
///
/// If the routes include a WebSocket, serve connections with upgrades. For client addresses, see
/// [`remote`](crate::remote).
#[expect(
    clippy::needless_pass_by_value,
    reason = "an engine is a cheap handle, which is passed by value"
)]
pub fn service<F, C, B>(
    routes: F,
    auth: Engine<C>,
) -> impl Service<Request<B>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    F: Filter<Extract: Reply, Error: Into<warp::Rejection>> + Send + Sync + 'static,
    C: ClaimSet,
    B: Body + Send + Sync + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Boxed, because routes that can reject and routes that can't have no other common type.
    auth.layer().layer(warp::service(routes.boxed().recover(recover)))
}

/// A server of routes inside the layer. [`serve`] creates it. It has the methods of warp's server.
#[must_use = "a server serves nothing until it is run"]
pub struct Server<F, C, L = ()> {
    routes: F,
    auth: Engine<C>,
    listener: L,
    stop: BoxFuture<'static, ()>,
    head_limit: Duration,
}

impl<F, C> Server<F, C>
where
    F: Filter<Extract: Reply, Error: Into<warp::Rejection>> + Send + Sync + 'static,
    C: ClaimSet,
{
    /// Listens on an address and serves.
    ///
    /// # Errors
    /// The server can't listen on the address.
    pub async fn run(self, addr: impl Into<SocketAddr>) -> io::Result<()> {
        self.bind(addr).await?.run().await;
        Ok(())
    }

    /// Listens on an address. Unlike warp's server, it does not panic if it can't listen.
    ///
    /// # Errors
    /// The server can't listen on the address.
    pub async fn bind(self, to: impl Into<SocketAddr>) -> io::Result<Server<F, C, TcpListener>> {
        Ok(self.incoming(TcpListener::bind(to.into()).await?))
    }

    /// Listens with this listener: a Tokio `TcpListener` or `UnixListener`.
    pub fn incoming<L>(self, listener: L) -> Server<F, C, L> {
        let Self { routes, auth, stop, head_limit, .. } = self;
        Server { routes, auth, listener, stop, head_limit }
    }
}

impl<F, C, L> Server<F, C, L> {
    /// Stops once `signal` completes: the server accepts no more connections, and answers the
    /// requests under way.
    ///
    /// The server does not wait for a connection that became a WebSocket.
    pub fn graceful(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = signal.boxed();
        self
    }

    /// Limits the time in which a client has to send a request's head. The time begins with the
    /// connection or with the end of the previous response. The default is 30 s. After the limit
    /// the server closes the connection.
    ///
    /// With HTTP/2 the limit applies to the first request. After that the client has to answer a
    /// periodic ping.
    pub fn header_read_timeout(mut self, limit: Duration) -> Self {
        self.head_limit = limit;
        self
    }
}

impl<F, C, L> Server<F, C, L>
where
    F: Filter<Extract: Reply, Error: Into<warp::Rejection>> + Send + Sync + 'static,
    C: ClaimSet,
    L: Listener,
{
    /// Serves HTTP/1 and HTTP/2, until the signal of [`graceful`](Self::graceful) if there is one.
    ///
    /// The server logs failures to accept a connection. After a lack of file descriptors or a
    /// similar failure, it waits for one second before it accepts the next connection.
    pub async fn run(mut self) {
        let service = service(self.routes, self.auth);
        let connections = GracefulShutdown::new();
        let limit = self.head_limit;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limit);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(limit);
        loop {
            let (stream, address) = tokio::select! {
                accepted = accept(&mut self.listener) => accepted,
                () = &mut self.stop => break,
            };
            let service = TowerToHyperService::new(service.clone());
            let begun = Arc::new(Notify::new());
            let begins = begun.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                begins.notify_one();
                if let Some(address) = address {
                    request.extensions_mut().insert(address);
                }
                service.call(request)
            });
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let connection = connections.watch(connection.into_owned());
            tokio::spawn(async move {
                let mut connection = pin!(connection);
                // hyper's own limit begins only after it has detected the client's HTTP version.
                let first = tokio::time::timeout(limit, begun.notified());
                // The result is dropped, because a client that hangs up is expected.
                tokio::select! {
                    _ = &mut connection => return,
                    first = first => if first.is_err() { return },
                }
                let _ = connection.await;
            });
        }
        drop(self.listener);
        connections.shutdown().await;
    }
}

/// A connection and the address of its peer.
type Connection<L> = (<L as Accept>::Stream, Option<SocketAddr>);

/// What a [`Server`] listens with: a Tokio `TcpListener` or `UnixListener`. The trait is sealed, as
/// warp's own is.
pub trait Listener: Accept {}

impl<L: Accept> Listener for L {}

/// The part of [`Listener`] that other crates can't implement.
pub trait Accept: Send {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn next(&mut self) -> impl Future<Output = io::Result<Connection<Self>>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&mut self) -> io::Result<Connection<Self>> {
        self.accept().await.map(|(stream, address)| (stream, Some(address)))
    }
}

#[cfg(unix)]
impl Accept for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&mut self) -> io::Result<Connection<Self>> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}

/// Accepts the next connection. A connection that broke before it was accepted is expected and
/// skipped. Any other failure would recur at once, so the server pauses before the next attempt.
async fn accept<L: Accept>(listener: &mut L) -> Connection<L> {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    let gone = [ConnectionAborted, ConnectionRefused, ConnectionReset];
    loop {
        match listener.next().await {
            Ok(connection) => return connection,
            Err(error) if gone.contains(&error.kind()) => {}
            Err(error) => {
                tracing::error!(target: "everfresh", %error, "can't accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
