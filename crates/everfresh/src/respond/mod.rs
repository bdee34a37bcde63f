//! Step 6: the header changes of a response.
//!
//! Rules
//! 1. Tokens go back by the transport that brought them. `Set-Cookie` is appended, never inserted
//!    or folded.
//! 2. If the handler itself set or cleared one of a transport's locations, its fields stay, and the
//!    engine writes neither of the two tokens.
//! 3. A response with tokens is not for shared caches (RFC 9111 section 7.3). As the policy says,
//!    the engine changes the handler's cache directives, or withholds the tokens. The policy never
//!    withholds tokens that the handler asked for, because a client that signed in must get them.
//! 4. A 304 carries no tokens, because caches merge its fields into the stored response. The next
//!    request is refreshed again.

use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, EXPIRES, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue};

use crate::clock::Timestamp;
use crate::cookie::{CookieSpec, chunks};
use crate::core::Core;
use crate::head::{HeaderFields, ResponseHead};
use crate::observe::Event;
use crate::policy::CachePolicy;
use crate::refresh::Tokens;
use crate::transport::{CookieFinder, Location};

/// What a response should carry for the session.
#[derive(Clone, Debug, Default)]
pub(crate) enum Outgoing {
    #[default]
    Nothing,
    Tokens {
        transport: usize,
        tokens: Tokens,
        /// Whether the handler asked for them, by a sign-in or a refresh. No later response carries
        /// them.
        asked: bool,
    },
    /// Delete every cookie of the engine's transports.
    Clear {
        /// Whether the reason is a session that is over. Otherwise it is a sign-out.
        dead: bool,
    },
}

/// What a response carries in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    Tokens,
    /// Tokens are withheld, because the handler set the cookies itself, or because of a shared
    /// cache or a 304.
    Withheld,
    /// Cookies are deleted.
    Cleared,
}

/// Cache directives that only shared caches and CDNs read.
const SHARED_CACHE_FIELDS: [HeaderName; 4] = [
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("cloudflare-cdn-cache-control"),
    HeaderName::from_static("vercel-cdn-cache-control"),
];

const NOT_MODIFIED: u16 = 304;

/// Applies `outgoing` to a response's head. Returns what the response carries. If `tell`, it also
/// emits an event, which happens once even if the response is made again.
pub(crate) fn apply(
    core: &Core,
    response: &mut impl ResponseHead,
    outgoing: Outgoing,
    tell: bool,
    now: Timestamp,
) -> Sent {
    let tell = |event: Event<'_>| {
        if tell {
            core.emit(&event);
        }
    };
    match outgoing {
        Outgoing::Nothing => Sent::Nothing,
        Outgoing::Clear { dead } => clear(core, response, dead, tell),
        Outgoing::Tokens { .. } if response.status() == NOT_MODIFIED => {
            tell(Event::TokensWithheld);
            Sent::Withheld
        }
        Outgoing::Tokens { transport, tokens, asked } => {
            let policy = if asked { CachePolicy::Override } else { core.settings.cache_policy };
            let rest = tokens.session_expires.since(now);
            let delivery =
                Delivery { transport, max_age: tokens.persistent.then_some(rest), policy };
            deliver(core, response, delivery, &tokens, tell)
        }
    }
}

