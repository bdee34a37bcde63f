//! What the engine asks a refresher.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{AccessTokenResponse, Opened, RefreshToken};
use crate::clock::Timestamp;
use crate::mint::SessionClaims;

/// What a request presents, verified as far as possible without I/O.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Presented<'p> {
    /// The access token's session, if its signature and claims are good.
    pub access: Option<VerifiedToken<'p>>,
    /// The refresh token as the client sent it, unverified.
    pub refresh: Option<&'p [u8]>,
    pub(super) opened: Option<&'p Opened>,
}

impl<'p> Presented<'p> {
    /// Makes what a request presents.
    pub fn new(access: Option<VerifiedToken<'p>>, refresh: Option<&'p [u8]>) -> Self {
        Self { access, refresh, opened: None }
    }

    /// What a request presents whose refresh token is kept as `token`.
    pub(crate) fn with(access: Option<VerifiedToken<'p>>, token: Option<&'p RefreshToken>) -> Self {
        let refresh = token.map(|token| token.expose().as_bytes());
        Self { access, refresh, opened: token.map(RefreshToken::memo) }
    }

    /// What a request presents whose refresh token is still in its head. `opened`: what that token
    /// was found to be.
    pub(crate) fn brought(
        access: Option<VerifiedToken<'p>>,
        text: &'p [u8],
        opened: &'p Opened,
    ) -> Self {
        Self { access, refresh: Some(text), opened: Some(opened) }
    }
}

/// The claims of a verified access token that a refresher decides by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct VerifiedToken<'p> {
    /// The session's id.
    pub sid: &'p str,
    /// Tells the session's tokens apart.
    pub fingerprint: u64,
    /// When the access token expires or has expired.
    pub expires: Timestamp,
    /// When the session ends, however active it is.
    pub session_expires: Timestamp,
}

impl<'p> VerifiedToken<'p> {
    /// Makes the claims of a token, as a test of a refresher needs them.
    pub fn new(
        sid: &'p str,
        fingerprint: u64,
        expires: Timestamp,
        session_expires: Timestamp,
    ) -> Self {
        Self { sid, fingerprint, expires, session_expires }
    }
}

/// The key of a refresh that a request may start or join: the session, and a fingerprint of the
/// tokens. Requests with equal keys get the same tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct FlightKey {
    /// The session's id.
    pub sid: Box<str>,
    /// Tells the session's tokens apart: computed from the refresh token's tag, or from the access
    /// token's signature. It has to cover the whole text of every token that the refresh depends
    /// on. A request with the same session and fingerprint joins the refresh of another request and
    /// gets its tokens, also after the refresh has ended
    /// ([`result_window`](super::Refresher::result_window)). A fingerprint of the access token alone
    /// returns the next refresh token to a request that never showed the former one.
    ///
    /// If a request brings several refresh tokens of one session, the one with the greatest
    /// fingerprint counts.
    pub fingerprint: u64,
}

impl FlightKey {
    /// Makes the key of a session's tokens.
    pub fn new(sid: impl Into<Box<str>>, fingerprint: u64) -> Self {
        Self { sid: sid.into(), fingerprint }
    }
}

/// A request for new tokens that [`Refresher::identify`](super::Refresher::identify) admitted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefreshRequest {
    /// The claims of the access token, if it was good or expired.
    pub session_claims: Option<SessionClaims>,
    /// The refresh token that the request presented.
    pub refresh: Option<RefreshToken>,
    /// Whether a person made the request, which restarts the session's idle time.
    pub user_activity: bool,
    /// How long ago the request arrived. A token that was current then may be outdated by now.
    pub waited: Duration,
    /// Whether the access token is still good: without new tokens the request goes on with it.
    pub token_still_valid: bool,
    /// The authenticated client that showed the refresh token. `None` wherever clients are not
    /// authenticated: a token that belongs to a client is refused there.
    pub client: Option<String>,
}

impl RefreshRequest {
    /// Makes a request that arrived just now, without an authenticated client, and waits for its
    /// tokens.
    pub fn new(
        session_claims: Option<SessionClaims>,
        refresh: Option<RefreshToken>,
        user_activity: bool,
    ) -> Self {
        Self {
            session_claims,
            refresh,
            user_activity,
            waited: Duration::ZERO,
            token_still_valid: false,
            client: None,
        }
    }

    pub(crate) fn shown_by(self, client: Option<&str>) -> Self {
        Self { client: client.map(Into::into), ..self }
    }

    pub(crate) fn token_still_valid(self, token_still_valid: bool) -> Self {
        Self { token_still_valid, ..self }
    }

    pub(crate) fn after(self, waited: Duration) -> Self {
        Self { waited, ..self }
    }
}

/// A request for a new access token of a session, without a new refresh token.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReissueRequest {
    /// The claims of the access token that the request presented.
    pub session_claims: Option<SessionClaims>,
    /// When that access token expires or has expired.
    pub expires: Option<Timestamp>,
    /// The refresh token that the request presented.
    pub refresh: Option<RefreshToken>,
    /// The client that showed the refresh token, as in [`RefreshRequest::client`].
    pub client: Option<String>,
    /// The longest lifetime of the new access token, if shorter than the usual one.
    pub lifetime: Option<Duration>,
}

/// A request to open a new session.
#[derive(Clone)]
#[non_exhaustive]
pub struct SignInRequest {
    /// The claims that the session's tokens are minted from.
    pub session_claims: SessionClaims,
    /// The app's notes about the session, such as device and user agent.
    pub attributes: BTreeMap<String, String>,
    /// The tokens of another server on which the session rests.
    pub issued: Option<AccessTokenResponse>,
    /// The session that the request presented. It ends once the new one exists.
    pub former: Option<String>,
}

impl SignInRequest {
    /// Makes a request for a session with these claims, and nothing else.
    pub fn new(session_claims: SessionClaims) -> Self {
        Self { session_claims, attributes: BTreeMap::new(), issued: None, former: None }
    }
}

/// A request to sign out.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Closing {
    /// The session to end: its access token was good, or within the leeway, when the request
    /// arrived, or its user ends it from another session.
    pub sid: Option<String>,
    /// The refresh token that the request brought, unverified. It has to name the session if `sid`
    /// is `None`.
    pub refresh: Option<RefreshToken>,
}

impl Closing {
    /// Makes a request that ends this session, whatever else the request brought.
    pub fn of(sid: impl Into<String>) -> Self {
        Self { sid: Some(sid.into()), refresh: None }
    }
}

impl fmt::Debug for SignInRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRequest")
            .field("session_claims", &self.session_claims)
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresh = self.refresh.map(<[u8]>::len);
        f.debug_struct("Presented")
            .field("access", &self.access)
            .field("refresh", &refresh)
            .finish()
    }
}
