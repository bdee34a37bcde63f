//! The same tests over sockets, with a network that fails on command.

use std::net::SocketAddr;

use everfresh_testkit::fault::{Fault, FaultProxy};
use everfresh_upstream::{HttpClient, Replay, Upstream};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;

use crate::fixture::*;
use crate::provider::Provider;

/// Puts a provider behind a socket.
async fn listen(provider: Provider) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let provider = provider.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let provider = provider.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    provider.call(Request::from_parts(head, Full::new(body))).await
                }
            });
            tokio::spawn(async move {
                let http = Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn fixture_at(url_text: String, provider: Provider, replay: Replay) -> Fixture {
    let upstream = move || {
        let http = HttpClient::new().unwrap();
        Upstream::oauth2(&http, url(&url_text)).client(public_client()).replay(replay)
    };
    Fixture::over(provider, 1, upstream, |builder| builder)
}

// Rows: S57, F77.
#[tokio::test]
async fn no_failure_of_the_connection_sends_a_token_twice() {
    // Whether the proxy gets the whole request, so that it may have arrived.
    for (fault, status, next, taken) in [
        (Fault::Pass, 200, 200, 1),
        (Fault::CutBefore, 401, 401, 0),
        (Fault::ResetBefore, 401, 401, 0),
        (Fault::CutAfter, 401, 401, 1),
        (Fault::ResetAfter, 401, 401, 1),
        (Fault::CutMidway, 401, 401, 1),
        (Fault::Garble, 401, 401, 1),
        (Fault::unavailable(7), 503, 200, 1),
    ] {
        let provider = Provider::new();
        let proxy = FaultProxy::start(listen(provider.clone()).await).await;
        let url = format!("http://{}/token", proxy.address());
        let fixture = fixture_at(url, provider.clone(), Replay::Never);
        let mut client = fixture.expired("ada").await;
        proxy.next(fault.clone());
        let answer = fixture.get(&mut client).await;
        assert_eq!(answer.status, status, "{fault:?}");
        assert_eq!(answer.set.is_empty(), status != 200, "{fault:?}");
        fixture.pass(61);
        assert_eq!(fixture.get(&mut client).await.status, next, "{fault:?}");
        assert_eq!((provider.calls(), provider.reuses()), (taken, 0), "{fault:?}");
    }
}

// Rows: S57.
#[tokio::test]
async fn a_token_that_may_be_sent_again_is_sent_once_more() {
    for fault in [Fault::CutBefore, Fault::ResetAfter, Fault::CutMidway, Fault::Garble] {
        let provider = Provider::new();
        provider.keeps_tokens();
        let proxy = FaultProxy::start(listen(provider.clone()).await).await;
        let url = format!("http://{}/token", proxy.address());
        let fixture = fixture_at(url, provider.clone(), Replay::Within(secs(40)));
        let mut client = fixture.expired("ada").await;
        proxy.next(fault.clone());
        assert_eq!(fixture.get(&mut client).await.status, 200, "{fault:?}");
        assert_eq!(proxy.counts().requests, 2, "{fault:?}");
    }
}

// Rows: F70.
#[tokio::test]
async fn an_unreachable_or_untrusted_server_costs_no_reservation() {
    let provider = Provider::new();
    let plain = listen(provider.clone()).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    // A closed port, and a server without TLS.
    for url in
        [format!("http://{closed}/token"), format!("https://localhost:{}/token", plain.port())]
    {
        let fixture = fixture_at(url.clone(), provider.clone(), Replay::Never);
        let mut client = fixture.expired("ada").await;
        let answer = fixture.get(&mut client).await;
        assert!(answer.status == 503 && answer.left_cookies_alone(), "{url}");
        assert_eq!(fixture.upstream(&client).await, (0, 0), "{url}");
        assert_eq!((provider.calls(), fixture.store.count("claim")), (0, 0), "{url}");
    }
}
