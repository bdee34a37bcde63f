//! Refresh tokens that rotate: the refresher [`Rotate`].

mod attempt;
mod limit;
mod renew;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{ConfigError, Failure};
use crate::mint::random_id;
use crate::refresh::cookie_loss::Recoveries;
use crate::refresh::keeper::{ErasedUpstreamTokenKeeper, UpstreamTokenKeeper};
use crate::refresh::rotation_rules::{Answer, decide};
use crate::refresh::token::{Credential, KeyRing, Opened, Scope, named_session};
use crate::refresh::{
    Closing, Context, FlightKey, Presented, RefreshRequest, RefreshToken, Refresher,
    ReissueRequest, Sealer, SessionInfo, Setup, SignInRequest, Tokens, UpstreamAccessToken,
};
use crate::store::{
    ErasedStore, Loaded, NewSession, RevocationSink, SessionId, SessionRecord, SessionStore,
    StoreError,
};

pub use limit::AtMaxSessions;
pub(crate) use renew::RENEWABLE;

/// How many times a refresh reads the row again after another rotation changed it first.
const TRIES: usize = 5;

/// The id of the next refresher of this process.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Keeps sessions in a store and rotates their refresh tokens.
///
/// Rules
/// 1. A session is one row. Its refresh token is derived from the row and the key ring. Every
///    racing request derives the same successor, byte for byte, and nothing in the store can be
///    replayed.
/// 2. A client that presents the current token gets its successor. Within `reuse_interval` after
///    the last rotation it gets a new access token only.
/// 3. A client that presents the token before the current one gets the same successor again if one
///    of two conditions holds: the last rotation is at most `reuse_interval` old, or no client has
///    shown the successor yet, since its response may be lost.
/// 4. Any other older token means that two parties hold the session. This session ends, and no
///    other.
/// 5. Sign-out, reuse of a token and the end of a lifetime are final.
/// 6. A subject has at most 200 sessions; a sign-in beyond that ends the oldest
///    ([`max_sessions`](Self::max_sessions)).
///
/// Two holders that keep rotating in lock-step within `reuse_interval` are not detected; the
/// session's absolute lifetime bounds them.
///
/// ```
/// use std::time::Duration;
/// use everfresh::{MemoryStore, Rotate};
///
/// let refresher = Rotate::new(MemoryStore::new()).idle_lifetime(Duration::from_secs(7 * 86_400));
/// ```
#[derive(Clone)]
pub struct Rotate {
    store: Arc<dyn ErasedStore>,
    ring: Option<KeyRing>,
    scope: Option<Scope>,
    /// Tells what this refresher found a token to be from what another one did. Set by `prepare`.
    id: u64,
    reuse_interval: Duration,
    idle_lifetime: Duration,
    max_sessions: usize,
    at_max_sessions: AtMaxSessions,
    sign_ins: Arc<AtomicU64>,
    cookie_loss: Arc<Recoveries>,
    keeper: Option<Arc<dyn ErasedUpstreamTokenKeeper>>,
}

/// After this many sign-ins, a task sweeps some sessions that are over out of the store.
const SWEEP_EVERY: u64 = 64;
/// The most sessions that one sweep removes.
const SWEEP_LIMIT: usize = 256;

impl Rotate {
    /// Keeps sessions in `store`, with a reuse interval of 30 s, an idle lifetime of 14 days and at
    /// most 200 sessions per subject.
    pub fn new(store: impl SessionStore) -> Self {
        Self {
            store: Arc::new(store),
            ring: None,
            scope: None,
            id: 0,
            reuse_interval: Duration::from_secs(30),
            idle_lifetime: Duration::from_secs(14 * 24 * 60 * 60),
            max_sessions: limit::DEFAULT,
            at_max_sessions: AtMaxSessions::default(),
            sign_ins: Arc::default(),
            cookie_loss: Arc::default(),
            keeper: None,
        }
    }

    /// Like [`new`](Self::new), for sessions that are backed by tokens of another server: a session
    /// lasts as long as `keeper` can renew its tokens there.
    pub fn backed_by(store: impl SessionStore, keeper: impl UpstreamTokenKeeper) -> Self {
        Self { keeper: Some(Arc::new(keeper)), ..Self::new(store) }
    }

    /// Sets the keys that refresh tokens are derived with. Unless set, and if the engine signs with
    /// shared secrets, the keys are derived from those secrets under a separate label.
    pub fn key_ring(mut self, ring: KeyRing) -> Self {
        self.ring = Some(ring);
        self
    }

