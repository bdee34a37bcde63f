//! Step 1: reads the tokens of a request by location, as bytes, and decodes none of them.
//!
//! Rules
//! 1. Every field of a name is read, as bytes (HTTP/2 splits `Cookie`; RFC 9113 section 8.2.3).
//! 2. Cookie names are compared octet by octet; nothing is percent-decoded; only space and tab are
//!    trimmed (RFC 6265bis section 5.6).
//! 3. `Authorization` counts if it is there once, with one credential. So does a named header.
//!    Whether it is one credential is checked only if the token is not known.
//! 4. A text of a length that no token has is noted as a flaw, and not read. If one place has
//!    several access tokens, the same holds for a text without three parts.
//! 5. If one place has more than four candidates, none of them counts, whatever their order.
//!    Candidates in other places do.

use std::ops::Range;

use http::header::{AUTHORIZATION, COOKIE};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use crate::cookie::chunks;
use crate::head::HeaderFields;
use crate::refresh::{Opened, RefreshToken};
use crate::transport::{CookieFinder, MAX_TRANSPORTS, PreparedLocation, Side, Transports};
use crate::verify::{InvalidReason, MAX_TOKEN};

/// How many tokens in one place are verified: a cookie on the host, one on its domain and one on a
/// path are three.
const MAX_IN_ONE_PLACE: usize = 4;
const MAX_CANDIDATES: usize = MAX_IN_ONE_PLACE * MAX_TRANSPORTS;

/// How many octets of `Cookie` are searched. Servers refuse fewer.
const MAX_COOKIE_OCTETS: usize = 1024 * 1024;

/// The tokens of one kind that a request brought, in the order of the transports.
pub(crate) struct Found<'h> {
    found: SmallVec<[Candidate<'h>; 2]>,
    /// The transport that brought too many.
    given_up: Option<usize>,
    /// The flaw of a text that did not become a candidate.
    pub(crate) flaw: Option<InvalidReason>,
}

/// One token and the index of the transport that brought it.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'h> {
    pub(crate) transport: usize,
    pub(crate) token: &'h [u8],
}

impl Candidate<'_> {
    /// Returns what is wrong with the candidate by its place. Ask it of an access token that is not
    /// known yet; the bytes of a known one were verified.
    pub(crate) fn flaw(&self, transports: &Transports) -> Option<InvalidReason> {
        let place = transports.side(Side::Access).get(self.transport);
        let is_flawed =
            matches!(place, Some(PreparedLocation::Authorization(_))) && is_several(self.token);
        is_flawed.then_some(InvalidReason::Duplicated)
    }

    /// Returns the candidate as a refresh token of its transport. Returns `None` if it is not
    /// UTF-8. `opened`: what it was found to be.
    pub(crate) fn as_refresh_token(&self, opened: Opened) -> Option<(usize, RefreshToken)> {
        let text = std::str::from_utf8(self.token).ok()?;
        Some((self.transport, RefreshToken::opened(text.to_owned(), opened)))
    }
}

/// A copy of [`Found`] that outlives the request's head.
pub(crate) struct Kept {
    tokens: Vec<(usize, Zeroizing<Vec<u8>>)>,
    given_up: Option<usize>,
    flaw: Option<InvalidReason>,
}

impl Kept {
    pub(crate) fn found(&self) -> Found<'_> {
        let mut found = Found { flaw: self.flaw, given_up: self.given_up, ..Found::empty() };
        let kept = self.tokens.iter().take(MAX_CANDIDATES);
        found
            .found
            .extend(kept.map(|(transport, token)| Candidate { transport: *transport, token }));
        found
    }
}

impl<'h> Found<'h> {
    fn empty() -> Self {
        Self { found: SmallVec::new(), given_up: None, flaw: None }
    }

    pub(crate) fn candidates(&self) -> &[Candidate<'h>] {
        &self.found
    }

    /// Whether the request brought any text in the places of these tokens.
    #[inline]
    pub(crate) fn is_brought(&self) -> bool {
        !self.found.is_empty() || self.flaw.is_some()
    }

    /// Whether this transport brought so many that none of them counts.
    pub(crate) fn gave_up(&self, transport: usize) -> bool {
        self.given_up == Some(transport)
    }

