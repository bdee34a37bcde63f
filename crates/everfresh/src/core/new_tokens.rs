//! What is checked of new tokens before a client gets them.

use super::Core;
use crate::clock::Timestamp;
use crate::error::Failure;
use crate::mint::ClaimSet;
use crate::observe::Event;
use crate::refresh::RefreshToken;
use crate::refresh::flight::within;
use crate::secret::AccessToken;
use crate::verify::{self, Seek, Verified, verify};

impl Core {
    /// Verifies a token that was just made, because the engine must accept every token that it
    /// sends.
    pub(crate) fn verify_own<C: ClaimSet>(
        &self,
        token: &AccessToken,
        now: Timestamp,
    ) -> Result<Verified<C>, Failure> {
        let token = token.expose().as_bytes();
        let verified = verify(token, &self.settings.keys.current(), &self.settings.rules, now);
        let verified: Verified<C> = verified.map_err(|reason| {
            self.emit(&Event::TokenRefused { reason });
            match verify::lacks_key(token, reason, &self.settings.keys) {
                true => Failure::SOON,
                false => Failure::Misconfigured,
            }
        })?;
        if verified.expires <= now {
            self.emit(&Event::ExpiredOnArrival { sid: &verified.sid });
            return Err(Failure::SOON);
        }
        Ok(verified)
    }

    /// Returns an error, and emits an event, unless the tokens fit in every transport. A token that
    /// is dropped on its way may be the only copy of a one-time token.
    pub(crate) fn check_fit(
        &self,
        sid: &str,
        access: Option<&AccessToken>,
        refresh: Option<&RefreshToken>,
    ) -> Result<(), Failure> {
        if access.is_none_or(|token| self.transports.fit(token.expose()))
            && refresh.is_none_or(|token| self.transports.fit_refresh(token.expose()))
        {
            return Ok(());
        }
        self.emit(&Event::TokenTooLarge { sid });
        Err(Failure::Misconfigured)
    }

    /// Fetches the key of a new token. If keys come from a source, a refresh may return a token
    /// that is signed by a key that was published a moment ago. The fetch comes before any client
    /// gets the token, and its failure is not an error.
    pub(crate) async fn learn_key(&self, token: &AccessToken) {
        if !self.settings.keys.has_source() {
            return;
        }
        let (now, token) = (self.now(), token.expose().as_bytes());
        if let Err(reason) =
            verify::<()>(token, &self.settings.keys.current(), &self.settings.rules, now)
            && verify::lacks_key(token, reason, &self.settings.keys)
            && let Seek::InFlight(fetch) = self.settings.keys.seek()
        {
            within(self, self.settings.refresh_timeout, fetch).await;
        }
    }
}
