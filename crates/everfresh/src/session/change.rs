//! The methods by which a handler changes its session: sign in, sign out, refresh.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Session, SessionStatus, View};
use crate::error::{Failure, SessionError, SessionErrorKind};
use crate::mint::{self, ClaimSet, ClaimsObject, SessionClaims};
use crate::observe::Event;
use crate::refresh::flight::{Mode, outcome_of, within};
use crate::refresh::{
    AccessTokenResponse, Closing, Confirms, Context, RENEWABLE, SessionInfo, SignInRequest,
    UpstreamAccessToken,
};
use crate::respond::Outgoing;
use crate::secret::AccessToken;
use crate::transport::{Location, Transport};

/// A sign-in with more options than a subject and claims.
///
/// ```
/// use everfresh::{Transport, SignIn};
///
/// let sign_in = SignIn::new("user-17", serde_json::json!({"name": "Ada"})).via(Transport::headers());
/// ```
#[derive(Clone)]
pub struct SignIn<C> {
    subject: String,
    claims: C,
    via: Option<Transport>,
    persistent: bool,
    lifetime: Option<Duration>,
    attributes: BTreeMap<String, String>,
    issued: Option<AccessTokenResponse>,
}

impl<C> SignIn<C> {
    /// Signs in `subject`, the claim `sub`, with the app's own claims.
    pub fn new(subject: impl Into<String>, claims: C) -> Self {
        Self {
            subject: subject.into(),
            claims,
            via: None,
            persistent: true,
            lifetime: None,
            attributes: BTreeMap::new(),
            issued: None,
        }
    }

    /// Sets whether the cookies outlive the browser session ("remember me"). The default is `true`.
    /// The choice holds for the session's life.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// Sets a shorter lifetime for this session than the engine's `session_lifetime`.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Stores an attribute of the session for the list of a user's sessions, such as a device or a
    /// user agent. The refresher keeps attributes where it keeps sessions.
    ///
    /// `client_id` is the OAuth 2 client that the session's refresh token is issued to. No other
    /// client can refresh it. No place that authenticates no client can refresh it either, and the
    /// layer is such a place (RFC 6749 sections 6 and 10.4). `scope` is the scope that was granted
    /// to that client.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Allows clients to exchange the session's access tokens for new ones at the endpoint of a
    /// [`Dialect`](crate::dialect::Dialect) whose clients hold no other token, such as `VIJIL` and
    /// `REDIS_ENTERPRISE`. Stored as the attribute `renewable_by`.
    ///
    /// # Security
    /// An attacker who copies an access token of such a session, while it is good or shortly after,
    /// can keep it alive until the session ends. Without this option the copy is worth nothing
    /// after it has expired. Copies are noticed only if the session's refresh token is rotated as
    /// well.
    pub fn renewable_by_access_token(self) -> Self {
        let (name, value) = RENEWABLE;
        self.attribute(name, value)
    }

    /// Bases the session on tokens of another server: it lasts as long as they can be renewed
    /// there. For refreshers that support this, which also require it.
    pub fn backed_by(mut self, issued: AccessTokenResponse) -> Self {
        self.issued = Some(issued);
        self
    }

    /// Sends the tokens by this transport, which must be one of the engine's.
    ///
    /// Without this, the tokens go back by the transport of the request's own token, or by the
    /// first transport.
    pub fn via(mut self, transport: Transport) -> Self {
        self.via = Some(transport);
        self
    }
}

impl<C> fmt::Debug for SignIn<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("via", &self.via)
            .field("persistent", &self.persistent)
            .field("lifetime", &self.lifetime)
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

impl<C: ClaimSet> Session<C> {
    /// Returns a fresh access token of this session, for calls that the service makes to itself on
    /// behalf of the user. The token is minted on each call, and differs from the token that the
    /// client holds.
    ///
    /// It has this engine's own audience. Any holder can use it here, and with
    /// [`Reissue`](crate::Reissue) keep it alive until the session ends. For calls to another
    /// service, use [`access_token_for`](Self::access_token_for).
    ///
    /// # Errors
    /// `NotSignedIn`; `Unavailable` or `Misconfigured` if no token can be minted.
    pub fn access_token(&self) -> Result<AccessToken, SessionError> {
        let session_claims = self.session_claims()?;
        Ok(Context::new(self.0.core.clone()).mint(&session_claims)?.access)
    }

