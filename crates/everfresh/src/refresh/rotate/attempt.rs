//! One rotation: load the row, renew the tokens that back it, ask the app's revalidation, and
//! change the row by one compare-and-set.

use std::time::Duration;

use super::{Rotate, failed};
use crate::clock::Timestamp;
use crate::error::Failure;
use crate::mint::{ClaimsObject, SessionClaims};
use crate::observe::Event;
use crate::refresh::rotation_rules::{Answer, decide};
use crate::refresh::token::{Credential, RefreshToken};
use crate::refresh::{Context, RefreshRequest, Tokens};
use crate::store::{Loaded, Rotation, SessionId, SessionRecord};

impl Rotate {
    /// Returns the row, once the tokens that back it are good for a while.
    pub(super) async fn renewed(
        &self,
        cx: &Context,
        loaded: Loaded,
        token_still_valid: bool,
    ) -> Result<Loaded, Failure> {
        match &self.keeper {
            Some(keeper) => keeper.renew(cx, loaded, token_still_valid).await,
            None => Ok(loaded),
        }
    }

    /// Ends a session in the store, and the tokens that back it.
    pub(super) async fn end(&self, cx: &Context, sid: SessionId) -> Result<bool, Failure> {
        match &self.keeper {
            Some(keeper) => keeper.end(cx, sid).await,
            None => self.store.revoke(sid).await.map_err(|error| failed(cx, &error)),
        }
    }

    /// Mints an access token for a row as it is, or as it will be.
    fn tokens(&self, cx: &Context, row: &SessionRecord, now: Timestamp) -> Result<Tokens, Failure> {
        cx.mint_for(&session_claims_of(row)?, self.rest(row, now))
    }

    /// Mints an access token and derives the refresh token, before a rotation is written: the
    /// rotation is not older than `recheck_at` assumes.
    pub(super) fn both_tokens(
        &self,
        cx: &Context,
        row: &SessionRecord,
        now: Timestamp,
    ) -> Result<Tokens, Failure> {
        let mut tokens = self.tokens(cx, row, now)?;
        tokens.refresh = Some(self.derive(row)?);
        tokens.recheck_at = Some(cx.after(self.reuse_interval / 2));
        Ok(tokens)
    }

    /// Returns how long an access token of this row may live: no longer than the token that
    /// backs it.
    pub(super) fn rest(&self, row: &SessionRecord, now: Timestamp) -> Option<Duration> {
        let upstream = self.keeper.as_ref().and(row.upstream.as_ref())?;
        // Expiry is in whole seconds; a token that is nearly over is good for the current request.
        Some(upstream.expires.since(now).max(Duration::from_secs(1)))
    }

    fn derive(&self, row: &SessionRecord) -> Result<RefreshToken, Failure> {
        let (ring, scope) = self.keys()?;
        // No node can derive the row's token until the row's key is in the ring again.
        ring.derive(scope, row.key_id, row.sid, row.generation, &row.salt)
            .ok_or(Failure::Misconfigured)
    }

    /// Makes one compare-and-set. Returns false if another change of the row came first.
    pub(super) async fn change(
        &self,
        cx: &Context,
        loaded: &Loaded,
        next: &SessionRecord,
        user_activity: bool,
    ) -> Result<bool, Failure> {
        let rotation = Rotation {
            sid: next.sid,
            from: loaded.record.generation,
            to: next.generation,
            key_id: next.key_id,
            // Only claims that the app's revalidation changed: another node may have written
            // others.
            claims: (next.claims != loaded.record.claims).then(|| next.claims.clone()),
            user_activity,
        };
        self.store.rotate(rotation).await.map_err(|error| failed(cx, &error))
    }

