//! The actix-web parts: extractors in an app, errors, header types, workers, disconnects.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServerHandle, Service as _, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer, ResponseError as _};
use everfresh::{
    Clock, Engine, EngineBuilder, Keys, ManualClock, MemoryStore, Reissue, Revalidated,
    Revalidation, Rotate, SessionErrorKind, Timestamp, Transport,
};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::{Claims, Error, OptionalClaims, Refresh, Rejection, Session, require};

mod errors;

const COOKIE: &str = "__Host-access_token";

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

struct Fixture {
    clock: ManualClock,
    auth: Engine<User>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|builder| {
            builder.revalidate_with(|session: Revalidation<User>| async move {
                match &*session.claims.unwrap().name {
                    "unlucky" => Err("the database is down"),
                    _ => Ok(Revalidated::Keep),
                }
            })
        })
    }

    fn with(change: impl FnOnce(EngineBuilder<User>) -> EngineBuilder<User>) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        let builder = Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
            .issuer("https://app.example")
            .audience("app")
            .clock(Clock::from(clock.clone()))
            .leeway(Duration::ZERO)
            .refresh_with(Reissue::new());
        Self { clock, auth: change(builder).build().unwrap() }
    }

    fn rotating() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        let store = MemoryStore::new().clock(clock.clone());
        let fixture = Self::with(|b| b.clock(clock.clone()).refresh_with(Rotate::new(store)));
        Self { clock, ..fixture }
    }

    fn refresh(&self) -> Refresh<User> {
        Refresh::new(self.auth.clone())
    }

    async fn send(&self, method: &str, path: &str, cookie: &str) -> Answer {
        let app = init_service(App::new().configure(routes).wrap(self.refresh())).await;
        let request = request(method, path, cookie).to_request();
        Answer::of(try_call_service(&app, request).await).await
    }

    /// The cookie of a signed-in user.
    async fn sign_in(&self, name: &str) -> String {
        let answer = self.send("POST", &format!("/login/{name}"), "").await;
        assert_eq!(answer.status, 204);
        answer.token().expect("a cookie")
    }

    /// The same, with an expired token.
    async fn expired(&self, name: &str) -> String {
        let cookie = self.sign_in(name).await;
        self.clock.advance(Duration::from_secs(900));
        cookie
    }
}

fn routes(app: &mut ServiceConfig) {
    app.route("/login/{name}", web::post().to(login))
        .route("/me", web::get().to(me))
        .route("/home", web::get().to(home))
        .route("/logout", web::post().to(logout))
        .route("/stale", web::post().to(stale))
        .route("/cookies", web::get().to(cookies));
}