    /// Returns an access token for another service, which is its audience (`aud`), for calls on
    /// behalf of the user. It has the user (`sub`), `auth_time` and the app's claims. It lives for
    /// `lifetime` in whole seconds, no longer than the engine's `access_lifetime` and the session.
    ///
    /// The token names no session. This engine refuses it, no refresh extends it, and the other
    /// service accepts it until it expires, also after a sign-out. A service that holds it can't
    /// use it elsewhere (RFC 9068 section 3, RFC 9700 section 2.3).
    ///
    /// # Errors
    /// `NotSignedIn`; `Audience` if the audience is empty or this engine's own; `Rejected` if less
    /// than a second is left; `Unavailable` or `Misconfigured` if no token can be minted.
    /// ```
    /// # use everfresh::{AccessToken, Session, SessionError};
    /// # use std::time::Duration;
    /// fn for_billing(session: &Session<()>) -> Result<AccessToken, SessionError> {
    ///     session.access_token_for("https://billing.example", Duration::from_secs(60))
    /// }
    /// ```
    pub fn access_token_for(
        &self,
        audience: &str,
        lifetime: Duration,
    ) -> Result<AccessToken, SessionError> {
        let core = &self.0.core;
        if audience.is_empty() || audience == core.settings.rules.audience {
            return Err(SessionErrorKind::Audience.into());
        }
        let session_claims = self.session_claims()?;
        Ok(Context::new(core.clone()).mint_onward(&session_claims, audience, lifetime)?)
    }

    /// Returns what a token of the signed-in user is minted from.
    fn session_claims(&self) -> Result<SessionClaims, SessionError> {
        let session_claims =
            self.verified(|verified| verified.session_claims(Confirms::Nothing)).flatten();
        session_claims.ok_or_else(|| SessionErrorKind::NotSignedIn.into())
    }

    /// Returns the access token of the other server that this session is based on, for calls to
    /// services that accept it, and the members that its dialect keeps of the responses. The
    /// refresher renews it there if necessary.
    ///
    /// ```
    /// # use everfresh::{Session, SessionError};
    /// async fn call(session: &Session<()>) -> Result<(String, String), SessionError> {
    ///     let token = session.upstream_access_token().await?;
    ///     let address = token.kept("instance_url").unwrap_or("https://login.salesforce.com");
    ///     Ok((format!("{address}/services/data"), format!("Bearer {}", token.expose())))
    /// }
    /// ```
    ///
    /// # Errors
    /// `NotSignedIn`; `Unavailable`; `Rejected` if the session is over there; `Misconfigured` if
    /// sessions are not based on another server's tokens.
    pub async fn upstream_access_token(&self) -> Result<UpstreamAccessToken, SessionError> {
        let sid = self.sid().ok_or(SessionErrorKind::NotSignedIn)?;
        let core = self.0.core.clone();
        let cx = Context::new(core.clone());
        let presented = self.refresh_token();
        let task = core.detached(async move { cx.upstream_access_token(sid, presented).await });
        let limited = within(&self.0.core, self.0.core.settings.refresh_timeout, task).await;
        Ok(limited.unwrap_or(Err(Failure::SOON))?)
    }

    /// Signs a user in: a new session, whose tokens are sent with this response.
    ///
    /// The session that the request presented is signed out, by the rule of
    /// [`sign_out`](Self::sign_out). Handlers that run after this see the new claims.
    ///
    /// # Errors
    /// * `Claims` if the claims don't serialize to an object, can't be read back from it or use a
    ///   registered name. An enum's variant without members is a string, and not an object.
    /// * `Misconfigured` if the token is too large for a cookie.
    /// * `TooManySessions` if the user has reached the maximum number of sessions and the refresher
    ///   refuses more.
    /// * `ResponseSent` if the response's head has been sent. The new session is ended again.
    /// * `Unavailable` if the refresher can't sign in at the moment.
    /// * `CrossSite` if another site caused the request and the token would be sent in a cookie,
    ///   because a form on another site could sign users in to an attacker's account. Name an
    ///   identity provider that posts its answer by `trusted_origin_for`.
    /// * `InsecureHost` as [`SessionStatus::InsecureHost`].
    pub async fn sign_in(&self, subject: impl Into<String>, claims: C) -> Result<(), SessionError> {
        self.sign_in_with(SignIn::new(subject, claims)).await
    }

