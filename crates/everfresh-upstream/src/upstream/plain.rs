//! Tokens of another server that lie with the client as they are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use everfresh::dialect::TokenKind;
use everfresh::{
    AccessToken, Admission, Admitted, Closing, ConfigError, Context, Failure, Issued, Opening,
    Presented, Refresher, Setup, Timestamp, Tokens,
};

use super::Upstream;
use super::held::Held;
use super::local::Local;
use super::revoke::revoke;

/// Refreshes at another server, whose tokens the client holds as they are.
///
/// Made by [`Upstream::dangerously_plain`], which says what is dangerous about it.
pub struct PlainTokens {
    local: Arc<Local>,
}

impl PlainTokens {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self { local: Local::new(upstream) }
    }

    /// Nobody but the other server knows when its sessions end.
    fn tokens(cx: &Context, issued: Issued) -> Tokens {
        let mut tokens = Tokens::new(issued.access_token, cx.now().plus(cx.session_lifetime()));
        tokens.refresh = issued.refresh_token;
        tokens
    }
}

impl Refresher for PlainTokens {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let upstream = &self.local.calls.upstream;
        upstream.check(setup)?;
        if upstream.dialect.token != TokenKind::Refresh {
            return Err(ConfigError::Unfit {
                setting: "Upstream::dangerously_plain",
                found: format!(
                    "has the dialect {:?}, which has no refresh tokens",
                    upstream.dialect.name
                ),
                remedy: "it would be refreshed by a token that anybody may hold, so use \
                         `kept_in(store)`",
            });
        }
        Ok(())
    }

    fn uses_refresh_tokens(&self) -> bool {
        true
    }

    fn mints(&self) -> bool {
        false
    }

    fn largest_refresh_token(&self) -> usize {
        usize::MAX
    }

    fn hands_over(&self) -> bool {
        true
    }

    /// Beside an access token whose signature is good, and for nobody else: a refresh token alone
    /// is bytes that anybody may have sent.
    fn admits(&self, presented: Presented<'_>, _: Timestamp) -> Option<Admission> {
        let (held, _) = (presented.access?, presented.refresh?);
        Some(Admission { sid: held.sid.into(), mark: held.mark })
    }

    async fn refresh(&self, cx: Context, admitted: Admitted) -> Result<Tokens, Failure> {
        let token = admitted.refresh.as_ref().ok_or(Failure::Rejected)?;
        let sid = admitted.grant.as_ref().map_or("", |grant| &grant.sid);
        let issued = self.local.exchange(&cx, sid, token.expose().into(), token.expose()).await?;
        Ok(Self::tokens(&cx, issued))
    }

    async fn sign_in(&self, cx: Context, opening: Opening) -> Result<Tokens, Failure> {
        Ok(Self::tokens(&cx, opening.issued.ok_or(Failure::Misconfigured)?))
    }

    /// The refresh token is revoked by its holder, whatever the access token beside it is worth; the
    /// session is over here only where that one was good.
    async fn sign_out(&self, cx: Context, closing: Closing) -> Result<Option<String>, Failure> {
        if let Some(refresh) = closing.refresh {
            let access = AccessToken::new(String::new());
            let held = Held { access, refresh: Some(refresh), lives: Duration::ZERO, who: None };
            revoke(&self.local.calls.upstream, &cx, held);
        }
        Ok(closing.sid)
    }

    async fn drain(&self, _: Context) -> usize {
        self.local.drain().await
    }
}

impl fmt::Debug for PlainTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upstream = &self.local.calls.upstream;
        f.debug_struct("PlainTokens").field("upstream", upstream).finish_non_exhaustive()
    }
}
