//! A WebSocket that stays open until its session ends, and no longer.
//!
//! Run with: `SECRET=$(openssl rand -hex 32) cargo run -p axum-socket`, open
//! <http://127.0.0.1:3000> in two tabs and sign out in one of them.
//!
//! An open WebSocket can't receive a cookie. So the page refreshes the session beside it with
//! `POST /auth/refresh`: this node sees the new token and keeps the socket open. If the page is
//! late, the socket is closed with 4401, and the page refreshes and reconnects. 4403 means that the
//! user signed out.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::{Html, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use everfresh::{EndReason, Engine, Keys, MemoryStore, Rotate, SessionWatch};
use everfresh_axum::{Claims, Error, Session};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("SECRET").map_err(|_| "set SECRET to at least 32 random bytes")?;
    let auth = Engine::<User>::builder(Keys::hs256(secret)?)
        .issuer("https://app.example")
        .audience("app")
        .access_lifetime(Duration::from_secs(60)) // short enough to watch
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .refresh_with(Rotate::new(MemoryStore::new()))
        .build()?;

    let app = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/socket", get(socket))
        .merge(everfresh_axum::endpoints(&auth))
        .layer(auth.layer());

    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Signs in any name. A real app checks a password first.
async fn login(session: Session<User>, Form(user): Form<User>) -> Result<Redirect, Error> {
    session.sign_in(user.name.clone(), user).await?;
    Ok(Redirect::to("/"))
}

async fn logout(session: Session<User>) -> Result<Redirect, Error> {
    session.sign_out().await?;
    Ok(Redirect::to("/"))
}

/// Opens the WebSocket. The token is refreshed before the upgrade if it is about to expire.
async fn socket(
    session: Session<User>,
    Claims(user): Claims<User>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Error> {
    let expires = session.watch()?;
    Ok(upgrade.on_upgrade(async move |socket| serve(socket, &user.name, expires).await))
}

async fn serve(mut socket: WebSocket, name: &str, mut expires: SessionWatch) {
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    for n in 0_u64.. {
        tokio::select! {
            ended = expires.ended() => {
                let (code, reason) = match ended {
                    EndReason::Expired => (4401, "refresh the session"),
                    _ => (4403, "signed out"),
                };
                let frame = CloseFrame { code, reason: reason.into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
            _ = every_second.tick() => {
                let text = format!("{n} s for {name}");
                if socket.send(Message::text(text)).await.is_err() { return }
            }
            message = socket.recv() => if !matches!(message, Some(Ok(_))) { return },
        }
    }
}
