//! What a session can rest on beside its row: tokens of another server.

use futures::future::BoxFuture;

use super::{Context, Failure, Sealer, Setup};
use crate::config::ConfigError;
use crate::endpoint::AccessTokenResponse;
use crate::secret::AccessToken;
use crate::store::{Loaded, NewUpstreamTokens, SessionId, SessionRecord};

/// Keeps the tokens of another server on which sessions rest, and renews them there.
///
/// [`Rotate::backed_by`](crate::Rotate::backed_by) takes one; `everfresh-upstream` has it. The row
/// holds the tokens, sealed; what travels is an access token of our own, which never outlives the
/// one in the row, and our own refresh token.
///
/// # Security
/// A refresh token of another server can often be used once: whoever sends it twice loses the
/// session, or looks like a thief. [`UpstreamTokenStore::reserve`](crate::UpstreamTokenStore::reserve) says who may.
pub trait UpstreamTokenKeeper: Send + Sync + 'static {
    /// Called once, by `build()`. `sealer` seals what the row is to hold.
    fn prepare(&self, setup: &Setup<'_>, sealer: Sealer) -> Result<(), ConfigError>;

    /// What the row of a new session is to hold. Whose tokens they are was said by the app, and is
    /// checked where the tokens say it too.
    fn seal_new(
        &self,
        cx: &Context,
        sid: SessionId,
        subject: &str,
        issued: AccessTokenResponse,
    ) -> impl Future<Output = Result<NewUpstreamTokens, Failure>> + Send;

    /// Sees to it that the tokens in this row last for a while, and gives the row as it then is.
    /// `token_still_valid`: the request holds an access token that is still good, and waits for nothing that is
    /// not to be had soon.
    fn renew(
        &self,
        cx: &Context,
        loaded: Loaded,
        token_still_valid: bool,
    ) -> impl Future<Output = Result<Loaded, Failure>> + Send;

    /// The access token in this row, for calls onward.
    fn access_token(&self, record: &SessionRecord) -> Result<AccessToken, Failure>;

    /// Ends a session: its row, and what that held, as it was in that moment. Says whether there was
    /// one. The other server is told beside the request.
    fn end(
        &self,
        cx: &Context,
        sid: SessionId,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Waits for what is under way, before the store closes. Says how much of it did not end.
    fn drain(&self, cx: &Context) -> impl Future<Output = usize> + Send;
}

/// [`UpstreamTokenKeeper`] with boxed futures, so that what uses one has one type.
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
    fn access_token(&self, record: &SessionRecord) -> Result<AccessToken, Failure>;
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

    fn access_token(&self, record: &SessionRecord) -> Result<AccessToken, Failure> {
        UpstreamTokenKeeper::access_token(self, record)
    }

    fn end<'c>(&'c self, cx: &'c Context, sid: SessionId) -> BoxFuture<'c, Result<bool, Failure>> {
        Box::pin(UpstreamTokenKeeper::end(self, cx, sid))
    }

    fn drain<'c>(&'c self, cx: &'c Context) -> BoxFuture<'c, usize> {
        Box::pin(UpstreamTokenKeeper::drain(self, cx))
    }
}
