//! The bodies of requests and answers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures::future::BoxFuture;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use super::error::HttpError;

/// Resolves to whether a request may be sent. It is polled at the last moment before sending.
pub(super) type Permission = BoxFuture<'static, bool>;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer's body, from any transport.
pub(super) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// Records whether a request's body was handed to the transport. Until then the server certainly
/// received nothing of it.
#[derive(Clone, Debug, Default)]
pub(super) struct SentFlag(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    sent: AtomicBool,
    withheld: AtomicBool,
}

impl SentFlag {
    /// Records that the body is handed over now.
    pub(super) fn mark_sent(&self) {
        self.0.sent.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_sent(&self) -> bool {
        self.0.sent.load(Ordering::SeqCst)
    }

    /// Records that the permission was refused, and returns the error of that.
    pub(super) fn mark_withheld(&self) -> HttpError {
        self.0.withheld.store(true, Ordering::SeqCst);
        HttpError::Withheld
    }

    pub(super) fn is_withheld(&self) -> bool {
        self.0.withheld.load(Ordering::SeqCst)
    }
}

/// A request's body, which the transport polls once it is connected. The body then polls its
/// permission, and is handed over in the same poll in which the permission was granted.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "our own client carries it"))]
pub(super) struct Outgoing {
    pub(super) data: Bytes,
    pub(super) permission: Option<Permission>,
    pub(super) sent_flag: SentFlag,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.data.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(permission) = &mut self.permission {
            if !ready!(permission.as_mut().poll(cx)) {
                return Poll::Ready(Some(Err(self.sent_flag.mark_withheld())));
            }
            self.permission = None;
        }
        self.sent_flag.mark_sent();
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
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

/// Reads an answer's body, `limit` bytes at the most. A larger body is an error, and is not read to
/// its end.
pub(super) async fn read(
    mut body: Incoming,
    status: StatusCode,
    limit: usize,
) -> Result<Bytes, HttpError> {
    let too_large = HttpError::TooLarge { status, limit };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large);
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(HttpError::Cut { status }) };
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return Err(too_large);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}
