//! Step 5: what the inner service gets to see of the tokens.
//!
//! The refresh token is taken out, always. The access token is left as it came, replaced by the
//! one that counts now, or taken out too.

use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE};

use crate::carrier::{Carriers, CookieFinder, Location};
use crate::extract::cookie_pairs;
use crate::head::HeaderFields;
use crate::secret::AccessToken;

/// What the inner service sees of the access token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InnerToken {
    /// As the client sent it, which after a refresh is the old one. The default.
    #[default]
    Untouched,
    /// The one that counts: after a refresh the new one, in the place of the old. For services
    /// that pass the request on.
    Fresh,
    /// None. The session is in the request's extensions.
    Strip,
}

/// Rewrites the request's fields; touches none where nothing has to change.
pub(crate) fn rewrite(
    fields: &mut impl HeaderFields,
    carriers: &Carriers,
    policy: InnerToken,
    successor: Option<&AccessToken>,
) {
    let change = match (policy, successor) {
        (InnerToken::Strip, _) => Change::Drop,
        (InnerToken::Fresh, Some(token)) => Change::Replace(token.expose()),
        _ => Change::Keep,
    };
    rewrite_cookies(fields, carriers, change);
    for carrier in carriers.iter() {
        if let Location::Header(name) = &carrier.refresh {
            fields.remove(name);
        }
        if let Location::Authorization(scheme) = &carrier.refresh
            && uses_scheme(fields, scheme)
        {
            fields.remove(&AUTHORIZATION);
        }
        match (&carrier.access, change) {
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

/// Cuts our pairs out of every `Cookie` field; other pairs keep their bytes and their order.
fn rewrite_cookies(fields: &mut impl HeaderFields, carriers: &Carriers, change: Change<'_>) {
    let edit_of = |is_access: bool| match (is_access, change) {
        (false, _) => Some(None),
        (true, Change::Keep) => None,
        (true, Change::Drop) => Some(None),
        (true, Change::Replace(token)) => Some(Some(token)),
    };
    // Most requests bring no cookie at all, or none that has to go.
    let concerned = |finder: &CookieFinder| {
        fields.values(&COOKIE).any(|field| cookie_pairs(field, finder).next().is_some())
    };
    let changes =
        |(is_access, _, finder): (bool, _, &_)| edit_of(is_access).is_some() && concerned(finder);
    if fields.values(&COOKIE).next().is_none() || !carriers.cookies().any(changes) {
        return;
    }
    let edits = || {
        carriers
            .cookies()
            .filter_map(move |(is_access, _, finder)| edit_of(is_access).map(|edit| (finder, edit)))
    };
    let mut replaced = false;
    let mut kept: Vec<HeaderValue> = Vec::new();
    for field in fields.values(&COOKIE) {
        let mut pairs: Vec<u8> = Vec::with_capacity(field.len());
        for pair in field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            let name_end = memchr::memchr(b'=', pair).map_or(0, |at| at + 1);
            let edit = edits().find(|(finder, _)| finder.0.needle() == &pair[..name_end]);
            let parts: [&[u8]; 2] = match edit {
                None => [pair, b""],
                Some((_, None)) => continue,
                Some((_, Some(_))) if replaced => continue,
                Some((_, Some(token))) => {
                    replaced = true;
                    [&pair[..name_end], token.as_bytes()]
                }
            };
            if !pairs.is_empty() {
                pairs.extend_from_slice(b"; ");
            }
            pairs.extend(parts.concat());
        }
        if let (false, Ok(mut value)) = (pairs.is_empty(), HeaderValue::from_bytes(&pairs)) {
            value.set_sensitive(true);
            kept.push(value);
        }
    }
    fields.remove(&COOKIE);
    for value in kept {
        fields.append(&COOKIE, value);
    }
}

#[cfg(test)]
mod tests;
