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
mod requests;
mod rotate;
mod rotation_rules;
#[cfg(test)]
mod rotation_tests;
mod sealer;
mod single_flight;
#[cfg(test)]
mod tests;
pub(crate) mod token;
mod tokens;
mod verified;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{ConfigError, Failure};
use crate::store::{RevocationSink, StoreError};

pub use context::{Context, Setup};
pub(crate) use erased::ErasedRefresher;
pub use keeper::UpstreamTokenKeeper;
pub use reissue::Reissue;
pub use requests::{
    Closing, FlightKey, Presented, RefreshRequest, ReissueRequest, SignInRequest, VerifiedToken,
};
pub(crate) use rotate::RENEWABLE;
pub use rotate::{AtMaxSessions, Rotate};
pub use sealer::{Sealer, UnsealError};
pub(crate) use token::Opened;
#[cfg(fuzzing)]
pub(crate) use token::Scope;
pub use token::{KeyRing, RefreshToken};
pub use tokens::{AccessTokenResponse, SessionInfo, Tokens, UpstreamAccessToken};
pub(crate) use verified::Confirms;

/// Makes fresh tokens for a session.
///
/// The engine verifies what a request presents, decides when to refresh, runs one
/// [`refresh`](Self::refresh) per session at a time in a task of its own, and delivers the tokens.
/// A refresher only decides which requests may have new tokens, and makes them.
///
/// # Security
/// A `Some` from [`identify`](Self::identify) and tokens from [`refresh`](Self::refresh) keep a
/// session alive: return them only while its [`SessionClaims::session_expires`](crate::refresher::SessionClaims::session_expires) lies in the future.
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

    /// Returns the access token of another server that backs this session and the kept members, for
    /// onward calls, after renewing it if necessary. `presented`: the request's refresh token, if it
    /// brought one.
    ///
    /// # Errors
    /// [`Failure::Misconfigured`] if sessions are not backed by tokens of another server.
    fn upstream_access_token(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> impl Future<Output = Result<UpstreamAccessToken, Failure>> + Send {
        let _ = (cx, sid, presented);
        async { Err(Failure::Misconfigured) }
    }

    /// Reports sessions that end elsewhere; see
    /// [`SessionStore::watch_revocations`](crate::store::SessionStore::watch_revocations).
    fn watch_revocations(
        &self,
        sink: RevocationSink,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = sink;
        async { Ok(()) }
    }

    /// Waits, when the engine shuts down, for work that runs beside refreshes. Returns how many
    /// pieces of work did not end.
    fn drain(&self, cx: Context) -> impl Future<Output = usize> + Send {
        let _ = cx;
        async { 0 }
    }
}
