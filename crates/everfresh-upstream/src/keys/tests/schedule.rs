//! When a key set is fetched again without a token that asks for it, and when not.

use super::*;

// Rows: S41.
#[tokio::test(start_paused = true)]
async fn the_set_is_fetched_again_when_its_answer_says_so() {
    let (former, coming) = (Signer::new("a").await, Signer::new("b").await);
    for (cache, secs) in
        [("max-age=900", 900), ("max-age=0", 300), ("max-age=99999", 3600), ("", 600)]
    {
        let issuer = Issuer::new(&former.jwks);
        issuer.does(Does::Answer(former.jwks.to_string(), cache));
        let remote = issuer.fetch().await.unwrap();
        let app = app(&remote);
        issuer.does(Does::Answer(coming.jwks.to_string(), cache));
        pass(secs - 1).await;
        assert_eq!((issuer.asked(), status(&app, &former.token).await), (1, 200), "{cache}");
        pass(2).await;
        assert_eq!((issuer.asked(), status(&app, &coming.token).await), (2, 200), "{cache}");
        pass(secs).await;
        assert_eq!(issuer.asked(), 3);
        assert_eq!(status(&app, &former.token).await, 401, "the issuer took its key away");
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_is_asked_less_and_less() {
    let signer = Signer::new("a").await;
    let issuer = Issuer::new(&signer.jwks);
    let remote = issuer.fetch().await.unwrap();
    issuer.does(Does::Status(503));
    pass(601).await;
    let mut asked_at = Vec::new();
    let began = Instant::now();
    for _ in 0..3600 {
        let before = issuer.asked();
        pass(1).await;
        if issuer.asked() > before {
            asked_at.push(began.elapsed().as_secs() / 10 * 10);
        }
    }
    assert_eq!(asked_at, [30, 90, 210, 450, 930, 1530, 2130, 2730, 3330]);
    issuer.has(&signer.jwks);
    pass(600).await;
    assert_eq!(remote.last_error(), None, "and found again");
}

#[tokio::test(start_paused = true)]
async fn unused_key_sets_are_not_fetched_again() {
    let signer = Signer::new("a").await;
    let issuer = Issuer::new(&signer.jwks);
    let remote = issuer.fetch().await.unwrap();
    let keys = remote.keys();
    let inner = Arc::downgrade(&remote.0);
    drop(remote);
    pass(3600).await;
    let asked = issuer.asked();
    assert!(asked > 5, "the keys live, and are kept fresh");
    drop(keys);
    assert!(inner.upgrade().is_none(), "nothing holds on to them");
    pass(3600).await;
    assert_eq!(issuer.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn explicit_refreshes_of_a_key_set_share_one_fetch() {
    let (former, coming) = (Signer::new("a").await, Signer::new("b").await);
    let issuer = Issuer::new(&former.jwks);
    let remote = issuer.fetch().await.unwrap();
    issuer.has(&coming.jwks);
    let refreshed = join_all((0..10).map(|_| remote.refresh())).await;
    assert!(refreshed.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(), 2);
    assert_eq!(status(&app(&remote), &coming.token).await, 200);
    let shown = format!("{remote:?}");
    assert!(shown.contains(URL) && shown.contains("\"b\""), "{shown}");
}
