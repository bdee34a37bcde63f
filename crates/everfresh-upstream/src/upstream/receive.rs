//! Checks of issued tokens before they are stored.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everfresh::dialect::AccessTokenResponse;
use everfresh::refresher::Context;
use everfresh::upstream::NotRead;
use everfresh::{AccessToken, Event, TrustedIssuer};
use serde::Deserialize;

use super::Upstream;
use super::tokens::UpstreamTokens;

/// How long a received token waits for the key that signed it.
const KEY_LIMIT: Duration = Duration::from_secs(10);

/// The longest lifetime that is accepted, a year, as for `expires_in` in a dialect's answer.
const MAX_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The reason not to store received tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The tokens can't be verified yet. A later attempt may succeed.
    Later,
    /// The tokens belong to another user, or are not valid tokens of the trusted issuer.
    Foreign,
}

impl Upstream {
    /// Verifies the issued tokens, and merges them with the former ones: if the answer has no
    /// refresh token, the former one stays. Verified tokens must have the former tokens' subject.
    pub(super) async fn receive(
        &self,
        cx: &Context,
        issued: AccessTokenResponse,
        former: Option<&UpstreamTokens>,
        default_life: Duration,
    ) -> Result<UpstreamTokens, Refused> {
        let Upstream { access_tokens, id_tokens, .. } = self;
        let mut subject = former.and_then(|tokens| tokens.subject.clone());
        let mut made_for = None;
        let mut read = async |issuer: &Option<TrustedIssuer>, token: &AccessToken, is_id: bool| {
            let Some(issuer) = issuer else { return Ok(None) };
            let read = async {
                match is_id {
                    true => issuer.read_id_token(token.expose(), cx.now()).await,
                    false => issuer.read(token.expose(), cx.now()).await,
                }
            };
            let received = match tokio::time::timeout(KEY_LIMIT, read).await {
                Ok(Ok(received)) => received,
                Ok(Err(NotRead::Refused(reason))) => {
                    cx.emit(&Event::TokenRefused { reason });
                    return Err(Refused::Foreign);
                }
                Ok(Err(_)) | Err(_) => return Err(Refused::Later),
            };
            match (&subject, received.subject) {
                (Some(subject), Some(found)) if *subject != found => return Err(Refused::Foreign),
                (Some(_), None) => return Err(Refused::Foreign),
                (None, found) => subject = found,
                _ => {}
            }
            Ok(Some(received.lifetime))
        };
        if let Some(lifetime) = read(access_tokens, &issued.access_token, false).await? {
            made_for = Some(lifetime);
        }
        if let Some(id_token) = &issued.id_token {
            read(id_tokens, id_token, true).await?;
        }
        // `expires_in` counts from the receipt, so it needs no clock of the other server. The
        // lifetime in the token limits it.
        let made_for = made_for.or_else(|| made_for_as_it_says(issued.access_token.expose()));
        let expires_in = issued.expires_in.into_iter().chain(made_for).min();
        Ok(UpstreamTokens {
            expires_in: expires_in.unwrap_or(default_life).min(MAX_LIFE),
            refresh: issued
                .refresh_token
                .or_else(|| former.and_then(|tokens| tokens.refresh.clone())),
            kept: {
                let mut kept = former.map(|tokens| tokens.kept.clone()).unwrap_or_default();
                kept.extend(issued.members);
                kept
            },
            access: issued.access_token,
            subject,
        })
    }
}

/// Returns the lifetime of a JWT that is not verified: `exp` less `iat`. The token came from the
/// configured address, so it is trusted as much as `expires_in` in the same answer.
fn made_for_as_it_says(token: &str) -> Option<Duration> {
    // RFC 7519 section 2: a date may have a fraction.
    #[derive(Deserialize)]
    struct Times {
        iat: f64,
        exp: f64,
    }
    let mut parts = token.split('.').skip(1);
    let payload = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let Times { iat, exp } = serde_json::from_slice(&payload).ok()?;
    Duration::try_from_secs_f64(exp - iat).ok().filter(|lifetime| !lifetime.is_zero())
}
