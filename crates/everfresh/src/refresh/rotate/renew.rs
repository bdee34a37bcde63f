//! An access token alone, for clients that keep the token that they have.
//!
//! Rules
//! 1. A refresh token is worth what it is worth in a rotation: the table decides, and moves nothing.
//! 2. An access token counts only for a session that was signed in for it
//!    ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)). Such an access
//!    token is a refresh token in all but name, so its generation is looked at: the row's current one
//!    and the one before count. An older one means that two hold the session, once a client has
//!    shown the row's; before that it is refused, and the session goes on.
//! 3. The new token carries the generation that was presented, so it confirms what its holder has
//!    and nothing that somebody else was given.

use std::time::Duration;

use super::attempt::grant_of;
use super::{Rotate, failed};
use crate::mint::SessionClaims;
use crate::refresh::rotation_rules::{Answer, consult};
use crate::refresh::{Context, Failure, ReissueRequest, Tokens};
use crate::store::{Loaded, SessionId, SessionRecord};

/// The attribute of a session whose access tokens may be exchanged for new ones, and its value.
pub(crate) const RENEWABLE: (&str, &str) = ("renewable_by", "access_token");

impl Rotate {
    pub(super) async fn access_token_for(
        &self,
        cx: &Context,
        renewal: ReissueRequest,
    ) -> Result<Tokens, Failure> {
        let began = cx.monotonic();
        let client = renewal.client.as_deref();
        let credential = match &renewal.refresh {
            Some(text) => Some(self.open(text.expose().as_bytes()).ok_or(Failure::Rejected)?),
            None => None,
        };
        let (sid, generation) = match (&credential, &renewal.grant) {
            (Some(credential), _) => (credential.sid, credential.generation),
            (None, Some(grant)) => {
                let sid = SessionId::parse(&grant.sid).ok_or(Failure::Rejected)?;
                // One without a generation was minted for a call onward: no client holds it.
                (sid, grant.generation.ok_or(Failure::Foreign)?)
            }
            (None, None) => return Err(Failure::Rejected),
        };
        let loaded = self.load(cx, sid).await?;
        let row = &loaded.record;
        let two_hold_it = match &credential {
            Some(credential) => {
                self.belongs(credential, row, client)?;
                consult(row, generation, self.reuse_interval, loaded.now) == Answer::Reuse
            }
            None => is_outdated(row, generation, client)?,
        };
        if two_hold_it {
            return Err(match self.is_late(cx, Duration::ZERO, began) {
                true => Failure::SOON,
                false => self.theft(cx, row).await?,
            });
        }
        let Loaded { record: mut row, now } = self.renewed(cx, loaded, false).await?;
        self.revalidate(cx, &mut row).await?;
        let grant = SessionClaims { generation: Some(generation), ..grant_of(&row)? };
        let lifetime = renewal.lifetime.into_iter().chain(self.rest(&row, now)).min();
        let tokens = cx.mint_for(&grant, lifetime)?;
        let confirmed = self.store.confirm(sid, generation, true).await;
        confirmed.map_err(|error| failed(cx, &error))?;
        Ok(tokens)
    }
}

/// Rule 2: whether an access token of this generation means that two hold its session. An error if
/// it may not be renewed.
fn is_outdated(
    row: &SessionRecord,
    generation: u64,
    client: Option<&str>,
) -> Result<bool, Failure> {
    let (name, value) = RENEWABLE;
    let renewable = row.attributes.get(name).is_some_and(|found| found == value);
    if !renewable || row.client() != client {
        return Err(Failure::Foreign);
    }
    match generation.saturating_add(1) < row.generation {
        true if !row.confirmed => Err(Failure::Foreign),
        outdated => Ok(outdated),
    }
}
