//! Complete answers that are odd: the client reads what it can, within the limits.

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const TOKENS: &str = r#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600}"#;

/// A server that reads a request and writes these bytes. Then it closes TCP, without a word of TLS.
async fn raw(answer: impl Into<Vec<u8>>, tls: Option<&Certificate>) -> SecureUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/token", listener.local_addr().unwrap()).parse().unwrap();
    let (answer, tls) = (answer.into(), tls.map(|tls| tls.acceptor(&[b"http/1.1"])));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 8 * 1024];
        let Some(tls) = tls else {
            assert!(stream.read(&mut request).await.unwrap() > 0);
            return stream.write_all(&answer).await.unwrap();
        };
        let mut secure = tls.accept(stream).await.unwrap();
        assert!(secure.read(&mut request).await.unwrap() > 0);
        secure.write_all(&answer).await.unwrap();
        secure.flush().await.unwrap();
        // Dropped without `close_notify`.
    });
    url
}

fn answer(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body.as_ref()].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

// Rows: S37.
#[tokio::test]
async fn no_coding_is_asked_for_and_those_of_old_are_undone_within_the_limit() {
    let packed = |coding: &str, body: Vec<u8>| {
        let response = Response::builder().header(CONTENT_ENCODING, coding);
        response.body(full(body)).unwrap()
    };
    let server = Server::new(move |request| {
        assert_eq!(request.headers()[ACCEPT_ENCODING], "identity");
        let tokens = TOKENS.as_bytes();
        match request.uri().path() {
            "/gzip" => packed("gzip", gzip(tokens)),
            "/x-gzip" => packed("X-Gzip", gzip(tokens)),
            "/deflate" => packed("deflate", deflate(tokens)),
            "/identity" => packed("identity", tokens.to_vec()),
            "/nothing" => packed("gzip", Vec::new()),
            "/bomb" => packed("gzip", gzip(&vec![b' '; 50 * MAX_ANSWER])),
            "/cut" => packed("gzip", gzip(tokens)[..40].to_vec()),
            _ => packed("br", tokens.to_vec()),
        }
    })
    .await;
    let client = client();
    for path in ["/gzip", "/x-gzip", "/deflate", "/identity"] {
        let answer = client.get(&server.url(path)).send().await.unwrap();
        assert_eq!(&answer.body[..], TOKENS.as_bytes(), "{path}");
    }
    assert!(client.get(&server.url("/nothing")).send().await.unwrap().body.is_empty());
    let error = async |path| client.get(&server.url(path)).send().await.unwrap_err();
    let too_large = HttpError::TooLarge { status: StatusCode::OK, limit: MAX_ANSWER };
    assert_eq!(error("/bomb").await, too_large);
    // What the client can't read may have been the tokens.
    for path in ["/cut", "/other"] {
        let error = error(path).await;
        assert!(matches!(&error, HttpError::Coding { .. }), "{path}: {error:?}");
        assert!(!error.certainly_unsent() && !error.to_string().contains("at-1"), "{error}");
    }
}

#[tokio::test]
async fn a_whole_object_is_an_answer_however_the_connection_ended() {
    let certificate = Certificate::of("127.0.0.1");
    let client = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
    let client = client.build().unwrap();
    let old = format!("HTTP/1.0 200 OK\r\n\r\n{TOKENS}");
    for (name, whole) in [
        ("HTTP/1.0", old.into_bytes()),
        ("no length", answer("Connection: close\r\n", TOKENS)),
        ("a length that is too great", answer("Content-Length: 999\r\n", TOKENS)),
        ("no last chunk", {
            let chunk = format!("{:x}\r\n{TOKENS}\r\n", TOKENS.len());
            answer("Transfer-Encoding: chunked\r\n", chunk)
        }),
        ("packed", {
            answer("Content-Encoding: gzip\r\nContent-Length: 999\r\n", gzip(TOKENS.as_bytes()))
        }),
    ] {
        for tls in [None, Some(&certificate)] {
            let url = raw(whole.clone(), tls).await;
            let answer = refresh(&client, &url).await;
            let answer =
                answer.unwrap_or_else(|error| panic!("{name}, {}: {error}", tls.is_some()));
            assert_eq!(&answer.body[..], TOKENS.as_bytes(), "{name}");
        }
    }
    for cut in [&TOKENS[..TOKENS.len() - 1], "[1, 2]", "access_token=at-1", "12"] {
        let url = raw(answer("Content-Length: 999\r\n", cut), Some(&certificate)).await;
        let error = refresh(&client, &url).await.unwrap_err();
        assert_eq!(error, HttpError::Cut { status: StatusCode::OK }, "{cut}");
    }
}

#[tokio::test]
async fn an_odd_header_field_costs_no_answer() {
    let long = format!("X-Long: {}\r\n", "x".repeat(20_000));
    for field in [
        "X-Odd : 1\r\n",
        "X Frame Options: deny\r\n",
        "X-Name: Jos\u{e9}\r\n",
        "X-Folded: a\r\n b\r\n",
        "no colon\r\n",
        &long,
    ] {
        let head = format!("{field}Content-Length: {}\r\n", TOKENS.len());
        let url = raw(answer(&head, TOKENS), None).await;
        let answer = refresh(&client(), &url).await;
        let answer = answer.unwrap_or_else(|error| panic!("{field:?}: {error}"));
        assert_eq!(&answer.body[..], TOKENS.as_bytes(), "{field:?}");
    }
    let early = format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", {
        String::from_utf8(answer("Content-Length: 64\r\n", TOKENS)).unwrap()
    });
    assert_eq!(refresh(&client(), &raw(early, None).await).await.unwrap().status, StatusCode::OK);
}