    /// Sets how long a rotated token is still accepted, for requests that were under way during the
    /// rotation: 1 s to 5 minutes.
    pub fn reuse_interval(mut self, reuse_interval: Duration) -> Self {
        self.reuse_interval = reuse_interval;
        self
    }

    /// Sets how long a session lives without a rotation: at least the lifetime of an access token
    /// and the reuse interval.
    pub fn idle_lifetime(mut self, idle_lifetime: Duration) -> Self {
        self.idle_lifetime = idle_lifetime;
        self
    }

    /// Sets how many sessions a subject may have at a time: 1 to 500, and 200 unless set.
    /// [`at_max_sessions`](Self::at_max_sessions) sets what a sign-in beyond that does.
    ///
    /// The limit is checked at sign-in. Sign-ins of one subject that run at the same time may
    /// exceed the limit by as many sessions as there are sign-ins; the next sign-in ends up to 32
    /// of the surplus sessions. A subject that had more sessions when the limit was lowered keeps
    /// them until then. The session that a request presents while it signs in again does not count,
    /// because it ends.
    ///
    /// The sessions beyond the limit are those that began first. In Redis they are those whose
    /// absolute lifetime ends first, which are the same sessions unless sign-ins set a `lifetime`
    /// of their own.
    ///
    /// ```
    /// use everfresh::{AtMaxSessions, MemoryStore, Rotate};
    ///
    /// let one_device = Rotate::new(MemoryStore::new())
    ///     .max_sessions(1)
    ///     .at_max_sessions(AtMaxSessions::RefuseSignIn);
    /// ```
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets what a sign-in does for a subject that has as many sessions as
    /// [`max_sessions`](Self::max_sessions) allows: it ends the oldest session, unless set.
    pub fn at_max_sessions(mut self, at: AtMaxSessions) -> Self {
        self.at_max_sessions = at;
        self
    }

    /// Returns the keys and the scope, which `prepare` sets before any other call.
    fn keys(&self) -> Result<(&KeyRing, &Scope), Failure> {
        self.ring.as_ref().zip(self.scope.as_ref()).ok_or(Failure::Misconfigured)
    }

    /// Checks that the token is the session's and that this client may show it: both tags are good,
    /// and a token that was issued to a client is accepted from that client only (RFC 6749 sections
    /// 6 and 10.4).
    fn belongs(
        &self,
        credential: &Credential,
        row: &SessionRecord,
        client: Option<&str>,
    ) -> Result<(), Failure> {
        let genuine = credential.fits(self.keys()?.0, &row.salt);
        if genuine && row.client() == client { Ok(()) } else { Err(Failure::Foreign) }
    }

    /// Returns what this text is, if its outer tag is good. `opened`: what it was found to be before.
    fn open(&self, text: &[u8], opened: Option<&Opened>) -> Option<Credential> {
        let (ring, scope) = self.keys().ok()?;
        let open = || ring.open(scope, text).ok();
        match opened {
            Some(opened) => opened.by(self.id, text, open),
            None => open(),
        }
    }

    fn open_token(&self, token: &RefreshToken) -> Option<Credential> {
        self.open(token.expose().as_bytes(), Some(token.memo()))
    }

    /// Returns the session that this refresh token may end: its row exists, both tags are good, and
    /// the token is the row's current one or the one before, whose successor may have been lost.
    async fn session_of(
        &self,
        cx: &Context,
        refresh: &RefreshToken,
    ) -> Result<Option<SessionId>, Failure> {
        let Some(credential) = self.open_token(refresh) else { return Ok(None) };
        let loaded = self.store.load(credential.sid).await.map_err(|error| failed(cx, &error))?;
        let Some(Loaded { record: row, .. }) = loaded else { return Ok(None) };
        let genuine = credential.fits(self.keys()?.0, &row.salt);
        let recent = credential.generation + 1 >= row.generation;
        Ok((genuine && recent).then_some(row.sid))
    }

    async fn load(&self, cx: &Context, sid: SessionId) -> Result<Loaded, Failure> {
        if cx.core.sign_outs.is_waiting(sid) {
            return Err(Failure::Rejected);
        }
        let loaded = self.store.load(sid).await.map_err(|error| failed(cx, &error))?;
        loaded.ok_or(Failure::Rejected)
    }
}

fn failed(cx: &Context, error: &StoreError) -> Failure {
    cx.store_failed(error);
    Failure::SOON
}