    pub(super) async fn revalidate(
        &self,
        cx: &Context,
        row: &mut SessionRecord,
    ) -> Result<(), Failure> {
        let mut session_claims = session_claims_of(row)?;
        match cx.revalidate(&mut session_claims).await {
            Ok(()) => {
                row.claims = session_claims.claims.as_str().to_owned();
                Ok(())
            }
            Err(Failure::Rejected) => {
                // The app ended the session, so the store ends it too.
                self.end(cx, row.sid).await?;
                Err(Failure::Rejected)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Ends a session that two parties hold, and reports the reuse.
    pub(super) async fn end_for_reuse(
        &self,
        cx: &Context,
        row: &SessionRecord,
    ) -> Result<Failure, Failure> {
        self.end(cx, row.sid).await?;
        cx.emit(&Event::ReuseDetected { sid: &row.sid.to_string() });
        Ok(Failure::Rejected)
    }

    /// Returns whether the presented token may have been current when the request arrived: the
    /// request asked late, or this node was stopped, or its store slow, during the work. `began`:
    /// when the work began, by the monotonic clock, which runs while a process is stopped.
    pub(super) fn is_late(&self, cx: &Context, waited: Duration, began: Duration) -> bool {
        waited.saturating_add(cx.monotonic().saturating_sub(began)) >= self.reuse_interval / 2
    }

    /// Reads the row and applies the rules once. Returns `None` if another request changed the row
    /// meanwhile.
    pub(super) async fn attempt(
        &self,
        cx: &Context,
        credential: &Credential,
        admitted: &RefreshRequest,
        taken_up: Duration,
    ) -> Result<Option<Tokens>, Failure> {
        let user_activity = admitted.user_activity;
        let (ring, _) = self.keys()?;
        let began = cx.after(Duration::ZERO);
        let mut loaded = self.load(cx, credential.sid).await?;
        self.belongs(credential, &loaded.record, admitted.client.as_deref())?;
        let rotation_rules = |loaded: &Loaded| {
            decide(&loaded.record, credential.generation, self.reuse_interval, loaded.now)
        };
        // The keeper sends nothing to another server for a token that is refused.
        if rotation_rules(&loaded) != Answer::Reuse {
            loaded = self.renewed(cx, loaded, admitted.token_still_valid).await?;
        }
        let (row, now) = (&loaded.record, loaded.now);
        let mut next = row.clone();
        let sid = row.sid.to_string();
        match rotation_rules(&loaded) {
            Answer::Keep => {
                self.revalidate(cx, &mut next).await?;
                if !row.confirmed {
                    let confirmed = self.store.confirm(row.sid, row.generation, false).await;
                    confirmed.map_err(|error| failed(cx, &error))?;
                }
                self.tokens(cx, &next, now).map(Some)
            }
            Answer::Again { reanchor } => {
                if now.since(row.rotated_at) > self.reuse_interval {
                    self.revalidate(cx, &mut next).await?;
                }
                let mut tokens = self.both_tokens(cx, &next, now)?;
                if reanchor {
                    if !self.change(cx, &loaded, &next, user_activity).await? {
                        return Ok(None);
                    }
                    if self.cookie_loss.note(row.sid) {
                        cx.emit(&Event::CookieNotSticking { sid: &sid });
                    }
                } else {
                    // Measured from before the row was loaded, so the rotation is at least this
                    // old.
                    let left = (self.reuse_interval / 2).saturating_sub(now.since(row.rotated_at));
                    tokens.recheck_at = Some(began + left);
                }
                cx.emit(&Event::Replayed { sid: &sid, confirmed: row.confirmed });
                Ok(Some(tokens))
            }
            Answer::AheadOfStore => {
                self.revalidate(cx, &mut next).await?;
                next.generation = credential.generation;
                // The key that the token was derived with, so that racing requests get the same
                // bytes.
                next.key_id = credential.key_id;
                let tokens = self.tokens(cx, &next, now)?;
                if !self.change(cx, &loaded, &next, user_activity).await? {
                    return Ok(None);
                }
                self.cookie_loss.forget(row.sid);
                cx.emit(&Event::AheadOfStore { sid: &sid });
                Ok(Some(tokens))
            }
            Answer::Rotate { to } => {
                self.revalidate(cx, &mut next).await?;
                next.generation = to;
                next.key_id = ring.current();
                let tokens = self.both_tokens(cx, &next, now)?;
                if !self.change(cx, &loaded, &next, user_activity).await? {
                    return Ok(None);
                }
                self.cookie_loss.forget(row.sid);
                Ok(Some(tokens))
            }
            // A request that asks late may show a token that was current when it arrived. It is not
            // reported as reuse, and it gets no tokens.
            Answer::Reuse if self.is_late(cx, admitted.waited, taken_up) => Err(Failure::SOON),
            Answer::Reuse => Err(self.end_for_reuse(cx, row).await?),
        }
    }
}

pub(super) fn session_claims_of(row: &SessionRecord) -> Result<SessionClaims, Failure> {
    Ok(SessionClaims {
        subject: row.subject.clone(),
        sid: row.sid.to_string(),
        // The store's text is parsed again, because it may differ from what was stored.
        claims: ClaimsObject::parse(&row.claims).map_err(|_| Failure::Misconfigured)?,
        auth_time: row.created_at,
        session_expires: row.absolute_expires,
        generation: Some(row.generation),
        persistent: row.persistent,
    })
}
