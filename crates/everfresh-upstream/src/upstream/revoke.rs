//! Revocation of tokens at the other server: by RFC 7009, or as the dialect says.

use std::time::Duration;

use everfresh::dialect::{Body, ClientMembers, Fixed, FixedValue, Place, RequestFormat};
use everfresh::refresher::Context;
use http::StatusCode;

use super::Upstream;
use super::tokens::UpstreamTokens;

/// The number of attempts, and the first pause between them, which doubles.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// Revokes a session's tokens in a background task. No request waits for it, because the session is
/// already over on this side.
pub(super) fn revoke(upstream: &Upstream, cx: &Context, tokens: UpstreamTokens) {
    let Some(url) = upstream.revocation.clone() else { return };
    let (upstream, cx_task) = (upstream.clone(), cx.clone());
    cx.spawn(async move {
        let (token, hint) = match &tokens.refresh {
            Some(refresh) => (refresh.expose(), "refresh_token"),
            None => (tokens.access.expose(), "access_token"),
        };
        let format = upstream.dialect.sign_out.clone().unwrap_or_else(|| rfc7009(hint));
        let values = upstream.values(&tokens, token);
        for n in 0..TRIES {
            let request = format.write(&values, cx_task.now());
            let request = match request {
                Ok(request) => request,
                Err(error) => {
                    tracing::warn!(target: "everfresh", %error, "a token was not revoked");
                    return;
                }
            };
            match upstream.http.post(&url).like(request).send().await {
                // Section 2.2: the server answers 200 also for a token that it does not know.
                Ok(answer) if answer.status.is_success() => return,
                // Section 2.2.1: 503 asks for another attempt. So does 429 (RFC 6585 section 4).
                Ok(answer)
                    if !answer.status.is_server_error()
                        && answer.status != StatusCode::TOO_MANY_REQUESTS =>
                {
                    let status = answer.status.as_u16();
                    tracing::warn!(target: "everfresh", status, "a token was not revoked");
                    return;
                }
                Ok(_) | Err(_) => tokio::time::sleep(PAUSE * 2u32.pow(n)).await,
            }
        }
        tracing::warn!(target: "everfresh", "a token was not revoked: no answer");
    });
}

/// Returns the request of RFC 7009 section 2.1: a form, with the client's authentication.
fn rfc7009(hint: &'static str) -> RequestFormat {
    let mut format = RequestFormat::new(Place::Body("token".into()));
    format.body = Body::Form;
    format.client = Some(ClientMembers::OAUTH2);
    let value = FixedValue::Text(hint.into());
    format.members = vec![Fixed { name: "token_type_hint".into(), value }].into();
    format
}
