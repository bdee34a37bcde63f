//! What a handler can do to its session: sign in, sign out, refresh.

use std::sync::Arc;

use super::{ClaimSet, Session, Standing, View};
use crate::carrier::Carrier;
use crate::edits::Outgoing;
use crate::error::{SessionError, SessionErrorKind};
use crate::mint::{self, ClaimsObject, Grant};
use crate::observe::Event;
use crate::refresh::flight::Haste;
use crate::refresh::{Context, Failure};
use crate::secret::AccessToken;

/// A sign-in with more than a subject and claims.
///
/// ```
/// use everfresh::{Carrier, SignIn};
///
/// let sign_in = SignIn::new("user-17", serde_json::json!({"name": "Ada"})).via(Carrier::headers());
/// ```
#[derive(Clone, Debug)]
pub struct SignIn<C> {
    subject: String,
    claims: C,
    via: Option<Carrier>,
}

impl<C> SignIn<C> {
    /// Signs in `subject`, the claim `sub`, with the app's own claims.
    pub fn new(subject: impl Into<String>, claims: C) -> Self {
        Self { subject: subject.into(), claims, via: None }
    }

    /// Delivers the tokens by this carrier, which must be one of the engine's.
    ///
    /// Otherwise they go the way the request's own token came, or by the first carrier.
    pub fn via(mut self, carrier: Carrier) -> Self {
        self.via = Some(carrier);
        self
    }
}

impl<C: ClaimSet> Session<C> {
    /// A fresh access token of this session, for calls that the service makes on the person's
    /// behalf. Minted when asked for; it is not the one that the client holds.
    ///
    /// Errors: `NotSignedIn`; `Unavailable` or `Misconfigured` if no token can be minted.
    pub fn access_token(&self) -> Result<AccessToken, SessionError> {
        let grant = self.grant()?;
        Ok(Context::new(self.0.core.clone()).mint(&grant)?.access)
    }

    /// Signs somebody in: a new session, whose tokens leave with this response.
    ///
    /// Whatever session the request presented is signed out. Handlers run after this see the new
    /// claims.
    ///
    /// Errors: `Claims` if the claims don't serialize to an object or use a registered name,
    /// `Misconfigured` if the token is too large for a cookie, `ResponseSent` if the response's
    /// head has left (the new session is taken back), `Unavailable` if the refresher can't now.
    pub async fn sign_in(&self, subject: impl Into<String>, claims: C) -> Result<(), SessionError> {
        self.sign_in_with(SignIn::new(subject, claims)).await
    }

    /// [`sign_in`](Self::sign_in) with more to say. Also `UnknownCarrier`, if `via` is not one of
    /// the engine's.
    pub async fn sign_in_with(&self, sign_in: SignIn<C>) -> Result<(), SessionError> {
        let core = &self.0.core;
        if self.sealed() {
            return Err(SessionErrorKind::ResponseSent.into());
        }
        let carrier = match &sign_in.via {
            None => self.0.carrier,
            Some(via) => core.carriers.position(via).ok_or(SessionErrorKind::UnknownCarrier)?,
        };
        let claims = ClaimsObject::new(&sign_in.claims)
            .map_err(|problem| SessionError::claims(problem.to_string()))?;
        let now = core.clock.now();
        let sid = mint::new_sid().map_err(|_| Failure::SOON)?;
        let grant = Grant {
            subject: sign_in.subject,
            sid: sid.clone(),
            claims,
            auth_time: now,
            session_expires: now.plus(core.session_lifetime),
        };
        let context = Context::new(core.clone());
        let tokens = core.refresher.sign_in(context.clone(), grant).await?;
        let verified = core.verify_own::<C>(&tokens.access)?;
        let former = self.sid();
        let view =
            View { standing: Standing::Present, reason: None, verified: Some(Arc::new(verified)) };
        if !self.replace(view, Outgoing::Tokens { carrier, tokens }, false) {
            core.refresher.sign_out(context, sid).await?;
            return Err(SessionErrorKind::ResponseSent.into());
        }
        core.emit(&Event::SignedIn { sid: &sid });
        if let Some(former) = former {
            core.sign_out(former).await?;
        }
        Ok(())
    }

    /// Signs out: the cookies are cleared with this response, and the session ends where the
    /// refresher keeps one. Clears cookies also where nobody is signed in (any more).
    ///
    /// Errors: `Unavailable` if the session could not be ended; the cookies are cleared still.
    pub async fn sign_out(&self) -> Result<(), SessionError> {
        let sid = self.any_sid();
        let view = View { standing: Standing::Absent, reason: None, verified: None };
        self.replace(view, Outgoing::Clear, false);
        match sid {
            Some(sid) => self.0.core.sign_out(sid).await,
            None => Ok(()),
        }
    }

    /// Refreshes now, whatever the token's age; claims are revalidated. Does nothing if this
    /// request was refreshed before.
    ///
    /// Errors: `NotSignedIn`, `Unavailable`, `Misconfigured`, `ResponseSent`.
    pub async fn refresh(&self) -> Result<(), SessionError> {
        if self.sealed() {
            return Err(SessionErrorKind::ResponseSent.into());
        }
        if self.is_refreshed() {
            return Ok(());
        }
        let flight = self.take_off(Haste::Awaited).ok_or(SessionErrorKind::NotSignedIn)?;
        let landing = flight.land(&self.0.core, self.0.core.waiter_limit).await;
        let failed = landing.as_ref().err().copied();
        match self.conclude(landing) {
            false => Err(SessionErrorKind::ResponseSent.into()),
            true => failed.map_or(Ok(()), |failure| Err(failure.into())),
        }
    }

    pub(super) fn grant(&self) -> Result<Grant, SessionError> {
        let grant = self.presented(|verified| {
            Some(Grant {
                subject: verified.subject.as_deref()?.into(),
                sid: verified.sid.as_deref()?.into(),
                claims: ClaimsObject::new(&*verified.claims).ok()?,
                auth_time: verified.auth_time?,
                session_expires: verified.session_expires?,
            })
        });
        grant.flatten().ok_or_else(|| SessionErrorKind::NotSignedIn.into())
    }
}
