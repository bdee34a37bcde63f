//! Tokens of another server that lie sealed with the client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use everfresh::{
    AccessToken, Admission, Admitted, ClaimsObject, Closing, ConfigError, Context, Event, Failure,
    Grant, Issued, KeyRing, Opening, Presented, RefreshToken, Refresher, Setup, Timestamp, Tokens,
    Vault,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Upstream;
use super::held::Held;
use super::local::Local;
use super::receive::Refused;
use super::revoke::revoke;

/// What the seal is bound to beside the engine.
const PLACE: &[u8] = b"cookie";

/// What four cookies hold.
const LARGEST: usize = 15_200;

/// Refreshes at another server, and keeps its tokens sealed with the client.
///
/// Made by [`Upstream::sealed_in_cookies`], which says what it can't do. The seal is
/// AES-256-GCM-SIV under a key of the ring: the client can neither read nor change what it holds,
/// and bytes of a stranger cause no call to anybody.
pub struct InCookies {
    local: Arc<Local>,
    ring: Option<KeyRing>,
    ready: Option<Ready>,
}

struct Ready {
    vault: Vault,
    access_lifetime: Duration,
}

/// What the client holds.
#[derive(Serialize, Deserialize)]
struct Content {
    sid: String,
    /// How often it was replaced.
    seq: u64,
    sub: String,
    claims: String,
    auth_time: u64,
    session_exp: u64,
    persistent: bool,
    access: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    /// How long the access token was made for, and when it expires by our clock.
    lives: u64,
    expires: u64,
}

impl InCookies {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self { local: Local::new(upstream), ring: None, ready: None }
    }

    /// The keys of the seal. Where the engine signs with shared secrets, they are derived from
    /// those, under a label of their own, unless set. Keep a former one for as long as a session
    /// may live.
    pub fn key_ring(mut self, ring: KeyRing) -> Self {
        self.ring = Some(ring);
        self
    }

    fn ready(&self) -> Result<&Ready, Failure> {
        self.ready.as_ref().ok_or(Failure::Misconfigured)
    }

    /// What a client shows, if it is genuine.
    fn open(&self, token: &[u8]) -> Option<Content> {
        if token.len() > LARGEST {
            return None;
        }
        let sealed = B64.decode(token).ok()?;
        let text = self.ready().ok()?.vault.open(PLACE, &sealed).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn seal(&self, cx: &Context, content: &Content) -> Result<RefreshToken, Failure> {
        let text = serde_json::to_vec(content).map(Zeroizing::new);
        let text = text.map_err(|_| Failure::Misconfigured)?;
        let sealed = self.ready()?.vault.seal(PLACE, &text).ok_or(Failure::SOON)?;
        let token = RefreshToken::new(B64.encode(sealed));
        cx.check_size(&content.sid, &token)?;
        Ok(token)
    }

    /// Our own access token for it, which does not outlive the one that it rests on.
    fn mint(&self, cx: &Context, content: &Content, grant: &Grant) -> Result<Tokens, Failure> {
        let left = Timestamp::from_secs(content.expires).since(cx.now());
        cx.mint_for(grant, Some(left.max(Duration::from_secs(1))))
    }

    async fn receive(
        &self,
        cx: &Context,
        sid: &str,
        issued: Issued,
        former: Option<&Held>,
    ) -> Result<Held, Failure> {
        let (upstream, life) = (&self.local.calls.upstream, self.ready()?.access_lifetime);
        match upstream.receive(cx, issued, former, life).await {
            Ok(held) => Ok(held),
            Err(Refused::Later) => Err(Failure::SOON),
            Err(Refused::Foreign) => {
                cx.emit(&Event::IssuedRefused { sid });
                Err(Failure::Misconfigured)
            }
        }
    }
}

impl Content {
    fn held(&self) -> Held {
        Held {
            access: AccessToken::new(self.access.clone()),
            refresh: self.refresh.clone().map(RefreshToken::new),
            lives: Duration::from_secs(self.lives),
            who: self.who.clone(),
        }
    }

    fn hold(&mut self, held: Held, now: Timestamp) {
        self.access = held.access.expose().to_owned();
        self.refresh = held.refresh.map(|token| token.expose().to_owned());
        (self.who, self.lives) = (held.who, held.lives.as_secs());
        self.expires = now.plus(held.lives).as_secs();
    }

    fn grant(&self) -> Result<Grant, Failure> {
        let claims = ClaimsObject::from_text(&self.claims).ok_or(Failure::Misconfigured)?;
        let ends = Timestamp::from_secs(self.session_exp);
        let began = Timestamp::from_secs(self.auth_time);
        let mut grant = Grant::new(&self.sub, &self.sid, claims, began, ends);
        grant.persistent = self.persistent;
        Ok(grant)
    }
}

