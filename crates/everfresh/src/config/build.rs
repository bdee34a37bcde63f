//! `build()`: checks every setting and makes the engine.

use super::EngineBuilder;
use super::check::{endpoints, native, required, whole, within};
use crate::cookie::MAX_NAME_AND_VALUE;
use crate::core::{Core, Fit, Settings};
use crate::dialects::{Clients, ServedEndpoints};
use crate::engine::Engine;
use crate::error::ConfigError;
use crate::mint::ClaimSet;
use crate::origin::check_host;
use crate::refresh::Setup;
use crate::runtime::has_timer;
use crate::transport::Transports;
use crate::verify::{Cache, TokenProfile};

impl<C: ClaimSet> EngineBuilder<C> {
    /// Checks every setting and builds the engine.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if a setting is missing, out of range, or contradicts another one.
    pub fn build(self) -> Result<Engine<C>, ConfigError> {
        /// With 1 KiB tokens, some 1.5 GB.
        const MAX_CACHED: usize = 1_000_000;

        let mut settings = self.settings;
        check_names(&settings)?;
        let Some(mut refresher) = self.refresher else {
            return Err(ConfigError::Missing {
                setting: "refresh_with",
                remedy: "pass a refresher, such as `Reissue::new()`",
            });
        };
        check_times(&settings)?;
        if self.token_cache > MAX_CACHED {
            return Err(ConfigError::CacheSize { found: self.token_cache, most: MAX_CACHED });
        }
        if refresher.mints() {
            check_minting(&settings)?;
        }
        check_hosts(&settings)?;
        let runtime = self.runtime.or_else(|| tokio::runtime::Handle::try_current().ok());
        if runtime.as_ref().is_some_and(|runtime| !has_timer(runtime)) {
            return Err(ConfigError::NoTimer);
        }
        refresher.prepare(&Setup {
            keys: &settings.keys,
            issuer: &settings.rules.issuer,
            audience: &settings.rules.audience,
            access_lifetime: settings.access_lifetime,
            session_lifetime: settings.session_lifetime,
        })?;
        let large = refresher.largest_refresh_token() > MAX_NAME_AND_VALUE;
        let transports = Transports::build(self.transports, settings.insecure, large)?;
        let clients = Clients::build(self.clients)?;
        let native = native(self.native_paths)?;
        let dialects = endpoints(
            self.dialects,
            &native,
            &transports,
            &clients,
            &*refresher,
            settings.insecure,
        )?;
        warn(&settings);
        let cache = Cache::new(self.token_cache);
        settings.rules.needs_session = refresher.mints();
        let core = Core::new(settings, transports, refresher, Fit::of::<C>(), runtime);
        Ok(Engine::new(core, cache, ServedEndpoints { native, dialects, clients }))
    }
}

/// Checks what names the tokens' issuer, audience and client.
fn check_names(settings: &Settings) -> Result<(), ConfigError> {
    required(
        "issuer",
        &settings.rules.issuer,
        "name the issuer of the tokens, such as `https://app.example`",
    )?;
    required(
        "audience",
        &settings.rules.audience,
        "name the audience of the tokens, such as `app`",
    )?;
    if settings.client_id.is_none() && settings.profile == TokenProfile::Rfc9068 {
        required("client_id", "", "RFC 9068 section 2.2 requires the claim in every token")?;
    }
    Ok(())
}

fn check_times(settings: &Settings) -> Result<(), ConfigError> {
    const DAY: u64 = 24 * 60 * 60;

    within("access_lifetime", settings.access_lifetime, 1, DAY)?;
    whole("access_lifetime", settings.access_lifetime)?;
    within("session_lifetime", settings.session_lifetime, 1, 3650 * DAY)?;
    whole("session_lifetime", settings.session_lifetime)?;
    within("leeway", settings.rules.leeway, 0, 300)
}

/// Checks the settings of an engine whose refresher mints tokens.
fn check_minting(settings: &Settings) -> Result<(), ConfigError> {
    if !settings.keys.can_sign() {
        return Err(ConfigError::NoSigningKey);
    }
    if settings.rules.audience_in_client_id {
        return Err(ConfigError::Unfit {
            setting: "audience_in_client_id",
            found: "is for another issuer's tokens, and `refresh_with` mints tokens with `aud`"
                .into(),
            remedy: "leave it out, or give a refresher that mints none",
        });
    }
    Ok(())
}

/// Checks the origins and hosts that requests may come from or go to.
fn check_hosts(settings: &Settings) -> Result<(), ConfigError> {
    for origin in &settings.trusted_origins {
        origin.check()?;
    }
    for host in &settings.insecure_hosts {
        check_host(host)?;
        if !settings.insecure {
            return Err(ConfigError::Unfit {
                setting: "insecure_dev_host",
                found: "is set without `insecure_dev_only`".into(),
                remedy: "remove it: Secure cookies need no such host",
            });
        }
    }
    Ok(())
}

/// Warns of settings that are for development alone.
fn warn(settings: &Settings) {
    if settings.insecure {
        tracing::warn!(target: "everfresh", "insecure_dev_only: cookies travel without Secure");
    }
    if settings.debug_headers {
        tracing::warn!(target: "everfresh", "debug_headers: responses say why tokens don't count");
    }
}
