//! Sign-outs with and without a pending refresh, and the revocations that the provider receives.

use everfresh::Rejection;
use everfresh::dialect::TokenKind;

use crate::fixture::*;
use crate::provider::{Act, Got, SECRET_PART};

async fn sign_out(session: everfresh::Session<User>) -> Result<String, Rejection> {
    session.sign_out().await?;
    Ok(String::new())
}

/// On another node, which has no pending refresh, by another session of the same user.
async fn sign_out_elsewhere(fixture: &Fixture) {
    let grant = crate::provider::Grant { family: "other".into(), n: 0 };
    let issued =
        everfresh::dialect::AccessTokenResponse::new(everfresh::AccessToken::new(grant.access()))
            .with_refresh_token(everfresh::refresher::RefreshToken::new(grant.refresh()));
    let mut other = fixture.nodes[1].adopt_issued("ada", issued).await.unwrap();
    let others = |session: everfresh::Session<User>| async move {
        Ok(session.sign_out_others().await?.to_string())
    };
    let answer = fixture.nodes[1].send(&mut other, others).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "1"));
}

fn tokens(revoked: &[Got]) -> Vec<&str> {
    revoked.iter().map(|got| &*got.token).collect()
}

fn refresh_token(family: &str, n: u64) -> String {
    format!("rt.{family}.{n}.{SECRET_PART}")
}

// Rows: S66.
#[tokio::test(start_paused = true)]
async fn a_sign_out_revokes_the_upstream_token() {
    let fixture = Fixture::new();
    let mut client = fixture.adopt("ada").await;
    let answer = fixture.node().send(&mut client, sign_out).await;
    assert_eq!((answer.status.as_u16(), answer.set.len()), (200, 2));
    fixture.until(async || fixture.provider.revoked().len() == 1).await;
    let got = &fixture.provider.revoked()[0];
    assert_eq!(got.path, "/revoke");
    let mut form: Vec<_> = form_urlencoded::parse(got.body.as_bytes()).into_owned().collect();
    form.sort();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        field("client_id", "app"),
        field("token", &refresh_token("ada", 0)),
        field("token_type_hint", "refresh_token"),
    ];
    assert_eq!(form, expected);
    assert_eq!(fixture.provider.calls(), 0);
}

// Rows: S66.
#[tokio::test(start_paused = true)]
async fn an_unknown_token_counts_as_revoked_and_a_busy_server_is_asked_again() {
    for (statuses, calls) in [
        (&[200][..], 1),
        (&[503], 2),
        (&[503, 500, 429], 4),
        (&[503; 9], 4),
        (&[400], 1),
        (&[401], 1),
    ] {
        let fixture = Fixture::new();
        fixture.tick();
        let mut client = fixture.adopt("ada").await;
        fixture.provider.revocations(statuses);
        assert_eq!(fixture.node().send(&mut client, sign_out).await.status, 200);
        tokio::time::sleep(secs(60)).await;
        let revoked = fixture.provider.revoked();
        assert_eq!(tokens(&revoked), vec![&*refresh_token("ada", 0); calls], "{statuses:?}");
    }
}

// Rows: F80.
#[tokio::test(start_paused = true)]
async fn after_a_sign_out_a_late_token_is_revoked_and_not_stored() {
    let fixture = Fixture::nodes(2);
    fixture.tick();
    let client = fixture.expired("ada").await;
    fixture.provider.next(Act::Hold);
    let (node, mut first) = (fixture.node().clone(), client.clone());
    let first = tokio::spawn(async move { node.get(&mut first).await });
    fixture.provider.until_calls(1).await;
    sign_out_elsewhere(&fixture).await;
    fixture.provider.release();
    let answer = first.await.unwrap();
    assert!(answer.status == 401 && answer.left_cookies_alone(), "{answer:?}");
    fixture.until(async || fixture.provider.revoked().len() == 2).await;
    let revoked = fixture.provider.revoked();
    assert_eq!(tokens(&revoked), [refresh_token("ada", 0), refresh_token("ada", 1)]);
    assert!(fixture.row(&client).await.is_none());
    for node in &fixture.nodes {
        assert_eq!(node.get(&mut client.clone()).await.status, 401);
    }
    assert_eq!(fixture.provider.calls(), 1);
}

// Rows: F80.
#[tokio::test(start_paused = true)]
async fn a_sign_out_between_any_two_steps_is_final() {
    for step in ["claim", "publish", "rotate"] {
        let fixture = Fixture::nodes(2);
        fixture.tick();
        let client = fixture.expired("ada").await;
        // The step takes effect, and its answer is slow. The sign-out arrives in between.
        fixture.store.next(step, crate::wire::Fault::Slow(300));
        let (node, mut first) = (fixture.node().clone(), client.clone());
        let first = tokio::spawn(async move { node.get(&mut first).await.status.as_u16() });
        fixture.until(async || fixture.store.count(step) == 1).await;
        sign_out_elsewhere(&fixture).await;
        let first = first.await.unwrap();
        assert!(first == 401 || (first == 200 && step == "rotate"), "{step}: {first}");
        assert!(fixture.row(&client).await.is_none(), "{step}");
        tokio::time::sleep(secs(2)).await;
        // The latest token that the provider issued is among the revoked ones.
        let latest = refresh_token("ada", fixture.provider.calls() as u64);
        let revoked = fixture.provider.revoked();
        assert!(tokens(&revoked).contains(&&*latest), "{step}: {:?}", tokens(&revoked));
        assert_eq!(fixture.nodes[1].get(&mut client.clone()).await.status, 401);
    }
}

