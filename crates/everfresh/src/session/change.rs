//! What a handler can do to its session: sign in, sign out, refresh.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{ClaimSet, Session, SessionStatus, View};
use crate::carrier::{Location, Transport};
use crate::endpoint::AccessTokenResponse;
use crate::error::{SessionError, SessionErrorKind};
use crate::mint::{self, ClaimsObject, SessionClaims};
use crate::observe::Event;
use crate::refresh::flight::{Mode, outcome_of, within};
use crate::refresh::{Closing, Context, Failure, RENEWABLE, SessionInfo, SignInRequest};
use crate::respond::Outgoing;
use crate::secret::AccessToken;
use crate::verify::Verified;

/// A sign-in with more than a subject and claims.
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

    /// Whether the cookies outlive the browser ("remember me"). They do unless this says no, and it
    /// stays so for the session's life.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = persistent;
        self
    }

    /// A shorter life for this session than the engine's `session_lifetime`.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Notes something of the session for the list of a person's sessions: a device, a user agent.
    /// Kept where the refresher keeps sessions.
    ///
    /// `client_id` is the OAuth 2 client that the session's refresh token is issued to: no other
    /// client can refresh it, and no place that authenticates none, the layer included (RFC 6749
    /// sections 6 and 10.4). `scope` is what that client was granted.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Its access tokens may be exchanged for new ones at the endpoint of a
    /// [`Dialect`](crate::Dialect) whose clients hold nothing else, such as `VIJIL` and
    /// `REDIS_ENTERPRISE`. Noted as the attribute `renewable_by`.
    ///
    /// # Security
    /// An access token of such a session, copied while it is good or shortly after, can be kept alive
    /// until the session ends; without this it is worth nothing after it has expired. Copies are
    /// noticed only where the session's refresh token is rotated as well.
    pub fn renewable_by_access_token(self) -> Self {
        let (name, value) = RENEWABLE;
        self.attribute(name, value)
    }

    /// The session rests on tokens of another server: it lasts as long as they can be renewed
    /// there. For refreshers that do so, and required by them.
    pub fn backed_by(mut self, issued: AccessTokenResponse) -> Self {
        self.issued = Some(issued);
        self
    }

    /// Delivers the tokens by this carrier, which must be one of the engine's.
    ///
    /// Otherwise they go the way the request's own token came, or by the first carrier.
    pub fn via(mut self, carrier: Transport) -> Self {
        self.via = Some(carrier);
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
    /// A fresh access token of this session, for calls that the service makes to itself on the
    /// person's behalf. Minted when asked for; it is not the one that the client holds.
    ///
    /// It has this engine's own audience: who gets it can use it here, and with
    /// [`Reissue`](crate::Reissue) keep it alive until the session ends. For calls to another service
    /// there is [`access_token_for`](Self::access_token_for).
    ///
    /// Errors: `NotSignedIn`; `Unavailable` or `Misconfigured` if no token can be minted.
    pub fn access_token(&self) -> Result<AccessToken, SessionError> {
        let grant = self.grant()?;
        Ok(Context::new(self.0.core.clone()).mint(&grant)?.access)
    }

    /// An access token for another service, which is its audience (`aud`), for calls on the person's
    /// behalf. It has the person (`sub`), `auth_time` and the app's claims, and lives for `lifetime`
    /// in whole seconds, no longer than the engine's `access_lifetime` and the session.
    ///
    /// It names no session: this engine refuses it, nothing refreshes it, and it counts at that
    /// service until it expires, also after a sign-out. A service that holds it can't use it
    /// elsewhere (RFC 9068 section 3, RFC 9700 section 2.3).
    ///
    /// Errors: `NotSignedIn`; `Audience` if the audience is empty or this engine's own; `Rejected`
    /// if less than a second is left; `Unavailable` or `Misconfigured` if no token can be minted.
    ///
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
        if audience.is_empty() || audience == core.rules.audience {
            return Err(SessionErrorKind::Audience.into());
        }
        let grant = self.grant()?;
        Ok(Context::new(core.clone()).mint_onward(&grant, audience, lifetime)?)
    }

    /// What a token of whoever is signed in is minted from.
    fn grant(&self) -> Result<SessionClaims, SessionError> {
        let grant = self.verified(|verified| grant_of(verified)).flatten();
        grant.ok_or_else(|| SessionErrorKind::NotSignedIn.into())
    }

    /// The access token of the other server on which this session rests, for calls to what accepts
    /// it. Renewed there if it has to be.
    ///
    /// Errors: `NotSignedIn`; `Unavailable`; `Rejected` if the session is over there;
    /// `Misconfigured` where sessions rest on nothing.
    pub async fn issued_access_token(&self) -> Result<AccessToken, SessionError> {
        let sid = self.sid().ok_or(SessionErrorKind::NotSignedIn)?;
        let core = self.0.core.clone();
        let cx = Context::new(core.clone());
        let presented = self.refresh_token();
        let task = core.detached(async move { cx.upstream_access_token(sid, presented).await });
        let limited = within(&self.0.core, self.0.core.refresh_timeout, task).await;
        Ok(limited.unwrap_or(Err(Failure::SOON))?)
    }

    /// Signs somebody in: a new session, whose tokens leave with this response.
    ///
    /// The session that the request presented is signed out, by the rule of
    /// [`sign_out`](Self::sign_out). Handlers run after this see the new claims.
    ///
    /// Errors: `Claims` if the claims don't serialize to an object, can't be read back from it or
    /// use a registered name (an enum's variant without members is a string, and no object),
    /// `Misconfigured` if the token is too large for a cookie, `TooManySessions` if the person has
    /// as many sessions as they may and the refresher refuses more, `ResponseSent` if the response's
    /// head has left (the new session is taken back), `Unavailable` if the refresher can't now,
    /// `CrossSite` if another site caused the request and the token would leave in a cookie: a
    /// form elsewhere could sign people in as somebody else. Name an identity provider that posts
    /// its answer by `trusted_origin_for`. `InsecureHost` as [`SessionStatus::InsecureHost`].
    pub async fn sign_in(&self, subject: impl Into<String>, claims: C) -> Result<(), SessionError> {
        self.sign_in_with(SignIn::new(subject, claims)).await
    }

    /// [`sign_in`](Self::sign_in) with more to say. Also `UnknownCarrier`, if `via` is not one of
    /// the engine's.
    pub async fn sign_in_with(&self, sign_in: SignIn<C>) -> Result<(), SessionError> {
        let core = &self.0.core;
        self.check_open()?;
        let carrier = match &sign_in.via {
            None => self.0.request.carrier,
            Some(via) => core.carriers.position(via).ok_or(SessionErrorKind::UnknownCarrier)?,
        };
        let is_cookie = |location: &&Location| matches!(location, Location::Cookie(_));
        let by_cookie = core.carriers.get(carrier).locations().iter().any(is_cookie);
        if by_cookie && !self.0.request.same_origin {
            return Err(SessionErrorKind::CrossSite.into());
        }
        let claims = ClaimsObject::of_app(&sign_in.claims)
            .and_then(|claims| claims.fit_for(core.mint_rules.profile))
            .map_err(|problem| SessionError::claims(problem.to_string()))?;
        let now = core.clock.now();
        let lifetime = sign_in.lifetime.unwrap_or(core.session_lifetime);
        let sid = mint::new_sid().map_err(|_| Failure::SOON)?;
        let grant = SessionClaims {
            subject: sign_in.subject,
            sid: sid.clone(),
            claims,
            auth_time: now,
            session_expires: now.plus(lifetime.min(core.session_lifetime)),
            generation: None,
            persistent: sign_in.persistent,
        };
        let context = Context::new(core.clone());
        let SignIn { attributes, issued, .. } = sign_in;
        let former = self.closing();
        core.settle(&grant.subject).await?;
        let named = core.named(&former);
        let opening = SignInRequest { grant, attributes, issued, former: named };
        let tokens = core.refresher.sign_in(context.clone(), opening).await?;
        core.check_fit(&sid, Some(&tokens.access), tokens.refresh.as_ref())?;
        let verified = core.verify_own::<C>(&tokens.access)?;
        let view = View::of(verified);
        let outgoing = Outgoing::Tokens { carrier, tokens, asked: true };
        if !self.replace(view, outgoing) {
            // Whatever becomes of it: nobody was told of this session.
            let _ = core.refresher.sign_out(context, Closing::of(sid)).await;
            return Err(SessionErrorKind::ResponseSent.into());
        }
        core.emit(&Event::SignedIn { sid: &sid });
        // The person is signed in all the same; what fails is tried again.
        let _ = core.sign_out(former).await;
        Ok(())
    }

    /// Signs out: the cookies are cleared with this response, and the session ends where the
    /// refresher keeps one. Clears cookies also where nobody is signed in (any more).
    ///
    /// The session ends for an access token that is good, or within the leeway, and otherwise for a
    /// refresh token that the refresher finds to be its own. With `Rotate`, that is the current one or
    /// the one before. An access token that expired long ago ends nothing.
    ///
    /// Errors: `Unavailable` if the session could not be ended. The cookies are cleared still, this
    /// node refuses the session, and it is tried again until the store takes it, the session has
    /// ended by itself or the engine ends; `Event::RevokeFailed` says if it was given up. A sign-out
    /// that rests on a refresh token alone is given up at once, since no token is kept.
    /// `CrossSite` if another site caused the request and nobody is signed in by a header: it has
    /// no business with our cookies.
    pub async fn sign_out(&self) -> Result<(), SessionError> {
        let closing = self.closing();
        let by_header = closing.refresh.is_some() || self.presented(|_| ()).is_some();
        if !self.0.request.same_origin && !by_header {
            return Err(SessionErrorKind::CrossSite.into());
        }
        let view = View { standing: SessionStatus::Absent, reason: None, verified: None };
        let clear = if self.0.request.same_origin {
            Outgoing::Clear { dead: false }
        } else {
            Outgoing::Nothing
        };
        if !self.replace(view, clear) {
            self.lock().now = Some(View::nobody(SessionStatus::Absent, None));
        }
        Ok(self.0.core.sign_out(closing).await?)
    }

    /// Refreshes now, whatever the token's age; the app's revalidation is asked.
    ///
    /// Does nothing if this request was refreshed before, and takes the result of a refresh of the
    /// very same token that ran within the last 30 s: there is one refresh, however many ask.
    ///
    /// Errors: `NotSignedIn`, `Rejected`, `Unavailable`, `Misconfigured`, `ResponseSent`,
    /// `InsecureHost`.
    pub async fn refresh(&self) -> Result<(), SessionError> {
        self.check_open()?;
        if self.is_refreshed() {
            return Ok(());
        }
        let mut joined = self.join_flight(Mode::Blocking).ok_or(SessionErrorKind::NotSignedIn)?;
        let core = &self.0.core;
        let landing = joined.wait(core, core.refresh_timeout).await;
        self.note_flight(joined.how, outcome_of(&landing));
        let end = self.accept(landing, &joined);
        let failed = end.as_ref().err().copied();
        match self.conclude(end, &joined, true) {
            false => Err(SessionErrorKind::ResponseSent.into()),
            true => failed.map_or(Ok(()), |failure| Err(failure.into())),
        }
    }
}

