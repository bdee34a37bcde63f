//! The app's claims type changed, and old and new nodes serve the same sessions at the same time.

use std::sync::{Arc, Mutex};

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::dialect::Dialect;
use crate::refresher::Refresher;
use crate::testing::*;
use crate::{
    Clock, Engine, EngineBuilder, Keys, ManualClock, MemoryStore, Reissue, Rejection, Revalidated,
    Revalidation, Rotate, Session, SessionStatus, SignIn,
};

/// The claims of the old release.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct V1 {
    name: String,
}

/// The claims of the new release.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct V2 {
    name: String,
    email: String,
}

trait Claims: crate::ClaimSet {
    fn shown(&self) -> &str;
}

impl Claims for V1 {
    fn shown(&self) -> &str {
        &self.name
    }
}

impl Claims for V2 {
    fn shown(&self) -> &str {
        &self.email
    }
}

struct Node<C> {
    auth: Engine<C>,
    events: Arc<Mutex<Vec<String>>>,
}

fn node<C: Claims>(
    clock: &ManualClock,
    refresher: impl Refresher,
    change: impl FnOnce(EngineBuilder<C>) -> EngineBuilder<C>,
) -> Node<C> {
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = events.clone();
    let takes_all = refresher.uses_refresh_tokens();
    let dialects = Dialect::ALL.into_iter().filter(|_| takes_all).cloned();
    let builder = Engine::builder(Keys::hs256(SECRET).unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(Clock::from(clock.clone()))
        .refresh_with(refresher)
        .client("app", None)
        .on_event(move |event| log.lock().unwrap().push(format!("{event:?}")));
    let builder = dialects.fold(builder, |builder, dialect| builder.dialect(dialect));
    Node { auth: change(builder).build().unwrap(), events }
}

impl<C: Claims> Node<C> {
    async fn ask(
        &self,
        pair: &Pair,
        act: impl AsyncFnOnce(&Session<C>) -> Result<String, Rejection>,
    ) -> Response<String> {
        let session = self.auth.begin(&pair.request()).settle().await;
        let response = match act(&session).await {
            Ok(body) => Response::new(body),
            Err(rejection) => rejection.into_response::<Vec<u8>>().map(|_| String::new()),
        };
        finish(&self.auth, &session, response).await
    }

    async fn me(&self, pair: &Pair) -> Response<String> {
        self.ask(pair, async |session| Ok(session.claims()?.shown().to_owned())).await
    }

    /// The answer is 401, and the session stays unchanged.
    async fn does_not_know(&self, pair: &Pair) {
        let response = self.me(pair).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(set_cookies(&response), Vec::<String>::new());
        let home = self.ask(pair, async |session| {
            assert_eq!(session.status(), SessionStatus::UnreadClaims);
            assert_eq!(session.subject(), None, "no user is signed in");
            Ok(session.optional_claims()?.map_or("stranger".into(), |user| user.shown().to_owned()))
        });
        let home = home.await;
        assert_eq!(
            (home.status(), &**home.body()),
            (StatusCode::OK, "stranger"),
            "and the page is up"
        );
        assert_eq!(set_cookies(&home), Vec::<String>::new());
    }

    async fn serve(
        &self,
        method: &str,
        path: &str,
        pair: &Pair,
        body: Value,
    ) -> crate::adapter::Reply {
        let endpoints = self.auth.endpoints();
        let endpoint = endpoints.iter().find(|one| one.path() == path).unwrap();
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("cookie", pair.header()).body(()).unwrap();
        let session = self.auth.begin(&request).settle().await;
        let call = endpoint.read(&request);
        let reply = endpoint.answer(call, Some(body.to_string().as_bytes()), Ok(&session)).await;
        finish(&self.auth, &session, reply).await
    }

    fn told(&self, what: &str) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| event.starts_with(what)).cloned().collect()
    }
}

