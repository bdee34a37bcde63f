//! The end of sessions, and the answers until then.

use super::*;

// Rows: S48, F84.
#[tokio::test]
async fn limits_of_a_session_are_never_passed() {
    let (fixture, _) = Fixture::rotating_with(|b| b.session_lifetime(Duration::from_secs(86_400)));
    let mut pair = fixture.sign_in_pair("alice").await;
    for _ in 0..95 {
        fixture.pass(900);
        visit(&fixture, &mut pair).await;
    }
    fixture.pass(900);
    assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED, "absolute");

    let (fixture, _) = Fixture::rotating();
    let mut pair = fixture.sign_in_pair("alice").await;
    fixture.pass(13 * 86_400);
    visit(&fixture, &mut pair).await;
    fixture.pass(13 * 86_400);
    visit(&fixture, &mut pair).await;
    fixture.pass(14 * 86_400);
    assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED, "idle");
}

// Rows: F84.
#[tokio::test]
async fn remember_me_is_kept_through_rotations() {
    let (fixture, _) = Fixture::rotating();
    for persistent in [true, false] {
        let response = fixture
            .send(get(&[]), move |session, _| async move {
                let sign_in = SignIn::new("alice", user("alice")).persistent(persistent);
                session.sign_in_with(sign_in).await.unwrap();
                empty()
            })
            .await;
        let mut pair = Pair::default();
        let mut cookies = set_cookies(&response);
        pair.keep(&response);
        for _ in 0..3 {
            assert_eq!(cookies.len(), 2);
            assert!(cookies.iter().all(|one| one.contains("Max-Age=") == persistent));
            expire(&fixture, &pair);
            let response = visit(&fixture, &mut pair).await;
            cookies = set_cookies(&response);
        }
    }
}

