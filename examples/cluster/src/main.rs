//! Three nodes with one store, behind a round-robin: concurrent requests share one refresh, and a
//! sign-out on one node takes effect on all of them.
//!
//! Run with: `cargo run -p cluster`, or with your own store:
//! `cargo run -p cluster -- redis://127.0.0.1:6379`

mod front;
mod node;

use std::net::Ipv4Addr;

use everfresh::Rotate;
use everfresh_redis::RedisStore;
use everfresh_sqlx::{PostgresStore, SqliteStore};
use tokio::net::TcpListener;

use front::Front;
use node::Node;

const NODES: usize = 3;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "says where to go")]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let own = format!("sqlite:{}", folder.path().join("sessions.db").display());
    let named = std::env::args().nth(1).or_else(|| std::env::var("STORE").ok());
    let store = named.unwrap_or(own);
    // All nodes share this secret and the store. A real cluster gets the secret from its
    // environment.
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;

    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Node::start(&secret, rotation(&store).await?).await?);
    }
    let front = Front::new(nodes, store.split(':').next().unwrap_or_default());
    let listener = listen().await?;
    println!("everfresh cluster: open http://{} (Ctrl-C stops it)", listener.local_addr()?);
    axum::serve(listener, front.app()).with_graceful_shutdown(ctrl_c()).await?;
    Ok(())
}

/// Opens the store. Each node opens it separately, as if it ran on a separate machine.
async fn rotation(store: &str) -> Outcome<Rotate> {
    Ok(match store.split_once(':') {
        Some(("sqlite", path)) => Rotate::new(SqliteStore::open(path).await?),
        Some(("redis" | "rediss", _)) => Rotate::new(RedisStore::open(store).await?),
        Some(("postgres", _)) => Rotate::new(PostgresStore::open(store).await?),
        _ => {
            // The rest of the address may hold a password.
            let found = store.split("//").next().unwrap_or_default();
            let allowed = "sqlite:PATH, redis://HOST or postgres://HOST";
            return Err(format!("STORE={found:?}: allowed is {allowed}").into());
        }
    })
}

/// Listens on `PORT`, or on 3000, or on any free port.
async fn listen() -> Outcome<TcpListener> {
    if let Ok(port) = std::env::var("PORT") {
        let port: u16 = port.parse().map_err(|_| format!("PORT={port:?}: want 0 to 65535"))?;
        return Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?);
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
    }
}

async fn ctrl_c() {
    let _ = tokio::signal::ctrl_c().await;
}
