//! [`Refresher`] without its type.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{
    Admission, Admitted, Closing, Context, Failure, Opening, Presented, RefreshToken, Refresher,
    Renewal, SessionInfo, Setup, Tokens,
};
use crate::clock::Timestamp;
use crate::config::ConfigError;
use crate::secret::AccessToken;
use crate::store::{Ear, StoreError};

/// [`Refresher`] with boxed futures, so that the engine has one type whatever the refresher.
pub(crate) trait ErasedRefresher: Send + Sync {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError>;
    fn uses_refresh_tokens(&self) -> bool;
    fn binds_clients(&self) -> bool;
    fn mints(&self) -> bool;
    fn largest_refresh_token(&self) -> usize;
    fn hands_over(&self) -> bool;
    fn result_window(&self) -> Duration;
    fn admits(&self, presented: Presented<'_>, now: Timestamp) -> Option<Admission>;
    fn names_session(&self, refresh: &[u8], sid: &str) -> bool;
    fn refresh(self: Arc<Self>, cx: Context, admitted: Admitted) -> Boxed<'static, Tokens>;
    fn renew(self: Arc<Self>, cx: Context, renewal: Renewal) -> Boxed<'static, Tokens>;
    fn find(&self, cx: Context, sid: String) -> Boxed<'_, Option<SessionInfo>>;
    fn is_over(&self, cx: Context, sid: String) -> Boxed<'_, bool>;
    fn recheck(&self, cx: Context, admitted: Admitted) -> BoxFuture<'_, bool>;
    fn sign_in(&self, cx: Context, opening: Opening) -> Boxed<'_, Tokens>;
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
        slide: bool,
    ) -> Boxed<'static, ()>;
    fn onward(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> Boxed<'_, AccessToken>;
    fn follow(self: Arc<Self>, ear: Ear) -> BoxFuture<'static, Result<(), StoreError>>;
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

    fn hands_over(&self) -> bool {
        Refresher::hands_over(self)
    }

    fn result_window(&self) -> Duration {
        Refresher::result_window(self)
    }

    fn admits(&self, presented: Presented<'_>, now: Timestamp) -> Option<Admission> {
        Refresher::admits(self, presented, now)
    }

    fn names_session(&self, refresh: &[u8], sid: &str) -> bool {
        Refresher::names_session(self, refresh, sid)
    }

    fn refresh(self: Arc<Self>, cx: Context, admitted: Admitted) -> Boxed<'static, Tokens> {
        Box::pin(async move { Refresher::refresh(&*self, cx, admitted).await })
    }

    fn renew(self: Arc<Self>, cx: Context, renewal: Renewal) -> Boxed<'static, Tokens> {
        Box::pin(async move { Refresher::renew(&*self, cx, renewal).await })
    }

    fn find(&self, cx: Context, sid: String) -> Boxed<'_, Option<SessionInfo>> {
        Box::pin(Refresher::find(self, cx, sid))
    }

    fn is_over(&self, cx: Context, sid: String) -> Boxed<'_, bool> {
        Box::pin(Refresher::is_over(self, cx, sid))
    }

    fn recheck(&self, cx: Context, admitted: Admitted) -> BoxFuture<'_, bool> {
        Box::pin(Refresher::recheck(self, cx, admitted))
    }

    fn sign_in(&self, cx: Context, opening: Opening) -> Boxed<'_, Tokens> {
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
        slide: bool,
    ) -> Boxed<'static, ()> {
        Box::pin(async move { Refresher::confirm(&*self, cx, sid, generation, slide).await })
    }

    fn onward(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> Boxed<'_, AccessToken> {
        Box::pin(Refresher::onward(self, cx, sid, presented))
    }

    fn follow(self: Arc<Self>, ear: Ear) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move { Refresher::follow(&*self, ear).await })
    }

    fn drain(&self, cx: Context) -> BoxFuture<'_, usize> {
        Box::pin(Refresher::drain(self, cx))
    }
}
