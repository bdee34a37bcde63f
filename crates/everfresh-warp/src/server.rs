//! The layer around warp's routes, and a server for both: warp's own takes filters only.

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

/// How long a request's head may take unless another limit is set.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// Serves routes inside the layer, in place of `warp::serve(routes)`.
///
/// Takes recovered routes and others. Keep a clone of the engine for
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
///         // until somebody says stop
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

/// Routes inside the layer as a Tower service, for a server of your own (TLS, for example) or for
/// more layers around it.
///
/// A server of your own needs a limit for requests' heads, as [`Server::header_read_timeout`] is
/// one: hyper has none as long as its builder has no timer.
///
/// Serve connections with upgrades, if there is a WebSocket among the routes, and see
/// [`remote`](crate::remote).
#[expect(clippy::needless_pass_by_value, reason = "an engine is a handle; a reference says less")]
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
    // Boxed, since routes that can reject and routes that can't have no other name in common.
    auth.layer().layer(warp::service(routes.boxed().recover(recover)))
}

/// A server of routes inside the layer. Made by [`serve`], with the methods of warp's own.
#[must_use = "a server does nothing until it is run"]
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
    pub async fn run(self, addr: impl Into<SocketAddr>) -> io::Result<()> {
        self.bind(addr).await?.run().await;
        Ok(())
    }

    /// Listens on an address. Unlike warp's, it does not panic where that can't be done.
    pub async fn bind(self, to: impl Into<SocketAddr>) -> io::Result<Server<F, C, TcpListener>> {
        Ok(self.incoming(TcpListener::bind(to.into()).await?))
    }

    /// Listens with this: a Tokio `TcpListener` or `UnixListener`.
    pub fn incoming<L>(self, listener: L) -> Server<F, C, L> {
        let Self { routes, auth, stop, head_limit, .. } = self;
        Server { routes, auth, listener, stop, head_limit }
    }
}

impl<F, C, L> Server<F, C, L> {
    /// Stops once `signal` ends: nobody is let in any more, and requests under way are answered.
    ///
    /// A connection that became a WebSocket is not waited for.
    pub fn graceful(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = signal.boxed();
        self
    }

    /// How long a client may take for a request's head, from its connection on or from the end of
    /// the response before: 30 s unless set. Then the connection is closed.
    ///
    /// By HTTP/2 it is the limit for the first request; later on the client has to answer a ping
    /// every so often.
    pub fn header_read_timeout(mut self, limit: Duration) -> Self {
        self.head_limit = limit;
        self
    }
}

impl<F, C, L> Server<F, C, L>
where
    F: Filter<Extract: Reply, Error: Into<warp::Rejection>> + Send + Sync + 'static,
    C: ClaimSet,
    L: Accept,
{
    /// Serves HTTP/1 and HTTP/2, for ever or until the signal of [`graceful`](Self::graceful).
    ///
    /// Connections that can't be accepted are logged; after a want of file descriptors and the
    /// like it waits for a second before it goes on.
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
                // hyper's own limit begins once it is known which HTTP the client speaks.
                let first = tokio::time::timeout(limit, begun.notified());
                // Its result is dropped: a client that hangs up is no news.
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

/// A connection, and where from.
type Connection<L> = (<L as Accept>::Stream, Option<SocketAddr>);

/// What a server listens with. Sealed, as warp's own is.
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

/// The next connection. One that broke before it was accepted is no news; what else goes wrong
/// would do so again at once, so there is a pause.
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