async fn login(session: Session<User>, name: web::Path<String>) -> Result<HttpResponse, Error> {
    let name = name.into_inner();
    session.sign_in(name.clone(), User { name }).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn me(Claims(user): Claims<User>) -> String {
    user.name.clone()
}

async fn home(OptionalClaims(user): OptionalClaims<User>) -> String {
    user.map_or("stranger".into(), |user| user.name.clone())
}

async fn logout(session: Session<User>) -> Result<HttpResponse, Error> {
    session.sign_out().await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn stale(session: Session<User>) -> Result<HttpResponse, Error> {
    session.refresh().await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn cookies() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.append_header(("set-cookie", "one=1")).append_header(("set-cookie", "two=2"));
    response.finish()
}

fn request(method: &str, path: &str, cookie: &str) -> TestRequest {
    let request = TestRequest::with_uri(path).method(method.parse().unwrap());
    request.insert_header(("cookie", cookie))
}

struct Answer {
    status: u16,
    cookies: Vec<String>,
    body: String,
}

impl Answer {
    /// Turns an error into an answer as `HttpServer` does.
    async fn of<B: MessageBody>(result: Result<ServiceResponse<B>, actix_web::Error>) -> Self {
        match result {
            Ok(response) => Self::read(response.into()).await,
            Err(error) => Self::read(error.error_response()).await,
        }
    }

    async fn read<B: MessageBody>(response: HttpResponse<B>) -> Self {
        let cookies = response.headers().get_all("set-cookie");
        let cookies = cookies.map(|value| value.to_str().unwrap().to_owned()).collect();
        let status = response.status().as_u16();
        let Ok(body) = to_bytes(response.into_body()).await else { panic!("no body") };
        Self { status, cookies, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Our cookie, as the next request sends it.
    fn token(&self) -> Option<String> {
        let ours = self.cookies.iter().find(|cookie| cookie.starts_with(COOKIE))?;
        Some(ours.split(';').next()?.to_owned())
    }
}

#[tokio::test]
async fn extractors_answer_as_the_request_is_entitled() {
    let fixture = Fixture::new();
    let cookie = fixture.sign_in("ada").await;
    let answer = fixture.send("GET", "/me", &cookie).await;
    assert_eq!((answer.status, &*answer.body, answer.token()), (200, "ada", None));
    assert_eq!(fixture.send("GET", "/home", &cookie).await.body, "ada");

    assert_eq!(fixture.send("GET", "/home", "").await.body, "stranger");
    let broken = format!("{cookie}x");
    assert_eq!(fixture.send("GET", "/home", &broken).await.body, "stranger", "no error");
    let answer = fixture.send("GET", "/me", &broken).await;
    assert_eq!(answer.status, 401);
    assert!(answer.body.contains("\"status\":401"), "{}", answer.body);
    assert_eq!(fixture.send("POST", "/stale", "").await.status, 401);

    fixture.clock.advance(Duration::from_secs(900));
    let answer = fixture.send("GET", "/me", &cookie).await;
    assert_eq!(answer.status, 200);
    let new = answer.token().unwrap();
    assert!(new.starts_with("__Host-access_token=ey") && new != cookie);
    let cleared = fixture.send("POST", "/logout", &new).await.token();
    assert_eq!(cleared.as_deref(), Some("__Host-access_token="));
}

// Rows: F07.
#[tokio::test]
async fn an_outage_never_renders_a_signed_out_page() {
    let fixture = Fixture::new();
    let cookie = fixture.expired("unlucky").await;
    for path in ["/me", "/home"] {
        let answer = fixture.send("GET", path, &cookie).await;
        assert_eq!((answer.status, answer.token()), (503, None), "{path}");
    }
    assert_eq!(fixture.send("POST", "/login/ada", &cookie).await.status, 204, "signing in works");
    assert_eq!(fixture.send("POST", "/logout", &cookie).await.status, 204, "signing out works");
}

#[tokio::test]
async fn a_missing_middleware_says_what_to_add() {
    let fixture = Fixture::new();
    let members = web::scope("/members").wrap(require(&fixture.auth));
    let app = init_service(App::new().configure(routes).service(members)).await;
    for (method, path) in
        [("GET", "/me"), ("GET", "/home"), ("POST", "/stale"), ("GET", "/members")]
    {
        let request = request(method, path, "").to_request();
        let answer = Answer::of(try_call_service(&app, request).await).await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains("add `.wrap(Refresh::new(auth))`"), "{}", answer.body);
    }
}

#[tokio::test]
async fn require_answers_for_a_scope() {
    let fixture = Fixture::new();
    let cookie = fixture.sign_in("ada").await;
    let members = web::scope("/members").route("/list", web::get().to(async || "members"));
    let members = members.wrap(require(&fixture.auth));
    let app = App::new().configure(routes).service(members).wrap(fixture.refresh());
    let app = init_service(app).await;
    let send = async |path, cookie| {
        let request = request("GET", path, cookie).to_request();
        Answer::of(try_call_service(&app, request).await).await
    };
    assert_eq!(send("/members/list", &cookie).await.body, "members");
    let (required, extracted) = (send("/members/list", "").await, send("/me", "").await);
    assert_eq!((required.status, required.body), (extracted.status, extracted.body));
    assert_eq!(extracted.status, 401);
    fixture.clock.advance(Duration::from_secs(900));
    let answer = send("/members/list", &cookie).await;
    assert_eq!(answer.body, "members", "refreshed first");
    assert!(answer.token().is_some());
}

/// The answer equals every other adapter's, byte for byte.
#[test]
fn a_rejection_is_the_answer_that_the_core_makes() {
    use SessionErrorKind::*;
    for kind in [ResponseSent, NotSignedIn, CrossSite, Rejected, Unavailable] {
        let error = Error::Session(kind.into());
        let core: everfresh::Rejection = everfresh::SessionError::from(kind).into();
        same(error.error_response(), error.status_code(), &core);
        let error = Error::Rejection(core.clone());
        same(error.error_response(), error.status_code(), &core);
        let error = Rejection(core.clone());
        same(error.error_response(), error.status_code(), &core);
    }
}

#[tokio::test]
async fn a_rejection_with_a_body_of_the_apps_own_is_the_same_too() {
    let fixture = Fixture::with(|builder| {
        builder.rejection_body(|_| (HeaderValue::from_static("text/plain"), b"sign in".into()))
    });
    let step = fixture.auth.begin(&http::Request::new(()));
    let core = step.settle().await.require().unwrap_err();
    let error = Rejection(core.clone());
    assert_eq!(error.error_response().headers().get("content-type").unwrap(), "text/plain");
    same(error.error_response(), error.status_code(), &core);
}

fn same(ours: HttpResponse, status: StatusCode, core: &everfresh::Rejection) {
    let core = core.clone().into_response::<Vec<u8>>();
    assert_eq!((ours.status().as_u16(), status), (core.status().as_u16(), ours.status()));
    assert_eq!(ours.headers().len(), core.headers().len());
    for (name, value) in core.headers() {
        let own = ours.headers().get(name.as_str()).unwrap();
        assert_eq!(own.as_bytes(), value.as_bytes(), "{name}");
    }
    let Ok(body) = ours.into_body().try_into_bytes() else { panic!("no body") };
    assert_eq!(body, core.body());
}

#[tokio::test]
async fn a_handlers_own_cookies_stay_and_ours_comes_after_them() {
    let fixture = Fixture::new();
    let cookie = fixture.expired("ada").await;
    let answer = fixture.send("GET", "/cookies", &cookie).await;
    assert_eq!((&*answer.cookies[0], &*answer.cookies[1]), ("one=1", "two=2"));
    assert!(answer.cookies[2].starts_with(COOKIE) && answer.cookies.len() == 3);
}

/// Sends its session to the test, and never answers.
async fn hang(
    session: Session<User>,
    tell: web::Data<mpsc::UnboundedSender<everfresh::Session<User>>>,
) -> &'static str {
    tell.send(session.0).unwrap();
    std::future::pending().await
}

#[tokio::test]
async fn a_request_that_is_dropped_seals_its_session() {
    let fixture = Fixture::new();
    let expired = fixture.expired("ada").await;
    let (tell, mut told) = mpsc::unbounded_channel::<everfresh::Session<User>>();
    let app = App::new().app_data(web::Data::new(tell)).route("/hang", web::get().to(hang));
    let app = init_service(app.wrap(fixture.refresh())).await;
    for cookie in ["", &expired] {
        let mut call = Box::pin(app.call(request("GET", "/hang", cookie).to_request()));
        let session = tokio::select! {
            _ = &mut call => panic!("answered"),
            session = told.recv() => session.unwrap(),
        };
        assert_eq!(session.is_refreshed(), !cookie.is_empty());
        session.sign_in("bob", User { name: "bob".into() }).await.unwrap();
        drop(call);
        let late = session.sign_in("eve", User { name: "eve".into() }).await.unwrap_err();
        assert_eq!(late.kind(), SessionErrorKind::ResponseSent);
    }
}

/// A real server, whose workers are threads with runtimes of their own.
struct Served {
    address: SocketAddr,
    handle: ServerHandle,
    /// Dropped when the worker stops.
    alive: Arc<()>,
}

fn serve(fixture: &Fixture, workers: usize, routes: fn(&mut ServiceConfig)) -> Served {
    let (auth, alive) = (fixture.auth.clone(), Arc::new(()));
    let marker = alive.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let app = move || {
        let app = App::new().app_data(web::Data::new(marker.clone()));
        app.configure(routes).wrap(Refresh::new(auth.clone()))
    };
    let server = HttpServer::new(app).workers(workers).disable_signals();
    let server = server.listen(listener).unwrap().run();
    let handle = server.handle();
    tokio::spawn(server);
    Served { address, handle, alive }
}

impl Served {
    async fn send(&self, path: &str, fields: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, path: &str, cookie: &str) -> String {
        let mut stream = self.send(path, &format!("connection: close\r\ncookie: {cookie}")).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

// Rows: F01.
#[tokio::test]
async fn two_workers_share_one_refresh_which_runs_on_neither() {
    fn routes(app: &mut ServiceConfig) {
        app.route(
            "/me",
            web::get().to(async |Claims(user): Claims<User>| {
                format!("{} by {:?}", user.name, std::thread::current().id())
            }),
        );
    }
    let ran: Arc<Mutex<Vec<_>>> = Arc::default();
    let hook = ran.clone();
    let fixture = Fixture::with(|builder| {
        builder.revalidate_with(move |_| {
            let hook = hook.clone();
            async move {
                tokio::task::yield_now().await;
                hook.lock().unwrap().push((Handle::current().id(), std::thread::current().id()));
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    let cookie = fixture.expired("ada").await;
    let served = serve(&fixture, 2, routes);
    let answers = (0..40).map(|_| served.get("/me", &cookie));
    let (mut tokens, mut workers) = (HashSet::new(), HashSet::new());
    for answer in futures::future::join_all(answers).await {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let token = head.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
        tokens.insert(token.to_owned());
        workers.insert(body.to_owned());
    }
    assert_eq!((tokens.len(), workers.len()), (1, 2), "{workers:?}");
    let here = (Handle::current().id(), std::thread::current().id());
    assert_eq!(*ran.lock().unwrap(), [here]);
}

#[tokio::test]
async fn a_refresh_outlives_the_worker_that_asked_for_it() {
    let (open, gate) = watch::channel(false);
    let (begin, mut begun) = mpsc::unbounded_channel();
    let fixture = Fixture::with(|builder| {
        builder.revalidate_with(move |_| {
            begin.send(()).unwrap();
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|open| *open).await.map_err(|_| "gone")?;
                Ok::<_, &str>(Revalidated::Keep)
            }
        })
    });
    let cookie = fixture.expired("ada").await;
    let served = serve(&fixture, 1, routes);
    let _waiting = served.send("/me", &format!("cookie: {cookie}")).await;
    begun.recv().await.unwrap();
    served.handle.stop(false).await;
    while Arc::strong_count(&served.alive) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    open.send(true).unwrap();
    assert!(fixture.send("GET", "/me", &cookie).await.token().is_some());
    assert!(begun.try_recv().is_err(), "there was one refresh");
}

#[tokio::test]
async fn an_upgrade_keeps_its_101_and_carries_the_cookie() {
    async fn upgrade(_: Claims<User>, payload: web::Payload) -> HttpResponse {
        HttpResponse::SwitchingProtocols().upgrade("websocket").streaming(payload)
    }
    let fixture = Fixture::new();
    let cookie = fixture.expired("ada").await;
    let served = serve(&fixture, 1, |app| {
        app.route("/ws", web::get().to(upgrade));
    });
    let fields = format!("connection: upgrade\r\nupgrade: websocket\r\ncookie: {cookie}");
    let mut stream = served.send("/ws", &fields).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nupgrade: websocket\r\n"));
    assert!(head.contains(&format!("\r\nset-cookie: {COOKIE}=ey")), "{head}");
    for message in [b"ping", b"pong"] {
        stream.write_all(message).await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, message);
    }
}

// Rows: M7.
#[tokio::test]
async fn require_lets_in_its_own_engines_sessions_alone() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let cookie = fixture.sign_in("ada").await;
    for (required, status) in [(&fixture, 200), (&other, 500)] {
        let members = web::scope("/members").route("/list", web::get().to(async || "members"));
        let members = members.wrap(require(&required.auth));
        let app = init_service(App::new().service(members).wrap(fixture.refresh())).await;
        let request = request("GET", "/members/list", &cookie).to_request();
        let answer = Answer::of(try_call_service(&app, request).await).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.body.contains("another engine's"), status == 500, "{}", answer.body);
    }
}

// Rows: R4.
#[tokio::test]
async fn the_middleware_twice_around_a_route_is_one_session() {
    let fixture = Fixture::rotating();
    let inner = web::scope("/twice").configure(routes).wrap(fixture.refresh());
    let app =
        init_service(App::new().service(inner).configure(routes).wrap(fixture.refresh())).await;
    let send = async |method, path, cookie: &str| {
        Answer::of(try_call_service(&app, request(method, path, cookie).to_request()).await).await
    };
    let signed_in = send("POST", "/login/ada", "").await;
    let pairs = signed_in.cookies.iter().map(|cookie| cookie.split(';').next().unwrap());
    let cookie = pairs.collect::<Vec<_>>().join("; ");
    assert_eq!(send("GET", "/twice/me", &cookie).await.body, "ada");
    fixture.clock.advance(Duration::from_secs(900));
    let answer = send("GET", "/twice/me", &cookie).await;
    assert_eq!((answer.status, &*answer.body), (200, "ada"));
    assert!(answer.token().is_some());
}
