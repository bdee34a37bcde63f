//! Engines that were built outside of a runtime, and engines whose runtime has ended.

use futures::executor::block_on;
use http::{Response, StatusCode};

use super::*;
use crate::RevocationFeed;
use crate::testing::*;
use crate::{EngineBuilder, Revalidated, SessionErrorKind};

/// Adds a refresh that must be awaited, because it is not ready at once.
fn waits(builder: EngineBuilder<User>) -> EngineBuilder<User> {
    builder.leeway(Duration::ZERO).revalidate_with(|_| async {
        tokio::task::yield_now().await;
        Ok::<_, &str>(Revalidated::Keep)
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// How often the event occurred since the last call.
fn saw(fixture: &Fixture, event: &str) -> usize {
    fixture.events().iter().filter(|one| *one == event).count()
}

async fn refreshed(fixture: &Fixture, token: &str) -> Option<String> {
    fixture.pass(900);
    let response = fixture.me(cookie(token)).await;
    let new = token_of(&response);
    assert_eq!(response.status() == StatusCode::OK, new.is_some(), "{response:?}");
    new
}

/// As with a `static` engine that several `#[tokio::test]` functions share.
// Rows: N7, R12.
#[test]
fn an_engine_goes_on_from_one_runtime_to_the_next() {
    let fixture = Fixture::with(waits);
    let mut token = block_on(fixture.sign_in("alice"));
    for again in [false, true, true] {
        let runtime = runtime();
        token = runtime.block_on(refreshed(&fixture, &token)).expect("by the request's runtime");
        token = runtime.block_on(refreshed(&fixture, &token)).expect("and again");
        assert_eq!(saw(&fixture, "RuntimeEnded"), usize::from(again), "said once");
    }
}

// Rows: R12.
#[test]
fn a_runtime_that_was_set_is_replaced_once_it_has_ended() {
    let first = runtime();
    let fixture = Fixture::with(|b| waits(b).runtime(first.handle().clone()));
    let token = first.block_on(fixture.sign_in("alice"));
    let token = first.block_on(refreshed(&fixture, &token)).expect("by its own");
    drop(first);
    let next = runtime();
    assert!(next.block_on(refreshed(&fixture, &token)).is_some());
    assert_eq!(saw(&fixture, "RuntimeEnded"), 1);
}

// Rows: N7.
#[test]
fn without_any_runtime_a_refresh_reports_it() {
    let fixture = Fixture::with(waits);
    let token = block_on(fixture.sign_in("alice"));
    assert_eq!(block_on(refreshed(&fixture, &token)), None);
    assert_eq!(saw(&fixture, "NoRuntime"), 1);
    let handler = |session: crate::Session<User>, _| async move {
        let error = session.refresh().await.unwrap_err();
        Response::new(format!("{:?}: {error}", error.kind()))
    };
    let said = block_on(fixture.send(cookie(&token), handler)).into_body();
    let kind = format!("{:?}", SessionErrorKind::Unavailable);
    assert!(said.starts_with(&kind) && said.contains("tokio runtime"), "{said}");
}

// Rows: R12.
#[test]
fn a_sign_out_works_when_the_runtime_has_ended() {
    let (fixture, store) = Fixture::rotating();
    let first = runtime();
    let pair = first.block_on(fixture.sign_in_pair("alice"));
    first.block_on(async { assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::OK) });
    drop(first);
    let out = fixture.send(pair.request(), |session, _| async move {
        session.sign_out().await.unwrap();
        Response::new(String::new())
    });
    block_on(out);
    assert!(store.is_empty());
}

// Rows: R12.
#[test]
fn a_refresh_whose_runtime_ends_reports_it() {
    let first = runtime();
    let fixture = Fixture::with(|b| {
        b.leeway(Duration::ZERO)
            .runtime(first.handle().clone())
            .revalidate_with(|_| std::future::pending::<Result<Revalidated<User>, &str>>())
    });
    let token = first.block_on(fixture.sign_in("alice"));
    fixture.pass(900);
    runtime().block_on(async {
        let ends = async {
            tokio::task::yield_now().await;
            first.shutdown_background();
        };
        let (response, ()) = tokio::join!(fixture.me(cookie(&token)), ends);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(saw(&fixture, "RuntimeEnded") > 0);
    });
}

/// The engine catches up with sessions that ended elsewhere meanwhile.
// Rows: R12.
#[test]
fn the_feed_is_watched_on_the_next_runtime() {
    let calm = async || {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    };
    let (fixture, store) = Fixture::rotating();
    let first = runtime();
    let pair = first.block_on(async {
        let pair = fixture.sign_in_pair("alice").await;
        // The confirmation runs beside the request, which needs a runtime.
        fixture.me(pair.request()).await;
        calm().await;
        assert_eq!(fixture.auth.feed(), RevocationFeed::Live);
        pair
    });
    drop(first);
    block_on(crate::store::SessionStore::revoke_subject(&store, "alice", None)).unwrap();
    runtime().block_on(async {
        assert!(matches!(fixture.auth.feed(), RevocationFeed::Lost { .. }));
        calm().await;
        assert_eq!(fixture.auth.feed(), RevocationFeed::Live);
        assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
    });
}
