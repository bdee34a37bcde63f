//! `build()`: checks every setting and makes the engine.

use super::check::{endpoints, native, required, whole, within};
use super::{ConfigError, EngineBuilder};
use crate::carrier::Transports;
use crate::cookie::MAX_NAME_AND_VALUE;
use crate::endpoint::Clients;
use crate::engine::{Core, Engine, FeedState, Fit, SignOuts};
use crate::mint::MintRules;
use crate::node::{Revoked, Seen};
use crate::observe::metrics::Metrics;
use crate::origin::check_host;
use crate::refresh::Setup;
use crate::refresh::flight::FlightGroup;
use crate::runtime::{Runtime, has_timer};
use crate::session::{ClaimSet, Watches};
use crate::verify::{Cache, Kind, Rules, TokenProfile};

impl<C: ClaimSet> EngineBuilder<C> {
    /// Checks every setting and builds the engine.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if a setting is missing, out of range, or contradicts another one.
    pub fn build(self) -> Result<Engine<C>, ConfigError> {
        const DAY: u64 = 24 * 60 * 60;
        /// With 1 KiB tokens, some 1.5 GB.
        const MAX_CACHED: usize = 1_000_000;

        required(
            "issuer",
            &self.issuer,
            "name who issues the tokens, such as `https://app.example`",
        )?;
        required("audience", &self.audience, "name whom the tokens are for, such as `app`")?;
        if self.client_id.is_none() && self.profile == TokenProfile::Rfc9068 {
            required("client_id", "", "RFC 9068 section 2.2 requires the claim in every token")?;
        }
        let Some(mut refresher) = self.refresher else {
            return Err(ConfigError::Missing {
                setting: "refresh_with",
                remedy: "say what makes fresh tokens, such as `Reissue::new()`",
            });
        };
        within("access_lifetime", self.access_lifetime, 1, DAY)?;
        whole("access_lifetime", self.access_lifetime)?;
        within("session_lifetime", self.session_lifetime, 1, 3650 * DAY)?;
        whole("session_lifetime", self.session_lifetime)?;
        within("leeway", self.leeway, 0, 300)?;
        if self.token_cache > MAX_CACHED {
            return Err(ConfigError::CacheSize { found: self.token_cache, most: MAX_CACHED });
        }
        if refresher.mints() && !self.keys.can_sign() {
            return Err(ConfigError::NoSigningKey);
        }
        if self.audience_in_client_id && refresher.mints() {
            return Err(ConfigError::Unfit {
                setting: "audience_in_client_id",
                found: "is for another issuer's tokens, and `refresh_with` mints tokens with `aud`"
                    .into(),
                remedy: "leave it out, or give a refresher that mints none",
            });
        }
        for origin in &self.trusted_origins {
            origin.check()?;
        }
        for host in &self.insecure_hosts {
            check_host(host)?;
            if !self.insecure {
                return Err(ConfigError::Unfit {
                    setting: "insecure_dev_host",
                    found: "is set without `insecure_dev_only`".into(),
                    remedy: "leave it out where cookies are Secure, which are for every host",
                });
            }
        }
        let runtime = self.runtime.or_else(|| tokio::runtime::Handle::try_current().ok());
        if runtime.as_ref().is_some_and(|runtime| !has_timer(runtime)) {
            return Err(ConfigError::NoTimer);
        }
        refresher.prepare(&Setup {
            keys: &self.keys,
            issuer: &self.issuer,
            audience: &self.audience,
            access_lifetime: self.access_lifetime,
            session_lifetime: self.session_lifetime,
        })?;
        let large = refresher.largest_refresh_token() > MAX_NAME_AND_VALUE;
        let carriers = Transports::build(self.carriers, self.insecure, large)?;
        let clients = Clients::build(self.clients)?;
        let native = native(self.native_paths)?;
        let dialects =
            endpoints(self.dialects, &native, &carriers, &clients, &*refresher, self.insecure)?;
        if self.insecure {
            tracing::warn!(target: "everfresh", "insecure_dev_only: cookies travel without Secure");
        }
        if self.debug_headers {
            tracing::warn!(target: "everfresh", "debug_headers: responses say why tokens don't count");
        }
        let cache = Cache::new(self.token_cache);
        let core = Core {
            rules: Rules {
                issuer: self.issuer.clone(),
                audience: self.audience.clone(),
                audience_in_client_id: self.audience_in_client_id,
                kind: Kind::Access(self.profile),
                leeway: self.leeway,
                needs_session: refresher.mints(),
            },
            mint_rules: MintRules {
                issuer: self.issuer,
                audience: self.audience,
                client_id: self.client_id,
                profile: self.profile,
                lifetime: self.access_lifetime,
            },
            keys: self.keys,
            carriers,
            // A result that is returned again must not be about to expire.
            reuse_interval: refresher.result_window().min(self.access_lifetime / 2),
            refresher: refresher.into(),
            revalidate: self.revalidate,
            fit: Fit::of::<C>(),
            session_lifetime: self.session_lifetime,
            refresh_timeout: self.refresh_timeout,
            inner_token: self.inner_token,
            cache_policy: self.cache_policy,
            trusted_origins: self.trusted_origins,
            insecure_hosts: self.insecure.then_some(self.insecure_hosts),
            csrf_handled_elsewhere: self.csrf_handled_elsewhere,
            background: self.background,
            public_attributes: self.public_attributes,
            recent_sign_in: self.recent_sign_in,
            rejection_body: self.rejection_body,
            events: self.events,
            debug_headers: self.debug_headers,
            clock: self.clock,
            runtime: Runtime::new(runtime),
            flights: FlightGroup::default(),
            revoked: Revoked::new(),
            seen: Seen::new(),
            watches: Watches::new(),
            native,
            dialects,
            clients,
            revocation_feed: FeedState::default(),
            sign_outs: SignOuts::default(),
            metrics: Metrics::new(),
        };
        Ok(Engine::new(core, cache))
    }
}