fn clear(
    core: &Core,
    response: &mut impl ResponseHead,
    dead: bool,
    tell: impl FnOnce(Event<'_>),
) -> Sent {
    let fields = response.fields_mut();
    let mut cleared = false;
    let mut done: Vec<&CookieSpec> = Vec::new();
    for (_, cookie, _) in core.transports.cookies() {
        if done.contains(&cookie) || sets_cookie(fields, cookie.name()) {
            continue;
        }
        if let Some(value) = cookie.delete() {
            fields.append(&SET_COOKIE, value);
            cleared = true;
        }
        done.push(cookie);
    }
    if !cleared {
        return Sent::Nothing;
    }
    keep_from_caches(fields);
    tell(Event::CookiesCleared { dead });
    Sent::Cleared
}

/// How tokens leave.
struct Delivery {
    transport: usize,
    /// For how long cookies persist, if they do.
    max_age: Option<Duration>,
    policy: CachePolicy,
}

fn deliver(
    core: &Core,
    response: &mut impl ResponseHead,
    Delivery { transport, max_age, policy }: Delivery,
    tokens: &Tokens,
    tell: impl FnOnce(Event<'_>),
) -> Sent {
    let (pieces, transport) = (core.transports.pieces(transport), core.transports.get(transport));
    let fields = response.fields_mut();
    if transport.locations().into_iter().any(|location| is_set(fields, location)) {
        return Sent::Withheld;
    }
    if policy != CachePolicy::Override && is_for_shared_caches(fields) {
        tell(Event::TokensWithheld);
        if policy == CachePolicy::Fail {
            keep_from_caches(fields);
            response.fail();
        }
        return Sent::Withheld;
    }
    let access = (&transport.access, tokens.access.expose());
    let refresh = tokens.refresh.as_ref().map(|token| (&transport.refresh, token.expose()));
    for (location, token) in [Some(access), refresh].into_iter().flatten() {
        if let (Location::Cookie(cookie), false) = (location, pieces.is_empty())
            && location == &transport.refresh
        {
            deliver_pieces(fields, cookie, pieces, token, max_age);
            vary_by(fields, &COOKIE);
            continue;
        }
        let (name, value, vary) = match location {
            Location::Cookie(cookie) => (SET_COOKIE, cookie.set(token, max_age), COOKIE),
            Location::Authorization(scheme) => {
                (AUTHORIZATION, sensitive(&format!("{scheme} {token}")), AUTHORIZATION)
            }
            Location::Header(name) => (name.clone(), sensitive(token), name.clone()),
        };
        // A token that the engine accepted is always a header value, and its size was checked when
        // it was made.
        if let Some(value) = value {
            fields.append(&name, value);
            vary_by(fields, &vary);
        }
    }
    keep_from_caches(fields);
    Sent::Tokens
}

/// Writes a token into as many cookies as it needs, and deletes the rest of them.
fn deliver_pieces(
    fields: &mut impl HeaderFields,
    cookie: &CookieSpec,
    pieces: &[(CookieSpec, CookieFinder)],
    token: &str,
    max_age: Option<Duration>,
) {
    // Its size was checked when it was made.
    let Some(values) = chunks::split(token) else { return };
    let cookies = std::iter::once(cookie).chain(pieces.iter().map(|(cookie, _)| cookie));
    for (index, cookie) in cookies.enumerate() {
        let value = match values.get(index) {
            Some(value) => cookie.set(value, max_age),
            None => cookie.delete(),
        };
        if let Some(value) = value {
            fields.append(&SET_COOKIE, value);
        }
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether the handler wrote to this location itself.
fn is_set(fields: &impl HeaderFields, location: &Location) -> bool {
    match location {
        Location::Cookie(cookie) => sets_cookie(fields, cookie.name()),
        Location::Authorization(_) => fields.values(&AUTHORIZATION).next().is_some(),
        Location::Header(name) => fields.values(name).next().is_some(),
    }
}

fn sets_cookie(fields: &impl HeaderFields, name: &str) -> bool {
    fields.values(&SET_COOKIE).any(|value| {
        let end = memchr::memchr2(b'=', b';', value).unwrap_or(value.len());
        value[..end].trim_ascii() == name.as_bytes()
    })
}

fn directives(fields: &impl HeaderFields) -> impl Iterator<Item = &[u8]> {
    let values = fields.values(&CACHE_CONTROL);
    values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn is_directive(directive: &[u8], name: &str) -> bool {
    let (head, rest) = directive.split_at(directive.len().min(name.len()));
    head.eq_ignore_ascii_case(name.as_bytes()) && matches!(rest.first(), None | Some(b'='))
}

fn is_for_shared_caches(fields: &impl HeaderFields) -> bool {
    SHARED_CACHE_FIELDS.iter().any(|name| fields.values(name).next().is_some())
        || directives(fields)
            .any(|one| is_directive(one, "public") || is_directive(one, "s-maxage"))
}

/// Sets `no-store`, and removes every directive that a cache might prefer. `no-transform` stays,
/// because it is for other intermediaries.
fn keep_from_caches(fields: &mut impl HeaderFields) {
    let no_transform = directives(fields).any(|one| is_directive(one, "no-transform"));
    fields.remove(&CACHE_CONTROL);
    fields.remove(&EXPIRES);
    for name in &SHARED_CACHE_FIELDS {
        fields.remove(name);
    }
    let value = if no_transform { "no-store, no-transform" } else { "no-store" };
    fields.append(&CACHE_CONTROL, HeaderValue::from_static(value));
}

fn vary_by(fields: &mut impl HeaderFields, name: &HeaderName) {
    let listed =
        fields.values(&VARY).flat_map(|value| value.split(|byte| *byte == b',')).any(|one| {
            one.trim_ascii() == b"*"
                || one.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes())
        });
    if !listed {
        fields.append(&VARY, HeaderValue::from(name.clone()));
    }
}

#[cfg(test)]
mod tests;
