//! What is warp's own: filters, rejections in `or` chains, and the server.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use everfresh::{Carrier, Clock, Engine, Keys, ManualClock, Resign, SessionError, Timestamp};
use everfresh_testkit::Browser;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer as _, ServiceExt as _, service_fn};
use warp::http::header::{COOKIE, SET_COOKIE};
use warp::http::request::Builder;
use warp::http::{Request, StatusCode};
use warp::reject::Reject;
use warp::reply::Response;
use warp::{Filter, Reply, path};

use super::server::Accept;
use super::*;

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

fn engine(clock: &ManualClock) -> Engine<User> {
    Engine::builder(Keys::hs256("0123456789abcdef-0123456789abcdef").unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(Clock::from(clock.clone()))
        .leeway(Duration::ZERO)
        .carriers([Carrier::cookies(), Carrier::headers()])
        .insecure_dev_only()
        .refresh_with(Resign::new())
        .revalidate_with(|session: everfresh::Revalidation<User>| async move {
            match &*session.claims.name {
                "unlucky" => Err("the database is down"),
                _ => Ok(everfresh::Revalidated::Keep),
            }
        })
        .build()
        .unwrap()
}

fn world() -> (ManualClock, Engine<User>) {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    let auth = engine(&clock);
    (clock, auth)
}

/// `POST /login/{name}`.
fn login() -> impl Filter<Extract = impl Reply, Error = warp::Rejection> + Clone {
    async fn login(name: String, session: Session<User>) -> Result<StatusCode, Error> {
        session.sign_in(name.clone(), User { name }).await?;
        Ok(StatusCode::NO_CONTENT)
    }
    path!("login" / String).and(warp::post()).and(session()).then(login)
}

/// `GET /me`.
fn me() -> impl Filter<Extract = (impl Reply,), Error = warp::Rejection> + Clone {
    path!("me").and(warp::get()).and(claims()).map(|Claims(user): Claims<User>| user.name.clone())
}

/// `GET /home`.
fn home() -> impl Filter<Extract = (impl Reply,), Error = warp::Rejection> + Clone {
    let home = |user: Option<Claims<User>>| user.map_or("stranger".into(), |u| u.name.clone());
    path!("home").and(warp::get()).and(optional_claims()).map(home)
}

struct Answer {
    status: StatusCode,
    cookies: Vec<String>,
    body: String,
}

/// An answer as it is: status, header fields in order, body.
async fn whole(response: Response) -> String {
    let head = format!("{} {:?}", response.status(), response.headers());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    format!("{head} {}", String::from_utf8(body.to_vec()).unwrap())
}

async fn read(response: Response) -> Answer {
    let cookies = response.headers().get_all(SET_COOKIE).iter();
    let cookies = cookies.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, cookies, body: String::from_utf8(body.to_vec()).unwrap() }
}

fn request(method: &str, path: &str, cookie: &str) -> Request<String> {
    let request = Request::builder().method(method).uri(path).header(COOKIE, cookie);
    request.body(String::new()).unwrap()
}

/// Sends one request to routes inside the layer.
async fn send<F>(routes: F, auth: &Engine<User>, request: Request<String>) -> Answer
where
    F: Filter + Send + Sync + 'static,
    F::Extract: Reply,
    F::Error: Into<warp::Rejection>,
{
    read(service(routes, auth.clone()).oneshot(request).await.unwrap()).await
}

