//! Each dialect's server against its own client, over sockets. One contract server signs users in
//! and serves every dialect. Another one is backed by it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use everfresh::dialect::Dialect;
use everfresh::dialect::TokenKind;
use everfresh::{ManualClock, Timestamp};
use everfresh_testkit::Browser;
use everfresh_testkit::contract::Me;
use everfresh_tests::process::{Running, Workplace};
use futures::future::join_all;
use serde_json::json;
use tokio::time::Instant;

/// The lifetime of an access token, and the observation time of each dialect: several lifetimes.
const LIFE: u64 = 4;
const WATCHED: Duration = Duration::from_secs(10);

struct Server {
    _process: Running,
    _workplace: Workplace,
    address: SocketAddr,
}

fn serve(program: &str, settings: &[(&str, String)]) -> Server {
    let workplace = Workplace::new().unwrap();
    let program = workplace.program(Path::new(program)).unwrap();
    let mut command = workplace.command(program);
    command.env("PORT", "0").env("SECRET", "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA");
    command.env("REUSE_INTERVAL", "1");
    command.envs(settings.iter().map(|(name, value)| (*name, value)));
    let mut process = Running::start(command).unwrap();
    let address = process.wait_for("listening on http://").parse().unwrap();
    Server { _process: process, _workplace: workplace, address }
}

fn browser(address: SocketAddr) -> Browser {
    // Only the jar uses this clock. No test here depends on a cookie's expiry.
    Browser::new(address, ManualClock::starting_at(Timestamp::from_secs(0)))
}

/// Signs in at the server of the dialect, adopts the tokens at the other server, and stays signed
/// in there.
async fn stay_signed_in(dialect: &Dialect, issuer: SocketAddr, program: &str) {
    let server = serve(
        program,
        &[
            ("REFRESH", "upstream".to_owned()),
            ("UPSTREAM_URL", format!("http://{issuer}/")),
            ("UPSTREAM_DIALECT", dialect.name.to_string()),
            ("UPSTREAM_CLIENT_ID", "contract".to_owned()),
        ],
    );
    let mut there = browser(issuer);
    let whom = match dialect.request.token {
        _ if dialect.request.client.is_some() => "client",
        TokenKind::Access { .. } => "access-token",
        TokenKind::Refresh => "no-client",
    };
    let login = format!("/login?deliver=header&for={whom}");
    let signed_in = there.post_json(&login, &json!({"user": "alice"})).await;
    assert_eq!(signed_in.status, 204);
    let access = signed_in.field("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    let tokens = json!({
        "access_token": access, "refresh_token": signed_in.field("x-refresh-token").unwrap(),
        // Tokens expire at whole seconds, so part of the first second may be over.
        "expires_in": LIFE - 1, "sub": "alice",
    });
    let mut here = browser(server.address);
    assert_eq!(here.post_json("/adopt", &tokens).await.status, 204, "{}", dialect.name);

    let (began, mut expiries) = (Instant::now(), std::collections::BTreeSet::new());
    while began.elapsed() < WATCHED {
        let answer = here.get("/me").await;
        assert_eq!(answer.status, 200, "{} after {:?}", dialect.name, began.elapsed());
        let me: Me = answer.json();
        assert_eq!(me.sub, "alice");
        expiries.insert(me.exp);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lived = expiries.last().unwrap() - expiries.first().unwrap();
    assert!(lived >= LIFE, "{}: tokens that expire at {expiries:?}", dialect.name);
}

#[tokio::test]
async fn each_dialect_keeps_a_session_alive_on_another_server() {
    let issuer = serve(env!("CARGO_BIN_EXE_serve-axum"), &[("ACCESS_TTL", LIFE.to_string())]);
    let programs = [
        env!("CARGO_BIN_EXE_serve-actix"),
        env!("CARGO_BIN_EXE_serve-axum"),
        env!("CARGO_BIN_EXE_serve-tower"),
        env!("CARGO_BIN_EXE_serve-warp"),
    ];
    let each = Dialect::ALL.into_iter().zip(programs.into_iter().cycle());
    join_all(each.map(|(dialect, program)| stay_signed_in(dialect, issuer.address, program))).await;
}
