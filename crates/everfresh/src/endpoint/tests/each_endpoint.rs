//! A token has the same effect in the layer, at the native endpoints and in every dialect.

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::json;

use super::dialects::*;
use super::*;
use crate::dialect::Dialect;
use crate::{Reissue, Rotate, SessionErrorKind, SignIn};

/// The names of the layer's cookies in this fixture.
fn both(tokens: &Tokens) -> String {
    format!("access_token={}; refresh_token={}", tokens.access, tokens.refresh)
}

/// Presents the token at every endpoint that takes a refresh token without client authentication.
async fn at_each_dialect(fixture: &Fixture, refresh: &str) -> Vec<StatusCode> {
    let json = json!({"refresh_token": refresh}).to_string();
    let cookie = format!("refresh_token={refresh}");
    let mut statuses = Vec::new();
    for dialect in [&Dialect::JWT_AUTH_PRO, &Dialect::FREDDY] {
        statuses.push(post(fixture, dialect, &[], &json).await.status());
    }
    statuses.push(post(fixture, &Dialect::GALILEO, &[("cookie", &cookie)], "").await.status());
    statuses
}

/// Presents the token at the OAuth 2 endpoint.
async fn by_client(fixture: &Fixture, refresh: &str, client: &str) -> StatusCode {
    let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let reply = match client {
        "app" => {
            let basic = basic_of("app", "s3cret:%&+0123456789");
            post(fixture, &Dialect::OAUTH2, &[("authorization", &basic)], &form(&grant)).await
        }
        public => {
            let grant = [&grant[..], &[("client_id", public)]].concat();
            post(fixture, &Dialect::OAUTH2, &[], &form(&grant)).await
        }
    };
    reply.status()
}

// Rows: M2.
#[tokio::test]
async fn a_clients_refresh_token_is_refreshed_by_that_client_alone() {
    for (own, other) in [("app", "page"), ("page", "app")] {
        let fixture = fixture();
        let tokens = sign_in_client(&fixture, "alice", own).await;
        fixture.pass(60);
        let refused = at_each_dialect(&fixture, &tokens.refresh).await;
        assert!(refused.iter().all(|status| status.is_client_error()), "{refused:?}");
        assert_eq!(by_client(&fixture, &tokens.refresh, other).await, StatusCode::BAD_REQUEST);
        // From the handler and at the native endpoint, beside a valid access token.
        let cookies = both(&tokens);
        let refresh = fixture.send(get(&[("cookie", &cookies)]), |session, _| async move {
            let failed = session.refresh().await.unwrap_err();
            assert_eq!(failed.kind(), SessionErrorKind::Rejected);
            assert_eq!(session.subject().as_deref(), Some("alice"), "the access token is hers");
            Response::new(String::new())
        });
        assert!(set_cookies(&refresh.await).is_empty());
        let native = at("POST", "/auth/refresh", &[("cookie", &cookies)]);
        assert!(call(&fixture, "/auth/refresh", native).await.status().is_client_error());
        // In the layer, with the refresh token alone; also right after the client's own refresh.
        for refreshed in [false, true] {
            if refreshed {
                assert_eq!(by_client(&fixture, &tokens.refresh, own).await, StatusCode::OK);
            }
            let alone = format!("refresh_token={}", tokens.refresh);
            let response = fixture.me(get(&[("cookie", &alone)])).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{own}, {refreshed}");
            assert!(set_cookies(&response).is_empty());
        }
        assert_eq!(
            by_client(&fixture, &tokens.refresh, own).await,
            StatusCode::OK,
            "nothing ended"
        );
        assert!(!fixture.events().iter().any(|event| event.starts_with("ReuseDetected")));
    }
    let fixture = fixture();
    let tokens = sign_in(&fixture, "alice").await;
    fixture.pass(60);
    for client in ["app", "page"] {
        assert_eq!(by_client(&fixture, &tokens.refresh, client).await, StatusCode::BAD_REQUEST);
    }
    let served = at_each_dialect(&fixture, &tokens.refresh).await;
    assert_eq!(
        served,
        [StatusCode::OK; 3],
        "a token without a client is served where no client is asked"
    );
}

