//! Sessions backed by tokens of another server: the calls to an upstream token keeper, and their
//! order.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::dialect::AccessTokenResponse;
use crate::refresh::UpstreamAccessToken;
use crate::refresher::{Context, Setup};
use crate::store::{Loaded, NewUpstreamTokens, SessionRecord, UpstreamTokenStore as _};
use crate::upstream::{Sealer, UpstreamTokenKeeper};
use crate::{AccessToken, Failure};

const LIFE: Duration = Duration::from_secs(600);

/// Keeps tokens as they are, and renews them in name only.
#[derive(Clone)]
struct Depot {
    store: MemoryStore,
    /// The calls that it received, in order.
    asked: Arc<Mutex<Vec<String>>>,
    fails: Arc<Mutex<Option<Failure>>>,
}

impl Depot {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl UpstreamTokenKeeper for Depot {
    fn prepare(&self, setup: &Setup<'_>, sealer: Sealer) -> Result<(), ConfigError> {
        let sealed = sealer.seal(b"place", b"tokens").unwrap();
        assert_eq!(**sealer.open(b"place", &sealed).unwrap(), *b"tokens");
        setup.within("Depot", setup.session_lifetime(), LIFE, Duration::MAX)
    }

    async fn seal_new(
        &self,
        _: &Context,
        _: SessionId,
        subject: &str,
        issued: AccessTokenResponse,
    ) -> Result<NewUpstreamTokens, Failure> {
        self.note(format!("seal for {subject}"));
        let sealed = issued.access_token.expose().as_bytes().to_vec();
        Ok(NewUpstreamTokens { sealed, expires_in: issued.expires_in.unwrap_or(LIFE) })
    }

    async fn renew(
        &self,
        _: &Context,
        loaded: Loaded,
        token_still_valid: bool,
    ) -> Result<Loaded, Failure> {
        self.note(format!("renew, still valid: {token_still_valid}"));
        let failure = *self.fails.lock().unwrap();
        failure.map_or(Ok(loaded), Err)
    }

    fn access_token(&self, record: &SessionRecord) -> Result<UpstreamAccessToken, Failure> {
        let upstream = record.upstream.as_ref().ok_or(Failure::Rejected)?;
        let token = AccessToken::new(String::from_utf8(upstream.sealed.clone()).unwrap());
        Ok(UpstreamAccessToken::new(token, BTreeMap::new()))
    }

    async fn end(&self, _: &Context, sid: SessionId) -> Result<bool, Failure> {
        self.note("end");
        let ended = self.store.end(sid).await.map_err(|_| Failure::SOON)?;
        Ok(ended.is_some())
    }

    async fn drain(&self, _: &Context) -> usize {
        3
    }
}

fn resting_with(
    change: impl FnOnce(crate::EngineBuilder<User>) -> crate::EngineBuilder<User>,
) -> (Fixture, Depot) {
    let clock = crate::ManualClock::starting_at(START);
    let store = MemoryStore::new().clock(clock.clone());
    let depot = Depot { store: store.clone(), asked: Arc::default(), fails: Arc::default() };
    let refresher = Rotate::backed_by(store, depot.clone());
    let mut fixture = Fixture::with(|b| {
        change(b.clock(clock.clone()).leeway(Duration::ZERO).refresh_with(refresher))
    });
    fixture.clock = clock;
    (fixture, depot)
}

fn resting() -> (Fixture, Depot) {
    resting_with(|b| b)
}

/// Signs alice in, with an access token of this lifetime.
async fn sign_in(fixture: &Fixture, expires_in: Duration) -> Pair {
    let signed_in = fixture.send(get(&[]), move |session, _| async move {
        let issued =
            AccessTokenResponse::new(AccessToken::new("theirs".into())).with_expires_in(expires_in);
        let sign_in = SignIn::new("alice", user("alice")).backed_by(issued);
        session.sign_in_with(sign_in).await.unwrap();
        empty()
    });
    let mut pair = Pair::default();
    pair.keep(&signed_in.await);
    pair
}

/// How many seconds this access token remains valid.
async fn left(fixture: &Fixture, pair: &Pair) -> u64 {
    let answer = fixture.send(pair.request(), |session, _| async move {
        let at = session.watch().unwrap().expires_at();
        Response::new(at.as_secs().to_string())
    });
    let at: u64 = answer.await.body().parse().unwrap();
    at - fixture.clock.now().as_secs()
}

#[test]
fn a_keeper_checks_its_settings_when_the_engine_is_built() {
    let build = |lifetime| {
        let store = MemoryStore::new();
        let depot = Depot { store: store.clone(), asked: Arc::default(), fails: Arc::default() };
        Engine::<User>::builder(Keys::hs256(SECRET).unwrap())
            .issuer("https://app.example")
            .audience("app")
            .access_lifetime(Duration::from_secs(60))
            .session_lifetime(lifetime)
            .refresh_with(Rotate::backed_by(store, depot))
            .build()
    };
    assert!(build(LIFE).is_ok());
    let refused = build(LIFE - Duration::from_secs(1));
    assert!(matches!(refused, Err(ConfigError::OutOfRange { setting: "Depot", .. })));
}

#[tokio::test]
async fn upstream_tokens_are_accepted_only_with_a_keeper() {
    let (depot, _) = resting();
    let (rotating, _) = Fixture::rotating();
    for (fixture, issued) in [(depot, false), (rotating, true)] {
        let response = fixture.send(get(&[]), move |session, _| async move {
            let mut sign_in = SignIn::new("alice", user("alice"));
            if issued {
                sign_in =
                    sign_in.backed_by(AccessTokenResponse::new(AccessToken::new("theirs".into())));
            }
            let refused = session.sign_in_with(sign_in).await.unwrap_err();
            assert_eq!(refused.kind(), SessionErrorKind::Misconfigured);
            empty()
        });
        assert!(set_cookies(&response.await).is_empty());
    }
}

#[tokio::test]
async fn an_access_token_lives_no_longer_than_its_upstream_token() {
    let (fixture, depot) = resting();
    let pair = sign_in(&fixture, LIFE).await;
    assert_eq!(depot.asked(), ["seal for alice"]);
    let of_ten_minutes = left(&fixture, &pair).await;
    assert!((560..=600).contains(&of_ten_minutes), "{of_ten_minutes}");
    let pair = sign_in(&fixture, Duration::from_secs(3)).await;
    assert!((1..=3).contains(&left(&fixture, &pair).await));
    let pair = sign_in(&fixture, Duration::ZERO).await;
    assert_eq!(left(&fixture, &pair).await, 1, "good for the request at hand");
    let pair = sign_in(&fixture, LIFE * 100).await;
    assert!(left(&fixture, &pair).await <= 900, "nor than any other");
}

#[tokio::test]
async fn upstream_tokens_are_refreshed_before_the_session() {
    let (fixture, depot) = resting();
    let pair = sign_in(&fixture, LIFE).await;
    depot.asked();
    fixture.pass_until_left(&pair.access, 5);
    let refreshed = fixture.me(pair.request()).await;
    assert_eq!(depot.asked(), ["renew, still valid: true"]);
    let mut next = pair.after(&refreshed);
    assert_ne!(next.refresh, pair.refresh);
    fixture.pass(60);
    visit(&fixture, &mut next).await;
    assert_eq!(depot.asked(), ["renew, still valid: false"]);

    fixture.pass(60);
    *depot.fails.lock().unwrap() = Some(Failure::SOON);
    let answer = fixture.me(next.request()).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "what it says is answered");
    assert_eq!(depot.asked(), ["renew, still valid: false"]);
    *depot.fails.lock().unwrap() = None;

