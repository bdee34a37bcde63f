//! Step 3: from the verdict and the kind of request to a decision. A table in code.

use std::time::Duration;

use http::HeaderName;
use http::header::{ACCEPT, UPGRADE};

use crate::clock::Timestamp;
use crate::head::{HeaderFields, RequestHead, members};

/// The result of verifying a request's access token at the current time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The token is good, and no window before its expiry is open.
    Fresh,
    /// The token is good, and inside a window before its expiry.
    Expiring(Window),
    /// The token was good, and has expired.
    Expired,
    /// The token is not the issuer's for this service, or not an access token.
    Invalid,
    /// The request has no access token.
    Absent,
}

impl Verdict {
    /// The verdicts' names, in the order of [`index`](Self::index).
    pub(crate) const NAMES: [&'static str; 5] =
        ["fresh", "expiring", "expired", "invalid", "absent"];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Fresh => 0,
            Self::Expiring(_) => 1,
            Self::Expired => 2,
            Self::Invalid => 3,
            Self::Absent => 4,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// Which window before expiry is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// A refresh should start; the request need not wait for it.
    Advisory,
    /// A refresh must end before the request goes on.
    Mandatory,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Passes the request on as it is.
    Pass,
    /// Starts a refresh, and passes the request on without waiting for it.
    Advise,
    /// Refreshes, then passes the request on.
    Wait,
}

impl Decision {
    /// Every decision, in the order of the variants.
    pub(crate) const ALL: [Self; 3] = [Self::Pass, Self::Advise, Self::Wait];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Advise => "advise",
            Self::Wait => "wait",
        }
    }
}

/// How long before expiry the windows open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) advisory: Duration,
    pub(crate) mandatory: Duration,
}

impl Windows {
    /// No window opens earlier than this many milliseconds before expiry.
    const WIDEST: u64 = 300_000;

    /// Returns the windows of a token with this `lifetime`. `spread` is stable per session and
    /// keeps sessions that began together from refreshing together.
    ///
    /// Advisory: a quarter of the lifetime, within 5 s to 300 s, less up to a fifth by `spread`.
    /// Mandatory: a twentieth of it, within 2 s to 30 s. Neither is more than half of the lifetime,
    /// so that a token of 5 s works.
    pub(crate) fn new(lifetime: Duration, spread: u16) -> Self {
        // In integers, because dividing a `Duration` costs more than all the rest.
        let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let half = lifetime / 2;
        let mandatory = (lifetime / 20).clamp(2_000, 30_000).min(half);
        let early = (lifetime / 4).clamp(5_000, Self::WIDEST);
        let advisory = early - early * u64::from(spread) / (5 * u64::from(u16::MAX));
        let advisory = advisory.min(half).max(mandatory);
        Self {
            advisory: Duration::from_millis(advisory),
            mandatory: Duration::from_millis(mandatory),
        }
    }

    /// Returns whether no window can be open yet, whatever the lifetime and the spread.
    pub(crate) fn all_ahead(expires: Timestamp, now: Timestamp) -> bool {
        now.plus(Duration::from_millis(Self::WIDEST)) < expires
    }

    /// Returns whether a token that backs an access token of the session `sid` is to be renewed
    /// now. It was issued for `lifetime` and expires in `left`.
    pub(crate) fn is_due(sid: &str, lifetime: Duration, left: Duration) -> bool {
        let early = Self::new(lifetime, spread(sid)).advisory;
        // everfresh's access tokens expire earlier by a random amount. When one of them is due for
        // a refresh, the token that backs it has to be due as well.
        let early = early + lifetime / 20 + Duration::from_secs(1);
        left <= early.min(lifetime / 2)
    }

    /// Returns the verdict on a token whose signature and claims are good.
    pub(crate) fn classify(self, expires: Timestamp, now: Timestamp) -> Verdict {
        if now >= expires {
            Verdict::Expired
        } else if now >= expires.minus(self.mandatory) {
            Verdict::Expiring(Window::Mandatory)
        } else if now >= expires.minus(self.advisory) {
            Verdict::Expiring(Window::Advisory)
        } else {
            Verdict::Fresh
        }
    }
}

