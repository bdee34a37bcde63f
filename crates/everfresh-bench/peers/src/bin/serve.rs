//! One server for `sockets`: `serve FRAMEWORK SUBJECT ALGORITHM [SESSIONS]`, on one thread. Prints
//! its port, then the cookies of each session, one per line, then an empty line.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use actix_web::web as actix;
use axum::Router;
use axum::routing::get;
use everfresh::{Transport, Engine, MemoryStore, Reissue, Rotate, Session};
use everfresh_peers::{Alg, Material, NAME, User};
use http::header::SET_COOKIE;
use http::{Request, Response};
use tower::{Layer as _, ServiceExt as _, service_fn};
use warp::Filter as _;

/// In seconds, for tokens whose expiry the test waits for.
const SHORT: u64 = 4;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (framework, subject, algorithm, sessions) = match words[..] {
        [framework, subject, algorithm] => (framework, subject, algorithm, None),
        [framework, subject, algorithm, sessions] => {
            (framework, subject, algorithm, Some(sessions.parse().expect("a number")))
        }
        _ => panic!("serve FRAMEWORK SUBJECT ALGORITHM [SESSIONS]"),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("a listener for tokio");
    println!("{}", listener.local_addr().expect("an address").port());
    let alg = Alg::ALL.into_iter().find(|alg| alg.name() == algorithm);
    let bare = subject == "bare";
    let serve = async move {
        let auth = engine(alg.unwrap_or(Alg::HS256), subject, sessions.is_some());
        for _ in 0..sessions.unwrap_or(1) {
            println!("{}", cookies(&auth).await);
        }
        println!();
        match framework {
            "axum" => serve_axum(listener, auth, bare).await,
            "actix" => serve_actix(listener, auth, bare).await,
            "warp" => serve_warp(listener, auth, bare).await,
            other => panic!("no framework is called {other}"),
        }
    };
    match framework {
        "actix" => actix_web::rt::System::new().block_on(serve),
        _ => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(serve),
    }
}

fn engine(alg: Alg, subject: &str, rotates: bool) -> Engine<User> {
    let builder = Engine::builder(Material::new(alg).keys())
        .issuer("https://app.example")
        .audience("app")
        .transports([Transport::cookies(), Transport::headers()])
        .insecure_dev_only()
        .token_cache(if subject == "uncached" { 0 } else { 10_000 });
    let builder = match rotates {
        true => {
            let rotate = Rotate::new(MemoryStore::new());
            builder.refresh_with(rotate).access_lifetime(Duration::from_secs(SHORT))
        }
        false => builder.refresh_with(Reissue::new()),
    };
    builder.build().expect("a good configuration")
}

/// Signs a user in.
async fn cookies(auth: &Engine<User>) -> String {
    let service = auth.layer().layer(service_fn(|request: Request<()>| async move {
        let session = request.extensions().get::<Session<User>>().expect("in a layer").clone();
        session.sign_in("user-4711", User { name: NAME.into() }).await.expect("signed in");
        Ok::<_, std::convert::Infallible>(Response::new(()))
    }));
    let response = service.oneshot(Request::new(())).await.expect("infallible");
    let set = response.headers().get_all(SET_COOKIE).iter();
    let pairs = set.map(|value| value.to_str().expect("text").split(';').next().expect("a pair"));
    pairs.collect::<Vec<_>>().join("; ")
}

async fn serve_axum(listener: TcpListener, auth: Engine<User>, bare: bool) {
    let app = match bare {
        true => Router::new().route("/", get(|| async { "ok" })),
        false => Router::new()
            .route("/", get(|_: everfresh_axum::Claims<User>| async { "ok" }))
            .layer(auth.layer()),
    };
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    axum::serve(listener, app).await.expect("served");
}

async fn serve_actix(listener: TcpListener, auth: Engine<User>, bare: bool) {
    use actix_web::{App, HttpServer};
    match bare {
        true => {
            let app = || App::new().route("/", actix::get().to(|| async { "ok" }));
            HttpServer::new(app).workers(1).listen(listener).expect("a server").run().await
        }
        false => {
            let handler = |_: everfresh_actix::Claims<User>| async { "ok" };
            let app = move || {
                App::new()
                    .wrap(everfresh_actix::Refresh::new(auth.clone()))
                    .route("/", actix::get().to(handler))
            };
            HttpServer::new(app).workers(1).listen(listener).expect("a server").run().await
        }
    }
    .expect("served");
}

async fn serve_warp(listener: TcpListener, auth: Engine<User>, bare: bool) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    match bare {
        true => {
            let routes = warp::path::end().map(|| "ok");
            warp::serve(routes).incoming(listener).run().await;
        }
        false => {
            let routes = warp::path::end()
                .and(everfresh_warp::claims::<User>())
                .map(|_: everfresh_warp::Claims<User>| "ok");
            everfresh_warp::serve(routes, auth).incoming(listener).run().await;
        }
    }
}