    /// Copies the tokens, so that they outlive the request's head.
    pub(crate) fn keep(&self) -> Kept {
        let copy = |one: &Candidate<'_>| (one.transport, Zeroizing::new(one.token.to_vec()));
        let tokens = self.candidates().iter().map(copy).collect();
        Kept { tokens, given_up: self.given_up, flaw: self.flaw }
    }

    fn add(&mut self, side: Side, transport: usize, token: &'h [u8]) {
        if token.is_empty() || self.given_up == Some(transport) {
            return;
        }
        let most = if side == Side::Access { MAX_TOKEN } else { chunks::MAX_TEXT };
        if token.len() > most {
            self.flaw = Some(InvalidReason::TooLong);
            return;
        }
        // The transport's own candidates are the last ones, because transports are read one after
        // the other.
        let own =
            self.candidates().iter().rev().take_while(|one| one.transport == transport).count();
        if side == Side::Access {
            return self.add_beside(own, Candidate { transport, token });
        }
        self.push(own, Candidate { transport, token });
    }

    /// Adds an access token beside others in one place. A text that can't be one takes no token's
    /// place. A single text is left to verification, which is skipped for a known token.
    fn add_beside(&mut self, mut own: usize, one: Candidate<'h>) {
        if own == 1
            && let Some(first) = self.found.last()
            && !has_three_parts(first.token)
        {
            self.flaw = Some(InvalidReason::Malformed);
            self.found.pop();
            own = 0;
        }
        match own == 0 || has_three_parts(one.token) {
            true => self.push(own, one),
            false => self.flaw = Some(InvalidReason::Malformed),
        }
    }

    fn push(&mut self, own: usize, one: Candidate<'h>) {
        if own == MAX_IN_ONE_PLACE {
            self.found.truncate(self.found.len() - MAX_IN_ONE_PLACE);
            self.given_up = Some(one.transport);
            self.flaw = Some(InvalidReason::TooMany);
        } else {
            self.found.push(one);
        }
    }
}

fn has_three_parts(token: &[u8]) -> bool {
    memchr::memchr_iter(b'.', token).take(3).count() == 2
}

/// Returns refresh tokens that came in pieces, with the index of their transport. It searches only
/// if refresh tokens may come in pieces and cookies count.
pub(crate) fn join_pieces(
    fields: &impl HeaderFields,
    transports: &Transports,
    cookies_count: bool,
) -> Vec<(usize, Zeroizing<Vec<u8>>)> {
    if !transports.any_pieces() || !cookies_count {
        return Vec::new();
    }
    let of_transport = |(at, place): (usize, &PreparedLocation)| {
        let first = match place {
            PreparedLocation::Cookie(finder) => Some(finder),
            _ => None,
        };
        let pieces = transports.pieces(at);
        let finders: Vec<_> = first.into_iter().chain(pieces.iter().map(|(_, f)| f)).collect();
        let values = |index: usize| {
            finders.get(index).into_iter().flat_map(|finder| cookie_values(fields, finder))
        };
        chunks::join(values).into_iter().map(move |token| (at, token)).collect::<Vec<_>>()
    };
    transports.side(Side::Refresh).iter().enumerate().flat_map(of_transport).collect()
}

/// Finds the tokens of one kind, with the index of their transport. `joined`: the tokens that came
/// in pieces.
///
/// Cookies don't count in a request that another site caused; `cookies_count` is then false.
pub(crate) fn extract<'h>(
    fields: &'h impl HeaderFields,
    transports: &'h Transports,
    side: Side,
    cookies_count: bool,
    joined: &'h [(usize, Zeroizing<Vec<u8>>)],
) -> Found<'h> {
    let mut found = Found::empty();
    for (at, place) in transports.side(side).iter().enumerate() {
        match place {
            PreparedLocation::Cookie(finder) if cookies_count => {
                let in_pieces = side == Side::Refresh && transports.any_pieces();
                // Not a `for`, which would poll each of the nested iterators again and again.
                cookie_values(fields, finder)
                    .filter(|value| !(in_pieces && chunks::is_piece(value)))
                    .for_each(|value| found.add(side, at, value));
                for (_, token) in joined.iter().filter(|(of, _)| *of == at) {
                    found.add(side, at, token);
                }
            }
            PreparedLocation::Cookie(_) => {}
            PreparedLocation::Authorization(scheme) => match of_scheme(fields, scheme) {
                Ok(Some(token)) => found.add(side, at, token),
                Ok(None) => {}
                Err(flaw) => found.flaw = Some(flaw),
            },
            PreparedLocation::Header(name) => {
                let mut values = fields.values(name);
                match (values.next(), values.next()) {
                    (Some(value), None) => found.add(side, at, value.trim_ascii()),
                    (Some(_), Some(_)) => found.flaw = Some(InvalidReason::Duplicated),
                    _ => {}
                }
            }
        }
    }
    found
}

