//! HTTP/2 servers that refuse a request or go away, by frames as RFC 9113 section 4.1 has them.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const PREFACE: usize = 24;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

fn go_away(last: u32, reason: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
}

fn reset(reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &reason.to_be_bytes())
}

/// Reads frames up to the end of the request.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) {
    stream.read_exact(&mut [0; PREFACE]).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        const END_STREAM: u8 = 1;
        if head[3] <= HEADERS && head[4] & END_STREAM != 0 {
            return;
        }
    }
}

/// Sends a request to a server that reads it, writes these frames and closes the connection.
async fn answered(frames: Vec<u8>) -> HttpError {
    let certificate = Certificate::of("127.0.0.1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/token", listener.local_addr().unwrap()).parse().unwrap();
    let tls = certificate.acceptor(&[b"h2"]);
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(stream).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(&frames).await.unwrap();
        stream.shutdown().await.unwrap();
        // What the client still says, so that the connection is not reset.
        while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    };
    let client = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
    let client = client.build().unwrap();
    let (error, ()) = tokio::join!(refresh(&client, &url), server);
    error.unwrap_err()
}

#[tokio::test]
async fn a_request_that_the_server_did_not_process_counts_as_unsent() {
    const NO_ERROR: u32 = 0;
    const INTERNAL_ERROR: u32 = 2;
    const REFUSED_STREAM: u32 = 7;
    const CANCEL: u32 = 8;
    for (name, frames, unsent) in [
        ("refused", reset(REFUSED_STREAM), true),
        ("going away before it", go_away(0, NO_ERROR), true),
        ("an error before it", go_away(0, INTERNAL_ERROR), true),
        ("reset", reset(INTERNAL_ERROR), false),
        ("cancelled", reset(CANCEL), false),
        ("going away after it", go_away(1, NO_ERROR), false),
        ("an error after it", go_away(1, INTERNAL_ERROR), false),
        ("nothing", Vec::new(), false),
    ] {
        let error = answered(frames).await;
        assert_eq!(error.certainly_unsent(), unsent, "{name}: {error:?}");
        let fits = matches!(&error, HttpError::Unsent { .. } | HttpError::Lost { .. });
        assert!(fits, "{name}: {error:?}");
    }
}
