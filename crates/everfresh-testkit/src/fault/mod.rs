//! A network that fails on command: a proxy between a client and a server on this machine.
//!
//! # Rules
//! 1. The proxy speaks HTTP/1.1 over plain TCP, with bodies that have a `Content-Length`. Any other
//!    request makes the connection's task panic, which the client sees as a cut connection.
//! 2. Each request gets the next [`Fault`] of the queue. If the queue is empty, it gets the fault
//!    of [`all`](FaultProxy::all), which is [`Fault::Pass`] at first.
//! 3. No fault depends on chance or on time. A *before* fault reads the whole request and forwards
//!    nothing. An *after* fault applies once the proxy has the server's whole response. A held
//!    response stays held until the test releases it.
//! 4. The proxy counts everything.
//!
//! For connections with another protocol, use a [`Cable`].
//!
//! # Example
//! ```
//! use everfresh_testkit::fault::{Fault, FaultProxy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
//! let proxy = FaultProxy::start(server).await;
//! proxy.next(Fault::CutAfter); // the server acts on the next request, the client gets no response
//! // .. a client sends to `proxy.address()` ..
//! assert_eq!(proxy.counts().forwarded, 0);
//! # }
//! ```

mod cable;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use wire::Received;

pub use cable::Cable;

/// A fault that is applied to a request or to its response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No fault: the proxy forwards the request and returns the response.
    Pass,
    /// Closes the connection once the request is complete. The server sees nothing of the request.
    CutBefore,
    /// Closes the connection after the server has responded. The client sees nothing of the
    /// response.
    CutAfter,
    /// Closes the connection in the middle of the response's body, or of its head if it has no
    /// body.
    CutMidway,
    /// Like `CutBefore`, with a TCP reset.
    ResetBefore,
    /// Like `CutAfter`, with a TCP reset.
    ResetAfter,
    /// After the server's response, the client gets bytes that are not HTTP.
    Garble,
    /// After the server's response, the client gets nothing, and the connection stays open.
    Swallow,
    /// The proxy holds the server's response until the test calls
    /// [`release`](FaultProxy::release).
    Hold,
    /// The client gets the server's response one byte at a time, with this pause between two bytes.
    Drip(Duration),
    /// The server sees nothing. The client gets these bytes, and the connection is closed.
    Instead(Vec<u8>),
}

impl Fault {
    /// Returns a fault with a complete response 503 and a `Retry-After` of so many seconds. The
    /// server sees nothing.
    pub fn unavailable(retry_after: u32) -> Self {
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        Self::Instead(answer.into_bytes())
    }
}

/// The counters of a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that clients opened.
    pub connections: usize,
    /// Whole requests that clients sent.
    pub requests: usize,
    /// Whole requests that the server answered.
    pub forwarded: usize,
    /// Responses that are held or swallowed now. They count as forwarded as well.
    pub held: usize,
}

/// A proxy on its own port. It ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    faults: Mutex<Faults>,
    counts: watch::Sender<Counts>,
    /// How often the test has released responses.
    releases: watch::Sender<usize>,
}

#[derive(Debug)]
struct Faults {
    next: VecDeque<Fault>,
    rest: Fault,
}

impl FaultProxy {
    /// Starts a proxy between clients and `server`, on a free port of 127.0.0.1.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            server,
            faults: Mutex::new(Faults { next: VecDeque::new(), rest: Fault::Pass }),
            counts: watch::Sender::default(),
            releases: watch::Sender::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Self { address, shared, accepting }
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a fault to the queue. The next request without a queued fault gets it.
    pub fn next(&self, fault: Fault) {
        self.shared.faults().next.push_back(fault);
    }

    /// Sets the fault for every request without a queued fault.
    pub fn all(&self, fault: Fault) {
        self.shared.faults().rest = fault;
    }

    /// Releases every response that is held now.
    pub fn release(&self) {
        self.shared.releases.send_modify(|releases| *releases += 1);
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until `seen` returns true for the counters.
    pub async fn until(&self, seen: impl Fn(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        // The sender lives as long as `self`.
        let _ = counts.wait_for(seen).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_fault(&self) -> Fault {
        let mut faults = self.faults();
        faults.next.pop_front().unwrap_or_else(|| faults.rest.clone())
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, together with all connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        shared.count(|counts| counts.connections += 1);
        connections.spawn(serve(client, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection of a client. An error on the client's or the server's connection ends it.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut received = Received::default();
    while let Some(request) = wire::read_request(&mut client, &mut received).await? {
        shared.count(|counts| counts.requests += 1);
        let fault = shared.next_fault();
        match &fault {
            Fault::CutBefore => return Ok(()),
            Fault::ResetBefore => return client.set_zero_linger(),
            Fault::Instead(bytes) => {
                client.write_all(bytes).await?;
                return client.shutdown().await;
            }
            _ => {}
        }
        let answer = wire::exchange(shared.server, &request).await?;
        shared.count(|counts| counts.forwarded += 1);
        match fault {
            Fault::CutAfter => return Ok(()),
            Fault::ResetAfter => return client.set_zero_linger(),
            Fault::CutMidway => return client.write_all(&answer[..wire::middle(&answer)]).await,
            Fault::Garble => {
                client.write_all(b"\x16\x03 this is no HTTP\r\n\r\n").await?;
                return client.shutdown().await;
            }
            Fault::Swallow => {
                shared.count(|counts| counts.held += 1);
                return std::future::pending().await;
            }
            Fault::Hold => {
                let mut releases = shared.releases.subscribe();
                shared.count(|counts| counts.held += 1);
                let _ = releases.changed().await;
                shared.count(|counts| counts.held -= 1);
                client.write_all(&answer).await?;
            }
            Fault::Drip(pause) => {
                for byte in answer {
                    client.write_all(&[byte]).await?;
                    tokio::time::sleep(pause).await;
                }
            }
            _ => client.write_all(&answer).await?,
        }
    }
    Ok(())
}
