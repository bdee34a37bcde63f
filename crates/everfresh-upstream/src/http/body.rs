//! A request's body on its way out, and an answer's on its way in.

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

/// Says, once the way is free, whether a request may leave.
pub(super) type Permission = BoxFuture<'static, bool>;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer's body, whoever carried it.
pub(super) type Incoming = UnsyncBoxBody<Bytes, BoxError>;

/// What became of a request's body. What was not handed over, nobody has got.
#[derive(Clone, Debug, Default)]
pub(super) struct SentFlag(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    departed: AtomicBool,
    withheld: AtomicBool,
}

impl SentFlag {
    /// It is handed over now.
    pub(super) fn depart(&self) {
        self.0.departed.store(true, Ordering::SeqCst);
    }

    pub(super) fn has_departed(&self) -> bool {
        self.0.departed.load(Ordering::SeqCst)
    }

    /// Permission was refused.
    pub(super) fn withhold(&self) -> HttpError {
        self.0.withheld.store(true, Ordering::SeqCst);
        HttpError::Withheld
    }

    pub(super) fn is_withheld(&self) -> bool {
        self.0.withheld.load(Ordering::SeqCst)
    }
}

/// A body that is asked for when the connection is there: it asks for permission then, and is
/// handed over in the same poll that got it.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "our own client carries it"))]
pub(super) struct Outgoing {
    pub(super) data: Bytes,
    pub(super) permission: Option<Permission>,
    pub(super) departure: SentFlag,
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
                return Poll::Ready(Some(Err(self.departure.withhold())));
            }
            self.permission = None;
        }
        self.departure.depart();
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

/// Any body as ours.
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

/// Reads an answer's body, `limit` bytes at the most; what is larger is not read to its end.
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
        // Trailers say nothing that we look at.
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit {
            return Err(too_large);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}
