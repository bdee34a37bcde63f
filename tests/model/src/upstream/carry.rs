//! HTTP between a node and the other server: a Tower service that waits at the gate.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use everfresh_upstream::HttpError;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::oneshot;
use tower_service::Service;

use super::gate::{Kind, Operation, StoreLink};
use super::provider::ProviderAnswer;

/// How long the other server's access tokens live, in seconds.
pub(super) const LIFE: u64 = 3600;

pub(super) const TOKEN: &str = "https://id.test/token";
pub(super) const REVOKE: &str = "https://id.test/revoke";

/// A refresh token by its number.
pub(super) fn text(token: u64) -> String {
    format!("refresh-{token}")
}

fn number(text: &str) -> Option<u64> {
    text.strip_prefix("refresh-")?.parse().ok()
}

#[derive(Clone)]
pub(super) struct Carry(pub(super) StoreLink);

type Carried = Result<Response<Full<Bytes>>, HttpError>;

impl Service<Request<Full<Bytes>>> for Carry {
    type Response = Response<Full<Bytes>>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Carried> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let link = self.0.clone();
        Box::pin(async move {
            let revokes = request.uri().path() == "/revoke";
            // A whole body can't fail.
            let body = request.into_body().collect().await;
            let body = body.map_or_else(|never| match never {}, |body| body.to_bytes());
            let field = if revokes { "token" } else { "refresh_token" };
            let mut fields = form_urlencoded::parse(&body);
            let token = fields.find(|(name, _)| name == field);
            let Some(token) = token.and_then(|(_, value)| number(&value)) else {
                return answer(StatusCode::BAD_REQUEST, r#"{"error":"invalid_request"}"#);
            };
            if revokes {
                link.hub.wires().provider.revoke(token);
                return answer(StatusCode::OK, "{}");
            }
            let (said, heard) = oneshot::channel();
            link.stand(Kind::Request, Operation::Request(token, said));
            hear(heard.await.unwrap_or(ProviderAnswer::Lost))
        })
    }
}

fn hear(said: ProviderAnswer) -> Carried {
    let cause = || "as the schedule says".to_owned();
    match said {
        ProviderAnswer::Issued(number) => {
            let token = text(number);
            let json = format!(
                r#"{{"access_token":"access-{number}","token_type":"bearer","expires_in":{LIFE},"refresh_token":"{token}"}}"#
            );
            answer(StatusCode::OK, &json)
        }
        ProviderAnswer::Refused => answer(StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#),
        ProviderAnswer::Busy => answer(StatusCode::SERVICE_UNAVAILABLE, "{}"),
        ProviderAnswer::Broken => answer(StatusCode::INTERNAL_SERVER_ERROR, "{}"),
        ProviderAnswer::Unsent => Err(HttpError::Connect { cause: cause() }),
        ProviderAnswer::Lost => Err(HttpError::Lost { cause: cause() }),
    }
}

fn answer(status: StatusCode, body: &str) -> Carried {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}