impl<C: ClaimSet> Session<C> {
    /// The sessions of whoever is signed in, the latest first. This, and ending them, needs no
    /// claims: it works with [`SessionStatus::UnreadClaims`] too.
    ///
    /// Errors: `NotSignedIn`; `Unavailable`; `Misconfigured` where the refresher keeps none.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, SessionError> {
        let subject = self.person_subject().ok_or(SessionErrorKind::NotSignedIn)?;
        let cx = Context::new(self.0.core.clone());
        Ok(self.0.core.refresher.sessions(cx, subject).await?)
    }

    /// Signs another session of the same person out. Says whether there was one; there is none
    /// where the refresher keeps none.
    ///
    /// Errors: `NotSignedIn`; `Unavailable`: if that is since the store did not take it, it is
    /// tried again, as in [`sign_out`](Self::sign_out).
    pub async fn sign_out_other(&self, sid: &str) -> Result<bool, SessionError> {
        let subject = self.person_subject().ok_or(SessionErrorKind::NotSignedIn)?;
        let cx = Context::new(self.0.core.clone());
        let found = self.0.core.refresher.find(cx, sid.to_owned()).await?;
        let own = found.is_some_and(|session| session.subject == subject);
        if own {
            self.0.core.sign_out(Closing::of(sid)).await?;
        }
        Ok(own)
    }

    /// Signs every other session of the same person out. Says how many there were.
    ///
    /// Errors: as [`sessions`](Self::sessions). After `Unavailable` it is tried again, as in
    /// [`sign_out`](Self::sign_out): the sessions that are there then end. A sign-in of that person
    /// on this node waits for that; one on another node, in the seconds between, ends too.
    pub async fn sign_out_others(&self) -> Result<usize, SessionError> {
        self.sign_out_all(self.person_sid()).await
    }

    /// Signs the person out everywhere, here too.
    ///
    /// Errors: as [`sessions`](Self::sessions), and as [`sign_out`](Self::sign_out).
    pub async fn sign_out_everywhere(&self) -> Result<usize, SessionError> {
        let ended = self.sign_out_all(None).await?;
        self.sign_out().await?;
        Ok(ended)
    }

    fn person_subject(&self) -> Option<String> {
        self.person(|verified| verified.subject.as_deref().map(Into::into))?
    }

    async fn sign_out_all(&self, except: Option<String>) -> Result<usize, SessionError> {
        let subject = self.person_subject().ok_or(SessionErrorKind::NotSignedIn)?;
        Ok(self.0.core.sign_out_all(subject, except).await?)
    }
}

/// What a session's next token is minted from.
pub(super) fn grant_of<C: ClaimSet>(verified: &Verified<C>) -> Option<SessionClaims> {
    Some(SessionClaims {
        subject: verified.subject.as_deref()?.into(),
        sid: (*verified.sid).into(),
        claims: verified.claims_object()?,
        auth_time: verified.auth_time?,
        session_expires: verified.session_expires?,
        // Only what a client presents confirms; this one may be for onward calls.
        generation: None,
        persistent: verified.persistent,
    })
}