// Rows: F83.
#[tokio::test]
async fn the_app_ends_or_changes_a_session_at_its_rotation() {
    let (fixture, store) = Fixture::rotating_with(|b| {
        b.revalidate_with(|session| async move {
            Ok::<_, &str>(match &*session.claims.unwrap().name {
                "alice" => Revalidated::Replace(user("alice the second")),
                _ => Revalidated::End,
            })
        })
    });
    let mut alice = fixture.sign_in_pair("alice").await;
    let bob = fixture.sign_in_pair("bob").await;
    expire(&fixture, &alice);
    fixture.pass(60);
    assert_eq!(visit(&fixture, &mut alice).await.body(), "alice the second");
    assert!(store.list("alice").await.unwrap()[0].claims.contains("second"));
    assert_eq!(fixture.me(bob.request()).await.status(), StatusCode::UNAUTHORIZED);
    assert!(store.list("bob").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_ended_session_is_refused_while_its_access_token_is_good() {
    let (fixture, _) = Fixture::rotating();
    let here = fixture.sign_in_pair("alice").await;
    let there = fixture.sign_in_pair("alice").await;
    let sid = fixture
        .send(there.request(), |session, _| async move { Response::new(session.sid().unwrap()) })
        .await
        .into_body();
    let response = fixture
        .send(here.request(), move |session, _| {
            let sid = sid.clone();
            async move {
                assert_eq!(session.sessions().await.unwrap().len(), 2);
                assert!(session.sign_out_session(&sid).await.unwrap());
                assert!(!session.sign_out_session(&sid).await.unwrap(), "once");
                assert!(!session.sign_out_session("AAAAAAAAAAAAAAAAAAAAAA").await.unwrap());
                show_user(&session)
            }
        })
        .await;
    assert_eq!(response.body(), "alice");
    assert_eq!(fixture.me(there.request()).await.status(), StatusCode::UNAUTHORIZED, "at once");
    assert_eq!(fixture.me(here.request()).await.body(), "alice");
}

// Rows: S52.
#[tokio::test]
async fn sign_out_of_all_others_and_of_all() {
    let (fixture, store) = Fixture::rotating();
    let here = fixture.sign_in_pair("alice").await;
    let others = [fixture.sign_in_pair("alice").await, fixture.sign_in_pair("alice").await];
    let bob = fixture.sign_in_pair("bob").await;
    fixture
        .send(here.request(), |session, _| async move {
            assert_eq!(session.sign_out_others().await.unwrap(), 2);
            empty()
        })
        .await;
    for other in &others {
        assert_eq!(fixture.me(other.request()).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(fixture.me(here.request()).await.body(), "alice");
    let response = fixture
        .send(here.request(), |session, _| async move {
            assert_eq!(session.sign_out_everywhere().await.unwrap(), 1);
            empty()
        })
        .await;
    assert_eq!(here.after(&response), Pair::default());
    assert_eq!(fixture.me(here.request()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(fixture.me(bob.request()).await.body(), "bob");
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn sessions_list_their_device_and_last_use() {
    let (fixture, _) = Fixture::rotating();
    let response = fixture
        .send(get(&[]), |session, _| async move {
            let sign_in = SignIn::new("alice", user("alice")).attribute("device", "telephone");
            session.sign_in_with(sign_in).await.unwrap();
            empty()
        })
        .await;
    let mut pair = Pair::default();
    pair.keep(&response);
    fixture.pass(3600);
    visit(&fixture, &mut pair).await;
    fixture
        .send(pair.request(), |session, _| async move {
            let sessions = session.sessions().await.unwrap();
            assert_eq!(sessions.len(), 1);
            assert_eq!(sessions[0].attributes["device"], "telephone");
            assert_eq!(sessions[0].signed_in_at, START);
            assert_eq!(sessions[0].last_used_at, START.plus(Duration::from_secs(3600)));
            assert_eq!(Some(&sessions[0].sid), session.sid().as_ref());
            empty()
        })
        .await;
}

// Rows: F08.
#[tokio::test]
async fn cookies_are_cleared_only_on_a_page_with_status_401() {
    let (fixture, _) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    fixture
        .send(pair.request(), |session, _| async move {
            session.sign_out().await.unwrap();
            empty()
        })
        .await;
    let header = pair.header();
    let fetch = get(&[("cookie", &header), ("sec-fetch-mode", "cors")]);
    assert!(set_cookies(&fixture.me(fetch).await).is_empty());
    let navigation = get(&[("cookie", &header), ("sec-fetch-mode", "navigate")]);
    let response = fixture.me(navigation).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(pair.after(&response), Pair::default());
    let navigation = get(&[("cookie", &header), ("sec-fetch-mode", "navigate")]);
    let public = fixture.send(navigation, |_, _| async { empty() }).await;
    assert!(set_cookies(&public).is_empty(), "a public page touches nothing");
    let stranger = format!("{REFRESH_NAME}=x");
    let navigation = get(&[("cookie", &stranger), ("sec-fetch-mode", "navigate")]);
    assert!(set_cookies(&fixture.me(navigation).await).is_empty(), "what is not ours stays");
}

#[tokio::test]
async fn a_slow_response_carries_only_tokens_that_may_still_be_delivered() {
    for shown_meanwhile in [false, true] {
        let (fixture, store) = Fixture::rotating();
        let old = fixture.sign_in_pair("alice").await;
        expire(&fixture, &old);
        let clock = fixture.clock.clone();
        let quick = fixture.service(|session, _| async move { show_user(&session) });
        let pair = old.clone();
        let response = fixture
            .send(old.request(), move |session, _| {
                let (clock, quick, pair) = (clock.clone(), quick.clone(), pair.clone());
                async move {
                    // Another tab got the same successor meanwhile, and may have presented it.
                    let twin = quick.clone().oneshot(pair.request()).await.unwrap();
                    let twin = pair.after(&twin);
                    if shown_meanwhile {
                        clock.advance(Duration::from_secs(40));
                        quick.oneshot(twin.refresh_only()).await.unwrap();
                    }
                    clock.advance(Duration::from_secs(20));
                    show_user(&session)
                }
            })
            .await;
        assert_eq!(response.body(), "alice");
        let row = store.list("alice").await.unwrap().remove(0);
        if shown_meanwhile {
            assert!(set_cookies(&response).is_empty(), "the jar holds something newer");
            assert_eq!(row.generation, 2);
        } else {
            assert_eq!(set_cookies(&response).len(), 2);
            assert_eq!(row.rotated_at, fixture.clock.now(), "and its time starts again");
        }
        assert_eq!(saw(&fixture, "ReuseDetected"), 0);
    }
}

#[tokio::test]
async fn a_slow_response_with_a_background_refresh_is_checked_again_too() {
    let (fixture, store) = Fixture::rotating();
    let old = fixture.sign_in_pair("alice").await;
    fixture.pass_until_left(&old.access, 100);
    let clock = fixture.clock.clone();
    let quick = fixture.service(|session, _| async move { show_user(&session) });
    let pair = old.clone();
    let response = fixture
        .send(old.request(), move |session, _| {
            let (clock, quick, pair) = (clock.clone(), quick.clone(), pair.clone());
            async move {
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                // The refresh beside this request has rotated. Another tab continues with its
                // tokens.
                let twin = quick.clone().oneshot(pair.refresh_only()).await.unwrap();
                let twin = pair.after(&twin);
                clock.advance(Duration::from_secs(40));
                quick.oneshot(twin.refresh_only()).await.unwrap();
                show_user(&session)
            }
        })
        .await;
    assert_eq!(response.body(), "alice");
    assert_eq!(store.list("alice").await.unwrap()[0].generation, 2);
    assert!(set_cookies(&response).is_empty(), "the jar holds something newer");
}

// Rows: S54.
#[tokio::test]
async fn a_store_that_is_down_signs_no_user_out() {
    let (fixture, store) = Fixture::rotating_with(|b| b.leeway(Duration::ZERO));
    let pair = fixture.sign_in_pair("alice").await;
    let down = MemoryStore::new().clock(fixture.clock.clone()).capacity(0);
    let full = Fixture::node(&fixture.clock, &down, |b| b);
    full.send(get(&[]), |session, _| async move {
        let problem = session.sign_in("bob", user("bob")).await.unwrap_err();
        assert_eq!(problem.kind(), SessionErrorKind::Unavailable);
        empty()
    })
    .await;
    assert_eq!(saw(&full, "StoreFailed"), 1);
    assert_eq!(fixture.me(pair.request()).await.body(), "alice");
    assert_eq!(store.len(), 1);
}

#[cfg(feature = "aws-lc")]
#[tokio::test]
async fn public_signing_keys_need_a_ring_of_their_own() {
    let der =
        aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new());
    let build = |ring: Option<KeyRing>| {
        let key = Key::from_der(Algorithm::EdDSA, der.as_ref().unwrap().as_ref()).unwrap();
        let rotate = Rotate::new(MemoryStore::new());
        let rotate = match ring {
            Some(ring) => rotate.key_ring(ring),
            None => rotate,
        };
        Engine::<User>::builder(Keys::new(key).unwrap())
            .issuer("i")
            .audience("a")
            .refresh_with(rotate)
            .build()
    };
    let problem = build(None).unwrap_err();
    assert!(problem.to_string().contains("`key_ring` is missing"), "{problem}");
    build(Some(KeyRing::new(SECRET.as_bytes()).unwrap())).unwrap();
    let zero = Engine::<User>::builder(Keys::hs256(SECRET).unwrap())
        .issuer("i")
        .audience("a")
        .refresh_with(Rotate::new(MemoryStore::new()).reuse_interval(Duration::ZERO))
        .build();
    assert!(matches!(zero, Err(ConfigError::OutOfRange { setting: "Rotate::reuse_interval", .. })));
}

// Rows: F82.
#[tokio::test]
async fn a_refresh_that_fails_moves_no_idle_limit() {
    let (fixture, store) = Fixture::rotating_with(|b| {
        b.leeway(Duration::ZERO)
            .revalidate_with(|_| async { Err::<Revalidated<User>, _>("the database is down") })
    });
    let pair = fixture.sign_in_pair("alice").await;
    let before = store.list("alice").await.unwrap().remove(0);
    for _ in 0..10 {
        fixture.pass(3600);
        let response = fixture.me(pair.request()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(set_cookies(&response).is_empty(), "F81: nothing says signed in");
    }
    let after = store.list("alice").await.unwrap().remove(0);
    assert_eq!((after.idle_expires, after.generation), (before.idle_expires, 0));
}

// Rows: F66.
#[tokio::test]
async fn a_wall_clock_step_revives_no_session_and_causes_no_storm() {
    let (fixture, store) = Fixture::rotating();
    let pair = fixture.sign_in_pair("alice").await;
    expire(&fixture, &pair);
    let mut new = pair.after(&fixture.me(pair.request()).await);
    let now = fixture.clock.now();
    // The clock goes back by an hour. The new token is from the future, and valid.
    fixture.clock.set_wall(now.minus(Duration::from_secs(3600)));
    for _ in 0..10 {
        assert!(set_cookies(&visit(&fixture, &mut new).await).is_empty(), "no storm");
    }
    // A signed-out session stays signed out.
    fixture
        .send(new.request(), |session, _| async move {
            session.sign_out().await.unwrap();
            empty()
        })
        .await;
    for by in [0, 1800, 3600] {
        fixture.clock.set_wall(now.minus(Duration::from_secs(by)));
        assert_eq!(fixture.me(new.refresh_only()).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(fixture.me(pair.refresh_only()).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert!(store.is_empty());
}
