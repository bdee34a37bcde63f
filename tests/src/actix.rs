//! The contract in actix-web.

use std::convert::Infallible;

use actix_web::body::{BodyStream, MessageBody};
use actix_web::dev::Server;
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, COOKIE};
use actix_web::web::{self, Bytes, Json, PayloadConfig, ServiceConfig};
use actix_web::{App, Handler, HttpRequest, HttpResponse, HttpServer, Resource, Responder};
use actix_ws::CloseReason;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection::ConnectionNotUpgradable;
use axum::extract::{FromRequest as _, FromRequestParts as _, Query};
use everfresh::Engine;
use everfresh_actix::{Claims, Error, Refresh, Rejection, Session, endpoints};
use everfresh_testkit::contract::{self, Adopt, CHUNK_EVERY, Delivery, Login, Me, Slow, User};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::METRICS_TYPE;

/// axum's limit of a request body.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// Serves until `stop` ends, and then finishes the pending requests.
pub async fn serve(
    listener: TcpListener,
    auth: Engine<User>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    server(listener.into_std()?, auth, stop)?.await
}

fn server(
    listener: std::net::TcpListener,
    auth: Engine<User>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<Server> {
    let app = move || {
        let document = web::Data::new(crate::openapi(&auth));
        let app = App::new().app_data(document).configure(routes).configure(endpoints(&auth));
        app.wrap(Refresh::new(auth.clone()))
    };
    // Two workers, so that a session's requests meet on both.
    let server = HttpServer::new(app).workers(2).shutdown_signal(stop);
    Ok(server.listen(listener)?.run())
}

/// The routes inside the middleware.
fn routes(app: &mut ServiceConfig) {
    app.app_data(PayloadConfig::new(BODY_LIMIT))
        .service(post("/login", login))
        .service(post("/adopt", adopt))
        .service(get("/me", me))
        .service(get("/slow", slow))
        .service(post("/echo", echo))
        .service(get("/fail", fail))
        .service(get("/stream", stream))
        .service(post("/logout", logout))
        .service(get("/open", open))
        .service(get("/cookies", cookies))
        .service(get("/socket", socket))
        .service(get("/metrics", metrics))
        .service(get("/openapi.json", document));
}

fn get<Args>(
    path: &str,
    handler: impl Handler<Args, Output: Responder<Body: MessageBody> + 'static>,
) -> Resource
where
    Args: actix_web::FromRequest + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(|| other_method("GET,HEAD")))
}

fn post<Args>(
    path: &str,
    handler: impl Handler<Args, Output: Responder<Body: MessageBody> + 'static>,
) -> Resource
where
    Args: actix_web::FromRequest + 'static,
{
    web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::to(|| other_method("POST")))
}

async fn other_method(allowed: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((ALLOW, allowed)).finish()
}

async fn login(
    session: Session<User>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, actix_web::Error> {
    let delivery = query::<Delivery>(&request)?;
    let login = json::<Login>(&request, body).await?;
    contract::login(&session, login, &delivery).await.map_err(Error::from)?;
    Ok(HttpResponse::NoContent().finish())
}

async fn adopt(
    session: Session<User>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, actix_web::Error> {
    let tokens = json::<Adopt>(&request, body).await?;
    contract::adopt(&session, tokens).await.map_err(Error::from)?;
    Ok(HttpResponse::NoContent().finish())
}

async fn metrics() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, METRICS_TYPE)).body(crate::metrics())
}

async fn document(document: web::Data<String>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(document.to_string())
}

async fn me(session: Session<User>) -> Result<Json<Me>, Rejection> {
    Ok(Json(contract::me(&session)?))
}

async fn slow(session: Session<User>, request: HttpRequest) -> Result<Json<Me>, actix_web::Error> {
    tokio::time::sleep(query::<Slow>(&request)?.duration()).await;
    Ok(me(session).await?)
}

/// Reads the body of every client, because actix-web closes a connection whose request was not
/// read.
async fn echo(
    session: Session<User>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<Bytes, actix_web::Error> {
    session.require().map_err(Rejection)?;
    whole(body)
}

async fn fail(_: Claims<User>) -> HttpResponse {
    HttpResponse::InternalServerError().finish()
}

async fn stream(_: Claims<User>) -> HttpResponse {
    let chunks = futures::stream::iter(contract::chunks()).then(|chunk| async {
        tokio::time::sleep(CHUNK_EVERY).await;
        Ok::<_, Infallible>(Bytes::from(chunk))
    });
    HttpResponse::Ok().body(BodyStream::new(Box::pin(chunks)))
}

async fn logout(session: Session<User>) -> Result<HttpResponse, Error> {
    session.sign_out().await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn open() -> &'static str {
    "open"
}

async fn cookies(request: HttpRequest) -> Vec<u8> {
    let mut fields = http::HeaderMap::new();
    for field in request.headers().get_all(COOKIE) {
        if let Ok(value) = http::HeaderValue::from_bytes(field.as_bytes()) {
            fields.append(http::header::COOKIE, value);
        }
    }
    contract::cookies(&fields)
}

async fn socket(
    session: Session<User>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let expires = session.watch().map_err(Rejection)?;
    upgradable(&request).await?;
    let (response, socket, mut messages) = actix_ws::handle(&request, payload)?;
    actix_web::rt::spawn(async move {
        let mut end = std::pin::pin!(contract::end_of_socket(expires));
        loop {
            tokio::select! {
                (code, reason) = &mut end => {
                    let reason = CloseReason { code: code.into(), description: Some(reason.into()) };
                    // A client that has disconnected needs no close frame.
                    let _ = socket.close(Some(reason)).await;
                    break;
                }
                message = messages.next() => if !matches!(message, Some(Ok(_))) { break },
            }
        }
    });
    Ok(response)
}

/// Requests that can't be read are answered in axum's words, so axum reads them.
fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, actix_web::Error> {
    let uri = format!("/?{}", request.query_string()).parse().unwrap_or_default();
    let query = Query::try_from_uri(&uri);
    query.map(|query| query.0).map_err(|problem| refuse(problem.status(), problem.body_text()))
}

async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> Result<T, actix_web::Error> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let mut request = http::Request::new(axum::body::Body::from(whole(body)?));
    if let Some(Ok(value)) = content_type.map(|value| value.as_bytes().try_into()) {
        request.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
    let json = axum::Json::from_request(request, &()).await;
    json.map(|json| json.0).map_err(|problem| refuse(problem.status(), problem.body_text()))
}

async fn upgradable(request: &HttpRequest) -> Result<(), actix_web::Error> {
    let mut parts = http::Request::builder().method(request.method().as_str());
    for (name, value) in request.headers() {
        parts = parts.header(name.as_str(), value.as_bytes());
    }
    let (mut parts, ()) = parts.body(()).unwrap_or_default().into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        // Only axum's connection is missing.
        Ok(_) | Err(ConnectionNotUpgradable(_)) => Ok(()),
        Err(problem) => Err(refuse(problem.status(), problem.body_text())),
    }
}

fn whole(body: Result<Bytes, actix_web::Error>) -> Result<Bytes, actix_web::Error> {
    body.map_err(|error| match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => refuse(
            http::StatusCode::PAYLOAD_TOO_LARGE,
            "Failed to buffer the request body: length limit exceeded".into(),
        ),
        _ => error,
    })
}

fn refuse(status: http::StatusCode, text: String) -> actix_web::Error {
    let status = StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::BAD_REQUEST);
    InternalError::new(text, status).into()
}