impl Node<V1> {
    async fn sign_in(&self) -> Pair {
        let stranger = Pair::default();
        let response = self.ask(&stranger, async |session| {
            let sign_in = SignIn::new("alice", V1 { name: "Alice".into() });
            session.sign_in_with(sign_in.renewable_by_access_token()).await?;
            Ok(String::new())
        });
        Pair::default().after(&response.await)
    }
}

/// Both releases, each with a clone of the refresher that this creates.
fn nodes<R: Refresher + Clone>(
    refresher: impl FnOnce(&ManualClock) -> R,
    change: impl FnOnce(EngineBuilder<V2>) -> EngineBuilder<V2>,
) -> (ManualClock, Node<V1>, Node<V2>) {
    let clock = ManualClock::starting_at(START);
    let refresher = refresher(&clock);
    let old = node(&clock, refresher.clone(), |builder| builder);
    let new = node(&clock, refresher, change);
    (clock, old, new)
}

fn secs(secs: u64) -> std::time::Duration {
    std::time::Duration::from_secs(secs)
}

async fn email_from_the_database(
    session: Revalidation<V2>,
) -> Result<Revalidated<V2>, &'static str> {
    Ok(match session.claims {
        Ok(_) => Revalidated::Keep,
        Err(unread) => {
            assert_eq!(unread.json(), &json!({"name": "Alice"}));
            assert!(unread.to_string().ends_with("V2`: missing field `email`"), "{unread}");
            let name = unread.json()["name"].as_str().unwrap().to_owned();
            Revalidated::Replace(V2 { name, email: format!("{}@x.example", session.subject) })
        }
    })
}

// Rows: N1.
#[tokio::test]
async fn a_session_of_the_former_release_is_401_and_goes_on_at_the_old_node() {
    let mut kept = None;
    let rotate = |clock: &ManualClock| {
        let store = MemoryStore::new().clock(clock.clone());
        kept = Some(store.clone());
        Rotate::new(store)
    };
    let (clock, old, new) = nodes(rotate, |builder| builder);
    let store = kept.unwrap();
    let row =
        async || format!("{:?}", crate::store::SessionStore::list(&store, "alice").await.unwrap());
    let mut pair = old.sign_in().await;
    // The token is presented, and a node confirms it.
    assert_eq!(old.me(&pair).await.body(), "Alice");
    tokio::task::yield_now().await;
    for advance in [0, 890, 900, 3 * 86_400] {
        clock.advance(secs(advance));
        let before = row().await;
        for _ in 0..3 {
            new.does_not_know(&pair).await;
        }
        assert_eq!(row().await, before, "nothing was spent");
        let response = old.me(&pair).await;
        assert_eq!(response.body(), "Alice", "{advance}");
        assert_eq!(pair.keep(&response), advance != 0, "{advance}");
    }
    assert_eq!(new.told("Refreshed"), Vec::<String>::new());
    assert_eq!(new.told("UnreadClaims").len(), 4, "one a minute at the most");
    assert!(new.told("UnreadClaims")[0].contains("missing field `email`"));
    assert!(!new.told("RefreshFailed").is_empty());
}

// Rows: N1.
#[tokio::test]
async fn claims_of_the_former_release_go_to_the_hook_without_a_store_too() {
    let (clock, old, new) = nodes(|_| Reissue::new(), |builder| builder);
    let mut pair = old.sign_in().await;
    for advance in [0, 890, 900] {
        clock.advance(secs(advance));
        new.does_not_know(&pair).await;
        let response = old.me(&pair).await;
        assert_eq!(response.body(), "Alice", "{advance}");
        pair.keep(&response);
    }
    assert_eq!(new.told("Refreshed"), Vec::<String>::new());
}

