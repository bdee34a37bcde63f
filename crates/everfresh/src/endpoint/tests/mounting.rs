//! Where dialects are served, and which can be.

use http::StatusCode;
use serde_json::json;

use super::dialects::{Tokens, fixture, is_good, post, sign_in, text};
use super::*;
use crate::dialect::{Dialect, Place, Text};
use crate::{ConfigError, EngineBuilder, NativePaths, Rotate};

// Rows: S68.
#[tokio::test]
async fn a_large_body_is_refused_unread() {
    let fixture = fixture();
    let endpoints = fixture.auth.endpoints();
    let endpoint = endpoints.iter().find(|one| one.path() == Dialect::FREDDY.paths[0]).unwrap();
    let call = endpoint.read(&at("POST", "/v1/auth/refresh", &[]));
    assert!(call.wants_body());
    let reply = endpoint.answer(call, None, Err(crate::Rejection::missing_layer())).await;
    assert_eq!(reply.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

// Rows: F120.
#[test]
fn a_dialect_that_cant_be_served_is_an_error_at_build() {
    let build = |change: &dyn Fn(EngineBuilder<User>) -> EngineBuilder<User>| {
        let builder = crate::Engine::<User>::builder(Keys::hs256(SECRET).unwrap());
        let builder = builder.issuer("i").audience("a");
        change(builder).build().map(drop).unwrap_err().to_string()
    };
    let rotate = || Rotate::new(crate::MemoryStore::new());
    let problem = build(&|b| b.refresh_with(crate::Reissue::new()).dialect(Dialect::FREDDY));
    assert!(problem.contains("`refresh_with`") && problem.contains("Rotate"), "{problem}");
    let problem = build(&|b| b.refresh_with(rotate()).dialect(Dialect::OAUTH2));
    assert!(problem.contains("`client`"), "{problem}");
    let twice = |b: EngineBuilder<User>| {
        b.refresh_with(rotate()).dialect(Dialect::FREDDY).dialect(Dialect::FREDDY)
    };
    assert!(build(&twice).contains("/v1/auth/refresh"));
    let mut own = Dialect::FREDDY;
    own.paths = vec!["/auth/refresh".into()].into();
    let problem = build(&|b| b.refresh_with(rotate()).dialect(own.clone()));
    assert!(problem.contains("own endpoint for refresh"), "{problem}");
    own.paths = vec![Text::Borrowed("nowhere")].into();
    own.request.places = vec![Place::Cookie("a b".into())].into();
    let problem = build(&|b| b.refresh_with(rotate()).dialect(own.clone()));
    assert!(problem.contains("`paths`"), "{problem}");
    assert!(matches!(
        crate::Engine::<User>::builder(Keys::hs256(SECRET).unwrap())
            .issuer("i")
            .audience("a")
            .refresh_with(rotate())
            .dialect(own)
            .build(),
        Err(ConfigError::Dialect(_))
    ));
}

// Rows: N5.
#[tokio::test]
async fn a_dialect_stands_where_everfreshs_own_endpoint_was() {
    let mut dialect = Dialect::FREDDY;
    dialect.paths = vec!["/auth/refresh".into()].into();
    let served = dialect.clone();
    let fixture = Fixture::rotating_with(|b| {
        b.insecure_dev_only().native_paths(NativePaths::under("/session")).dialect(served)
    })
    .0;
    let Tokens { access, refresh } = sign_in(&fixture, "alice").await;
    let asks = json!({"refresh_token": refresh}).to_string();
    let told = body(&post(&fixture, &dialect, &[], &asks).await);
    assert!(is_good(&fixture, text(&told["token"])).await);
    let cookie = format!("access_token={access}; refresh_token={refresh}");
    let path = "/session/refresh";
    let own = call_with(&fixture, path, at("POST", path, &[("cookie", &cookie)]), b"").await;
    assert_eq!((own.status(), &body(&own)["sub"]), (StatusCode::OK, &json!("alice")));
}
