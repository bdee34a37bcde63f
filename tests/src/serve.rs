//! Listens on loopback only, prints the address, and stops on SIGTERM and SIGINT.

use std::net::Ipv4Addr;
use std::pin::Pin;

use everfresh::Engine;
use everfresh_testkit::contract::User;
use tokio::net::TcpListener;

use crate::settings::{Settings, exit};

/// The future that ends a server.
type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A whole contract server: settings from the environment, an engine, a socket.
pub async fn run<Fut: Future<Output = std::io::Result<()>>>(
    serve: impl FnOnce(TcpListener, Engine<User>, Stop) -> Fut,
) {
    let settings = Settings::from_env_or_exit();
    crate::recorder();
    crate::count_tasks();
    let auth = settings.engine().await.unwrap_or_else(|problem| exit(&problem));
    let listener = listen(settings.port).await;
    if let Err(error) = serve(listener, auth, Box::pin(stop())).await {
        exit(&format!("the server ended: {error}"));
    }
}

/// Binds to 127.0.0.1 and prints the address.
async fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.unwrap_or_else(|error| {
        exit(&format!(
            "PORT={port}: can't listen on 127.0.0.1:{port}: {error}; give another one, or 0 for any"
        ))
    });
    match listener.local_addr() {
        Ok(address) => announce(&format!("listening on http://{address}")),
        Err(error) => exit(&format!("PORT={port}: {error}")),
    }
    listener
}

#[expect(clippy::print_stdout, reason = "the line that the parent process waits for")]
fn announce(line: &str) {
    println!("{line}");
}

/// Ends when the process is asked to stop.
async fn stop() {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => exit(&format!("can't listen for SIGTERM: {error}")),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
