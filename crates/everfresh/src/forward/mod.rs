//! Step 5: what the inner service sees of the tokens.
//!
//! The refresh token is always removed. The access token is left as it came, replaced by the
//! current one, or removed too.

use std::ops::Range;

use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE};
use smallvec::SmallVec;

use crate::extract::cookie_spans;
use crate::head::HeaderFields;
use crate::policy::InnerToken;
use crate::secret::AccessToken;
use crate::transport::{Location, Transports};

/// Rewrites the request's fields. Changes none if none has to change.
pub(crate) fn rewrite(
    fields: &mut impl HeaderFields,
    transports: &Transports,
    policy: InnerToken,
    successor: Option<&AccessToken>,
) {
    let change = match (policy, successor) {
        (InnerToken::Strip, _) => Change::Drop,
        (InnerToken::Fresh, Some(token)) => Change::Replace(token.expose()),
        _ => Change::Keep,
    };
    rewrite_cookies(fields, transports, change);
    for transport in transports.iter() {
        if let Location::Header(name) = &transport.refresh {
            fields.remove(name);
        }
        if let Location::Authorization(scheme) = &transport.refresh
            && uses_scheme(fields, scheme)
        {
            fields.remove(&AUTHORIZATION);
        }
        match (&transport.access, change) {
            (Location::Cookie(_), _) | (_, Change::Keep) => {}
            (Location::Header(name), _) if fields.values(name).next().is_some() => {
                fields.remove(name);
                if let Change::Replace(token) = change {
                    append(fields, name, token);
                }
            }
            (Location::Authorization(scheme), _) if uses_scheme(fields, scheme) => {
                fields.remove(&AUTHORIZATION);
                if let Change::Replace(token) = change {
                    append(fields, &AUTHORIZATION, &format!("{scheme} {token}"));
                }
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
enum Change<'t> {
    Keep,
    Replace(&'t str),
    Drop,
}

fn append(fields: &mut impl HeaderFields, name: &http::HeaderName, text: &str) {
    if let Ok(mut value) = HeaderValue::from_str(text) {
        value.set_sensitive(true);
        fields.append(name, value);
    }
}

fn uses_scheme(fields: &impl HeaderFields, scheme: &str) -> bool {
    fields.values(&AUTHORIZATION).any(|value| {
        let head = value.get(..scheme.len()).unwrap_or_default();
        head.eq_ignore_ascii_case(scheme.as_bytes()) && value.get(scheme.len()) == Some(&b' ')
    })
}

/// Removes the transports' cookies from every `Cookie` field. The other cookies keep their bytes
/// and their order.
fn rewrite_cookies(fields: &mut impl HeaderFields, transports: &Transports, change: Change<'_>) {
    let cuts = fields.values(&COOKIE).map(|field| cuts_of(field, transports, change)).enumerate();
    // Most requests have no cookie to remove. HTTP/2 splits one field into many, and few of them
    // hold one.
    let cuts: SmallVec<[(usize, Cuts); 1]> = cuts.filter(|(_, cuts)| !cuts.is_empty()).collect();
    if cuts.is_empty() {
        return;
    }
    let mut cuts = cuts.into_iter().peekable();
    let mut token = match change {
        Change::Replace(token) => Some(token),
        _ => None,
    };
    let mut kept: SmallVec<[HeaderValue; 1]> = SmallVec::new();
    for (n, field) in fields.values(&COOKIE).enumerate() {
        let cuts = cuts.next_if(|(of, _)| *of == n).map_or(Cuts::new(), |(_, cuts)| cuts);
        let text = cut(field, &cuts, &mut token);
        if let (false, Ok(mut value)) = (text.is_empty(), HeaderValue::try_from(text)) {
            value.set_sensitive(true);
            kept.push(value);
        }
    }
    fields.remove(&COOKIE);
    for value in kept {
        fields.append(&COOKIE, value);
    }
}

/// What is removed from one field, from front to back.
type Cuts = Vec<Cut>;

struct Cut {
    pair: Range<usize>,
    /// Where the value begins, if another value replaces it.
    replaced: Option<usize>,
}

fn cuts_of(field: &[u8], transports: &Transports, change: Change<'_>) -> Cuts {
    let mut cuts = Cuts::new();
    for (is_access, _, finder) in transports.cookies() {
        let replaced = match (is_access, change) {
            (true, Change::Keep) => continue,
            (true, Change::Replace(_)) => Some(finder.0.needle().len()),
            _ => None,
        };
        cuts.extend(
            cookie_spans(field, finder)
                .map(|pair| Cut { replaced: replaced.map(|name| pair.start + name), pair }),
        );
    }
    // Two transports may share a cookie: the first one's cut counts.
    cuts.sort_by_key(|cut| cut.pair.start);
    cuts.dedup_by_key(|cut| cut.pair.start);
    cuts
}

/// Returns one field without its cuts. The first cut with a replacement gets `token`.
fn cut(field: &[u8], cuts: &Cuts, token: &mut Option<&str>) -> Vec<u8> {
    let room = field.len() + token.map_or(0, str::len);
    let (mut text, mut copied) = (Vec::with_capacity(room), 0);
    for Cut { pair, replaced } in cuts {
        text.extend_from_slice(&field[copied..pair.start]);
        copied = pair.end;
        if let Some(value) = *replaced
            && let Some(token) = token.take()
        {
            text.extend_from_slice(&field[pair.start..value]);
            text.extend_from_slice(token.as_bytes());
            continue;
        }
        match field[pair.end..].iter().position(|byte| !is_separator(*byte)) {
            Some(next) => copied += next,
            // No pair follows, so the separator before the removed pair goes as well.
            None => {
                let end = text.iter().rposition(|byte| !is_separator(*byte));
                text.truncate(end.map_or(0, |last| last + 1));
                copied = field.len();
            }
        }
    }
    text.extend_from_slice(&field[copied..]);
    text
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b';' | b' ' | b'\t')
}

#[cfg(test)]
mod tests;
