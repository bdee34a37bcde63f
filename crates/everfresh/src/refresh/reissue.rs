//! Refreshing without a store: a token that is good or has just expired is exchanged for a new one.

use std::time::Duration;

use super::{
    Closing, Context, Failure, FlightKey, Presented, RefreshRequest, Refresher, ReissueRequest,
    SignInRequest, Tokens,
};
use crate::clock::Timestamp;

/// Mints a new token from one that is good or has just expired.
///
/// Rules
/// 1. The old token's signature must be good, and it must carry `sid`, `auth_time` and
///    `session_exp`. A token without these claims is refused.
/// 2. A token is exchanged until `grace` after its `exp` (1 hour unless set), and never after its
///    `session_exp`.
/// 3. Whether cookies persist after the browser closes stays as it was at sign-in: the claim
///    `session_persistent` records it.
/// 4. Every refresh calls the builder's `revalidate_with`, which may change the claims or end the
///    session.
///
/// The server keeps no session that it could revoke. A sign-out only clears cookies, and a thief
/// that copied a token can keep it alive until `session_exp`. If that is too long, use a refresher
/// with a store.
///
/// For the same reason no token, old or new, can end a session, and every access token may be
/// exchanged within its grace, also at an endpoint of a [`Dialect`](crate::dialect::Dialect).
///
/// ```
/// use std::time::Duration;
/// use everfresh::Reissue;
///
/// let refresher = Reissue::new().grace(Duration::from_secs(10 * 60));
/// ```
#[derive(Clone, Debug)]
pub struct Reissue {
    grace: Duration,
}

impl Reissue {
    /// Exchanges tokens within a grace of one hour.
    pub fn new() -> Self {
        Self { grace: Duration::from_secs(60 * 60) }
    }

    /// Sets how long after its expiry a token may still be exchanged for a new one.
    ///
    /// With zero, only a token that has not expired can be exchanged: a user who is away for the
    /// lifetime of a token is then signed out.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

impl Default for Reissue {
    fn default() -> Self {
        Self::new()
    }
}

impl Refresher for Reissue {
    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey> {
        let held = presented.access?;
        let admitted = now < held.session_expires && now < held.expires.plus(self.grace);
        admitted.then(|| FlightKey { sid: held.sid.into(), fingerprint: held.fingerprint })
    }

    async fn refresh(&self, cx: Context, admitted: RefreshRequest) -> Result<Tokens, Failure> {
        let mut session_claims = admitted.session_claims.ok_or(Failure::Rejected)?;
        cx.revalidate(&mut session_claims).await?;
        cx.mint(&session_claims)
    }

    async fn reissue_access_token(
        &self,
        cx: Context,
        renewal: ReissueRequest,
    ) -> Result<Tokens, Failure> {
        let mut session_claims = renewal.session_claims.ok_or(Failure::Rejected)?;
        // The same limit as in a refresh, whatever an endpoint allows. The failure does not end the
        // session.
        let in_time = renewal.expires.is_some_and(|expires| cx.now() < expires.plus(self.grace));
        in_time.then_some(()).ok_or(Failure::Foreign)?;
        cx.revalidate(&mut session_claims).await?;
        cx.mint_for(&session_claims, renewal.lifetime)
    }

    async fn sign_in(&self, cx: Context, opening: SignInRequest) -> Result<Tokens, Failure> {
        cx.mint(&opening.session_claims)
    }

    async fn sign_out(&self, _: Context, closing: Closing) -> Result<Option<String>, Failure> {
        Ok(closing.sid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::VerifiedToken;

    #[test]
    fn a_token_is_exchanged_within_its_grace_and_its_session() {
        let at = Timestamp::from_secs;
        let identify = |refresher: &Reissue, expires, session_expires, now| {
            let (expires, session_expires) = (at(expires), at(session_expires));
            let held = VerifiedToken { sid: "s", fingerprint: 7, expires, session_expires };
            let admission = refresher.identify(Presented::with(Some(held), None), at(now));
            admission.inspect(|of| assert_eq!((&*of.sid, of.fingerprint), ("s", 7))).is_some()
        };
        let reissue = Reissue::new().grace(Duration::from_secs(60));
        assert!(identify(&reissue, 1000, 9000, 0) && identify(&reissue, 1000, 9000, 1059));
        assert!(!identify(&reissue, 1000, 9000, 1060), "the grace is over");
        assert!(identify(&reissue, 1000, 1030, 1029));
        assert!(!identify(&reissue, 1000, 1030, 1030), "the session is over");
        let none = Reissue::new().grace(Duration::ZERO);
        assert!(identify(&none, 1000, 9000, 999) && !identify(&none, 1000, 9000, 1000));
        let token = crate::refresh::RefreshToken::new("text".into());
        assert_eq!(reissue.identify(Presented::with(None, Some(&token)), at(0)), None);
    }
}
