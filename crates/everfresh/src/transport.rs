//! Where tokens travel: locations, and transports, which are pairs of them.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};
use memchr::memmem::Finder;

use crate::cookie::{CookieSpec, SameSite, chunks, is_host_only, is_token_byte};
use crate::error::ConfigError;

/// A place in a request and its response that holds a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A cookie: read from `Cookie`, written by `Set-Cookie`.
    Cookie(CookieSpec),
    /// The field `Authorization` with this scheme, which is compared without case, in requests and
    /// responses.
    Authorization(String),
    /// A header field of this name that holds only the token, in requests and responses.
    Header(HeaderName),
}

impl Location {
    /// Returns `Authorization: Bearer` (RFC 6750 section 2.1).
    pub fn bearer() -> Self {
        Self::Authorization("Bearer".into())
    }

    /// Whether a token fits this location. A header field holds visible ASCII (RFC 9110
    /// section 5.5).
    fn fits(&self, token: &str) -> bool {
        match self {
            Self::Cookie(cookie) => cookie.fits(token),
            Self::Authorization(_) | Self::Header(_) => {
                token.bytes().all(|byte| byte.is_ascii_graphic())
            }
        }
    }
}

/// A pair of locations: one for the access token, one for the refresh token.
///
/// Tokens go back by the transport that brought them. The engine has an ordered list of transports.
/// If a request brings good tokens by several, the first of the best ones counts.
///
/// A response field that scripts of another origin should read has to be named in the app's CORS
/// policy: `Access-Control-Expose-Headers: Authorization, X-Refresh-Token`.
///
/// ```
/// use everfresh::{Transport, Location};
///
/// let browsers = Transport::cookies();
/// let mobile = Transport::headers();
/// let own = Transport::new(
///     Location::Header("x-access".parse().unwrap()),
///     Location::Header("x-refresh".parse().unwrap()),
/// );
/// assert_ne!(mobile, own);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    pub(crate) access: Location,
    pub(crate) refresh: Location,
}

impl Transport {
    /// Makes a transport of any two locations.
    pub fn new(access: Location, refresh: Location) -> Self {
        Self { access, refresh }
    }

    /// Returns the cookies `__Host-access_token` and `__Host-refresh_token`, `SameSite=Lax`. The
    /// default.
    pub fn cookies() -> Self {
        Self::cookie_pair(SameSite::Lax)
    }

    /// Returns the same cookies with `SameSite=Strict`. A user who follows a link from another site
    /// looks signed out.
    pub fn strict_cookies() -> Self {
        Self::cookie_pair(SameSite::Strict)
    }

    /// Returns `Authorization: Bearer` and `X-Refresh-Token`, for clients that are not browsers.
    pub fn headers() -> Self {
        Self::new(Location::bearer(), Location::Header(HeaderName::from_static("x-refresh-token")))
    }

    /// Returns `Authorization: Bearer`, and the refresh token in a cookie, for single-page apps.
    pub fn bearer_with_cookie() -> Self {
        Self::new(Location::bearer(), Self::cookies().refresh)
    }

    fn cookie_pair(same_site: SameSite) -> Self {
        let cookie = |name: &str| Location::Cookie(CookieSpec::new(name).same_site(same_site));
        Self::new(cookie("__Host-access_token"), cookie("__Host-refresh_token"))
    }

    /// Applies `change` to each of the two locations.
    fn map(self, change: impl Fn(Location) -> Location) -> Self {
        Self::new(change(self.access), change(self.refresh))
    }

    pub(crate) fn locations(&self) -> [&Location; 2] {
        [&self.access, &self.refresh]
    }
}

/// Which of a transport's two tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Access,
    Refresh,
}