/// Signs in, and gives the cookie.
async fn sign_in(auth: &Engine<User>, name: &str) -> String {
    let path = format!("/login/{name}");
    let answer = send(login(), auth, request("POST", &path, "")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    answer.cookies[0].split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn filters_answer_as_the_request_is_entitled() {
    let (clock, auth) = world();
    let async_logout = |session: Session<User>| async move {
        session.sign_out().await?;
        Ok::<_, Error>(StatusCode::NO_CONTENT)
    };
    let async_stale = |session: Session<User>| async move {
        session.refresh().await?;
        Ok::<_, Error>(StatusCode::NO_CONTENT)
    };
    let members = path!("members").and(require::<User>()).map(|| "members");
    let routes = (login().or(me()).or(home()).or(members))
        .or(path!("logout").and(warp::post()).and(session()).then(async_logout))
        .or(path!("stale").and(warp::post()).and(session()).then(async_stale));

    let cookie = sign_in(&auth, "ada").await;
    for (path, body) in [("/me", "ada"), ("/home", "ada"), ("/members", "members")] {
        let answer = send(routes.clone(), &auth, request("GET", path, &cookie)).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, body));
        assert!(answer.cookies.is_empty());
    }
    for stranger in ["", &format!("{cookie}x")] {
        let answer = send(routes.clone(), &auth, request("GET", "/home", stranger)).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "stranger"));
        for (method, path) in [("GET", "/me"), ("GET", "/members"), ("POST", "/stale")] {
            let answer = send(routes.clone(), &auth, request(method, path, stranger)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(answer.body.contains("\"status\":401"), "{}", answer.body);
        }
    }

    clock.advance(Duration::from_secs(900));
    let answer = send(routes.clone(), &auth, request("GET", "/me", &cookie)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.cookies[0].starts_with("access_token=ey"), "{:?}", answer.cookies);
    let answer = send(routes, &auth, request("POST", "/logout", &cookie)).await;
    assert!(answer.cookies[0].starts_with("access_token=;"), "{:?}", answer.cookies);
}

#[tokio::test]
async fn f07_an_outage_never_renders_a_signed_out_page() {
    let (clock, auth) = world();
    let cookie = sign_in(&auth, "unlucky").await;
    clock.advance(Duration::from_secs(900));
    for path in ["/me", "/home"] {
        let answer = send(me().or(home()), &auth, request("GET", path, &cookie)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.cookies.is_empty());
    }
    let answer = send(login(), &auth, request("POST", "/login/ada", &cookie)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "signing in works");
}

#[tokio::test]
async fn a_rejection_is_answered_as_the_core_answers_it() {
    let (clock, auth) = world();
    let cookie = sign_in(&auth, "unlucky").await;
    clock.advance(Duration::from_secs(900));
    let plain = service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::default()) });
    let plain = auth.layer().layer(auth.require().layer(plain));
    let two = [("authorization", "Bearer a.b.c"), ("authorization", "Bearer d.e.f")];
    for (fields, status) in [
        (&[][..], 401),
        (&[("cookie", "access_token=a.b.c")], 401),
        (&two, 400),
        (&[("cookie", &*cookie), ("sec-fetch-site", "cross-site")], 403),
        (&[("cookie", &*cookie)], 503),
    ] {
        let request = || {
            let request = Request::post("/me");
            let with = |request: Builder, &(name, value)| request.header(name, value);
            fields.iter().fold(request, with).body(String::new()).unwrap()
        };
        let expected = whole(plain.clone().oneshot(request()).await.unwrap()).await;
        assert!(expected.starts_with(&status.to_string()), "{expected}");
        for routes in
            [claims::<User>().map(|_| "never").boxed(), require::<User>().map(|| "never").boxed()]
        {
            let answer = service(routes, auth.clone()).oneshot(request()).await.unwrap();
            assert_eq!(whole(answer).await, expected);
        }
    }
}

#[tokio::test]
async fn a_missing_layer_says_what_to_add() {
    for path in ["/me", "/home", "/session"] {
        let routes = me().or(home()).or(path!("session").and(session::<User>()).map(|_| "session"));
        let plain = warp::service(routes.clone());
        let answer = read(plain.oneshot(request("GET", path, "")).await.unwrap()).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.body.contains("everfresh_warp::serve"), "{}", answer.body);

        let recovered = warp::service(routes.clone().recover(recover));
        let answer = whole(recovered.oneshot(request("GET", path, "")).await.unwrap()).await;
        assert!(answer.contains("500") && answer.contains("problem+json"), "{answer}");
        assert!(answer.contains("everfresh_warp::serve"), "{answer}");

        let other =
            Engine::<()>::builder(Keys::hs256("another-0123456789abcdef-0123456789").unwrap());
        let other = other.issuer("i").audience("a").refresh_with(Resign::new()).build().unwrap();
        let answer = service(routes, other).oneshot(request("GET", path, "")).await.unwrap();
        let answer = whole(answer).await;
        assert!(answer.contains("with the same claims type"), "{answer}");
    }
}