    // A thief's token: no call is made with it, and the upstream tokens of the session are revoked.
    fixture.pass(60);
    assert_eq!(fixture.me(pair.refresh_only()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(depot.asked(), ["end"]);
    assert_eq!(depot.store.len(), 0);
}

#[tokio::test]
async fn upstream_calls_get_the_sessions_upstream_token() {
    let (fixture, depot) = resting();
    let pair = sign_in(&fixture, LIFE).await;
    depot.asked();
    let upstream_access_token = async || {
        fixture
            .send(pair.request(), |session, _| async move {
                Response::new(match session.upstream_access_token().await {
                    Ok(token) => token.expose().to_owned(),
                    Err(error) => format!("{:?}", error.kind()),
                })
            })
            .await
            .into_body()
    };
    assert_eq!(upstream_access_token().await, "theirs");
    assert_eq!(depot.asked(), ["renew, still valid: false"]);
    *depot.fails.lock().unwrap() = Some(Failure::Rejected);
    assert_eq!(upstream_access_token().await, "Rejected");
}

#[tokio::test]
async fn every_end_of_a_session_revokes_its_upstream_tokens() {
    let (fixture, depot) = resting();
    let one = sign_in(&fixture, LIFE).await;
    let _another = sign_in(&fixture, LIFE).await;
    let _third = sign_in(&fixture, LIFE).await;
    depot.asked();
    let out = fixture.send(one.request(), |session, _| async move {
        Response::new(session.sign_out_others().await.unwrap().to_string())
    });
    assert_eq!(out.await.body(), "2");
    assert_eq!(depot.asked(), ["end", "end"]);
    assert_eq!(depot.store.len(), 1);
    let out = fixture.send(one.request(), |session, _| async move {
        session.sign_out().await.unwrap();
        empty()
    });
    out.await;
    assert_eq!(depot.asked(), ["end"]);
    assert_eq!(depot.store.len(), 0);
}

// Rows: M6.
#[tokio::test]
async fn a_session_over_the_limit_revokes_its_upstream_tokens() {
    let (before, depot) = resting();
    let one = sign_in(&before, LIFE).await;
    let rotate = Rotate::backed_by(depot.store.clone(), depot.clone()).max_sessions(1);
    let fixture = Fixture::with(|b| b.clock(before.clock.clone()).refresh_with(rotate));
    depot.asked();
    let another = sign_in(&fixture, LIFE).await;
    assert_eq!(depot.asked(), ["seal for alice", "end"]);
    assert_eq!(depot.store.len(), 1);
    assert_eq!(fixture.me(one.request()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(fixture.me(another.request()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_the_app_ends_revokes_its_upstream_tokens() {
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = over.clone();
    let (fixture, depot) = resting_with(|b| {
        b.revalidate_with(move |_| {
            let end = ends.load(Ordering::SeqCst);
            async move { Ok::<_, &str>(if end { Revalidated::End } else { Revalidated::Keep }) }
        })
    });
    let pair = sign_in(&fixture, LIFE).await;
    depot.asked();
    over.store(true, Ordering::SeqCst);
    expire(&fixture, &pair);
    assert_eq!(fixture.me(pair.request()).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(depot.asked(), ["renew, still valid: false", "end"]);
    assert_eq!(depot.store.len(), 0);
}

// Rows: F17.
#[tokio::test]
async fn a_shutdown_counts_the_exchanges_that_a_keeper_left() {
    let (fixture, _) = resting();
    assert_eq!(fixture.auth.shutdown().await, 3);
    let (fixture, _) = Fixture::rotating();
    assert_eq!(fixture.auth.shutdown().await, 0);
}