async fn heals<R: Refresher + Clone>(refresher: impl Fn(&ManualClock) -> R) {
    for advance in [0, 60, 850, 900] {
        let hook = |builder: EngineBuilder<V2>| builder.revalidate_with(email_from_the_database);
        let (clock, old, new) = nodes(&refresher, hook);
        let pair = old.sign_in().await;
        clock.advance(secs(advance));
        let response = new.me(&pair).await;
        assert_eq!(response.body(), "alice@x.example", "{advance}: fresh or not, it waits");
        let pair = pair.after(&response);
        assert!(token_of(&response).is_some(), "{advance}");
        let again = new.me(&pair).await;
        assert_eq!((&**again.body(), set_cookies(&again).len()), ("alice@x.example", 0));
        assert_eq!(new.told("UnreadClaims"), Vec::<String>::new());
        assert_eq!(old.me(&pair).await.body(), "Alice", "and it rolls back");
        clock.advance(secs(1800));
        let response = new.me(&pair).await;
        assert_eq!(response.body(), "alice@x.example", "for good");
    }
}

// Rows: N1.
#[tokio::test]
async fn a_hook_gives_new_claims_to_a_fresh_token_and_to_an_expired_one() {
    heals(|_| Reissue::new()).await;
    heals(|clock| Rotate::new(MemoryStore::new().clock(clock.clone()))).await;
}

// Rows: N1.
#[tokio::test]
async fn the_hooks_answer_decides() {
    let rotate = |clock: &ManualClock| Rotate::new(MemoryStore::new().clock(clock.clone()));
    for advance in [0, 900] {
        let keep = |_| async { Ok::<_, &str>(Revalidated::Keep) };
        let (clock, old, new) = nodes(rotate, |builder| builder.revalidate_with(keep));
        let pair = old.sign_in().await;
        clock.advance(secs(advance));
        new.does_not_know(&pair).await;
        assert_eq!(new.told("UnreadClaims").len(), 1);
        assert_eq!(old.me(&pair).await.body(), "Alice");

        let fail = |_| async { Err::<Revalidated<V2>, _>("the database is down") };
        let (clock, old, new) = nodes(rotate, |builder| builder.revalidate_with(fail));
        let pair = old.sign_in().await;
        clock.advance(secs(advance));
        let response = new.me(&pair).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(set_cookies(&response), Vec::<String>::new());
        assert_eq!(old.me(&pair).await.body(), "Alice");

        let end = |_| async { Ok::<_, &str>(Revalidated::<V2>::End) };
        let (clock, old, new) = nodes(rotate, |builder| builder.revalidate_with(end));
        let pair = old.sign_in().await;
        clock.advance(secs(advance));
        assert_eq!(new.me(&pair).await.status(), StatusCode::UNAUTHORIZED);
        clock.advance(secs(900));
        let response = old.me(&pair).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "the app alone ends a session");
    }
}

// Rows: N1.
#[tokio::test]
async fn ending_sessions_needs_no_claims() {
    let rotate = |clock: &ManualClock| Rotate::new(MemoryStore::new().clock(clock.clone()));
    for advance in [0, 900] {
        let (clock, old, new) = nodes(rotate, |builder| builder);
        let (pair, there) = (old.sign_in().await, old.sign_in().await);
        clock.advance(secs(advance));
        let refused = new.serve("POST", "/auth/refresh", &pair, json!(null)).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert!(set_cookies(&refused).is_empty());
        let list = new.serve("GET", "/auth/sessions", &pair, json!(null)).await;
        let list: Value = serde_json::from_slice(list.body()).unwrap();
        let current = list["sessions"].as_array().unwrap().iter().map(|one| &one["current"]);
        assert_eq!(current.filter(|current| **current == true).count(), 1, "{list}");

        let reply = new.serve("POST", "/auth/logout-all", &pair, json!(null)).await;
        assert_eq!(reply.status(), StatusCode::NO_CONTENT);
        assert_eq!(set_cookies(&reply).len(), 2, "both are deleted");
        clock.advance(secs(900));
        for pair in [pair, there] {
            assert_eq!(old.me(&pair).await.status(), StatusCode::UNAUTHORIZED, "{advance}");
        }
    }
    let hook = |builder: EngineBuilder<V2>| builder.revalidate_with(email_from_the_database);
    let (_, old, new) = nodes(rotate, hook);
    let pair = old.sign_in().await;
    let reply = new.serve("POST", "/auth/refresh", &pair, json!(null)).await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(new.me(&pair.after(&reply)).await.body(), "alice@x.example");
}

