//! Step 5, for every adapter: the inner service sees the request.

use super::InFlight;
use crate::engine::Engine;
use crate::forward;
use crate::head::RequestHead;
use crate::mint::ClaimSet;
use crate::policy::InnerToken;
use crate::secret::AccessToken;
use crate::session::Session;

impl<C: ClaimSet> Engine<C> {
    /// Step 5, for adapters: changes what the inner service sees of the tokens, by the configured
    /// [`InnerToken`]. Hold the returned value until there is a response; it does step 6 then.
    pub fn attach(&self, session: Session<C>, head: &mut impl RequestHead) -> InFlight<C> {
        let policy = self.core.settings.inner_token;
        let successor = match policy {
            InnerToken::Fresh => successor(&session),
            _ => None,
        };
        forward::rewrite(head.fields_mut(), &self.core.transports, policy, successor.as_ref());
        InFlight(session)
    }
}

/// Returns the token that takes the place of the one that the client sent. A token with a generation
/// is for the client alone, because presenting it confirms the rotation.
fn successor<C: ClaimSet>(session: &Session<C>) -> Option<AccessToken> {
    let delivered = session.delivered()?;
    match session.generation() {
        Some(_) => session.access_token().ok(),
        None => Some(delivered),
    }
}
