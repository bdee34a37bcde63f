//! The fate of a session when the provider refuses, sends another answer, or none.

use everfresh::dialect::{Dialect, TokenKind};
use everfresh_upstream::{HttpError, Upstream};

use crate::fixture::*;
use crate::provider::{Act, Provider};

/// The outcome of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The session is over.
    Over,
    /// 503 for now. The next attempt may succeed.
    Later,
    /// The outcome is unknown: 401, and cookies and row stay unchanged.
    Doubt,
}
use Fate::{Doubt, Later, Over};

fn lost() -> HttpError {
    HttpError::Lost { cause: "reset".into() }
}

/// F70, for every dialect: no case here has the form of a dialect's own error.
fn matrix() -> Vec<(Act, Fate)> {
    const HTML: &str = "<html><body>It works!</body></html>";
    let say = |status, body| Act::Say(status, &[], body);
    vec![
        (say(400, r#"{"error":"invalid_request"}"#), Later),
        (say(400, r#"{"error":"unauthorized_client"}"#), Later),
        (say(400, HTML), Later),
        (say(401, r#"{"error":"invalid_client"}"#), Later),
        (say(401, HTML), Later),
        (say(402, ""), Later),
        (say(403, HTML), Later),
        (say(403, r#"{"error":"access_denied"}"#), Later),
        (say(404, ""), Later),
        (say(404, HTML), Later),
        (say(405, ""), Later),
        (say(408, ""), Doubt),
        (say(409, r#"{"error":"concurrency"}"#), Later),
        (say(410, ""), Later),
        (say(413, ""), Later),
        (say(422, r#"{"error":"unprocessable"}"#), Later),
        (say(425, ""), Later),
        (Act::Say(429, &[("retry-after", "7")], ""), Later),
        (say(429, ""), Later),
        (say(500, ""), Later),
        (say(500, r#"{"error":"server_error"}"#), Later),
        (say(502, HTML), Later),
        (Act::Say(503, &[("retry-after", "30")], ""), Later),
        (say(504, HTML), Doubt),
        (say(200, HTML), Later),
        (say(200, ""), Later),
        (say(202, HTML), Later),
        (say(200, r#"{"error":"temporarily_unavailable"}"#), Later),
        (say(200, r#"{"ok":false}"#), Later),
        (say(200, "{}"), Doubt),
        (say(200, r#"{"access_token":null,"token":7}"#), Doubt),
        (say(200, r#"{"access_token":"at.ada.1.pssst","token":"at.ada.1.ps"#), Doubt),
        (say(204, ""), Later),
        (Act::Say(301, &[("location", "https://elsewhere.example/")], ""), Later),
        (Act::Say(307, &[("location", "https://elsewhere.example/")], ""), Later),
        (Act::Say(303, &[("location", "/token")], ""), Later),
        (Act::Fail(HttpError::Connect { cause: "refused".into() }), Later),
        (Act::Fail(HttpError::ConnectTimeout { limit: secs(5) }), Later),
        (Act::Fail(HttpError::Tls { cause: "unknown issuer".into() }), Later),
        (Act::Fail(HttpError::Unsent { cause: "closed".into() }), Later),
        (Act::TakeAndFail(lost()), Doubt),
        (Act::Fail(lost()), Doubt),
        (Act::Fail(HttpError::Timeout { limit: secs(5) }), Doubt),
        (Act::Fail(HttpError::Garbled { cause: "no HTTP".into() }), Doubt),
        (Act::Fail(HttpError::Cut { status: http::StatusCode::OK }), Doubt),
        (Act::Fail(HttpError::TooLarge { status: http::StatusCode::OK, limit: 65536 }), Doubt),
    ]
}

/// The answers by which each dialect reports that a session is over.
fn rejections(dialect: &Dialect) -> Vec<Act> {
    let say = |status, body| Act::Say(status, &[], body);
    match &*dialect.name {
        "vijil" => vec![
            say(401, r#"{"detail":"Invalid token"}"#),
            say(401, r#"{"detail":{"code":"invalid"}}"#),
            say(403, r#"{"detail":"Not authenticated"}"#),
            say(404, r#"{"detail":"User not found"}"#),
        ],
        "jwt_auth_pro" => vec![
            say(
                403,
                r#"{"code":"jwt_auth_invalid_token","message":"Expired.","data":{"status":403}}"#,
            ),
            say(
                403,
                r#"{"code":"jwt_auth_expired_refresh_token","message":"Expired.","data":{"status":403}}"#,
            ),
        ],
        "freddy" => vec![
            say(401, r#"{"detail":"Invalid refresh token"}"#),
            say(400, r#"{"detail":"Refresh token has expired"}"#),
            say(401, r#"{"success":false,"error":{"code":"INVALID_TOKEN","message":"No"}}"#),
        ],
        "redis_enterprise" => vec![say(401, r#"{"error":"unauthorized"}"#), say(401, "")],
        "galileo" => vec![say(401, r#"{"detail":"No"}"#), say(403, r#"{"detail":"No"}"#)],
        _ => vec![
            say(400, r#"{"error":"invalid_grant"}"#),
            say(403, r#"{"error":"invalid_grant"}"#),
            say(400, r#"{"error":"login_required"}"#),
        ],
    }
}

fn fixture_of(dialect: &Dialect) -> Fixture {
    let provider = Provider::new();
    if dialect.serving.as_ref().is_some_and(|serving| !serving.rotates) {
        // The client keeps the token that it presents, because it is not consumed.
        provider.keeps_tokens();
    }
    let client = provider.client();
    let upstream = move || {
        let server = url("https://id.example/");
        Upstream::new(&client, dialect.clone(), &server).unwrap().client(public_client())
    };
    Fixture::over(provider, 1, upstream, |builder| builder)
}

/// Every dialect with every answer, and the outcome.
fn all_cases() -> impl Iterator<Item = (&'static Dialect, Act, Fate)> {
    Dialect::ALL.into_iter().flat_map(|dialect| {
        let over = rejections(dialect).into_iter().map(|act| (act, Over));
        let rest = matrix().into_iter().map(move |(act, fate)| match act {
            // Its documentation has no other 401.
            Act::Say(401, ..) if &*dialect.name == "redis_enterprise" => (act, Over),
            act => (act, fate),
        });
        over.chain(rest).map(move |(act, fate)| (dialect, act, fate))
    })
}

// Rows: F70, S58.
#[tokio::test(start_paused = true)]
async fn expired_tokens_and_every_answer() {
    for (dialect, act, fate) in all_cases() {
        let case = format!("{}: {act:?}", dialect.name);
        let fixture = fixture_of(dialect);
        let mut client = fixture.expired("ada").await;
        let row = fixture.row(&client).await.unwrap().upstream.unwrap();
        fixture.provider.next(act.clone());
        let answer = fixture.get(&mut client).await;
        assert!(answer.left_cookies_alone(), "{case}");
        assert_eq!(fixture.provider.calls(), 1, "{case}");
        match fate {
            Over => {
                assert_eq!(answer.status, 401, "{case}");
                assert!(fixture.row(&client).await.is_none(), "{case}");
            }
            Later => {
                assert_eq!(answer.status, 503, "{case}");
                assert!(answer.retry_after.is_some_and(|after| after >= 1), "{case}");
                assert_eq!(fixture.upstream(&client).await, (0, 0), "given back: {case}");
            }
            Doubt => {
                assert_eq!(answer.status, 401, "{case}");
                let now = fixture.row(&client).await.unwrap().upstream.unwrap();
                assert_eq!((now.seq, now.tries), (0, 1), "{case}");
                assert_eq!((&now.sealed, now.expires), (&row.sealed, row.expires), "{case}");
            }
        }
        // At the next request after any back-off.
        fixture.pass(61);
        client.navigates = true;
        let answer = fixture.get(&mut client).await;
        let (status, calls) = match fate {
            Over => (401, 1),
            Later => (200, 2),
            Doubt => (401, 1),
        };
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(fixture.provider.calls(), calls, "{case}");
        assert_eq!(answer.set.is_empty(), fate == Doubt, "cleared only if it is over: {case}");
        assert_eq!(client.access.is_empty(), fate == Over, "{case}");
        assert_eq!(fixture.provider.reuses(), 0, "{case}");
    }
}

// Rows: F70, S59.
#[tokio::test(start_paused = true)]
async fn good_tokens_and_every_answer() {
    for (dialect, act, fate) in all_cases() {
        let case = format!("{}: {act:?}", dialect.name);
        let fixture = fixture_of(dialect);
        let mut client = fixture.adopt("ada").await;
        // The request waits for the refresh, but its access token is still valid.
        fixture.pass_until_left(&client, 5);
        fixture.provider.next(act.clone());
        let answer = fixture.get(&mut client).await;
        // Some servers reject a refresh token that is used early: it is sent once more when the
        // access token has expired, and until then the node mints tokens of its own.
        let is_early = fate == Over && dialect.request.token == TokenKind::Refresh;
        assert!(is_early || answer.left_cookies_alone(), "{case}");
        assert_eq!(fixture.provider.calls(), 1, "{case}");
        if fate == Over {
            if is_early {
                assert_eq!(answer.status, 200, "{case}");
                assert_eq!(fixture.upstream(&client).await, (0, 0), "given back: {case}");
                fixture.provider.all(act);
                let row = fixture.row(&client).await.unwrap().upstream.unwrap();
                while fixture.clock.now() < row.expires {
                    assert_eq!(fixture.get(&mut client).await.status, 200, "{case}");
                    assert_eq!(fixture.provider.calls(), 1, "{case}");
                    fixture.pass(1);
                }
                assert_eq!(fixture.get(&mut client).await.status, 401, "{case}");
                assert_eq!(fixture.provider.calls(), 2, "{case}");
            } else {
                assert_eq!(answer.status, 401, "{case}");
            }
            assert!(fixture.row(&client).await.is_none(), "{case}");
            continue;
        }
        assert_eq!((answer.status, &*answer.body), (http::StatusCode::OK, "ada"), "{case}");
        assert_eq!(fixture.upstream(&client).await, (0, u32::from(fate == Doubt)), "{case}");
        // And again while the token is valid.
        assert_eq!(fixture.get(&mut client).await.status, 200, "{case}");
        fixture.pass(61);
        let answer = fixture.get(&mut client).await;
        let (status, calls) = if fate == Later { (200, 2) } else { (401, 1) };
        assert_eq!((answer.status.as_u16(), fixture.provider.calls()), (status, calls), "{case}");
        assert_eq!(fixture.provider.reuses(), 0, "{case}");
    }
}

// Rows: F71, F72.
#[tokio::test]
async fn the_providers_retry_after_is_passed_on_and_kept() {
    let fixture = Fixture::new();
    let mut client = fixture.expired("ada").await;
    fixture.provider.next(Act::Say(503, &[("retry-after", "30")], ""));
    let answer = fixture.get(&mut client).await;
    assert_eq!((answer.status.as_u16(), answer.retry_after), (503, Some(30)));
    for (passed, status) in [(0, 503), (15, 503), (14, 503), (1, 200)] {
        fixture.pass(passed);
        let answer = fixture.get(&mut client).await;
        assert_eq!(answer.status, status);
        assert_eq!(fixture.provider.calls(), if status == 200 { 2 } else { 1 });
    }
}

// Rows: F71.
#[tokio::test]
async fn a_wrong_client_secret_is_an_alarm_and_ends_no_session() {
    let fixture = Fixture::new();
    let mut clients = Vec::new();
    for n in 0..5 {
        clients.push(fixture.adopt(&format!("p{n}")).await);
    }
    fixture.pass(LIFE + 1);
    fixture.provider.all(Act::Say(401, &[], r#"{"error":"invalid_client"}"#));
    fixture.node().events();
    for client in &mut clients {
        let answer = fixture.get(client).await;
        assert!(answer.status == 503 && answer.left_cookies_alone());
    }
    let events = fixture.node().events();
    assert_eq!(events.iter().filter(|event| event.contains("Misconfigured")).count(), 5);
    fixture.provider.all(Act::Good);
    fixture.pass(61);
    for client in &mut clients {
        assert_eq!(fixture.get(client).await.status, 200);
    }
    assert_eq!(fixture.provider.reuses(), 0);
}

// Rows: F76.
#[tokio::test(start_paused = true)]
async fn a_refused_node_checks_whether_another_node_succeeded() {
    // Two nodes send the same token, as after a store that lost a reservation. The second node
    // succeeds first, and the first node gets one of the usual error answers.
    for (status, body) in [
        (400, r#"{"error":"invalid_grant"}"#),
        (400, r#"{"error":"invalid_request"}"#),
        (401, r#"{"error":"invalid_client"}"#),
        (409, ""),
        (500, ""),
    ] {
        let fixture = Fixture::nodes(2);
        fixture.tick();
        let client = fixture.expired("ada").await;
        fixture.provider.next(Act::HoldAndSay(status, body));
        let before = fixture.row(&client).await.unwrap();
        let (mut mine, mut theirs) = (client.clone(), client.clone());
        let (one, other) = tokio::join!(fixture.nodes[0].get(&mut mine), async {
            fixture.provider.until_calls(1).await;
            fixture.store.store.restore(before);
            let answer = fixture.nodes[1].get(&mut theirs).await;
            fixture.provider.release();
            answer
        });
        assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200), "{status} {body}");
        assert_eq!((mine.refresh, fixture.provider.calls()), (theirs.refresh, 2));
    }
}