    /// [`sign_in`](Self::sign_in) with more options.
    ///
    /// # Errors
    /// As [`sign_in`](Self::sign_in), and `UnknownTransport` if `via` is not one of the engine's
    /// transports.
    pub async fn sign_in_with(&self, sign_in: SignIn<C>) -> Result<(), SessionError> {
        let core = &self.0.core;
        self.check_open()?;
        let transport = match &sign_in.via {
            None => self.0.request.transport,
            Some(via) => core.transports.position(via).ok_or(SessionErrorKind::UnknownTransport)?,
        };
        let is_cookie = |location: &&Location| matches!(location, Location::Cookie(_));
        let by_cookie = core.transports.get(transport).locations().iter().any(is_cookie);
        if by_cookie && !self.0.request.same_origin {
            return Err(SessionErrorKind::CrossSite.into());
        }
        let claims = ClaimsObject::of_app(&sign_in.claims)
            .and_then(|claims| claims.fit_for(core.settings.profile))
            .map_err(|problem| SessionError::claims(problem.to_string()))?;
        let now = core.now();
        let lifetime = sign_in.lifetime.unwrap_or(core.settings.session_lifetime);
        let sid = mint::new_sid().map_err(|_| Failure::SOON)?;
        let session_claims = SessionClaims {
            subject: sign_in.subject,
            sid: sid.clone(),
            claims,
            auth_time: now,
            session_expires: now.plus(lifetime.min(core.settings.session_lifetime)),
            generation: None,
            persistent: sign_in.persistent,
        };
        let context = Context::new(core.clone());
        let SignIn { attributes, issued, .. } = sign_in;
        let former = self.closing();
        core.settle(&session_claims.subject).await?;
        let named = core.named(&former, now);
        let opening = SignInRequest { session_claims, attributes, issued, former: named };
        let tokens = core.refresher.sign_in(context.clone(), opening).await?;
        core.check_fit(&sid, Some(&tokens.access), tokens.refresh.as_ref())?;
        let verified = core.verify_own::<C>(&tokens.access, core.now())?;
        let view = View::of(verified);
        let outgoing = Outgoing::Tokens { transport, tokens, asked: true };
        if !self.replace(view, outgoing) {
            // A failure changes nothing: no client got a token of this session.
            let _ = core.refresher.sign_out(context, Closing::of(sid)).await;
            return Err(SessionErrorKind::ResponseSent.into());
        }
        core.emit(&Event::SignedIn { sid: &sid });
        // The user is signed in all the same. A sign-out that fails is tried again.
        let _ = core.sign_out(former).await;
        Ok(())
    }

    /// Signs out: the response clears the cookies, and the session ends if the refresher keeps it.
    /// The cookies are cleared also if no user is signed in (any more).
    ///
    /// The session ends for an access token that is good, or within the leeway. Otherwise it ends
    /// for a refresh token that the refresher recognizes as its own. With `Rotate`, that is the
    /// current token or the one before. An access token that is past its leeway ends nothing.
    ///
    /// # Errors
    /// * `Unavailable` if the session could not be ended. The cookies are still cleared, and this
    ///   node refuses the session. The engine tries again until the store takes it, the session has
    ///   ended by itself or the engine ends; `Event::RevokeFailed` reports if it gave up. A
    ///   sign-out that is based on a refresh token alone is given up at once, since the engine
    ///   keeps no token.
    /// * `CrossSite` if another site caused the request and no header carries a session, because
    ///   another site must not clear the app's cookies.
    pub async fn sign_out(&self) -> Result<(), SessionError> {
        let closing = self.closing();
        let by_header = closing.refresh.is_some() || self.presented(|_| ()).is_some();
        if !self.0.request.same_origin && !by_header {
            return Err(SessionErrorKind::CrossSite.into());
        }
        let view = View { status: SessionStatus::Absent, reason: None, verified: None };
        let clear = if self.0.request.same_origin {
            Outgoing::Clear { dead: false }
        } else {
            Outgoing::Nothing
        };
        if !self.replace(view, clear) {
            self.lock().now = Some(View::without_token(SessionStatus::Absent, None));
        }
        Ok(self.0.core.sign_out(closing).await?)
    }

