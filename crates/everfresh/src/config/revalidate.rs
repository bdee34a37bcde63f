//! The app's word on a session that is about to be refreshed.

use std::fmt;
use std::sync::Arc;

use super::EngineBuilder;
use crate::mint::{ClaimsObject, SessionClaims};
use crate::refresh::Failure;
use crate::session::ClaimSet;
use crate::verify::{UnreadClaims, read_own};

/// What the app says to a session that is about to be refreshed.
#[derive(Clone)]
#[non_exhaustive]
pub enum Revalidated<C> {
    /// It goes on as it is.
    Keep,
    /// It goes on with these claims: a role that changed.
    Replace(C),
    /// It ends: a person who was disabled. Answered with 401.
    ///
    /// This node refuses the session's access tokens from then on; where several nodes serve,
    /// another one takes them until they expire or until it asks too.
    End,
}

/// A session that is about to be refreshed, for the app to look at.
#[derive(Clone)]
#[non_exhaustive]
pub struct Revalidation<C> {
    /// Whose session it is: the claim `sub`.
    pub subject: String,
    /// The session's id.
    pub sid: String,
    /// The claims that it has. `Err`: the app's type does not take them, so that
    /// [`Keep`](Revalidated::Keep) is no answer: the request is 401, and the session stays as it is.
    pub claims: Result<C, UnreadClaims>,
}

/// The app's revalidation with its types erased: new claims, none, or a failure.
pub(crate) type Revalidate = Box<
    dyn Fn(
            SessionClaims,
        ) -> futures::future::BoxFuture<'static, Result<Option<ClaimsObject>, Failure>>
        + Send
        + Sync,
>;

impl<C> fmt::Debug for Revalidated<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Replace(_) => "Replace(..)",
            Self::End => "End",
        })
    }
}

impl<C> fmt::Debug for Revalidation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revalidation").field("sid", &self.sid).finish_non_exhaustive()
    }
}

impl<C: ClaimSet> EngineBuilder<C> {
    /// Asks the app at every refresh whether the session goes on, and with which claims.
    ///
    /// An `Err` means that the app does not know at the moment (its database is down): a token
    /// that is still good goes on, otherwise the answer is 503. Only [`Revalidated::End`] ends a
    /// session. It may take as long as a refresh (30 s); requests wait 3 s for it.
    ///
    /// A session whose claims the app's type does not take is refreshed at once, however fresh its
    /// token is, so that the hook can give others: [`UnreadClaims`].
    pub fn revalidate_with<F, Fut, E>(mut self, hook: F) -> Self
    where
        F: Fn(Revalidation<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Revalidated<C>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let hook = Arc::new(hook);
        self.revalidate = Some(Box::new(move |grant: SessionClaims| {
            let hook = hook.clone();
            Box::pin(async move {
                let SessionClaims { subject, sid, claims, .. } = grant;
                let claims = read_own(claims.as_str());
                match hook(Revalidation { subject, sid, claims }).await {
                    Ok(Revalidated::Keep) => Ok(None),
                    Ok(Revalidated::Replace(claims)) => match ClaimsObject::of_app(&claims) {
                        Ok(claims) => Ok(Some(claims)),
                        Err(problem) => {
                            tracing::error!(target: "everfresh", %problem, "claims refused");
                            Err(Failure::Misconfigured)
                        }
                    },
                    Ok(Revalidated::End) => Err(Failure::Rejected),
                    Err(error) => {
                        tracing::warn!(target: "everfresh", %error, "revalidation failed");
                        Err(Failure::SOON)
                    }
                }
            })
        }));
        self
    }
}