#[tokio::test]
async fn endpoints_stand_beside_other_routes_and_behind_a_prefix() {
    let (_, auth) = world();
    let routes = || me().or(endpoints(&auth)).or(path("api").and(endpoints(&auth)));
    let cookie = sign_in(&auth, "ada").await;
    for (method, path, cookie, status) in [
        ("POST", "/auth/refresh", &*cookie, 200),
        ("POST", "/api/auth/refresh", &cookie, 200),
        ("POST", "/auth/refresh?x=1", &cookie, 200),
        ("POST", "/auth/refresh", "", 401),
        ("GET", "/auth/refresh", &cookie, 405),
        ("GET", "/.well-known/jwks.json", "", 200),
        ("DELETE", "/auth/sessions/x", &cookie, 404),
        ("POST", "/auth/refresh/", &cookie, 404),
        ("POST", "//auth/refresh", &cookie, 404),
        ("POST", "/else/auth/refresh", &cookie, 404),
        ("OPTIONS", "*", "", 404),
        ("CONNECT", "app.example:443", "", 404),
        ("GET", "/me", &cookie, 200),
        ("GET", "/me", "", 401),
    ] {
        let answer = send(routes(), &auth, request(method, path, cookie)).await;
        assert_eq!(answer.status, status, "{method} {path} {}", answer.body);
    }
    let lost = warp::service(endpoints(&auth));
    let lost = read(lost.oneshot(request("POST", "/auth/refresh", "")).await.unwrap()).await;
    assert!(lost.body.contains("everfresh_warp::serve"), "{}", lost.body);
}

#[derive(Debug)]
struct Teapot;

impl Reject for Teapot {}

#[tokio::test]
async fn cookies_leave_with_rejected_routes() {
    let (clock, auth) = world();
    let cookie = sign_in(&auth, "ada").await;
    clock.advance(Duration::from_secs(900));
    let teapot =
        || path!("teapot").and_then(|| async { Err::<&str, _>(warp::reject::custom(Teapot)) });
    let unrecovered = me().or(teapot());
    let recovered = me().or(teapot()).recover(|rejection: warp::Rejection| async move {
        let status = match rejection.find::<Teapot>() {
            Some(Teapot) => StatusCode::IM_A_TEAPOT,
            None if rejection.is_not_found() => StatusCode::NOT_FOUND,
            None => StatusCode::BAD_REQUEST,
        };
        Ok::<_, Infallible>(status)
    });
    for (method, path, statuses) in [
        ("GET", "/me", [200, 200]),
        ("GET", "/nowhere", [404, 404]),
        ("POST", "/me", [405, 400]),
        ("GET", "/teapot", [500, 418]),
    ] {
        let answers = [
            send(unrecovered.clone(), &auth, request(method, path, &cookie)).await,
            send(recovered.clone(), &auth, request(method, path, &cookie)).await,
        ];
        assert_eq!(answers.each_ref().map(|answer| answer.status.as_u16()), statuses, "{path}");
        for answer in answers {
            assert_eq!(answer.cookies.len(), 1, "{method} {path}");
            assert!(answer.cookies[0].starts_with("access_token=ey"));
        }
    }
}

#[tokio::test]
async fn the_handlers_own_cookies_survive() {
    let (clock, auth) = world();
    let cookie = sign_in(&auth, "ada").await;
    clock.advance(Duration::from_secs(900));
    let themed = path!("themed").and(claims::<User>()).map(|_| {
        let reply = Response::default();
        let (mut parts, body) = reply.into_parts();
        parts.headers.append(SET_COOKIE, "theme=dark".parse().unwrap());
        parts.headers.append(SET_COOKIE, "size=big".parse().unwrap());
        Response::from_parts(parts, body)
    });
    let answer = send(themed, &auth, request("GET", "/themed", &cookie)).await;
    assert_eq!(answer.cookies[..2], ["theme=dark", "size=big"]);
    assert!(answer.cookies[2].starts_with("access_token=ey"), "{:?}", answer.cookies);
    assert_eq!(answer.cookies.len(), 3);
}

