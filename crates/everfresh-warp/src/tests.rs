//! The warp parts: filters, rejections in `or` chains, and the server.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use everfresh::{
    Clock, Engine, Keys, ManualClock, MemoryStore, Reissue, Rotate, SessionError, Timestamp,
    Transport,
};
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

use super::*;

mod serving;

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

fn engine(clock: &ManualClock) -> Engine<User> {
    Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(Clock::from(clock.clone()))
        .leeway(Duration::ZERO)
        .transports([Transport::cookies(), Transport::headers()])
        .insecure_dev_only()
        .refresh_with(Reissue::new())
        .revalidate_with(|session: everfresh::Revalidation<User>| async move {
            match &*session.claims.unwrap().name {
                "unlucky" => Err("the database is down"),
                _ => Ok(everfresh::Revalidated::Keep),
            }
        })
        .build()
        .unwrap()
}

fn fixture() -> (ManualClock, Engine<User>) {
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

/// A whole answer: status, header fields in order, body.
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

/// Signs in, and returns the cookie.
async fn sign_in(auth: &Engine<User>, name: &str) -> String {
    let path = format!("/login/{name}");
    let answer = send(login(), auth, request("POST", &path, "")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    answer.cookies[0].split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn filters_answer_as_the_request_is_entitled() {
    let (clock, auth) = fixture();
    let async_logout = |session: Session<User>| async move {
        session.sign_out().await?;
        Ok::<_, Error>(StatusCode::NO_CONTENT)
    };
    let async_stale = |session: Session<User>| async move {
        session.refresh().await?;
        Ok::<_, Error>(StatusCode::NO_CONTENT)
    };
    let members = path!("members").and(require(&auth)).map(|| "members");
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

// Rows: F07.
#[tokio::test]
async fn an_outage_never_renders_a_signed_out_page() {
    let (clock, auth) = fixture();
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
    let (clock, auth) = fixture();
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
            [claims::<User>().map(|_| "never").boxed(), require(&auth).map(|| "never").boxed()]
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
        let other = other.issuer("i").audience("a").refresh_with(Reissue::new()).build().unwrap();
        let answer = service(routes, other).oneshot(request("GET", path, "")).await.unwrap();
        let answer = whole(answer).await;
        assert!(answer.contains("with the same claims type"), "{answer}");
    }
}

// Rows: R28.
#[tokio::test]
async fn endpoints_stand_beside_other_routes_and_behind_a_prefix() {
    let (_, auth) = fixture();
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
    let (clock, auth) = fixture();
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
    let (clock, auth) = fixture();
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
    let (_, auth) = fixture();
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
async fn a_handlers_rejection_comes_before_a_filters() {
    fn fails() -> Result<&'static str, SessionError> {
        Err(everfresh::SessionErrorKind::Unavailable.into())
    }
    async fn refuse(_: Session<User>) -> Result<&'static str, warp::Rejection> {
        Ok(fails().map_err(Error::from)?)
    }
    let (_, auth) = fixture();
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
async fn an_app_that_recovers_every_rejection_can_return_ours() {
    async fn own(rejection: warp::Rejection) -> Result<Response, Infallible> {
        let ours = answer(&rejection);
        Ok(ours.unwrap_or_else(|| StatusCode::IM_A_TEAPOT.into_response()))
    }
    let (_, auth) = fixture();
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

// Rows: M7.
#[tokio::test]
async fn require_lets_in_its_own_engines_sessions_alone() {
    let (_, auth) = fixture();
    let (_, other) = fixture();
    let cookie = sign_in(&auth, "ada").await;
    let members = |required| path!("members").and(require(required)).map(|| "members");
    let answer = send(members(&auth), &auth, request("GET", "/members", &cookie)).await;
    assert_eq!(answer.body, "members");
    let answer = send(members(&other), &auth, request("GET", "/members", &cookie)).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.body.contains("another engine's"), "{}", answer.body);
}

// Rows: R4, N10.
#[tokio::test]
async fn a_layer_twice_around_routes_is_one_session() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    let auth = Engine::<User>::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
        .issuer("https://app.example")
        .audience("app")
        .clock(Clock::from(clock.clone()))
        .refresh_with(Rotate::new(MemoryStore::new().clock(clock.clone())))
        .build()
        .unwrap();
    let routes = auth.layer().layer(service(login().or(me()), auth.clone()));
    let send = async |method, path, cookie: &str| {
        read(routes.clone().oneshot(request(method, path, cookie)).await.unwrap()).await
    };
    let signed_in = send("POST", "/login/ada", "").await;
    let pairs = signed_in.cookies.iter().map(|cookie| cookie.split(';').next().unwrap());
    let cookie = pairs.collect::<Vec<_>>().join("; ");
    clock.advance(Duration::from_secs(900));
    let answer = send("GET", "/me", &cookie).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "ada"));
    assert_eq!(answer.cookies.len(), 2);
}
