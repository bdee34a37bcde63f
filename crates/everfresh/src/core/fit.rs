//! Checks that claims fit the app's type, and limits how often a misfit is reported.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Core;
use crate::error::Failure;
use crate::mint::{ClaimSet, ClaimsObject};
use crate::observe::Event;
use crate::verify::{UnreadClaims, read_own};

/// After a deployment that changes the type there is one event a minute, and not one a request.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// The app's claims type, erased.
pub(crate) struct Fit {
    check: fn(&str) -> Result<(), UnreadClaims>,
    /// When the last event was emitted, by the monotonic clock.
    told: Mutex<Option<Duration>>,
}

impl Fit {
    pub(crate) fn of<C: ClaimSet>() -> Self {
        Self { check: |claims| read_own::<C>(claims).map(drop), told: Mutex::default() }
    }
}

impl Core {
    /// Returns an error, which ends no session, unless this engine can read these claims.
    pub(crate) fn fits(&self, claims: &ClaimsObject) -> Result<(), Failure> {
        (self.fit.check)(claims.as_str()).map_err(|unread| {
            self.tell_unread(&unread);
            Failure::UnreadClaims
        })
    }

    pub(crate) fn tell_unread(&self, unread: &UnreadClaims) {
        let now = self.settings.clock.monotonic();
        let due = {
            let mut told = self.fit.told.lock().unwrap_or_else(PoisonError::into_inner);
            let due = told.is_none_or(|then| now >= then + REPORT_EVERY);
            if due {
                *told = Some(now);
            }
            due
        };
        if due {
            self.emit(&Event::UnreadClaims { problem: unread.problem() });
        }
    }
}
