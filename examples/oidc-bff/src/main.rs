//! A backend for frontend: users sign in at an OpenID provider with the `openidconnect` crate, and
//! stay signed in with everfresh. The provider's tokens never reach the browser. This server renews
//! them once per expiry, whatever the number of open tabs.
//!
//! Run with a provider that has `http://127.0.0.1:3000/callback` as a redirect URI:
//! `SECRET=$(openssl rand -hex 32) ISSUER=https://id.example CLIENT_ID=.. CLIENT_SECRET=.. cargo
//! run -p oidc-bff`
//!
//! Without a provider, use the one of this project's tests, whose tokens live for ten seconds:
//!
//! ```sh
//! (cd tests/idp && npm ci && ACCESS_TTL=10 node server.mjs) &
//! SECRET=$(openssl rand -hex 32) ISSUER=http://127.0.0.1:4000 CLIENT_ID=spa cargo run -p oidc-bff
//! ```

mod sign_in;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header::SET_COOKIE};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use everfresh::dialect::ClientAuthentication;
use everfresh::{Engine, Keys, MemoryStore, SessionError, SignIn, TrustedIssuer};
use everfresh_axum::{Claims, Session};
use everfresh_upstream::{HttpClient, Provider, Upstream};
use serde::{Deserialize, Serialize};

use sign_in::{Answer, Http, Pending, RelyingParty, SignInError};

/// The claims of each everfresh token about a user. Your app defines them.
#[derive(Serialize, Deserialize)]
struct User {
    name: String,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let set = |name: &str| std::env::var(name).map_err(|_| format!("set {name}"));
    let (issuer, id) = (set("ISSUER")?, set("CLIENT_ID")?);
    let secret = std::env::var("CLIENT_SECRET").ok();
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let address = format!("http://{}", listener.local_addr()?);

    let http = HttpClient::new()?;
    let provider = Provider::discover(&http, &issuer).await?;
    let me = match secret.clone() {
        Some(secret) => ClientAuthentication::Basic { id: id.clone(), secret: secret.into() },
        None => ClientAuthentication::None { id: id.clone() },
    };
    let keys = provider.jwks()?.fetch(&http).await?.keys();
    let mut upstream = Upstream::oauth2(&http, provider.token_endpoint()?.clone())
        .client(me)
        .id_tokens_by(TrustedIssuer::new(keys, issuer.clone(), id.clone()));
    if let Some(url) = provider.revocation_endpoint() {
        upstream = upstream.revoke_at(url.clone());
    }
    let auth = Engine::<User>::builder(Keys::hs256(set("SECRET")?)?)
        .issuer(&*address)
        .audience("oidc-bff")
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .refresh_with(upstream.kept_in(MemoryStore::new()))
        .build()?;

    let relying = RelyingParty {
        http: Http(http),
        issuer,
        id,
        secret,
        callback: format!("{address}/callback"),
    };
    let app = Router::new()
        .route("/", get(home))
        .route("/login", get(login))
        .route("/callback", get(callback))
        .route("/profile", get(profile))
        .route("/logout", post(logout))
        .with_state(relying)
        .layer(auth.layer());
    println!("listening on {address}");
    axum::serve(listener, app).await?;
    auth.shutdown().await;
    Ok(())
}

async fn home(user: Option<Claims<User>>) -> Html<String> {
    let Some(Claims(user)) = user else {
        return Html("<p>Hello, stranger. <a href=/login>Sign in</a>".into());
    };
    let name = user.name.replace('&', "&amp;").replace('<', "&lt;");
    Html(format!(
        "<p>Hello, {name}. <a href=/profile>What the provider says of you</a>\
         <form method=post action=/logout><button>Sign out</button></form>"
    ))
}

/// Redirects the browser to the provider.
async fn login(State(relying): State<RelyingParty>) -> Result<Response, Failed> {
    let (url, pending) = relying.begin().await?;
    Ok(([(SET_COOKIE, pending.cookie())], Redirect::to(url.as_str())).into_response())
}

/// Handles the redirect from the provider.
async fn callback(
    State(relying): State<RelyingParty>,
    session: Session<User>,
    headers: HeaderMap,
    Query(answer): Query<Answer>,
) -> Result<Response, Failed> {
    let pending = Pending::of(&headers).ok_or(SignInError::NotBegun)?;
    let (person, issued) = relying.finish(pending, answer).await?;
    let user = User { name: person.name };
    session.sign_in_with(SignIn::new(person.subject, user).backed_by(issued)).await?;
    Ok(([(SET_COOKIE, Pending::removal())], Redirect::to("/")).into_response())
}

/// Calls the provider on the user's behalf, with the provider's access token.
async fn profile(
    State(relying): State<RelyingParty>,
    _: Claims<User>,
    session: Session<User>,
) -> Result<String, Failed> {
    let token = session.upstream_access_token().await?;
    Ok(relying.user_info(&token).await?)
}

/// Signs out. The provider's tokens are revoked as well.
async fn logout(session: Session<User>) -> Result<Redirect, Failed> {
    session.sign_out().await?;
    Ok(Redirect::to("/"))
}

/// The response that a user sees after any failure.
struct Failed(Response);

impl From<SessionError> for Failed {
    fn from(error: SessionError) -> Self {
        Self(everfresh_axum::Error::from(error).into_response())
    }
}

impl From<SignInError> for Failed {
    fn from(error: SignInError) -> Self {
        eprintln!("sign-in: {error}");
        let status = match error {
            SignInError::Provider(_) => StatusCode::BAD_GATEWAY,
            SignInError::NotBegun | SignInError::Refused(_) => StatusCode::BAD_REQUEST,
        };
        Self((status, Html("<p>That did not work. <a href=/login>Try again</a>")).into_response())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.0
    }
}
