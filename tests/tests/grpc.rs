//! gRPC: the Tower layer around a tonic service, with the tokens in metadata.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::net::SocketAddr;
use std::time::Duration;

use everfresh::adapter::Progress;
use everfresh::{Engine, Keys, ManualClock, Reissue, Session, SessionStatus, Timestamp, Transport};
use everfresh_testkit::contract::User;
use tokio::net::TcpListener;
use tonic::metadata::MetadataValue;
use tonic::service::InterceptorLayer;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

fn engine(clock: &ManualClock) -> Engine<User> {
    Engine::builder(Keys::hs256("o4ATj9fibxU9TCgPurGrjRk6RGBgu53zA").unwrap())
        .issuer("https://everfresh.test")
        .audience("grpc")
        .transports([Transport::headers()])
        .clock(clock.clone())
        .refresh_with(Reissue::new())
        .build()
        .unwrap()
}

/// Only requests of signed-in users reach the service.
fn members_only(request: Request<()>) -> Result<Request<()>, Status> {
    let session = request.extensions().get::<Session<User>>();
    match session.map(Session::status) {
        Some(SessionStatus::Present) => Ok(request),
        Some(SessionStatus::Unavailable { .. }) => Err(Status::unavailable("try again")),
        _ => Err(Status::unauthenticated("sign in first")),
    }
}

async fn serve(auth: &Engine<User>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let service = Server::builder()
        .layer(auth.layer())
        .layer(InterceptorLayer::new(members_only))
        .add_service(health);
    tokio::spawn(service.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

async fn sign_in(auth: &Engine<User>) -> String {
    let Progress::Pass(session) = auth.begin(&http::Request::new(())) else { panic!("no wait") };
    session.sign_in("alice", User { name: "alice".into() }).await.unwrap();
    let in_flight = auth.attach(session, &mut http::Request::new(()));
    let response = in_flight.finish(http::Response::new(())).await;
    response.headers()["authorization"].to_str().unwrap().to_owned()
}

async fn check(
    client: &mut HealthClient<Channel>,
    authorization: Option<&str>,
) -> Result<Response<HealthCheckResponse>, Status> {
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    if let Some(token) = authorization {
        let value = MetadataValue::try_from(token).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    client.check(request).await
}

#[tokio::test]
async fn a_grpc_call_is_refreshed_by_its_metadata() {
    let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
    let auth = engine(&clock);
    let address = serve(&auth).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());

    let stranger = check(&mut client, None).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);
    let forged = check(&mut client, Some("Bearer a.b.c")).await.unwrap_err();
    assert_eq!(forged.code(), Code::Unauthenticated);

    let mut token = sign_in(&auth).await;
    let fresh = check(&mut client, Some(&token)).await.unwrap();
    assert!(fresh.metadata().get("authorization").is_none(), "nothing while nothing changes");
    for _ in 0..3 {
        clock.advance(Duration::from_secs(900));
        let refreshed = check(&mut client, Some(&token)).await.unwrap();
        let new = refreshed.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        assert!(new.starts_with("Bearer ") && new != token);
        token = new;
    }
}
