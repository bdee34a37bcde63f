//! Every dialect: a session backed by another everfresh server, which serves the dialect.

use bytes::Bytes;
use everfresh::dialect::TokenKind;
use everfresh::dialect::{AccessTokenResponse, Dialect};
use everfresh::refresher::RefreshToken;
use everfresh::{
    AccessToken, Engine, Keys, ManualClock, MemoryStore, Rotate, Session, SignIn, Transport,
};
use everfresh_upstream::{HttpClient, Upstream};
use http::header::SET_COOKIE;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::fixture::*;
use crate::provider::Provider;

/// An everfresh server of a dialect, without a socket.
#[derive(Clone)]
struct Server {
    auth: Engine<User>,
    calls: Arc<AtomicUsize>,
    /// Whether a byte of each request is changed in transit.
    tampered: Arc<AtomicBool>,
    /// Called at each request.
    watch: Arc<dyn Fn() + Send + Sync>,
}

impl Server {
    fn new(
        dialect: &Dialect,
        clock: &ManualClock,
        watch: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let store = MemoryStore::new().clock(clock.clone());
        let auth = Engine::builder(Keys::hs256("QP39wGezPLiareEzAkyJmcSjdaiVfxPN").unwrap())
            .issuer("https://id.example")
            .audience("there")
            .access_lifetime(secs(LIFE))
            .clock(clock.clone())
            .transports([Transport::cookies(), Transport::headers()])
            .insecure_dev_only()
            .insecure_dev_host("id.example")
            .refresh_with(Rotate::new(store))
            .client("app", None)
            .dialect(dialect.clone())
            .build()
            .unwrap();
        Self { auth, calls: Arc::default(), tampered: Arc::default(), watch: Arc::new(watch) }
    }

    /// Signs a user in there. Returns the tokens that its client gets.
    async fn sign_in(&self, dialect: &Dialect) -> AccessTokenResponse {
        let mut sign_in = SignIn::new("ada", User { name: "ada".into() });
        if dialect.request.client.is_some() {
            sign_in = sign_in.attribute("client_id", "app");
        }
        if dialect.request.token != TokenKind::Refresh {
            sign_in = sign_in.renewable_by_access_token();
        }
        let inner = service_fn(move |request: Request<()>| {
            let sign_in = sign_in.clone();
            async move {
                let session = request.extensions().get::<Session<User>>().unwrap().clone();
                session.sign_in_with(sign_in).await.unwrap();
                Ok::<_, Infallible>(Response::new(Vec::<u8>::new()))
            }
        });
        let service = ServiceBuilder::new().layer(self.auth.layer()).service(inner);
        let response = service.oneshot(Request::new(())).await.unwrap();
        let cookie = |wanted: &str| {
            let set = response.headers().get_all(SET_COOKIE).iter();
            let pairs = set.map(|value| value.to_str().unwrap().split(';').next().unwrap());
            let mut found =
                pairs.filter_map(|pair| pair.split_once('=')).filter(|(n, _)| *n == wanted);
            found.next().unwrap().1.to_owned()
        };
        let issued = AccessTokenResponse::new(AccessToken::new(cookie("access_token")))
            .with_expires_in(secs(LIFE));
        match dialect.request.token {
            TokenKind::Refresh => {
                issued.with_refresh_token(RefreshToken::new(cookie("refresh_token")))
            }
            TokenKind::Access { .. } => issued,
        }
    }

    fn client(&self) -> HttpClient {
        let server = self.clone();
        HttpClient::over(service_fn(move |request: Request<Full<Bytes>>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        }))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        (self.watch)();
        let (mut head, body) = request.into_parts();
        let mut body = body.collect().await.unwrap().to_bytes().to_vec();
        if self.tampered.load(Ordering::SeqCst) {
            tamper(&mut head.headers, &mut body);
        }
        let endpoint = self.auth.endpoints().into_iter().find(|one| one.is_at(head.uri.path()));
        let endpoint = endpoint.expect("the dialect's path");
        let inner = service_fn(move |request: Request<Vec<u8>>| {
            let endpoint = endpoint.clone();
            async move {
                let session = request.extensions().get::<Session<User>>().unwrap().clone();
                let call = endpoint.read(&request);
                let answered = endpoint.answer(call, Some(request.body()), Ok(&session)).await;
                Ok::<_, Infallible>(answered.map(|body| Full::new(Bytes::from(body))))
            }
        });
        let service = ServiceBuilder::new().layer(self.auth.layer()).service(inner);
        service.oneshot(Request::from_parts(head, body)).await.unwrap()
    }
}

