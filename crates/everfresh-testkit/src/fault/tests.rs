//! Each fault, observed from the client and from the server.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

use super::*;

/// A server that echoes its requests and counts them.
async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            let echo = service_fn(move |request: Request<Incoming>| {
                counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::new(body)))
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), echo));
        }
    });
    (address, count)
}

/// Sends these requests over one connection, and returns all bytes until the connection is closed.
struct Client(TcpStream);

const REQUEST: &[u8] = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789";

impl Client {
    async fn send(proxy: &FaultProxy) -> Self {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        Self(stream)
    }

    async fn rest(mut self) -> io::Result<String> {
        let mut text = Vec::new();
        self.0.read_to_end(&mut text).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Reads until the whole answer is there.
    async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"0123456789") {
            assert_ne!(self.0.read_buf(&mut text).await.unwrap(), 0, "closed");
        }
        String::from_utf8(text).unwrap()
    }
}

async fn fixture() -> (FaultProxy, Arc<AtomicUsize>) {
    let (address, count) = server().await;
    (FaultProxy::start(address).await, count)
}

#[tokio::test]
async fn a_request_passes_and_the_connection_goes_on() {
    let (proxy, served) = fixture().await;
    let mut client = Client::send(&proxy).await;
    for n in 1..=3 {
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(!answer.to_lowercase().contains("connection:"), "{answer}");
        let expected = Counts { connections: 1, requests: n, forwarded: n, held: 0 };
        assert_eq!(proxy.counts(), expected);
        assert_eq!(served.load(Ordering::SeqCst), n);
        client.0.write_all(REQUEST).await.unwrap();
    }
}

#[tokio::test]
async fn a_fault_before_the_call_keeps_it_from_the_server() {
    let (proxy, served) = fixture().await;
    proxy.next(Fault::CutBefore);
    assert_eq!(Client::send(&proxy).await.rest().await.unwrap(), "");
    proxy.next(Fault::ResetBefore);
    let reset = Client::send(&proxy).await.rest().await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    proxy.next(Fault::unavailable(7));
    let answer = Client::send(&proxy).await.rest().await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 7\r\n"));
    assert_eq!((proxy.counts().requests, proxy.counts().forwarded), (3, 0));
    assert_eq!(served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_fault_after_the_call_leaves_the_servers_work_done() {
    let (proxy, served) = fixture().await;
    proxy.all(Fault::CutAfter);
    assert_eq!(Client::send(&proxy).await.rest().await.unwrap(), "");
    proxy.next(Fault::ResetAfter);
    let reset = Client::send(&proxy).await.rest().await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    proxy.next(Fault::CutMidway);
    let half = Client::send(&proxy).await.rest().await.unwrap();
    assert!(half.contains("content-length: 10\r\n") && half.ends_with("\r\n\r\n01234"), "{half}");
    proxy.next(Fault::Garble);
    let garbage = Client::send(&proxy).await.rest().await.unwrap();
    assert!(!garbage.is_empty() && !garbage.contains("HTTP/1.1"), "{garbage}");
    assert_eq!((proxy.counts().requests, proxy.counts().forwarded), (4, 4));
    assert_eq!(served.load(Ordering::SeqCst), 4);
    assert_eq!(Client::send(&proxy).await.rest().await.unwrap(), "", "the rest is cut");
}

#[tokio::test]
async fn held_bytes_arrive_on_release_and_swallowed_bytes_never() {
    let (proxy, served) = fixture().await;
    proxy.next(Fault::Hold);
    proxy.next(Fault::Swallow);
    let mut held = Client::send(&proxy).await;
    proxy.until(|counts| counts.held == 1).await;
    let swallowed = Client::send(&proxy).await;
    proxy.until(|counts| counts.held == 2).await;
    assert_eq!(served.load(Ordering::SeqCst), 2);
    let nothing = |client: &Client| client.0.try_read(&mut [0; 8]).unwrap_err().kind();
    assert_eq!(nothing(&held), io::ErrorKind::WouldBlock);
    proxy.release();
    assert!(held.answer().await.ends_with("0123456789"));
    assert_eq!(nothing(&swallowed), io::ErrorKind::WouldBlock, "open, and silent");
    drop(proxy);
    assert_eq!(swallowed.rest().await.unwrap_or_default(), "", "the proxy's end is its end");
}

#[tokio::test]
async fn an_answer_that_arrives_in_drips_is_read() {
    let (proxy, _) = fixture().await;
    proxy.next(Fault::Drip(Duration::from_micros(1)));
    let mut client = Client::send(&proxy).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 200 OK\r\n"));
}
