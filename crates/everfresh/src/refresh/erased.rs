//! A [`Refresher`] whose type is erased.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{
    Closing, Context, Failure, FlightKey, Presented, RefreshRequest, RefreshToken, Refresher,
    ReissueRequest, SessionInfo, Setup, SignInRequest, Tokens, UpstreamAccessToken,
};
use crate::clock::Timestamp;
use crate::error::ConfigError;
use crate::store::{RevocationSink, StoreError};

/// [`Refresher`] with boxed futures, so that the engine has one type for every refresher.
pub(crate) trait ErasedRefresher: Send + Sync {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError>;
    fn uses_refresh_tokens(&self) -> bool;
    fn binds_clients(&self) -> bool;
    fn mints(&self) -> bool;
    fn largest_refresh_token(&self) -> usize;
    fn delivers_only_copy(&self) -> bool;
    fn result_window(&self) -> Duration;
    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey>;
    fn names_session(&self, refresh: &[u8], sid: &str) -> bool;
    fn refresh(self: Arc<Self>, cx: Context, admitted: RefreshRequest) -> Boxed<'static, Tokens>;
    fn reissue_access_token(
        self: Arc<Self>,
        cx: Context,
        renewal: ReissueRequest,
    ) -> Boxed<'static, Tokens>;
    fn find(&self, cx: Context, sid: String) -> Boxed<'_, Option<SessionInfo>>;
    fn is_over(&self, cx: Context, sid: String) -> Boxed<'_, bool>;
    fn may_still_deliver(&self, cx: Context, admitted: RefreshRequest) -> BoxFuture<'_, bool>;
    fn sign_in(&self, cx: Context, opening: SignInRequest) -> Boxed<'_, Tokens>;
    fn sign_out(&self, cx: Context, closing: Closing) -> Boxed<'_, Option<String>>;
    fn sign_out_all(
        &self,
        cx: Context,
        subject: String,
        except: Option<String>,
    ) -> Boxed<'_, Vec<String>>;
    fn sessions(&self, cx: Context, subject: String) -> Boxed<'_, Vec<SessionInfo>>;
    fn confirm(
        self: Arc<Self>,
        cx: Context,
        sid: String,
        generation: u64,
        user_activity: bool,
    ) -> Boxed<'static, ()>;
    fn upstream_access_token(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> Boxed<'_, UpstreamAccessToken>;
    fn watch_revocations(
        self: Arc<Self>,
        sink: RevocationSink,
    ) -> BoxFuture<'static, Result<(), StoreError>>;
    fn drain(&self, cx: Context) -> BoxFuture<'_, usize>;
}

type Boxed<'f, T> = BoxFuture<'f, Result<T, Failure>>;

impl<R: Refresher> ErasedRefresher for R {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        Refresher::prepare(self, setup)
    }

    fn uses_refresh_tokens(&self) -> bool {
        Refresher::uses_refresh_tokens(self)
    }

    fn binds_clients(&self) -> bool {
        Refresher::binds_clients(self)
    }

    fn mints(&self) -> bool {
        Refresher::mints(self)
    }

    fn largest_refresh_token(&self) -> usize {
        Refresher::largest_refresh_token(self)
    }

    fn delivers_only_copy(&self) -> bool {
        Refresher::delivers_only_copy(self)
    }

    fn result_window(&self) -> Duration {
        Refresher::result_window(self)
    }

    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey> {
        Refresher::identify(self, presented, now)
    }

    fn names_session(&self, refresh: &[u8], sid: &str) -> bool {
        Refresher::names_session(self, refresh, sid)
    }

    fn refresh(self: Arc<Self>, cx: Context, admitted: RefreshRequest) -> Boxed<'static, Tokens> {
        Box::pin(async move { Refresher::refresh(&*self, cx, admitted).await })
    }

    fn reissue_access_token(
        self: Arc<Self>,
        cx: Context,
        renewal: ReissueRequest,
    ) -> Boxed<'static, Tokens> {
        Box::pin(async move { Refresher::reissue_access_token(&*self, cx, renewal).await })
    }

    fn find(&self, cx: Context, sid: String) -> Boxed<'_, Option<SessionInfo>> {
        Box::pin(Refresher::find(self, cx, sid))
    }

    fn is_over(&self, cx: Context, sid: String) -> Boxed<'_, bool> {
        Box::pin(Refresher::is_over(self, cx, sid))
    }

    fn may_still_deliver(&self, cx: Context, admitted: RefreshRequest) -> BoxFuture<'_, bool> {
        Box::pin(Refresher::may_still_deliver(self, cx, admitted))
    }

    fn sign_in(&self, cx: Context, opening: SignInRequest) -> Boxed<'_, Tokens> {
        Box::pin(Refresher::sign_in(self, cx, opening))
    }

    fn sign_out(&self, cx: Context, closing: Closing) -> Boxed<'_, Option<String>> {
        Box::pin(Refresher::sign_out(self, cx, closing))
    }

    fn sign_out_all(
        &self,
        cx: Context,
        subject: String,
        except: Option<String>,
    ) -> Boxed<'_, Vec<String>> {
        Box::pin(Refresher::sign_out_all(self, cx, subject, except))
    }

    fn sessions(&self, cx: Context, subject: String) -> Boxed<'_, Vec<SessionInfo>> {
        Box::pin(Refresher::sessions(self, cx, subject))
    }

    fn confirm(
        self: Arc<Self>,
        cx: Context,
        sid: String,
        generation: u64,
        user_activity: bool,
    ) -> Boxed<'static, ()> {
        Box::pin(
            async move { Refresher::confirm(&*self, cx, sid, generation, user_activity).await },
        )
    }

    fn upstream_access_token(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> Boxed<'_, UpstreamAccessToken> {
        Box::pin(Refresher::upstream_access_token(self, cx, sid, presented))
    }

    fn watch_revocations(
        self: Arc<Self>,
        sink: RevocationSink,
    ) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move { Refresher::watch_revocations(&*self, sink).await })
    }

    fn drain(&self, cx: Context) -> BoxFuture<'_, usize> {
        Box::pin(Refresher::drain(self, cx))
    }
}