/// Whether the request has any cookie of the engine's transports. Asked of requests whose cookies
/// don't count.
pub(crate) fn brings_cookie(fields: &impl HeaderFields, transports: &Transports) -> bool {
    let mut ours = transports.cookies();
    ours.any(|(_, _, finder)| cookie_values(fields, finder).any(|value| !value.is_empty()))
}

/// Returns the values of every cookie of one name.
pub(crate) fn cookie_values<'h>(
    fields: &'h impl HeaderFields,
    finder: &'h CookieFinder,
) -> impl Iterator<Item = &'h [u8]> {
    let mut searched = 0;
    let bounded = fields.values(&COOKIE).take_while(move |field: &&[u8]| {
        searched += field.len();
        searched <= MAX_COOKIE_OCTETS
    });
    bounded.flat_map(move |field| cookie_pairs(field, finder))
}

/// Returns the values of every cookie of one name in one field.
pub(crate) fn cookie_pairs<'h>(
    field: &'h [u8],
    finder: &'h CookieFinder,
) -> impl Iterator<Item = &'h [u8]> {
    let value = |pair: Range<usize>| &field[pair.start + finder.0.needle().len()..pair.end];
    cookie_spans(field, finder).map(value).map(|value| trim_start(trim_end(value)))
}

/// Returns where the pairs of one name are in one field: from the name to before the semicolon.
pub(crate) fn cookie_spans<'h>(
    field: &'h [u8],
    finder: &'h CookieFinder,
) -> impl Iterator<Item = Range<usize>> {
    let mut searched = 0;
    // Not `find_iter`, which copies the finder.
    std::iter::from_fn(move || {
        loop {
            let start = searched + finder.0.find(field.get(searched..)?)?;
            searched = start + finder.0.needle().len();
            if begins_pair(field, start) {
                // No pair begins inside a value.
                let rest = &field[searched..];
                searched += memchr::memchr(b';', rest).unwrap_or(rest.len());
                return Some(start..searched);
            }
        }
    })
}

/// Whether the match at `start` is the name of a pair, and not a part of another text.
fn begins_pair(field: &[u8], start: usize) -> bool {
    matches!(trim_end(&field[..start]).last(), None | Some(b';'))
}

/// Returns the one credential of a scheme, which is compared without case (RFC 6750 section 2.1,
/// RFC 9110 section 11.4).
pub(crate) fn credential<'h>(
    fields: &'h impl HeaderFields,
    scheme: &str,
) -> Result<Option<&'h [u8]>, InvalidReason> {
    match of_scheme(fields, scheme)? {
        Some(token) if is_several(token) => Err(InvalidReason::Duplicated),
        one => Ok(one),
    }
}

/// Returns the text after the scheme, which may be more than one credential.
fn of_scheme<'h>(
    fields: &'h impl HeaderFields,
    scheme: &str,
) -> Result<Option<&'h [u8]>, InvalidReason> {
    let mut values = fields.values(&AUTHORIZATION);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(InvalidReason::Duplicated);
    }
    let Some((name, rest)) = value.split_at_checked(scheme.len()) else { return Ok(None) };
    if !name.eq_ignore_ascii_case(scheme.as_bytes()) || !rest.starts_with(b" ") {
        return Ok(None);
    }
    Ok(Some(trim_start(trim_end(rest))))
}

fn is_several(credential: &[u8]) -> bool {
    memchr::memchr3(b' ', b'\t', b',', credential).is_some()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests;
