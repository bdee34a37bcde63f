//! A TCP connection that a test can interrupt, for any protocol.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Forwards TCP between clients and a server on this machine, until it is [`cut`](Self::cut).
///
/// A cut behaves like a network failure: neither end is notified and connections stay open, but
/// they never carry data again, even after [`mend`](Self::mend). Connections that are opened during
/// a cut are accepted and stay silent as well. The cable ends, with all connections, when it is
/// dropped.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    server: watch::Sender<SocketAddr>,
    accepting: AbortHandle,
}

impl Cable {
    /// Starts a cable between clients and `server`, on a free port of 127.0.0.1.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (cut, is_cut) = watch::channel(false);
        let (server, leads_to) = watch::channel(server);
        let accepting = tokio::spawn(accept(listener, leads_to, is_cut)).abort_handle();
        Self { address, cut, server, accepting }
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops all forwarding from now on.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Forwards new connections to this server. Existing connections stay with their server, as if
    /// a name got another address.
    pub fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// Forwards new connections to the server again.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    leads_to: watch::Receiver<SocketAddr>,
    is_cut: watch::Receiver<bool>,
) {
    // Dropped with this task, together with all connections.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let server = *leads_to.borrow();
        connections.spawn(carry(client, server, is_cut.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    mut is_cut: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    tokio::select! {
        biased;
        _ = is_cut.wait_for(|cut| *cut) => {}
        ended = copy_bidirectional(&mut client, &mut server) => return ended.map(drop),
    }
    // Both ends stay open, and the cable reads from neither.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_cut_silences_open_and_new_connections() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cable = Cable::start(server.local_addr().unwrap()).await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let mut before = TcpStream::connect(cable.address()).await.unwrap();
        echo(&mut before).await;
        cable.cut();
        let mut during = TcpStream::connect(cable.address()).await.unwrap();
        assert!(timeout(Duration::from_millis(100), echo(&mut before)).await.is_err());
        assert!(timeout(Duration::from_millis(100), echo(&mut during)).await.is_err());
        cable.mend();
        echo(&mut TcpStream::connect(cable.address()).await.unwrap()).await;
        assert!(timeout(Duration::from_millis(100), echo(&mut before)).await.is_err());
    }

    async fn echo(stream: &mut TcpStream) {
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
    }
}
