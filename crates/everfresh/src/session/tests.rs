//! The operations of handlers on a session, in every order that once had a bug.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderValue, SET_COOKIE};
use http::{Response, StatusCode};
use tokio::sync::watch;

use crate::adapter::Progress;
use crate::testing::*;
use crate::{
    CachePolicy, Engine, InnerToken, Keys, Reissue, Rejection, RejectionKind, Revalidated, Session,
    SessionError, SessionErrorKind, SessionStatus, SignIn, Transport,
};

mod claims;
mod upstream_access_token;

fn empty() -> Response<String> {
    Response::new(String::new())
}

fn kind<T: std::fmt::Debug>(result: Result<T, SessionError>) -> SessionErrorKind {
    result.unwrap_err().kind()
}

/// A fixture whose revalidation always fails.
fn outage() -> Fixture {
    Fixture::with(|b| {
        b.leeway(Duration::ZERO)
            .revalidate_with(|_| async { Err::<Revalidated<User>, _>("the database is down") })
    })
}

/// A fixture whose revalidation waits until the gate opens.
fn gated() -> (Fixture, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let fixture = Fixture::with(|b| {
        b.revalidate_with(move |_| {
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.map_err(|_| "gone")?;
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    (fixture, open)
}

#[tokio::test]
async fn an_ended_session_yields_no_upstream_access_token() {
    let fixture = Fixture::new();
    let token = fixture.sign_in("alice").await;
    fixture.pass(10 * 3600);
    fixture
        .send(cookie(&token), |session, _| async move {
            assert_eq!(session.status(), SessionStatus::Rejected);
            assert_eq!(kind(session.access_token()), SessionErrorKind::NotSignedIn);
            assert_eq!(kind(session.refresh().await), SessionErrorKind::NotSignedIn);
            assert!(session.subject().is_none() && session.sid().is_none());
            assert!(session.expires_at().is_none() && session.signed_in_at().is_none());
            empty()
        })
        .await;
}

// Rows: F80.
#[tokio::test]
async fn an_unavailable_session_can_be_signed_out_and_tried_again() {
    let fixture = outage();
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let _ = fixture.events();
    let response = fixture
        .send(cookie(&token), |session, _| async move {
            assert!(matches!(session.status(), SessionStatus::Unavailable { .. }));
            assert_eq!(kind(session.refresh().await), SessionErrorKind::Unavailable, "not 401");
            assert_eq!(kind(session.access_token()), SessionErrorKind::NotSignedIn);
            session.sign_out().await.unwrap();
            empty()
        })
        .await;
    assert_eq!(set_cookies(&response).len(), 2);
    let events = fixture.events();
    assert!(events.contains(&"CookiesCleared { dead: false }".to_owned()), "{events:?}");
    assert!(!events.iter().any(|event| event.starts_with("SignedOut")), "past its leeway");
}

#[tokio::test]
async fn optional_claims_fail_only_where_a_session_may_be_good() {
    let fixture = outage();
    let token = fixture.sign_in("alice").await;
    let broken = format!("{token}x");
    let kept = |session: Session<User>, _| async move {
        match session.optional_claims() {
            Ok(claims) => {
                Response::new(claims.map_or("signed out".into(), |user| user.name.clone()))
            }
            Err(rejection) => rejection.into_response::<Vec<u8>>().map(|_| "not now".into()),
        }
    };
    for (request, expected) in
        [(cookie(&token), "alice"), (cookie(&broken), "signed out"), (get(&[]), "signed out")]
    {
        assert_eq!(fixture.send(request, kept).await.body(), expected);
    }
    fixture.pass(900);
    let response = fixture.send(cookie(&token), kept).await;
    assert_eq!(
        (response.status(), &**response.body()),
        (StatusCode::SERVICE_UNAVAILABLE, "not now")
    );
}

// Rows: M1, R26.
#[tokio::test]
async fn signing_in_ends_the_former_session_while_its_access_token_is_good() {
    let fixture = outage();
    for (age, expected) in [(0, 1), (700, 1), (1000, 0), (10 * 3600, 0)] {
        let token = fixture.sign_in("alice").await;
        fixture.pass(age);
        let _ = fixture.events();
        fixture
            .send(cookie(&token), |session, _| async move {
                session.sign_in("bob", user("bob")).await.unwrap();
                empty()
            })
            .await;
        let ended = fixture.events().iter().filter(|event| event.starts_with("SignedOut")).count();
        assert_eq!(ended, expected, "age {age}");
    }
}

#[tokio::test]
async fn a_refresh_that_fails_takes_nothing_back() {
    let fixture = outage();
    let response = fixture
        .send(get(&[]), |session, _| async move {
            session.sign_in("alice", user("alice")).await.unwrap();
            assert_eq!(kind(session.refresh().await), SessionErrorKind::Unavailable);
            show_user(&session)
        })
        .await;
    assert_eq!(response.body(), "alice");
    assert!(token_of(&response).is_some());
}

#[tokio::test]
async fn a_refresh_after_signing_in_leaves_by_the_same_transport() {
    let fixture = Fixture::with(|b| b.transports([Transport::cookies(), Transport::headers()]));
    let response = fixture
        .send(get(&[]), |session, _| async move {
            let sign_in = SignIn::new("alice", user("alice")).via(Transport::headers());
            session.sign_in_with(sign_in).await.unwrap();
            session.refresh().await.unwrap();
            empty()
        })
        .await;
    assert!(set_cookies(&response).is_empty());
    assert!(response.headers().contains_key("authorization"));
}

// Rows: F80.
#[tokio::test]
async fn a_flight_that_ends_after_a_sign_out_changes_nothing() {
    for sign_in_again in [false, true] {
        let (fixture, open) = gated();
        let token = fixture.sign_in("alice").await;
        let open = Arc::new(open);
        let response = fixture
            .send(cookie(&token), move |session: Session<User>, _| {
                let open = open.clone();
                async move {
                    let other = session.clone();
                    let refresh = tokio::spawn(async move { other.refresh().await });
                    tokio::task::yield_now().await;
                    match sign_in_again {
                        true => session.sign_in("bob", user("bob")).await.unwrap(),
                        false => session.sign_out().await.unwrap(),
                    }
                    open.send(true).unwrap();
                    let _ = refresh.await.unwrap();
                    show_user(&session)
                }
            })
            .await;
        match sign_in_again {
            true => {
                assert_eq!(response.body(), "bob");
                let token = token_of(&response).unwrap();
                assert_eq!(fixture.me(cookie(&token)).await.body(), "bob");
            }
            false => {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
                assert!(set_cookies(&response).iter().all(|one| one.contains("Max-Age=0")));
                assert_eq!(set_cookies(&response).len(), 2);
            }
        }
    }
}

// Rows: F80.
#[tokio::test]
async fn a_flight_of_a_session_signed_out_on_another_node_returns_nothing() {
    let (fixture, open) = gated();
    let token = fixture.sign_in("alice").await;
    fixture.pass_until_left(&token, 100);
    // Advisory: the flight runs while the handler prepares this response.
    let slow = fixture
        .send(cookie(&token), {
            let logout = fixture.service(|session, _| async move {
                session.sign_out().await.unwrap();
                empty()
            });
            let (token, open) = (token.clone(), Arc::new(open));
            move |_, _| {
                use tower::ServiceExt as _;
                let (logout, token, open) = (logout.clone(), token.clone(), open.clone());
                async move {
                    tokio::task::yield_now().await;
                    logout.oneshot(cookie(&token)).await.unwrap();
                    open.send(true).unwrap();
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    empty()
                }
            }
        })
        .await;
    assert!(set_cookies(&slow).is_empty(), "no live cookie after the sign-out");
}

// Rows: S82.
#[tokio::test]
async fn another_site_can_neither_sign_in_nor_out_by_cookie() {
    let fixture = Fixture::with(|b| {
        b.transports([Transport::cookies(), Transport::headers()])
            .trusted_origin("https://idp.example")
    });
    let token = fixture.sign_in("alice").await;
    let bearer = format!("Bearer {token}");
    let cross = ("sec-fetch-site", "cross-site");
    let act = |session: Session<User>, _| async move {
        let signed_in = session.sign_in("mallory", user("mallory")).await;
        assert_eq!(kind(signed_in), SessionErrorKind::CrossSite);
        assert_eq!(kind(session.sign_out().await), SessionErrorKind::CrossSite);
        empty()
    };
    let response = fixture.send(request("POST", &[cross]), act).await;
    assert!(response.headers().is_empty(), "no cookie is set, none is deleted");
    assert_eq!(Rejection::from(SessionError::from(SessionErrorKind::CrossSite)).status(), 403);

    let idp = request("POST", &[cross, ("origin", "https://idp.example")]);
    let response = fixture
        .send(idp, |session, _| async move {
            session.sign_in("alice", user("alice")).await.unwrap();
            empty()
        })
        .await;
    assert!(token_of(&response).is_some(), "a provider that posts its answer");

    let response = fixture
        .send(request("POST", &[cross, ("authorization", &bearer)]), |session, _| async move {
            session.sign_out().await.unwrap();
            empty()
        })
        .await;
    assert!(set_cookies(&response).is_empty(), "by header, and the cookies are left alone");
}

#[tokio::test]
async fn no_client_changes_its_user_as_tokens_expire() {
    let fixture = Fixture::with(|b| b.transports([Transport::headers(), Transport::cookies()]));
    let by_header = fixture
        .send(get(&[]), |session, _| async move {
            session.sign_in("bob", user("bob")).await.unwrap();
            empty()
        })
        .await;
    let bob = by_header.headers()["authorization"].to_str().unwrap().to_owned();
    fixture.pass(300);
    let sign_in = SignIn::new("alice", user("alice")).via(Transport::cookies());
    let by_cookie = fixture
        .send(get(&[]), move |session, _| {
            let sign_in = sign_in.clone();
            async move {
                session.sign_in_with(sign_in).await.unwrap();
                empty()
            }
        })
        .await;
    let alice = format!("{COOKIE_NAME}={}", token_of(&by_cookie).unwrap());
    let token = bob.strip_prefix("Bearer ").unwrap();
    for left in [500, 100, 10] {
        fixture.pass_until_left(token, left);
        let both = get(&[("authorization", &bob), ("cookie", &alice)]);
        assert_eq!(fixture.me(both).await.body(), "bob", "{left} s left; the first transport's");
    }
}

// Rows: F44.
#[tokio::test]
async fn a_dead_cookie_locks_no_user_out() {
    let fixture = Fixture::new();
    let old = fixture.sign_in("alice").await;
    fixture.pass(20 * 3600);
    let new = fixture.sign_in("alice").await;
    for pair in [[&old, &new], [&new, &old]] {
        let header = format!("{COOKIE_NAME}={}; {COOKIE_NAME}={}", pair[0], pair[1]);
        assert_eq!(fixture.me(get(&[("cookie", &header)])).await.body(), "alice");
    }
    assert_eq!(fixture.me(cookie(&old)).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_response_that_never_comes_seals_the_session_too() {
    use tower::ServiceExt as _;
    let fixture = Fixture::new();
    let (keep, kept) = std::sync::mpsc::channel();
    let service = fixture.service(move |session, _| {
        keep.send(session).unwrap();
        std::future::pending::<Response<String>>()
    });
    let hanging = tokio::spawn(service.oneshot(get(&[])));
    let session = loop {
        tokio::task::yield_now().await;
        if let Ok(session) = kept.try_recv() {
            break session;
        }
    };
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    let late = session.sign_in("alice", user("alice")).await;
    assert_eq!(kind(late), SessionErrorKind::ResponseSent);
    assert_eq!(session.status(), SessionStatus::Absent, "no event was reported");
}

#[tokio::test]
async fn a_sign_in_gets_its_tokens_under_every_cache_policy() {
    for policy in [CachePolicy::SkipTokens, CachePolicy::Fail] {
        let fixture = Fixture::with(|b| b.cache_policy(policy));
        let response = fixture
            .send(get(&[]), |session, _| async move {
                session.sign_in("alice", user("alice")).await.unwrap();
                let mut response = empty();
                let public = HeaderValue::from_static("public, max-age=60");
                response.headers_mut().insert("cache-control", public);
                response
            })
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(token_of(&response).is_some());
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}

#[test]
fn the_runtime_is_the_one_around_build() {
    let builder = Engine::<User>::builder(Keys::hs256(SECRET).unwrap())
        .issuer("i")
        .audience("a")
        .refresh_with(Reissue::new())
        .revalidate_with(|_| async {
            tokio::task::yield_now().await;
            Ok::<_, &str>(Revalidated::Keep)
        });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let auth = builder.build().unwrap();
        let Progress::Pass(session) = auth.begin(&get(&[])) else { panic!("nothing to wait for") };
        session.sign_in("alice", user("alice")).await.unwrap();
        session.refresh().await.unwrap();
        let response = finish(&auth, &session, empty()).await;
        assert!(response.headers().contains_key(SET_COOKIE));
    });
}

// Rows: S34, S84, F112.
#[tokio::test]
async fn no_token_and_no_secret_in_logs_events_errors_or_debug() {
    let log = Log::listen();

    let fixture = Fixture::with(|b| {
        b.transports([Transport::cookies(), Transport::headers()])
            .inner_token(InnerToken::Fresh)
            .leeway(Duration::ZERO)
            .revalidate_with(|session| async move {
                match &*session.claims.unwrap().name {
                    "unlucky" => Err("down"),
                    "gone" => Ok(Revalidated::End),
                    _ => Ok(Revalidated::Keep),
                }
            })
    });
    let mut shown = format!("{:?}", fixture.auth);
    let mut tokens = Vec::new();
    for name in ["alice", "unlucky", "gone"] {
        let token = fixture.sign_in(name).await;
        fixture.pass(900);
        let forged = format!("{}x", &token[..token.len() - 1]);
        let both = format!("{COOKIE_NAME}={token}; {COOKIE_NAME}={forged}");
        for request in [cookie(&token), bearer(&forged), get(&[("cookie", &both)])] {
            shown.push_str(&format!("{request:?}").replace(&token, "").replace(&forged, ""));
            let response = fixture
                .send(request, |session, _| async move {
                    let _ = session.sign_in("x", User { name: "n".repeat(5000) }).await;
                    let mut text = format!("{session:?} {:?}", session.access_token());
                    text += &format!("{:?}", session.refresh().await);
                    let rejection = session.claims();
                    text += &format!("{rejection:?} {:?}", session.sign_out().await);
                    Response::new(text)
                })
                .await;
            shown.push_str(response.body());
            shown.push_str(&format!("{:?}", response.headers()));
        }
        tokens.extend([token, forged]);
    }
    shown.push_str(&fixture.events().join("\n"));
    shown.push_str(&log.text());
    for expected in ["token refused", "refresh failed", "session is over", "signed out"] {
        assert!(shown.contains(expected), "the log was written: {expected}");
    }
    assert!(!shown.contains(SECRET));
    for token in &tokens {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let payload = signed.split_once('.').unwrap().1;
        assert!(!shown.contains(&signature[..12]) && !shown.contains(&payload[60..]), "{shown}");
    }
}

#[test]
fn errors_answer_with_their_status() {
    for (kind, expected) in [
        (SessionErrorKind::NotSignedIn, RejectionKind::NoCredentials),
        (SessionErrorKind::Rejected, RejectionKind::InvalidToken),
        (SessionErrorKind::Unavailable, RejectionKind::Unavailable),
        (SessionErrorKind::CrossSite, RejectionKind::CrossSite),
        (SessionErrorKind::TooManySessions, RejectionKind::TooManySessions),
        (SessionErrorKind::ResponseSent, RejectionKind::Internal),
        (SessionErrorKind::Claims, RejectionKind::Internal),
        (SessionErrorKind::Misconfigured, RejectionKind::Internal),
        (SessionErrorKind::UnknownTransport, RejectionKind::Internal),
        (SessionErrorKind::Audience, RejectionKind::Internal),
    ] {
        let error = SessionError::from(kind);
        assert!(!error.to_string().is_empty());
        assert_eq!(Rejection::from(error).kind(), expected);
    }
}

#[test]
fn an_adapter_names_the_missing_layer_in_its_own_words() {
    let rejection = Rejection::missing_layer().with_detail("wrap the app");
    assert_eq!(rejection.kind(), RejectionKind::MissingLayer);
    assert_eq!(rejection.to_string(), "wrap the app");
    let response: Response<Vec<u8>> = rejection.into_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = String::from_utf8(response.into_body()).unwrap();
    assert!(body.contains(r#""detail":"wrap the app""#), "{body}");
}
