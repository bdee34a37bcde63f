//! What a session can rest on beside its row: tokens of another server.

use futures::future::BoxFuture;

use super::{Context, Failure, Setup, Vault};
use crate::config::ConfigError;
use crate::endpoint::Issued;
use crate::secret::AccessToken;
use crate::store::{Loaded, NewCustody, SessionId, SessionRecord};

/// Keeps the tokens of another server on which sessions rest, and renews them there.
///
/// [`Rotate::resting_on`](crate::Rotate::resting_on) takes one; `everfresh-upstream` has it. The row
/// holds the tokens, sealed; what travels is an access token of our own, which never outlives the
/// one in the row, and our own refresh token.
///
/// # Security
/// A refresh token of another server can often be used once: whoever sends it twice loses the
/// session, or looks like a thief. [`CustodyStore::claim`](crate::CustodyStore::claim) says who may.
pub trait Custodian: Send + Sync + 'static {
    /// Called once, by `build()`. `vault` seals what the row is to hold.
    fn prepare(&self, setup: &Setup<'_>, vault: Vault) -> Result<(), ConfigError>;

    /// What the row of a new session is to hold. Whose tokens they are was said by the app, and is
    /// checked where the tokens say it too.
    fn deposit(
        &self,
        cx: &Context,
        sid: SessionId,
        subject: &str,
        issued: Issued,
    ) -> impl Future<Output = Result<NewCustody, Failure>> + Send;

    /// Sees to it that the tokens in this row last for a while, and gives the row as it then is.
    /// `spare`: the request holds an access token that is still good, and waits for nothing that is
    /// not to be had soon.
    fn renew(
        &self,
        cx: &Context,
        loaded: Loaded,
        spare: bool,
    ) -> impl Future<Output = Result<Loaded, Failure>> + Send;

    /// The access token in this row, for calls onward.
    fn withdraw(&self, record: &SessionRecord) -> Result<AccessToken, Failure>;

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

/// [`Custodian`] with boxed futures, so that what uses one has one type.
pub(super) trait ErasedCustodian: Send + Sync {
    fn prepare(&self, setup: &Setup<'_>, vault: Vault) -> Result<(), ConfigError>;
    fn deposit<'c>(
        &'c self,
        cx: &'c Context,
        sid: SessionId,
        subject: &'c str,
        issued: Issued,
    ) -> BoxFuture<'c, Result<NewCustody, Failure>>;
    fn renew<'c>(
        &'c self,
        cx: &'c Context,
        loaded: Loaded,
        spare: bool,
    ) -> BoxFuture<'c, Result<Loaded, Failure>>;
    fn withdraw(&self, record: &SessionRecord) -> Result<AccessToken, Failure>;
    fn end<'c>(&'c self, cx: &'c Context, sid: SessionId) -> BoxFuture<'c, Result<bool, Failure>>;
    fn drain<'c>(&'c self, cx: &'c Context) -> BoxFuture<'c, usize>;
}

impl<K: Custodian> ErasedCustodian for K {
    fn prepare(&self, setup: &Setup<'_>, vault: Vault) -> Result<(), ConfigError> {
        Custodian::prepare(self, setup, vault)
    }

    fn deposit<'c>(
        &'c self,
        cx: &'c Context,
        sid: SessionId,
        subject: &'c str,
        issued: Issued,
    ) -> BoxFuture<'c, Result<NewCustody, Failure>> {
        Box::pin(Custodian::deposit(self, cx, sid, subject, issued))
    }

    fn renew<'c>(
        &'c self,
        cx: &'c Context,
        loaded: Loaded,
        spare: bool,
    ) -> BoxFuture<'c, Result<Loaded, Failure>> {
        Box::pin(Custodian::renew(self, cx, loaded, spare))
    }

    fn withdraw(&self, record: &SessionRecord) -> Result<AccessToken, Failure> {
        Custodian::withdraw(self, record)
    }

    fn end<'c>(&'c self, cx: &'c Context, sid: SessionId) -> BoxFuture<'c, Result<bool, Failure>> {
        Box::pin(Custodian::end(self, cx, sid))
    }

    fn drain<'c>(&'c self, cx: &'c Context) -> BoxFuture<'c, usize> {
        Box::pin(Custodian::drain(self, cx))
    }
}
