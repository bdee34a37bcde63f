//! The field of `debug_headers`, which tells developers how a response came about.
//!
//! It is one field, a dictionary (RFC 9651 section 3.2) of everfresh's own words. It holds nothing
//! that a request brought: no token, no id, no name.

use http::{HeaderName, HeaderValue};

use crate::decide::{Decision, Verdict};
use crate::head::HeaderFields;
use crate::observe::metrics::FlightEntry;
use crate::respond::Sent;
use crate::session::SessionStatus;
use crate::transport::Location;
use crate::verify::InvalidReason;

const EVERFRESH_DEBUG: HeaderName = HeaderName::from_static("everfresh-debug");

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account<'a> {
    /// The index of the transport that counted, from 0, and the location of its access token.
    pub(crate) transport: usize,
    pub(crate) by: &'a Location,
    pub(crate) verdict: Verdict,
    pub(crate) decision: Decision,
    /// How the request came to a refresh, and the refresh's outcome.
    pub(crate) flight_outcome: Option<(FlightEntry, &'static str)>,
    pub(crate) status: SessionStatus,
    /// Why the request's token does not count.
    pub(crate) reason: Option<InvalidReason>,
    /// The generation of the access token that the request has in the end.
    pub(crate) generation: Option<u64>,
    pub(crate) sent: Sent,
}

impl Account<'_> {
    /// Appends the field to a response's fields.
    pub(crate) fn write(self, fields: &mut impl HeaderFields) {
        // Words and numbers are always a valid header value.
        if let Ok(value) = HeaderValue::from_str(&self.dictionary()) {
            fields.append(&EVERFRESH_DEBUG, value);
        }
    }

    fn dictionary(self) -> String {
        let by = match self.by {
            Location::Cookie(_) => "cookie",
            Location::Authorization(_) => "authorization",
            Location::Header(_) => "header",
        };
        let status = match self.status {
            SessionStatus::Present => "present",
            SessionStatus::Absent => "absent",
            SessionStatus::Rejected => "rejected",
            SessionStatus::CrossSite => "cross_site",
            SessionStatus::UnreadClaims => "unread_claims",
            SessionStatus::InsecureHost => "insecure_host",
            SessionStatus::Unavailable { .. } => "unavailable",
        };
        let sends = match self.sent {
            Sent::Nothing => "nothing",
            Sent::Tokens => "tokens",
            Sent::Withheld => "withheld",
            Sent::Cleared => "cleared",
        };
        let mut text = format!(
            "transport={};by={by}, verdict={}, decision={}",
            self.transport,
            self.verdict.name(),
            self.decision.name(),
        );
        if let Some((entry, outcome)) = self.flight_outcome {
            text += &format!(", flight={}, outcome={outcome}", entry.name());
        }
        text += &format!(", status={status}");
        if let Some(reason) = self.reason {
            text += &format!(", reason={}", reason.name());
        }
        if let Some(generation) = self.generation {
            text += &format!(", generation={generation}");
        }
        text + &format!(", sends={sends}")
    }
}
