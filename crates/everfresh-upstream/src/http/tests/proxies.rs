//! A proxy's tunnel to the other server.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A proxy that opens tunnels to one address, whatever name the client asks for, and keeps the head
/// of each request for one.
async fn proxy(to: std::net::SocketAddr, status: &'static str) -> (Uri, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let heads = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let heads = heads.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                let answer = format!("HTTP/1.1 {status}\r\n\r\n");
                client.write_all(answer.as_bytes()).await.unwrap();
                if status.starts_with("200") {
                    let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (format!("http://user:s%3Acret@{address}").parse().unwrap(), asked)
}

#[tokio::test]
async fn a_call_goes_through_the_proxys_tunnel_and_the_proxy_sees_no_request() {
    let certificate = Certificate::of("provider.example");
    let server = Server::secure(&certificate, |request: Request<Bytes>| {
        Response::new(full(request.into_body()))
    })
    .await;
    let client = |proxy: &Uri| {
        let builder = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
        builder.proxy(proxy.clone()).build().unwrap()
    };
    let url: SecureUrl = "https://provider.example/token".parse().unwrap();
    let (address, asked) = proxy(server.address, "200 Connection established").await;
    let answer = refresh(&client(&address), &url).await.unwrap();
    assert!(answer.body.ends_with(SECRET.as_bytes()));
    let heads = std::mem::take(&mut *asked.lock().unwrap());
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("CONNECT provider.example:443 HTTP/1.1\r\n"), "{heads:?}");
    let basic = "Proxy-Authorization: Basic dXNlcjpzOmNyZXQ=\r\n";
    assert!(heads[0].contains(basic) && !heads[0].contains(SECRET), "{heads:?}");

    // This machine's own addresses need no proxy, with TLS or without.
    let plain = echo().await;
    refresh(&client(&address), &plain.url("/token")).await.unwrap();
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{port}/token").parse().unwrap();
        let error = refresh(&client(&address), &url).await.unwrap_err();
        assert!(matches!(&error, HttpError::Tls { .. }), "another name: {error:?}");
    }
    assert!(asked.lock().unwrap().is_empty());

    for status in ["407 Proxy Authentication Required", "502 Bad Gateway"] {
        let (address, _) = proxy(server.address, status).await;
        let error = refresh(&client(&address), &url).await.unwrap_err();
        assert!(matches!(&error, HttpError::Connect { .. }), "{error:?}");
        assert!(error.certainly_unsent() && error.to_string().contains("tunnel"), "{error}");
    }
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_proxy_of_another_scheme_is_an_error_and_shows_no_password() {
    for address in ["socks5://user:s3cret@proxy.example:1080", "https://proxy.example"] {
        let error = HttpClient::builder().proxy(address.parse().unwrap()).build().unwrap_err();
        assert!(matches!(&error, ClientError::Proxy { scheme: Some(_) }), "{error:?}");
        assert!(error.to_string().contains("no_proxy") && !error.to_string().contains("s3cret"));
    }
    assert!(HttpClient::builder().no_proxy().build().is_ok());
    let builder = HttpClient::builder().proxy("http://user:s3cret@proxy.example".parse().unwrap());
    assert!(!format!("{builder:?}").contains("s3cret"), "{builder:?}");
}