// Rows: S66.
#[tokio::test(start_paused = true)]
async fn signed_out_everywhere_is_revoked_everywhere() {
    let fixture = Fixture::new();
    let mut first = fixture.adopt("ada").await;
    let mut grants = vec![refresh_token("ada", 0)];
    for n in 0..3 {
        let grant = crate::provider::Grant { family: format!("ada-{n}"), n: 0 };
        let issued = everfresh::dialect::AccessTokenResponse::new(everfresh::AccessToken::new(
            grant.access(),
        ))
        .with_refresh_token(everfresh::refresher::RefreshToken::new(grant.refresh()));
        fixture.node().adopt_issued("ada", issued).await.unwrap();
        grants.push(grant.refresh());
    }
    let bob = fixture.adopt("bob").await;
    let everywhere = |session: everfresh::Session<User>| async move {
        Ok(session.sign_out_everywhere().await?.to_string())
    };
    let answer = fixture.node().send(&mut first, everywhere).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "4"));
    fixture.until(async || fixture.provider.revoked().len() >= 4).await;
    let revoked = fixture.provider.revoked();
    let mut revoked = tokens(&revoked);
    revoked.sort_unstable();
    grants.sort_unstable();
    assert_eq!(revoked, grants);
    assert!(fixture.row(&bob).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn reuse_revokes_the_upstream_tokens_as_well() {
    let fixture = Fixture::new();
    let old = fixture.adopt("ada").await;
    let mut client = old.clone();
    for _ in 0..2 {
        fixture.pass(LIFE + 1);
        assert_eq!(fixture.get(&mut client).await.status, 200);
    }
    fixture.pass(LIFE + 1);
    let answer = fixture.get(&mut old.clone()).await;
    assert_eq!(answer.status, 401);
    fixture.until(async || fixture.provider.revoked().len() == 1).await;
    assert_eq!(tokens(&fixture.provider.revoked()), [refresh_token("ada", 2)]);
    assert_eq!(fixture.provider.calls(), 2, "nothing is sent for a stolen token");
}

#[tokio::test(start_paused = true)]
async fn a_session_with_an_access_token_alone_revokes_that_token() {
    let provider = crate::provider::Provider::new();
    let client = provider.client();
    let upstream = move || {
        let server = url("https://id.example/");
        everfresh_upstream::Upstream::new(&client, everfresh::dialect::Dialect::VIJIL, &server)
            .unwrap()
            .client(public_client())
            .revoke_at(url("https://id.example/revoke"))
    };
    assert_ne!(everfresh::dialect::Dialect::VIJIL.request.token, TokenKind::Refresh);
    let fixture = Fixture::over(provider, 1, upstream, |builder| builder);
    let issued = everfresh::dialect::AccessTokenResponse::new(everfresh::AccessToken::new(
        crate::provider::Grant { family: "ada".into(), n: 0 }.access(),
    ));
    let mut client = fixture.node().adopt_issued("ada", issued).await.unwrap();
    assert_eq!(fixture.node().send(&mut client, sign_out).await.status, 200);
    fixture.until(async || fixture.provider.revoked().len() == 1).await;
    let got = &fixture.provider.revoked()[0];
    assert!(got.body.contains("token_type_hint=access_token"), "{}", got.body);
    assert_eq!(got.token, format!("at.ada.0.{SECRET_PART}"));
}

// Rows: L4.
#[tokio::test(start_paused = true)]
async fn a_sign_out_counts_here_although_the_store_was_down() {
    let fixture = Fixture::nodes(2);
    fixture.tick();
    let client = fixture.adopt("ada").await;
    fixture.store.down(true);
    let answer = fixture.node().send(&mut client.clone(), sign_out).await;
    assert_eq!((answer.status.as_u16(), answer.set.len()), (503, 2));
    fixture.store.down(false);
    assert!(fixture.row(&client).await.is_some(), "its row lives on");
    for age in [0, 20, LIFE] {
        fixture.pass(age);
        for access in [&*client.access, ""] {
            let mut copy = Client { access: access.into(), ..client.clone() };
            let answer = fixture.node().get(&mut copy).await;
            assert_eq!((answer.status.as_u16(), &*answer.body != "ada"), (401, true), "{age} s");
            assert!(answer.left_cookies_alone());
        }
    }
    assert_eq!(fixture.provider.calls(), 0);
    // A page that answers 401 deletes the cookies, as for any session that is over.
    let mut page = Client { navigates: true, access: String::new(), ..client.clone() };
    assert_eq!(fixture.node().get(&mut page).await.set.len(), 2);
    // The other node has not learned of the end.
    assert_eq!(fixture.nodes[1].get(&mut client.clone()).await.status, 200);
}
