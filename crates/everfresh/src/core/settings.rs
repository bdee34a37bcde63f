//! The settings of an engine: the builder writes them, and the engine reads them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::clock::Clock;
use crate::error::Failure;
use crate::mint::{ClaimsObject, MintRules, SessionClaims};
use crate::observe::Event;
use crate::origin::Trusted;
use crate::policy::{CachePolicy, InnerToken};
use crate::reject::RejectionBody;
use crate::verify::{Keys, Kind, Rules, TokenProfile};

/// Returns whether a request, given its method and path, was made without user activity.
pub(crate) type Background = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// The app's hook for events.
pub(crate) type EventHook = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// The app's revalidation with its types erased. It returns new claims, none, or a failure.
pub(crate) type Revalidate = Box<
    dyn Fn(SessionClaims) -> BoxFuture<'static, Result<Option<ClaimsObject>, Failure>>
        + Send
        + Sync,
>;

/// What the app sets. Each field is a method of [`EngineBuilder`](crate::EngineBuilder), which has
/// its meaning and its default.
pub(crate) struct Settings {
    pub(crate) keys: Keys,
    /// Issuer, audience and leeway. `build()` adds whether tokens must name a session.
    pub(crate) rules: Rules,
    pub(crate) profile: TokenProfile,
    pub(crate) client_id: Option<String>,
    pub(crate) access_lifetime: Duration,
    pub(crate) session_lifetime: Duration,
    pub(crate) refresh_timeout: Duration,
    pub(crate) insecure: bool,
    /// With `insecure_dev_only`: the hosts that it allows beside this machine.
    pub(crate) insecure_hosts: Vec<String>,
    pub(crate) inner_token: InnerToken,
    pub(crate) cache_policy: CachePolicy,
    pub(crate) trusted_origins: Vec<Trusted>,
    pub(crate) csrf_handled_elsewhere: bool,
    pub(crate) background: Option<Background>,
    pub(crate) public_attributes: Option<BTreeSet<String>>,
    pub(crate) recent_sign_in: Option<Duration>,
    pub(crate) revalidate: Option<Revalidate>,
    pub(crate) rejection_body: Option<RejectionBody>,
    pub(crate) events: Option<EventHook>,
    pub(crate) debug_headers: bool,
    pub(crate) clock: Clock,
}

impl Settings {
    pub(crate) fn new(keys: Keys) -> Self {
        let rules = Rules {
            issuer: String::new(),
            audience: String::new(),
            audience_in_client_id: false,
            kind: Kind::Access(TokenProfile::default()),
            leeway: Duration::from_secs(30),
            needs_session: true,
        };
        Self {
            keys,
            rules,
            profile: TokenProfile::default(),
            client_id: None,
            access_lifetime: Duration::from_secs(15 * 60),
            session_lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            refresh_timeout: Duration::from_secs(3),
            insecure: false,
            insecure_hosts: Vec::new(),
            inner_token: InnerToken::default(),
            cache_policy: CachePolicy::default(),
            trusted_origins: Vec::new(),
            csrf_handled_elsewhere: false,
            background: None,
            public_attributes: None,
            recent_sign_in: None,
            revalidate: None,
            rejection_body: None,
            events: None,
            debug_headers: false,
            clock: Clock::default(),
        }
    }

    /// Returns what the access tokens of this engine are minted by.
    pub(crate) fn mint_rules(&self) -> MintRules<'_> {
        MintRules {
            issuer: &self.rules.issuer,
            audience: &self.rules.audience,
            client_id: self.client_id.as_deref(),
            profile: self.profile,
        }
    }
}
