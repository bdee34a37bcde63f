//! Tokens of another server that lie with the client: sealed in its cookies, or as they are.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use bytes::Bytes;
use everfresh::{
    AccessToken, ClientAuthentication, Engine, EngineBuilder, InnerToken, Issued, KeyRing, Keys,
    ManualClock, RefreshToken, Refresher, Session, SignIn, Standing, Timestamp, TokenProfile,
};
use everfresh_testkit::{Jar, Site};
use everfresh_upstream::{HttpClient, Replay, Upstream};
use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::watch;

const SECRET: &str = "o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA";
const OTHER_SECRET: &str = "Z8EoVK2UM8YxELyipgdDzaFjdKQSMfpve";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const LIFE: u64 = 300;
/// For so long an expired token goes on where no refresh is to be had.
const LEEWAY: u64 = 30;

/// A server that takes each refresh token once.
struct Issuer {
    live: Mutex<String>,
    generation: AtomicU64,
    calls: AtomicUsize,
    revoked: Mutex<Vec<String>>,
    /// How much longer its refresh tokens are than they need to be.
    padding: AtomicUsize,
    /// It fails after it has taken the token.
    fails: AtomicBool,
    /// Nobody is answered while this is false.
    open: watch::Sender<bool>,
}

impl Issuer {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            live: Mutex::new("r0".into()),
            generation: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
            revoked: Mutex::default(),
            padding: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
            open: watch::Sender::new(true),
        })
    }

    fn upstream(self: &Arc<Self>) -> Upstream {
        let issuer = self.clone();
        let client = HttpClient::over(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let issuer = issuer.clone();
            async move { issuer.answer(request).await }
        }));
        let url = |path: &str| format!("https://id.example{path}").parse().unwrap();
        Upstream::oauth2(&client, url("/token"))
            .client(ClientAuthentication::None { id: "app".into() })
            .revoke_at(url("/revoke"))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Gone> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap().to_owned();
        let field = |name: &str| {
            let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
        };
        if path == "/revoke" {
            self.revoked.lock().unwrap().push(field("token").unwrap());
            return Ok(Response::new(Full::default()));
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        let mut live = self.live.lock().unwrap();
        if field("refresh_token").as_ref() != Some(&*live) {
            let mut refused = Response::new(Full::from(r#"{"error":"invalid_grant"}"#));
            *refused.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(refused);
        }
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        *live = format!("r{generation}{}", "x".repeat(self.padding.load(Ordering::SeqCst)));
        if self.fails.load(Ordering::SeqCst) {
            return Err(Gone);
        }
        let answer = json!({
            "access_token": foreign(generation, "alice"), "token_type": "Bearer",
            "expires_in": LIFE, "refresh_token": *live,
        });
        Ok(Response::new(Full::from(answer.to_string())))
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn live(&self) -> String {
        self.live.lock().unwrap().clone()
    }
}

/// The connection is gone after the request.
#[derive(Debug)]
struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gone")
    }
}

impl std::error::Error for Gone {}

/// An access token of the other server's.
fn foreign(generation: u64, subject: &str) -> String {
    let iat = NOW.as_secs() + generation * LIFE;
    let claims = json!({
        "iss": "https://id.example", "aud": "app", "sub": subject, "iat": iat, "exp": iat + LIFE,
    });
    let part = |value: Value| B64.encode(value.to_string());
    let signed = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, OTHER_SECRET.as_bytes());
    format!("{signed}.{}", B64.encode(hmac::sign(&key, signed.as_bytes()).as_ref()))
}

/// A node, and a browser that visits it.
struct World {
    auth: Engine<()>,
    clock: ManualClock,
    jar: Jar,
}

/// What came of a visit.
struct Visit {
    standing: Standing,
    /// The names and sizes of the cookies that were set, in order; 0: deleted.
    set: Vec<(String, usize)>,
    /// The `Cookie` field that the handler saw.
    seen: String,
}

impl World {
    fn new(refresher: impl Refresher, clock: &ManualClock) -> Self {
        Self::with(refresher, clock, |builder| builder)
    }

    fn with(
        refresher: impl Refresher,
        clock: &ManualClock,
        more: impl FnOnce(EngineBuilder<()>) -> EngineBuilder<()>,
    ) -> Self {
        let builder = Engine::builder(Keys::hs256(SECRET).unwrap())
            .issuer("https://app.example")
            .audience("app")
            .clock(clock.clone())
            .refresh_with(refresher);
        let auth = more(builder).build().unwrap();
        Self { auth, clock: clock.clone(), jar: Jar::new() }
    }

