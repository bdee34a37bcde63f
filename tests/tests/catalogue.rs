//! The dialects of `dialects/`: each asks as its vendor's document says, over HTTP, and reads what the
//! document says that the vendor answers.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use everfresh::Timestamp;
use everfresh::dialect::{ClientAuthentication, Dialect, RefreshOutcome, RequestValues};
use everfresh_upstream::{HttpClient, SecureUrl};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

/// 2026-11-30, in seconds since 1970.
const NOW: Timestamp = Timestamp::from_secs(1_796_000_000);

/// What a vendor's document says, beside the dialect that follows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Documented {
    /// How a client authenticates, if it does.
    client: Option<String>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    request: DocumentedRequest,
    answers: Vec<DocumentedAnswer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentedRequest {
    method: String,
    query: Option<String>,
    headers: BTreeMap<String, String>,
    body: Value,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentedAnswer {
    /// The name of the case, such as `good`.
    case: String,
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Value,
    outcome: Outcome,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Issued(Issued),
    Rejected,
    Unavailable,
    Refused,
    Misconfigured,
    NotIssued,
    InDoubt,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Issued {
    access_token: String,
    refresh_token: Option<String>,
    #[serde(default)]
    id_token: Option<String>,
    expires_in: Option<u64>,
    #[serde(default)]
    kept: BTreeMap<String, String>,
}

/// The vendor's server: it keeps what it was sent, and answers what it is told to.
#[derive(Clone, Default)]
struct Server {
    answer: Arc<Mutex<Option<DocumentedAnswer>>>,
    requests: Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>,
}

impl Server {
    async fn start(&self) -> SecureUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/token").parse().unwrap()
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response<axum::body::Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
    server.requests.lock().unwrap().push((head, body));
    let DocumentedAnswer { status, headers, body, .. } =
        server.answer.lock().unwrap().clone().unwrap();
    let is_text = body.is_string();
    let mut response = Response::new(text(&body).into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let kind = if is_text { "text/html" } else { "application/json" };
    let fields: &mut HeaderMap = response.headers_mut();
    fields.insert("content-type", HeaderValue::from_static(kind));
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        fields.remove(&name);
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        for value in values {
            fields.append(&name, value.as_str().unwrap().parse().unwrap());
        }
    }
    response
}

/// A body as it is sent: text as it is, and any other value as JSON.
fn text(body: &Value) -> String {
    body.as_str().map_or_else(|| body.to_string(), str::to_owned)
}

fn client(how: &str) -> ClientAuthentication {
    let (id, secret) = ("client-1".to_owned(), "secret-1".into());
    match how {
        "none" => ClientAuthentication::None { id },
        "basic" => ClientAuthentication::Basic { id, secret },
        "raw_basic" => ClientAuthentication::RawBasic { id, secret },
        "post" => ClientAuthentication::Post { id, secret },
        other => panic!("no way to authenticate: {other}"),
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dialects")
}

/// Every dialect of the catalogue, and what its vendor documents.
fn catalogue() -> Vec<(Dialect, Documented)> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.retain(|path| !path.ends_with("schema.json"));
    files.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let dialect =
            Dialect::from_json(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(dialect.name, name, "{}", path.display());
        let answers = folder().join("answers").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&answers).unwrap();
        let documented = serde_json::from_str(&text);
        (dialect, documented.unwrap_or_else(|e| panic!("{}: {e}", answers.display())))
    };
    files.iter().map(read).collect()
}

#[tokio::test]
async fn each_dialect_asks_and_reads_as_its_vendor_documents() {
    let http = HttpClient::new().unwrap();
    let all = catalogue();
    assert!(!all.is_empty());
    for (dialect, documented) in &all {
        let name = &dialect.name;
        assert!(dialect.document.as_ref().is_some_and(|at| at.starts_with("https://")), "{name}");
        let server = Server::default();
        let url = server.start().await;
        let client = documented.client.as_deref().map(client);
        let settings = &documented.settings;
        let settings =
            settings.iter().map(|(a, b)| (a.clone(), Zeroizing::new(b.clone()))).collect();
        let mut values = RequestValues::new("rt-1").access_token("at-1").settings(&settings);
        values.client = client.as_ref();
        for answer in &documented.answers {
            let case = format!("{name}, {}", answer.case);
            *server.answer.lock().unwrap() = Some(answer.clone());
            let request = dialect.request(&values, NOW).unwrap();
            let read = http.post(&url).like(request).send().await.unwrap();
            let outcome = dialect.read(read.status, &read.headers, &read.body, NOW);
            check_outcome(&case, outcome, &answer.outcome);
            let (head, body) = server.requests.lock().unwrap().pop().unwrap();
            check_request(&case, &documented.request, &head, &body);
        }
        for wanted in ["good", "dead"] {
            let has = documented.answers.iter().any(|answer| answer.case == wanted);
            assert!(has, "{name} has no case {wanted:?}");
        }
    }
}

fn check_request(case: &str, wanted: &DocumentedRequest, head: &http::request::Parts, body: &[u8]) {
    assert_eq!(head.method.as_str(), wanted.method, "{case}");
    assert_eq!(head.uri.query(), wanted.query.as_deref(), "{case}");
    for (name, value) in &wanted.headers {
        let found = head.headers.get(name).unwrap_or_else(|| panic!("{case}: no {name}"));
        assert_eq!(found.to_str().unwrap(), value, "{case}: {name}");
    }
    match &wanted.body {
        Value::String(text) => assert_eq!(std::str::from_utf8(body).unwrap(), text, "{case}"),
        Value::Null => assert_eq!(body, b"", "{case}"),
        json => assert_eq!(serde_json::from_slice::<Value>(body).unwrap(), *json, "{case}"),
    }
}

fn check_outcome(case: &str, found: RefreshOutcome, wanted: &Outcome) {
    match (found, wanted) {
        (RefreshOutcome::Issued(found), Outcome::Issued(wanted)) => {
            assert_eq!(found.access_token.expose(), wanted.access_token, "{case}");
            let refresh = found.refresh_token.as_ref().map(|token| token.expose().to_owned());
            assert_eq!(refresh, wanted.refresh_token, "{case}");
            let id_token = found.id_token.as_ref().map(|token| token.expose().to_owned());
            assert_eq!(id_token, wanted.id_token, "{case}");
            let expires_in = found.expires_in.map(|life| life.as_secs());
            assert_eq!(expires_in, wanted.expires_in, "{case}");
            assert_eq!(found.members, wanted.kept, "{case}");
        }
        (RefreshOutcome::Rejected, Outcome::Rejected)
        | (RefreshOutcome::Unavailable { .. }, Outcome::Unavailable)
        | (RefreshOutcome::Refused { .. }, Outcome::Refused)
        | (RefreshOutcome::Misconfigured, Outcome::Misconfigured)
        | (RefreshOutcome::NotIssued, Outcome::NotIssued)
        | (RefreshOutcome::InDoubt, Outcome::InDoubt) => {}
        (found, _) => panic!("{case}: {found:?}"),
    }
}
