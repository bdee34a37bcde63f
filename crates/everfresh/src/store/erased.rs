//! A store with boxed futures, each call in a span of its own.

use futures::future::BoxFuture;
use tracing::Instrument as _;

use super::{
    Loaded, NewSession, RevocationSink, Rotation, SessionId, SessionRecord, SessionStore,
    StoreError,
};

/// [`SessionStore`] with boxed futures, so that its users need no type parameter.
pub(crate) trait ErasedStore: Send + Sync {
    fn create(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>>;
    fn load(&self, sid: SessionId) -> BoxFuture<'_, Result<Option<Loaded>, StoreError>>;
    fn rotate(&self, rotation: Rotation) -> BoxFuture<'_, Result<bool, StoreError>>;
    fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
    fn revoke(&self, sid: SessionId) -> BoxFuture<'_, Result<bool, StoreError>>;
    fn revoke_subject<'s>(
        &'s self,
        subject: &'s str,
        except: Option<SessionId>,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>>;
    fn list<'s>(
        &'s self,
        subject: &'s str,
    ) -> BoxFuture<'s, Result<Vec<SessionRecord>, StoreError>>;
    fn newest<'s>(
        &'s self,
        subject: &'s str,
        limit: usize,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>>;
    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>>;
    fn watch_revocations(&self, sink: RevocationSink) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Boxes one call of the store, in its own span.
fn call<'c, T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'c,
) -> BoxFuture<'c, Result<T, StoreError>> {
    let span = tracing::debug_span!(
        target: "everfresh",
        "everfresh.store",
        call = operation,
        failed = tracing::field::Empty,
    );
    let noted = span.clone();
    let work = async move {
        let answer = work.await;
        noted.record("failed", answer.is_err());
        answer
    };
    Box::pin(work.instrument(span))
}

impl<S: SessionStore> ErasedStore for S {
    fn create(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>> {
        call("create", SessionStore::create(self, new))
    }

    fn load(&self, sid: SessionId) -> BoxFuture<'_, Result<Option<Loaded>, StoreError>> {
        call("load", SessionStore::load(self, sid))
    }

    fn rotate(&self, rotation: Rotation) -> BoxFuture<'_, Result<bool, StoreError>> {
        call("rotate", SessionStore::rotate(self, rotation))
    }

    fn confirm(
        &self,
        sid: SessionId,
        generation: u64,
        user_activity: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        call("confirm", SessionStore::confirm(self, sid, generation, user_activity))
    }

    fn revoke(&self, sid: SessionId) -> BoxFuture<'_, Result<bool, StoreError>> {
        call("revoke", SessionStore::revoke(self, sid))
    }

    fn revoke_subject<'s>(
        &'s self,
        subject: &'s str,
        except: Option<SessionId>,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>> {
        call("revoke_subject", SessionStore::revoke_subject(self, subject, except))
    }

    fn list<'s>(
        &'s self,
        subject: &'s str,
    ) -> BoxFuture<'s, Result<Vec<SessionRecord>, StoreError>> {
        call("list", SessionStore::list(self, subject))
    }

    fn newest<'s>(
        &'s self,
        subject: &'s str,
        limit: usize,
    ) -> BoxFuture<'s, Result<Vec<SessionId>, StoreError>> {
        call("newest", SessionStore::newest(self, subject, limit))
    }

    fn sweep(&self, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        call("sweep", SessionStore::sweep(self, limit))
    }

    fn watch_revocations(&self, sink: RevocationSink) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(SessionStore::watch_revocations(self, sink))
    }
}
