//! The bodies of requests and answers.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf as _, Bytes};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use futures::future::BoxFuture;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use serde::de::IgnoredAny;

use super::error::HttpError;

/// Resolves to whether a request may be sent. It is polled at the last moment before sending.
pub(super) type Permission = BoxFuture<'static, bool>;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer's body, from any transport.
pub(super) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// Records whether a request was handed to the transport. Until then the server certainly received
/// nothing of it.
#[derive(Clone, Debug, Default)]
pub(super) struct SentFlag(Arc<AtomicBool>);

impl SentFlag {
    /// Records that the request is handed over now.
    pub(super) fn mark_sent(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_sent(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Converts any body into an [`Incoming`].
pub(super) fn incoming<B>(body: B) -> Incoming
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let bytes = |frame: Frame<B::Data>| {
        frame.map_data(|mut data| {
            let length = data.remaining();
            data.copy_to_bytes(length)
        })
    };
    body.map_frame(bytes).map_err(Into::into).boxed_unsync()
}

/// Reads an answer's body, `limit` bytes at the most, and undoes its coding. A larger body is an
/// error, and is not read to its end.
pub(super) async fn read(
    mut body: Incoming,
    status: StatusCode,
    headers: &mut HeaderMap,
    limit: usize,
) -> Result<Bytes, HttpError> {
    let too_large = HttpError::TooLarge { status, limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // Some servers close TLS without `close_notify`, or announce another length. An object
            // that is whole is an answer all the same, because a cut one does not parse.
            match decode(read.into(), headers, limit) {
                Ok(body) if is_object(&body) => return Ok(body),
                _ => return Err(HttpError::Cut { status }),
            }
        };
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return Err(too_large);
        }
        read.extend_from_slice(&data);
    }
    match decode(read.into(), headers, limit) {
        Ok(body) => Ok(body),
        Err(Undecoded::TooLarge) => Err(too_large),
        Err(Undecoded::Coding(cause)) => Err(HttpError::Coding { status, cause }),
    }
}

fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Why a coding was not undone.
enum Undecoded {
    TooLarge,
    Coding(String),
}

/// Undoes `gzip` and `deflate` (RFC 9110 section 8.4.1). The client asks for no coding, and some
/// servers use one all the same.
fn decode(body: Bytes, headers: &mut HeaderMap, limit: usize) -> Result<Bytes, Undecoded> {
    let coding = headers.get(CONTENT_ENCODING).and_then(|field| field.to_str().ok());
    let coding = coding.unwrap_or_default().trim().to_ascii_lowercase();
    if body.is_empty() || matches!(&*coding, "" | "identity") {
        return Ok(body);
    }
    let reader: &mut dyn io::Read = match &*coding {
        "gzip" | "x-gzip" => &mut MultiGzDecoder::new(&*body),
        "deflate" => &mut ZlibDecoder::new(&*body),
        _ => return Err(Undecoded::Coding("it is none of gzip and deflate".into())),
    };
    let mut decoded = Vec::new();
    let read = reader.take(limit as u64 + 1).read_to_end(&mut decoded);
    read.map_err(|error| Undecoded::Coding(format!("{coding}: {error}")))?;
    if decoded.len() > limit {
        return Err(Undecoded::TooLarge);
    }
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    Ok(decoded.into())
}
