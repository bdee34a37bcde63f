//! Refresh tokens that rotate: derive, replay, confirm.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::recoveries::Recoveries;
use super::table::{Answer, consult};
use super::token::{Credential, KeyRing, RefreshToken, Scope};
use super::{
    Admission, Admitted, Context, Failure, Opening, Presented, Refresher, Renewal, SessionInfo,
    Setup, Tokens,
};
use crate::clock::Timestamp;
use crate::config::ConfigError;
use crate::mint::{ClaimsObject, Grant, random_id};
use crate::observe::Event;
use crate::store::{
    ErasedStore, Loaded, NewSession, Rotation, SessionId, SessionRecord, SessionStore, StoreError,
};

/// How often a rotation that lost against another one looks again.
const TRIES: usize = 5;

/// Keeps sessions in a store and rotates their refresh tokens.
///
/// Rules
/// 1. A session is one row. Its refresh token is derived from the row and the key ring: every
///    request that races derives the same successor, byte for byte, and nothing in the store can
///    be replayed.
/// 2. Whoever presents the current token gets its successor; sooner than `overlap` after the last
///    rotation a new access token alone.
/// 3. Whoever presents the one before gets the same successor, within `overlap`, and as long as
///    no client has shown the successor: its response was lost.
/// 4. Any other older token means that two hold the session: this session ends, and no other.
/// 5. Sign-out, theft and the end of a limit are final.
///
/// Two holders who keep rotating in lock-step within `overlap` are not noticed; the session's
/// absolute limit bounds them.
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
    overlap: Duration,
    idle_lifetime: Duration,
    sign_ins: Arc<AtomicU64>,
    recoveries: Arc<Recoveries>,
}

/// Every so many sign-ins some sessions that are over are swept out of the store.
const SWEEP_EVERY: u64 = 64;
/// So many at the most.
const SWEEP_LIMIT: usize = 256;

impl Rotate {
    /// Over a store, with an overlap of 30 s and an idle limit of 14 days.
    pub fn new(store: impl SessionStore) -> Self {
        Self {
            store: Arc::new(store),
            ring: None,
            scope: None,
            overlap: Duration::from_secs(30),
            idle_lifetime: Duration::from_secs(14 * 24 * 60 * 60),
            sign_ins: Arc::default(),
            recoveries: Arc::default(),
        }
    }

    /// The keys that refresh tokens are derived with. Where the engine signs with shared secrets,
    /// they are derived from those, under a label of their own, unless set.
    pub fn key_ring(mut self, ring: KeyRing) -> Self {
        self.ring = Some(ring);
        self
    }

    /// How long a token that was rotated still counts for requests that were under way:
    /// 1 s to 5 minutes.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// How long a session lives without being rotated: at least an access token and the overlap.
    pub fn idle_lifetime(mut self, idle_lifetime: Duration) -> Self {
        self.idle_lifetime = idle_lifetime;
        self
    }

    /// Set by `prepare`, before anything else is called.
    fn keys(&self) -> Result<(&KeyRing, &Scope), Failure> {
        self.ring.as_ref().zip(self.scope.as_ref()).ok_or(Failure::Misconfigured)
    }

    fn open(&self, text: &[u8]) -> Option<Credential> {
        let (ring, scope) = self.keys().ok()?;
        ring.open(scope, text).ok()
    }

    async fn load(&self, cx: &Context, sid: SessionId) -> Result<Loaded, Failure> {
        let loaded = self.store.load(sid).await.map_err(|error| failed(cx, &error))?;
        loaded.ok_or(Failure::Rejected)
    }

    /// Tokens for a row as it is, or as it will be.
    fn tokens(&self, cx: &Context, row: &SessionRecord) -> Result<Tokens, Failure> {
        let mut tokens = cx.mint(&grant_of(row)?)?;
        tokens.persistent = row.persistent;
        Ok(tokens)
    }

    /// The same with the refresh token, as of a rotation that is about to be made: it will not be
    /// older than this says.
    fn both_tokens(&self, cx: &Context, row: &SessionRecord) -> Result<Tokens, Failure> {
        let mut tokens = self.tokens(cx, row)?;
        tokens.refresh = Some(self.derive(row)?);
        tokens.recheck_at = Some(cx.after(self.overlap / 2));
        Ok(tokens)
    }