    /// An engine whose tokens are the other server's.
    fn plain(refresher: impl Refresher, clock: &ManualClock) -> Self {
        let auth = Engine::builder(Keys::hs256(OTHER_SECRET).unwrap())
            .issuer("https://id.example")
            .audience("app")
            .token_profile(TokenProfile::Jwt)
            .clock(clock.clone())
            .refresh_with(refresher)
            .build()
            .unwrap();
        Self { auth, clock: clock.clone(), jar: Jar::new() }
    }

    async fn visit<F: Future<Output = ()>>(
        &mut self,
        work: impl FnOnce(Session<()>) -> F,
    ) -> Visit {
        let site = Site::https("app.example", "/");
        let cookies = self.jar.header(&site, self.clock.now());
        let mut request = Request::new(());
        request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
        let session = self.auth.begin(&request).settle().await;
        let underway = self.auth.attach(session.clone(), &mut request);
        let seen = request.headers().get(COOKIE);
        let seen = seen.map_or_else(String::new, |seen| seen.to_str().unwrap().to_owned());
        let standing = session.standing();
        work(session).await;
        let response = underway.finish(Response::new(())).await;
        let mut set = Vec::new();
        for line in response.headers().get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            self.jar.store(line, &site, self.clock.now()).unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            set.push((name.to_owned(), rest.split(';').next().unwrap().len()));
        }
        Visit { standing, set, seen }
    }

    async fn look(&mut self) -> Visit {
        self.visit(|_| async {}).await
    }

    async fn sign_in(&mut self, issuer: &Issuer) -> Visit {
        let issued = Issued::new(AccessToken::new(foreign(0, "alice")))
            .with_refresh_token(RefreshToken::new(issuer.live()))
            .with_expires_in(Duration::from_secs(LIFE));
        let sign_in = SignIn::new("alice", ()).resting_on(issued);
        self.visit(|session| async move { session.sign_in_with(sign_in).await.unwrap() }).await
    }

    fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

fn names(visit: &Visit) -> Vec<&str> {
    visit.set.iter().filter(|(_, size)| *size > 0).map(|(name, _)| &**name).collect()
}

const ACCESS: &str = "__Host-access_token";
const REFRESH: &str = "__Host-refresh_token";

#[tokio::test]
async fn s83_sealed_tokens_are_refreshed_once_per_expiry_and_nobody_can_read_them() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut world = World::new(issuer.upstream().sealed_in_cookies(), &clock);
    let visit = world.sign_in(&issuer).await;
    assert_eq!(names(&visit), [ACCESS, REFRESH]);
    for expiry in 1..=5 {
        let sealed = world.jar.get(REFRESH).unwrap().to_owned();
        let bytes = B64.decode(&sealed).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("access"), "it is sealed");
        world.pass(LIFE);
        let visit = world.look().await;
        assert_eq!((visit.standing, issuer.calls()), (Standing::Present, expiry));
        assert_eq!(names(&visit), [ACCESS, REFRESH]);
        assert!(!visit.seen.contains(REFRESH), "the inner service sees none of it");
        let visit = world.look().await;
        assert_eq!((visit.standing, visit.set.len()), (Standing::Present, 0));
    }
}

/// What would come back is kept nowhere else, so nothing is sent.
#[tokio::test]
async fn n1_sealed_tokens_are_not_spent_on_claims_that_do_not_fit() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Changed {
        email: String,
    }
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut old = World::new(issuer.upstream().sealed_in_cookies(), &clock);
    old.sign_in(&issuer).await;
    old.pass(LIFE);
    let new = Engine::<Changed>::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(clock.clone())
        .refresh_with(issuer.upstream().sealed_in_cookies())
        .build()
        .unwrap();
    let cookies = old.jar.header(&Site::https("app.example", "/"), clock.now());
    let request = Request::builder().header(COOKIE, cookies).body(()).unwrap();
    let session = new.begin(&request).settle().await;
    let mut response = Response::new(());
    new.finish(&session, &mut response);
    assert_eq!((session.standing(), issuer.calls()), (Standing::UnreadClaims, 0));
    assert!(response.headers().get(SET_COOKIE).is_none());
    assert_eq!((old.look().await.standing, issuer.calls()), (Standing::Present, 1));
}

