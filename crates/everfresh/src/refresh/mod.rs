//! Step 4: refresh tokens. The [`Refresher`] trait and the types that its methods take and return.

#[cfg(test)]
mod arrival_tests;
mod backoff;
mod context;
mod cookie_loss;
mod erased;
pub(crate) mod flight;
mod keeper;
mod reissue;
mod rotate;
mod rotation_rules;
#[cfg(test)]
mod rotation_tests;
mod sealer;
mod single_flight;
#[cfg(test)]
mod tests;
pub(crate) mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::ConfigError;
use crate::endpoint::AccessTokenResponse;
use crate::mint::SessionClaims;
use crate::secret::AccessToken;
use crate::store::{RevocationSink, StoreError};

pub use context::{Context, Setup};
pub(crate) use erased::ErasedRefresher;
pub use keeper::UpstreamTokenKeeper;
pub use reissue::Reissue;
pub(crate) use rotate::RENEWABLE;
pub use rotate::{AtMaxSessions, Rotate};
pub use sealer::{Sealer, UnsealError};
#[cfg(fuzzing)]
pub(crate) use token::Scope;
pub use token::{KeyRing, RefreshToken};

/// Makes fresh tokens for a session.
///
/// The engine verifies what a request presents, decides when to refresh, runs one
/// [`refresh`](Self::refresh) per session at a time in a task of its own, and delivers the tokens.
/// A refresher only decides which requests may have new tokens, and makes them.
///
/// # Security
/// A `Some` from [`identify`](Self::identify) and tokens from [`refresh`](Self::refresh) keep a
/// session alive: return them only while its [`SessionClaims::session_expires`] lies in the future.
/// A [`Failure::Rejected`] ends the session on this node: the request is answered with 401, and
/// this node refuses every token of the session for the lifetime of an access token and an hour.
/// Return it only for a session that is known to be over. Never return it for an outage, nor for a
/// token that was not issued to this session; return [`Failure::Foreign`] for such a token.
///
/// The engine checks the tokens that a refresh or a sign-in returns before it delivers them. The
/// access token has to verify, belong to the same session and subject, and not have expired
/// ([`Failure::SOON`], and the event [`ExpiredOnArrival`](crate::Event::ExpiredOnArrival)). Both
/// tokens have to fit every transport ([`Failure::Misconfigured`], and the event
/// [`TokenTooLarge`](crate::Event::TokenTooLarge)). Tokens that fail these checks reach no client.
/// A refresher whose refresh tokens can be used once therefore calls [`Context::check_size`] before
/// it spends one, or returns the same tokens again for the former refresh token.
pub trait Refresher: Send + Sync + 'static {
    /// Checks the refresher's settings. `build()` calls it once, before any other method.
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let _ = setup;
        Ok(())
    }

    /// Returns whether the refresher issues refresh tokens beside the access tokens.
    fn uses_refresh_tokens(&self) -> bool {
        false
    }

    /// Returns whether the refresher compares the client that a session belongs to with the client
    /// that shows its refresh token ([`RefreshRequest::client`], [`ReissueRequest::client`]), and
    /// returns [`Failure::Foreign`] unless they are the same. If it does not, `build()` refuses
    /// endpoints with client authentication.
    fn binds_clients(&self) -> bool {
        false
    }

    /// Returns whether the engine's own keys sign the access tokens. If another issuer signs them,
    /// the engine's keys may be public keys, which only verify.
    fn mints(&self) -> bool {
        true
    }

    /// Returns the largest size of a refresh token, in bytes. A refresh token that is larger than a
    /// cookie travels in up to four cookies: 15,200 bytes at most.
    fn largest_refresh_token(&self) -> usize {
        0
    }

    /// Returns whether the client keeps the only copy of the tokens that a refresh returns. The
    /// tokens then have to leave with the response to the request that started the refresh, so the
    /// response's head waits for them.
    fn delivers_only_copy(&self) -> bool {
        false
    }

    /// Returns for how long the engine may return the tokens of a refresh again from memory, to
    /// requests that present the same token. Zero if each request has to ask a store or another
    /// server.
    fn result_window(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Returns the key of the refresh that a request may start or join, or `None` if what the
    /// request presents may not be refreshed now. It does no I/O: the engine calls it in the path
    /// of a request, with bytes that any client may have sent.
    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey>;

    /// Returns whether a refresh token itself names this session. Nothing is verified, and `false`
    /// is always correct: `true` only lets the engine skip the check of a refresh token that agrees
    /// with the access token beside it.
    fn names_session(&self, refresh: &[u8], sid: &str) -> bool {
        let _ = (refresh, sid);
        false
    }

    /// Returns new tokens for a request that [`identify`](Self::identify) admitted.
    fn refresh(
        &self,
        cx: Context,
        admitted: RefreshRequest,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// Returns a new access token and no refresh token, for endpoints whose clients keep the
    /// refresh token that they have. The session's generation stays the same. The session's end is
    /// checked as in a refresh.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] unless the refresher supports it.
    ///
    /// # Security
    /// An access token that may be exchanged for another one lives as long as its session. Exchange
    /// access tokens only of sessions that were signed in for it.
    fn reissue_access_token(
        &self,
        cx: Context,
        renewal: ReissueRequest,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send {
        let _ = (cx, renewal);
        async { Err(Failure::Misconfigured) }
    }

    /// Returns the session of this id, if the refresher keeps sessions and the session is not over.
    fn find(
        &self,
        cx: Context,
        sid: String,
    ) -> impl Future<Output = Result<Option<SessionInfo>, Failure>> + Send {
        let _ = (cx, sid);
        async { Ok(None) }
    }

    /// Returns whether the session of this id is over. `false` if the refresher keeps no sessions.
    fn is_over(
        &self,
        cx: Context,
        sid: String,
    ) -> impl Future<Output = Result<bool, Failure>> + Send {
        let _ = (cx, sid);
        async { Ok(false) }
    }

    /// Returns whether the tokens of a refresh may still leave with a response that took long.
    fn may_still_deliver(
        &self,
        cx: Context,
        admitted: RefreshRequest,
    ) -> impl Future<Output = bool> + Send {
        let _ = (cx, admitted);
        async { true }
    }

    /// Returns the first tokens of a new session.
    fn sign_in(
        &self,
        cx: Context,
        opening: SignInRequest,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// Ends a session and returns its id, or `None` if there was no session to end.
    ///
    /// # Security
    /// If [`Closing::sid`] does not name a session, only a refresh token ends one, and only after
    /// the whole token is verified. Expired access tokens and outdated refresh tokens lie in logs
    /// and backups, and must not end a session.
    fn sign_out(
        &self,
        cx: Context,
        closing: Closing,
    ) -> impl Future<Output = Result<Option<String>, Failure>> + Send;

    /// Ends every session of this subject except `except`. Returns the ids of the sessions that it
    /// ended.
    fn sign_out_all(
        &self,
        cx: Context,
        subject: String,
        except: Option<String>,
    ) -> impl Future<Output = Result<Vec<String>, Failure>> + Send {
        let _ = (cx, subject, except);
        async { Err(Failure::Misconfigured) }
    }

    /// Returns the sessions of a subject, the latest first.
    fn sessions(
        &self,
        cx: Context,
        subject: String,
    ) -> impl Future<Output = Result<Vec<SessionInfo>, Failure>> + Send {
        let _ = (cx, subject);
        async { Err(Failure::Misconfigured) }
    }

    /// Records that a client presented an access token of this generation for the first time.
    /// `user_activity`: a person made the request. Only such requests count as activity
    /// ([`background_requests`](crate::EngineBuilder::background_requests)).
    fn confirm(
        &self,
        cx: Context,
        sid: String,
        generation: u64,
        user_activity: bool,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (cx, sid, generation, user_activity);
        async { Ok(()) }
    }

    /// Returns the access token of another server on which this session rests, for onward calls,
    /// after renewing it if necessary. `presented`: the request's refresh token, if it brought one.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] if sessions rest on no tokens of another server.
    fn upstream_access_token(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> impl Future<Output = Result<AccessToken, Failure>> + Send {
        let _ = (cx, sid, presented);
        async { Err(Failure::Misconfigured) }
    }

    /// Reports sessions that end elsewhere; see
    /// [`SessionStore::watch_revocations`](crate::SessionStore::watch_revocations).
    fn watch_revocations(
        &self,
        ear: RevocationSink,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = ear;
        async { Ok(()) }
    }

    /// Waits, when the engine shuts down, for work that runs beside refreshes. Returns how many
    /// pieces of work did not end.
    fn drain(&self, cx: Context) -> impl Future<Output = usize> + Send {
        let _ = cx;
        async { 0 }
    }
}

/// What a request presents, verified as far as possible without I/O.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Presented<'p> {
    /// The access token's session, if its signature and claims are good.
    pub access: Option<VerifiedToken<'p>>,
    /// The refresh token as the client sent it, unverified.
    pub refresh: Option<&'p [u8]>,
}

impl<'p> Presented<'p> {
    pub(crate) fn new(access: Option<VerifiedToken<'p>>, refresh: Option<&'p [u8]>) -> Self {
        Self { access, refresh }
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

/// The key of a refresh that a request may start or join: the session, and a fingerprint of the
/// tokens. Requests with equal keys get the same tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightKey {
    /// The session's id.
    pub sid: Box<str>,
    /// Tells the session's tokens apart: computed from the refresh token's tag, or from the access
    /// token's signature. It has to cover the whole text of every token that the refresh depends
    /// on. A request with the same session and fingerprint joins the refresh of another request and
    /// gets its tokens, also after the refresh has ended
    /// ([`result_window`](Refresher::result_window)). A fingerprint of the access token alone
    /// returns the next refresh token to a request that never showed the former one.
    ///
    /// If a request brings several refresh tokens of one session, the one with the greatest
    /// fingerprint counts.
    pub fingerprint: u64,
}

/// A request for new tokens that [`Refresher::identify`] admitted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefreshRequest {
    /// The claims of the access token, if it was good or expired.
    pub grant: Option<SessionClaims>,
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
    pub(crate) fn new(
        grant: Option<SessionClaims>,
        refresh: Option<RefreshToken>,
        user_activity: bool,
    ) -> Self {
        Self {
            grant,
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
    pub grant: Option<SessionClaims>,
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
    pub grant: SessionClaims,
    /// The app's notes about the session, such as device and user agent.
    pub attributes: BTreeMap<String, String>,
    /// The tokens of another server on which the session rests.
    pub issued: Option<AccessTokenResponse>,
    /// The session that the request presented. It ends once the new one exists.
    pub former: Option<String>,
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
    /// Ends this session, whatever else the request brought.
    pub(crate) fn of(sid: impl Into<String>) -> Self {
        Self { sid: Some(sid.into()), refresh: None }
    }
}

/// The tokens that a refresh or a sign-in returns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tokens {
    /// The signed access token.
    pub access: AccessToken,
    /// The refresh token, if there is a new one.
    pub refresh: Option<RefreshToken>,
    /// When the session ends, however active it is: a browser should keep the cookies until then.
    pub session_expires: Timestamp,
    /// Whether the cookies persist after the browser closes.
    pub persistent: bool,
    /// The time, by this node's monotonic clock, from which the tokens have to be rechecked before
    /// they leave.
    pub(crate) recheck_at: Option<Duration>,
}

impl Tokens {
    /// Wraps an access token without a refresh token, of a session that ends at `session_expires`.
    pub fn new(access: AccessToken, session_expires: Timestamp) -> Self {
        Self { access, refresh: None, session_expires, persistent: true, recheck_at: None }
    }
}

/// One of a subject's sessions.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's id.
    pub sid: String,
    /// The subject that the session belongs to.
    pub subject: String,
    /// When the session began.
    pub signed_in_at: Timestamp,
    /// When the session was last refreshed.
    pub last_used_at: Timestamp,
    /// When the session ends unless it is refreshed.
    pub expires: Timestamp,
    /// The app's notes about the session.
    pub attributes: BTreeMap<String, String>,
}

impl fmt::Debug for SignInRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInRequest")
            .field("grant", &self.grant)
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo")
            .field("sid", &self.sid)
            .field("signed_in_at", &self.signed_in_at)
            .field("last_used_at", &self.last_used_at)
            .field("expires", &self.expires)
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

/// Why a refresher returned no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The session is over. The request is answered with 401.
    Rejected,
    /// No refresh is possible now; the session may well be good. A request whose access token is
    /// still good goes on; any other is answered with 503.
    Unavailable {
        /// How long the client should wait before it tries again.
        retry_after: Duration,
    },
    /// No refresh is possible until an operator changes the configuration. Answered as
    /// `Unavailable`, and reported as an error event.
    Misconfigured,
    /// A refresh token of another server that can be used once was sent, and its outcome is
    /// unknown. A request whose access token is still good goes on; any other is answered with 401.
    /// The session does not end and its cookies are not cleared, because a late answer revives the
    /// session.
    InDoubt,
    /// There is no tokio runtime for the refresh, or its runtime has ended. Answered as
    /// `Unavailable`, and reported as an event.
    NoRuntime,
    /// The presented token is not this session's, whatever it names. Answered with 401. The session
    /// does not end and its cookies are not cleared.
    Foreign,
    /// The session is good, but the app's claims type can't read its claims. Answered with 401. The
    /// session does not end and its cookies are not cleared, because another node may read the
    /// claims.
    UnreadClaims,
    /// A sign-in is refused because the subject has as many sessions as allowed
    /// ([`Rotate::max_sessions`](crate::Rotate::max_sessions)).
    TooManySessions,
}

impl Failure {
    /// Unavailable; to be tried again in a second.
    pub const SOON: Self = Self::Unavailable { retry_after: Duration::from_secs(1) };

    /// Returns the failure's name in metrics and spans.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Unavailable { .. } | Self::NoRuntime => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::InDoubt => "in_doubt",
            Self::Foreign => "foreign",
            Self::UnreadClaims => "unread_claims",
            Self::TooManySessions => "too_many_sessions",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("the session is over; sign in again"),
            Self::Unavailable { retry_after } => {
                let seconds = retry_after.as_secs_f64().ceil().max(1.0) as u64;
                write!(f, "refresh is unavailable; try again in {seconds} s")
            }
            Self::Misconfigured => {
                f.write_str("refresh is misconfigured; the log says what to change")
            }
            Self::NoRuntime => f.write_str(
                "no tokio runtime is there to do it, or the one that did has ended; call `build()` \
                 in the runtime that lives as long as the server, or name it by `runtime`; in \
                 tests build one engine per test",
            ),
            Self::InDoubt => f.write_str(
                "nobody knows what became of a refresh; a late answer revives the session",
            ),
            Self::Foreign => {
                f.write_str("the token is not this session's; sign in again to get one that is")
            }
            Self::UnreadClaims => f.write_str(
                "the session's claims don't fit the app's type; give new ones in `revalidate_with`",
            ),
            Self::TooManySessions => f.write_str(
                "the person has as many sessions as they may; sign out of another one first",
            ),
        }
    }
}

impl std::error::Error for Failure {}
