//! The client against servers and networks that fail: rows S37 and S64 of `tests/COVERAGE.md`, F77.

#![cfg(feature = "client")]

mod answers;
mod certificates;
mod http2;
mod proxies;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use everfresh_testkit::fault::{Fault, FaultProxy};
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;
use crate::testing::{Certificate, Server, full};

const SECRET: &str = "one-time-token-one-time-token";

fn client() -> HttpClient {
    HttpClient::new().unwrap()
}

/// Echoes the request.
async fn echo() -> Server {
    Server::new(|request| {
        let fields = format!("{:?}", request.headers());
        let body = request.into_body();
        Response::builder().header("x-fields", fields).body(full(body)).unwrap()
    })
    .await
}

fn url(address: std::net::SocketAddr) -> SecureUrl {
    format!("http://{address}/token").parse().unwrap()
}

fn call<'c>(client: &'c HttpClient, url: &SecureUrl) -> Call<'c> {
    client.post(url).form([("grant_type", "refresh_token"), ("refresh_token", SECRET)])
}

async fn refresh(client: &HttpClient, url: &SecureUrl) -> Result<Answer, HttpError> {
    call(client, url).send().await
}

#[tokio::test]
async fn a_form_and_json_arrive_as_they_should() {
    let server = echo().await;
    let client = client();
    let form = [("a", "1 2&3=ü"), ("b", "")];
    let answer = client.post(&server.url("/x?y=z")).form(form).send().await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(&answer.body[..], b"a=1+2%263%3D%C3%BC&b=");
    let fields = answer.headers["x-fields"].to_str().unwrap();
    assert!(fields.contains("application/x-www-form-urlencoded"), "{fields}");
    assert!(fields.contains("\"content-length\": \"21\""), "{fields}");
    assert!(fields.contains("\"user-agent\": \"everfresh/"), "{fields}");
    let json = serde_json::json!({"refresh_token": SECRET});
    let answer = client
        .post(&server.url("/x"))
        .json(&json)
        .header(AUTHORIZATION, HeaderValue::from_static("Basic eDp5"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<serde_json::Value>().unwrap(), json);
    let fields = answer.headers["x-fields"].to_str().unwrap();
    assert!(fields.contains("\"application/json\"") && fields.contains("Basic eDp5"), "{fields}");
    let answer = client.get(&server.url("/x")).send().await.unwrap();
    assert!(answer.body.is_empty());
}

// Rows: F77, S64.
#[tokio::test]
async fn a_failed_request_is_sent_at_most_once_and_its_error_states_whether() {
    let server = echo().await;
    let proxy = FaultProxy::start(server.address).await;
    let url = url(proxy.address());
    let lost = |error: &HttpError| matches!(error, HttpError::Lost { .. });
    let mut served = 0;
    let client = client();
    for (fault, arrives, expected) in [
        (Fault::CutBefore, 0, &lost as &dyn Fn(&HttpError) -> bool),
        (Fault::ResetBefore, 0, &lost),
        (Fault::CutAfter, 1, &lost),
        (Fault::ResetAfter, 1, &lost),
        (Fault::Garble, 1, &|error| matches!(error, HttpError::Garbled { .. })),
        (
            Fault::CutMidway,
            1,
            &|error| matches!(error, HttpError::Cut { status } if *status == 200),
        ),
        (Fault::Swallow, 1, &|error| matches!(error, HttpError::Timeout { .. })),
        (Fault::Drip(Duration::from_millis(50)), 1, &|error| {
            matches!(error, HttpError::Timeout { .. })
        }),
    ] {
        let before = proxy.counts().requests;
        proxy.next(fault.clone());
        // The client must give up responses that never end. The others end by themselves.
        let secs = if matches!(fault, Fault::Swallow | Fault::Drip(_)) { 1 } else { 60 };
        let call = call(&client, &url).limit(Duration::from_secs(secs));
        let error = call.send().await.unwrap_err();
        assert!(expected(&error), "{fault:?}: {error:?}");
        assert!(!error.certainly_unsent(), "{fault:?}");
        assert!(!format!("{error} {error:?}").contains("one-time"), "{error}");
        served += arrives;
        assert_eq!(proxy.counts().requests, before + 1, "{fault:?}: sent once");
        assert_eq!(server.requests(), served, "{fault:?}");
        // The next request is not affected.
        assert_eq!(refresh(&client, &url).await.unwrap().status, StatusCode::OK);
        served += 1;
    }
}

#[tokio::test]
async fn a_complete_error_is_an_answer() {
    let server = echo().await;
    let proxy = FaultProxy::start(server.address).await;
    proxy.next(Fault::unavailable(7));
    let answer = refresh(&client(), &url(proxy.address())).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers[RETRY_AFTER], "7");
    assert_eq!(proxy.counts().requests, 1);
}

