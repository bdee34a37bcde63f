//! A plain hyper service, with the layer around it.
//!
//! ```sh
//! SECRET=$(openssl rand -hex 32) cargo run -p tower-stack &      # PORT=.. for another port
//! curl -i http://127.0.0.1:3000/                                 # 401
//! curl -i -c jar -X POST http://127.0.0.1:3000/login             # 200 `signed in, visit 1`
//! curl -i -b jar -c jar http://127.0.0.1:3000/                   # 200 `signed in, visit 1`
//! curl -i -b jar -c jar -X POST http://127.0.0.1:3000/logout     # 401: no longer signed in
//! ```

use std::convert::Infallible;
use std::time::Duration;

use everfresh::{Engine, Keys, Reissue, Session};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tower::{ServiceBuilder, service_fn};

#[derive(Serialize, Deserialize)]
struct User {
    visits: u32,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("SECRET").map_err(|_| "set SECRET to at least 32 random bytes")?;
    let auth = Engine::<User>::builder(Keys::hs256(secret)?)
        .issuer("https://app.example")
        .audience("app")
        .access_lifetime(Duration::from_secs(60))
        .insecure_dev_only() // plain http:// on this machine; leave it out behind https://
        .refresh_with(Reissue::new())
        .build()?;

    // Limits go outside, so that they are not held while a request waits for a refresh.
    let service = ServiceBuilder::new()
        .concurrency_limit(1024)
        .layer(auth.layer())
        .service(service_fn(hello));

    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let session: Session<User> = match request.extensions().get() {
        Some(session) => Session::clone(session),
        None => return Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "no layer around this service")),
    };
    let signed_in = match (request.method(), request.uri().path()) {
        (&Method::POST, "/login") => session.sign_in("guest", User { visits: 1 }).await,
        (&Method::POST, "/logout") => session.sign_out().await,
        _ => Ok(()),
    };
    if let Err(error) = signed_in {
        return Ok(everfresh::Rejection::from(error).into_response());
    }
    Ok(match session.claims() {
        Ok(user) => text(StatusCode::OK, format!("signed in, visit {}\n", user.visits)),
        Err(rejection) => rejection.into_response(),
    })
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