/// Changes a byte in the middle of the token.
fn tamper(headers: &mut http::HeaderMap, body: &mut [u8]) {
    for name in ["authorization", "cookie"] {
        if let Some(value) = headers.get(name) {
            let mut bytes = value.as_bytes().to_vec();
            flip(&mut bytes);
            headers.insert(http::HeaderName::from_static(name), bytes.try_into().unwrap());
            return;
        }
    }
    flip(body);
}

fn flip(bytes: &mut [u8]) {
    // The tokens are the longest words of the request.
    let mut words = bytes.split(|b| b"=&\" ;".contains(b)).collect::<Vec<_>>();
    words.sort_by_key(|word| word.len());
    let word = words.last().unwrap().to_vec();
    let at = bytes.windows(word.len()).position(|window| window == word).unwrap();
    let at = at + word.len() / 2;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
}

/// A session here that is backed by one there, and the server.
async fn resting(dialect: &'static Dialect) -> (Fixture, Client, Server) {
    let clock = ManualClock::starting_at(START);
    let claims = Arc::new(std::sync::Mutex::new(None::<crate::wire::Wire>));
    let seen = claims.clone();
    let server = Server::new(dialect, &clock, move || {
        // The reservation is stored before the request is sent, for tokens in head or body.
        let wire = seen.lock().unwrap().clone().unwrap();
        assert!(wire.count("claim") > wire.count("publish"), "no claim was made");
    });
    let http = server.client();
    let upstream = move || {
        Upstream::new(&http, dialect.clone(), &url("https://id.example/"))
            .unwrap()
            .client(public_client())
    };
    let fixture = Fixture::over_clock(clock, Provider::new(), 1, upstream, |builder| builder);
    *claims.lock().unwrap() = Some(fixture.store.clone());
    let issued = server.sign_in(dialect).await;
    let client = fixture.node().adopt_issued("ada", issued).await.unwrap();
    (fixture, client, server)
}

#[tokio::test]
async fn each_dialect_refreshes_at_its_own_server() {
    for dialect in Dialect::ALL {
        let (fixture, mut client, server) = resting(dialect).await;
        for n in 1..=4 {
            // Redis Enterprise accepts no expired token.
            fixture.pass_until_left(&client, 3);
            let answer = fixture.get(&mut client).await;
            assert_eq!(answer.status, 200, "{}, refresh {n}", dialect.name);
            assert_eq!(server.calls.load(Ordering::SeqCst), n, "{}", dialect.name);
            assert_eq!(fixture.upstream(&client).await, (n as u64, 0), "{}", dialect.name);
        }
        let upstream_access_token = |session: Session<User>| async move {
            Ok(session.upstream_access_token().await?.expose().to_owned())
        };
        let token = fixture.node().send(&mut client, upstream_access_token).await.body;
        assert_eq!(token.split('.').count(), 3, "{}", dialect.name);
    }
}

/// Refreshes early, where the token is rejected. A rejected refresh token is sent once more when the
/// access token has expired.
async fn rejected(fixture: &Fixture, client: &mut Client, dialect: &Dialect) -> Answer {
    let answer = fixture.get(client).await;
    if dialect.request.token != TokenKind::Refresh {
        return answer;
    }
    assert_eq!(answer.status, 200, "{}", dialect.name);
    let row = fixture.row(client).await.unwrap().upstream.unwrap();
    while fixture.clock.now() < row.expires {
        assert_eq!(fixture.get(client).await.status, 200, "{}", dialect.name);
        fixture.pass(1);
    }
    fixture.get(client).await
}

// Rows: S57.
#[tokio::test]
async fn each_dialect_a_token_that_was_changed_on_its_way_ends_nothing_there() {
    for dialect in Dialect::ALL {
        let (fixture, mut client, server) = resting(dialect).await;
        fixture.pass_until_left(&client, 3);
        server.tampered.store(true, Ordering::SeqCst);
        let answer = rejected(&fixture, &mut client, dialect).await;
        // The server says in its own words that the token is unknown, so the session is over.
        assert_eq!(answer.status, 401, "{}", dialect.name);
        assert!(answer.left_cookies_alone(), "{}", dialect.name);
        assert!(fixture.row(&client).await.is_none(), "{}", dialect.name);
    }
}

#[tokio::test]
async fn each_dialect_a_session_that_ended_there_is_over_here() {
    for dialect in Dialect::ALL {
        let (fixture, _, server) = resting(dialect).await;
        let issued = server.sign_in(dialect).await;
        // Past every limit of the server. The session here starts today.
        fixture.pass(31 * 24 * 3600);
        let mut client = fixture.node().adopt_issued("ada", issued).await.unwrap();
        fixture.pass_until_left(&client, 3);
        let answer = rejected(&fixture, &mut client, dialect).await;
        assert!(answer.status == 401 && answer.left_cookies_alone(), "{}", dialect.name);
        assert!(fixture.row(&client).await.is_none(), "{}", dialect.name);
    }
}