/// Returns a number that is stable per session and evenly spread over sessions (FNV-1a).
pub(crate) fn spread(sid: &str) -> u16 {
    let hash = sid
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 16) as u16
}

/// The kind of a request, as far as refreshing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A CORS preflight carries no credentials and is never refreshed.
    Preflight,
    /// A prefetch. The user may never see its response, so that no early refresh starts for it.
    Prefetch,
    /// A request with a long-lived response, on which no field can be set once it has begun: an
    /// upgrade to another protocol, or a stream of events.
    Lasting,
    /// Any other request.
    Ordinary,
}

impl Purpose {
    pub(crate) fn of(head: &impl RequestHead) -> Self {
        const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
        const PURPOSE: HeaderName = HeaderName::from_static("purpose");
        const X_MOZ: HeaderName = HeaderName::from_static("x-moz");
        const NEXT_ROUTER_PREFETCH: HeaderName = HeaderName::from_static("next-router-prefetch");

        let fields = head.fields();
        let says_prefetch = |name: &HeaderName| {
            fields.values(name).any(|value| {
                let starts = |word: &[u8]| {
                    value.len() >= word.len() && value[..word.len()].eq_ignore_ascii_case(word)
                };
                starts(b"prefetch") || starts(b"prerender")
            })
        };
        if head.method() == "OPTIONS" {
            Self::Preflight
        } else if [SEC_PURPOSE, PURPOSE, X_MOZ].iter().any(says_prefetch)
            || fields.values(&NEXT_ROUTER_PREFETCH).next().is_some()
        {
            Self::Prefetch
        } else if is_lasting(head) {
            Self::Lasting
        } else {
            Self::Ordinary
        }
    }
}

/// Whether the request opens a WebSocket by HTTP/1.1 (RFC 6455 section 4.1) or by HTTP/2
/// (RFC 8441), or asks for server-sent events.
fn is_lasting(head: &impl RequestHead) -> bool {
    let fields = head.fields();
    fields.values(&UPGRADE).next().is_some()
        || head.method() == "CONNECT"
        || members(fields, &ACCEPT).any(names_events)
}

/// Whether a member of `Accept` is `text/event-stream`, and not refused by a weight of zero
/// (RFC 9110 sections 12.4.2 and 12.5.1).
fn names_events(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"));
    let refuses = |part: &[u8]| match part {
        [b'q' | b'Q', b'=', b'0', rest @ ..] => rest.iter().all(|digit| b".0".contains(digit)),
        _ => false,
    };
    named && !parts.any(refuses)
}

impl Purpose {
    /// Whether the request is a navigation to a page (`Sec-Fetch-Mode: navigate`).
    pub(crate) fn navigates(head: &impl RequestHead) -> bool {
        const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
        head.fields().values(&SEC_FETCH_MODE).next() == Some(b"navigate")
    }
}

/// Returns the decision for a request with credentials that the refresher accepts.
pub(crate) fn decide(verdict: Verdict, purpose: Purpose) -> Decision {
    match (verdict, purpose) {
        (_, Purpose::Preflight) => Decision::Pass,
        (Verdict::Fresh, _) => Decision::Pass,
        // The refresh token alone decides, so that a retired key signs no user out.
        (Verdict::Invalid | Verdict::Absent, _) => Decision::Wait,
        (Verdict::Expiring(Window::Advisory), Purpose::Prefetch) => Decision::Pass,
        (Verdict::Expiring(Window::Advisory), Purpose::Ordinary) => Decision::Advise,
        // A refresh beside the request would end after the response's head was sent.
        (Verdict::Expiring(Window::Advisory), Purpose::Lasting) => Decision::Wait,
        (Verdict::Expiring(Window::Mandatory) | Verdict::Expired, _) => Decision::Wait,
    }
}

#[cfg(test)]
mod tests;