/// An address where no server listens.
async fn no_server() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_request_that_could_not_connect_was_not_sent() {
    let refused = refresh(&client(), &url(no_server().await)).await.unwrap_err();
    assert!(matches!(&refused, HttpError::Connect { .. }), "{refused:?}");
    assert!(refused.certainly_unsent() && refused.to_string().contains("refused"), "{refused}");

    // A server that accepts connections and sends nothing, so TLS gets no answer.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limit = Duration::from_millis(50);
    let client = HttpClient::builder().connect_limit(limit).build().unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let late = refresh(&client, &url).await.unwrap_err();
    assert_eq!(late, HttpError::ConnectTimeout { limit });
    assert!(late.certainly_unsent());
    // This also ends within the call's time limit.
    let limit = Duration::from_millis(50);
    let late = self::client().post(&url).form([("a", SECRET)]).limit(limit).send().await;
    let late = late.unwrap_err();
    assert!(matches!(&late, HttpError::Unsent { .. }) && late.certainly_unsent(), "{late:?}");
}

// Rows: S37, S64.
#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = echo().await;
    for status in [301, 302, 303, 307, 308] {
        let there = elsewhere.url("/stolen").to_string();
        let server = Server::new(move |_| {
            let response = Response::builder().status(status).header(LOCATION, &there);
            response.body(full("")).unwrap()
        })
        .await;
        let answer = refresh(&client(), &server.url("/token")).await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(server.requests(), 1);
        let answer = client().get(&server.url("/jwks")).send().await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
    }
    assert_eq!(elsewhere.connections(), 0);
}

// Rows: S37.
#[tokio::test]
async fn an_answer_is_read_up_to_its_size_limit() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let server = Server::new(move |request| {
        let counted = counted.clone();
        match request.uri().path() {
            // A gigabyte, without a length in the head.
            "/endless" => {
                let chunks = futures::stream::iter(0..16 * 1024).map(move |_| {
                    counted.fetch_add(64 * 1024, Ordering::SeqCst);
                    Ok(Frame::data(Bytes::from(vec![b'x'; 64 * 1024])))
                });
                Response::new(StreamBody::new(chunks).boxed_unsync())
            }
            "/more" => Response::new(full(vec![b'x'; MAX_ANSWER + 1])),
            _ => Response::new(full(vec![b'x'; MAX_ANSWER])),
        }
    })
    .await;
    let client = client();
    let whole = client.get(&server.url("/whole")).send().await.unwrap();
    assert_eq!(whole.body.len(), MAX_ANSWER);
    let too_large = |limit| HttpError::TooLarge { status: StatusCode::OK, limit };
    for path in ["/more", "/endless"] {
        let error = client.get(&server.url(path)).send().await.unwrap_err();
        assert_eq!(error, too_large(MAX_ANSWER), "{path}");
        assert!(!error.certainly_unsent());
    }
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes of a gigabyte are not read");
    let error = client.get(&server.url("/whole")).at_most(10).send().await.unwrap_err();
    assert_eq!(error, too_large(10));
}

// Rows: S37.
#[tokio::test]
async fn no_cookie_is_kept() {
    let server = Server::new(|request| {
        assert!(!request.headers().contains_key(COOKIE));
        Response::builder().header(SET_COOKIE, "a=b").body(full("")).unwrap()
    })
    .await;
    let client = client();
    for _ in 0..2 {
        assert_eq!(client.get(&server.url("/")).send().await.unwrap().status, StatusCode::OK);
    }
}

