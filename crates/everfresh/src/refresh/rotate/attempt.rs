//! One rotation: the row, what it rests on, the app's revalidation, one compare-and-set.

use std::time::Duration;

use super::{Rotate, failed};
use crate::clock::Timestamp;
use crate::mint::{ClaimsObject, SessionClaims};
use crate::observe::Event;
use crate::refresh::rotation_rules::{Answer, consult};
use crate::refresh::token::{Credential, RefreshToken};
use crate::refresh::{Context, Failure, RefreshRequest, Tokens};
use crate::store::{Loaded, Rotation, SessionId, SessionRecord};

impl Rotate {
    /// The row, once what it rests on is good for a while.
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

    /// Ends a session in the store, and what it rests on.
    pub(super) async fn end(&self, cx: &Context, sid: SessionId) -> Result<bool, Failure> {
        match &self.keeper {
            Some(keeper) => keeper.end(cx, sid).await,
            None => self.store.revoke(sid).await.map_err(|error| failed(cx, &error)),
        }
    }

    /// Tokens for a row as it is, or as it will be.
    fn tokens(&self, cx: &Context, row: &SessionRecord, now: Timestamp) -> Result<Tokens, Failure> {
        cx.mint_for(&grant_of(row)?, self.rest(row, now))
    }

    /// The same with the refresh token, as of a rotation that is about to be made: it will not be
    /// older than this says.
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

    /// How long an access token of this row may live: no longer than the one that it rests on.
    pub(super) fn rest(&self, row: &SessionRecord, now: Timestamp) -> Option<Duration> {
        let upstream = self.keeper.as_ref().and(row.upstream.as_ref())?;
        // Expiry is in whole seconds; one that is nearly over is good for the request at hand.
        Some(upstream.expires.since(now).max(Duration::from_secs(1)))
    }

    fn derive(&self, row: &SessionRecord) -> Result<RefreshToken, Failure> {
        let (ring, scope) = self.keys()?;
        // A row of a key that is not in the ring: nobody can derive its token, until it is.
        ring.derive(scope, row.key_id, row.sid, row.generation, &row.salt)
            .ok_or(Failure::Misconfigured)
    }

    /// One compare-and-set. The row as it then is, or nothing if another one came first.
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
            // Only what the app's revalidation changed: another node may have written others.
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
        let mut grant = grant_of(row)?;
        match cx.revalidate(&mut grant).await {
            Ok(()) => {
                row.claims = grant.claims.as_str().to_owned();
                Ok(())
            }
            Err(Failure::Rejected) => {
                // The app ended the session: so does the store.
                self.end(cx, row.sid).await?;
                Err(Failure::Rejected)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Two hold the session: it ends.
    pub(super) async fn theft(
        &self,
        cx: &Context,
        row: &SessionRecord,
    ) -> Result<Failure, Failure> {
        self.end(cx, row.sid).await?;
        cx.emit(&Event::ReuseDetected { sid: &row.sid.to_string() });
        Ok(Failure::Rejected)
    }

    /// Whether what a request showed may have been good when it came: it asked late, or this node
    /// was stopped, or its store slow, while it worked at it. `began`: when it took the work up, by
    /// the monotonic clock, which runs while a process is stopped.
    pub(super) fn is_late(&self, cx: &Context, waited: Duration, began: Duration) -> bool {
        waited.saturating_add(cx.monotonic().saturating_sub(began)) >= self.reuse_interval / 2
    }

    /// One look at the row and the table. Nothing if another request changed the row meanwhile.
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
            consult(&loaded.record, credential.generation, self.reuse_interval, loaded.now)
        };
        // Nothing is sent to anybody for a token that comes to nothing.
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
                    // As old as the row was when it was asked for, at the least.
                    let left = (self.reuse_interval / 2).saturating_sub(now.since(row.rotated_at));
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
            // Who asks late shows what was good when the request came: nobody is accused by it, and
            // it gets nothing.
            Answer::Reuse if self.is_late(cx, admitted.waited, taken_up) => Err(Failure::SOON),
            Answer::Reuse => Err(self.theft(cx, row).await?),
        }
    }
}

pub(super) fn grant_of(row: &SessionRecord) -> Result<SessionClaims, Failure> {
    Ok(SessionClaims {
        subject: row.subject.clone(),
        sid: row.sid.to_string(),
        // What a store gives back is not trusted to be what it was given.
        claims: ClaimsObject::parse(&row.claims).map_err(|_| Failure::Misconfigured)?,
        auth_time: row.created_at,
        session_expires: row.absolute_expires,
        generation: Some(row.generation),
        persistent: row.persistent,
    })
}
