//! A new access token without a new refresh token, for clients that keep the refresh token that
//! they have.
//!
//! Rules
//! 1. A refresh token counts as it does in a rotation: the rotation rules decide, and change
//!    nothing.
//! 2. An access token counts only if its session was signed in for it
//!    ([`SignIn::renewable_by_access_token`](crate::SignIn::renewable_by_access_token)). Such an
//!    access token works as a refresh token, so its generation is checked: the row's current one
//!    and the one before count. An older one means that two parties hold the session, if a client
//!    has shown a token of the row's generation. Before that, the older token is refused and the
//!    session goes on.
//! 3. The new token carries the generation that was presented. So it confirms the token that its
//!    holder has, and no token that another client got.

use std::time::Duration;

use super::attempt::session_claims_of;
use super::{Rotate, failed};
use crate::error::Failure;
use crate::mint::SessionClaims;
use crate::refresh::rotation_rules::{Answer, decide};
use crate::refresh::{Context, ReissueRequest, Tokens};
use crate::store::{Loaded, SessionId, SessionRecord};

/// The attribute, and its value, of a session whose access tokens may be exchanged for new ones.
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
            Some(token) => Some(self.open_token(token).ok_or(Failure::Rejected)?),
            None => None,
        };
        let (sid, generation) = match (&credential, &renewal.session_claims) {
            (Some(credential), _) => (credential.sid, credential.generation),
            (None, Some(session_claims)) => {
                let sid = SessionId::parse(&session_claims.sid).ok_or(Failure::Rejected)?;
                // A token without a generation was minted for a call onward: no client holds it.
                (sid, session_claims.generation.ok_or(Failure::Foreign)?)
            }
            (None, None) => return Err(Failure::Rejected),
        };
        let loaded = self.load(cx, sid).await?;
        let row = &loaded.record;
        let two_hold_it = match &credential {
            Some(credential) => {
                self.belongs(credential, row, client)?;
                decide(row, generation, self.reuse_interval, loaded.now) == Answer::Reuse
            }
            None => is_outdated(row, generation, client)?,
        };
        if two_hold_it {
            return Err(match self.is_late(cx, Duration::ZERO, began) {
                true => Failure::SOON,
                false => self.end_for_reuse(cx, row).await?,
            });
        }
        let Loaded { record: mut row, now } = self.renewed(cx, loaded, false).await?;
        self.revalidate(cx, &mut row).await?;
        let session_claims =
            SessionClaims { generation: Some(generation), ..session_claims_of(&row)? };
        let lifetime = renewal.lifetime.into_iter().chain(self.rest(&row, now)).min();
        let tokens = cx.mint_for(&session_claims, lifetime)?;
        let confirmed = self.store.confirm(sid, generation, true).await;
        confirmed.map_err(|error| failed(cx, &error))?;
        Ok(tokens)
    }
}

/// Rule 2: returns whether an access token of this generation means that two parties hold its
/// session.
///
/// # Errors
/// [`Failure::Foreign`] if the token may not be renewed.
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
