//! The other server's tokens, as a session's row holds them: sealed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use everfresh::dialect::Dialect;
use everfresh::dialect::TokenKind;
use everfresh::refresher::RefreshToken;
use everfresh::store::StoredUpstreamTokens;
use everfresh::upstream::{Sealer, UnsealError, UpstreamAccessToken};
use everfresh::{AccessToken, SessionId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The other server's tokens for one session.
#[derive(Clone)]
pub(super) struct UpstreamTokens {
    pub(super) access: AccessToken,
    pub(super) refresh: Option<RefreshToken>,
    /// The lifetime of the access token.
    pub(super) expires_in: Duration,
    /// The subject of the tokens, if a verified token named one.
    pub(super) subject: Option<String>,
    /// The members that the dialect keeps of the answers, by path.
    pub(super) kept: BTreeMap<String, String>,
}

/// The sealed form.
#[derive(Serialize, Deserialize)]
struct Form<'t> {
    access: Cow<'t, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<Cow<'t, str>>,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'t, str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kept: BTreeMap<String, String>,
}

impl UpstreamTokens {
    /// Seals the tokens for this session and this sequence number alone. Returns `None` if the
    /// system returned no random bytes.
    pub(super) fn seal(&self, sealer: &Sealer, sid: SessionId, seq: u64) -> Option<Vec<u8>> {
        let form = Form {
            access: self.access.expose().into(),
            refresh: self.refresh.as_ref().map(|token| token.expose().into()),
            expires_in: self.expires_in.as_millis().try_into().unwrap_or(u64::MAX),
            subject: self.subject.as_deref().map(Into::into),
            kept: self.kept.clone(),
        };
        let text = Zeroizing::new(serde_json::to_vec(&form).ok()?);
        sealer.seal(&place(sid, seq), &text)
    }

    /// Returns the token that the dialect presents for a refresh.
    pub(super) fn presented(&self, dialect: &Dialect) -> &str {
        match (&self.refresh, &dialect.request.token) {
            (Some(refresh), TokenKind::Refresh) => refresh.expose(),
            _ => self.access.expose(),
        }
    }

    /// Returns the texts of the tokens, to mask them.
    pub(super) fn exposed(&self) -> [&str; 2] {
        [self.access.expose(), self.refresh.as_ref().map_or("", RefreshToken::expose)]
    }

    /// Returns what a handler may have of the tokens.
    pub(super) fn for_handlers(self) -> UpstreamAccessToken {
        UpstreamAccessToken::new(self.access, self.kept)
    }

    pub(super) fn open(
        sealer: &Sealer,
        sid: SessionId,
        upstream: &StoredUpstreamTokens,
    ) -> Result<Self, UnsealError> {
        let text = sealer.open(&place(sid, upstream.seq), &upstream.sealed)?;
        let form: Form<'_> = serde_json::from_slice(&text).map_err(|_| UnsealError::Foreign)?;
        Ok(Self {
            access: AccessToken::new(form.access.into_owned()),
            refresh: form.refresh.map(|token| RefreshToken::new(token.into_owned())),
            expires_in: Duration::from_millis(form.expires_in),
            subject: form.subject.map(Cow::into_owned),
            kept: form.kept,
        })
    }
}

fn place(sid: SessionId, seq: u64) -> Vec<u8> {
    [b"upstream".as_slice(), sid.as_bytes(), &seq.to_be_bytes()].concat()
}
