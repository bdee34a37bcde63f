//! The app's decision on a session that is about to be refreshed.

use std::fmt;
use std::sync::Arc;

use super::EngineBuilder;
use crate::error::Failure;
use crate::mint::{ClaimSet, ClaimsObject, SessionClaims};
use crate::verify::{UnreadClaims, read_own};

/// The app's decision on a session that is about to be refreshed.
#[derive(Clone)]
#[non_exhaustive]
pub enum Revalidated<C> {
    /// The session goes on unchanged.
    Keep,
    /// The session goes on with these claims, such as a changed role.
    Replace(C),
    /// The session ends, such as after its user was disabled. The response is 401.
    ///
    /// This node refuses the session's access tokens from then on. Other nodes accept them until
    /// the tokens expire or those nodes revalidate the session too.
    End,
}

/// A session that is about to be refreshed, as the app sees it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Revalidation<C> {
    /// The session's user: the claim `sub`.
    pub subject: String,
    /// The session's id.
    pub sid: String,
    /// The session's claims. `Err`: they don't fit the app's type. [`Keep`](Revalidated::Keep) then
    /// has no claims to go on with: the response is 401, and the session stays as it is.
    pub claims: Result<C, UnreadClaims>,
}

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
    /// An `Err` means that the app can't decide at the moment, because its database is down, say. A
    /// request with a token that is still good then goes on; otherwise the response is 503. Only
    /// [`Revalidated::End`] ends a session. The hook may take as long as a refresh (30 s); requests
    /// wait 3 s for it.
    ///
    /// A session whose claims don't fit the app's type is refreshed at once, however fresh its
    /// token is, so that the hook can replace them: [`UnreadClaims`].
    pub fn revalidate_with<F, Fut, E>(mut self, hook: F) -> Self
    where
        F: Fn(Revalidation<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Revalidated<C>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let hook = Arc::new(hook);
        self.settings.revalidate = Some(Box::new(move |session_claims: SessionClaims| {
            let hook = hook.clone();
            Box::pin(async move {
                let SessionClaims { subject, sid, claims, .. } = session_claims;
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