#[tokio::test]
async fn f110_a_strangers_bytes_cause_no_call() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut sealed = World::new(issuer.upstream().sealed_in_cookies(), &clock);
    let mut plain = World::plain(issuer.upstream().dangerously_plain(), &clock);
    let site = Site::https("app.example", "/");
    for world in [&mut sealed, &mut plain] {
        for stranger in ["x", "r0", &"A".repeat(4000)] {
            let cookie = format!("{REFRESH}={stranger}; Secure; Path=/");
            world.jar.store(&cookie, &site, clock.now()).unwrap();
            let visit = world.look().await;
            assert!(visit.standing != Standing::Present && visit.set.is_empty());
        }
    }
    // Beside an access token that somebody else has signed.
    let (head, signature) =
        foreign(0, "alice").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let forged = format!("{ACCESS}={head}.{}; Secure; Path=/", "A".repeat(signature));
    plain.jar.store(&forged, &site, clock.now()).unwrap();
    plain.pass(LIFE);
    assert_eq!(plain.look().await.standing, Standing::Rejected);
    assert_eq!(issuer.calls(), 0);
}

#[tokio::test]
async fn f40_f41_large_tokens_take_several_cookies_and_leave_none_behind() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut world = World::new(issuer.upstream().sealed_in_cookies(), &clock);
    world.sign_in(&issuer).await;
    let pieces: Vec<String> = (0..4)
        .map(|n| if n == 0 { REFRESH.to_owned() } else { format!("{REFRESH}.{n}") })
        .collect();
    for padding in [3_000, 9_000, 5_000, 0, 6_000, 0] {
        issuer.padding.store(padding, Ordering::SeqCst);
        world.pass(LIFE);
        let visit = world.look().await;
        assert_eq!(visit.standing, Standing::Present, "{padding}");
        assert!(visit.set.iter().all(|(name, size)| name.len() + size <= 4096), "{:?}", visit.set);
        let mut written: Vec<_> = visit.set.iter().map(|(name, _)| name.clone()).collect();
        written.sort();
        let mut all = pieces.clone();
        all.push(ACCESS.to_owned());
        all.sort();
        assert_eq!(written, all, "each is written or deleted, once");
        let kept = pieces.iter().filter(|name| world.jar.get(name).is_some()).count();
        // As base64, twice: an access token of some 250 bytes is in it as well.
        assert!(kept > padding / 3_800, "{padding}: {kept}");
        let visit = world.look().await;
        assert_eq!(visit.standing, Standing::Present);
        assert!(!visit.seen.contains(REFRESH), "no piece of it is seen inside");
    }
    issuer.padding.store(20_000, Ordering::SeqCst);
    world.pass(LIFE + LEEWAY);
    let visit = world.look().await;
    assert!(matches!(visit.standing, Standing::Unavailable { .. }), "too large for any client");
    assert!(visit.set.is_empty(), "and nothing is committed");
    let visit = world.visit(|session| async move { session.sign_out().await.unwrap() }).await;
    assert_eq!(visit.set.len(), 5);
    assert!(visit.set.iter().all(|(_, size)| *size == 0), "sign-out deletes every piece");
}

#[tokio::test]
async fn f49_a_ring_rotates_under_sealed_cookies() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let (old, new) = (b"G6Hj5Vt5KX2ZcVFTVKCfpFG9VFUqWWbZ", b"M8GkDNsi9tA3codC8Q6Cz6YJs2kuBVAE");
    let ring = |first: &[u8]| KeyRing::new(first).unwrap();
    let node = |ring| World::new(issuer.upstream().sealed_in_cookies().key_ring(ring), &clock);
    let mut before = node(ring(old));
    before.sign_in(&issuer).await;
    let mut after = node(ring(new).and_former(old).unwrap());
    after.jar = before.jar.clone();
    after.pass(LIFE);
    assert_eq!(after.look().await.standing, Standing::Present);
    let mut alone = node(ring(new));
    alone.jar = after.jar.clone();
    alone.pass(LIFE);
    assert_eq!(alone.look().await.standing, Standing::Present, "sealed by the new key");
    let mut stranger = node(ring(old));
    stranger.jar = alone.jar.clone();
    let before = issuer.calls();
    stranger.pass(LIFE + LEEWAY);
    assert_eq!((stranger.look().await.standing, issuer.calls()), (Standing::Rejected, before));
}