#[tokio::test]
async fn a_401_is_hidden_by_no_other_route() {
    let (_, auth) = world();
    let post_me = || path!("me").and(warp::post()).map(|| "posted");
    let wants_header = || path!("me").and(warp::header::<u32>("x-wanted")).map(|_| "found");
    let wants_short = || path!("me").and(warp::body::content_length_limit(1)).map(|| "short");
    let elsewhere = || path!("elsewhere").map(|| "elsewhere");
    let teapot = || path!("me").and_then(|| async { Err::<&str, _>(warp::reject::custom(Teapot)) });
    for routes in [
        me().or(post_me()).or(elsewhere()).map(Reply::into_response).boxed(),
        post_me().or(elsewhere()).or(me()).map(Reply::into_response).boxed(),
        elsewhere().or(me()).or(post_me()).map(Reply::into_response).boxed(),
        me().or(wants_header()).or(wants_short()).map(Reply::into_response).boxed(),
        wants_header().or(wants_short()).or(me()).map(Reply::into_response).boxed(),
        me().or(teapot()).map(Reply::into_response).boxed(),
        teapot().or(me()).map(Reply::into_response).boxed(),
    ] {
        let answer = send(routes, &auth, request("GET", "/me", "")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.body.contains("Sign in first"), "{}", answer.body);
    }
    let routes = me().or(post_me()).or(elsewhere());
    for (method, path, status) in [("PUT", "/me", 405), ("GET", "/nowhere", 404)] {
        let answer = send(routes.clone(), &auth, request(method, path, "")).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn what_a_handler_said_comes_before_what_a_filter_said() {
    fn fails() -> Result<&'static str, SessionError> {
        Err(everfresh::SessionErrorKind::Unavailable.into())
    }
    async fn refuse(_: Session<User>) -> Result<&'static str, warp::Rejection> {
        Ok(fails().map_err(Error::from)?)
    }
    let (_, auth) = world();
    let refused = || path!("me").and(session()).and_then(refuse);
    for routes in [
        refused().or(me()).map(Reply::into_response).boxed(),
        me().or(refused()).map(Reply::into_response).boxed(),
    ] {
        let answer = send(routes, &auth, request("GET", "/me", "")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn who_recovers_everything_asks_for_our_answer() {
    async fn own(rejection: warp::Rejection) -> Result<Response, Infallible> {
        let ours = answer(&rejection);
        Ok(ours.unwrap_or_else(|| StatusCode::IM_A_TEAPOT.into_response()))
    }
    let (_, auth) = world();
    let asks = me().recover(own);
    let before = me().recover(recover).recover(own);
    for routes in [asks.map(Reply::into_response).boxed(), before.map(Reply::into_response).boxed()]
    {
        let answer = send(routes.clone(), &auth, request("GET", "/me", "")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let answer = send(routes, &auth, request("GET", "/nowhere", "")).await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    }
}

#[tokio::test]
async fn remote_is_the_clients_address() {
    let show = || remote().map(|address: Option<SocketAddr>| format!("{address:?}"));
    let (clock, auth) = world();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(show(), auth.clone()).incoming(listener).run());
    let seen = Browser::new(address, clock).get("/").await;
    let seen = String::from_utf8(seen.body.to_vec()).unwrap();
    assert!(seen.starts_with("Some(127.0.0.1:"), "{seen}");
    assert_ne!(seen, format!("{:?}", Some(address)));
    server.abort();

    assert_eq!(send(show(), &auth, request("GET", "/", "")).await.body, "None");
    let mut request = request("GET", "/", "");
    request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 443)));
    assert_eq!(send(show(), &auth, request).await.body, "Some(192.0.2.1:443)");
}