    /// Refreshes now, whatever the token's age. The app's revalidation is called.
    ///
    /// Does nothing if this request was refreshed before. Takes the result of a refresh of the same
    /// token that ran within the last 30 s, so that all callers share one refresh.
    ///
    /// # Errors
    /// `NotSignedIn`, `Rejected`, `Unavailable`, `Misconfigured`, `ResponseSent`, `InsecureHost`.
    pub async fn refresh(&self) -> Result<(), SessionError> {
        self.check_open()?;
        if self.is_refreshed() {
            return Ok(());
        }
        let core = &self.0.core;
        let joined = self.join_flight(Mode::Blocking, core.now());
        let mut joined = joined.ok_or(SessionErrorKind::NotSignedIn)?;
        let result = joined.wait(core, core.settings.refresh_timeout).await;
        self.note_flight(joined.entry, outcome_of(&result));
        let now = core.now();
        let end = self.accept(result, &joined, now);
        let failed = end.as_ref().err().copied();
        match self.conclude(end, &joined, true, now) {
            false => Err(SessionErrorKind::ResponseSent.into()),
            true => failed.map_or(Ok(()), |failure| Err(failure.into())),
        }
    }
}

impl<C: ClaimSet> Session<C> {
    /// Returns the sessions of the signed-in user, the latest first. Listing sessions and ending
    /// them needs no claims, so that it works with [`SessionStatus::UnreadClaims`] too.
    ///
    /// # Errors
    /// `NotSignedIn`; `Unavailable`; `Misconfigured` if the refresher keeps no sessions.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, SessionError> {
        let subject = self.user_subject().ok_or(SessionErrorKind::NotSignedIn)?;
        let cx = Context::new(self.0.core.clone());
        Ok(self.0.core.refresher.sessions(cx, subject).await?)
    }

    /// Signs another session of the same user out. Returns whether there was one, which is never
    /// the case if the refresher keeps no sessions.
    ///
    /// # Errors
    /// `NotSignedIn`; `Unavailable`. If the store did not take the sign-out, it is tried again, as
    /// in [`sign_out`](Self::sign_out).
    pub async fn sign_out_session(&self, sid: &str) -> Result<bool, SessionError> {
        let subject = self.user_subject().ok_or(SessionErrorKind::NotSignedIn)?;
        let cx = Context::new(self.0.core.clone());
        let found = self.0.core.refresher.find(cx, sid.to_owned()).await?;
        let own = found.is_some_and(|session| session.subject == subject);
        if own {
            self.0.core.sign_out(Closing::of(sid)).await?;
        }
        Ok(own)
    }

    /// Signs every other session of the same user out. Returns how many there were.
    ///
    /// # Errors
    /// As [`sessions`](Self::sessions). After `Unavailable` it is tried again, as in
    /// [`sign_out`](Self::sign_out), and ends the sessions that exist at that time. A sign-in of
    /// the user on this node waits for it. A sign-in on another node, in the seconds between, is
    /// ended too.
    pub async fn sign_out_others(&self) -> Result<usize, SessionError> {
        self.sign_out_all(self.user_sid()).await
    }

    /// Signs the user out everywhere, also here. Returns how many sessions there were.
    ///
    /// # Errors
    /// As [`sessions`](Self::sessions), and as [`sign_out`](Self::sign_out).
    pub async fn sign_out_everywhere(&self) -> Result<usize, SessionError> {
        let ended = self.sign_out_all(None).await?;
        self.sign_out().await?;
        Ok(ended)
    }

    fn user_subject(&self) -> Option<String> {
        self.user(|verified| verified.subject.as_deref().map(Into::into))?
    }

    async fn sign_out_all(&self, except: Option<String>) -> Result<usize, SessionError> {
        let subject = self.user_subject().ok_or(SessionErrorKind::NotSignedIn)?;
        Ok(self.0.core.sign_out_all(subject, except).await?)
    }
}
