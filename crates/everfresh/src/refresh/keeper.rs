//! What can back a session besides its row: tokens of another server.

use futures::future::BoxFuture;

use super::{Context, Failure, Sealer, Setup};
use crate::error::ConfigError;
use crate::refresh::{AccessTokenResponse, UpstreamAccessToken};
use crate::store::{Loaded, NewUpstreamTokens, SessionId, SessionRecord};

/// Keeps the tokens of another server on which sessions rest, and renews them there.
///
/// [`Rotate::backed_by`](crate::Rotate::backed_by) takes a keeper; `everfresh-upstream` provides
/// one. The row holds the other server's tokens, sealed. Clients hold everfresh's refresh token and
/// an access token of everfresh, which never outlives the access token in the row.
///
/// # Security
/// A refresh token of another server can often be used once: a node that sends it twice loses the
/// session, or the server detects reuse.
/// [`UpstreamTokenStore::reserve`](crate::store::UpstreamTokenStore::reserve) decides which node may send
/// it.
pub trait UpstreamTokenKeeper: Send + Sync + 'static {
    /// Checks the keeper's settings. `build()` calls it once. `sealer` seals the tokens for the
    /// row.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is unfit.
    fn prepare(&self, setup: &Setup<'_>, sealer: Sealer) -> Result<(), ConfigError>;

    /// Returns the sealed tokens for the row of a new session. The app names the subject of the
    /// tokens; the keeper checks it if the tokens name their subject too.
    fn seal_new(
        &self,
        cx: &Context,
        sid: SessionId,
        subject: &str,
        issued: AccessTokenResponse,
    ) -> impl Future<Output = Result<NewUpstreamTokens, Failure>> + Send;

    /// Renews the tokens in this row if they expire soon, and returns the row as it then is.
    /// `token_still_valid`: the request holds an access token that is still good, so it waits only
    /// for results that are available soon.
    fn renew(
        &self,
        cx: &Context,
        loaded: Loaded,
        token_still_valid: bool,
    ) -> impl Future<Output = Result<Loaded, Failure>> + Send;

    /// Returns the access token in this row and the kept members, for onward calls.
    fn access_token(&self, record: &SessionRecord) -> Result<UpstreamAccessToken, Failure>;

    /// Ends a session: its row, and the tokens that the row held at that moment. Returns whether
    /// there was a session. The other server is told beside the request.
    fn end(
        &self,
        cx: &Context,
        sid: SessionId,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Waits for work that is under way, before the store closes. Returns how many pieces of work
    /// did not end.
    fn drain(&self, cx: &Context) -> impl Future<Output = usize> + Send;
}

/// [`UpstreamTokenKeeper`] with boxed futures, so that [`Rotate`](super::Rotate) has one type.
pub(super) trait ErasedUpstreamTokenKeeper: Send + Sync {
    fn prepare(&self, setup: &Setup<'_>, sealer: Sealer) -> Result<(), ConfigError>;
    fn seal_new<'c>(
        &'c self,
        cx: &'c Context,
        sid: SessionId,
        subject: &'c str,
        issued: AccessTokenResponse,
    ) -> BoxFuture<'c, Result<NewUpstreamTokens, Failure>>;
    fn renew<'c>(
        &'c self,
        cx: &'c Context,
        loaded: Loaded,
        token_still_valid: bool,
    ) -> BoxFuture<'c, Result<Loaded, Failure>>;
    fn access_token(&self, record: &SessionRecord) -> Result<UpstreamAccessToken, Failure>;
    fn end<'c>(&'c self, cx: &'c Context, sid: SessionId) -> BoxFuture<'c, Result<bool, Failure>>;
    fn drain<'c>(&'c self, cx: &'c Context) -> BoxFuture<'c, usize>;
}

impl<K: UpstreamTokenKeeper> ErasedUpstreamTokenKeeper for K {
    fn prepare(&self, setup: &Setup<'_>, sealer: Sealer) -> Result<(), ConfigError> {
        UpstreamTokenKeeper::prepare(self, setup, sealer)
    }

    fn seal_new<'c>(
        &'c self,
        cx: &'c Context,
        sid: SessionId,
        subject: &'c str,
        issued: AccessTokenResponse,
    ) -> BoxFuture<'c, Result<NewUpstreamTokens, Failure>> {
        Box::pin(UpstreamTokenKeeper::seal_new(self, cx, sid, subject, issued))
    }

    fn renew<'c>(
        &'c self,
        cx: &'c Context,
        loaded: Loaded,
        token_still_valid: bool,
    ) -> BoxFuture<'c, Result<Loaded, Failure>> {
        Box::pin(UpstreamTokenKeeper::renew(self, cx, loaded, token_still_valid))
    }

    fn access_token(&self, record: &SessionRecord) -> Result<UpstreamAccessToken, Failure> {
        UpstreamTokenKeeper::access_token(self, record)
    }

    fn end<'c>(&'c self, cx: &'c Context, sid: SessionId) -> BoxFuture<'c, Result<bool, Failure>> {
        Box::pin(UpstreamTokenKeeper::end(self, cx, sid))
    }

    fn drain<'c>(&'c self, cx: &'c Context) -> BoxFuture<'c, usize> {
        Box::pin(UpstreamTokenKeeper::drain(self, cx))
    }
}