// Rows: N1.
#[tokio::test]
async fn a_late_request_of_the_old_nodes_rotation_gets_no_refused_token() {
    let rotate = |clock: &ManualClock| Rotate::new(MemoryStore::new().clock(clock.clone()));
    let (clock, old, new) = nodes(rotate, |builder| builder);
    let pair = old.sign_in().await;
    clock.advance(secs(900));
    let response = old.me(&pair).await;
    assert!(token_of(&response).is_some());
    clock.advance(secs(1));
    new.does_not_know(&pair).await;
    assert_eq!(old.me(&pair.after(&response)).await.body(), "Alice");
}

// Rows: N1.
#[tokio::test]
async fn dialects_mint_nothing_and_the_old_nodes_go_on() {
    let rotate = |clock: &ManualClock| Rotate::new(MemoryStore::new().clock(clock.clone()));
    let dialects = [
        ("/v1/auth/jwt/refresh", "token", false, StatusCode::UNAUTHORIZED),
        ("/v1/auth/refresh", "refresh_token", true, StatusCode::UNAUTHORIZED),
        // The dialect's own status for an invalid token.
        ("/wp-json/jwt-auth/v1/token/refresh", "refresh_token", true, StatusCode::FORBIDDEN),
    ];
    for (path, member, by_refresh, status) in dialects {
        let (clock, old, new) = nodes(rotate, |builder| builder);
        let pair = old.sign_in().await;
        clock.advance(secs(60));
        let token = if by_refresh { &pair.refresh } else { &pair.access };
        let ask = async |node: &dyn Fn(http::Request<()>, Value) -> Asking| {
            let request = http::Request::builder().method("POST").uri(path);
            let request = request.header("authorization", format!("Bearer {token}"));
            node(request.body(()).unwrap(), json!({ member: token })).await
        };
        let reply = ask(&|request, body| new.dialect(path, request, body)).await;
        assert_eq!(reply.status(), status, "{path}");
        let reply = ask(&|request, body| old.dialect(path, request, body)).await;
        assert_eq!(reply.status(), StatusCode::OK, "{path}: nothing was spent");
    }
}

type Asking = std::pin::Pin<Box<dyn Future<Output = crate::adapter::Reply>>>;

impl<C: Claims> Node<C> {
    fn dialect(&self, path: &str, request: http::Request<()>, body: Value) -> Asking {
        let (auth, path) = (self.auth.clone(), path.to_owned());
        Box::pin(async move {
            let endpoints = auth.endpoints();
            let endpoint = endpoints.iter().find(|one| one.path() == path).unwrap();
            let session = auth.begin(&request).settle().await;
            let call = endpoint.read(&request);
            endpoint.answer(call, Some(body.to_string().as_bytes()), Ok(&session)).await
        })
    }
}

// Rows: N1.
#[tokio::test]
async fn of_one_sessions_tokens_one_that_is_read_counts() {
    let hook = |builder: EngineBuilder<V2>| builder.revalidate_with(email_from_the_database);
    let (clock, old, new) = nodes(|_| Reissue::new(), hook);
    let former = old.sign_in().await;
    clock.advance(secs(60));
    let healed = former.after(&new.me(&former).await);
    clock.advance(secs(60));
    let later = old.ask(&former, async |session| {
        session.refresh().await?;
        Ok(String::new())
    });
    let later = former.after(&later.await);
    let both = [&later.access, &healed.access].map(|token| format!("{COOKIE_NAME}={token}"));
    for both in [both.join("; "), format!("{}; {}", both[1], both[0])] {
        let session = new.auth.begin(&get(&[("cookie", &both)])).settle().await;
        assert_eq!(session.claims().unwrap().email, "alice@x.example");
        assert!(!session.is_refreshed());
    }
}