// Rows: M2.
#[tokio::test]
async fn an_old_token_of_a_client_presented_by_another_client_ends_no_session() {
    let fixture = fixture();
    let first = sign_in_client(&fixture, "alice", "app").await;
    let mut refresh = first.refresh.clone();
    for _ in 0..2 {
        fixture.pass(900);
        let grant = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        let basic = basic_of("app", "s3cret:%&+0123456789");
        let fields = [("authorization", &*basic)];
        let reply = post(&fixture, &Dialect::OAUTH2, &fields, &form(&grant)).await;
        refresh = text(&body(&reply)["refresh_token"]).to_owned();
    }
    at_each_dialect(&fixture, &first.refresh).await;
    fixture.me(get(&[("cookie", &format!("refresh_token={}", first.refresh))])).await;
    fixture.pass(60);
    assert_eq!(by_client(&fixture, &refresh, "app").await, StatusCode::OK);
    assert_eq!(by_client(&fixture, &first.refresh, "app").await, StatusCode::BAD_REQUEST);
    assert_eq!(
        by_client(&fixture, &refresh, "app").await,
        StatusCode::BAD_REQUEST,
        "this is reuse"
    );
}

// Rows: M3.
#[tokio::test]
async fn of_two_sessions_in_one_place_none_counts_in_any_order() {
    let fixture = fixture();
    let victim = sign_in(&fixture, "victim").await;
    let mallory = sign_in(&fixture, "mallory").await;
    fixture.pass(60);
    let pair = |name: &str, one: &str, other: &str| format!("{name}={one}; {name}={other}");
    for (one, other) in [(&victim, &mallory), (&mallory, &victim)] {
        let cookies = pair("access_token", &one.access, &other.access);
        let reply = post(&fixture, &Dialect::VIJIL, &[("cookie", &cookies)], "").await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        assert!(set_cookies(&reply).is_empty());
        let cookies = pair("refresh_token", &one.refresh, &other.refresh);
        let reply = post(&fixture, &Dialect::GALILEO, &[("cookie", &cookies)], "").await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        assert!(set_cookies(&reply).is_empty());
        // A sibling subdomain can't set a header field.
        let fields = [("authorization", format!("Bearer {}", victim.access)), ("cookie", cookies)];
        let fields = fields.each_ref().map(|(name, value)| (*name, &**value));
        let told = body(&post(&fixture, &Dialect::VIJIL, &fields, "").await);
        let me = bearer_cookie(text(&told["access_token"]));
        assert_eq!(fixture.me(me).await.body(), "victim");
    }
    let mut crowd = vec![format!("access_token={}", victim.access)];
    crowd.extend((0..4).map(|n| format!("access_token=a.b.{n}")));
    for _ in 0..2 {
        let reply = post(&fixture, &Dialect::VIJIL, &[("cookie", &crowd.join("; "))], "").await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED, "too many, in any order");
        crowd.reverse();
    }
    // Of one session's refresh tokens the latest counts, also beside malformed ones.
    fixture.pass(900);
    let reply = post(&fixture, &Dialect::GALILEO, &[("cookie", &both(&victim))], "").await;
    let cookies = set_cookies(&reply);
    let set = cookies.iter().filter_map(|one| one.strip_prefix("refresh_token=")).next().unwrap();
    let next = set.split(';').next().unwrap();
    fixture.pass(900);
    for (one, other) in [(&*victim.refresh, next), (next, &*victim.refresh)] {
        let cookies = format!("{}; refresh_token=x", pair("refresh_token", one, other));
        let reply = post(&fixture, &Dialect::GALILEO, &[("cookie", &cookies)], "").await;
        assert_eq!(reply.status(), StatusCode::OK);
    }
    assert!(!fixture.events().iter().any(|event| event.starts_with("ReuseDetected")));
}