// Rows: F77.
#[tokio::test]
async fn each_request_has_a_connection_of_its_own() {
    let certificate = Certificate::of("127.0.0.1");
    let handler = |request: Request<Bytes>| Response::new(full(request.into_body()));
    let client = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
    let client = client.build().unwrap();
    for server in [Server::new(handler).await, Server::secure(&certificate, handler).await] {
        for _ in 0..3 {
            refresh(&client, &server.url("/token")).await.unwrap();
        }
        assert_eq!((server.connections(), server.requests()), (3, 3));
    }
}

#[tokio::test]
async fn permission_is_polled_once_connected_and_nothing_is_written_before() {
    let certificate = Certificate::of("127.0.0.1");
    let handler = |request: Request<Bytes>| Response::new(full(request.into_body()));
    let secure = Server::secure(&certificate, handler).await;
    let plain = Server::new(handler).await;
    let proxy = FaultProxy::start(plain.address).await;
    let client = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
    let client = client.build().unwrap();
    let mut served = [0, 0];
    for (n, url) in [(0, secure.url("/token")), (1, url(proxy.address()))] {
        let count = |n: usize| [secure.requests(), plain.requests()][n];
        for allowed in [false, true] {
            let (asked, asking) = oneshot::channel();
            let (answer, answered) = oneshot::channel();
            let permission = async move {
                asked.send(()).unwrap();
                answered.await.unwrap()
            };
            let call = client.post(&url).form([("t", SECRET)]).after(permission);
            let call = call.send();
            let mut call = std::pin::pin!(call);
            tokio::select! {
                biased;
                early = &mut call => panic!("{early:?}"),
                asked = asking => asked.unwrap(),
            }
            let connections = || [secure.connections(), proxy.counts().connections][n];
            while connections() == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!((count(n), proxy.counts().requests), (served[n], served[1]));
            answer.send(allowed).unwrap();
            match (allowed, call.await) {
                (true, Ok(answer)) => assert_eq!(answer.status, StatusCode::OK),
                (false, Err(error)) => {
                    assert_eq!(error, HttpError::Withheld);
                    assert!(error.certainly_unsent());
                }
                (_, other) => panic!("{other:?}"),
            }
            served[n] += usize::from(allowed);
            assert_eq!((count(n), proxy.counts().requests), (served[n], served[1]));
        }
    }
    // If no server listens, the permission is not requested.
    let nowhere = url(no_server().await);
    let call = client.post(&nowhere).form([("t", SECRET)]).after(async { panic!("asked") });
    assert!(call.send().await.unwrap_err().certainly_unsent());
    // Without a body, and over a custom service.
    let refused = client.get(&secure.url("/")).after(async { false }).send().await;
    assert_eq!(refused, Err(HttpError::Withheld));
    let given = crate::testing::over(|_| Response::new(full("")));
    assert!(given.post(&url(plain.address)).after(async { true }).send().await.is_ok());
    let refused = given.post(&url(plain.address)).after(async { false }).send().await;
    assert_eq!(refused, Err(HttpError::Withheld));
    // The permission must arrive in time.
    let limit = Duration::from_millis(100);
    let call = client.post(&secure.url("/")).form([("t", SECRET)]).limit(limit);
    let late = call.after(std::future::pending()).send().await.unwrap_err();
    assert!(late.certainly_unsent(), "{late:?}");
}

// Rows: F77.
#[tokio::test]
async fn a_request_to_a_server_that_has_closed_the_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = url(listener.local_addr().unwrap());
    let (client, (close, closing)) = (client(), oneshot::channel::<()>());
    let server = async {
        let connection = listener.accept().await.unwrap();
        closing.await.unwrap();
        drop(connection);
    };
    let permission = async {
        close.send(()).unwrap();
        // The client learns of it when the runtime next looks for events.
        tokio::time::sleep(Duration::from_millis(50)).await;
        true
    };
    let (answer, ()) = tokio::join!(call(&client, &url).after(permission).send(), server);
    let error = answer.unwrap_err();
    assert!(matches!(&error, HttpError::Unsent { .. }) && error.certainly_unsent(), "{error:?}");
}