    fn derive(&self, row: &SessionRecord) -> Result<RefreshToken, Failure> {
        let (ring, scope) = self.keys()?;
        // A row of a key that is not in the ring: nobody can derive its token, until it is.
        ring.derive(scope, row.key_id, row.sid, row.generation, &row.salt)
            .ok_or(Failure::Misconfigured)
    }

    /// One compare-and-set. The row as it then is, or nothing if another one came first.
    async fn change(
        &self,
        cx: &Context,
        loaded: &Loaded,
        next: &SessionRecord,
        slides: bool,
    ) -> Result<bool, Failure> {
        let rotation = Rotation {
            sid: next.sid,
            from: loaded.record.generation,
            to: next.generation,
            key_id: next.key_id,
            // Only what the app's revalidation changed: another node may have written others.
            claims: (next.claims != loaded.record.claims).then(|| next.claims.clone()),
            slides,
        };
        self.store.rotate(rotation).await.map_err(|error| failed(cx, &error))
    }

    async fn revalidate(&self, cx: &Context, row: &mut SessionRecord) -> Result<(), Failure> {
        let mut grant = grant_of(row)?;
        match cx.revalidate(&mut grant).await {
            Ok(()) => {
                row.claims = grant.claims.as_str().to_owned();
                Ok(())
            }
            Err(Failure::Rejected) => {
                // The app ended the session: so does the store.
                self.store.revoke(row.sid).await.map_err(|error| failed(cx, &error))?;
                Err(Failure::Rejected)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Two hold the session: it ends.
    async fn theft(&self, cx: &Context, sid: SessionId) -> Result<Failure, Failure> {
        self.store.revoke(sid).await.map_err(|error| failed(cx, &error))?;
        cx.emit(&Event::Theft { sid: &sid.to_string() });
        Ok(Failure::Rejected)
    }

    /// One look at the row and the table. Nothing if another request changed the row meanwhile.
    async fn attempt(
        &self,
        cx: &Context,
        credential: &Credential,
        admitted: &Admitted,
    ) -> Result<Option<Tokens>, Failure> {
        let slides = admitted.slides;
        let (ring, _) = self.keys()?;
        let began = cx.after(Duration::ZERO);
        let loaded = self.load(cx, credential.sid).await?;
        let (row, now) = (&loaded.record, loaded.now);
        if !credential.fits(ring, &row.salt) {
            return Err(Failure::Rejected);
        }
        let mut next = row.clone();
        let sid = row.sid.to_string();
        match consult(row, credential.generation, self.overlap, now) {
            Answer::Keep => {
                self.revalidate(cx, &mut next).await?;
                if !row.confirmed {
                    let confirmed = self.store.confirm(row.sid, row.generation, false).await;
                    confirmed.map_err(|error| failed(cx, &error))?;
                }
                self.tokens(cx, &next).map(Some)
            }
            Answer::Again { reanchor } => {
                if now.since(row.rotated_at) > self.overlap {
                    self.revalidate(cx, &mut next).await?;
                }
                let mut tokens = self.both_tokens(cx, &next)?;
                if reanchor {
                    if !self.change(cx, &loaded, &next, slides).await? {
                        return Ok(None);
                    }
                    if self.recoveries.note(row.sid) {
                        cx.emit(&Event::CookieNotSticking { sid: &sid });
                    }
                } else {
                    // As old as the row was when it was asked for, at the least.
                    let left = (self.overlap / 2).saturating_sub(now.since(row.rotated_at));
                    tokens.recheck_at = Some(began + left);
                }
                cx.emit(&Event::Replayed { sid: &sid, confirmed: row.confirmed });
                Ok(Some(tokens))
            }
            Answer::Adopt => {
                self.revalidate(cx, &mut next).await?;
                next.generation = credential.generation;
                // As the token was derived, so that twins are given the very same.
                next.key_id = credential.key_id;
                let tokens = self.tokens(cx, &next)?;
                if !self.change(cx, &loaded, &next, slides).await? {
                    return Ok(None);
                }
                self.recoveries.forget(row.sid);
                cx.emit(&Event::AheadOfStore { sid: &sid });
                Ok(Some(tokens))
            }
            Answer::Rotate { to } => {
                self.revalidate(cx, &mut next).await?;
                next.generation = to;
                next.key_id = ring.current();
                let tokens = self.both_tokens(cx, &next)?;
                if !self.change(cx, &loaded, &next, slides).await? {
                    return Ok(None);
                }
                self.recoveries.forget(row.sid);
                Ok(Some(tokens))
            }
            // A handler that asks late shows what was good when its request came: nobody is accused
            // by it, and it gets nothing.
            Answer::Theft if admitted.waited >= self.overlap / 2 => Err(Failure::SOON),
            Answer::Theft => Err(self.theft(cx, row.sid).await?),
        }
    }
}

fn failed(cx: &Context, error: &StoreError) -> Failure {
    cx.store_failed(error);
    Failure::SOON
}

fn grant_of(row: &SessionRecord) -> Result<Grant, Failure> {
    Ok(Grant {
        subject: row.subject.clone(),
        sid: row.sid.to_string(),
        // What a store gives back is not trusted to be what it was given.
        claims: ClaimsObject::parse(&row.claims).map_err(|_| Failure::Misconfigured)?,
        auth_time: row.created_at,
        session_expires: row.absolute_expires,
        generation: Some(row.generation),
    })
}

impl Refresher for Rotate {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<(), ConfigError> {
        let secs = Duration::from_secs;
        setup.within("Rotate::overlap", self.overlap, secs(1), secs(300))?;
        // Whoever is active rotates once per access token, and not sooner than the overlap.
        let least = setup.access_lifetime().saturating_add(self.overlap);
        let most = secs(3650 * 24 * 60 * 60);
        let least = least.min(setup.session_lifetime());
        setup.within("Rotate::idle_lifetime", self.idle_lifetime, least, most)?;
        if self.ring.is_none() {
            self.ring = Some(setup.derive_ring()?);
        }
        self.scope = Some(setup.scope());
        Ok(())
    }

    fn uses_refresh_tokens(&self) -> bool {
        true
    }

    /// The row decides, memory never does: whoever comes late is answered from it.
    fn result_window(&self) -> Duration {
        Duration::ZERO
    }

    fn admits(&self, presented: Presented<'_>, _: Timestamp) -> Option<Admission> {
        let credential = self.open(presented.refresh?)?;
        Some(Admission { sid: credential.sid.to_string().into(), mark: credential.generation })
    }

    async fn refresh(&self, cx: Context, admitted: Admitted) -> Result<Tokens, Failure> {
        let text = admitted.refresh.as_ref().ok_or(Failure::Rejected)?;
        let credential = self.open(text.expose().as_bytes()).ok_or(Failure::Rejected)?;
        for _ in 0..TRIES {
            if let Some(tokens) = self.attempt(&cx, &credential, &admitted).await? {
                return Ok(tokens);
            }
        }
        Err(Failure::SOON)
    }

    async fn renew(&self, cx: Context, renewal: Renewal) -> Result<Tokens, Failure> {
        let credential = match &renewal.refresh {
            Some(text) => Some(self.open(text.expose().as_bytes()).ok_or(Failure::Rejected)?),
            None => None,
        };
        let (sid, generation) = match (&credential, &renewal.grant) {
            (Some(credential), _) => (credential.sid, Some(credential.generation)),
            (None, Some(grant)) => {
                (SessionId::parse(&grant.sid).ok_or(Failure::Rejected)?, grant.generation)
            }
            (None, None) => return Err(Failure::Rejected),
        };
        let loaded = self.load(&cx, sid).await?;
        let mut row = loaded.record;
        if let Some(credential) = &credential {
            if !credential.fits(self.keys()?.0, &row.salt) {
                return Err(Failure::Rejected);
            }
            if consult(&row, credential.generation, self.overlap, loaded.now) == Answer::Theft {
                return Err(self.theft(&cx, sid).await?);
            }
        }
        self.revalidate(&cx, &mut row).await?;
        // What was presented is confirmed, and that somebody is there; nothing that was not.
        let grant = Grant { generation, ..grant_of(&row)? };
        let mut tokens = cx.mint_for(&grant, renewal.lifetime)?;
        tokens.persistent = row.persistent;
        if let Some(generation) = generation {
            let confirmed = self.store.confirm(sid, generation, true).await;
            confirmed.map_err(|error| failed(&cx, &error))?;
        }
        Ok(tokens)
    }

    async fn find(&self, cx: Context, sid: String) -> Result<Option<SessionInfo>, Failure> {
        let Some(sid) = SessionId::parse(&sid) else { return Ok(None) };
        let found = self.store.load(sid).await.map_err(|error| failed(&cx, &error))?;
        Ok(found.map(|loaded| loaded.record.into()))
    }

    /// Asks the table once more, without accusing anyone: only the same successor, which nobody
    /// has shown yet, may still leave with a response that took so long.
    async fn recheck(&self, cx: Context, admitted: Admitted) -> bool {
        let opened = admitted.refresh.as_ref().and_then(|text| self.open(text.expose().as_bytes()));
        let Some(credential) = opened else { return false };
        let Ok(loaded) = self.load(&cx, credential.sid).await else { return false };
        let row = &loaded.record;
        match consult(row, credential.generation, self.overlap, loaded.now) {
            Answer::Again { reanchor: false } => !row.confirmed,
            Answer::Again { reanchor: true } => {
                self.change(&cx, &loaded, row, false).await.unwrap_or(false)
            }
            _ => false,
        }
    }

    async fn sign_in(&self, cx: Context, opening: Opening) -> Result<Tokens, Failure> {
        let (ring, _) = self.keys()?;
        let sid = SessionId::parse(&opening.grant.sid).ok_or(Failure::Misconfigured)?;
        let absolute = opening.grant.session_expires.since(opening.grant.auth_time);
        let new = NewSession {
            sid,
            subject: opening.grant.subject.clone(),
            key_id: ring.current(),
            idle_lifetime: self.idle_lifetime,
            absolute_lifetime: absolute,
            persistent: opening.persistent,
            claims: opening.grant.claims.as_str().to_owned(),
            attributes: opening.attributes,
            salt: random_id().map_err(|_| Failure::SOON)?,
            custody: None,
        };
        // Minted, and found to fit, before anything is kept.
        let tokens = self.both_tokens(&cx, &new.clone().into_record(opening.grant.auth_time))?;
        self.store.create(new).await.map_err(|error| failed(&cx, &error))?;
        if self.sign_ins.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            let store = self.store.clone();
            // What fails now is swept the next time.
            cx.spawn(async move { drop(store.sweep(SWEEP_LIMIT).await) });
        }
        Ok(tokens)
    }

    async fn sign_out(&self, cx: Context, sid: String) -> Result<(), Failure> {
        let Some(sid) = SessionId::parse(&sid) else { return Ok(()) };
        self.store.revoke(sid).await.map(drop).map_err(|error| failed(&cx, &error))
    }

    async fn sign_out_all(
        &self,
        cx: Context,
        subject: String,
        except: Option<String>,
    ) -> Result<Vec<String>, Failure> {
        let except = except.as_deref().and_then(SessionId::parse);
        let revoked = self.store.revoke_subject(&subject, except).await;
        let revoked = revoked.map_err(|error| failed(&cx, &error))?;
        Ok(revoked.iter().map(ToString::to_string).collect())
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
        slide: bool,
    ) -> Result<(), Failure> {
        let Some(sid) = SessionId::parse(&sid) else { return Ok(()) };
        self.store.confirm(sid, generation, slide).await.map_err(|error| failed(&cx, &error))
    }
}

impl std::fmt::Debug for Rotate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotate").field("overlap", &self.overlap).finish_non_exhaustive()
    }
}

impl From<SessionRecord> for SessionInfo {
    fn from(record: SessionRecord) -> Self {
        let attributes: BTreeMap<String, String> = record.attributes;
        Self {
            sid: record.sid.to_string(),
            signed_in_at: record.created_at,
            last_used_at: record.rotated_at,
            expires: record.idle_expires.min(record.absolute_expires),
            attributes,
        }
    }
}