/// The checked list of transports, prepared for extraction.
#[derive(Debug)]
pub(crate) struct Transports {
    list: Vec<Transport>,
    /// Where each transport's tokens are looked for, in the same order.
    access: Vec<PreparedLocation>,
    refresh: Vec<PreparedLocation>,
    /// A bit for each transport whose access token is in a cookie that a sibling subdomain can
    /// plant.
    plantable: u8,
    /// For each transport, the cookies of further pieces of its refresh token, if that is in a
    /// cookie. Empty if no refresh token is that large.
    pieces: Vec<Vec<(CookieSpec, CookieFinder)>>,
    /// Every cookie of the transports.
    cookies: Vec<OurCookie>,
}

/// A cookie of a transport.
#[derive(Debug)]
struct OurCookie {
    is_access: bool,
    spec: CookieSpec,
    finder: CookieFinder,
}

/// A location, prepared for extraction from every request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a handful of them, and all are read")]
pub(crate) enum PreparedLocation {
    Cookie(CookieFinder),
    /// `Authorization` with this scheme.
    Authorization(Box<str>),
    Header(HeaderName),
}

impl PreparedLocation {
    fn new(location: &Location) -> Self {
        match location {
            Location::Cookie(cookie) => Self::Cookie(CookieFinder::new(cookie.name())),
            Location::Authorization(scheme) => Self::Authorization(scheme.as_str().into()),
            Location::Header(name) => Self::Header(name.clone()),
        }
    }
}

