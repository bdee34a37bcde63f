//! Another server's tokens, stored with the client in sealed cookies.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::dialect::{AccessTokenResponse, RefreshOutcome};
use everfresh::refresher::{
    ClaimsObject, Closing, Context, FlightKey, Presented, RefreshRequest, RefreshToken, Refresher,
    SessionClaims, Setup, SignInRequest, Tokens,
};
use everfresh::upstream::{Sealer, UpstreamAccessToken};
use everfresh::{AccessToken, ConfigError, Event, Failure, KeyRing, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::receive::Refused;
use super::revoke::revoke;
use super::token_endpoint::{Sent, TokenEndpoint, span};
use super::tokens::UpstreamTokens;
use super::{Replay, Upstream};

/// The context that the seal is bound to, in addition to the engine.
const PLACE: &[u8] = b"cookie";

/// The capacity of four cookies, in bytes.
const LARGEST: usize = 15_200;

/// The longest time to wait for an answer. It is less than the limit of a refresh (30 s), so that a
/// call without an answer counts as a failure of the other server.
const LIMIT: Duration = Duration::from_secs(25);

const SOON: Duration = Duration::from_secs(1);

/// Refreshes at another server, and stores its tokens with the client, sealed.
///
/// Made by [`Upstream::sealed_in_cookies`], which documents the limits. The seal is AES-256-GCM-SIV
/// under a key of the ring. The client can neither read nor change the sealed tokens, and bytes
/// that this engine did not seal cause no call.
pub struct InCookies {
    endpoint: TokenEndpoint,
    ring: Option<KeyRing>,
    ready: Option<Ready>,
}

struct Ready {
    sealer: Sealer,
    access_lifetime: Duration,
}

/// The sealed content of the client's cookies.
#[derive(Serialize, Deserialize)]
struct Content {
    sid: String,
    /// How often the content was replaced.
    seq: u32,
    sub: String,
    claims: String,
    auth_time: u64,
    session_exp: u64,
    persistent: bool,
    access: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The members that the dialect keeps, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kept: BTreeMap<String, String>,
    /// The lifetime of the access token in seconds, and its expiry by this node's clock.
    expires_in: u64,
    expires: u64,
}

impl InCookies {
    pub(super) fn new(upstream: Upstream) -> Self {
        let limit = upstream.limit.min(LIMIT);
        Self { endpoint: TokenEndpoint::new(upstream.limit(limit)), ring: None, ready: None }
    }

    /// Sets the keys of the seal. If they are not set and the engine signs with shared secrets,
    /// they are derived from these secrets, under a label of their own. Keep a former key in the
    /// ring as long as a session may live.
    pub fn key_ring(mut self, ring: KeyRing) -> Self {
        self.ring = Some(ring);
        self
    }

    fn ready(&self) -> Result<&Ready, Failure> {
        self.ready.as_ref().ok_or(Failure::Misconfigured)
    }

    /// Opens the token that a client presents. Returns `None` if its seal does not hold.
    fn open(&self, token: &[u8]) -> Option<Content> {
        if token.len() > LARGEST {
            return None;
        }
        let sealed = B64.decode(token).ok()?;
        let text = self.ready().ok()?.sealer.open(PLACE, &sealed).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn seal(&self, cx: &Context, content: &Content) -> Result<RefreshToken, Failure> {
        let text = serde_json::to_vec(content).map(Zeroizing::new);
        let text = text.map_err(|_| Failure::Misconfigured)?;
        let sealed = self.ready()?.sealer.seal(PLACE, &text).ok_or(Failure::SOON)?;
        let token = RefreshToken::new(B64.encode(sealed));
        cx.check_size(&content.sid, &token)?;
        Ok(token)
    }

    /// Mints this engine's access token, which does not outlive the other server's access token.
    fn mint(
        &self,
        cx: &Context,
        content: &Content,
        session_claims: &SessionClaims,
    ) -> Result<Tokens, Failure> {
        let left = Timestamp::from_secs(content.expires).since(cx.now());
        cx.mint_for(session_claims, Some(left.max(Duration::from_secs(1))))
    }

    /// Sends the refresh token, once. After any outcome, a later request may send it again.
    async fn exchange(
        &self,
        cx: &Context,
        content: &Content,
    ) -> Result<AccessTokenResponse, Failure> {
        let Self { endpoint, .. } = self;
        let expires = Timestamp::from_secs(content.expires);
        if endpoint.refusals.lasts(&content.sid, cx.monotonic()) {
            return Err(Failure::Refused);
        }
        let tokens = content.tokens();
        let permission = Box::pin(std::future::ready(true));
        let sending = endpoint.send(cx, &content.sid, &tokens, permission);
        let unavailable = |retry_after| Err(Failure::Unavailable { retry_after });
        match sending.instrument(span(&content.sid)).await {
            Sent::Unsent { retry_after, tried } => {
                if !tried {
                    cx.untried();
                }
                unavailable(retry_after)
            }
            Sent::Unwritable | Sent::Answered(RefreshOutcome::Misconfigured) => {
                Err(Failure::Misconfigured)
            }
            Sent::Answered(RefreshOutcome::Issued(issued)) => Ok(*issued),
            // It is sent again once the access token has expired.
            Sent::Answered(RefreshOutcome::Rejected)
                if endpoint.upstream.may_be_good(expires, cx.now()) =>
            {
                unavailable(SOON)
            }
            Sent::Answered(RefreshOutcome::Rejected) => Err(Failure::Rejected),
            Sent::Answered(RefreshOutcome::Refused { .. })
                if endpoint.refusals.is_long(&content.sid, cx.monotonic()) =>
            {
                Err(Failure::Refused)
            }
            Sent::Answered(
                RefreshOutcome::Unavailable { retry_after }
                | RefreshOutcome::Refused { retry_after },
            ) => unavailable(retry_after.unwrap_or(SOON)),
            Sent::Answered(_) | Sent::NoAnswer => unavailable(SOON),
        }
    }

    async fn receive(
        &self,
        cx: &Context,
        sid: &str,
        issued: AccessTokenResponse,
        former: Option<&UpstreamTokens>,
    ) -> Result<UpstreamTokens, Failure> {
        let life = self.ready()?.access_lifetime;
        match self.endpoint.upstream.receive(cx, issued, former, life).await {
            Ok(tokens) => Ok(tokens),
            Err(Refused::Later) => Err(Failure::SOON),
            Err(Refused::Foreign) => {
                cx.emit(&Event::IssuedRefused { sid });
                Err(Failure::Misconfigured)
            }
        }
    }

    /// Replaces the other server's tokens with new ones.
    async fn renew(&self, cx: &Context, content: &mut Content) -> Result<(), Failure> {
        let issued = self.exchange(cx, content).await?;
        let tokens = self.receive(cx, &content.sid, issued, Some(&content.tokens())).await?;
        if tokens.expires_in.is_zero() {
            cx.emit(&Event::ExpiredOnArrival { sid: &content.sid });
            return Err(Failure::SOON);
        }
        content.set_tokens(tokens, cx.now());
        Ok(())
    }
}

impl Content {
    fn tokens(&self) -> UpstreamTokens {
        UpstreamTokens {
            access: AccessToken::new(self.access.clone()),
            refresh: self.refresh.clone().map(RefreshToken::new),
            expires_in: Duration::from_secs(self.expires_in),
            subject: self.subject.clone(),
            kept: self.kept.clone(),
        }
    }

    fn set_tokens(&mut self, tokens: UpstreamTokens, now: Timestamp) {
        self.wipe();
        self.access = tokens.access.expose().to_owned();
        self.refresh = tokens.refresh.map(|token| token.expose().to_owned());
        (self.subject, self.expires_in) = (tokens.subject, tokens.expires_in.as_secs());
        self.kept = tokens.kept;
        self.expires = now.plus(tokens.expires_in).as_secs();
    }

    fn wipe(&mut self) {
        self.access.zeroize();
        self.refresh.zeroize();
    }

    fn session_claims(&self) -> Result<SessionClaims, Failure> {
        let claims = ClaimsObject::from_text(&self.claims).ok_or(Failure::Misconfigured)?;
        let ends = Timestamp::from_secs(self.session_exp);
        let began = Timestamp::from_secs(self.auth_time);
        let mut session_claims = SessionClaims::new(&self.sub, &self.sid, claims, began, ends);
        session_claims.persistent = self.persistent;
        Ok(session_claims)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// Returns a number that distinguishes the cookies of a session and orders them. It consists of the
/// sequence number and the last four bytes of the token, which differ in each seal.
fn fingerprint(content: &Content, token: &[u8]) -> u64 {
    let end = token.last_chunk().map_or(0, |end| u32::from_be_bytes(*end));
    u64::from(content.seq) << 32 | u64::from(end)
}

impl Refresher for InCookies {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let upstream = &self.endpoint.upstream;
        upstream.check(setup)?;
        if upstream.replay != Replay::Always {
            return Err(ConfigError::Unfit {
                setting: "Upstream::sealed_in_cookies",
                found: format!("has the policy `Replay::{:?}`", upstream.replay),
                remedy: "without a store a refresh token has to be good more than once: say \
                         `.replay(Replay::Always)` if the other server's are, and use \
                         `kept_in(store)` if they are not",
            });
        }
        let sealer = setup.sealer(self.ring.clone())?;
        self.ready = Some(Ready { sealer, access_lifetime: setup.access_lifetime() });
        Ok(())
    }

    fn uses_refresh_tokens(&self) -> bool {
        true
    }

    fn largest_refresh_token(&self) -> usize {
        LARGEST
    }

    fn delivers_only_copy(&self) -> bool {
        true
    }

    fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Option<FlightKey> {
        let token = presented.refresh?;
        let content = self.open(token)?;
        let over = now >= Timestamp::from_secs(content.session_exp);
        (!over).then(|| FlightKey::new(&*content.sid, fingerprint(&content, token)))
    }

    async fn refresh(&self, cx: Context, admitted: RefreshRequest) -> Result<Tokens, Failure> {
        let token = admitted.refresh.as_ref().ok_or(Failure::Rejected)?;
        let mut content = self.open(token.expose().as_bytes()).ok_or(Failure::Rejected)?;
        let now = cx.now();
        if now >= Timestamp::from_secs(content.session_exp) {
            return Err(Failure::Rejected);
        }
        // This comes before anything is sent, because the new tokens in the answer are stored
        // nowhere else, and a later failure would lose them.
        let mut session_claims = content.session_claims()?;
        cx.revalidate(&mut session_claims).await?;
        let changed = session_claims.claims.as_str() != content.claims;
        session_claims.claims.as_str().clone_into(&mut content.claims);
        let (expires_in, expires) = (content.expires_in, Timestamp::from_secs(content.expires));
        let left = expires.since(cx.now());
        let mut renewed = false;
        if Context::is_due(&content.sid, Duration::from_secs(expires_in), left)
            && self.endpoint.upstream.may_present(expires, cx.now())
        {
            match self.renew(&cx, &mut content).await {
                Ok(()) => renewed = true,
                Err(Failure::Rejected) => return Err(Failure::Rejected),
                // The other server's access token is still valid, and the client needs a new access
                // token.
                Err(_) if !admitted.token_still_valid && cx.now() < expires => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut tokens = self.mint(&cx, &content, &session_claims)?;
        if renewed || changed {
            content.seq = content.seq.saturating_add(1);
            tokens.refresh = Some(self.seal(&cx, &content)?);
        }
        Ok(tokens)
    }

    async fn sign_in(&self, cx: Context, opening: SignInRequest) -> Result<Tokens, Failure> {
        let SignInRequest { session_claims, issued, .. } = opening;
        let tokens = self
            .receive(&cx, &session_claims.sid, issued.ok_or(Failure::Misconfigured)?, None)
            .await?;
        let mut content = Content {
            sid: session_claims.sid.clone(),
            seq: 0,
            sub: session_claims.subject.clone(),
            claims: session_claims.claims.as_str().to_owned(),
            auth_time: session_claims.auth_time.as_secs(),
            session_exp: session_claims.session_expires.as_secs(),
            persistent: session_claims.persistent,
            access: String::new(),
            refresh: None,
            subject: None,
            kept: BTreeMap::new(),
            expires_in: 0,
            expires: 0,
        };
        content.set_tokens(tokens, cx.now());
        let mut tokens = self.mint(&cx, &content, &session_claims)?;
        tokens.refresh = Some(self.seal(&cx, &content)?);
        Ok(tokens)
    }

    /// The seal authenticates the content, so the session id in it can be trusted.
    async fn sign_out(&self, cx: Context, closing: Closing) -> Result<Option<String>, Failure> {
        let Closing { sid, refresh, .. } = closing;
        let shown = refresh.and_then(|token| self.open(token.expose().as_bytes()));
        let shown = shown.filter(|content| sid.as_ref().is_none_or(|sid| *sid == content.sid));
        if let Some(content) = &shown {
            revoke(&self.endpoint.upstream, &cx, content.tokens());
        }
        Ok(sid.or(shown.map(|content| content.sid.clone())))
    }

    async fn upstream_access_token(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> Result<UpstreamAccessToken, Failure> {
        let shown = presented.and_then(|token| self.open(token.expose().as_bytes()));
        let content = shown.filter(|content| content.sid == sid).ok_or(Failure::Rejected)?;
        match cx.now() < Timestamp::from_secs(content.expires) {
            true => Ok(content.tokens().for_handlers()),
            false => Err(Failure::SOON),
        }
    }
}

impl fmt::Debug for InCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InCookies")
            .field("upstream", &self.endpoint.upstream)
            .finish_non_exhaustive()
    }
}
