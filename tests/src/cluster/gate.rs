//! A gate between a node and its database server that closes at a given message.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To the database server.
    Asked,
    /// From the server.
    Answered,
}

/// A TCP proxy to a server on this machine that counts messages. It takes the result of one read
/// for one message, which is right as long as each side waits for the other.
///
/// Once closed, it holds all bytes in both directions and loses none. Messages that a node sent
/// before it was killed arrive when the gate is opened. Dropping it ends all connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The given number of messages may still pass in this direction.
    Counting(Way, usize),
    Closed,
}

impl Gate {
    /// On a free port of 127.0.0.1.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(watch::Sender::new(State::Open));
        let accepting = tokio::spawn(accept(listener, server, state.clone())).abort_handle();
        Self { address, state, accepting }
    }

    /// The address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the given number of messages pass in this direction, and closes at the next one.
    pub fn close_after(&self, way: Way, messages: usize) {
        self.state.send_replace(State::Counting(way, messages));
    }

    /// Lets everything pass.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }

    /// Waits until it is closed.
    pub async fn closed(&self) {
        // The sender lives as long as this gate.
        let _ = self.state.subscribe().wait_for(|state| *state == State::Closed).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: Arc<watch::Sender<State>>) {
    // Dropped with this task, which ends all connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, server, state.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(
    client: TcpStream,
    server: SocketAddr,
    state: Arc<watch::Sender<State>>,
) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = pass(from_client, to_server, Way::Asked, &state);
    let answered = pass(from_server, to_client, Way::Answered, &state);
    let (asked, answered) = tokio::join!(asked, answered);
    asked.and(answered)
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    state: &watch::Sender<State>,
) -> io::Result<()> {
    let mut message = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut message).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        state.send_if_modified(|state| match state {
            State::Counting(counted, 0) if *counted == way => {
                *state = State::Closed;
                true
            }
            State::Counting(counted, left) if *counted == way => {
                *left -= 1;
                false
            }
            _ => false,
        });
        let _ = state.subscribe().wait_for(|state| *state != State::Closed).await;
        to.write_all(&message[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_fault_proxy_closes_at_the_named_message_and_loses_nothing() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Gate::start(server.local_addr().unwrap()).await;
        let echo = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut seen = Vec::new();
            let mut byte = [0];
            while stream.read(&mut byte).await.unwrap() == 1 {
                seen.push(byte[0]);
                let _ = stream.write_all(&byte).await;
            }
            seen
        });
        let mut client = TcpStream::connect(gate.address()).await.unwrap();
        gate.close_after(Way::Answered, 1);
        client.write_all(b"a").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'a');
        client.write_all(b"b").await.unwrap();
        gate.closed().await;
        assert!(timeout(Duration::from_millis(50), client.read_u8()).await.is_err());
        gate.open();
        assert_eq!(client.read_u8().await.unwrap(), b'b');
        gate.close_after(Way::Asked, 0);
        client.write_all(b"c").await.unwrap();
        gate.closed().await;
        drop(client);
        assert!(!echo.is_finished());
        gate.open();
        assert_eq!(echo.await.unwrap(), b"abc", "also what a closed connection sent");
    }
}
