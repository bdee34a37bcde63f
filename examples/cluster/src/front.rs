//! The server for the browser: the page, the state of the nodes, and a proxy to each node in turn.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::COOKIE;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::node::Node;

/// How long to wait until a node refuses a token after a sign-out.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// A round-robin over nodes.
pub(crate) struct Front {
    nodes: Vec<Node>,
    store: String,
    turn: AtomicUsize,
    client: Client<HttpConnector, Body>,
}

impl Front {
    pub(crate) fn new(nodes: Vec<Node>, store: &str) -> Arc<Self> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Arc::new(Self { nodes, store: store.to_owned(), turn: AtomicUsize::new(0), client })
    }

    /// Returns whether a node accepts this cookie.
    async fn accepts(&self, node: SocketAddr, cookie: &str) -> bool {
        let request = Request::get(format!("http://{node}/me")).header(COOKIE, cookie);
        let Ok(request) = request.body(Body::empty()) else { return false };
        self.client.request(request).await.is_ok_and(|answer| answer.status().is_success())
    }

    pub(crate) fn app(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", get(Html(include_str!("page.html"))))
            .route("/cluster", get(cluster))
            .route("/logout", post(sign_out))
            .fallback(pass_on)
            .with_state(self)
    }
}

async fn cluster(State(front): State<Arc<Front>>) -> Json<Value> {
    let nodes: Vec<_> = front.nodes.iter().map(Node::state).collect();
    Json(json!({"store": front.store, "nodes": nodes}))
}

/// Signs out at one node, and presents the earlier access token to each node until it is refused.
async fn sign_out(State(front): State<Arc<Front>>, request: Request) -> Response {
    let cookies = request.headers().get(COOKIE).and_then(|cookies| cookies.to_str().ok());
    let mut cookies = cookies.unwrap_or_default().split("; ");
    let Some(access) = cookies.find(|cookie| cookie.starts_with("access_token=")) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let (access, began) = (access.to_owned(), Instant::now());
    let answer = pass_on(State(front.clone()), request).await;
    let mut after = Vec::new();
    for node in &front.nodes {
        while front.accepts(node.address, &access).await && began.elapsed() < WAIT_LIMIT {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        after.push(began.elapsed().as_millis() as u64);
    }
    // The node's answer contains the header fields that delete the cookies.
    (answer.headers().clone(), Json(json!({"refused_after_ms": after}))).into_response()
}

/// Forwards the request to the next node. The response names that node.
async fn pass_on(State(front): State<Arc<Front>>, mut request: Request) -> Response {
    let turn = front.turn.fetch_add(1, Ordering::Relaxed) % front.nodes.len();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let address = front.nodes[turn].address;
    match format!("http://{address}{path}").parse::<Uri>() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    match front.client.request(request).await {
        Ok(answer) => {
            let mut answer = answer.map(Body::new);
            answer.headers_mut().insert("x-node", HeaderValue::from(turn + 1));
            answer
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
