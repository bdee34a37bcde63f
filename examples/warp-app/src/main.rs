//! The shortest warp app whose users stay signed in.
//!
//! ```sh
//! SECRET=$(openssl rand -hex 32) cargo run -p warp-app &       # PORT=.. for another port
//! curl -i -c jar -d name=Ada http://127.0.0.1:3000/login         # 303
//! curl -i -b jar -c jar http://127.0.0.1:3000/me                 # 200 `You are Ada`
//! curl -i -b jar -c jar http://127.0.0.1:3000/members            # 200 `Members only`
//! curl -i -b jar -c jar -X POST http://127.0.0.1:3000/logout     # 303, and `Max-Age=0`
//! ```

use everfresh::{Engine, Keys, Reissue};
use everfresh_warp::{Claims, Error, Session, claims, optional_claims, require, session};
use serde::{Deserialize, Serialize};
use warp::http::Uri;
use warp::{Filter, Reply, path, redirect::see_other};

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

    // The session filters go after path and method, so that they apply to the matching route alone.
    let form = warp::body::content_length_limit(4096).and(warp::body::form());
    let routes = (path::end().and(warp::get()).and(optional_claims()).map(home))
        .or(path!("login").and(warp::post()).and(session()).and(form).then(login))
        .or(path!("me").and(warp::get()).and(claims()).map(me))
        .or(path!("members").and(warp::get()).and(require(&auth)).map(members))
        .or(path!("logout").and(warp::post()).and(session()).then(logout));

    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    everfresh_warp::serve(routes, auth).incoming(listener).run().await;
    Ok(())
}

/// For every visitor.
fn home(user: Option<Claims<User>>) -> String {
    user.map_or("Hello, stranger\n".into(), |user| format!("Hello, {}\n", user.name))
}

/// Signs in any name. A real app checks a password first.
async fn login(session: Session<User>, form: Login) -> Result<impl Reply, Error> {
    session.sign_in(form.name.clone(), User { name: form.name }).await?;
    Ok(see_other(Uri::from_static("/me")))
}

/// Requires a signed-in user. Other requests get 401.
fn me(Claims(user): Claims<User>) -> String {
    format!("You are {}\n", user.name)
}

/// Behind `require(&auth)`, so the route needs no claims.
fn members() -> &'static str {
    "Members only\n"
}

async fn logout(session: Session<User>) -> Result<impl Reply, Error> {
    session.sign_out().await?;
    Ok(see_other(Uri::from_static("/")))
}
