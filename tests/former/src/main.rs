//! A node of the former release.
//!
//! It answers a part of the requests that `tests/CONTRACT.md` lists, with the same environment
//! variables and the same tokens as the contract servers of this release.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use everfresh::adapter::{BODY_LIMIT, Endpoint};
use everfresh::{Engine, Keys, Rejection, Rotate, Session, Timestamp};
use everfresh_redis::RedisStore;
use everfresh_sqlx::{PostgresStore, SqliteStore};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::{ServiceBuilder, service_fn};

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

type Reply = Response<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let auth = engine().await?;
    let endpoints = Arc::new(auth.endpoints());
    let routes = service_fn(move |request| route(endpoints.clone(), request));
    let service = ServiceBuilder::new().layer(auth.layer()).service(routes);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = terminate.recv() => break,
        };
        let service = TowerToHyperService::new(service.clone());
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
    auth.shutdown().await;
    Ok(())
}

/// The engine of the contract, without dialects.
async fn engine() -> Result<Engine<User>, Box<dyn Error>> {
    let store = std::env::var("STORE")?;
    let rotate = match store.split_once(':') {
        Some(("sqlite", path)) => Rotate::new(SqliteStore::open(path).await?),
        Some(("redis", _)) => Rotate::new(RedisStore::open(&store).await?),
        Some(("postgres", _)) => Rotate::new(PostgresStore::open(&store).await?),
        _ => return Err("STORE: allowed is sqlite:PATH, redis://HOST or postgres://HOST".into()),
    };
    let reuse_interval = std::env::var("REUSE_INTERVAL").map_or(Ok(30), |found| found.parse())?;
    let auth = Engine::builder(Keys::hs256(std::env::var("SECRET")?)?)
        .issuer("https://everfresh.test")
        .audience("contract")
        .access_lifetime(Duration::from_secs(900))
        .session_lifetime(Duration::from_secs(86_400))
        .insecure_dev_only()
        .refresh_with(rotate.reuse_interval(Duration::from_secs(reuse_interval)))
        .build()?;
    Ok(auth)
}

async fn route(
    endpoints: Arc<Vec<Endpoint<User>>>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let session = request.extensions().get::<Session<User>>().cloned();
    let reply = match session {
        Some(session) => answer(&endpoints, &session, request).await,
        None => Err(Rejection::missing_layer()),
    };
    Ok(reply.unwrap_or_else(Rejection::into_response))
}

async fn answer(
    endpoints: &[Endpoint<User>],
    session: &Session<User>,
    request: Request<Incoming>,
) -> Result<Reply, Rejection> {
    if let Some(endpoint) = endpoints.iter().find(|one| one.is_at(request.uri().path())) {
        let call = endpoint.read(&request);
        let body = read(request).await;
        return Ok(endpoint.answer(call, body.as_deref(), Ok(session)).await.map(Into::into));
    }
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/login") => {
            let body = read(request).await.unwrap_or_default();
            let Ok(Login { user }) = serde_json::from_slice(&body) else {
                return Ok(status(StatusCode::BAD_REQUEST));
            };
            session.sign_in(user.clone(), User { name: user }).await?;
            Ok(status(StatusCode::NO_CONTENT))
        }
        (&Method::POST, "/logout") => {
            session.sign_out().await?;
            Ok(status(StatusCode::NO_CONTENT))
        }
        (&Method::GET, "/me") => {
            session.claims()?;
            let me = json!({
                "sub": session.subject(),
                "sid": session.sid(),
                "gen": session.generation(),
                "exp": session.expires_at().map(Timestamp::as_secs),
            });
            Ok(Response::new(me.to_string().into()))
        }
        _ => Ok(status(StatusCode::NOT_FOUND)),
    }
}

async fn read(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), BODY_LIMIT).collect().await;
    body.ok().map(|body| body.to_bytes())
}

fn status(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}
