//! The shortest axum app whose users stay signed in.
//!
//! ```sh
//! SECRET=$(openssl rand -hex 32) cargo run -p axum-app &       # PORT=.. for another port
//! curl -i -c jar -d name=Ada http://127.0.0.1:3000/login         # 303
//! curl -i -b jar -c jar http://127.0.0.1:3000/me                 # 200 `You are Ada`
//! curl -i -b jar -c jar http://127.0.0.1:3000/members            # 200 `Members only`
//! curl -i -b jar -c jar -X POST http://127.0.0.1:3000/logout     # 303, and `Max-Age=0`
//! ```

use axum::routing::{get, post};
use axum::{Form, Router, response::Redirect};
use everfresh::{Engine, Keys, Reissue};
use everfresh_axum::{Claims, Error, Session};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("SECRET").map_err(|_| "set SECRET to at least 32 random bytes")?;
    let auth = Engine::<User>::builder(Keys::hs256(secret)?)
        .issuer("https://app.example")
        .audience("app")
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .refresh_with(Reissue::new())
        .build()?;

    let members = Router::new().route("/members", get(members)).layer(auth.require());
    let app = Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/me", get(me))
        .route("/logout", post(logout))
        .merge(members)
        .layer(auth.layer());

    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// For every visitor.
async fn home(user: Option<Claims<User>>) -> String {
    user.map_or("Hello, stranger\n".into(), |user| format!("Hello, {}\n", user.name))
}

/// Signs in any name. A real app checks a password first.
async fn login(session: Session<User>, Form(form): Form<Login>) -> Result<Redirect, Error> {
    session.sign_in(form.name.clone(), User { name: form.name }).await?;
    Ok(Redirect::to("/me"))
}

/// Requires a signed-in user. Other requests get 401.
async fn me(Claims(user): Claims<User>) -> String {
    format!("You are {}\n", user.name)
}

/// Behind `auth.require()`, so the handler needs no extractor.
async fn members() -> &'static str {
    "Members only\n"
}

async fn logout(session: Session<User>) -> Result<Redirect, Error> {
    session.sign_out().await?;
    Ok(Redirect::to("/"))
}