/// Reads until `end`.
async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), end: &[u8]) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "{}", bytes.escape_ascii());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_websocket_gets_its_cookies_with_the_101_and_passes() {
    let (clock, auth) = world();
    let cookie = sign_in(&auth, "ada").await;
    clock.advance(Duration::from_secs(900));
    let echo = |socket: warp::ws::WebSocket| async {
        let (mut to, mut from) = socket.split();
        while let Some(Ok(message)) = from.next().await {
            let _ = to.send(message).await;
        }
    };
    let routes = (path!("ws").and(claims::<User>()).and(warp::ws()))
        .map(move |_, upgrade: warp::ws::Ws| upgrade.on_upgrade(echo));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let server = tokio::spawn(serve(routes, auth).incoming(listener).graceful(stopped).run());

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         cookie: {cookie}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, b"\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(head.contains("set-cookie: access_token=ey"), "{head}");

    // RFC 6455 section 5.2: text, masked with zeros.
    stream.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
    assert_eq!(read_until(&mut stream, b"hello").await, "\u{fffd}\u{5}hello");

    stop.send(()).unwrap();
    server.await.expect("a WebSocket is not waited for");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_listened_on_too() {
    let (_, auth) = world();
    let name = format!("everfresh-warp-{}.sock", std::process::id());
    let file = std::env::temp_dir().join(name);
    let listener = tokio::net::UnixListener::bind(&file).unwrap();
    let routes = remote().map(|address: Option<SocketAddr>| format!("{address:?}"));
    let server = tokio::spawn(serve(routes, auth).incoming(listener).run());
    let mut stream = tokio::net::UnixStream::connect(&file).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("None"), "{answer}");
    server.abort();
}

#[tokio::test]
async fn http_2_is_served_on_the_same_port() {
    let (_, auth) = world();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = tokio::spawn(serve(me(), auth).incoming(listener).run());
    // RFC 9113 section 3.4: the preface and an empty SETTINGS frame, answered by one.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3..], [4, 0, 0, 0, 0, 0], "SETTINGS of stream 0");
    server.abort();
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_and_no_panic() {
    let (_, auth) = world();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = serve(me(), auth).run(taken.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_stop_is_final_and_lets_requests_end() {
    let (clock, auth) = world();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (reached, handler) = tokio::sync::mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let slow = {
        let go = go.clone();
        warp::any().then(move || {
            let (go, reached) = (go.clone(), reached.clone());
            async move {
                reached.send(()).unwrap();
                go.notified().await;
                "done"
            }
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopped = async { stopped.await.unwrap_or_default() };
    let server = tokio::spawn(serve(slow, auth).incoming(listener).graceful(stopped).run());
    let mut browser = Browser::new(address, clock);
    let answer = tokio::spawn(async move { browser.get("/").await });
    let mut handler = handler;
    handler.recv().await.expect("the handler runs");
    stop.send(()).unwrap();
    // Not before the server's task ran again.
    let mut attempts = 0;
    while let Ok(_let_in) = TcpStream::connect(address).await {
        attempts += 1;
        assert!(attempts < 100, "nobody is let in any more");
    }
    assert!(!server.is_finished());
    go.notify_one();
    assert_eq!(&*answer.await.unwrap().body, b"done");
    server.await.unwrap();
}

/// Fails in these ways, and then gives one connection.
struct Failing(Vec<io::ErrorKind>, Option<DuplexStream>);

impl Accept for Failing {
    type Stream = DuplexStream;

    async fn next(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match (self.0.pop(), self.1.take()) {
            (Some(kind), stream) => {
                self.1 = stream;
                Err(kind.into())
            }
            (None, Some(stream)) => Ok((stream, None)),
            (None, None) => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_want_of_file_descriptors_is_waited_out_and_a_broken_connection_is_not() {
    use io::ErrorKind::{ConnectionAborted, Other};
    let (_, auth) = world();
    for (failures, seconds) in [
        (vec![], 0),
        (vec![ConnectionAborted; 1000], 0),
        (vec![Other], 1),
        (vec![Other, ConnectionAborted, Other], 2),
    ] {
        let began = tokio::time::Instant::now();
        let (mut stream, served) = tokio::io::duplex(1024);
        let listener = Failing(failures, Some(served));
        let server = tokio::spawn(serve(me(), auth.clone()).incoming(listener).run());
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let head = read_until(&mut stream, b"\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        assert_eq!(began.elapsed().as_secs(), seconds);
        server.abort();
    }
    let listener = Failing(vec![Other; 1000], None);
    let stop = tokio::time::sleep(Duration::from_millis(1500));
    let began = tokio::time::Instant::now();
    serve(me(), auth).incoming(listener).graceful(stop).run().await;
    assert_eq!(began.elapsed().as_millis(), 1500, "a stop is heard in the pause");
}
