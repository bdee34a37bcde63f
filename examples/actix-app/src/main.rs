//! The shortest actix-web app whose users stay signed in.
//!
//! ```sh
//! SECRET=$(openssl rand -hex 32) cargo run -p actix-app &       # PORT=.. for another port
//! curl -i -c jar -d name=Ada http://127.0.0.1:3000/login         # 303
//! curl -i -b jar -c jar http://127.0.0.1:3000/me                 # 200 `You are Ada`
//! curl -i -b jar -c jar http://127.0.0.1:3000/members            # 200 `Members only`
//! curl -i -b jar -c jar -X POST http://127.0.0.1:3000/logout     # 303, and `Max-Age=0`
//! ```

use actix_web::web::{self, Form, Redirect};
use actix_web::{App, HttpServer};
use everfresh::{Engine, Keys, Reissue};
use everfresh_actix::{Claims, Error, OptionalClaims, Refresh, Session, require};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

#[actix_web::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("SECRET").map_err(|_| "set SECRET to at least 32 random bytes")?;
    let auth = Engine::<User>::builder(Keys::hs256(secret)?)
        .issuer("https://app.example")
        .audience("app")
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .refresh_with(Reissue::new())
        .build()?;

    let server = HttpServer::new(move || {
        App::new()
            .route("/", web::get().to(home))
            .route("/login", web::post().to(login))
            .route("/me", web::get().to(me))
            .route("/logout", web::post().to(logout))
            .service(web::resource("/members").wrap(require(&auth)).get(members))
            .wrap(Refresh::new(auth.clone()))
    });
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let server = server.bind(format!("127.0.0.1:{port}"))?;
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}

/// For every visitor.
async fn home(OptionalClaims(user): OptionalClaims<User>) -> String {
    user.map_or("Hello, stranger\n".into(), |user| format!("Hello, {}\n", user.name))
}

/// Signs in any name. A real app checks a password first.
async fn login(session: Session<User>, Form(form): Form<Login>) -> Result<Redirect, Error> {
    session.sign_in(form.name.clone(), User { name: form.name }).await?;
    Ok(Redirect::to("/me").see_other())
}

/// Requires a signed-in user. Other requests get 401.
async fn me(Claims(user): Claims<User>) -> String {
    format!("You are {}\n", user.name)
}

/// Behind `require(&auth)`, so the handler needs no extractor.
async fn members() -> &'static str {
    "Members only\n"
}

async fn logout(session: Session<User>) -> Result<Redirect, Error> {
    session.sign_out().await?;
    Ok(Redirect::to("/").see_other())
}
