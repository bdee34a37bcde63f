//! The part of HTTP/1.1 that the proxy has to parse.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes that a client has sent and that no request has consumed yet.
#[derive(Default)]
pub(super) struct Received(Vec<u8>);

/// Reads the next whole request of a connection. Returns `None` if the client has closed it.
pub(super) async fn read_request(
    client: &mut TcpStream,
    received: &mut Received,
) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(length) = request_length(&received.0) {
            let rest = received.0.split_off(length);
            return Ok(Some(std::mem::replace(&mut received.0, rest)));
        }
        if client.read_buf(&mut received.0).await? == 0 {
            return Ok(None);
        }
    }
}

/// Returns the length of the request at the start of these bytes, once all of it has arrived.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = head_length(bytes)?;
    let mut body = 0;
    for line in lines(&bytes[..head]) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => body = value.trim().parse().expect("a length"),
            "transfer-encoding" => panic!("the proxy reads bodies of a Content-Length only"),
            _ => {}
        }
    }
    (bytes.len() >= head + body).then_some(head + body)
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn lines(head: &[u8]) -> impl Iterator<Item = &str> {
    head.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

/// Sends a request to the server and reads the whole response.
///
/// The proxy asks the server to close the connection, so that the end of the response is known. The
/// client does not see this.
pub(super) async fn exchange(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&with_connection(request, Some("Connection: close"))).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(with_connection(&answer, None))
}

/// Returns the message with this field in place of its own `Connection` field.
fn with_connection(message: &[u8], field: Option<&str>) -> Vec<u8> {
    let Some(head) = head_length(message) else { return message.to_vec() };
    let (head, body) = message.split_at(head);
    let kept = lines(head)
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.is_empty())
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: Vec<_> = kept.chain(field).collect();
    [head.join("\r\n").as_bytes(), b"\r\n\r\n", body].concat()
}

/// Returns the middle of a response's body, or of its head if it has no body.
pub(super) fn middle(answer: &[u8]) -> usize {
    match head_length(answer) {
        Some(head) if head < answer.len() => head + (answer.len() - head) / 2,
        _ => answer.len() / 2,
    }
}