#[tokio::test(start_paused = true)]
async fn a_result_leaves_with_the_response_that_asked_for_it() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut world = World::new(issuer.upstream().sealed_in_cookies(), &clock);
    world.sign_in(&issuer).await;
    world.pass(LIFE - 40);
    issuer.open.send_replace(false);
    let gate = issuer.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        gate.open.send_replace(true);
    });
    let began = tokio::time::Instant::now();
    let visit = world.visit(|session| async move {
        assert_eq!(session.standing(), Standing::Present);
    });
    let visit = visit.await;
    assert_eq!(names(&visit), [ACCESS, REFRESH], "the head waited for it");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    world.pass(LIFE);
    assert_eq!((world.look().await.standing, issuer.calls()), (Standing::Present, 2));
}

#[tokio::test]
async fn f15_a_lost_response_is_made_up_for_by_the_node_that_made_it() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut sealed = World::new(issuer.upstream().sealed_in_cookies(), &clock);
    sealed.sign_in(&issuer).await;
    sealed.pass(LIFE);
    let kept = sealed.jar.clone();
    assert_eq!(sealed.look().await.standing, Standing::Present);
    sealed.jar = kept;
    sealed.pass(100);
    let visit = sealed.look().await;
    assert_eq!((visit.standing, issuer.calls()), (Standing::Present, 1), "by memory");
    assert_eq!(names(&visit), [ACCESS, REFRESH]);
}

#[tokio::test]
async fn s57_without_a_row_a_token_is_sent_again_only_if_the_policy_says_so() {
    for (replay, calls) in [(Replay::Never, 1), (Replay::Always, 2)] {
        let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
        let mut world = World::new(issuer.upstream().replay(replay).sealed_in_cookies(), &clock);
        world.sign_in(&issuer).await;
        issuer.fails.store(true, Ordering::SeqCst);
        world.pass(LIFE + LEEWAY);
        let visit = world.look().await;
        assert_eq!(issuer.calls(), calls, "{replay:?}");
        assert!(visit.set.is_empty(), "no cookie is cleared");
        let again = world.look().await;
        if replay == Replay::Never {
            assert_eq!((visit.standing, again.standing), (Standing::Rejected, Standing::Rejected));
            assert_eq!(issuer.calls(), 1);
        }
    }
}

#[tokio::test]
async fn s66_signing_out_revokes_what_the_client_held() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut sealed = World::new(issuer.upstream().sealed_in_cookies(), &clock);
    let mut plain = World::plain(issuer.upstream().dangerously_plain(), &clock);
    for world in [&mut sealed, &mut plain] {
        world.sign_in(&issuer).await;
        world.visit(|session| async move { session.sign_out().await.unwrap() }).await;
        assert!(world.jar.get(REFRESH).is_none());
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*issuer.revoked.lock().unwrap(), ["r0", "r0"]);
}

#[tokio::test]
async fn plain_tokens_go_and_come_as_they_are() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let mut world = World::plain(issuer.upstream().dangerously_plain(), &clock);
    world.sign_in(&issuer).await;
    assert_eq!(world.jar.get(ACCESS), Some(&*foreign(0, "alice")));
    assert_eq!(world.jar.get(REFRESH), Some("r0"));
    for expiry in 1..=3 {
        world.pass(LIFE);
        let visit = world.visit(|session| async move {
            assert_eq!(session.subject().as_deref(), Some("alice"));
            assert_eq!(session.sid(), None, "its tokens name no session");
        });
        let visit = visit.await;
        assert_eq!((visit.standing, issuer.calls()), (Standing::Present, expiry));
        assert_eq!(world.jar.get(REFRESH), Some(&*issuer.live()));
        assert_eq!(world.jar.get(ACCESS), Some(&*foreign(expiry as u64, "alice")));
        assert_eq!(world.look().await.set.len(), 0);
    }
    // The refresh token alone is nobody's.
    world
        .jar
        .store(
            &format!("{ACCESS}=; Max-Age=0; Secure; Path=/"),
            &Site::https("app.example", "/"),
            clock.now(),
        )
        .unwrap();
    world.pass(LIFE);
    assert!(world.look().await.standing != Standing::Present);
    assert_eq!(issuer.calls(), 3);
}

#[tokio::test]
async fn calls_onward_are_made_with_what_the_client_holds() {
    let (issuer, clock) = (Issuer::new(), ManualClock::starting_at(NOW));
    let refresher = issuer.upstream().sealed_in_cookies();
    let mut world =
        World::with(refresher, &clock, |builder| builder.inner_token(InnerToken::Strip));
    world.sign_in(&issuer).await;
    world.pass(LIFE);
    let visit = world.visit(|session| async move {
        let token = session.issued_access_token().await.unwrap();
        assert_eq!(token.expose(), foreign(1, "alice"));
    });
    assert_eq!(visit.await.seen, "");
}
