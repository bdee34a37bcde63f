//! Step 4: making fresh tokens. What a refresher is, and what it is given.

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
/// [`refresh`](Self::refresh) per session at a time in a task of its own, and delivers what comes
/// out. A refresher only says who may have new tokens and makes them.
///
/// # Security
/// A `Some` from [`identify`](Self::identify) and tokens from [`refresh`](Self::refresh) keep a
/// session alive: give them only while its [`SessionClaims::session_expires`] lies ahead. A
/// [`Failure::Rejected`] ends the session on this node: it is answered 401, and every token of the
/// session is refused here for an access token's life and an hour. Return it only for a session that
/// is known to be over, never for an outage, nor for a token that was not issued to this session:
/// that is [`Failure::Foreign`].
///
/// The engine checks what a refresh or a sign-in returns before it is delivered: the access token has
/// to verify, be of the same session and person, and not have expired ([`Failure::SOON`], and the
/// event [`ExpiredOnArrival`](crate::Event::ExpiredOnArrival)); both tokens have to fit every carrier
/// ([`Failure::Misconfigured`], and the event [`TokenTooLarge`](crate::Event::TokenTooLarge)). What
/// is refused reaches no client: a refresher whose refresh tokens can be used once asks
/// [`Context::check_size`] before it spends one, or returns the same tokens again for the former one.
pub trait Refresher: Send + Sync + 'static {
    /// Called once, by `build()`, before anything else: the place to check settings.
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let _ = setup;
        Ok(())
    }

    /// Whether there are refresh tokens beside the access tokens.
    fn uses_refresh_tokens(&self) -> bool {
        false
    }

    /// Whether it holds the client that a session belongs to against the one that shows its refresh
    /// token ([`RefreshRequest::client`], [`ReissueRequest::client`]), and returns [`Failure::Foreign`] unless they
    /// are the same. Endpoints with client authentication are an error at `build()` without it.
    fn binds_clients(&self) -> bool {
        false
    }

    /// Whether the engine's own keys sign the access tokens. Where another issuer makes them, the
    /// engine's keys may be public ones, that only verify.
    fn mints(&self) -> bool {
        true
    }

    /// How many bytes a refresh token may have. One that is larger than a cookie travels in up to
    /// four of them: 15,200 bytes at the most.
    fn largest_refresh_token(&self) -> usize {
        0
    }

    /// Whether what a refresh gives is kept nowhere but by the client, so that it must leave with
    /// the response to the request that asked for it: the response's head waits.
    fn delivers_only_copy(&self) -> bool {
        false
    }

    /// How long the tokens of a refresh may be given again from memory, to requests that present
    /// the same token. None where something else has to be asked each time.
    fn result_window(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Whether what was presented may be refreshed now, and which flight that is. No I/O; called
    /// in the path of a request, with bytes that anybody may have sent.
    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey>;

    /// Whether a refresh token says of itself that it is this session's. Nothing is checked, and
    /// `false` is always right: it spares the engine a look at a token that agrees with the access
    /// token beside it.
    fn names_session(&self, refresh: &[u8], sid: &str) -> bool {
        let _ = (refresh, sid);
        false
    }

    /// New tokens for what was admitted.
    fn refresh(
        &self,
        cx: Context,
        admitted: RefreshRequest,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// A new access token, and nothing else: for endpoints whose clients keep the token that they
    /// have. Moves no generation. The session's end is checked as in a refresh.
    ///
    /// [`Failure::Misconfigured`] unless the refresher can do it.
    ///
    /// # Security
    /// An access token that may be exchanged for another one lives as long as its session. Do it for
    /// no other sessions than those that were signed in for it.
    fn reissue_access_token(
        &self,
        cx: Context,
        renewal: ReissueRequest,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send {
        let _ = (cx, renewal);
        async { Err(Failure::Misconfigured) }
    }

    /// The session of this id, where the refresher keeps sessions and it is not over.
    fn find(
        &self,
        cx: Context,
        sid: String,
    ) -> impl Future<Output = Result<Option<SessionInfo>, Failure>> + Send {
        let _ = (cx, sid);
        async { Ok(None) }
    }

    /// Whether the session of this id is over. `false` where nothing is kept that could tell.
    fn is_over(
        &self,
        cx: Context,
        sid: String,
    ) -> impl Future<Output = Result<bool, Failure>> + Send {
        let _ = (cx, sid);
        async { Ok(false) }
    }

    /// Whether the tokens of a refresh may still leave, with a response that took long.
    fn may_still_deliver(
        &self,
        cx: Context,
        admitted: RefreshRequest,
    ) -> impl Future<Output = bool> + Send {
        let _ = (cx, admitted);
        async { true }
    }

    /// The first tokens of a new session.
    fn sign_in(
        &self,
        cx: Context,
        opening: SignInRequest,
    ) -> impl Future<Output = Result<Tokens, Failure>> + Send;

    /// Ends a session, and returns its id; `None` where there was none to end.
    ///
    /// # Security
    /// A session that is not named in [`Closing::sid`] ends for a refresh token alone, and only if
    /// the whole of that token is checked: expired access tokens and outdated refresh tokens lie in
    /// logs and backups, and must sign nobody out.
    fn sign_out(
        &self,
        cx: Context,
        closing: Closing,
    ) -> impl Future<Output = Result<Option<String>, Failure>> + Send;

    /// Every session of this subject but `except` is over. Gives the ids of those that were.
    fn sign_out_all(
        &self,
        cx: Context,
        subject: String,
        except: Option<String>,
    ) -> impl Future<Output = Result<Vec<String>, Failure>> + Send {
        let _ = (cx, subject, except);
        async { Err(Failure::Misconfigured) }
    }

    /// The sessions of a subject, the latest first.
    fn sessions(
        &self,
        cx: Context,
        subject: String,
    ) -> impl Future<Output = Result<Vec<SessionInfo>, Failure>> + Send {
        let _ = (cx, subject);
        async { Err(Failure::Misconfigured) }
    }

    /// A client presented an access token of this generation for the first time. `user_activity`: a person
    /// did it, and only that counts as activity
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

    /// The access token of another server on which this session rests, for calls onward; renewed
    /// if it has to be. `presented`: the request's refresh token, if it brought one.
    ///
    /// [`Failure::Misconfigured`] where sessions rest on nothing.
    fn upstream_access_token(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> impl Future<Output = Result<AccessToken, Failure>> + Send {
        let _ = (cx, sid, presented);
        async { Err(Failure::Misconfigured) }
    }

    /// Tells of sessions that end elsewhere; see
    /// [`SessionStore::watch_revocations`](crate::SessionStore::watch_revocations).
    fn watch_revocations(
        &self,
        ear: RevocationSink,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = ear;
        async { Ok(()) }
    }

    /// The engine ends: waits for what is under way beside refreshes. Says how much did not end.
    fn drain(&self, cx: Context) -> impl Future<Output = usize> + Send {
        let _ = cx;
        async { 0 }
    }
}

/// What a request presents, verified as far as that goes without I/O.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Presented<'p> {
    /// The access token's session, if its signature and claims were good.
    pub access: Option<VerifiedToken<'p>>,
    /// The refresh token, as it came; nothing about it was checked.
    pub refresh: Option<&'p [u8]>,
}

impl<'p> Presented<'p> {
    pub(crate) fn new(access: Option<VerifiedToken<'p>>, refresh: Option<&'p [u8]>) -> Self {
        Self { access, refresh }
    }
}

/// What the holder of a verified access token holds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct VerifiedToken<'p> {
    /// The session.
    pub sid: &'p str,
    /// Tells the session's tokens apart.
    pub fingerprint: u64,
    /// When the access token expires, or has expired.
    pub expires: Timestamp,
    /// When the session ends for good.
    pub session_expires: Timestamp,
}

/// Which flight a request may start or join: the session, and what tells its tokens apart. Two
/// requests with the same one get the same tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightKey {
    /// The session.
    pub sid: Box<str>,
    /// Tells the session's tokens apart: from the refresh token's tag, or from the access token's
    /// signature. It has to cover every token that the refresh depends on, all of its text: a request
    /// with the same session and mark joins the flight of another one and is given its tokens, also
    /// after the flight has ended ([`result_window`](Refresher::result_window)). A mark of the access
    /// token alone hands the next refresh token to a request that never showed the former one.
    ///
    /// Where a request brings several refresh tokens of one session, the one with the greatest mark
    /// counts.
    pub fingerprint: u64,
}

