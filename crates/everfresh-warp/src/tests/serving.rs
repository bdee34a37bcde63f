//! The server: addresses, upgrades, HTTP/2, shutdown, and listener errors.

use super::*;
use crate::server::Accept;

#[tokio::test]
async fn remote_is_the_clients_address() {
    let show = || remote().map(|address: Option<SocketAddr>| format!("{address:?}"));
    let (clock, auth) = fixture();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(show(), auth.clone()).incoming(listener).run());
    let seen = Browser::new(address, clock).get("/").await;
    let seen = String::from_utf8(seen.body.to_vec()).unwrap();
    assert!(seen.starts_with("Some(127.0.0.1:"), "{seen}");
    assert_ne!(seen, format!("{:?}", Some(address)));
    server.abort();

    assert_eq!(send(show(), &auth, request("GET", "/", "")).await.body, "None");
    let mut request = request("GET", "/", "");
    request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 443)));
    assert_eq!(send(show(), &auth, request).await.body, "Some(192.0.2.1:443)");
}

/// Reads until `end`.
async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), end: &[u8]) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "{}", bytes.escape_ascii());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_websocket_gets_its_cookies_with_the_101_and_passes() {
    let (clock, auth) = fixture();
    let cookie = sign_in(&auth, "ada").await;
    clock.advance(Duration::from_secs(900));
    let echo = |socket: warp::ws::WebSocket| async {
        let (mut to, mut from) = socket.split();
        while let Some(Ok(message)) = from.next().await {
            let _ = to.send(message).await;
        }
    };
    let routes = (path!("ws").and(claims::<User>()).and(warp::ws()))
        .map(move |_, upgrade: warp::ws::Ws| upgrade.on_upgrade(echo));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let server = tokio::spawn(serve(routes, auth).incoming(listener).graceful(stopped).run());

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         cookie: {cookie}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, b"\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(head.contains("set-cookie: access_token=ey"), "{head}");

    // RFC 6455 section 5.2: text, masked with zeros.
    stream.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
    assert_eq!(read_until(&mut stream, b"hello").await, "\u{fffd}\u{5}hello");

    stop.send(()).unwrap();
    server.await.expect("a WebSocket is not waited for");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_listened_on_too() {
    let (_, auth) = fixture();
    let name = format!("everfresh-warp-{}.sock", std::process::id());
    let file = std::env::temp_dir().join(name);
    let listener = tokio::net::UnixListener::bind(&file).unwrap();
    let routes = remote().map(|address: Option<SocketAddr>| format!("{address:?}"));
    let server = tokio::spawn(serve(routes, auth).incoming(listener).run());
    let mut stream = tokio::net::UnixStream::connect(&file).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("None"), "{answer}");
    server.abort();
}

#[tokio::test]
async fn http_2_is_served_on_the_same_port() {
    let (_, auth) = fixture();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = tokio::spawn(serve(me(), auth).incoming(listener).run());
    // RFC 9113 section 3.4: the preface and an empty SETTINGS frame, answered by one.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3..], [4, 0, 0, 0, 0, 0], "SETTINGS of stream 0");
    server.abort();
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_and_no_panic() {
    let (_, auth) = fixture();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = serve(me(), auth).run(taken.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_shutdown_is_final_and_lets_requests_end() {
    let (clock, auth) = fixture();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (reached, handler) = tokio::sync::mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let slow = {
        let go = go.clone();
        warp::any().then(move || {
            let (go, reached) = (go.clone(), reached.clone());
            async move {
                reached.send(()).unwrap();
                go.notified().await;
                "done"
            }
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopped = async { stopped.await.unwrap_or_default() };
    let server = tokio::spawn(serve(slow, auth).incoming(listener).graceful(stopped).run());
    let mut browser = Browser::new(address, clock);
    let answer = tokio::spawn(async move { browser.get("/").await });
    let mut handler = handler;
    handler.recv().await.expect("the handler runs");
    stop.send(()).unwrap();
    // After the server's task has run again.
    let mut attempts = 0;
    while let Ok(_let_in) = TcpStream::connect(address).await {
        attempts += 1;
        assert!(attempts < 100, "no connection is accepted any more");
    }
    assert!(!server.is_finished());
    go.notify_one();
    assert_eq!(&*answer.await.unwrap().body, b"done");
    server.await.unwrap();
}

/// Fails with these errors, and then returns one connection.
struct Failing(Vec<io::ErrorKind>, Option<DuplexStream>);

impl Accept for Failing {
    type Stream = DuplexStream;

    async fn next(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match (self.0.pop(), self.1.take()) {
            (Some(kind), stream) => {
                self.1 = stream;
                Err(kind.into())
            }
            (None, Some(stream)) => Ok((stream, None)),
            (None, None) => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lack_of_file_descriptors_is_waited_out_and_a_broken_connection_is_not() {
    use io::ErrorKind::{ConnectionAborted, Other};
    let (_, auth) = fixture();
    for (failures, seconds) in [
        (vec![], 0),
        (vec![ConnectionAborted; 1000], 0),
        (vec![Other], 1),
        (vec![Other, ConnectionAborted, Other], 2),
    ] {
        let began = tokio::time::Instant::now();
        let (mut stream, served) = tokio::io::duplex(1024);
        let listener = Failing(failures, Some(served));
        let server = tokio::spawn(serve(me(), auth.clone()).incoming(listener).run());
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let head = read_until(&mut stream, b"\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        assert_eq!(began.elapsed().as_secs(), seconds);
        server.abort();
    }
    let listener = Failing(vec![Other; 1000], None);
    let stop = tokio::time::sleep(Duration::from_millis(1500));
    let began = tokio::time::Instant::now();
    serve(me(), auth).incoming(listener).graceful(stop).run().await;
    assert_eq!(began.elapsed().as_millis(), 1500, "a stop is heard in the pause");
}

// Rows: L13.
#[tokio::test(start_paused = true)]
async fn a_request_head_does_not_take_for_ever() {
    const WHOLE: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let (_, auth) = fixture();
    for (sent, answers) in [
        (String::new(), 0),
        ("GET / HTTP/1.1\r\nhost".into(), 0),
        ("PRI * HT".into(), 0),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 0),
        (WHOLE.into(), 1),
        (format!("{WHOLE}{WHOLE}GET"), 2),
    ] {
        for limit in [None, Some(5)] {
            let began = tokio::time::Instant::now();
            let (mut stream, served) = tokio::io::duplex(4096);
            let server = serve(me(), auth.clone()).incoming(Failing(vec![], Some(served)));
            let server = match limit {
                Some(seconds) => server.header_read_timeout(Duration::from_secs(seconds)),
                None => server,
            };
            let server = tokio::spawn(server.run());
            stream.write_all(sent.as_bytes()).await.unwrap();
            let mut read = Vec::new();
            let closed = stream.read_to_end(&mut read);
            tokio::time::timeout(Duration::from_secs(600), closed).await.expect("closed").unwrap();
            assert_eq!(began.elapsed().as_secs(), limit.unwrap_or(30), "{sent:?}");
            let read = String::from_utf8_lossy(&read);
            assert_eq!(read.matches("HTTP/1.1 404").count(), answers, "{sent:?}: {read}");
            server.abort();
        }
    }
}