/// Finds `name=` in a `Cookie` field.
#[derive(Debug)]
pub(crate) struct CookieFinder(pub(crate) Finder<'static>);

impl CookieFinder {
    pub(crate) fn new(name: &str) -> Self {
        Self(Finder::new(&format!("{name}=")).into_owned())
    }
}

/// The most transports of an engine. A longer list would be hard to reason about.
pub(crate) const MAX_TRANSPORTS: usize = 4;

impl Transports {
    /// Whether any transport has its refresh token in a wanted location.
    pub(crate) fn any_refresh(&self, wanted: impl Fn(&Location) -> bool) -> bool {
        self.list.iter().any(|transport| wanted(&transport.refresh))
    }

    /// Checks and prepares the transports. `large`: refresh tokens may be larger than a cookie.
    pub(crate) fn build(
        list: Vec<Transport>,
        insecure: bool,
        large: bool,
    ) -> Result<Self, ConfigError> {
        if list.is_empty() || list.len() > MAX_TRANSPORTS {
            return Err(ConfigError::TransportCount { found: list.len() });
        }
        let list: Vec<_> = match insecure {
            false => list,
            true => list.into_iter().map(|transport| transport.map(insecure_location)).collect(),
        };
        let mut seen: Vec<&Location> = Vec::new();
        for transport in &list {
            let mut pair = transport.locations().into_iter();
            while let Some(location) = pair.next() {
                validate(location)?;
                let twin = |other: &&Location| clash(location, other, true);
                if pair.clone().any(|other| twin(&other))
                    || seen.iter().any(|other| clash(location, other, false))
                {
                    return Err(ConfigError::TransportClash { location: describe(location) });
                }
            }
            seen.extend(transport.locations());
        }
        let access =
            list.iter().map(|transport| PreparedLocation::new(&transport.access)).collect();
        let refresh =
            list.iter().map(|transport| PreparedLocation::new(&transport.refresh)).collect();
        let is_plantable = |transport: &Transport| match &transport.access {
            Location::Cookie(cookie) => !is_host_only(cookie.name()),
            _ => false,
        };
        let bits = list.iter().enumerate().map(|(at, one)| u8::from(is_plantable(one)) << at);
        let plantable = bits.fold(0, |bits, bit| bits | bit);
        let pieces = |transport: &Transport| match &transport.refresh {
            Location::Cookie(cookie) => {
                let specs = (1..chunks::MAX).map(|index| cookie.piece(index));
                specs.map(|spec| (spec.clone(), CookieFinder::new(spec.name()))).collect()
            }
            _ => Vec::new(),
        };
        let pieces: Vec<Vec<_>> =
            if large { list.iter().map(pieces).collect() } else { Vec::new() };
        let further = pieces.iter().flatten().map(|(spec, _): &(CookieSpec, _)| OurCookie {
            is_access: false,
            spec: spec.clone(),
            finder: CookieFinder::new(spec.name()),
        });
        let cookies = list.iter().flat_map(cookies_of).chain(further).collect();
        Ok(Self { list, access, refresh, plantable, pieces, cookies })
    }

    /// Whether a sibling subdomain can plant this transport's access token.
    pub(crate) fn is_plantable(&self, at: usize) -> bool {
        self.plantable & (1 << at) != 0
    }

    /// Returns the cookies of further pieces of a transport's refresh token.
    pub(crate) fn pieces(&self, at: usize) -> &[(CookieSpec, CookieFinder)] {
        self.pieces.get(at).map_or(&[], Vec::as_slice)
    }

    /// Whether refresh tokens may be larger than a cookie.
    pub(crate) fn any_pieces(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Whether a refresh token fits every transport's location.
    pub(crate) fn fit_refresh(&self, token: &str) -> bool {
        self.list.iter().all(|transport| match &transport.refresh {
            Location::Cookie(cookie) if self.any_pieces() => chunks::split(token)
                .is_some_and(|pieces| pieces.iter().all(|piece| cookie.fits(piece))),
            location => location.fits(token),
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Transport> {
        self.list.iter()
    }

    /// Returns where one side's tokens are looked for, in the order of the transports.
    pub(crate) fn side(&self, side: Side) -> &[PreparedLocation] {
        match side {
            Side::Access => &self.access,
            Side::Refresh => &self.refresh,
        }
    }

    /// Whether an access token fits every transport's location.
    pub(crate) fn fit(&self, token: &str) -> bool {
        self.list.iter().all(|transport| transport.access.fits(token))
    }

    pub(crate) fn get(&self, at: usize) -> &Transport {
        &self.list[at]
    }

    pub(crate) fn position(&self, wanted: &Transport) -> Option<usize> {
        self.list.iter().position(|transport| {
            transport == wanted || *transport == wanted.clone().map(insecure_location)
        })
    }

    /// Returns the transports' cookies and their finders: `(is it an access token's, spec,
    /// finder)`.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = (bool, &CookieSpec, &CookieFinder)> {
        self.cookies.iter().map(|cookie| (cookie.is_access, &cookie.spec, &cookie.finder))
    }
}

fn cookies_of(transport: &Transport) -> impl Iterator<Item = OurCookie> {
    let both = transport.locations().into_iter().zip([true, false]);
    both.filter_map(|(location, is_access)| match location {
        Location::Cookie(spec) => {
            let finder = CookieFinder::new(spec.name());
            Some(OurCookie { is_access, spec: spec.clone(), finder })
        }
        _ => None,
    })
}

fn insecure_location(location: Location) -> Location {
    match location {
        Location::Cookie(cookie) => Location::Cookie(cookie.insecure()),
        other => other,
    }
}

fn validate(location: &Location) -> Result<(), ConfigError> {
    match location {
        Location::Cookie(cookie) => cookie.validate(),
        Location::Authorization(scheme)
            if scheme.is_empty() || !scheme.bytes().all(is_token_byte) =>
        {
            Err(ConfigError::Scheme { found: scheme.clone() })
        }
        Location::Header(name) if *name == AUTHORIZATION || *name == COOKIE => {
            Err(ConfigError::HeaderLocation { name: name.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether two locations can't be told apart in a request. Two transports may share one cookie.
fn clash(one: &Location, other: &Location, same_carrier: bool) -> bool {
    match (one, other) {
        (Location::Cookie(a), Location::Cookie(b)) => {
            a.name() == b.name() && (same_carrier || a != b)
        }
        (Location::Authorization(a), Location::Authorization(b)) => a.eq_ignore_ascii_case(b),
        (Location::Header(a), Location::Header(b)) => a == b,
        _ => false,
    }
}

fn describe(location: &Location) -> String {
    match location {
        Location::Cookie(cookie) => format!("the cookie {:?}", cookie.name()),
        Location::Authorization(scheme) => format!("`Authorization: {scheme}`"),
        Location::Header(name) => format!("the header `{name}`"),
    }
}