#[derive(Clone)]
struct Failing {
    ready: bool,
    error: fn() -> BoxError,
}

impl Service<Request<Full<Bytes>>> for Failing {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        let error = || Err((self.error)());
        std::task::Poll::Ready(if self.ready { Ok(()) } else { error() })
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        std::future::ready(Err((self.error)()))
    }
}

#[tokio::test]
async fn an_apps_service_counts_as_having_sent_unless_its_error_denies_it() {
    let here: SecureUrl = "https://id.example/token".parse().unwrap();
    let fails = async |ready, error| {
        let client = HttpClient::over(Failing { ready, error });
        refresh(&client, &here).await.unwrap_err()
    };
    let plain: fn() -> BoxError = || "a proxy said no".into();
    let lost = fails(true, plain).await;
    assert_eq!(lost, HttpError::Lost { cause: "a proxy said no".into() });
    let unready = fails(false, plain).await;
    assert_eq!(unready, HttpError::Unsent { cause: "a proxy said no".into() });
    let own: fn() -> BoxError = || {
        let known = HttpError::Connect { cause: "no route".into() };
        io::Error::other(io::Error::other(known)).into()
    };
    assert_eq!(fails(true, own).await, HttpError::Connect { cause: "no route".into() });
    let endless: fn() -> BoxError = || "x".repeat(100_000).into();
    assert!(fails(true, endless).await.to_string().len() < 300);
}

// Rows: S64.
#[tokio::test]
async fn no_request_or_answer_body_is_shown_by_debug() {
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl<'w> MakeWriter<'w> for Log {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .finish();
    // A callsite that another thread reaches first is disabled for all threads, unless that thread
    // has a subscriber too.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log works");

    let certificate = Certificate::of("127.0.0.1");
    let handler = |request: Request<Bytes>| {
        let answer = Response::builder().header(SET_COOKIE, format!("t={SECRET}"));
        answer.body(full(request.into_body())).unwrap()
    };
    let secure = Server::secure(&certificate, handler).await;
    let plain = Server::new(handler).await;
    let proxy = FaultProxy::start(plain.address).await;
    let client = HttpClient::builder().trust_pem(certificate.pem.as_bytes()).unwrap();
    let client = client.build().unwrap();
    let mut shown = String::new();
    for fault in [Fault::Pass, Fault::CutAfter, Fault::Garble, Fault::CutMidway] {
        proxy.next(fault);
        for url in [secure.url("/token"), url(proxy.address())] {
            let bearer = HeaderValue::from_str(&format!("Bearer {SECRET}")).unwrap();
            let call = client.post(&url).form([("t", SECRET)]).header(AUTHORIZATION, bearer);
            shown += &format!("{call:?} {client:?} ");
            shown += &format!("{:?}", call.send().await);
        }
    }
    shown += &String::from_utf8_lossy(&log.0.lock().unwrap());
    assert!(shown.contains("the log works") && shown.contains("Answer"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn a_query_is_added_to_the_address_and_not_shown() {
    let client = client();
    let with = |query: &str| {
        let mut request = Request::new(Vec::new());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("/?{query}").parse().unwrap();
        request
    };
    let address: SecureUrl = "https://id.example/token?v=2".parse().unwrap();
    let call = client.post(&address).like(with(&format!("key={SECRET}")));
    assert!(!format!("{call:?}").contains(SECRET), "{call:?}");
    assert_eq!(call.request.uri().query(), Some(&*format!("v=2&key={SECRET}")));
    let long: SecureUrl = format!("https://id.example/{}", "p".repeat(2_000)).parse().unwrap();
    let call = client.post(&long).like(with(&"q".repeat(64_000)));
    assert!(
        matches!(call.send().await, Err(HttpError::Unsent { .. })),
        "nothing is sent without it"
    );
}
