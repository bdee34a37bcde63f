//! Hostile input: invalid tokens, oversized bodies, and connections that are slow or break off.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{Ask, Tokens};

/// A request with invalid tokens. `good`: valid tokens, to be corrupted.
pub(super) fn ask(random: &mut Rng, good: &Tokens) -> (Ask, Tokens) {
    const NONE: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.";
    let spoil = |token: &Option<String>, random: &mut Rng| {
        let mut text = token.clone().unwrap_or_else(|| NONE.into()).into_bytes();
        let at = random.usize(..text.len().max(1));
        if let Some(byte) = text.get_mut(at) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
        String::from_utf8(text).ok()
    };
    let junk = |random: &mut Rng, most: usize| -> Option<String> {
        let length = random.usize(1..most);
        Some((0..length).map(|_| char::from(random.u8(b'-'..b'~'))).filter(|c| *c != ';').collect())
    };
    let tokens = match random.u8(..6) {
        0 => Tokens { access: Some(NONE.into()), refresh: None },
        1 => Tokens { access: spoil(&good.access, random), refresh: None },
        2 => Tokens { access: None, refresh: spoil(&good.refresh, random) },
        // Each token in the other one's place.
        3 => Tokens { access: good.refresh.clone(), refresh: good.access.clone() },
        4 => Tokens { access: junk(random, 7000), refresh: junk(random, 300) },
        _ => Tokens { access: Some(".".repeat(random.usize(1..5000))), refresh: junk(random, 200) },
    };
    let ask = match random.u8(..6) {
        0 => Ask::get("/me"),
        1 => Ask::post("/auth/refresh", ""),
        2 => Ask::post("/auth/refresh", "{".repeat(random.usize(1..100_000))),
        3 => Ask::post("/login", "{\"user\": "),
        4 => Ask::post("/oauth/token", "grant_type=refresh_token&refresh_token=%00&%FF"),
        _ => Ask::get("/auth/sessions"),
    };
    (ask, tokens)
}

/// Opens a connection that ends badly. Does not wait for an answer.
pub(super) async fn break_off(server: SocketAddr, random: &mut Rng) {
    let Ok(mut stream) = TcpStream::connect(server).await else { return };
    let pause = Duration::from_millis(random.u64(..200));
    let head = "GET /me HTTP/1.1\r\nhost: localhost\r\ncookie: access_token=";
    let sent: &[u8] = match random.u8(..5) {
        // The cases: no bytes, half of a head, half of a body, bytes that are not HTTP, and a
        // request whose answer is not read.
        0 => b"",
        1 => &head.as_bytes()[..random.usize(..head.len())],
        2 => {
            b"POST /auth/refresh HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n\r\n{\"a\""
        }
        3 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        _ => b"GET /stream HTTP/1.1\r\nhost: localhost\r\n\r\n",
    };
    // Sends one byte at a time, or all at once.
    if random.bool() {
        for byte in sent {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    } else if stream.write_all(sent).await.is_err() {
        return;
    }
    let mut some = [0; 16];
    let _ = tokio::time::timeout(pause, stream.read(&mut some)).await;
    if random.bool() {
        // A reset instead of an orderly close.
        let _ = stream.set_zero_linger();
    }
}
