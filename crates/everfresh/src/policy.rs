//! The app's choices of how tokens travel on.

/// What the inner service sees of the access token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InnerToken {
    /// The token that the client sent, which after a refresh is the old one. The default.
    #[default]
    Untouched,
    /// The current token: after a refresh the new one, in the place of the old one. For services
    /// that pass the request on.
    Fresh,
    /// No token. The session is in the request's extensions.
    Strip,
}

/// What happens if a handler makes a response cacheable by shared caches and the tokens of a
/// refresh should be sent with it. The tokens of a sign-in are always sent, as by
/// [`Override`](Self::Override).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CachePolicy {
    /// The response becomes `no-store` and carries the tokens. The default.
    #[default]
    Override,
    /// The response stays as it is, without tokens. The next request is refreshed again.
    SkipTokens,
    /// The response becomes a 500, so that the developer notices the route. The tokens are
    /// withheld.
    Fail,
}