/// What was admitted, to be refreshed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefreshRequest {
    /// What the access token said, if it was good or expired.
    pub grant: Option<SessionClaims>,
    /// The refresh token.
    pub refresh: Option<RefreshToken>,
    /// Whether the request is a person's, which begins the session's idle time anew.
    pub user_activity: bool,
    /// How long ago the request came that brought it. What was good then may be old by now.
    pub waited: Duration,
    /// Whether the access token is still good: without new ones the request goes on as it is.
    pub token_still_valid: bool,
    /// The client that showed the refresh token, authenticated. `None` at every place that
    /// authenticates none: there a token that belongs to a client is worth nothing.
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

/// A new access token is wanted for a session, and no new refresh token.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReissueRequest {
    /// What the access token that was presented said.
    pub grant: Option<SessionClaims>,
    /// When that access token expires, or has expired.
    pub expires: Option<Timestamp>,
    /// The refresh token that was presented.
    pub refresh: Option<RefreshToken>,
    /// The client that showed it, as in [`RefreshRequest::client`].
    pub client: Option<String>,
    /// How long the new access token may live at the most, if less than others.
    pub lifetime: Option<Duration>,
}

/// A new session.
#[derive(Clone)]
#[non_exhaustive]
pub struct SignInRequest {
    /// What its tokens are minted from.
    pub grant: SessionClaims,
    /// What the app noted of it: device, user agent.
    pub attributes: BTreeMap<String, String>,
    /// Tokens of another server that it rests on.
    pub issued: Option<AccessTokenResponse>,
    /// The session that the request presented. It ends once the new one is there.
    pub former: Option<String>,
}

