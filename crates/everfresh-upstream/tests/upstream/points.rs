//! Injects a fault at each step between a request and its cookies in turn: into the store, the
//! connection, the answer, the client's connection, the clock.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use everfresh_model::points::{Aim, Fault, PointStore, Points, at_each_step};
use everfresh_upstream::{HttpClient, HttpError, Upstream};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tower::Service;

use crate::fixture::*;
use crate::provider::Provider;

/// The connection to the provider. The connect, the call, and the body of the answer are steps.
struct Way {
    provider: Provider,
    points: Points,
    connecting: Option<BoxFuture<'static, Result<(), HttpError>>>,
}

impl Way {
    fn new(provider: &Provider, points: &Points) -> Self {
        Self { provider: provider.clone(), points: points.clone(), connecting: None }
    }
}

impl Clone for Way {
    fn clone(&self) -> Self {
        Self::new(&self.provider, &self.points)
    }
}

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, HttpError>>>;

impl Service<Request<Full<Bytes>>> for Way {
    type Response = Response<Body>;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<Response<Body>, HttpError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        let points = &self.points;
        let connecting = self.connecting.get_or_insert_with(|| {
            let points = points.clone();
            Box::pin(async move {
                let refused = |cause: &str| HttpError::Connect { cause: cause.into() };
                points.step("connect", async { Ok(()) }, refused).await
            })
        });
        let connected = ready!(connecting.as_mut().poll(cx));
        self.connecting = None;
        Poll::Ready(connected)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let Self { provider, points, .. } = self.clone();
        Box::pin(async move {
            let lost = |cause: &str| HttpError::Lost { cause: cause.into() };
            let answer = points.step("send", provider.call(request), lost).await?;
            let (head, body) = answer.into_parts();
            let frame = async move {
                let cut = |_: &str| HttpError::Cut { status: head.status };
                let read = async { Ok(body.collect().await.unwrap_or_default().to_bytes()) };
                points.step("read", read, cut).await.map(Frame::data)
            };
            let mut answer = Response::new(StreamBody::new(stream::once(frame).boxed()));
            (*answer.status_mut(), *answer.headers_mut()) = (head.status, head.headers);
            Ok(answer)
        })
    }
}

/// The fate of the browser's session.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Served,
    /// The token may have been consumed, and its successor is lost.
    InDoubt,
}

/// Sends a request with this fault, and then the browser's next requests.
async fn survive(aim: Aim, fault: Fault) -> (Points, Fate) {
    let mut fixture = Fixture::new();
    let points = Points::with_clock(fixture.clock.clone());
    let client = HttpClient::over(Way::new(&fixture.provider, &points));
    let upstream =
        Upstream::oauth2(&client, url("https://id.example/token")).client(public_client());
    let store = PointStore::new(fixture.store.clone(), points.clone());
    let refresher = upstream.kept_in(store);
    fixture.nodes = vec![Node::new(&fixture.clock, |builder| builder.refresh_with(refresher))];
    fixture.tick();
    let old = fixture.expired("ada").await;

    points.arm(aim);
    let mut browser = old.clone();
    let first = points.request(fixture.get(&mut browser)).await;
    points.disarm();
    let case = format!("{aim:?}");
    if points.hit().is_none() {
        assert_eq!(first.as_ref().expect("no client hung up").status, 200, "{case}");
    }
    let mut answer = first;
    for _ in 0..8 {
        if let Some(answer) = &answer
            && answer.status != 503
        {
            break;
        }
        if let Some(answer) = &answer {
            assert!(answer.left_cookies_alone(), "{case}");
            tokio::time::sleep(secs(answer.retry_after.expect("when to come again"))).await;
        }
        answer = Some(fixture.get(&mut browser).await);
    }
    let answer = answer.expect("an answer");
    // The next request of this browser, and one that arrives last.
    let next = fixture.get(&mut browser).await;
    assert_eq!(next.status, answer.status, "{case}");
    if fault != Fault::Stall {
        assert_eq!(
            fixture.get(&mut old.clone()).await.status,
            answer.status,
            "{case}: within the reuse interval"
        );
    }
    let (calls, reuses) = (fixture.provider.calls(), fixture.provider.reuses());
    assert_eq!(reuses, 0, "{case}: no token is sent twice");
    let fate = match answer.status.as_u16() {
        200 => {
            assert_eq!((calls, fixture.upstream(&browser).await), (1, (1, 0)), "{case}");
            let row = fixture.row(&browser).await.unwrap();
            assert_eq!(row.generation, 1, "{case}: one rotation");
            Fate::Served
        }
        401 => {
            assert!(answer.left_cookies_alone() && next.left_cookies_alone(), "{case}");
            assert!(calls <= 1, "{case}");
            assert_eq!(fixture.upstream(&old).await, (0, 1), "{case}: the row is as it was");
            Fate::InDoubt
        }
        other => panic!("{case}: {other}"),
    };
    (points, fate)
}

// Rows: F16, F18, S57.
#[expect(clippy::print_stdout, reason = "what `cargo xtask schedules` adds up")]
#[tokio::test(start_paused = true)]
async fn a_failure_at_any_step_sends_no_token_twice() {
    use Fault::{HangUp, HangUpAfter, Hold, Mute, Refuse, Stall};
    for fault in [Refuse, Mute, HangUp, HangUpAfter, Stall, Hold] {
        let fates = at_each_step(fault, async |aim| survive(aim, fault).await).await;
        let doubtful = fates.iter().filter(|(_, fate)| *fate == Fate::InDoubt);
        let doubtful: Vec<_> = doubtful.map(|(hit, _)| *hit).collect();
        let hits: Vec<_> = fates.iter().map(|(hit, _)| *hit).collect();
        for step in ["load", "connect", "claim", "send", "read", "publish", "rotate"] {
            assert!(hits.contains(&step), "{step} is a step: {hits:?}");
        }
        // Only if the only copy of the next token was lost in transit to the node.
        let expected: &[_] = if matches!(fault, Refuse | Mute) { &["send", "read"] } else { &[] };
        assert_eq!(doubtful, expected, "{fault:?}");
        println!(
            "fail points: {} injected, {} survived, {} in doubt: Upstream, {fault:?}: {}",
            hits.len(),
            hits.len() - doubtful.len(),
            doubtful.len(),
            hits.join(" ")
        );
    }
}
