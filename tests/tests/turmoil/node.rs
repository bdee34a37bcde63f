//! A node: a real engine with its Tower layer, served by hyper over the simulated network.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use everfresh::dialect::ClientAuthentication;
use everfresh::{Clock, Engine, Event, Keys, ManualClock, Rejection, Rotate, Session};
use everfresh_testkit::contract::{self, Adopt, Delivery, Login, Slow, User};
use everfresh_upstream::{HttpClient, Replay, Upstream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::{ServiceBuilder, service_fn};
use turmoil::net::TcpListener;

use crate::ledger::Ledger;
use crate::provider::{self, Dial};
use crate::store::Remote;

pub(crate) const PORT: u16 = 80;

/// The lifetime of access tokens. More than half of it is the refresh window.
const LIFE: Duration = Duration::from_secs(4);

/// The time limit of a refresh at the provider.
pub(crate) const LIMIT: Duration = Duration::from_secs(4);

/// The source of a session's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    Store,
    /// The provider's tokens, with this setting for resending.
    Provider(Replay),
}

/// The configuration of a node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) backing: Backing,
    pub(crate) reuse_interval: Duration,
    pub(crate) clock: ManualClock,
    pub(crate) ledger: Arc<Ledger>,
}

pub(crate) fn name(number: usize) -> String {
    format!("node-{number}")
}

impl Node {
    /// The host, which starts with an empty memory.
    pub(crate) async fn serve(self) -> turmoil::Result {
        let life = self.ledger.begins(self.number);
        let engine = self.engine(life)?;
        let service = ServiceBuilder::new()
            .layer(engine.layer())
            .service(service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) }));
        let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), PORT)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let serving = hyper::server::conn::http1::Builder::new();
                // A client that disconnects is not an error.
                let _ = serving.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    fn engine(&self, life: u32) -> Result<Engine<User>, everfresh::ConfigError> {
        let keys = Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA")?;
        let builder = Engine::builder(keys)
            .issuer("https://turmoil.test")
            .audience("turmoil")
            .access_lifetime(LIFE)
            .session_lifetime(Duration::from_secs(24 * 60 * 60))
            .clock(Clock::from(self.clock.clone()))
            .insecure_dev_only()
            .insecure_dev_host("app.test");
        let ledger = self.ledger.clone();
        let builder = builder.on_event(move |event| {
            if let Event::ReuseDetected { sid } = event {
                ledger.wrong(format!("{sid} has a reported reuse without a thief"));
            }
        });
        builder.refresh_with(self.refresher(life).reuse_interval(self.reuse_interval)).build()
    }

    fn refresher(&self, life: u32) -> Rotate {
        let Backing::Provider(replay) = self.backing else { return Rotate::new(Remote) };
        let (ledger, number) = (self.ledger.clone(), self.number);
        let dial = Dial::new(move |token| ledger.received(number, life, token));
        let url = provider::URL.parse().expect("an address");
        Upstream::oauth2(&HttpClient::over(dial), url)
            .client(ClientAuthentication::None { id: "turmoil".into() })
            .replay(replay)
            .limit(LIMIT)
            .kept_in(Remote)
    }
}

type Reply = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>) -> Reply {
    // The layer is around this service, so there is always a session.
    let reply = match request.extensions().get::<Session<User>>().cloned() {
        Some(session) => route(&session, request).await,
        None => Err(Rejection::missing_layer()),
    };
    reply.unwrap_or_else(|rejection| rejection.into_response())
}

async fn route(session: &Session<User>, request: Request<Incoming>) -> Result<Reply, Rejection> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/login") => {
            let Some(login) = json::<Login>(request).await else { return Ok(bad()) };
            contract::login(session, login, &Delivery::default()).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::POST, "/adopt") => {
            let Some(tokens) = json::<Adopt>(request).await else { return Ok(bad()) };
            contract::adopt(session, tokens).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::POST, "/logout") => {
            session.sign_out().await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (&Method::GET, "/slow") => {
            let ms = request.uri().query().and_then(|query| query.strip_prefix("ms="));
            let ms = ms.and_then(|ms| ms.parse().ok()).unwrap_or_default();
            tokio::time::sleep(Slow { ms }.duration()).await;
            me(session)
        }
        _ => me(session),
    }
}

fn me(session: &Session<User>) -> Result<Reply, Rejection> {
    let body = serde_json::to_vec(&contract::me(session)?).unwrap_or_default();
    Ok(Response::new(Full::new(body.into())))
}

async fn json<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Option<T> {
    let body = request.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}

fn bad() -> Reply {
    empty(StatusCode::BAD_REQUEST)
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}
