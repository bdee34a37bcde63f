//! A cable that can be pulled, whatever is spoken over it.

use std::io;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// TCP between clients and a server on this machine, until it is [`cut`](Self::cut).
///
/// What a cut takes, it takes as a network does: nobody is told, connections stay open, and nothing
/// passes on them ever again, also once it is [`mend`](Self::mend)ed. Those that are opened while it
/// is cut are accepted and stay as silent. Ends, with all connections, when it is dropped.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    server: watch::Sender<SocketAddr>,
    accepting: AbortHandle,
}

impl Cable {
    /// Between clients and `server`, on a free port of 127.0.0.1.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (cut, is_cut) = watch::channel(false);
        let (server, leads_to) = watch::channel(server);
        let accepting = tokio::spawn(accept(listener, leads_to, is_cut)).abort_handle();
        Self { address, cut, server, accepting }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// New connections reach this server; those that are there stay where they are, as when a
    /// name gets another address.
    pub fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// New connections reach the server again.
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
    // Dropped with this task, and all connections with it.
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
    // Both stay open, and nobody reads.
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_cut_silences_what_is_there_and_what_comes() {
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