// Rows: M5.
#[tokio::test]
async fn an_access_token_is_renewed_only_if_its_session_was_signed_in_for_that() {
    let fixture = fixture();
    let plain = sign_in_with(&fixture, SignIn::new("bob", user("bob"))).await;
    let (vijil, redis) = (&Dialect::VIJIL, &Dialect::REDIS_ENTERPRISE);
    let ask = async |dialect: &Dialect, access: &str| {
        let scheme = if dialect == vijil { "Bearer" } else { "JWT" };
        let header = format!("{scheme} {access}");
        post(&fixture, dialect, &[("authorization", &header)], "").await
    };
    for dialect in [vijil, redis] {
        assert_eq!(ask(dialect, &plain.access).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(fixture.me(bearer_cookie(&plain.access)).await.body(), "bob", "nothing ended");
    let tokens = sign_in(&fixture, "alice").await;
    let _ = fixture.events();
    for dialect in [vijil, redis] {
        assert_eq!(ask(dialect, &tokens.access).await.status(), StatusCode::OK);
        let events = fixture.events();
        assert!(events.iter().any(|event| event.starts_with("Renewed")), "{events:?}");
    }
    // An access token that was minted for a call to another service can't be renewed.
    let upstream_access_token = fixture
        .send(bearer_cookie(&tokens.access), |session, _| async move {
            Response::new(session.access_token().unwrap().expose().to_owned())
        });
    let upstream_access_token = upstream_access_token.await.into_body();
    assert_eq!(fixture.me(bearer_cookie(&upstream_access_token)).await.body(), "alice");
    assert_eq!(ask(vijil, &upstream_access_token).await.status(), StatusCode::UNAUTHORIZED);
    // Only the session's own client renews it, even if the session was signed in for that.
    let sign_in = SignIn::new("carol", user("carol")).renewable_by_access_token();
    let bound = sign_in_with(&fixture, sign_in.attribute("client_id", "app")).await;
    assert_eq!(ask(vijil, &bound.access).await.status(), StatusCode::UNAUTHORIZED);
}

// Rows: M5.
#[tokio::test]
async fn a_copied_access_token_dies_as_its_session_moves_on() {
    for confirmed in [true, false] {
        let fixture = fixture();
        let mut owner = sign_in(&fixture, "alice").await;
        let mut copy = owner.access.clone();
        let mut renewed = Vec::new();
        for rotation in 1..=2 {
            fixture.pass(1000);
            let alone = format!("refresh_token={}", owner.refresh);
            let response = fixture.me(get(&[("cookie", &alone)])).await;
            let cookies = set_cookies(&response);
            let value = |name: &str| {
                let found = cookies.iter().find_map(|one| one.strip_prefix(name)).unwrap();
                found.split(';').next().unwrap().to_owned()
            };
            owner = Tokens { access: value("access_token="), refresh: value("refresh_token=") };
            if rotation == 1 || confirmed {
                assert!(is_good(&fixture, &owner.access).await, "shown, so it is confirmed");
                tokio::task::yield_now().await;
            }
            let header = format!("Bearer {copy}");
            let reply = post(&fixture, &Dialect::VIJIL, &[("authorization", &header)], "").await;
            renewed.push(reply.status());
            if reply.status() == StatusCode::OK {
                copy = text(&body(&reply)["access_token"]).to_owned();
            }
        }
        assert_eq!(renewed, [StatusCode::OK, StatusCode::UNAUTHORIZED], "one generation late");
        let reuses =
            fixture.events().iter().filter(|event| event.starts_with("ReuseDetected")).count();
        assert_eq!(reuses, usize::from(confirmed));
        assert_eq!(is_good(&fixture, &owner.access).await, !confirmed, "two hold it");
    }
}

// Rows: M5.
#[tokio::test]
async fn with_reissue_a_token_is_renewed_within_its_grace_at_every_endpoint() {
    let fixture = Fixture::with(|b| {
        let reissue = Reissue::new().grace(Duration::from_secs(60));
        b.refresh_with(reissue).insecure_dev_only().dialect(Dialect::VIJIL)
    });
    let response = fixture.send(get(&[]), |session, _| async move {
        session.sign_in("alice", user("alice")).await.unwrap();
        Response::new(session.sid().unwrap())
    });
    let response = response.await;
    let cookies = set_cookies(&response);
    let token = cookies.iter().find_map(|one| one.strip_prefix("access_token=")).unwrap();
    let token = token.split(';').next().unwrap();
    let header = format!("Bearer {token}");
    for (passed, status) in [(860, StatusCode::OK), (140, StatusCode::UNAUTHORIZED)] {
        fixture.pass(passed);
        let reply = post(&fixture, &Dialect::VIJIL, &[("authorization", &header)], "").await;
        assert_eq!(reply.status(), status, "{passed}");
    }
    let now = fixture.clock.now();
    assert!(!fixture.auth.core.revoked.contains(response.body(), now), "nothing ended");
}

// Rows: M2.
#[test]
fn a_refresher_that_binds_no_client_serves_none() {
    let built = crate::Engine::<User>::builder(Keys::hs256(SECRET).unwrap())
        .issuer("i")
        .audience("a")
        .refresh_with(Reissue::new())
        .client("app", Some("s3cret-s3cret-s3cret".into()))
        .dialect({
            let mut dialect = Dialect::VIJIL;
            dialect.request.client = Some(crate::dialect::ClientMembers::OAUTH2);
            let errors = &mut dialect.serving.as_mut().unwrap().errors;
            errors.client = Some(errors.invalid.clone());
            dialect
        })
        .build();
    let problem = built.map(drop).unwrap_err().to_string();
    assert!(problem.contains("binds no refresh token"), "{problem}");
}

// Rows: M3.
#[test]
fn a_dialects_cookie_without_a_prefix_is_warned_about_at_build() {
    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    // A callsite that another thread reaches first is disabled for all threads, unless that thread
    // has a subscriber too.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let warned = |insecure: bool, dialects: &[&Dialect]| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            Fixture::with(|b| {
                let b = b.refresh_with(Rotate::new(crate::MemoryStore::new()));
                let b = dialects.iter().fold(b, |b, dialect| b.dialect((*dialect).clone()));
                if insecure { b.insecure_dev_only() } else { b }
            })
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("__Host-")).map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = warned(false, &[&Dialect::VIJIL, &Dialect::GALILEO, &Dialect::FREDDY]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("access_token") && lines[0].contains("refresh_token"));
    assert!(warned(false, &[&Dialect::FREDDY]).is_empty(), "it has none");
    assert!(warned(true, &[&Dialect::VIJIL]).is_empty(), "no cookie has the prefix");
}

// Rows: L4.
#[tokio::test]
async fn a_session_that_this_node_knows_to_be_over_gets_nothing_by_a_dialect() {
    let fixture = fixture();
    let tokens = sign_in(&fixture, "alice").await;
    let sent = json!({ "refresh_token": tokens.refresh }).to_string();
    let reply = post(&fixture, &Dialect::FREDDY, &[], &sent).await;
    assert_eq!(reply.status(), StatusCode::OK, "{}", body(&reply));
    let sid = fixture.send(bearer_cookie(&tokens.access), |session, _| async move {
        Response::new(session.sid().unwrap())
    });
    fixture.auth.core.revoke_here(sid.await.body());
    for dialect in [Dialect::FREDDY, Dialect::JWT_AUTH_PRO] {
        let reply = post(&fixture, &dialect, &[], &sent).await;
        assert_eq!(
            reply.status().as_u16(),
            dialect.serving.as_ref().unwrap().errors.expired.status,
            "{}",
            dialect.name
        );
    }
}