impl Refresher for Rotate {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let secs = Duration::from_secs;
        setup.within("Rotate::reuse_interval", self.reuse_interval, secs(1), secs(300))?;
        // An active client rotates once per access token, and not sooner than the reuse interval.
        let least = setup.access_lifetime().saturating_add(self.reuse_interval);
        let most = secs(3650 * 24 * 60 * 60);
        let least = least.min(setup.session_lifetime());
        setup.within("Rotate::idle_lifetime", self.idle_lifetime, least, most)?;
        if !(1..=limit::MOST).contains(&self.max_sessions) {
            return Err(ConfigError::Unfit {
                setting: "Rotate::max_sessions",
                found: format!("is {}", self.max_sessions),
                remedy: "allowed are 1 to 500 sessions per user",
            });
        }
        if self.ring.is_none() {
            self.ring = Some(setup.derive_ring()?);
        }
        self.id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let scope = self.scope.insert(setup.scope()).clone();
        if let (Some(keeper), Some(ring)) = (&self.keeper, &self.ring) {
            keeper.prepare(setup, Sealer::new(ring.clone(), scope))?;
        }
        Ok(())
    }

    fn uses_refresh_tokens(&self) -> bool {
        true
    }

    /// Zero: late requests are answered from the row, never from memory.
    fn result_window(&self) -> Duration {
        Duration::ZERO
    }

    /// True: the row names the client.
    fn binds_clients(&self) -> bool {
        true
    }

    fn identify(&self, presented: Presented<'_>, _: Timestamp) -> Option<FlightKey> {
        let credential = self.open(presented.refresh?, presented.opened)?;
        Some(FlightKey {
            sid: credential.sid.to_string().into(),
            fingerprint: credential.fingerprint(),
        })
    }

    fn names_session(&self, refresh: &[u8], sid: &str) -> bool {
        named_session(refresh).is_some_and(|named| SessionId::parse(sid) == Some(named))
    }

    async fn refresh(&self, cx: Context, admitted: RefreshRequest) -> Result<Tokens, Failure> {
        let token = admitted.refresh.as_ref().ok_or(Failure::Rejected)?;
        let credential = self.open_token(token).ok_or(Failure::Rejected)?;
        let began = cx.monotonic();
        for _ in 0..TRIES {
            if let Some(tokens) = self.attempt(&cx, &credential, &admitted, began).await? {
                return Ok(tokens);
            }
        }
        Err(Failure::SOON)
    }

    async fn reissue_access_token(
        &self,
        cx: Context,
        renewal: ReissueRequest,
    ) -> Result<Tokens, Failure> {
        self.access_token_for(&cx, renewal).await
    }

    async fn find(&self, cx: Context, sid: String) -> Result<Option<SessionInfo>, Failure> {
        let Some(sid) = SessionId::parse(&sid) else { return Ok(None) };
        let found = self.store.load(sid).await.map_err(|error| failed(&cx, &error))?;
        Ok(found.map(|loaded| loaded.record.into()))
    }

    async fn is_over(&self, cx: Context, sid: String) -> Result<bool, Failure> {
        Ok(self.find(cx, sid).await?.is_none())
    }

    /// Consults the rotation rules again, without reporting reuse. Only the same successor, which
    /// no client has shown yet, may still leave with a response that took so long.
    async fn may_still_deliver(&self, cx: Context, admitted: RefreshRequest) -> bool {
        let opened = admitted.refresh.as_ref().and_then(|token| self.open_token(token));
        let Some(credential) = opened else { return false };
        let Ok(loaded) = self.load(&cx, credential.sid).await else { return false };
        let row = &loaded.record;
        if self.belongs(&credential, row, admitted.client.as_deref()).is_err() {
            return false;
        }
        match decide(row, credential.generation, self.reuse_interval, loaded.now) {
            Answer::Again { reanchor: false } => !row.confirmed,
            Answer::Again { reanchor: true } => {
                self.change(&cx, &loaded, row, false).await.unwrap_or(false)
            }
            _ => false,
        }
    }

    async fn sign_in(&self, cx: Context, opening: SignInRequest) -> Result<Tokens, Failure> {
        let (ring, _) = self.keys()?;
        let sid = SessionId::parse(&opening.session_claims.sid).ok_or(Failure::Misconfigured)?;
        let former = opening.former.as_deref().and_then(SessionId::parse);
        self.admit(&cx, &opening.session_claims.subject, former).await?;
        let absolute =
            opening.session_claims.session_expires.since(opening.session_claims.auth_time);
        let upstream = match (&self.keeper, opening.issued) {
            (None, None) => None,
            (Some(keeper), Some(issued)) => {
                Some(keeper.seal_new(&cx, sid, &opening.session_claims.subject, issued).await?)
            }
            // Tokens that no keeper would renew, or a session without the tokens that should back
            // it.
            _ => return Err(Failure::Misconfigured),
        };
        let new = NewSession {
            sid,
            subject: opening.session_claims.subject.clone(),
            key_id: ring.current(),
            idle_lifetime: self.idle_lifetime,
            absolute_lifetime: absolute,
            persistent: opening.session_claims.persistent,
            claims: opening.session_claims.claims.as_str().to_owned(),
            attributes: opening.attributes,
            salt: random_id().map_err(|_| Failure::SOON)?,
            upstream,
        };
        // The tokens are minted, and found to fit, before the store keeps anything.
        let tokens = {
            let now = opening.session_claims.auth_time;
            self.both_tokens(&cx, &new.clone().into_record(now), now)?
        };
        self.store.create(new).await.map_err(|error| failed(&cx, &error))?;
        if let Err(failure) =
            self.make_room(&cx, &opening.session_claims.subject, sid, former).await
        {
            // Revoked again: otherwise a store that can't list sessions would have no limit.
            let _ = self.store.revoke(sid).await;
            return Err(failure);
        }
        if self.sign_ins.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            let store = self.store.clone();
            // A later sweep removes what this one misses.
            cx.spawn(async move { drop(store.sweep(SWEEP_LIMIT).await) });
        }
        Ok(tokens)
    }

    async fn sign_out(&self, cx: Context, closing: Closing) -> Result<Option<String>, Failure> {
        let sid = match (&closing.sid, &closing.refresh) {
            (Some(sid), _) => SessionId::parse(sid),
            (None, Some(refresh)) => self.session_of(&cx, refresh).await?,
            (None, None) => None,
        };
        let Some(sid) = sid else { return Ok(None) };
        Ok(self.end(&cx, sid).await?.then(|| sid.to_string()))
    }

    async fn sign_out_all(
        &self,
        cx: Context,
        subject: String,
        except: Option<String>,
    ) -> Result<Vec<String>, Failure> {
        let except = except.as_deref().and_then(SessionId::parse);
        let mut ended = Vec::new();
        while let Some(keeper) = &self.keeper {
            // One by one, because each holds tokens of its own; a list has some of the sessions.
            let before = ended.len();
            let listed = self.store.list(&subject).await;
            let resting = listed.map_err(|error| failed(&cx, &error))?;
            for record in resting.into_iter().filter(|record| Some(record.sid) != except) {
                // If this fails, the store revokes the session below, without its tokens.
                if keeper.end(&cx, record.sid).await == Ok(true) {
                    ended.push(record.sid);
                }
            }
            if ended.len() == before {
                break;
            }
        }
        let revoked = self.store.revoke_subject(&subject, except).await;
        ended.extend(revoked.map_err(|error| failed(&cx, &error))?);
        Ok(ended.iter().map(ToString::to_string).collect())
    }

    async fn sessions(&self, cx: Context, subject: String) -> Result<Vec<SessionInfo>, Failure> {
        let records = self.store.list(&subject).await.map_err(|error| failed(&cx, &error))?;
        Ok(records.into_iter().map(SessionInfo::from).collect())
    }

    async fn confirm(
        &self,
        cx: Context,
        sid: String,
        generation: u64,
        user_activity: bool,
    ) -> Result<(), Failure> {
        let Some(sid) = SessionId::parse(&sid) else { return Ok(()) };
        self.store
            .confirm(sid, generation, user_activity)
            .await
            .map_err(|error| failed(&cx, &error))
    }

    async fn upstream_access_token(
        &self,
        cx: Context,
        sid: String,
        _: Option<RefreshToken>,
    ) -> Result<UpstreamAccessToken, Failure> {
        let keeper = self.keeper.as_ref().ok_or(Failure::Misconfigured)?;
        let sid = SessionId::parse(&sid).ok_or(Failure::Rejected)?;
        let loaded = self.renewed(&cx, self.load(&cx, sid).await?, false).await?;
        keeper.access_token(&loaded.record)
    }

    async fn watch_revocations(&self, sink: RevocationSink) -> Result<(), StoreError> {
        self.store.watch_revocations(sink).await
    }

    async fn drain(&self, cx: Context) -> usize {
        match &self.keeper {
            Some(keeper) => keeper.drain(&cx).await,
            None => 0,
        }
    }
}

impl std::fmt::Debug for Rotate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotate")
            .field("reuse_interval", &self.reuse_interval)
            .finish_non_exhaustive()
    }
}

impl From<SessionRecord> for SessionInfo {
    fn from(record: SessionRecord) -> Self {
        let attributes: BTreeMap<String, String> = record.attributes;
        Self {
            sid: record.sid.to_string(),
            subject: record.subject,
            signed_in_at: record.created_at,
            last_used_at: record.rotated_at,
            expires_at: record.idle_expires.min(record.absolute_expires),
            attributes,
        }
    }
}
