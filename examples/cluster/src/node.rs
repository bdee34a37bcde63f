//! One node: an engine, a listener, and counters for the engine's events.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use everfresh::RevocationFeed;
use everfresh::{Engine, Event, InvalidReason, Keys, Rotate};
use everfresh_axum::{Claims, Error, Session};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Outcome;

/// Short enough to watch. Usual values are 15 minutes, and 30 seconds for the reuse interval.
const ACCESS_LIFETIME: Duration = Duration::from_secs(10);
const REUSE_INTERVAL: Duration = Duration::from_secs(3);

/// How many events are shown.
const SHOWN: usize = 6;

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

/// A running node.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    auth: Engine<User>,
    tally: Arc<Tally>,
}

/// The counters of a node, and its latest events.
#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    /// Requests that got new tokens, by a refresh that they started or joined.
    renewed: AtomicU64,
    refreshes: AtomicU64,
    replays: AtomicU64,
    refused: AtomicU64,
    events: Mutex<VecDeque<String>>,
}

impl Node {
    /// Listens on a free port.
    pub(crate) async fn start(secret: &[u8], rotation: Rotate) -> Outcome<Self> {
        let tally = Arc::new(Tally::default());
        let noting = tally.clone();
        let auth = Engine::<User>::builder(Keys::hs256(secret)?)
            .issuer("https://cluster.example")
            .audience("cluster")
            .access_lifetime(ACCESS_LIFETIME)
            .session_lifetime(Duration::from_secs(60 * 60))
            .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
            .refresh_with(rotation.reuse_interval(REUSE_INTERVAL))
            .on_event(move |event| noting.note(event))
            .build()?;
        let app = Router::new()
            .route("/login", post(login))
            .route("/me", get(me))
            .route("/logout", post(logout))
            .with_state(tally.clone())
            .layer(auth.layer());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, auth, tally })
    }

    /// Returns the node's counters and events for the page.
    pub(crate) fn state(&self) -> Value {
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (renewed, refreshes) = (count(&self.tally.renewed), count(&self.tally.refreshes));
        json!({
            "address": self.address,
            "requests": count(&self.tally.requests),
            "started": refreshes,
            "joined": renewed.saturating_sub(refreshes),
            "replayed": count(&self.tally.replays),
            "refused": count(&self.tally.refused),
            "feed": match self.auth.feed() {
                RevocationFeed::Live => "live".to_owned(),
                RevocationFeed::Lost { since } => format!("lost for {} s", since.as_secs()),
                _ => "none".to_owned(),
            },
            "events": *self.tally.events(),
        })
    }
}

impl Tally {
    fn add(number: &AtomicU64) {
        number.fetch_add(1, Ordering::Relaxed);
    }

    fn events(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: &Event<'_>) {
        let line = match event {
            Event::Refreshed { .. } => return Self::add(&self.refreshes),
            Event::TokenRefused { reason: InvalidReason::Revoked } => {
                Self::add(&self.refused);
                "refused a token of an ended session".to_owned()
            }
            Event::Replayed { .. } => {
                Self::add(&self.replays);
                "replayed a rotation's result".to_owned()
            }
            Event::SignedIn { .. } => "a user signed in".to_owned(),
            Event::SignedOut { .. } => "a user signed out".to_owned(),
            Event::FeedLost => "lost the revocation feed".to_owned(),
            Event::FeedLive => "the revocation feed is live again".to_owned(),
            Event::StoreFailed => "the store failed".to_owned(),
            other => format!("{other:?}").chars().take(80).collect(),
        };
        let mut events = self.events();
        events.push_front(line);
        events.truncate(SHOWN);
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

async fn login(session: Session<User>, Form(form): Form<Login>) -> Result<StatusCode, Error> {
    session.sign_in(form.name.clone(), User { name: form.name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(
    State(tally): State<Arc<Tally>>,
    session: Session<User>,
    user: Result<Claims<User>, everfresh_axum::Rejection>,
) -> Result<Json<Value>, everfresh_axum::Rejection> {
    Tally::add(&tally.requests);
    let Claims(user) = user?;
    if session.is_refreshed() {
        Tally::add(&tally.renewed);
    }
    Ok(Json(json!({
        "name": user.name,
        "generation": session.generation(),
        "refreshed": session.is_refreshed(),
    })))
}

async fn logout(session: Session<User>) -> Result<StatusCode, Error> {
    session.sign_out().await?;
    Ok(StatusCode::NO_CONTENT)
}
