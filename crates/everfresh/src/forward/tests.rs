//! Row S10 of `tests/COVERAGE.md`, F46: the tokens that the inner service sees.

use http::{HeaderMap, Request, Response};
use proptest::prelude::*;

use super::*;
use crate::testing::*;
use crate::{EngineBuilder, Transport};

/// The fields of one name that the inner service sees.
async fn seen(fixture: &Fixture, request: Request<()>, name: &'static str) -> Vec<String> {
    let response = fixture
        .send(request, move |_, request| async move {
            let values = request.headers().get_all(name).iter();
            let texts: Vec<_> = values.map(|v| v.as_bytes().escape_ascii().to_string()).collect();
            Response::new(texts.join("\n"))
        })
        .await;
    response.body().lines().map(ToOwned::to_owned).collect()
}

fn fixture(policy: InnerToken) -> Fixture {
    let transports = [Transport::cookies(), Transport::headers()];
    Fixture::with(move |b: EngineBuilder<User>| b.inner_token(policy).transports(transports))
}

// Rows: S10, F46.
#[tokio::test]
async fn the_refresh_token_never_reaches_the_inner_service() {
    for policy in [InnerToken::Untouched, InnerToken::Fresh, InnerToken::Strip] {
        let fixture = fixture(policy);
        let request = get(&[
            ("cookie", "a=1; __Host-refresh_token=rt; b=2"),
            ("cookie", "__Host-refresh_token=rt"),
            ("cookie", "c=3;__Host-refresh_token=; d"),
        ]);
        assert_eq!(seen(&fixture, request, "cookie").await, ["a=1; b=2", "c=3;d"], "{policy:?}");
        for (header, left) in [
            ("__Host-refresh_token=rt; a=1", "a=1"),
            ("a=1; __Host-refresh_token=rt", "a=1"),
            ("a=1; __Host-refresh_token=rt ;; ", "a=1"),
            (" __Host-refresh_token=rt;__Host-refresh_token=rt2; a=1 ; b", " a=1 ; b"),
            ("a=__Host-refresh_token=x; b", "a=__Host-refresh_token=x; b"),
        ] {
            assert_eq!(seen(&fixture, get(&[("cookie", header)]), "cookie").await, [left]);
        }
        let request = get(&[("x-refresh-token", "rt"), ("x-refresh-token", "rt")]);
        assert!(seen(&fixture, request, "x-refresh-token").await.is_empty());
    }
    let own = Transport::new(Location::Header("x-at".parse().unwrap()), Location::bearer());
    let fixture = Fixture::with(|b| b.transports([own]));
    let refresh = get(&[("authorization", "Bearer rt")]);
    assert!(seen(&fixture, refresh, "authorization").await.is_empty());
    let other = get(&[("authorization", "Basic YTpi")]);
    assert_eq!(seen(&fixture, other, "authorization").await, ["Basic YTpi"]);
}

#[tokio::test]
async fn untouched_leaves_every_byte_of_a_request_without_refresh_token() {
    let fixture = fixture(InnerToken::Untouched);
    let header = "a=1;b=\"2\" ; __Host-access_token=x.y.z;; =;c";
    assert_eq!(
        seen(&fixture, get(&[("cookie", header)]), "cookie").await,
        [header.escape_default().to_string()]
    );
}

#[tokio::test]
async fn strip_takes_the_access_token_out_too() {
    let fixture = fixture(InnerToken::Strip);
    let token = fixture.sign_in("alice").await;
    let header = format!("a=1; __Host-access_token={token}; b=caf\u{e9}");
    assert_eq!(
        seen(&fixture, get(&[("cookie", &header)]), "cookie").await,
        ["a=1; b=caf\\xc3\\xa9"]
    );
    assert!(seen(&fixture, cookie(&token), "cookie").await.is_empty(), "no empty field stays");
    assert!(seen(&fixture, bearer(&token), "authorization").await.is_empty());
}

#[tokio::test]
async fn fresh_puts_the_new_token_in_the_place_of_the_old() {
    let fixture = fixture(InnerToken::Fresh);
    let token = fixture.sign_in("alice").await;
    let header = format!("a=1; __Host-access_token={token}; b=2");
    let request = || get(&[("cookie", &header)]);
    assert_eq!(
        seen(&fixture, request(), "cookie").await,
        std::slice::from_ref(&header),
        "as it is while fresh"
    );
    fixture.pass(900);
    let new = token_of(&fixture.me(request()).await).unwrap();
    let expected = format!("a=1; __Host-access_token={new}; b=2");
    assert_eq!(seen(&fixture, request(), "cookie").await, [expected]);
    assert_eq!(seen(&fixture, bearer(&token), "authorization").await, [format!("Bearer {new}")]);
}

#[tokio::test]
async fn a_named_header_is_stripped_and_replaced_too() {
    let own = Transport::new(
        Location::Header("x-at".parse().unwrap()),
        Location::Header("x-rt".parse().unwrap()),
    );
    let transports = [Transport::cookies(), own, Transport::headers()];
    let with = |policy| {
        let transports = transports.clone();
        Fixture::with(move |b: EngineBuilder<User>| b.inner_token(policy).transports(transports))
    };
    let fixture = with(InnerToken::Strip);
    let token = fixture.sign_in("alice").await;
    assert!(seen(&fixture, get(&[("x-at", &token)]), "x-at").await.is_empty());
    let basic = get(&[("authorization", "Basic YTpi")]);
    assert_eq!(seen(&fixture, basic, "authorization").await, ["Basic YTpi"], "not ours");

    let fixture = with(InnerToken::Fresh);
    let token = fixture.sign_in("alice").await;
    fixture.pass(900);
    let new = token_of(&fixture.me(cookie(&token)).await).unwrap();
    assert_eq!(seen(&fixture, get(&[("x-at", &token)]), "x-at").await, std::slice::from_ref(&new));
    assert!(seen(&fixture, cookie(&token), "x-at").await.is_empty(), "only where it came");
    assert!(seen(&fixture, cookie(&token), "authorization").await.is_empty());
    let twice = format!("{COOKIE_NAME}={token}; a=1; {COOKIE_NAME}={token}");
    let expected = format!("{COOKIE_NAME}={new}; a=1");
    assert_eq!(seen(&fixture, get(&[("cookie", &twice)]), "cookie").await, [expected], "once");
}

/// The pairs of a field, without separators.
fn pairs(field: &str) -> Vec<&str> {
    field.split(';').map(|pair| pair.trim_matches([' ', '\t'])).filter(|p| !p.is_empty()).collect()
}

proptest! {
    // Rows: S10, R19.
    #[test]
    fn exactly_our_cookies_are_cut_out_of_a_cookie_field(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("__Host-refresh_token="), Just("__Host-access_token="), Just("_token="),
                Just("=rt"), Just("x"), Just(";"), Just("; "), Just(" "), Just("\t"),
            ],
            0..24,
        ),
        strip in any::<bool>(),
    ) {
        let field = parts.concat();
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, HeaderValue::from_str(&field).unwrap());
        let transports = Transports::build(vec![Transport::cookies()], false, false).unwrap();
        let policy = if strip { InnerToken::Strip } else { InnerToken::Untouched };
        rewrite(&mut fields, &transports, policy, None);
        let left = fields.get(COOKIE).map_or("", |value| value.to_str().unwrap());
        let stays = |pair: &&str| {
            let is = |name: &str| pair.starts_with(name);
            !(is("__Host-refresh_token=") || strip && is("__Host-access_token="))
        };
        let expected: Vec<_> = pairs(&field).into_iter().filter(stays).collect();
        prop_assert_eq!(pairs(left), expected);
    }
}
