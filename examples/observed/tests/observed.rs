//! The example as an operator runs it: a process, a browser, a collector.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use everfresh::metrics::METRICS;
use everfresh::{ManualClock, Timestamp};
use everfresh_testkit::Browser;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderValue, Method};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A collector of traces.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn listen() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// The running example.
struct Observed {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    browser: Browser,
    /// The output so far.
    written: String,
    /// Every token that it issued.
    tokens: BTreeSet<String>,
}

impl Observed {
    async fn start(collector: Option<SocketAddr>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_observed"));
        command.env("PORT", "0").env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        if let Some(address) = collector {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut written = String::new();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("it listens");
            written += &format!("{line}\n");
            if let Some(address) = line.strip_prefix("listening on http://") {
                break address.parse().unwrap();
            }
        };
        let clock = ManualClock::starting_at(Timestamp::from_secs(1_800_000_000));
        let browser = Browser::new(address, clock);
        Self { child, lines, browser, written, tokens: BTreeSet::new() }
    }

    /// Sends a request with the jar's cookies, or with this one alone. Returns status and body.
    async fn send(&mut self, method: Method, path: &str, only: Option<&str>) -> (u16, String) {
        let form = (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = if path == "/login" { Bytes::from("name=Ada") } else { Bytes::new() };
        let mut request = self.browser.request(method, path, &[form], body);
        if let Some(cookie) = only {
            request.headers_mut().insert(COOKIE, cookie.parse().unwrap());
        }
        let answer = self.browser.send(request).await;
        for cookie in answer.headers.get_all(SET_COOKIE) {
            let (_, value) = cookie.to_str().unwrap().split_once('=').unwrap();
            self.tokens.insert(value.split(';').next().unwrap().to_owned());
        }
        (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
    }

    async fn metrics(&mut self) -> String {
        self.send(Method::GET, "/metrics", None).await.1
    }

    /// Stops it as an operator does, and reads its output.
    async fn stop(mut self) -> (ExitStatus, String, BTreeSet<String>) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.written += &format!("{line}\n");
        }
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
        let status = self.child.wait().await.unwrap();
        self.tokens.remove("");
        (status, self.written + &errors, self.tokens)
    }
}

/// The value of a series in Prometheus's text.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("{series} in\n{metrics}")).trim().parse().unwrap()
}

/// The end of a token is unique and can't be guessed. Tokens start alike.
fn holds(text: &str, token: &str) -> bool {
    text.contains(&token[token.len() - 16..]) || text.contains(&token[token.len() / 2..][..16])
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key == name);
    found.map(|one| format!("{:?}", one.value)).unwrap_or_default()
}

#[tokio::test]
async fn counters_move_spans_are_exported_and_no_token_is_in_either() {
    let (collector, address) = Collector::listen().await;
    let mut app = Observed::start(Some(address)).await;

    let before = app.metrics().await;
    for metric in METRICS.iter().filter(|metric| metric.name != "everfresh_feed_live") {
        assert!(before.contains(&format!("# TYPE {}", metric.name)), "{}\n{before}", metric.name);
        assert!(before.contains(metric.help), "{}", metric.name);
    }
    assert_eq!(value(&before, "everfresh_sessions_total{event=\"signed_in\"}"), 0.0);

    assert_eq!(app.send(Method::POST, "/login", None).await.0, 303);
    for _ in 0..3 {
        assert_eq!(app.send(Method::GET, "/me", None).await, (200, "You are Ada\n".into()));
    }
    // The state after a while: the access token is gone, and the refresh token remains.
    let refresh = app.browser.jar.get("refresh_token").unwrap().to_owned();
    let only = format!("refresh_token={refresh}");
    assert_eq!(app.send(Method::GET, "/me", Some(&only)).await.0, 200);
    assert_eq!(app.send(Method::POST, "/auth/refresh", None).await.0, 200);
    let forged = "access_token=a.b.c";
    assert_eq!(app.send(Method::GET, "/me", Some(forged)).await.0, 401);
    assert_eq!(app.send(Method::POST, "/logout", None).await.0, 303);

    let metrics = app.metrics().await;
    for (series, expected) in [
        ("everfresh_sessions_total{event=\"signed_in\"}", 1.0),
        ("everfresh_sessions_total{event=\"signed_out\"}", 1.0),
        ("everfresh_decisions_total{decision=\"pass\",verdict=\"fresh\"}", 5.0),
        ("everfresh_decisions_total{decision=\"wait\",verdict=\"absent\"}", 1.0),
        ("everfresh_tokens_refused_total{reason=\"malformed\"}", 1.0),
        ("everfresh_refreshes_total{outcome=\"refreshed\"}", 2.0),
        ("everfresh_flights_total{entry=\"started\"}", 2.0),
        ("everfresh_flights_running", 0.0),
        ("everfresh_cookies_cleared_total{reason=\"signed_out\"}", 1.0),
        ("everfresh_flight_seconds_count", 2.0),
        ("everfresh_flight_seconds_bucket{le=\"30\"}", 2.0),
        ("everfresh_wait_seconds_count", 1.0),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }

    let (status, written, tokens) = app.stop().await;
    assert!(status.success(), "{status}: {written}");
    let spans = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let requests = named("request");
    assert_eq!(requests.len(), 8);
    assert!(requests.iter().any(|span| attribute(span, "path").contains("/login")));
    let waits = named("everfresh.wait");
    assert_eq!(waits.len(), 2, "for the layer, and for the endpoint");
    for wait in &waits {
        assert!(requests.iter().any(|request| request.span_id == wait.parent_span_id));
        assert!(attribute(wait, "outcome").contains("refreshed"), "{wait:?}");
    }
    let refreshes = named("everfresh.refresh");
    assert_eq!(refreshes.len(), 2);
    for refresh in &refreshes {
        assert!(refresh.parent_span_id.is_empty(), "{refresh:?}");
        let linked = |link: &[u8]| spans.iter().any(|span| span.span_id == link);
        assert!(refresh.links.iter().any(|link| linked(&link.span_id)), "{refresh:?}");
        let inside = named("everfresh.store");
        assert!(inside.iter().any(|call| call.parent_span_id == refresh.span_id));
    }

    assert!(tokens.len() >= 4, "{tokens:?}");
    let exported = format!("{:?}", collector.0.lock().unwrap());
    for (place, text) in [("metrics", &metrics), ("traces", &exported), ("output", &written)] {
        assert!(!text.is_empty());
        for token in &tokens {
            assert!(!holds(text, token), "{place} holds a token");
        }
        assert!(!text.contains("a.b.c") && !text.contains("Ada"), "{place}: {text}");
    }
}

#[tokio::test]
async fn without_a_collector_spans_are_written() {
    let mut app = Observed::start(None).await;
    assert_eq!(app.send(Method::POST, "/login", None).await.0, 303);
    assert_eq!(app.send(Method::POST, "/auth/refresh", None).await.0, 200);
    let (status, written, tokens) = app.stop().await;
    assert!(status.success(), "{status}: {written}");
    for expected in ["request", "everfresh.refresh", "everfresh.wait", "time.busy", "signed in"] {
        assert!(written.contains(expected), "{expected} in\n{written}");
    }
    assert!(tokens.len() >= 2 && tokens.iter().all(|token| !holds(&written, token)));
}