/// What a request to sign out rests on.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Closing {
    /// The session that is to end: its access token was good, or within the leeway, when the request
    /// came, or its person ends it from another session.
    pub sid: Option<String>,
    /// The refresh token that the request brought, as it came. Where `sid` is `None` it has to name
    /// the session.
    pub refresh: Option<RefreshToken>,
}

impl Closing {
    /// Ends this session, whatever else the request brought.
    pub(crate) fn of(sid: impl Into<String>) -> Self {
        Self { sid: Some(sid.into()), refresh: None }
    }
}

/// What a refresh or a sign-in gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tokens {
    /// The signed access token.
    pub access: AccessToken,
    /// The refresh token, if there is another one.
    pub refresh: Option<RefreshToken>,
    /// When the session ends for good: how long a browser should keep the cookies.
    pub session_expires: Timestamp,
    /// Whether cookies outlive the browser.
    pub persistent: bool,
    /// From when on, by this node's monotonic clock, they have to be rechecked before they leave.
    pub(crate) recheck_at: Option<Duration>,
}

impl Tokens {
    /// An access token alone, of a session that ends then.
    pub fn new(access: AccessToken, session_expires: Timestamp) -> Self {
        Self { access, refresh: None, session_expires, persistent: true, recheck_at: None }
    }
}

/// One of a person's sessions.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its id.
    pub sid: String,
    /// Whose it is.
    pub subject: String,
    /// When it began.
    pub signed_in_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends unless it is refreshed.
    pub expires: Timestamp,
    /// What the app noted of it.
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

/// Why a refresher gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The session is over. Answered with 401.
    Rejected,
    /// Not now; the session may well be good. A token that is still good goes on, otherwise 503.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// Not until somebody changes the configuration. As `Unavailable`, and an error event.
    Misconfigured,
    /// A token of another server was sent that can be used once, and nobody knows what became of
    /// it. A token that is still good goes on, otherwise 401; the session is not ended, nor are
    /// cookies cleared, since a late answer revives it.
    InDoubt,
    /// There is no tokio runtime to do it, or the one that did has ended. As `Unavailable`, and an
    /// event.
    NoRuntime,
    /// What was presented is not this session's, whatever it says of itself. Answered with 401; the
    /// session is not ended, nor are cookies cleared.
    Foreign,
    /// The session is good, and the app's type does not take its claims. Answered with 401; the
    /// session is not ended, nor are cookies cleared, since another node may read them.
    UnreadClaims,
    /// Of a sign-in: the person has as many sessions as they may
    /// ([`Rotate::max_sessions`](crate::Rotate::max_sessions)).
    TooManySessions,
}

impl Failure {
    /// To be tried again in a second.
    pub const SOON: Self = Self::Unavailable { retry_after: Duration::from_secs(1) };

    /// Its name, as metrics and spans have it.
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
