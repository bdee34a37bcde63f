//! A network that fails on command: a proxy between a client and a server on this machine.
//!
//! # Rules
//! 1. It speaks HTTP/1.1 over plain TCP, with bodies of a `Content-Length`; other requests are a
//!    panic of its task, which shows as a cut connection.
//! 2. Each request meets the next [`Fault`] of the queue, or the one for [`all`](FaultProxy::all)
//!    the rest, which is [`Fault::Pass`] at first.
//! 3. Nothing happens by chance or by time: a fault *before* reads the whole request and forwards
//!    nothing, one *after* has the server's whole answer before it strikes, and what is held is
//!    held until the test lets it go.
//! 4. Everything is counted.
//!
//! What speaks something else is cut by a [`Cable`].
//!
//! # Example
//! ```
//! use everfresh_testkit::fault::{Fault, FaultProxy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
//! let proxy = FaultProxy::start(server).await;
//! proxy.next(Fault::CutAfter);    // the server does what the next request says, nobody hears of it
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

/// What becomes of a request and of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: the request is forwarded, and the answer comes back.
    Pass,
    /// The connection is closed when the request is there; the server sees nothing of it.
    CutBefore,
    /// The connection is closed when the server has answered; the client sees nothing of it.
    CutAfter,
    /// The connection is closed in the middle of the answer's body, or of its head if it has none.
    CutMidway,
    /// As `CutBefore`, by a TCP reset.
    ResetBefore,
    /// As `CutAfter`, by a TCP reset.
    ResetAfter,
    /// The server has answered, and the client gets bytes that are no HTTP.
    Garble,
    /// The server has answered, the client hears nothing, and the connection stays open.
    Swallow,
    /// The server has answered; the client gets it when the test says so, by
    /// [`release`](FaultProxy::release).
    Hold,
    /// The server has answered; the client gets a byte of it, then waits for so long, and so on.
    Drip(Duration),
    /// The server sees nothing; the client gets these bytes, and the connection is closed.
    Instead(Vec<u8>),
}

impl Fault {
    /// A complete answer 503, to be tried again in so many seconds. The server sees nothing.
    pub fn unavailable(retry_after: u32) -> Self {
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {retry_after}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        Self::Instead(answer.into_bytes())
    }
}

/// What a proxy has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that clients opened.
    pub connections: usize,
    /// Whole requests that clients sent.
    pub requests: usize,
    /// Whole requests that the server answered.
    pub forwarded: usize,
    /// Answers that are held or swallowed, of those.
    pub held: usize,
}

/// A proxy on a port of its own. Ends, with all its connections, when it is dropped.
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
    /// How often the test has let answers go.
    releases: watch::Sender<usize>,
}

#[derive(Debug)]
struct Faults {
    next: VecDeque<Fault>,
    rest: Fault,
}

impl FaultProxy {
    /// Stands between clients and `server`, on a free port of 127.0.0.1.
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

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of the requests to come, the first one without a fault of its own meets this one.
    pub fn next(&self, fault: Fault) {
        self.shared.faults().next.push_back(fault);
    }

    /// Every request without a fault of its own meets this one.
    pub fn all(&self, fault: Fault) {
        self.shared.faults().rest = fault;
    }

    /// Lets every answer go that is held now.
    pub fn release(&self) {
        self.shared.releases.send_modify(|releases| *releases += 1);
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until it has seen what the test waits for.
    pub async fn until(&self, seen: impl Fn(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        // The sender lives as long as we do.
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

    fn pick(&self) -> Fault {
        let mut faults = self.faults();
        faults.next.pop_front().unwrap_or_else(|| faults.rest.clone())
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        shared.count(|counts| counts.connections += 1);
        connections.spawn(serve(client, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection of a client. An error is one of the client's or the server's connection, which
/// ends here.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut received = Received::default();
    while let Some(request) = wire::read_request(&mut client, &mut received).await? {
        shared.count(|counts| counts.requests += 1);
        let fault = shared.pick();
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