impl Refresher for InCookies {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        self.local.calls.upstream.check(setup)?;
        let vault = setup.vault(self.ring.clone())?;
        self.ready = Some(Ready { vault, access_lifetime: setup.access_lifetime() });
        Ok(())
    }

    fn uses_refresh_tokens(&self) -> bool {
        true
    }

    fn largest_refresh_token(&self) -> usize {
        LARGEST
    }

    fn hands_over(&self) -> bool {
        true
    }

    fn admits(&self, presented: Presented<'_>, now: Timestamp) -> Option<Admission> {
        let content = self.open(presented.refresh?)?;
        let over = now >= Timestamp::from_secs(content.session_exp);
        (!over).then(|| Admission { sid: content.sid.into(), mark: content.seq })
    }

    async fn refresh(&self, cx: Context, admitted: Admitted) -> Result<Tokens, Failure> {
        let token = admitted.refresh.as_ref().ok_or(Failure::Rejected)?;
        let mut content = self.open(token.expose().as_bytes()).ok_or(Failure::Rejected)?;
        let now = cx.now();
        if now >= Timestamp::from_secs(content.session_exp) {
            return Err(Failure::Rejected);
        }
        // Before anything is sent: what would come back is kept nowhere else.
        let mut grant = content.grant()?;
        cx.revalidate(&mut grant).await?;
        let changed = grant.claims.as_str() != content.claims;
        grant.claims.as_str().clone_into(&mut content.claims);
        let now = cx.now();
        let (held, left) = (content.held(), Timestamp::from_secs(content.expires).since(now));
        let mut renewed = false;
        if Context::is_due(&content.sid, held.lives, left) {
            let token = held.presented(&self.local.calls.upstream.dialect);
            let issued = {
                let which = format!("{} {}", content.sid, content.seq);
                self.local.exchange(&cx, &content.sid, which.into(), token).await
            };
            match issued {
                Ok(issued) => {
                    let held = self.receive(&cx, &content.sid, issued, Some(&held)).await?;
                    content.hold(held, cx.now());
                    content.seq += 1;
                    renewed = true;
                }
                // What the client holds is still good, and it needs an access token.
                Err(Failure::Unavailable { .. } | Failure::Misconfigured | Failure::InDoubt)
                    if !admitted.spare && !left.is_zero() => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut tokens = self.mint(&cx, &content, &grant)?;
        if renewed || changed {
            tokens.refresh = Some(self.seal(&cx, &content)?);
        }
        Ok(tokens)
    }

    async fn sign_in(&self, cx: Context, opening: Opening) -> Result<Tokens, Failure> {
        let Opening { grant, issued, .. } = opening;
        let held =
            self.receive(&cx, &grant.sid, issued.ok_or(Failure::Misconfigured)?, None).await?;
        let mut content = Content {
            sid: grant.sid.clone(),
            seq: 0,
            sub: grant.subject.clone(),
            claims: grant.claims.as_str().to_owned(),
            auth_time: grant.auth_time.as_secs(),
            session_exp: grant.session_expires.as_secs(),
            persistent: grant.persistent,
            access: String::new(),
            refresh: None,
            who: None,
            lives: 0,
            expires: 0,
        };
        content.hold(held, cx.now());
        let mut tokens = self.mint(&cx, &content, &grant)?;
        tokens.refresh = Some(self.seal(&cx, &content)?);
        Ok(tokens)
    }

    /// What is sealed is genuine, so it may name the session.
    async fn sign_out(&self, cx: Context, closing: Closing) -> Result<Option<String>, Failure> {
        let Closing { sid, refresh, .. } = closing;
        let shown = refresh.and_then(|token| self.open(token.expose().as_bytes()));
        let shown = shown.filter(|content| sid.as_ref().is_none_or(|sid| *sid == content.sid));
        if let Some(content) = &shown {
            revoke(&self.local.calls.upstream, &cx, content.held());
        }
        Ok(sid.or(shown.map(|content| content.sid)))
    }

    async fn onward(
        &self,
        cx: Context,
        sid: String,
        presented: Option<RefreshToken>,
    ) -> Result<AccessToken, Failure> {
        let shown = presented.and_then(|token| self.open(token.expose().as_bytes()));
        let content = shown.filter(|content| content.sid == sid).ok_or(Failure::Rejected)?;
        match cx.now() < Timestamp::from_secs(content.expires) {
            true => Ok(AccessToken::new(content.access)),
            false => Err(Failure::SOON),
        }
    }

    async fn drain(&self, _: Context) -> usize {
        self.local.drain().await
    }
}

impl fmt::Debug for InCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InCookies")
            .field("upstream", &self.local.calls.upstream)
            .finish_non_exhaustive()
    }
}
